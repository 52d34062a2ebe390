"""Unfinished runs, and who works on them.

    active/<run id>/000000[.<API key's name>]   the run is accepted, and has not ended; the trace that it belongs to, if any
    active/<run id>/000001 …                    claims, each created once; the last one is the owner's; an empty one, nobody's
    owners/<owner>.json                         the owner's sign of life, renewed as long as it lives
    ended/<run id>                              written at the end: its age decides when the run is deleted

A claim is taken by creating the next number, so of two that try, one succeeds. An owner has lost its runs when its sign of life has
not changed for `lease_seconds` of the observer's own clock: nobody compares the clocks of two machines.
"""

import json
import re
import time
from collections import defaultdict
from dataclasses import dataclass

from models.errors import StorageFailed
from serve import tracing
from serve.log import event_key
from serve.store import Entry, Store, Taken

_PLACE = re.compile(r"active/([0-9a-f]{32})/(\d{6})(?:\.([a-z0-9_-]+))?")


@dataclass(frozen=True)
class ActiveRun:
    """One unfinished run."""

    run_id: str
    key: str | None
    """Name of the API key that it belongs to."""
    since: float
    """Unix time at which it was accepted, seconds."""
    claims: int
    """How often it was taken or left; 0 before anybody has taken it."""
    waits_since: float | None
    """Unix time from which on nobody has it: it was accepted then, or left. None: somebody has it, or had it when he died."""


class ActiveRuns:
    """What the store knows of unfinished runs."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(self, run_id: str, key: str | None) -> None:
        """The run exists, and waits."""
        trace = tracing.traceparent()
        await self._store.create(_mark_key(run_id, key), json.dumps({"traceparent": trace} if trace else {}).encode())

    async def trace(self, run_id: str, key: str | None) -> str | None:
        """`traceparent` of the request that the run was accepted in; None where nobody traced it."""
        data = await self._store.read(_mark_key(run_id, key))
        trace: str | None = json.loads(data).get("traceparent") if data else None
        return trace

    async def close(self, run_id: str) -> None:
        """The run has ended."""
        await self._store.write(f"ended/{run_id}", b"{}")
        if await self._store.blob(event_key(run_id, 1)) is None:  # it was deleted before its owner had put it down
            await self._store.delete_all(f"runs/{run_id}")
            await self._store.delete(f"ended/{run_id}")
        await self.forget(run_id)

    async def forget(self, run_id: str) -> None:
        """There is no such run."""
        await self._store.delete_all(f"active/{run_id}")

    async def is_announced(self, run_id: str) -> bool:
        """Whether the run's mark is there. A claim without one was taken when the run was closed already."""
        return any(key.split("/")[2].startswith("000000") for key in await self._store.keys(f"active/{run_id}"))

    async def all(self) -> list[ActiveRun]:
        """Every unfinished run, the oldest first."""
        found: dict[str, list[tuple[int, str | None, Entry]]] = defaultdict(list)
        for entry in await self._store.entries("active"):
            if match := _PLACE.fullmatch(entry.key):
                found[match[1]].append((int(match[2]), match[3], entry))
        runs = []
        for run_id, claims in found.items():
            key = next((key for _, key, _ in claims if key), None)
            since = min(entry.modified for _, _, entry in claims)
            number, _, last = max(claims, key=lambda claim: claim[0])
            is_left = number == 0 or last.size == 0
            runs.append(ActiveRun(run_id, key, since, number, last.modified if is_left else None))
        return sorted(runs, key=lambda run: (run.since, run.run_id))

    async def claim(self, run: ActiveRun, owner: str) -> bool:
        """Take the run, as it was seen. False: somebody else has it."""
        try:
            await self._store.create(_claim_key(run.run_id, run.claims + 1), owner.encode())
        except Taken:
            return False
        return True

    async def release(self, run: ActiveRun) -> None:
        """Nobody works on the run, as it was seen, any more: a claim by nobody."""
        await self.claim(run, "")

    async def owner_of(self, run: ActiveRun) -> str | None:
        """Who has claimed it last; None where nobody has it, or that cannot be told any more."""
        return await self._claimed_by(run.run_id, run.claims)

    async def holder(self, run_id: str) -> str | None:
        """Who has the run now, by the store; None where nobody has it, and when it has ended."""
        places = map(_PLACE.fullmatch, await self._store.keys(f"active/{run_id}"))
        last = max((int(place[2]) for place in places if place), default=0)
        return await self._claimed_by(run_id, last) if last else None

    async def _claimed_by(self, run_id: str, number: int) -> str | None:
        data = await self._store.read(_claim_key(run_id, number))
        return data.decode() if data else None

    async def beat(self, owner: str) -> None:
        """The owner's sign of life."""
        await self._store.write(_beat_key(owner), f"{time.time_ns()}".encode())

    async def last_beat(self, owner: str) -> bytes | None:
        """The owner's last sign of life, to be compared with what it was before; None when it has said goodbye."""
        return await self._store.read(_beat_key(owner))

    async def goodbye(self, owner: str) -> None:
        """Its runs are free at once."""
        await self._store.delete(_beat_key(owner))


class Leases:
    """Which owners are alive, as one observer sees them."""

    def __init__(self, active: ActiveRuns, *, lease_seconds: float) -> None:
        self._active = active
        self._lease_seconds = lease_seconds
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._owners: dict[tuple[str, int], str] = {}
        self._told: dict[str, bool] = {}

    async def owner_of(self, run: ActiveRun) -> str | None:
        """Who has claimed the run. Claims never change, so each is read once."""
        place = (run.run_id, run.claims)
        if place not in self._owners and (owner := await self._active.owner_of(run)):
            self._owners[place] = owner
        return self._owners.get(place)

    async def has_lapsed(self, owner: str) -> bool:
        """Whether the owner has not given a sign of life for `lease_seconds`, or has said goodbye. Looked up once a look."""
        if owner not in self._told:
            self._told[owner] = await self._look_at(owner)
        return self._told[owner]

    async def _look_at(self, owner: str) -> bool:
        beat = await self._active.last_beat(owner)
        if beat is None:
            return True
        before, since = self._seen.get(owner, (b"", 0.0))
        if beat != before:
            self._seen[owner] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > self._lease_seconds

    def begin_look(self, runs: list[ActiveRun]) -> None:
        """These are the unfinished runs now. Nothing is kept in memory of others, nor of what was told before."""
        self._told = {}
        places = {(run.run_id, run.claims) for run in runs}
        self._owners = {place: owner for place, owner in self._owners.items() if place in places}
        owners = set(self._owners.values())
        self._seen = {owner: seen for owner, seen in self._seen.items() if owner in owners}


def _mark_key(run_id: str, key: str | None) -> str:
    return f"active/{run_id}/000000{'.' + key if key else ''}"


def _claim_key(run_id: str, number: int) -> str:
    if number > 999_999:
        raise StorageFailed("a run was taken over a million times")
    return f"active/{run_id}/{number:06d}"


def _beat_key(owner: str) -> str:
    return f"owners/{owner}.json"
