"""The record that runs through the pipeline, and the run's log that it is folded from.

Every module appends one output to the record and reshapes nothing that is there. The same classes are the wire format, the
stored format and the types that code uses. Times are seconds; paths are keys in the store, relative to its root.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, JsonValue, model_validator

from models.schema import Frozen

SCHEMA_VERSION = 4
"""2 added the origin of outputs, cancelled runs, retries, reruns and keys; 3 references, loops, kept candidates and notes on stems;
4 scenes, ducking, and what else reconstruction writes. All have defaults: what an earlier version wrote opens as it is, and was
mixed without ducking."""

Module = Literal[
    "video_input",
    "frame_extraction",
    "object_detection",
    "frame_selection",
    "frame_description",
    "prompt_enhancement",
    "audio_generation",
    "reconstruction",
]
MODULES: tuple[Module, ...] = get_args(Module)

StemKind = Literal["music", "sounds"]
VideoFormat = Literal["mp4", "mov", "mkv", "webm"]
AudioFormat = Literal["wav", "flac", "mp3", "m4a", "ogg"]
StemFormat = Literal["flac", "wav"]
OriginalMode = Literal["keep", "duck", "replace"]
VIDEO_FORMATS: tuple[VideoFormat, ...] = get_args(VideoFormat)
AUDIO_FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)

REFERENCE_BYTES = 16 * 2**20
"""Largest file that is taken as a reference."""

Words = Annotated[str, Field(max_length=1000)]
Prompt = Annotated[str, Field(max_length=4000)]


class Options(Frozen):
    """What the user asks for. Everything has a default; a value outside its bounds is refused, not clipped."""

    k: float = Field(10, gt=0, le=200)
    """Frames sampled: n = max(1, floor(k·log10(seconds)))."""
    scenes: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = 1
    """Scenes that a video is divided into, each with its own frame, description and prompts. 1: one frame stands for the whole
    video. auto: as many as it has. Other than 1, more frames are sampled where k gives few."""
    music: bool = True
    """Make music."""
    sounds: bool = True
    """Make sound effects."""
    music_prompt: Words | None = None
    """The user's own words for the music. They lead the prompt."""
    sound_prompt: Words | None = None
    """The user's own words for the sound effects. They lead the prompt."""
    negative_prompt: Words | None = None
    """What the sound should not be."""
    seed: int | None = Field(None, ge=0, lt=2**32)
    """The same seed gives the same sound. None: one is drawn, and the record says which."""
    steps: int | None = Field(None, ge=1, le=500)
    """Denoising steps of the audio model. None: the model's default."""
    guidance: float | None = Field(None, ge=1, le=20)
    """How closely the audio model follows the prompt. None: the model's default."""
    candidates: int = Field(1, ge=1, le=8)
    """Candidates made per stem. Models that can rank them use the one that fits its prompt best, others the first."""
    keep_candidates: bool = False
    """Keep all candidates of a stem as files, not the chosen one alone. Needs 2 candidates or more."""
    loop: bool = False
    """Let the sound's end go over into its beginning, for what is played in a circle. Without a seam in wav and flac; other
    formats add a moment at the joint. Asked of models that can."""
    crossing_seconds: float = Field(1, ge=0, le=10)
    """How long two neighbouring scenes are heard together; less where one is shorter than twice that."""
    reference_weight: float = Field(0.5, ge=0, le=1)
    """How much a reference counts beside the words: 0 not at all, 1 alone. Without a reference, it has no effect."""
    seconds: float = Field(10, ge=0.1, le=1800)
    """Length of the result when the input is a still image."""
    format: VideoFormat | AudioFormat | None = None
    """Container of the result. None: the source's where we write it, else mp4. An audio format gives the sound alone."""
    original_mode: OriginalMode = "duck"
    """What becomes of the video's own sound. keep: it is mixed with the generated sound. duck: that too, and the generated sound is
    lowered while the own one is heard. replace: it is left out, every track of it."""
    original: float = Field(0.5, ge=0, le=1)
    """Rate between the generated sound (0) and the video's own (1), by amplitude. Without own sound, or with `replace`, it has no
    effect."""
    duck_db: float = Field(12, ge=0, le=40)
    """How far the generated sound is lowered while the own one is heard."""
    duck_attack_seconds: float = Field(0.1, ge=0.01, le=5)
    """How long that takes. It is done when the own sound begins."""
    duck_release_seconds: float = Field(0.8, ge=0.01, le=10)
    """How long it takes to come back."""
    stereo_width: float = Field(0, ge=0, le=1)
    """How much wider the sound effects are made. In mono, nothing of that is heard."""
    fade_in_seconds: float | None = Field(None, ge=0, le=10)
    """Fade at the start. None: the service's default."""
    fade_out_seconds: float | None = Field(None, ge=0, le=30)
    """Fade at the end. None: the service's default."""
    music_volume_db: float = Field(0, ge=-60, le=12)
    """Level of the music."""
    sound_volume_db: float = Field(0, ge=-60, le=12)
    """Level of the sound effects."""
    loudness_lufs: float | None = Field(-14, ge=-40, le=-5)
    """Integrated loudness of the mix (ITU-R BS.1770). None: the mix is left as loud as it is."""
    stem_format: StemFormat = "flac"
    """Format of the stems: music, sounds, original and mix."""
    descriptions: bool = False
    """Add the scenes' descriptions to the video as a text track, for viewers with impaired sight."""

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not (self.music or self.sounds):
            raise ValueError("ask for music, for sounds or for both: neither is nothing to do")
        return self

    @model_validator(mode="after")
    def _keeps_several(self) -> Self:
        if self.keep_candidates and self.candidates == 1:
            raise ValueError("keep_candidates keeps several: ask for 2 candidates or more")
        return self

    @property
    def stems(self) -> tuple[StemKind, ...]:
        """The stems asked for, in the order of `StemKind`."""
        return tuple(kind for kind in get_args(StemKind) if getattr(self, kind))


