"""From the record to a module's verb and back: what each module reads, and what it appends.

Works on any record that has the outputs a module reads, with files anywhere: a `Workspace` turns the record's keys into paths.
In a notebook that is a folder (`Folder`); in the service it is the store.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE, write_stem
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.audio_generation.notes import notes_on
from models.errors import MissingOutput
from models.frame_description import Description, Shot
from models.frame_extraction import FrameExtractor, TimedFrame
from models.frame_selection import Selection
from models.prompt_enhancement import PromptEnhancer
from models.reconstruction import Reconstructor, StemFile, result_format
from models.record import (
    AudioGeneration,
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameObjects,
    FrameSelection,
    Module,
    ObjectDetection,
    PromptEnhancement,
    RankedCandidate,
    Reconstruction,
    Record,
    Reference,
    Stem,
    StemKind,
)

# What each module reads of the record, besides `video_input`, which every record has.
READS: Mapping[Module, tuple[Module, ...]] = {
    "frame_extraction": (),
    "object_detection": ("frame_extraction",),
    "frame_selection": ("frame_extraction",),
    "frame_description": ("frame_extraction", "frame_selection"),
    "prompt_enhancement": ("object_detection", "frame_description"),
    "audio_generation": ("prompt_enhancement",),
    "reconstruction": ("audio_generation",),
}


def missing(record: Record, module: Module) -> tuple[Module, ...]:
    """The outputs that the module reads and that the record does not have yet."""
    return tuple(read for read in READS[module] if read in record.modules and not record.done(read))


def require(record: Record, module: Module) -> None:
    """Raise MissingOutput, naming them, when the record lacks outputs that the module reads."""
    if module not in record.modules:
        raise MissingOutput(f"{module} has nothing to do with an image")
    if lacks := missing(record, module):
        raise MissingOutput(f"{module} reads {' and '.join(lacks)}, which the record does not have")


class Workspace(Protocol):
    """Where a step finds its files, and leaves them."""

    @property
    def made(self) -> str:
        """Prefix of the keys of whatever the step makes."""

    def path(self, key: str) -> Path:
        """A file that is there, to be read only."""

    def new(self, key: str) -> Path:
        """Where to write the file that will have this key."""


@dataclass(frozen=True)
class Folder:
    """A workspace that is a plain folder."""

    root: Path
    made: str = "made"

    def path(self, key: str) -> Path:
        return self.root / key

    def new(self, key: str) -> Path:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class Detector(Protocol):
    """What `object_detection` needs: YOLOv9, or the sketch of it."""

    model: str
    confidence: float

    def detect(self, images: list[Path]) -> list[FrameObjects]: ...


class Selector(Protocol):
    """What `frame_selection` needs."""

    model: str

    def select(self, images: list[Path]) -> Selection: ...


class Describer(Protocol):
    """What `frame_description` needs."""

    model: str
    question: str | None

    def describe(self, shots: list[Shot]) -> list[Description]: ...


class Generator(Protocol):
    """What `audio_generation` needs: AudioLDM2, ACE-Step, or the sketches of music and of foley."""

    model: str

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio: ...


def extract_frames(record: Record, extractor: FrameExtractor, files: Workspace) -> FrameExtraction:
    """`frame_extraction`."""
    require(record, "frame_extraction")
    source = record.video_input
    first = files.new(f"{files.made}/0001.jpg")
    taken: list[TimedFrame] = extractor.extract(files.path(source.path), first.parent, k=source.options.k)
    frames = tuple(Frame(path=f"{files.made}/{frame.path.name}", seconds=frame.seconds) for frame in taken)
    for frame in frames:
        files.new(frame.path)
    return FrameExtraction(model=extractor.model, folder=files.made, count=len(frames), frames=frames)


def detect_objects(record: Record, detector: Detector, files: Workspace) -> ObjectDetection:
    """`object_detection`, on all frames, or on the image."""
    require(record, "object_detection")
    frames = tuple(detector.detect([files.path(frame.path) for frame in record.pictures]))
    labels = {found.label for frame in frames for found in frame.objects}
    return ObjectDetection(
        model=detector.model, confidence=detector.confidence, frames=frames, objects=tuple(sorted(labels))
    )


def select_frame(record: Record, selector: Selector, files: Workspace) -> FrameSelection:
    """`frame_selection`."""
    require(record, "frame_selection")
    chosen = selector.select([files.path(frame.path) for frame in record.pictures])
    return FrameSelection(
        model=selector.model,
        path=record.pictures[chosen.index].path,
        index=chosen.index,
        latent_shape=chosen.latent_shape,
    )


def shot_to_describe(record: Record, files: Workspace) -> Shot:
    """What `frame_description` looks at: the selected frame, with the video's other frames."""
    require(record, "frame_description")
    selected = record.selected
    assert selected is not None
    others = tuple(files.path(frame.path) for frame in record.pictures if frame != selected)
    return Shot(frame=files.path(selected.path), others=others)


def described(describer: Describer, description: Description) -> FrameDescription:
    """`frame_description`, of one answer out of a batch."""
    return FrameDescription(
        model=describer.model, question=describer.question, text=description.text, mood=description.mood
    )


def enhance_prompt(record: Record, enhancer: PromptEnhancer) -> PromptEnhancement:
    """`prompt_enhancement`."""
    require(record, "prompt_enhancement")
    assert record.frame_description is not None
    assert record.object_detection is not None
    return enhancer.enhance(record.frame_description.text, record.object_detection.frames, record.video_input.options)


