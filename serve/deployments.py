"""One deployment per model. Each is a shim round one object of `models/`; what it adds stands in `serve/module_server.py`.

Those that make sound are in `serve/audio_server.py`.

Replicas, GPU fractions, and how many requests a replica takes at once, stand in `serve_config*.yaml`.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

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
from models.errors import DeadlinePassed, InvalidInput, NotFound
from models.frame_description import Description, Shot
from models.record import Outputs, Reference, VideoInput
from models.reference import kept_reference, read_reference
from models.sketch.scene import SceneDescriber, SceneDetector, SceneSelector, SketchSceneSettings
from serve import tracing
from serve.batching import GreedyBatcher
from serve.detached import detached
from serve.module_server import STUCK_SECONDS, ModuleServer, failures_of_ours
from serve.modules import Task
from serve.settings import AppSettings
from serve.sources import Sent, SentReference
from serve.workspace import StoreWorkspace

LOOK_SECONDS = 60.0  # a look at a file, before it is accepted
LOOKS_AT_ONCE = 8


class FrameExtractor(ModuleServer):
    """Opens what users send: looks at it before it is accepted, and takes its frames afterwards."""

    module = "frame_extraction"

    def load(self, settings: AppSettings) -> frame_extraction.FrameExtractor:
        return frame_extraction.FrameExtractor(settings.frame_extraction)

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        return Outputs(frame_extraction=steps.extract_frames(task.record, self.model, files))

    def __init__(self, settings: AppSettings) -> None:
        super().__init__(settings)
        # Threads of their own: a look does not wait behind extractions.
        self._looks = ThreadPoolExecutor(LOOKS_AT_ONCE, thread_name_prefix="look")
        self._looking: dict[object, float] = {}

    async def probe(self, sent: Sent) -> VideoInput:
        """`video_input`, of an object that has just been sent. Raises InvalidInput, NotFound and DeadlinePassed."""
        look = asyncio.get_running_loop().run_in_executor(self._looks, self._probe, sent)
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await look
        except TimeoutError as error:
            raise DeadlinePassed(f"looking at the file took longer than {LOOK_SECONDS:g} s") from error

    async def look(self, sent: Sent) -> VideoInput | InvalidInput:
        """`probe`, with a refusal as a value: Serve logs a traceback for whatever is raised, and a refusal is no failure."""
        try:
            return await self.probe(sent)
        except InvalidInput as error:
            return error

    def check_health(self) -> None:
        """Raise when a thread hangs in something that cannot be stopped."""
        super().check_health()
        late = time.monotonic() - LOOK_SECONDS - STUCK_SECONDS
        if any(since < late for since in list(self._looking.values())):
            raise RuntimeError(f"a look at a file has not ended {STUCK_SECONDS:g} s after its deadline")

    def _probe(self, sent: Sent) -> VideoInput:
        look = object()
        self._looking[look] = time.monotonic()
        try:
            at_work = tracing.span("video_input at work", within=sent.trace)
            with at_work, failures_of_ours(), StoreWorkspace(self.store, "probe") as files:
                seen = video_input.SourceFile(files.path(sent.path), name=sent.name, key=sent.path, token=sent.token)
                try:
                    found = video_input.probe(seen, options=sent.options, limits=self.settings.limits_of_all)
                except InvalidInput:
                    if (
                        not seen.path.exists()
                    ):  # another run of it has put it in its place between two looks: it is no bad file
                        raise FileNotFoundError(sent.path) from None
                    raise
                if sent.reference:
                    found = found.model_copy(update={"reference": _heard(sent.reference, files)})
                    files.keep()
                return found
        except FileNotFoundError as error:
            raise NotFound("the file is not there any more; send it again") from error
        finally:
            del self._looking[look]


def _heard(sent: SentReference, files: StoreWorkspace) -> Reference:
    """The sound to sound like: put where it is kept, unless it comes from there."""
    source = video_input.SourceFile(files.path(sent.path), name=sent.name, key=sent.path, token=sent.token)
    if sent.path == sent.kept:
        return kept_reference(source)
    return read_reference(source, to=files.new(sent.kept), key=sent.kept)


class ObjectDetector(ModuleServer):
    """YOLOv9, or the sketch of it."""

    module = "object_detection"

    def load(self, settings: AppSettings) -> steps.Detector:
        chosen = settings.object_detection
        if isinstance(chosen, SketchSceneSettings):
            return SceneDetector.load(chosen)
        return object_detection.ObjectDetector.load(chosen)

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        return Outputs(object_detection=steps.detect_objects(task.record, self.model, files))


class FrameSelector(ModuleServer):
    """ResNet18's latents and their medoid, or the sketch of them."""

    module = "frame_selection"

    def load(self, settings: AppSettings) -> steps.Selector:
        chosen = settings.frame_selection
        if isinstance(chosen, SketchSceneSettings):
            return SceneSelector.load(chosen)
        return frame_selection.FrameSelector.load(chosen)

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        return Outputs(frame_selection=steps.select_frame(task.record, self.model, files))