class Stream(Frozen):
    """One stream of the source file."""

    index: int
    kind: Literal["video", "audio", "subtitle", "data", "attachment"]
    codec: str
    language: str | None = None
    title: str | None = None


class Reference(Frozen):
    """A sound that the result is to sound like, where the model can listen."""

    token: str = Field(pattern=r"^[0-9a-f]{32}$")
    """MD5 of the bytes that were sent."""
    name: str
    """The user's name of the file: for people to read, never part of a path."""
    path: str
    """Key of what is listened to: the sound's beginning, as 48 kHz mono FLAC."""
    seconds: float = Field(gt=0)
    """How long that is."""


class VideoInput(Frozen):
    """`video_input`: what came in, and what is asked for."""

    token: str = Field(pattern=r"^[0-9a-f]{32}$")
    """MD5 of the file's bytes."""
    name: str
    """The user's name of the file: for people to read, never part of a path."""
    media: Literal["video", "image"]
    path: str
    """Key of the source file."""
    container: str
    """Short name of the container or image format, as in a file's ending: mp4, mkv, jpeg."""
    size_bytes: int = Field(ge=1)
    duration_seconds: float | None
    """How long the picture is shown, first frame to the end of the last. None for a still image."""
    start_seconds: float = 0
    """Presentation time of the first frame; other times in the record count from it."""
    width: int
    """Pixels, as displayed (rotation and sample aspect ratio applied)."""
    height: int
    frame_rate: float | None
    """Average frames per second. None for a still image."""
    has_audio: bool
    """Whether the source has a sound stream that can be decoded."""
    streams: tuple[Stream, ...]
    options: Options
    reference: Reference | None = None
    """What the sound is to be like, beside the words."""

    @property
    def result_seconds(self) -> float:
        """How long the result is: as long as the picture, or as asked for a still image."""
        return self.options.seconds if self.duration_seconds is None else self.duration_seconds


class Frame(Frozen):
    """One picture of the video."""

    path: str
    seconds: float
    """Presentation time of the frame that was taken, counted from the video's first frame."""


Origin = Literal["computed", "cached", "kept", "edited"]


class Output(Frozen):
    """What a module appends."""

    origin: Origin = "computed"
    """`computed` in this run; `cached`: by an earlier run, from the same inputs and with the same model and settings; `kept` from
    the run that this one is a rerun of; `edited` by the user."""


