"""Works on runs: takes those that nobody has, and those whose owner has died, and executes them.

One in every `Pipeline` replica. All that the workers know of each other is in the store; see `serve/active.py`.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from models.errors import NotFound, StorageFailed
from serve.active import ActiveRun, ActiveRuns, Leases
from serve.detached import detached
from serve.metrics import Metrics
from serve.settings import RunSettings

logger = logging.getLogger("ray.serve")

LOOK_SECONDS = 1.0  # how often the store is looked through for runs to take
IDLE_LOOK_SECONDS = (
    5.0  # where there is no unfinished run at all: a new one is announced, and a bucket is paid by the look
)
BEATS_PER_LEASE = 4
REST_SECONDS = (1.0, 600.0)  # before a run is tried again that could not be begun or logged: at first, and in the end
ORPHAN_SECONDS = 60.0  # after which a run that was announced and never written is forgotten

Execute = Callable[..., Awaitable[bool]]
"""execute(run id, owner=…, leaving=…): takes a run to its end; False when it was lost, or left, to another owner."""


class Worker:
    """Owns runs, as many at once as the settings say. Everything that it must not forget is in the store."""

    def __init__(self, active: ActiveRuns, execute: Execute, metrics: Metrics, settings: RunSettings) -> None:
        self.owner = uuid.uuid4().hex
        self._active = active
        self._execute = execute
        self._metrics = metrics
        self._settings = settings
        self._leases = Leases(active, lease_seconds=settings.lease_seconds)
        self._working: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, _Rest] = {}
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._leaving = asyncio.Event()

    def start(self) -> None:
        """Begin to look for runs. Returns at once."""
        self._loops = [detached(self._beat()), detached(self._look())]

    def check(self) -> None:
        """Raise when the worker has stopped by itself: a replica like that is of no use."""
        for loop in self._loops:
            if loop.done():
                raise RuntimeError("the worker has stopped") from (None if loop.cancelled() else loop.exception())

    def nudge(self) -> None:
        """There is something to take."""
        self._wake.set()

    async def drain(self) -> None:
        """Take no more runs, and leave each when what is being computed for it is done; after `drain_seconds`, as it is.

        Until this is called, runs are taken as ever: Serve first lets a replica answer what it was asked.
        """
        self._leaving.set()
        if self._working:
            await asyncio.wait([*self._working.values()], timeout=self._settings.drain_seconds)
        await self.stop()

    async def stop(self) -> None:
        """Leave every run as it is, for others to take at once."""
        tasks = [*self._loops, *self._working.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._active.goodbye(self.owner)

    async def _beat(self) -> None:
        while True:
            try:
                if self._working:
                    await self._active.beat(self.owner)
            except StorageFailed as error:  # its runs are lost only if that lasts, and then their logs say so
                logger.warning("no sign of life could be given", exc_info=error)
            await asyncio.sleep(self._settings.lease_seconds / BEATS_PER_LEASE)

    async def _look(self) -> None:
        while True:
            pause = LOOK_SECONDS
            try:
                if not await self._take_what_is_free():
                    pause = IDLE_LOOK_SECONDS
            except StorageFailed as error:
                logger.warning("the store could not be looked through for runs", exc_info=error)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            self._wake.clear()

    async def _take_what_is_free(self) -> int:
        """Returns how many unfinished runs there are."""
        runs = await self._active.all()
        waiting = [run.waits_since for run in runs if run.waits_since is not None]
        self._metrics.queue(len(waiting), len(runs) - len(waiting))
        # By the store's clock and this machine's, which is good enough for minutes.
        self._metrics.oldest_waiting(time.time() - min(waiting) if waiting else 0.0)
        self._leases.begin_look(runs)
        there = {run.run_id for run in runs}
        self._resting = {run_id: rest for run_id, rest in self._resting.items() if run_id in there}
        for run in runs:
            if len(self._working) >= self._settings.at_once or self._leaving.is_set():
                break
            if run.run_id not in self._working and await self._is_free(run):
                await self._take(run)
        return len(runs)

    async def _is_free(self, run: ActiveRun) -> bool:
        if run.run_id in self._resting and self._resting[run.run_id].until > time.monotonic():
            return False
        if run.waits_since is not None:
            return True
        owner = await self._leases.owner_of(run)
        return owner is None or owner == self.owner or await self._leases.has_lapsed(owner)

    async def _take(self, run: ActiveRun) -> None:
        if not self._working:
            await self._active.beat(self.owner)  # without a sign of life, the run would be anybody's
        mine = run.claims and await self._leases.owner_of(run) == self.owner  # it rested, and nobody else has taken it
        if mine or await self._active.claim(run, self.owner):
            taken = run if mine else replace(run, claims=run.claims + 1)
            task = self._working[run.run_id] = detached(self._work_on(taken))
            task.add_done_callback(lambda _: self._put_down(run.run_id))

    def _put_down(self, run_id: str) -> None:
        self._working.pop(run_id, None)
        self._wake.set()  # there is room for another

    async def _work_on(self, run: ActiveRun) -> None:
        try:
            if await self._execute(run.run_id, owner=self.owner, leaving=self._leaving):
                await self._active.close(run.run_id)
            elif self._leaving.is_set():
                await self._active.release(run)
            else:
                self._rest(run.run_id)
        except NotFound:
            is_old = time.monotonic() - self._rest(run.run_id).since > ORPHAN_SECONDS
            if is_old or not await self._active.is_announced(run.run_id):
                await self._active.forget(run.run_id)
        except Exception as error:
            logger.error("a run could not be worked on", exc_info=error, extra={"run_id": run.run_id})
            self._rest(run.run_id)

    def _rest(self, run_id: str) -> "_Rest":
        """Leave the run alone for a while, and each time for longer."""
        first, longest = REST_SECONDS
        now = time.monotonic()
        before = self._resting.get(run_id, _Rest(since=now, pause=first / 2, until=now))
        pause = min(longest, 2 * before.pause)
        self._resting[run_id] = _Rest(since=before.since, pause=pause, until=now + pause)
        return before


@dataclass(frozen=True)
class _Rest:
    """How long a run is left alone; of this process' own clock."""

    since: float
    """When it could not be worked on for the first time."""
    pause: float
    until: float
