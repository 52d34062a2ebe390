"""Takes one run through the graph: whatever can run runs, and every output goes into the log before anything is built on it.

Knows modules as things to compute, not what or where they are.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from models.errors import Interrupted, InvalidInput, NotFound, StorageFailed
from models.record import (
    AudioGeneration,
    Failed,
    Finished,
    Module,
    ModuleDone,
    ModuleRetried,
    Origin,
    Outputs,
    Started,
    StemKind,
)
from serve import tracing
from serve.active import ActiveRuns
from serve.attempts import FailedAttempt, attempts, cause_of
from serve.log import LogFailed, LostRun, RunLog, progress_key
from serve.metrics import Metrics
from serve.modules import Modules, Unit, units
from serve.store import Store

logger = logging.getLogger("ray.serve")


class _Left(Exception):
    """The unit is not tried again here."""


class Runner:
    """Executes runs. A run that was begun elsewhere goes on from its log: units that are done are not computed again."""

    def __init__(self, store: Store, modules: Modules, metrics: Metrics, *, pauses: Sequence[float]) -> None:
        """`pauses`: seconds before each further attempt at a unit that failed for a reason of ours."""
        self._store = store
        self._modules = modules
        self._metrics = metrics
        self._pauses = pauses

    async def execute(self, run_id: str, *, owner: str, leaving: asyncio.Event | None = None) -> bool:
        """Take the run to its end; True when it has ended, False when it was lost to another owner, or left to one.

        Once `leaving` is set, nothing more is begun of it, nor tried again. It is left when what was begun is done, and in the log.

        What fails on the way becomes the log's last event. Raises NotFound, and StorageFailed when the store itself is away.
        """
        log = await RunLog.open(self._store, run_id)
        log.owner = owner
        if log.run.ended_at is not None:
            return True
        about = {"run_id": run_id, "media": log.run.record.video_input.media}
        with tracing.span("run", about, within=await self._accepted_in(log)) as run:
            has_ended = await self._execute(log, owner, leaving or asyncio.Event())
            run.tell({"status": log.run.status, "retries": log.run.retries, "resumptions": log.run.resumptions})
            if log.run.error:
                run.failed(log.run.error.kind)
            return has_ended

    async def _accepted_in(self, log: RunLog) -> str | None:
        """The trace that the run belongs to, whoever has worked on it before."""
        if not tracing.is_on():
            return None
        return await ActiveRuns(self._store).trace(log.run.id, log.run.key)

    async def _execute(self, log: RunLog, owner: str, leaving: asyncio.Event) -> bool:
        run_id, resumed = log.run.id, log.run.status == "running"
        try:
            await log.append(Started, owner=owner)
            if resumed:
                self._metrics.run_resumed()
                logger.info("run taken over", extra={"run_id": run_id} | tracing.log_fields())
            await self._compute(log, leaving)
        except LostRun as error:
            await log.catch_up()
            logger.info("run given up: it is %s (%s)", log.run.status, error, extra={"run_id": run_id})
            return log.run.ended_at is not None
        if log.run.ended_at is None:
            logger.info("run left, for another replica to go on", extra={"run_id": run_id})
            return False
        self._metrics.run_ended(log.run.status, log.run.ended_at - log.run.created_at)
        return True

    async def _compute(self, log: RunLog, leaving: asyncio.Event) -> None:
        working: dict[asyncio.Task[None], Unit] = {}
        overtaken = asyncio.create_task(log.overtaken())
        try:
            while True:
                if not leaving.is_set():
                    self._begin_what_is_ready(log, working, leaving)
                if not working:
                    break
                done, _ = await asyncio.wait({overtaken, *working}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task is overtaken:
                        await task  # raises LostRun
                    unit = working.pop(task)
                    error = task.exception()
                    if error is not None and not isinstance(error, _Left):
                        await self._fail(log, unit, error)
                        return
        finally:
            overtaken.cancel()
            for task in working:
                task.cancel()
            await asyncio.gather(overtaken, *working, return_exceptions=True)
            for unit in working.values():
                await self._forget_progress(log, unit)
        if leaving.is_set() and not all(unit.done(log.run.record) for unit in units(log.run.record)):
            return
        await log.append(Finished)
        logger.info("run finished", extra={"run_id": log.run.id} | tracing.log_fields())

    def _begin_what_is_ready(
        self, log: RunLog, working: dict[asyncio.Task[None], Unit], leaving: asyncio.Event
    ) -> None:
        record = log.run.record
        for unit in units(record):
            if unit not in working.values() and not unit.done(record) and unit.ready(record):
                working[asyncio.create_task(self._one(log, unit, leaving))] = unit

    async def _one(self, log: RunLog, unit: Unit, leaving: asyncio.Event) -> None:
        began = time.monotonic()
        outputs = await self._attempts(log, unit, leaving)
        seconds = time.monotonic() - began
        await log.append(ModuleDone, module=unit.module, output=outputs, seconds=seconds)
        origin = _origin(outputs)
        self._metrics.module_done(unit.module, unit.part, origin, seconds)
        if origin == "computed" and outputs.audio_generation:
            for stem in outputs.audio_generation.stems:
                self._metrics.sound_made(stem.kind, stem.model, stem.duration_seconds * stem.candidates)
        logger.info("module done", extra=_about(log, unit) | {"seconds": round(seconds, 3), "origin": origin})
        if origin == "computed":
            await self._forget_progress(log, unit)

    async def _forget_progress(self, log: RunLog, unit: Unit) -> None:
        with suppress(StorageFailed):  # it goes with the run
            await self._store.delete(progress_key(log.run.id, unit.module, unit.part))

    async def _attempts(self, log: RunLog, unit: Unit, leaving: asyncio.Event) -> Outputs:
        """The unit's outputs, at the first attempt that succeeds. Raises _Left when another would begin after `leaving` is set."""
        numbers = itertools.count(1)

        async def attempt(memory_was_short: bool) -> Outputs:
            short = {"attempt": next(numbers), "memory_was_short": memory_was_short}
            about = {"run_id": log.run.id, "module": unit.module, "part": unit.part, **short}
            with tracing.span(f"{unit.module} {unit.part}" if unit.part else unit.module, about) as span:
                outputs = await self._modules.compute(
                    unit,
                    log.run.record,
                    run_id=log.run.id,
                    key=log.run.key,
                    owner=log.owner,
                    memory_was_short=memory_was_short,
                )
                span.tell({"origin": _origin(outputs), "model": _model(outputs)})
            return outputs

        async def failed(told: FailedAttempt) -> None:
            fields = {"module": unit.module, "part": unit.part, "attempt": told.number, "cause": told.cause}
            await log.append(ModuleRetried, pause_seconds=told.pause_seconds, **fields)
            self._metrics.module_retried(unit.module, told.cause)
            about = _about(log, unit) | {"cause": told.cause}
            logger.warning("module interrupted, tried again", exc_info=told.error, extra=about)

        async def rest(seconds: float) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await leaving.wait()
            if leaving.is_set():
                raise _Left

        return await attempts(attempt, pauses=self._pauses, failed=failed, rest=rest)

    async def _fail(self, log: RunLog, unit: Unit, error: BaseException) -> None:
        if isinstance(error, LostRun | LogFailed | NotFound):  # no failure of the module's
            raise error
        kind, cause, message = "input", "input", str(error)
        if isinstance(error, Interrupted):
            kind, cause, message = "internal", cause_of(error), f"{unit.module} failed: {error}"
        elif not isinstance(error, InvalidInput):  # what broke in us may name our files
            kind, cause = "internal", "broken"
            message = f"{unit.module} failed inside the service ({type(error).__name__}); its log has the details"
        await log.append(Failed, module=unit.module, kind=kind, message=message)
        self._metrics.module_failed(unit.module, cause)
        logger.error("run failed", exc_info=error, extra=_about(log, unit))


def _origin(outputs: Outputs) -> Origin:
    origin: Origin = _output(outputs).origin
    return origin


def _model(outputs: Outputs) -> str:
    model: str = _output(outputs).model
    return model


def _output(outputs: Outputs) -> Any:
    """The one module's output; of sound, the first stem."""
    output = next(output for _, output in outputs if output is not None)
    return output.stems[0] if isinstance(output, AudioGeneration) else output


def _about(log: RunLog, unit: Unit) -> dict[str, Module | StemKind | str | None]:
    # Not `module`: that is an attribute of every log record already, and the logger refuses it.
    return {"run_id": log.run.id, "module_name": unit.module, "part": unit.part, **tracing.log_fields()}