class FrameExtraction(Output):
    """`frame_extraction`: pictures spread evenly over the video."""

    model: str
    folder: str
    count: int
    frames: tuple[Frame, ...]


class Box(Frozen):
    """Pixels of the frame, origin in its top left corner; x1 and y1 are exclusive."""

    x0: float
    y0: float
    x1: float
    y1: float


class DetectedObject(Frozen):
    label: str
    score: float = Field(ge=0, le=1)
    box: Box


class FrameObjects(Frozen):
    """What was found in one frame, best score first."""

    frame: int
    """Index into the frames of `frame_extraction`; 0 for a still image."""
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    objects: tuple[DetectedObject, ...]


class ObjectDetection(Output):
    """`object_detection`: objects per frame, and the set of all."""

    model: str
    confidence: float
    frames: tuple[FrameObjects, ...]
    objects: tuple[str, ...]
    """The set of all labels of the video, in alphabetical order."""


class Scene(Frozen):
    """A part of the video, and the frame that stands for it."""

    start_seconds: float = Field(ge=0)
    """From the video's first frame. A scene begins where the one before ends, the first at 0."""
    end_seconds: float = Field(ge=0)
    index: int = Field(ge=0)
    """Of the frame, into the frames of `frame_extraction`."""
    path: str
    """Key of the frame."""


class FrameSelection(Output):
    """`frame_selection`: the medoid of the frames' latents; of several scenes, each its own.

    `path` and `index` are those of the first scene.
    """

    model: str
    path: str
    index: int = Field(ge=0)
    latent_shape: tuple[int, ...]
    """Shape of one frame's latent before it is flattened."""
    scenes: tuple[Scene, ...] = ()
    """All of the video, in order. None in records before version 4: one scene."""

    @model_validator(mode="after")
    def _one_after_the_other(self) -> Self:
        begins = 0.0
        for scene in self.scenes:
            if scene.start_seconds != begins or scene.end_seconds <= begins:
                raise ValueError("the first scene begins at 0, and every other where the one before it ends")
            begins = scene.end_seconds
        if self.scenes and (self.scenes[0].index, self.scenes[0].path) != (self.index, self.path):
            raise ValueError("index and path are those of the first scene's frame")
        return self


class Mood(Frozen):
    """Russell's circumplex: how pleasant, and how intense."""

    valence: float = Field(ge=-1, le=1)
    arousal: float = Field(ge=-1, le=1)


class SceneDescription(Frozen):
    """One scene in words."""

    text: str
    mood: Mood | None = None
    """Only from models that measure one."""


class FrameDescription(Output):
    """`frame_description`: the selected frames in words. `text` and `mood` are those of the first scene."""

    model: str
    question: str | None
    """What the model was asked; None for a model that is not asked."""
    text: str
    mood: Mood | None = None
    """Only from models that measure one."""
    later: tuple[SceneDescription, ...] = ()
    """Of the second scene and those after it."""

    @property
    def scenes(self) -> tuple[SceneDescription, ...]:
        """Of every scene."""
        return SceneDescription(text=self.text, mood=self.mood), *self.later


class ScenePrompts(Frozen):
    """The prompts of one scene."""

    music_prompt: str = Field(max_length=20_000)
    sound_prompt: str = Field(max_length=20_000)
    objects: tuple[str, ...] = ()
    """What is named in them, most of it first."""


class PromptEnhancement(Output):
    """`prompt_enhancement`: the prompts, composed of the description, the objects and the user's own words.

    `music_prompt` and `sound_prompt` are those of the first scene.
    """

    model: str
    music_prompt: str = Field(max_length=20_000)
    sound_prompt: str = Field(max_length=20_000)
    negative_prompt: str = Field(max_length=20_000)
    """Of all scenes."""
    objects: tuple[str, ...] = ()
    """What is named in the first scene's prompts, most of it first."""
    later: tuple[ScenePrompts, ...] = ()
    """Of the second scene and those after it."""

    @property
    def scenes(self) -> tuple[ScenePrompts, ...]:
        """Of every scene."""
        first = ScenePrompts(music_prompt=self.music_prompt, sound_prompt=self.sound_prompt, objects=self.objects)
        return first, *self.later


