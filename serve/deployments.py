"""One deployment per model. Each is a shim round one object of `models/` and adds five things: its settings, files from and to the
store, a thread so that the event loop stays free, progress, and a word on what it has loaded.

Replicas, GPU fractions, and how many requests a replica takes at once, stand in `serve_config*.yaml`.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from models import (
    frame_description,
    frame_extraction,
    frame_selection,
    object_detection,
    reconstruction,
    steps,
    video_input,
)
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.errors import Cancelled
from models.frame_description import Description, Shot
from models.record import Module, ModuleInfo, Options, Outputs, Progress, Record, StemKind, VideoInput
from models.sketch import SketchAudioSettings
from models.sketch.scene import SceneDescriber, SceneDetector, SceneSelector, SketchSceneSettings
from serve.batching import GreedyBatcher
from serve.detached import to_the_end
from serve.log import PROGRESS_SECONDS, progress_key
from serve.settings import AppSettings
from serve.store import Store
from serve.workspace import StoreWorkspace


class ModuleServer:
    """What all deployments share. A subclass names its module, loads its model and does its step in a thread."""

    module: Module
    part: StemKind | None = None

    def __init__(self, settings: AppSettings) -> None:
        self.settings = settings
        self.store = Store(settings.store)
        self.model = self.load(settings)
        # One thread: a model works on one thing at a time, and what waits, waits in order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self.module)

    def load(self, settings: AppSettings) -> Any:
        """The object of `models/` that this replica serves."""
        raise NotImplementedError

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        """The module's step on one record. Blocks."""
        raise NotImplementedError

    async def run(self, run_id: str, record: Record) -> Outputs:
        """The module's output for this record. Every file that it names is in the store."""
        cancelled = threading.Event()
        work = asyncio.get_running_loop().run_in_executor(self._thread, self._run, run_id, record, cancelled)
        try:
            return await work
        except asyncio.CancelledError:
            cancelled.set()  # what has not begun is not begun; what has, ends at its next step
            raise

    async def info(self) -> ModuleInfo:
        """What is loaded."""
        name: str = self.model.model
        profile: Literal["paper", "sketch", "any"] = "sketch" if name.startswith("sketch/") else "paper"
        return ModuleInfo(
            module=self.module,
            part=self.part,
            model=name,
            device=getattr(self.model, "device", "cpu"),
            profile=profile if self.module not in ("frame_extraction", "reconstruction") else "any",
            licence=getattr(self.model, "licence", None),
        )

    def _run(self, run_id: str, record: Record, cancelled: threading.Event) -> Outputs:
        with StoreWorkspace(self.store, run_id) as files:
            outputs = self.step(record, files)
            files.keep()
        return outputs


class FrameExtractor(ModuleServer):
    """Opens what users send: looks at it before it is accepted, and takes its frames afterwards."""

    module = "frame_extraction"

    def load(self, settings: AppSettings) -> frame_extraction.FrameExtractor:
        return frame_extraction.FrameExtractor(settings.frame_extraction)

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        return Outputs(frame_extraction=steps.extract_frames(record, self.model, files))

    async def probe(self, key: str, name: str, options: Options) -> VideoInput:
        """`video_input`, of an object that has just been sent. Raises InvalidInput."""
        return await asyncio.to_thread(self._probe, key, name, options)  # not behind the extractions that wait

    def _probe(self, key: str, name: str, options: Options) -> VideoInput:
        with StoreWorkspace(self.store, "probe") as files:
            return video_input.probe(
                files.path(key), name=name, key=key, options=options, limits=self.settings.limits_of_all
            )


class ObjectDetector(ModuleServer):
    """YOLOv9, or the sketch of it."""

    module = "object_detection"

    def load(self, settings: AppSettings) -> steps.Detector:
        chosen = settings.object_detection
        if isinstance(chosen, SketchSceneSettings):
            return SceneDetector.load(chosen)
        return object_detection.ObjectDetector.load(chosen)

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        return Outputs(object_detection=steps.detect_objects(record, self.model, files))


