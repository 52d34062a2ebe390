"""The deployment that owns runs: it calls the modules in the order of the graph and writes the log."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray import exceptions as ray_errors
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from models.errors import ImmersivaudioError, OutOfMemory, WorkerAway, WorkerDied
from models.prompt_enhancement import PromptEnhancer
from models.record import Module, ModuleInfo, Outputs, Record, StemKind
from models.sketch import SketchAudioSettings
from serve import tracing
from serve.active import ActiveRuns
from serve.attempts import FailedAttempt, attempts
from serve.detached import detached
from serve.loaded import Loaded
from serve.metrics import RayMetrics
from serve.modules import Modules, PromptServer, Server, Task, Unit, units_of
from serve.retention import Retention
from serve.runner import Runner
from serve.settings import AppSettings, WithMusicSettings
from serve.store import Store
from serve.uploads import Uploads
from serve.worker import Worker

# What a call ends with when nobody could take it, or its machine is gone: no fault of what was to be worked on. A request that we
# cancelled ourselves does not come back at all.
AWAY = (
    ray_errors.ActorUnavailableError,
    ray_errors.NodeDiedError,
    ray_errors.TaskCancelledError,
    ray_errors.ObjectLostError,
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
)
# And when the process died that worked on it.
DIED = (ray_errors.RayActorError, ray_errors.WorkerCrashedError)

Handles = dict[str, DeploymentHandle[Any]]


DRAFTS = "DraftGenerator"


def served_by(settings: AppSettings) -> dict[Unit, str]:
    """Which deployment computes what. `prompt_enhancement` is string interpolation: not worth a process."""
    with_music = isinstance(settings.sounds, WithMusicSettings)
    full: dict[StemKind, str] = {
        "music": "MusicGenerator",
        "sounds": "MusicGenerator" if with_music else "SoundGenerator",
    }
    # Of what is a sketch anyway, the draft is the same, and found where that is.
    drafts = {
        kind: name if isinstance(getattr(settings, kind), SketchAudioSettings) else DRAFTS
        for kind, name in full.items()
        if settings.makes_draft_of(kind)
    }
    return {
        Unit("frame_extraction"): "FrameExtractor",
        Unit("object_detection"): "ObjectDetector",
        Unit("frame_selection"): "FrameSelector",
        Unit("frame_description"): "FrameDescriber",
        **{Unit("audio_generation", kind): name for kind, name in full.items()},
        **{Unit("audio_generation", kind, draft=True): name for kind, name in drafts.items()},
        Unit("reconstruction"): "Reconstructor",
    }


def told_of(settings: AppSettings) -> dict[Unit, str]:
    """Of `served_by`, what `GET /v1/modules` tells of: a draft only where something else makes the real thing."""
    return {unit: name for unit, name in served_by(settings).items() if not unit.draft or name == DRAFTS}


class Pipeline:
    """Owns runs. A replica that dies loses none: the log says what is done, and another replica goes on."""

    def __init__(self, settings: AppSettings, handles: Handles) -> None:
        tracing.start("Pipeline")
        self._settings = settings
        self._handles = handles
        self._metrics = RayMetrics()
        self._enhancer = PromptEnhancer(settings.prompt_enhancement)
        store = Store(settings.store)
        servers = servers_of(settings, {name: RemoteServer(handle) for name, handle in handles.items()}, self._enhancer)
        self._modules = Modules(store, servers)
        runner = Runner(store, self._modules, self._metrics, pauses=settings.runs.retry_pauses)
        self._worker = Worker(ActiveRuns(store), runner.execute, self._metrics, settings.runs)
        self._worker.start()
        retention = Retention(store, Uploads(store, settings.uploads), settings.retention)
        self._sweeping = detached(retention.sweep_for_ever())
        self._loaded = Loaded(store, settings, ask=self._ask, all_there=self._all_there)
        self._loaded.begin()

    async def __del__(self) -> None:
        """Serve calls this before it ends a replica in order, when it has answered what it was asked.

        Other replicas take its runs as soon as it leaves them.
        """
        await self._worker.drain()
        await asyncio.to_thread(tracing.stop)

    def check_health(self) -> None:
        """A replica that does not look for runs any more is replaced."""
        self._worker.check()
        if self._sweeping.done():
            raise RuntimeError("nothing is deleted any more") from self._sweeping.exception()

    async def nudge(self) -> None:
        """A run has been accepted. Without this it would be found, too, a few seconds later."""
        self._worker.nudge()

    async def compute(self, module: Module, record: Record, key: str | None, trace: str | None = None) -> Outputs:
        """One module alone, on any record that has what it reads. `trace`: `traceparent` of whoever asks."""
        with tracing.span("module alone", {"module": module}, within=trace):
            outputs: list[Outputs] = await asyncio.gather(
                *(self._alone(unit, record, key) for unit in units_of(record, module))
            )
        whole = Record(video_input=record.video_input)
        for part in outputs:
            whole = whole.append(part)
        return Outputs.model_validate(whole.model_dump(include=set(Outputs.model_fields)))

    async def _alone(self, unit: Unit, record: Record, key: str | None) -> Outputs:
        async def attempt(memory_was_short: bool) -> Outputs:
            return await self._modules.compute(unit, record, run_id=None, key=key, memory_was_short=memory_was_short)

        async def failed(told: FailedAttempt) -> None:
            self._metrics.module_retried(unit.module, told.cause)

        return await attempts(attempt, pauses=self._settings.runs.retry_pauses, failed=failed)

    async def info(self) -> Sequence[ModuleInfo]:
        """What every module had loaded when it was asked last; see `Loaded`."""
        return await self._loaded.info()

    def _all_there(self) -> bool:
        return all(self._handles[name].running_replicas_populated() for name in told_of(self._settings).values())

    async def _ask(self) -> Sequence[ModuleInfo]:
        asked: list[Any] = [
            self._handles[name].info.remote(unit.part) for unit, name in told_of(self._settings).items()
        ]
        try:
            served: list[ModuleInfo] = await asyncio.gather(*asked)
        except BaseException:
            for response in asked:
                response.cancel()  # else they would stay in line, and more with every question
            raise
        own = ModuleInfo(module="prompt_enhancement", model=self._enhancer.model, device="cpu", profile="any")
        return (*served[:4], own, *served[4:])


def servers_of(settings: AppSettings, served: Mapping[str, Server], enhancer: PromptEnhancer) -> dict[Unit, Server]:
    """What computes each unit, from what stands behind each deployment's name."""
    servers = {unit: served[name] for unit, name in served_by(settings).items()}
    return {**servers, Unit("prompt_enhancement"): PromptServer(enhancer)}