class RankedCandidate(Frozen):
    """One of several sounds made for the same stem."""

    score: float | None
    """Similarity of prompt and sound (CLAP); None when nothing was ranked."""
    path: str | None = None
    """Key of its sound, a file like the stem's; None unless candidates are kept."""


class ScenePrompt(Frozen):
    """One scene of a stem."""

    seconds: float = Field(ge=0)
    """Where it begins."""
    prompt: str


class Stem(Output):
    """One generated track, 48 kHz stereo, as long as the result."""

    kind: StemKind
    model: str
    path: str
    duration_seconds: float
    sample_rate: int
    channels: int
    model_sample_rate: int
    """Rate at which the model makes sound; nothing above half of it is in the stem."""
    model_channels: int
    prompt: str
    """Of the first scene."""
    later_prompts: tuple[ScenePrompt, ...] = ()
    """Of the second scene and those after it."""
    negative_prompt: str
    seed: int
    steps: int | None
    guidance: float | None
    candidates: int
    """How many were made."""
    score: float | None = None
    """Similarity of prompt and sound (CLAP) of the chosen candidate; None when nothing was ranked."""
    prompt_words_unread: int = 0
    """Words at the prompt's end that the model could not read."""
    chosen: int = Field(0, ge=0)
    """Which candidate this is, counted from 0."""
    ranking: tuple[RankedCandidate, ...] = ()
    """Of several candidates all, in the order in which they were made."""
    loops: bool = False
    """Whether its end goes over into its beginning."""
    reference: str | None = None
    """Token of the reference that the model listened to."""
    reference_weight: float | None = None
    """How much that counted beside the words."""
    notes: tuple[str, ...] = ()
    """What a person should know: what was asked for and the model cannot do, words of the prompt that it did not read."""

    @property
    def kept(self) -> dict[str, str]:
        """Keys of the kept candidates' files, by the names of their artifacts: music-1, music-2 and so on."""
        ranked = enumerate(self.ranking, start=1)
        return {f"{self.kind}-{number}": candidate.path for number, candidate in ranked if candidate.path}


class AudioGeneration(Frozen):
    """`audio_generation`: one stem per kind asked for. Stems are appended as they are made."""

    stems: tuple[Stem, ...]


class KeptTrack(Frozen):
    """What became of one of the source's streams, besides the picture."""

    index: int
    """Among the source's streams."""
    kind: Literal["audio", "subtitle", "attachment", "data"]
    result: Literal["copied", "encoded", "dropped"]
    reason: str | None = None
    """Why it was not copied."""


class Files(Frozen):
    """What reconstruction writes besides the result. Keys; None for what there is not."""

    mix: str | None = None
    """The result's sound at its final level, before it is encoded: 48 kHz stereo."""
    original: str | None = None
    """The video's own sound, from the first frame on."""
    music: str | None = None
    """A copy of the stem in the format asked for; None where the stem has that format."""
    sounds: str | None = None
    """As `music`."""
    descriptions: str | None = None
    """The scenes' descriptions as WebVTT."""

    @property
    def by_name(self) -> dict[str, str]:
        """Keys by the names of their artifacts."""
        return {name: key for name, key in self if key is not None}


class Reconstruction(Output):
    """`reconstruction`: the sound under the picture."""

    model: str
    path: str
    format: VideoFormat | AudioFormat
    duration_seconds: float
    picture: Literal["copied", "encoded", "none"]
    """`copied`: the source's packets, bit for bit. `encoded`: the container cannot hold them, or the input is an image."""
    video_codec: str | None
    audio_codec: str
    sample_rate: int
    channels: int
    original_used: bool
    """Whether the source's own sound is part of the mix."""
    ducked_seconds: float = 0
    """For how long the generated sound was lowered under the own one."""
    integrated_lufs: float | None
    """Loudness of the mix as measured before encoding; None for silence or below the gate."""
    true_peak_dbtp: float | None
    tracks: tuple[KeptTrack, ...] = ()
    """What became of the source's other streams."""
    files: Files = Files()
    notes: tuple[str, ...] = ()
    """What a person should know: a broken own sound left out, a picture that had to be encoded."""