def audio_request(record: Record, kind: StemKind, *, reference: Path | None = None) -> AudioRequest:
    """What the record asks of the generator of this stem. `reference`: the file of the record's, where it is to be heard."""
    require(record, "audio_generation")
    prompts, options = record.prompt_enhancement, record.video_input.options
    assert prompts is not None
    return AudioRequest(
        prompt=prompts.music_prompt if kind == "music" else prompts.sound_prompt,
        negative_prompt=prompts.negative_prompt,
        seconds=record.video_input.result_seconds,
        seed=_stem_seed(options.seed or 0, kind),
        steps=options.steps,
        guidance=options.guidance,
        candidates=options.candidates,
        keep_candidates=options.keep_candidates,
        loop=options.loop,
        reference=reference,
        reference_weight=options.reference_weight,
        mood=record.frame_description.mood if record.frame_description else None,
    )


def generate_audio(
    record: Record, kind: StemKind, generator: Generator, files: Workspace, *, on_step: OnStep
) -> AudioGeneration:
    """`audio_generation`, one stem: made by the model at its own rate, kept as 48 kHz stereo as long as the result."""
    heard = _reference(record)
    request = audio_request(record, kind, reference=files.path(heard.path) if heard else None)
    made = generator.generate(request, on_step=on_step)
    ranking = _ranking(made, f"{files.made}/{kind}", request=request, files=files)
    key = ranking[made.chosen].path if ranking else None
    if key is None:
        key = f"{files.made}/{kind}.flac"
        write_stem(made.audio, files.new(key), seconds=request.seconds, loop=made.loops)
    stem = Stem(
        kind=kind,
        model=generator.model,
        path=key,
        duration_seconds=request.seconds,
        sample_rate=STEM_SAMPLE_RATE,
        channels=STEM_CHANNELS,
        model_sample_rate=made.audio.sample_rate,
        model_channels=made.audio.samples.shape[0],
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        steps=made.steps,
        guidance=made.guidance,
        candidates=len(made.candidates) or 1,
        score=made.score,
        prompt_words_unread=made.prompt_words_unread,
        chosen=made.chosen,
        ranking=ranking,
        loops=made.loops,
        reference=heard.token if heard and made.listened else None,
        reference_weight=request.reference_weight if made.listened else None,
        notes=notes_on(made, request=request, model=generator.model),
    )
    return AudioGeneration(stems=(stem,))


def _reference(record: Record) -> Reference | None:
    """The record's reference, if it counts."""
    came = record.video_input
    return came.reference if came.options.reference_weight > 0 else None


def _ranking(
    made: GeneratedAudio, name: str, *, request: AudioRequest, files: Workspace
) -> tuple[RankedCandidate, ...]:
    """The candidates of a stem; of those that are kept, the sound is written, numbered from 1."""
    ranking = []
    for number, candidate in enumerate(made.candidates, start=1):
        key = f"{name}-{number}.flac" if request.keep_candidates and candidate.audio else None
        if key and candidate.audio:
            write_stem(candidate.audio, files.new(key), seconds=request.seconds, loop=made.loops)
        ranking.append(RankedCandidate(score=candidate.score, path=key))
    return tuple(ranking)


def reconstruct(record: Record, reconstructor: Reconstructor, files: Workspace) -> Reconstruction:
    """`reconstruction`."""
    require(record, "reconstruction")
    assert record.audio_generation is not None
    source = record.video_input
    key = f"{files.made}/result.{result_format(source)}"
    stems = [StemFile(stem.kind, files.path(stem.path), stem.loops) for stem in record.audio_generation.stems]
    made = reconstructor.reconstruct(source, files.path(source.path), stems=stems, output=files.new(key))
    return made.model_copy(update={"path": key})


def inputs(record: Record, module: Module, part: StemKind | None = None) -> dict[str, object]:
    """Everything that the module's output depends on, besides the module itself: equal inputs, equal output.

    part: of `audio_generation`, the stem. The values are what pydantic can write as JSON. Raises MissingOutput.
    """
    require(record, module)
    source, options = record.video_input, record.video_input.options
    pictures = [frame.model_dump() for frame in record.pictures]
    match module:
        case "frame_extraction":
            return {"token": source.token, "k": options.k}
        case "object_detection" | "frame_selection":
            return {"pictures": pictures}
        case "frame_description":
            assert record.selected is not None
            return {"pictures": pictures, "selected": record.selected.path}
        case "prompt_enhancement":
            assert record.frame_description is not None
            assert record.object_detection is not None
            found = record.object_detection.model_dump(include={"frames"})
            return {"description": record.frame_description.text, **found, **options.model_dump(include=_WORDS)}
        case "audio_generation":
            assert part is not None
            return _audio_inputs(record, part)
        case "reconstruction":
            stems = record.audio_generation.stems if record.audio_generation else ()
            # `seconds` is the length that a still image is shown for; a video has its own.
            mix = {"seconds": source.result_seconds, **options.model_dump(include=_MIX)}
            heard = [(stem.kind, stem.path, stem.loops) for stem in stems]
            return {"token": source.token, "stems": heard, **mix}
    raise ValueError(f"{module} is not computed from a record")


def _audio_inputs(record: Record, kind: StemKind) -> dict[str, object]:
    asked: dict[str, object] = asdict(audio_request(record, kind))
    heard = _reference(record)
    # Where the reference lies means nothing; and the weight of none, too.
    return asked | {"reference": heard and heard.token, "reference_weight": heard and asked["reference_weight"]}


_WORDS = {"music_prompt", "sound_prompt", "negative_prompt"}
_MIX = {"format", "original", "music_volume_db", "sound_volume_db", "loudness_lufs"}


def _stem_seed(seed: int, kind: StemKind) -> int:
    # Diffusion from the same noise puts events at the same places, whatever the prompt: stems must not share it.
    return seed if kind == "music" else (seed + 1) % 2**32
