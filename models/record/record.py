"""One JSON record of one run: what came in, and what every module made of it."""

from bisect import bisect_left
from typing import Any, Self

from pydantic import model_validator

from models.record.options import MODULES, SCHEMA_VERSION, Module, without_ducking
from models.record.sound import AudioGeneration, Reconstruction
from models.record.source import VideoInput
from models.record.vision import (
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameSelection,
    ObjectDetection,
    PromptEnhancement,
    Scene,
)
from models.schema import Frozen

_SKIPPED: dict[str, tuple[Module, ...]] = {
    "video": (),
    "image": ("frame_extraction", "frame_selection"),
    "text": ("frame_extraction", "object_detection", "frame_selection", "frame_description"),
}


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
        return {**without_ducking(given, version), "schema_version": SCHEMA_VERSION}

    @property
    def pictures(self) -> tuple[Frame, ...]:
        """The frames that the vision modules look at: the extracted ones, or the image itself; none beside words alone."""
        if self.video_input.media == "image":
            return (Frame(path=self.video_input.path, seconds=0),)
        return self.frame_extraction.frames if self.frame_extraction else ()

    @property
    def selected(self) -> Frame | None:
        """The frame to describe: the medoid, or the image itself; None beside words alone."""
        if self.video_input.media == "image":
            return self.pictures[0]
        chosen = self.frame_selection
        # An edited selection is there before the frames that it chooses from.
        return self.pictures[chosen.index] if chosen and chosen.index < len(self.pictures) else None

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """The scenes of the result, at least one; an image or words are one, and so is a video until its frames were selected."""
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
        skipped = _SKIPPED[self.video_input.media]
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
