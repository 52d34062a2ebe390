"""Takes one run through the graph: whatever can run runs, and every output goes into the log before anything is built on it.

Knows modules as things to compute, not what or where they are.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from models.errors import Interrupted, InvalidInput, NotFound, StorageFailed
from models.record import (
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
from serve.attempts import FailedAttempt, attempts
from serve.log import LogFailed, LostRun, RunLog, progress_key
from serve.metrics import Metrics
from serve.modules import Modules, Unit, units
from serve.store import Store

logger = logging.getLogger("ray.serve")


class Runner:
    """Executes runs. A run that was begun elsewhere goes on from its log: units that are done are not computed again."""

    def __init__(self, store: Store, modules: Modules, metrics: Metrics, *, pauses: Sequence[float]) -> None:
        """`pauses`: seconds before each further attempt at a unit that failed for a reason of ours."""
        self._store = store
        self._modules = modules
        self._metrics = metrics
        self._pauses = pauses

    async def execute(self, run_id: str, *, owner: str) -> bool:
        """Take the run to its end; True when it has ended, False when it was lost to another owner.

        What fails on the way becomes the log's last event. Raises NotFound, and StorageFailed when the store itself is away.
        """
        log = await RunLog.open(self._store, run_id)
        if log.run.ended_at is not None:
            return True
        resumed = log.run.status == "running"
        try:
            await log.append(Started, owner=owner)
            if resumed:
                self._metrics.run_resumed()
                logger.info("run taken over", extra={"run_id": run_id})
            await self._compute(log)
        except LostRun as error:
            await log.catch_up()
            logger.info("run given up: it is %s (%s)", log.run.status, error, extra={"run_id": run_id})
            return log.run.ended_at is not None
        self._metrics.run_ended(log.run.status)
        return True

    async def _compute(self, log: RunLog) -> None:
        working: dict[asyncio.Task[None], Unit] = {}
        overtaken = asyncio.create_task(log.overtaken())
        try:
            while True:
                record = log.run.record
                for unit in units(record):
                    if unit not in working.values() and not unit.done(record) and unit.ready(record):
                        working[asyncio.create_task(self._one(log, unit))] = unit
                if not working:
                    break
                done, _ = await asyncio.wait({overtaken, *working}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task is overtaken:
                        await task  # raises LostRun
                    unit = working.pop(task)
                    if (error := task.exception()) is not None:
                        await self._fail(log, unit, error)
                        return
        finally:
            overtaken.cancel()
            for task in working:
                task.cancel()
            await asyncio.gather(overtaken, *working, return_exceptions=True)
            for unit in working.values():
                await self._forget_progress(log, unit)
        await log.append(Finished)
        logger.info("run finished", extra={"run_id": log.run.id})

    async def _one(self, log: RunLog, unit: Unit) -> None:
        began = time.monotonic()
        outputs = await self._attempts(log, unit)
        seconds = time.monotonic() - began
        await log.append(ModuleDone, module=unit.module, output=outputs, seconds=seconds)
        origin = _origin(outputs)
        self._metrics.module_done(unit.module, unit.part, origin, seconds)
        logger.info("module done", extra=_about(log, unit) | {"seconds": round(seconds, 3), "origin": origin})
        if origin == "computed":
            await self._forget_progress(log, unit)

    async def _forget_progress(self, log: RunLog, unit: Unit) -> None:
        with suppress(StorageFailed):  # it goes with the run
            await self._store.delete(progress_key(log.run.id, unit.module, unit.part))

    async def _attempts(self, log: RunLog, unit: Unit) -> Outputs:
        """The unit's outputs, at the first attempt that succeeds."""

        async def attempt(memory_was_short: bool) -> Outputs:
            return await self._modules.compute(
                unit, log.run.record, run_id=log.run.id, key=log.run.key, memory_was_short=memory_was_short
            )

        async def failed(told: FailedAttempt) -> None:
            fields = {"module": unit.module, "part": unit.part, "attempt": told.number, "cause": told.cause}
            await log.append(ModuleRetried, pause_seconds=told.pause_seconds, **fields)
            self._metrics.module_retried(unit.module, told.cause)
            about = _about(log, unit) | {"cause": told.cause}
            logger.warning("module interrupted, tried again", exc_info=told.error, extra=about)

        return await attempts(attempt, pauses=self._pauses, failed=failed)

    async def _fail(self, log: RunLog, unit: Unit, error: BaseException) -> None:
        if isinstance(error, LostRun | LogFailed | NotFound):  # no failure of the module's
            raise error
        kind, message = "input", str(error)
        if isinstance(error, Interrupted):
            kind, message = "internal", f"{unit.module} failed: {error}"
        elif not isinstance(error, InvalidInput):  # what broke in us may name our files
            kind = "internal"
            message = f"{unit.module} failed inside the service ({type(error).__name__}); its log has the details"
        await log.append(Failed, module=unit.module, kind=kind, message=message)
        logger.error("run failed", exc_info=error, extra=_about(log, unit))


def _origin(outputs: Outputs) -> Origin:
    output = next(output for _, output in outputs if output is not None)
    stems = getattr(output, "stems", None)
    origin: Origin = stems[0].origin if stems else output.origin
    return origin


def _about(log: RunLog, unit: Unit) -> dict[str, Module | StemKind | str | None]:
    # Not `module`: that is an attribute of every log record already, and the logger refuses it.
    return {"run_id": log.run.id, "module_name": unit.module, "part": unit.part}