class Outputs(Frozen):
    """The outputs of the modules behind `video_input`; each is None until its module has run."""

    frame_extraction: FrameExtraction | None = None
    object_detection: ObjectDetection | None = None
    frame_selection: FrameSelection | None = None
    frame_description: FrameDescription | None = None
    prompt_enhancement: PromptEnhancement | None = None
    audio_generation: AudioGeneration | None = None
    reconstruction: Reconstruction | None = None


class Record(Outputs):
    """One JSON record of one run: what came in, and what every module made of it."""

    schema_version: int = SCHEMA_VERSION
    video_input: VideoInput

    @model_validator(mode="before")
    @classmethod
    def _opens_what_older_versions_wrote(cls, given: Any) -> Any:
        version = given.get("schema_version", SCHEMA_VERSION) if isinstance(given, dict) else SCHEMA_VERSION
        if not isinstance(version, int) or version == SCHEMA_VERSION:
            return given
        if not 1 <= version <= SCHEMA_VERSION:
            raise ValueError(f"the record is of schema version {version}; versions 1 to {SCHEMA_VERSION} are read here")
        return {**_without_ducking(given, version), "schema_version": SCHEMA_VERSION}

    @property
    def pictures(self) -> tuple[Frame, ...]:
        """The frames that the vision modules look at: the extracted ones, or the image itself."""
        if self.video_input.media == "image":
            return (Frame(path=self.video_input.path, seconds=0),)
        return self.frame_extraction.frames if self.frame_extraction else ()

    @property
    def selected(self) -> Frame | None:
        """The frame to describe: the medoid, or the image itself."""
        if self.video_input.media == "image":
            return self.pictures[0]
        chosen = self.frame_selection
        # An edited selection is there before the frames that it chooses from.
        return self.pictures[chosen.index] if chosen and chosen.index < len(self.pictures) else None

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes of the result, at least one; an image is one, and so is a video until its frames were selected."""
        chosen = self.frame_selection
        if chosen and chosen.scenes and self.video_input.media == "video":
            return chosen.scenes
        index, path = (chosen.index, chosen.path) if chosen else (0, self.video_input.path)
        return (Scene(start_seconds=0, end_seconds=self.video_input.result_seconds, index=index, path=path),)

    def frames_of(self, scene: Scene) -> range:
        """Which of the pictures lie in the scene: indices into `pictures`."""
        if len(self.scenes) == 1:
            return range(len(self.pictures))
        first, end = (
            bisect_left(self.pictures, seconds, key=lambda frame: frame.seconds)
            for seconds in (scene.start_seconds, scene.end_seconds)
        )
        return range(first, end)

    @property
    def modules(self) -> tuple[Module, ...]:
        """The modules that a record of this kind goes through, in the paper's order."""
        skipped = ("frame_extraction", "frame_selection") if self.video_input.media == "image" else ()
        return tuple(module for module in MODULES if module not in skipped)

    def done(self, module: Module) -> bool:
        """Whether the module's output is complete."""
        if module == "audio_generation":
            made = {stem.kind for stem in self.audio_generation.stems} if self.audio_generation else set()
            return made.issuperset(self.video_input.options.stems)
        return getattr(self, module) is not None

    def append(self, outputs: Outputs) -> Self:
        """The record with these outputs added. Stems join those that are there; nothing else may be there already."""
        added = {name: value for name, value in outputs if value is not None}
        for name in added:
            if name == "audio_generation" and self.audio_generation and outputs.audio_generation:
                stems = (*self.audio_generation.stems, *outputs.audio_generation.stems)
                added[name] = AudioGeneration(stems=tuple(sorted(stems, key=lambda stem: stem.kind)))
            elif getattr(self, name) is not None:
                raise ValueError(f"the record already has {name}")
        return self.model_copy(update=added)


def _without_ducking(given: dict[str, Any], version: object) -> dict[str, Any]:
    """What was written before version 4, with the option that says how it was mixed."""
    came = given.get("video_input")
    options = came.get("options") if isinstance(came, dict) else None
    if not isinstance(came, dict) or not isinstance(options, dict) or not isinstance(version, int) or version >= 4:
        return given
    return {**given, "video_input": {**came, "options": {"original_mode": "keep", **options}}}