@dataclass(frozen=True)
class _ToDescribe:
    """One scene's frame in a batch."""

    task: Task
    shot: Shot
    begun: asyncio.Event


class FrameDescriber(ModuleServer):
    """Moondream2, another image-text-to-text model, or the sketch of one. Batches the frames of different runs."""

    module = "frame_description"

    def __init__(self, settings: AppSettings) -> None:
        super().__init__(settings)
        largest = getattr(settings.frame_description, "batch_size", 1)
        self._batcher = GreedyBatcher[_ToDescribe, Description](self._describe, largest=largest, begins=self._begins)
        self._describing: set[asyncio.Task[Outputs]] = set()

    def load(self, settings: AppSettings) -> steps.Describer:
        chosen = settings.frame_description
        if isinstance(chosen, SketchSceneSettings):
            return SceneDescriber.load(chosen)
        return frame_description.FrameDescriber.load(chosen)

    async def run(self, task: Task) -> Outputs:
        """As every module's. One who leaves while the frame waits is left out of the batch; else the batch goes on without him."""
        self.check_identity(task)
        begun = asyncio.Event()
        # On its own: the pictures must outlive the batch that they are in, also when this run is cancelled meanwhile.
        describing = detached(self._describe_one(task, begun))
        self._describing.add(describing)
        describing.add_done_callback(self._described)
        try:
            return await self.in_time(describing, begun, task)
        finally:
            if not begun.is_set():
                describing.cancel()

    def _described(self, describing: "asyncio.Task[Outputs]") -> None:
        self._describing.discard(describing)
        if not describing.cancelled():
            describing.exception()  # whoever waited has heard it, and nobody else needs to

    @staticmethod
    def _begins(batch: Sequence[_ToDescribe]) -> None:
        for one in batch:
            one.begun.set()

    async def _describe_one(self, task: Task, begun: asyncio.Event) -> Outputs:
        with self.traced(task), StoreWorkspace(self.store, task.folder) as files:
            with failures_of_ours():
                shots = await asyncio.to_thread(steps.shots_to_describe, task.record, files)
            described = await asyncio.gather(*(self._batcher.submit(_ToDescribe(task, shot, begun)) for shot in shots))
        return Outputs(frame_description=steps.described(self.model, described))

    def _describe(self, batch: Sequence[_ToDescribe]) -> Sequence[Description]:
        doing = work.Work(memory_was_short=any(one.task.memory_was_short for one in batch))
        with work.going_on(doing), self.in_hand(*(one.task for one in batch)), failures_of_ours():
            described: Sequence[Description] = self.model.describe([one.shot for one in batch])
        return described


class Reconstructor(ModuleServer):
    """Puts the sound under the picture."""

    module = "reconstruction"

    def load(self, settings: AppSettings) -> reconstruction.Reconstructor:
        return reconstruction.Reconstructor(settings.reconstruction)

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        return Outputs(reconstruction=steps.reconstruct(task.record, self.model, files))