class RemoteServer:
    """A deployment, as whoever computes a unit."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self._handle = handle

    async def run(self, task: Task) -> Outputs:
        """The deployment's outputs. Raises WorkerDied when its replica is gone."""
        outputs: Outputs = await answer(self._handle.run.remote(task))
        return outputs

    async def identity(self) -> str | None:
        """As the deployment's."""
        identity: str | None = await answer(self._handle.identity.remote())
        return identity


async def answer(response: Any) -> Any:
    """What the deployment answers. A caller who is cancelled cancels the work; a worker that is gone is WorkerDied."""
    try:
        with plain_errors():
            return await response
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or not task.cancelling():  # it was cancelled at the other end
            raise WorkerAway("the process that worked on it was stopped") from None
        response.cancel()
        raise


@contextmanager
def plain_errors() -> Iterator[None]:
    """Lets an error of ours out of another process as it was raised there, without that process' traceback for a message."""
    try:
        yield
    except ray_errors.RayTaskError as error:
        if isinstance(error.cause, ImmersivaudioError):
            raise error.cause from None
        raise
    except AWAY as error:
        raise WorkerAway("there was no process to work on it") from error
    except ray_errors.OutOfMemoryError as error:
        raise OutOfMemory("the process that worked on it ran out of memory") from error
    except DIED as error:
        raise WorkerDied("the process that worked on it is gone") from error