class FrameSelector(ModuleServer):
    """ResNet18's latents and their medoid, or the sketch of them."""

    module = "frame_selection"

    def load(self, settings: AppSettings) -> steps.Selector:
        chosen = settings.frame_selection
        if isinstance(chosen, SketchSceneSettings):
            return SceneSelector.load(chosen)
        return frame_selection.FrameSelector.load(chosen)

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        return Outputs(frame_selection=steps.select_frame(record, self.model, files))


class FrameDescriber(ModuleServer):
    """Moondream2, another image-text-to-text model, or the sketch of one. Batches the frames of different runs."""

    module = "frame_description"

    def __init__(self, settings: AppSettings) -> None:
        super().__init__(settings)
        largest = getattr(settings.frame_description, "batch_size", 1)
        self._batcher = GreedyBatcher[Shot, Description](self._describe, largest=largest)

    def load(self, settings: AppSettings) -> steps.Describer:
        chosen = settings.frame_description
        if isinstance(chosen, SketchSceneSettings):
            return SceneDescriber.load(chosen)
        return frame_description.FrameDescriber.load(chosen)

    async def run(self, run_id: str, record: Record) -> Outputs:
        # To the end: the pictures must outlive the batch that they are in, also when this run is cancelled meanwhile.
        return await to_the_end(self._describe_one(run_id, record))

    async def _describe_one(self, run_id: str, record: Record) -> Outputs:
        with StoreWorkspace(self.store, run_id) as files:
            shot = await asyncio.to_thread(steps.shot_to_describe, record, files)
            description = await self._batcher.submit(shot)
        return Outputs(frame_description=steps.described(self.model, description))

    def _describe(self, shots: Sequence[Shot]) -> Sequence[Description]:
        described: Sequence[Description] = self.model.describe(list(shots))
        return described


class AudioServer(ModuleServer):
    """One audio model: `music` and `sounds` are two deployments of it, with a checkpoint each."""

    module = "audio_generation"

    def load_audio(self, chosen: SketchAudioSettings | AudioLDM2Settings) -> steps.Generator:
        if isinstance(chosen, SketchAudioSettings):
            from models.sketch.foley import FoleyGenerator
            from models.sketch.music import MusicGenerator

            return MusicGenerator.load(chosen) if self.part == "music" else FoleyGenerator.load(chosen)
        return AudioLDM2Generator.load(chosen)

    def _run(self, run_id: str, record: Record, cancelled: threading.Event) -> Outputs:
        assert self.part is not None
        report = _Reporter(self.store, run_id, self.part, cancelled)
        with StoreWorkspace(self.store, run_id) as files:
            made = steps.generate_audio(record, self.part, self.model, files, on_step=report)
            files.keep()
        return Outputs(audio_generation=made)


class MusicGenerator(AudioServer):
    """The music."""

    part = "music"

    def load(self, settings: AppSettings) -> steps.Generator:
        return self.load_audio(settings.music)


class SoundGenerator(AudioServer):
    """The sound effects."""

    part = "sounds"

    def load(self, settings: AppSettings) -> steps.Generator:
        return self.load_audio(settings.sounds)


class Reconstructor(ModuleServer):
    """Puts the sound under the picture."""

    module = "reconstruction"

    def load(self, settings: AppSettings) -> reconstruction.Reconstructor:
        return reconstruction.Reconstructor(settings.reconstruction)

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        return Outputs(reconstruction=steps.reconstruct(record, self.model, files))


class _Reporter:
    """Writes how far the audio is, at most twice a second, and stops it when nobody wants it any more."""

    def __init__(self, store: Store, run_id: str, part: StemKind, cancelled: threading.Event) -> None:
        self._cancelled = cancelled
        self._store = store
        self._part: StemKind = part
        self._key = progress_key(run_id, "audio_generation", part)
        self._last = 0.0

    def __call__(self, step: int, steps: int) -> None:
        if self._cancelled.is_set():
            raise Cancelled("nobody waits for this sound any more")
        if time.monotonic() - self._last < PROGRESS_SECONDS:
            return
        self._last = time.monotonic()
        progress = Progress(module="audio_generation", part=self._part, step=step, steps=steps)
        self._store.put(self._key, progress.model_dump_json().encode())
