"""One deployment per model. Each is a shim round one object of `models/` and adds six things: its settings, files from and to the
store, a thread so that the event loop stays free, progress, a deadline, and a word on what it has loaded.

Replicas, GPU fractions, and how many requests a replica takes at once, stand in `serve_config*.yaml`.
"""

import asyncio
import errno
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from models import (
    frame_description,
    frame_extraction,
    frame_selection,
    object_detection,
    reconstruction,
    steps,
    video_input,
    work,
)
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.errors import DeadlinePassed, OutOfMemory, StorageFull
from models.frame_description import Description, Shot
from models.record import Module, ModuleInfo, Outputs, Progress, Record, StemKind, VideoInput
from models.sketch import SketchAudioSettings
from models.sketch.scene import SceneDescriber, SceneDetector, SceneSelector, SketchSceneSettings
from serve.batching import GreedyBatcher
from serve.detached import to_the_end
from serve.log import PROGRESS_SECONDS, progress_key
from serve.modules import Task
from serve.settings import AppSettings, Deadline
from serve.sources import Sent
from serve.store import Store
from serve.workspace import StoreWorkspace

logger = logging.getLogger("ray.serve")

STUCK_SECONDS = 60.0  # after its deadline, work that has not stopped by itself never will: the replica is replaced


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
        self._must_end_by = float("inf")

    def load(self, settings: AppSettings) -> Any:
        """The object of `models/` that this replica serves."""
        raise NotImplementedError

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        """The module's step on one record. Blocks."""
        raise NotImplementedError

    async def run(self, task: Task) -> Outputs:
        """The module's output for this record. Every file that it names is in the store.

        Raises DeadlinePassed, OutOfMemory, StorageFull, and what the step raises.
        """
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        doing = work.Work(report=self._reporter(task), memory_was_short=task.memory_was_short)
        result: asyncio.Future[Any] = loop.run_in_executor(
            self._thread, self._run, task, doing, lambda: loop.call_soon_threadsafe(begun.set)
        )
        its_turn: asyncio.Future[Any] = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait([result, its_turn], return_when=asyncio.FIRST_COMPLETED)
            seconds = self._deadline(task.record)
            async with asyncio.timeout(seconds):
                outputs: Outputs = await result
                return outputs
        except TimeoutError as error:
            raise DeadlinePassed(f"it took longer than the {seconds:g} s that it may") from error
        finally:
            its_turn.cancel()
            result.cancel()  # what has not begun is not begun
            doing.cancelled.set()  # what has, ends at its next step

    def check_health(self) -> None:
        """Raise when the thread hangs in something that cannot be stopped."""
        if time.monotonic() > self._must_end_by:
            raise RuntimeError(f"{self.module} has not stopped {STUCK_SECONDS:g} s after its deadline")

    async def identity(self) -> str | None:
        """What decides about the outputs, besides their inputs: model, weights, settings."""
        own = getattr(self.settings, self.part or self.module)
        told = (own.model_dump_json(), self.model.model, getattr(self.model, "device", "cpu"), _weights_on_disk(own))
        return hashlib.sha256(repr(told).encode()).hexdigest()

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

    def _run(self, task: Task, doing: work.Work, begins: Callable[[], Any]) -> Outputs:
        begins()
        with work.going_on(doing), self._in_hand(task.record, task.run_id), _failures_of_ours():
            work.check()
            with StoreWorkspace(self.store, task.folder) as files:
                outputs = self.step(task.record, files)
                work.check()
                files.keep()
        return outputs

    @contextmanager
    def _in_hand(self, record: Record, run_id: str | None) -> Iterator[None]:
        """Around everything that the thread does for a run."""
        self._must_end_by = time.monotonic() + self._deadline(record) + STUCK_SECONDS
        logger.info("module begins", extra={"run_id": run_id, "module_name": self.module, "part": self.part})
        try:
            yield
        finally:
            self._must_end_by = float("inf")

    def _deadline(self, record: Record) -> float:
        allowed: Deadline = getattr(self.settings.deadlines, self.module)
        made = record.video_input.result_seconds * record.video_input.options.candidates
        return allowed.seconds + allowed.per_second * made

    def _reporter(self, task: Task) -> Callable[[int, int], None]:
        return _Reporter(self.store, task.run_id, self.module, self.part) if task.run_id else lambda done, of: None