class _Event(Frozen):
    schema_version: int = 1
    """Of the schema that the event was written with. (Version 1 did not say.)"""
    seq: int = Field(ge=1)
    """Place in the run's log, from 1, without gaps."""
    at: float
    """Unix time, seconds."""


class Accepted(_Event):
    """The run exists: its input was read and found good."""

    type: Literal["accepted"] = "accepted"
    video_input: VideoInput
    key: str | None = None
    """Name of the API key that the run belongs to; None where the service asks for none."""
    rerun_of: str | None = None
    """The run that this one changes."""
    outputs: Outputs = Outputs()
    """Of a rerun: what is kept of that run, and what the user edited."""

    @model_validator(mode="before")
    @classmethod
    def _opens_what_older_versions_wrote(cls, given: Any) -> Any:
        return _without_ducking(given, given.get("schema_version", 1)) if isinstance(given, dict) else given


class Started(_Event):
    """Somebody works on it. Once more when another takes over."""

    type: Literal["started"] = "started"
    owner: str


class ModuleDone(_Event):
    """A module has appended its output."""

    type: Literal["module_done"] = "module_done"
    module: Module
    output: Outputs
    """Exactly one of its fields is set."""
    seconds: float = Field(ge=0)
    """How long the module took, waiting for its turn included."""


Cause = Literal["worker_died", "deadline", "out_of_memory", "storage"]


class ModuleRetried(_Event):
    """A module failed for a reason of ours, and is tried again."""

    type: Literal["module_retried"] = "module_retried"
    module: Module
    part: StemKind | None = None
    attempt: int = Field(ge=1)
    """Number of the attempt that failed, counted since this owner started."""
    cause: Cause
    pause_seconds: float = Field(ge=0)
    """Until the next attempt."""


class Finished(_Event):
    """The result is there."""

    type: Literal["finished"] = "finished"


class Failed(_Event):
    """The run ended without a result. What was computed stays."""

    type: Literal["failed"] = "failed"
    module: Module
    kind: Literal["input", "internal"]
    """`input`: the file cannot be worked with. `internal`: we broke."""
    message: str


class Cancelled(_Event):
    """Somebody asked for the run to stop. What was computed stays."""

    type: Literal["cancelled"] = "cancelled"


Event = Annotated[
    Accepted | Started | ModuleDone | ModuleRetried | Finished | Failed | Cancelled, Field(discriminator="type")
]
TERMINAL: tuple[str, ...] = ("finished", "failed", "cancelled")

Status = Literal["accepted", "running", "finished", "failed", "cancelled"]


class Progress(Frozen):
    """How far a module is. Not part of the log: the last one is kept, and only while the run lasts."""

    type: Literal["progress"] = "progress"
    module: Module
    part: StemKind | None = None
    step: int
    steps: int
    seconds_left: float | None = None
    """Until the module is done, in seconds, if it goes on as fast as so far. None: nothing is done yet."""


class Timing(Frozen):
    """How long one module took. `audio_generation` has one per stem, made side by side."""

    module: Module
    part: StemKind | None = None
    seconds: float


class RunError(Frozen):
    module: Module
    kind: Literal["input", "internal"]
    message: str


class Run(Frozen):
    """A run as its log tells it."""

    id: str
    status: Status
    created_at: float
    """Unix time, seconds."""
    ended_at: float | None = None
    record: Record
    timings: tuple[Timing, ...] = ()
    error: RunError | None = None
    key: str | None = None
    """Name of the API key that the run belongs to."""
    rerun_of: str | None = None
    """The run that this one changes."""
    retries: int = 0
    """How often a module was tried again."""
    resumptions: int = 0
    """How often another process took the run over."""

    def apply(self, event: Event) -> Self:
        """The run after one more event."""
        match event:
            case Started():
                again = self.status == "running"
                return self.model_copy(update={"status": "running", "resumptions": self.resumptions + again})
            case ModuleDone():
                stems = event.output.audio_generation.stems if event.output.audio_generation else ()
                timing = Timing(module=event.module, part=stems[0].kind if stems else None, seconds=event.seconds)
                return self.model_copy(
                    update={"record": self.record.append(event.output), "timings": (*self.timings, timing)}
                )
            case ModuleRetried():
                return self.model_copy(update={"retries": self.retries + 1})
            case Finished():
                return self.model_copy(update={"status": "finished", "ended_at": event.at})
            case Failed():
                error = RunError(module=event.module, kind=event.kind, message=event.message)
                return self.model_copy(update={"status": "failed", "ended_at": event.at, "error": error})
            case Cancelled():
                return self.model_copy(update={"status": "cancelled", "ended_at": event.at})
        raise ValueError(f"a log has one {event.type} event, its first")


