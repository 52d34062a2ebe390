"""From the record to a module's verb and back: what each module is given, and what it appends.

Works on any record that has the outputs a module reads (`dependencies.py`), with files anywhere (`workspace.py`). The audio
generators have a file of their own, `audio_step.py`.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol

from models.cuts import refined
from models.dependencies import require
from models.frame_description import Description, Shot
from models.frame_extraction import FrameExtractor, TimedFrame
from models.frame_selection import Selection
from models.prompt_enhancement import PromptEnhancer, SeenScene
from models.reconstruction import Reconstructor, StemFile, result_format
from models.record import (
    Files,
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameObjects,
    FrameSelection,
    ObjectDetection,
    PromptEnhancement,
    Reconstruction,
    Record,
    Scene,
    SceneDescription,
    Stem,
)
from models.scenes import SelectedScene
from models.text_track import SceneText
from models.workspace import Workspace


class Detector(Protocol):
    """What `object_detection` needs: YOLOv9, or the sketch of it."""

    model: str
    confidence: float

    def detect(self, images: list[Path]) -> list[FrameObjects]: ...


class Selector(Protocol):
    """What `frame_selection` needs."""

    model: str

    def select(self, images: list[Path], *, scenes: int | Literal["auto"]) -> Selection: ...


class Describer(Protocol):
    """What `frame_description` needs."""

    model: str
    question: str | None

    def describe(self, shots: list[Shot]) -> list[Description]: ...


def extract_frames(record: Record, extractor: FrameExtractor, files: Workspace) -> FrameExtraction:
    """`frame_extraction`."""
    require(record, "frame_extraction")
    source = record.video_input
    first = files.new(f"{files.made}/0001.jpg")
    taken: list[TimedFrame] = extractor.extract(
        files.path(source.path), first.parent, k=source.options.k, for_scenes=source.options.scenes != 1
    )
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
    """`frame_selection`: the frames are divided into scenes, and the borders between these put where the picture changes."""
    require(record, "frame_selection")
    chosen = selector.select(
        [files.path(frame.path) for frame in record.pictures], scenes=record.video_input.options.scenes
    )
    scenes = _scenes(record, chosen.scenes, files)
    return FrameSelection(
        model=selector.model,
        path=scenes[0].path,
        index=scenes[0].index,
        latent_shape=chosen.latent_shape,
        scenes=scenes,
        notes=_fewer(record, len(scenes)),
    )


def _fewer(record: Record, found: int) -> tuple[str, ...]:
    asked, frames = record.video_input.options.scenes, len(record.pictures)
    if asked == "auto" or found >= asked:
        return ()
    return (
        f"{asked} scenes were asked for, and the {frames} frames that were taken show {found}: a higher k takes more",
    )


def _scenes(record: Record, chosen: Sequence[SelectedScene], files: Workspace) -> tuple[Scene, ...]:
    source, frames = record.video_input, record.pictures
    between = [(frames[scene.first - 1].seconds, frames[scene.first].seconds) for scene in chosen[1:]]
    borders = refined(files.path(source.path), between) if between else []
    times = pairwise((0.0, *borders, source.result_seconds))
    return tuple(
        Scene(start_seconds=start, end_seconds=end, index=scene.index, path=frames[scene.index].path)
        for scene, (start, end) in zip(chosen, times, strict=True)
        if start < end  # frames that a record gives the same time
    )


def shots_to_describe(record: Record, files: Workspace) -> list[Shot]:
    """What `frame_description` looks at: each scene's frame, with the scene's other frames."""
    require(record, "frame_description")
    shots = []
    for scene in record.scenes:
        others = [record.pictures[index] for index in record.frames_of(scene) if index != scene.index]
        shots.append(Shot(frame=files.path(scene.path), others=tuple(files.path(frame.path) for frame in others)))
    return shots


def described(describer: Describer, descriptions: Sequence[Description]) -> FrameDescription:
    """`frame_description`, of the answers about each scene."""
    first, *later = descriptions
    return FrameDescription(
        model=describer.model,
        question=describer.question,
        text=first.text,
        mood=first.mood,
        later=tuple(SceneDescription(text=one.text, mood=one.mood) for one in later),
    )


def enhance_prompt(record: Record, enhancer: PromptEnhancer) -> PromptEnhancement:
    """`prompt_enhancement`."""
    require(record, "prompt_enhancement")
    if record.video_input.text is not None:  # in the place of what a picture shows
        return enhancer.enhance([SeenScene(record.video_input.text, ())], record.video_input.options)
    assert record.frame_description is not None
    assert record.object_detection is not None
    seen = []
    for scene, described in zip(record.scenes, record.frame_description.scenes, strict=True):
        frames = record.frames_of(scene)
        found = [frame for frame in record.object_detection.frames if frame.frame in frames]
        seen.append(SeenScene(described.text, found))
    return enhancer.enhance(seen, record.video_input.options)


def reconstruct(record: Record, reconstructor: Reconstructor, files: Workspace) -> Reconstruction:
    """`reconstruction`."""
    require(record, "reconstruction")
    assert record.audio_generation is not None
    source = record.video_input
    key = f"{files.made}/result.{result_format(source)}"
    stems = [StemFile(stem.kind, files.path(stem.path), stem.loops) for stem in record.audio_generation.stems]
    output = files.new(key)
    made = reconstructor.reconstruct(
        source,
        files.path(source.path),
        stems=stems,
        output=output,
        texts=scene_texts(record),
        origin=origin_of(record),
    )
    beside = {name: f"{files.made}/{PurePosixPath(file).name}" for name, file in made.files.by_name.items()}
    for beside_key in beside.values():
        files.new(beside_key)
    return made.model_copy(update={"path": key, "files": Files(**beside)})


def scene_texts(record: Record) -> list[SceneText]:
    """The scenes' descriptions, where there are any."""
    described = record.frame_description
    if described is None or len(described.scenes) != len(record.scenes):
        return []
    return [
        SceneText(scene.start_seconds, scene.end_seconds, one.text)
        for scene, one in zip(record.scenes, described.scenes, strict=True)
        if one.text
    ]


def origin_of(record: Record) -> str:
    """What made the sound, in a line: the models, and the seed and takes by which it can be made again."""
    stems = record.audio_generation.stems if record.audio_generation else ()
    made = (f"{stem.kind} by {stem.model}{_takes(stem)}" for stem in stems)
    return ", ".join((*made, f"seed {record.video_input.options.seed}"))


def _takes(stem: Stem) -> str:
    if not any(stem.takes):
        return ""
    return f" (take{'s' if stem.later_prompts else ''} {' '.join(map(str, stem.takes))})"
