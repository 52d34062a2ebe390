"""Audio replicas in simulated time (simpy): they share their calls among the runs that they have, as the engine does.

Every call of the UNet takes up to N windows of whatever tracks are there (`models/audio_generation/batch.py`). Each run gets as
much of it as any other, but never more than it has windows, and a call takes longer the more rows it has. Between two arrivals or
departures nothing of that changes, so the simulation does not go call by call, but from change to change.
"""

import math
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import simpy


@dataclass(frozen=True)
class Device:
    """What one audio replica does."""

    calls: Mapping[int, float]
    """Seconds of a UNet call, by its rows; between two that are given, in a straight line; beyond the last, never."""
    windows: int
    """Most windows in one call; a window has two rows."""
    serial: float
    """Seconds in which the device works on one window alone: decoding, and its share of the prompts."""
    at_once: int
    """Runs that a replica works on; others wait for one of them to leave."""

    def call_seconds(self, windows: int) -> float:
        """A call of so many windows."""
        rows, known = 2 * windows, sorted(self.calls)
        above = min(bisect_left(known, rows), len(known) - 1)
        low, high = known[max(0, above - 1)], known[above]
        if rows <= low or low == high:
            return self.calls[low]
        share = (rows - low) / (high - low)
        return self.calls[low] + share * (self.calls[high] - self.calls[low])

    def capacity(self, work: "Work") -> float:
        """Runs per second, when there is always enough to do."""
        return 1 / (work.windows * (work.steps * self.call_seconds(self.windows) / self.windows + self.serial))


@dataclass(frozen=True)
class Work:
    """What a run asks of the audio model."""

    windows: int
    steps: int


@dataclass(eq=False)
class Job:
    work: Work
    done: simpy.Event
    left: float = 0.0
    """Windows times steps."""
    rate: float = 0.0

    def __post_init__(self) -> None:
        self.left = float(self.work.windows * self.work.steps)


class Replica:
    """One audio replica: as many runs as it takes, each going on at its own rate until one comes or leaves."""

    def __init__(self, env: simpy.Environment, device: Device, *, left: Callable[["Replica"], None]) -> None:
        self.jobs: list[Job] = []
        self.busy = 0.0
        """Seconds in which there was anything to do."""
        self.made = 0.0
        """Windows."""
        self.going = False
        """Whether it takes nothing more."""
        self._env, self._device, self._left = env, device, left
        self._since = env.now
        self._change = 0

    def take(self, job: Job) -> None:
        self._advance()
        self.jobs.append(job)
        self._go_on()

    @property
    def windows(self) -> float:
        """Windows of work left."""
        self._advance()
        return sum(job.left / job.work.steps for job in self.jobs)

    @property
    def pace(self) -> float:
        """Windows per second with enough to do, for work as it is there now."""
        device, steps = self._device, self.jobs[0].work.steps if self.jobs else 1
        return 1 / (steps * device.call_seconds(device.windows) / device.windows + device.serial)

    def _advance(self) -> None:
        passed = self._env.now - self._since
        if self.jobs:
            self.busy += passed
        for job in self.jobs:
            job.left -= job.rate * passed
            self.made += job.rate * passed / job.work.steps
        self._since = self._env.now

    def _go_on(self) -> None:
        self._share()
        self._change += 1
        if self.jobs:
            soonest = min(self.jobs, key=lambda job: job.left / job.rate)
            change = self._change
            timeout = self._env.timeout(max(0.0, soonest.left / soonest.rate))
            timeout.callbacks.append(lambda _: self._finish(soonest) if change == self._change else None)

    def _share(self) -> None:
        """Places in a call, equally, but to nobody more than he has windows."""
        device, places, waiting = self._device, float(self._device.windows), len(self.jobs)
        taken: dict[Job, float] = {}
        for job in sorted(self.jobs, key=lambda job: job.work.windows):
            taken[job] = min(job.work.windows, places / waiting)
            places -= taken[job]
            waiting -= 1
        used = sum(taken.values())
        call = device.call_seconds(math.ceil(used - 1e-9)) if used else 0.0
        for job, got in taken.items():
            job.rate = got / (call + used * device.serial / job.work.steps)

    def _finish(self, job: Job) -> None:
        self._advance()
        self.jobs.remove(job)
        self._go_on()
        job.done.succeed()
        self._left(self)


class Audio:
    """All audio replicas, and the line before them. Of two at random, the one with less to do gets the next run, as in Serve."""

    def __init__(self, env: simpy.Environment, device: Device, *, replicas: int, seed: int = 0) -> None:
        self.env, self.device = env, device
        self.replicas: list[Replica] = []
        self.line: deque[Job] = deque()
        self._random = random.Random(seed)
        for _ in range(replicas):
            self.add()

    def add(self) -> Replica:
        """One replica more, at once."""
        replica = Replica(self.env, self.device, left=self._has_room)
        self.replicas.append(replica)
        while self.line and len(replica.jobs) < self.device.at_once:
            replica.take(self.line.popleft())
        return replica

    def remove(self) -> None:
        """The replica with least to do takes nothing more, and goes when it is done."""
        leaving = min(self.replicas, key=lambda replica: len(replica.jobs))
        self.replicas.remove(leaving)
        leaving.going = True

    def work(self, work: Work) -> simpy.Event:
        """Happens when the sound is there."""
        job = Job(work, self.env.event())
        if (replica := self._free()) is not None:
            replica.take(job)
        else:
            self.line.append(job)
        return job.done

    def _free(self) -> Replica | None:
        if not self.replicas:
            return None
        asked = (self._random.choice(self.replicas), self._random.choice(self.replicas))
        best = min(asked, key=lambda replica: len(replica.jobs))
        if len(best.jobs) >= self.device.at_once:  # it goes on asking until one has room
            best = min(self.replicas, key=lambda replica: len(replica.jobs)) if len(self.replicas) <= 100 else best
        return best if len(best.jobs) < self.device.at_once else None

    def _has_room(self, replica: Replica) -> None:
        if self.line and not replica.going:
            replica.take(self.line.popleft())
