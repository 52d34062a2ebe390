"""A run is a log: `runs/<run id>/events/000001.json` … , one small object per event, each created once and never changed.

Create-only is the whole of the fencing: a writer that has lost its run finds the next number taken, and stops. Nothing is kept in
memory that could not be read again; a follower needs nothing but the store.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Self

from pydantic import TypeAdapter

from models.errors import NotFound, StorageFailed
from models.record import (
    SCHEMA_VERSION,
    TERMINAL,
    Accepted,
    Cancelled,
    Event,
    Module,
    Outputs,
    Progress,
    Run,
    StemKind,
    VideoInput,
    fold,
)
from models.schema import Frozen
from serve.detached import to_the_end
from serve.store import Store, Taken

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
POLL_SECONDS = (0.01, 0.5)  # how often a follower looks: soon after something has happened, less often later
# How often progress is told and looked for: in short work, and in work of a minute and more.
PROGRESS_SECONDS = (0.5, 2.0)
OVERTAKEN_SECONDS = 0.25  # how often a writer looks whether its run was cancelled, or taken by another
LOOKS_PER_CHECK = 4  # and how many such looks later, whether it is there at all
APPEND_PAUSES = (0.2, 1.0, 3.0)  # seconds before an event is written again, when the store was away


class LostRun(Exception):
    """Somebody else writes this run's log."""


class LogFailed(StorageFailed):
    """The log cannot be written or read: no failure of a module, and nothing that the log itself could tell."""


class Heartbeat(Frozen):
    """Nothing has happened; the line is alive."""

    type: str = "heartbeat"


def event_key(run_id: str, seq: int) -> str:
    return f"runs/{run_id}/events/{seq:06d}.json"


def progress_key(run_id: str, module: Module, part: StemKind | None) -> str:
    return f"runs/{run_id}/progress/{module}{'.' + part if part else ''}.json"


def progress_pause(worked: float) -> float:
    """Seconds between two words on work that has gone on for so long. In a bucket each of them is paid for, and so is each look."""
    shortest, longest = PROGRESS_SECONDS
    return min(longest, max(shortest, worked / 30))


class RunLog:
    """One run's log, for one writer. `run` is what the log tells up to the last event read or written."""

    def __init__(self, store: Store, run: Run, seq: int) -> None:
        self._store = store
        self._seq = seq
        self._lock = asyncio.Lock()
        self.run = run
        self.owner: str | None = None
        """Who works on the run, where the one that writes does."""

    @classmethod
    async def create(
        cls,
        store: Store,
        run_id: str,
        video_input: VideoInput,
        *,
        key: str | None = None,
        rerun_of: str | None = None,
        outputs: Outputs | None = None,
    ) -> Self:
        """Begin a run: its first event. What is not given of `outputs` will be computed."""
        event = Accepted(
            schema_version=SCHEMA_VERSION,
            seq=1,
            at=time.time(),
            video_input=video_input,
            key=key,
            rerun_of=rerun_of,
            outputs=outputs or Outputs(),
        )
        await _create(store, event_key(run_id, 1), event.model_dump_json().encode())
        return cls(store, fold(run_id, [event]), 1)

    @classmethod
    async def open(cls, store: Store, run_id: str) -> Self:
        """Read a run's log to its end. Raises NotFound."""
        events = [event async for event in read_events(store, run_id, after=0)]
        if not events:
            raise NotFound(f"there is no run {run_id}")
        return cls(store, fold(run_id, events), len(events))

    async def append(self, make: Callable[..., Event], **fields: object) -> None:
        """Write the next event.

        Raises LostRun when its number is taken, NotFound when the run was deleted meanwhile, LogFailed when the store stays away.
        """
        # To the end: an event that is written, and then not looked after, could be all that is left of a deleted run.
        await to_the_end(self._append(make, **fields))

    async def _append(self, make: Callable[..., Event], **fields: object) -> None:
        async with self._lock:
            event = make(schema_version=SCHEMA_VERSION, seq=self._seq + 1, at=time.time(), **fields)
            run = self.run.apply(event)
            try:
                await _create(self._store, event_key(self.run.id, event.seq), event.model_dump_json().encode())
                await self._check_is_there()
            except Taken as error:
                raise LostRun(f"event {event.seq} of run {self.run.id} was written by somebody else") from error
            except StorageFailed as error:
                raise LogFailed(str(error)) from error
            self.run, self._seq = run, event.seq

    async def catch_up(self) -> None:
        """Read what others have written since."""
        async with self._lock:
            async for event in read_events(self._store, self.run.id, after=self._seq):
                self.run, self._seq = self.run.apply(event), event.seq

    async def overtaken(self) -> None:
        """Wait until somebody else writes this log, or deletes it. Raises LostRun or NotFound then, and never returns."""
        for look in itertools.count(1):
            await asyncio.sleep(OVERTAKEN_SECONDS)
            with suppress(StorageFailed):  # minutes of work are not given up because the store was away for a moment
                async with self._lock:
                    if await self._store.read(event_key(self.run.id, self._seq + 1)):
                        raise LostRun(f"event {self._seq + 1} of run {self.run.id} was written by somebody else")
                    if look % LOOKS_PER_CHECK == 0:
                        await self._check_is_there()

    async def _check_is_there(self) -> None:
        # Of a run that is deleted as soon as it is cancelled, its writer may see neither: every number is free again then.
        if await self._store.blob(event_key(self.run.id, 1)) is None:
            await self._store.delete_all(f"runs/{self.run.id}")
            raise NotFound(f"run {self.run.id} was deleted")