class FrameExtractor(ModuleServer):
    """Opens what users send: looks at it before it is accepted, and takes its frames afterwards."""

    module = "frame_extraction"

    def load(self, settings: AppSettings) -> frame_extraction.FrameExtractor:
        return frame_extraction.FrameExtractor(settings.frame_extraction)

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        return Outputs(frame_extraction=steps.extract_frames(record, self.model, files))

    async def probe(self, sent: Sent) -> VideoInput:
        """`video_input`, of an object that has just been sent. Raises InvalidInput."""
        return await asyncio.to_thread(self._probe, sent)  # not behind the extractions that wait

    def _probe(self, sent: Sent) -> VideoInput:
        with _failures_of_ours(), StoreWorkspace(self.store, "probe") as files:
            seen = video_input.SourceFile(files.path(sent.path), name=sent.name, key=sent.path, token=sent.token)
            return video_input.probe(seen, options=sent.options, limits=self.settings.limits_of_all)


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
        self._batcher = GreedyBatcher[tuple[Task, Shot], Description](self._describe, largest=largest)

    def load(self, settings: AppSettings) -> steps.Describer:
        chosen = settings.frame_description
        if isinstance(chosen, SketchSceneSettings):
            return SceneDescriber.load(chosen)
        return frame_description.FrameDescriber.load(chosen)

    async def run(self, task: Task) -> Outputs:
        # To the end: the pictures must outlive the batch that they are in, also when this run is cancelled meanwhile.
        return await to_the_end(self._describe_one(task))

    async def _describe_one(self, task: Task) -> Outputs:
        with StoreWorkspace(self.store, task.folder) as files:
            with _failures_of_ours():
                shot = await asyncio.to_thread(steps.shot_to_describe, task.record, files)
            description = await self._batcher.submit((task, shot))
        return Outputs(frame_description=steps.described(self.model, description))

    def _describe(self, batch: Sequence[tuple[Task, Shot]]) -> Sequence[Description]:
        doing = work.Work(memory_was_short=any(task.memory_was_short for task, _ in batch))
        task, _ = batch[0]
        with work.going_on(doing), self._in_hand(task.record, task.run_id), _failures_of_ours():
            described: Sequence[Description] = self.model.describe([shot for _, shot in batch])
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

    def step(self, record: Record, files: StoreWorkspace) -> Outputs:
        assert self.part is not None
        return Outputs(audio_generation=steps.generate_audio(record, self.part, self.model, files, on_step=work.step))


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
    """Writes how far a module is, at most twice a second."""

    def __init__(self, store: Store, run_id: str, module: Module, part: StemKind | None) -> None:
        self._store = store
        self._module: Module = module
        self._part = part
        self._key = progress_key(run_id, module, part)
        self._last = time.monotonic()  # what is done within half a second needs no report

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._last < PROGRESS_SECONDS:
            return
        self._last = time.monotonic()
        progress = Progress(module=self._module, part=self._part, step=done, steps=of)
        self._store.put(self._key, progress.model_dump_json().encode())


@contextmanager
def _failures_of_ours() -> Iterator[None]:
    """Names the failures that may not be there at the next attempt."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull("there is no space left on the disk that is worked on") from error
    except Exception as error:
        # torch's own class is known by its name: nothing here may need torch
        if not isinstance(error, MemoryError) and type(error).__name__ != "OutOfMemoryError":
            raise
        raise OutOfMemory("the model ran out of memory") from error


def _weights_on_disk(settings: Any) -> list[tuple[str, int, int]]:
    """Names, sizes and times of local weights: a checkpoint may be replaced under its old name."""
    places = (getattr(settings, name, None) for name in ("weights", "checkpoint", "tokenizer"))
    folders = [Path(place).expanduser() for place in places if place is not None]
    files = [file for place in folders if place.exists() for file in sorted((place, *place.rglob("*")))]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