def fold(run_id: str, events: Iterable[Event]) -> Run:
    """The run that a log tells. Raises ValueError when the log doesn't begin with `accepted`."""
    run: Run | None = None
    for event in events:
        if run is not None:
            run = run.apply(event)
        elif isinstance(event, Accepted):
            record = Record(video_input=event.video_input).append(event.outputs)
            told = {"key": event.key, "rerun_of": event.rerun_of}
            run = Run(id=run_id, status="accepted", created_at=event.at, record=record, **told)
        else:
            raise ValueError(f"the log of run {run_id} begins with {event.type}, not with accepted")
    if run is None:
        raise ValueError(f"the log of run {run_id} is empty")
    return run


class UploadedRun(Frozen):
    """What `POST /v1/runs` takes as JSON: a file that was sent to `/v1/uploads` before, and what is asked for."""

    upload: str = Field(pattern=r"^[0-9a-f]{32}$")
    """Id of the upload, which is complete."""
    options: Options = Options()
    reference: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    """Id of another upload: a sound to sound like. Its first 30 s are listened to."""


class SceneFrame(Frozen):
    """Another frame for one scene."""

    scene: int = Field(ge=0, lt=50)
    """Counted from 0."""
    index: int = Field(ge=0, lt=10_000)
    """Into the frames of `frame_extraction`."""


class FrameSelectionEdit(Frozen):
    """Other frames of the video, in place of those that were selected."""

    index: int | None = Field(None, ge=0, lt=10_000)
    """Into the frames of `frame_extraction`. Of a video that is one scene."""
    scenes: tuple[SceneFrame, ...] = Field((), max_length=50)
    """Of the scenes that change."""


class SceneText(Frozen):
    """Other words for one scene."""

    scene: int = Field(ge=0, lt=50)
    """Counted from 0."""
    text: Words


class FrameDescriptionEdit(Frozen):
    """Other words for the selected frames."""

    text: Words | None = None
    """Of a video that is one scene, or an image."""
    scenes: tuple[SceneText, ...] = Field((), max_length=50)
    """Of the scenes that change."""


class ScenePromptsEdit(Frozen):
    """Other prompts for one scene. None: as it was."""

    scene: int = Field(ge=0, lt=50)
    """Counted from 0."""
    music_prompt: Prompt | None = None
    sound_prompt: Prompt | None = None


class PromptEnhancementEdit(Frozen):
    """Other prompts. None: as it was."""

    music_prompt: Prompt | None = None
    """Of every scene."""
    sound_prompt: Prompt | None = None
    """Of every scene."""
    negative_prompt: Prompt | None = None
    scenes: tuple[ScenePromptsEdit, ...] = Field((), max_length=50)
    """Of the scenes that change alone."""


class Edits(Frozen):
    """Outputs that the user replaces by their own. What follows from them is computed anew."""

    frame_selection: FrameSelectionEdit | None = None
    frame_description: FrameDescriptionEdit | None = None
    prompt_enhancement: PromptEnhancementEdit | None = None


class Rerun(Frozen):
    """What `POST /v1/runs/{id}/rerun` takes: a new run from that one. What still holds is kept."""

    options: dict[str, JsonValue] = Field(default_factory=dict)
    """The options that change; the others stay, the seed among them. (A seed of null draws a new one.)"""
    edits: Edits = Edits()


class Problem(Frozen):
    """RFC 9457 problem details: how every error is answered."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ModuleInfo(Frozen):
    """What stands behind a module."""

    module: Module
    part: StemKind | None = None
    model: str
    """Model, size and revision."""
    device: str
    """cpu, cuda:0 …"""
    profile: Literal["paper", "sketch", "any"]
    """`sketch` makes drafts without weights; `any` is the same in every profile."""
    licence: str | None = None
    """Of the weights, where they have one of their own."""
