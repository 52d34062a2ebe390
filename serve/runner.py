"""Takes one run through the graph: whatever can run runs, and every output goes into the log before anything is built on it.

Knows modules as things to call, not what or where they are.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from models.errors import InvalidInput
from models.record import Failed, Finished, Module, ModuleDone, Outputs, Record, Started, StemKind
from models.steps import READS, missing
from serve.log import LostRun, RunLog, progress_key
from serve.store import Store

logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Unit:
    """What is called and logged as one: a module, or one stem of `audio_generation`."""

    module: Module
    part: StemKind | None = None

    def done(self, record: Record) -> bool:
        if self.part is None:
            return record.done(self.module)
        made = record.audio_generation.stems if record.audio_generation else ()
        return any(stem.kind == self.part for stem in made)


Call = Callable[[str, Record], Awaitable[Outputs]]
"""Computes one unit: (run id, record) -> its outputs, with every file that they name in the store."""


def units(record: Record) -> list[Unit]:
    """All units of a run, in the paper's order."""
    found: list[Unit] = []
    for module in READS:
        if module == "audio_generation":
            found += [Unit(module, part) for part in record.video_input.options.stems]
        elif module in record.modules:
            found.append(Unit(module))
    return found


class Runner:
    """Executes runs. A run that was begun elsewhere goes on from its log: units that are done are not computed again."""

    def __init__(self, store: Store, calls: Mapping[Unit, Call], *, owner: str) -> None:
        self._store = store
        self._calls = calls
        self._owner = owner

    async def execute(self, run_id: str) -> None:
        """Take the run to its end. What fails on the way becomes the log's last event, unless the store itself is lost."""
        log = await RunLog.open(self._store, run_id)
        if log.run.ended_at is not None:
            return
        try:
            await log.append(Started, owner=self._owner)
            await self._compute(log)
        except LostRun as error:
            logger.warning(str(error), extra={"run_id": run_id})

    async def _compute(self, log: RunLog) -> None:
        working: dict[asyncio.Task[None], Unit] = {}
        try:
            while True:
                record = log.run.record
                for unit in units(record):
                    if unit not in working.values() and not unit.done(record) and not missing(record, unit.module):
                        working[asyncio.create_task(self._one(log, unit))] = unit
                if not working:
                    break
                done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    unit = working.pop(task)
                    if (error := task.exception()) is not None:
                        await self._fail(log, unit, error)
                        return
        finally:
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            for unit in working.values():
                await self._forget_progress(log, unit)
        await log.append(Finished)
        logger.info("run finished", extra={"run_id": log.run.id})

    async def _one(self, log: RunLog, unit: Unit) -> None:
        began = time.monotonic()
        outputs = await self._calls[unit](log.run.id, log.run.record)
        seconds = time.monotonic() - began
        await log.append(ModuleDone, module=unit.module, output=outputs, seconds=seconds)
        await self._forget_progress(log, unit)
        logger.info("module done", extra=_about(log, unit) | {"seconds": round(seconds, 3)})

    async def _forget_progress(self, log: RunLog, unit: Unit) -> None:
        if unit.part:  # only parts report any
            await self._store.delete(progress_key(log.run.id, unit.module, unit.part))

    async def _fail(self, log: RunLog, unit: Unit, error: BaseException) -> None:
        if isinstance(error, LostRun):
            raise error
        kind, message = "input", str(error)
        if not isinstance(error, InvalidInput):  # what broke in us may name our files
            kind = "internal"
            message = f"{unit.module} failed inside the service ({type(error).__name__}); its log has the details"
        await log.append(Failed, module=unit.module, kind=kind, message=message)
        logger.error("run failed", exc_info=error, extra=_about(log, unit))


def _about(log: RunLog, unit: Unit) -> dict[str, object]:
    # Not `module`: that is an attribute of every log record already, and the logger refuses it.
    return {"run_id": log.run.id, "module_name": unit.module, "part": unit.part}
