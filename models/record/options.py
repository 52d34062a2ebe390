"""What the user asks for, and the words that all of the record is told in."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from models.schema import Frozen

SCHEMA_VERSION = 5
"""2 added the origin of outputs, cancelled runs, retries, reruns and keys; 3 references, loops, kept candidates and notes on stems;
4 scenes, ducking, and what else reconstruction writes; 5 runs of words alone, drafts and takes. All have defaults: what an earlier
version wrote opens as it is, and before version 4 was mixed without ducking."""

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

MOST_SCENES = 50
"""Of one video."""

MOST_TAKES = 999
"""The highest number of a take."""

Words = Annotated[str, Field(max_length=1000)]
Prompt = Annotated[str, Field(max_length=4000)]
Take = Annotated[int, Field(ge=0, le=MOST_TAKES)]
"""Which sound of the same prompt and seed. 0 is the seed's own; every other begins with other noise, always the same."""


class Options(Frozen):
    """What the user asks for. Everything has a default; a value outside its bounds is refused, not clipped."""

    k: float = Field(10, gt=0, le=200)
    """Frames sampled: n = max(1, floor(k·log10(seconds)))."""
    scenes: Annotated[int, Field(ge=1, le=MOST_SCENES)] | Literal["auto"] = 1
    """Scenes that a video is divided into, each with its own frame, description and prompts. 1: one frame stands for the whole
    video. auto: as many as it has. Other than 1, more frames are sampled where k gives few."""
    music: bool = True
    """Make music."""
    sounds: bool = True
    """Make sound effects."""
    draft: bool = False
    """Make music and sound effects as drafts: by sketches, without trained models, in seconds. The picture is looked at as ever, so
    the full run afterwards pays for its sound alone. Refused where the service makes no drafts."""
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
    """Length of the result when the input is a still image, or words alone."""
    format: VideoFormat | AudioFormat | None = None
    """Container of the result. None: the source's where we write it, else mp4; of words alone, wav. An audio format gives the sound
    alone."""
    original_mode: OriginalMode = "duck"
    """What becomes of the video's own sound. keep: it is mixed with the generated sound. duck: that too, and the generated sound is
    lowered while the own one is heard. replace: it is left out, every track of it."""
    original: float = Field(0.5, ge=0, le=1)
    """Rate between the generated sound (0) and the video's own (1), by amplitude. Without own sound, or with `replace`, it has no
    effect."""
    duck_db: float = Field(12, ge=0, le=40)
    """How far the generated sound is lowered while the own one is heard."""
    duck_attack_seconds: float = Field(0.1, ge=0.01, le=5)
    """How long the generated sound takes to go down. It is down when the own sound begins."""
    duck_release_seconds: float = Field(0.8, ge=0.01, le=10)
    """How long the generated sound takes to come back."""
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


def without_ducking(given: dict[str, Any], version: object) -> dict[str, Any]:
    """What was written before version 4, with the option that says how it was mixed."""
    came = given.get("video_input")
    options = came.get("options") if isinstance(came, dict) else None
    if not isinstance(came, dict) or not isinstance(options, dict) or not isinstance(version, int) or version >= 4:
        return given
    return {**given, "video_input": {**came, "options": {"original_mode": "keep", **options}}}
