"""The deployment that owns runs: it calls the modules in the order of the graph and writes the log."""

import asyncio
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ray.exceptions import RayTaskError
from ray.serve.handle import DeploymentHandle

from models import steps
from models.errors import ImmersivaudioError
from models.prompt_enhancement import PromptEnhancer
from models.record import ModuleInfo, Outputs, Record
from serve.detached import detached
from serve.runner import Call, Runner, Unit
from serve.settings import AppSettings
from serve.store import Store

logger = logging.getLogger("ray.serve")

Handles = dict[str, DeploymentHandle[Any]]

# Which deployment computes what. `prompt_enhancement` is string interpolation: not worth a process.
SERVED_BY: dict[Unit, str] = {
    Unit("frame_extraction"): "FrameExtractor",
    Unit("object_detection"): "ObjectDetector",
    Unit("frame_selection"): "FrameSelector",
    Unit("frame_description"): "FrameDescriber",
    Unit("audio_generation", "music"): "MusicGenerator",
    Unit("audio_generation", "sounds"): "SoundGenerator",
    Unit("reconstruction"): "Reconstructor",
}


class Pipeline:
    """Owns runs. A replica that dies loses none: the log says what is done."""

    def __init__(self, settings: AppSettings, modules: Handles) -> None:
        self._modules = modules
        self._enhancer = PromptEnhancer(settings.prompt_enhancement)
        calls = calls_of({name: _call(handle) for name, handle in modules.items()}, self._enhancer)
        self._runner = Runner(Store(settings.store), calls, owner=uuid.uuid4().hex)
        self._working: set[asyncio.Task[None]] = set()
        self._loaded: Sequence[ModuleInfo] = ()

    async def start(self, run_id: str) -> None:
        """Begin working on a run, and return. The work ends by itself, whoever asked for it."""
        task = detached(self._runner.execute(run_id))
        self._working.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("a run could not be worked on", exc_info=error)

    async def info(self) -> Sequence[ModuleInfo]:
        """What every module has loaded. Raises when one has not answered yet."""
        if not self._loaded:
            # Asked once: it is fixed for a replica's life, and the question would wait in line behind minutes of work.
            served: list[ModuleInfo] = await asyncio.gather(
                *(self._modules[name].info.remote() for name in SERVED_BY.values())
            )
            own = ModuleInfo(module="prompt_enhancement", model=self._enhancer.model, device="cpu", profile="any")
            self._loaded = (*served[:4], own, *served[4:])
        return self._loaded


def calls_of(served: Mapping[str, Call], enhancer: PromptEnhancer) -> dict[Unit, Call]:
    """What computes each unit, from what calls each deployment."""

    async def enhance(run_id: str, record: Record) -> Outputs:
        return Outputs(prompt_enhancement=steps.enhance_prompt(record, enhancer))

    calls = {unit: served[name] for unit, name in SERVED_BY.items()}
    return {**calls, Unit("prompt_enhancement"): enhance}


def _call(handle: DeploymentHandle[Any]) -> Call:
    async def call(run_id: str, record: Record) -> Outputs:
        with plain_errors():
            outputs: Outputs = await handle.run.remote(run_id, record)
        return outputs

    return call


@contextmanager
def plain_errors() -> Iterator[None]:
    """Lets an error of ours out of another process as it was raised there, without that process' traceback for a message."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, ImmersivaudioError):
            raise error.cause from None
        raise