async def _create(store: Store, key: str, data: bytes) -> None:
    """Create the event, also when the store is away for a moment. Raises Taken."""
    for pause in (*APPEND_PAUSES, None):
        try:
            await store.create(key, data)
            break
        except Taken:
            there = await store.read(key)
            if there == data:  # it was written, and only the answer was lost
                break
            if there:
                raise
            await store.write(key, data)  # nothing is in it: its writer's machine lost power
        except StorageFailed:
            if pause is None:
                raise
            await asyncio.sleep(pause)


async def cancel(store: Store, run_id: str) -> Run:
    """The run, cancelled; as it is when it has ended already. Raises NotFound."""
    log = await RunLog.open(store, run_id)
    while log.run.ended_at is None:
        try:
            await log.append(Cancelled)
        except LostRun:  # its owner was quicker
            await log.catch_up()
    return log.run


async def read_events(store: Store, run_id: str, *, after: int) -> AsyncIterator[Event]:
    """The events that are there now, from number after + 1."""
    seq = after + 1
    while data := await store.read(event_key(run_id, seq)):  # an empty one was lost with its machine's power
        yield EVENT.validate_json(data)
        seq += 1


async def follow_events(
    store: Store, run_id: str, *, after: int = 0, heartbeat_seconds: float = 10
) -> AsyncIterator[Event | Progress | Heartbeat]:
    """Events as they are written, up to the one that ends the run, with the progress of modules and heartbeats between.

    Also for a run that ended long ago, and from any place in its log: following from its end repeats its last event.
    """
    quiet_since = looked_for_progress = last_event = time.monotonic()
    told: dict[str, Progress] = {}
    after = await _place(store, run_id, after)
    while True:
        async for event in read_events(store, run_id, after=after):
            after, quiet_since = event.seq, time.monotonic()
            last_event = quiet_since
            yield event
            if event.type in TERMINAL:
                return
        now = time.monotonic()
        if now - looked_for_progress > progress_pause(now - last_event):
            looked_for_progress = now
            async for progress in _progress(store, run_id, told):
                quiet_since = now
                yield progress
        if now - quiet_since > heartbeat_seconds:
            quiet_since = now
            if after and await store.blob(event_key(run_id, after)) is None:
                return  # the run was deleted
            yield Heartbeat()
        shortest, longest = POLL_SECONDS
        await asyncio.sleep(min(longest, max(shortest, (now - last_event) / 5)))


async def _place(store: Store, run_id: str, after: int) -> int:
    """Where to go on: a place that this log never had is its start; its end is told once more."""
    seen = await store.read(event_key(run_id, after)) if after else None
    if seen is None:
        return 0
    return after - 1 if EVENT.validate_json(seen).type in TERMINAL else after


async def _progress(store: Store, run_id: str, told: dict[str, Progress]) -> AsyncIterator[Progress]:
    for key in await store.keys(f"runs/{run_id}/progress"):
        data = await store.read(key)
        progress = Progress.model_validate_json(data) if data else None
        if progress and told.get(key) != progress:
            told[key] = progress
            yield progress
