"""What every deployment adds to its object of `models/`: files from and to the store, threads so that the event loop stays free,
progress, a deadline, and a word on who it is.
"""

import asyncio
import errno
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from models import work
from models.errors import DeadlinePassed, OtherModel, OutOfMemory, StorageFailed, StorageFull, WorkerAway
from models.record import Module, ModuleInfo, Outputs, Progress, Record, StemKind
from models.schema import ModuleSettings
from serve import tracing
from serve.active import ActiveRuns
from serve.log import progress_key, progress_pause
from serve.metrics import GpuMemory
from serve.modules import Task
from serve.placement import claim
from serve.settings import AppSettings, Deadline
from serve.store import Store
from serve.workspace import StoreWorkspace, clear_scratch

logger = logging.getLogger("ray.serve")

# How often it is looked whether the run is still whose it was: in a bucket, each look is paid for.
UNWANTED_SECONDS = 10.0
# After its deadline, work that has not stopped by itself never will: the replica is replaced.
STUCK_SECONDS = 60.0


class ModuleServer:
    """A subclass names its module, loads its model and does its step in a thread."""

    module: Module
    setting: str | None = None
    """Where its settings stand in `AppSettings`. None: under the module's name."""

    def __init__(self, settings: AppSettings) -> None:
        tracing.start(type(self).__name__)
        _log_models_too()
        clear_scratch()
        self.settings = settings
        self.store = Store(settings.store)
        self._active = ActiveRuns(self.store)
        own = self.own(settings)
        # Before they are loaded: who replaces them meanwhile is noticed at the next start.
        weights = _weights_on_disk(own)
        claim(type(self).__name__, own)
        self.model = self.load(settings)
        told = (own.deciding(), self.model.model, getattr(self.model, "device", "cpu"), weights)
        self._identity = hashlib.sha256(repr(told).encode()).hexdigest()
        # As many threads as the model takes calls at once: one, unless it says so. What waits, waits in order.
        self._threads = ThreadPoolExecutor(getattr(self.model, "at_once", 1), thread_name_prefix=self.module)
        self._must_end_by: dict[object, float] = {}
        self._gpu_memory = GpuMemory()

    def own(self, settings: AppSettings) -> ModuleSettings:
        """The settings that it is loaded by."""
        own: ModuleSettings = getattr(settings, self.setting or self.module)
        return own

    def load(self, settings: AppSettings) -> Any:
        """The object of `models/` that this replica serves."""
        raise NotImplementedError

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        """The module's step on the task's record. Blocks. Called from several threads where the model takes several calls."""
        raise NotImplementedError

    async def run(self, task: Task) -> Outputs:
        """The module's output for this record. Every file that it names is in the store.

        Raises OtherModel, DeadlinePassed, WorkerAway, OutOfMemory, StorageFull, and what the step raises.
        """
        self.check_identity(task)
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        cancelled = threading.Event()
        result: asyncio.Future[Outputs] = loop.run_in_executor(
            self._threads, self._run, task, cancelled, lambda: loop.call_soon_threadsafe(begun.set)
        )
        try:
            return await self.in_time(result, begun, task)
        finally:
            result.cancel()  # what has not begun is not begun
            cancelled.set()  # what has, ends at its next step

    async def in_time(self, result: "asyncio.Future[Outputs]", begun: asyncio.Event, task: Task) -> Outputs:
        """The result, which has to be there so many seconds after the work has begun, and while somebody waits for it.

        Raises DeadlinePassed, and WorkerAway when the one who asked has died and the run is not his any more. The result itself is
        not cancelled, neither then nor when the caller is.
        """
        its_turn: asyncio.Future[Any] = asyncio.ensure_future(begun.wait())
        unwanted: asyncio.Future[Any] = asyncio.ensure_future(self._until_unwanted(task))
        seconds = self._deadline(task.record)
        try:
            await asyncio.wait([result, its_turn, unwanted], return_when=asyncio.FIRST_COMPLETED)
            if not unwanted.done():
                await asyncio.wait([result, unwanted], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            if unwanted.done():
                unwanted.result()
                logger.info("module stopped: whoever asked for it has died", extra=self._about(task))
                raise WorkerAway("the run has another owner by now, or has ended")
            raise DeadlinePassed(f"it took longer than the {seconds:g} s that it may")
        finally:
            its_turn.cancel()
            unwanted.cancel()

    async def _until_unwanted(self, task: Task) -> None:
        """Return when the owner who asked has died, and his run is not his any more. One who lives cancels by himself."""
        if task.run_id is None or task.owner is None:
            await asyncio.Event().wait()
            return
        while True:
            await asyncio.sleep(UNWANTED_SECONDS)
            try:
                if await self._active.holder(task.run_id) != task.owner and await self._has_died(task.owner):
                    return
            except StorageFailed as error:
                logger.warning("it could not be seen whose the run is: %s", error, extra=self._about(task))

    async def _has_died(self, owner: str) -> bool:
        """Whether he said goodbye, or gives no sign of life for `lease_seconds` from now on."""
        before = await self._active.last_beat(owner)
        if before is not None:
            await asyncio.sleep(self.settings.runs.lease_seconds)
        return await self._active.last_beat(owner) == before

    def check_identity(self, task: Task) -> None:
        """Raise OtherModel when the outputs of another model, or of other settings, are expected."""
        if task.identity not in (None, self._identity):
            raise OtherModel(f"{self.module} has another model or other settings by now")

    def check_health(self) -> None:
        """Raise when a thread hangs in something that cannot be stopped, or when the model says that it is broken."""
        self._gpu_memory.tell()  # here, since Serve asks every two seconds
        if time.monotonic() > min(self._must_end_by.copy().values(), default=float("inf")):
            raise RuntimeError(f"{self.module} has not stopped {STUCK_SECONDS:g} s after its deadline")
        if ask := getattr(self.model, "check_health", None):
            ask()

    async def identity(self) -> str | None:
        """What decides about the outputs, besides their inputs: model, weights, settings but for tuning."""
        return self._identity

    async def info(self, part: StemKind | None = None) -> ModuleInfo:
        """What is loaded, for this unit of the module."""
        name: str = self.model.model
        profile: Literal["paper", "sketch", "any"] = "sketch" if name.startswith("sketch/") else "paper"
        return ModuleInfo(
            module=self.module,
            part=part,
            model=name,
            device=getattr(self.model, "device", "cpu"),
            profile=profile if self.module not in ("frame_extraction", "reconstruction") else "any",
            licence=getattr(self.model, "licence", None),
        )

    def _run(self, task: Task, cancelled: threading.Event, begins: Callable[[], Any]) -> Outputs:
        begins()
        with self.traced(task):
            return self._work(task, cancelled)

    def _work(self, task: Task, cancelled: threading.Event) -> Outputs:
        doing = work.Work(cancelled, self._reporter(task), task.memory_was_short)
        with work.going_on(doing), self.in_hand(task), failures_of_ours():
            work.check()
            with StoreWorkspace(self.store, task.folder) as files:
                outputs = self.step(task, files)
                work.check()
                files.keep()
        return outputs

    @contextmanager
    def traced(self, task: Task) -> Iterator[None]:
        """Around the work on a task, within the attempt that it belongs to."""
        about = {"run_id": task.run_id, "module": self.module, "part": task.part, "model": self.model.model}
        with tracing.span(f"{self.module} at work", about, within=task.trace):
            yield

    @contextmanager
    def in_hand(self, *tasks: Task) -> Iterator[None]:
        """Around everything that a thread does for these tasks."""
        these = object()
        longest = max(self._deadline(task.record) for task in tasks)
        self._must_end_by[these] = time.monotonic() + longest + STUCK_SECONDS
        for task in tasks:
            logger.info("module begins", extra={**self._about(task), **tracing.log_fields()})
        try:
            yield
        finally:
            del self._must_end_by[these]

    def _about(self, task: Task) -> dict[str, str | None]:
        return {"run_id": task.run_id, "module_name": self.module, "part": task.part}

    def _deadline(self, record: Record) -> float:
        allowed: Deadline = getattr(self.settings.deadlines, self.module)
        came = record.video_input
        made = came.sound_seconds(len(record.scenes)) * came.options.candidates
        return allowed.seconds + allowed.per_second * made

    def _reporter(self, task: Task) -> Callable[[int, int], None]:
        return _Reporter(self.store, task.run_id, self.module, task.part) if task.run_id else lambda done, of: None


class _Reporter:
    """Writes how far a module is, at most twice a second, and less often later. Made when the work begins."""

    def __init__(self, store: Store, run_id: str, module: Module, part: StemKind | None) -> None:
        self._store = store
        self._module: Module = module
        self._part = part
        self._key = progress_key(run_id, module, part)
        self._began = self._last = time.monotonic()  # what is done within half a second needs no report

    def __call__(self, done: int, of: int) -> None:
        now = time.monotonic()
        if now - self._last < progress_pause(now - self._began):
            return
        self._last = now
        left = round((now - self._began) / done * (of - done), 1) if done else None
        progress = Progress(module=self._module, part=self._part, step=done, steps=of, seconds_left=left)
        self._store.put(self._key, progress.model_dump_json().encode())


@contextmanager
def failures_of_ours() -> Iterator[None]:
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


def _log_models_too() -> None:
    """What `models/` says goes where Serve's log goes. By itself it would go nowhere: Serve sets up no logger but its own."""
    ours = logging.getLogger("models")
    ours.parent = logger
    ours.setLevel(logger.getEffectiveLevel())


def _weights_on_disk(settings: Any) -> list[tuple[str, int, int]]:
    """Names, sizes and times of local weights: a checkpoint may be replaced under its old name."""
    places = (getattr(settings, name, None) for name in ("weights", "checkpoint", "tokenizer"))
    folders = [Path(place).expanduser() for place in places if place is not None]
    files = [file for place in folders if place.exists() for file in sorted((place, *place.rglob("*")))]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
