"""The service as queues, in simulated time: a discrete-event simulation (simpy) of a run's way through it.

    ingress → frame extraction → vision → music, sounds → reconstruction

Every place but the audio has so many servers, who take one run at a time, in the order in which they come. Each stem is made by a
pool of audio replicas of its own, side by side, as the service has a `MusicGenerator` and a `SoundGenerator`; a run goes on when
both are done. A pool is `simulated_audio.py`, and its replicas come and go by the service's own policy (`serve/autoscaling.py`).
"""

import math
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from bench.support.simulated_audio import Audio, Device, Replica, Work
from serve.autoscaling import Report, replicas_wanted

TICK_SECONDS = 1.0  # how often the number of replicas is decided
RATE_SECONDS = 120.0  # over which it is measured how much was made

Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Costs:
    """Seconds of a server's time that a run takes, away from the audio."""

    ingress: float
    extraction: float
    vision: float
    reconstruction: float
    between: float = 0.0
    """Seconds that a run waits in between for nobody: events written and found, hops."""


@dataclass(frozen=True)
class Shape:
    """How many there are of everything."""

    pools: int = 1
    """Of audio replicas, one for each stem."""
    replicas: int = 1
    """Of each pool, at the start."""
    ingress: int = 1
    extraction: int = 1
    vision: int = 1
    reconstruction: int = 1
    cores: int | None = None
    """That all places but the audio share. None: as many as they need."""
    most_inside: int | None = None
    """Runs that may be there; one more is refused. None: any."""


@dataclass(frozen=True)
class Scaling:
    """How replicas come and go; see `serve/autoscaling.py`."""

    least: int
    most: int
    seconds_to_drain: float
    upscale_delay: float
    downscale_delay: float
    start_up: float
    """Seconds until a replica works that has a GPU."""
    node: float
    """Seconds until a node is there. Every replica that comes waits for one of its own, as if none were left from before."""


@dataclass
class Told:
    """What became of one run; seconds of the simulation."""

    came: float
    at_audio: float = 0.0
    ended: float | None = None
    refused: bool = False


class Service:
    """All of it. `runs` are those that came, in order."""

    def __init__(
        self,
        env: simpy.Environment,
        device: Device,
        costs: Costs,
        shape: Shape,
        *,
        vary: Callable[[float], float] = lambda seconds: seconds,
    ) -> None:
        """vary: makes of a place's seconds what one run takes there."""
        self.env, self.costs, self.shape = env, costs, shape
        self.runs: list[Told] = []
        self.inside = 0
        """Runs that are there now."""
        self.pools = [Audio(env, device, replicas=shape.replicas, seed=pool) for pool in range(shape.pools)]
        self._vary = vary
        names = ("ingress", "extraction", "vision", "reconstruction")
        self.places = {name: simpy.Resource(env, getattr(shape, name)) for name in names}
        self._cores = simpy.Resource(env, shape.cores) if shape.cores else None

    def come(self, work: Work) -> None:
        """A run arrives now, which asks every pool for this."""
        told = Told(self.env.now)
        self.runs.append(told)
        if self.shape.most_inside is not None and self.inside >= self.shape.most_inside:
            told.refused = True
            return
        self.inside += 1
        self.env.process(self._go_through(told, work))

    def _go_through(self, told: Told, work: Work) -> Steps:
        for name in ("ingress", "extraction", "vision"):
            yield from self._at(name)
        yield self.env.timeout(self.costs.between)
        told.at_audio = self.env.now
        yield simpy.AllOf(self.env, [pool.work(work) for pool in self.pools])
        yield from self._at("reconstruction")
        told.ended = self.env.now
        self.inside -= 1

    def _at(self, name: str) -> Steps:
        seconds = self._vary(getattr(self.costs, name))
        with self.places[name].request() as turn:
            yield turn
            if self._cores is None:
                yield self.env.timeout(seconds)
                return
            with self._cores.request() as core:
                yield core
                yield self.env.timeout(seconds)


class Scaler:
    """Decides how many replicas a pool has, as Serve's controller does with `serve/autoscaling.py`."""

    def __init__(self, env: simpy.Environment, audio: Audio, scaling: Scaling) -> None:
        self.target = len(audio.replicas)
        self.targets: list[tuple[float, int]] = [(env.now, self.target)]
        """When it changed, and to what."""
        self._env, self._audio, self._scaling = env, audio, scaling
        self._direction, self._since = 0, env.now
        """Whether more were wanted, or fewer, at the last tick, and since when that is so."""
        self._starting: list[simpy.Process] = []
        self._made: dict[Replica, float] = {}
        self._rates: dict[Replica, float] = {}
        env.process(self._decide())

    def _decide(self) -> Steps:
        while True:
            yield self._env.timeout(TICK_SECONDS)
            scaling = self._scaling
            wanted = min(scaling.most, max(scaling.least, self._wanted()))
            direction = (wanted > self.target) - (wanted < self.target)
            if direction != self._direction:
                self._direction, self._since = direction, self._env.now
            delay = scaling.upscale_delay if direction > 0 else scaling.downscale_delay
            if direction and self._env.now - self._since >= delay:
                self._change(wanted)

    def _wanted(self) -> int:
        replicas = self._audio.replicas
        reports = [self._report(replica) for replica in replicas]
        requests = sum(len(replica.jobs) for replica in replicas) + len(self._audio.line)
        return replicas_wanted(
            reports, requests=requests, target=self.target, seconds_to_drain=self._scaling.seconds_to_drain
        )

    def _report(self, replica: Replica) -> Report:
        windows, jobs = replica.windows, replica.jobs
        kept = math.exp(-TICK_SECONDS / RATE_SECONDS)
        made = replica.made - self._made.get(replica, 0.0)
        self._made[replica] = replica.made
        self._rates[replica] = kept * self._rates.get(replica, 0.0) + (1 - kept) * made / TICK_SECONDS
        mean = sum(job.work.windows for job in jobs) / len(jobs) if jobs else 0.0
        return Report(windows, len(jobs), mean, replica.pace, self._rates[replica])

    def _change(self, wanted: int) -> None:
        """Those that are starting are the first to go, the last of them before the others."""
        self._starting = [start for start in self._starting if start.is_alive]
        self._starting += [self._env.process(self._start()) for _ in range(wanted - self.target)]
        for _ in range(self.target - wanted):
            if self._starting:
                self._starting.pop().interrupt()
            else:
                self._audio.remove()
        self.target, self._direction = wanted, 0
        self.targets.append((self._env.now, wanted))

    def _start(self) -> Steps:
        try:
            yield self._env.timeout(self._scaling.node + self._scaling.start_up)
        except simpy.Interrupt:
            return
        self._audio.add()


def poisson(service: Service, work: Callable[[], Work], *, per_second: float, seed: int = 0) -> Steps:
    """Runs come for ever, each by itself."""
    gaps = random.Random(seed)
    while True:
        yield service.env.timeout(gaps.expovariate(per_second))
        service.come(work())


def at_times(service: Service, work: Callable[[], Work], times: Sequence[float]) -> Steps:
    """Runs come at these times, in order, seconds."""
    for at in times:
        yield service.env.timeout(at - service.env.now)
        service.come(work())


@dataclass(frozen=True)
class Outcome:
    """What a simulation came to, between two times."""

    served: float
    """Runs that finished, per second."""
    p50: float
    p95: float
    """Seconds from a run's arrival to its end, of the runs that came in that time."""
    refused: int
    inside: int
    """Runs that were there at the end."""


def outcome(service: Service, *, begin: float, end: float) -> Outcome:
    """Between these times. Those that came late in it are told of only where the simulation went on until they had ended."""
    finished = [run for run in service.runs if run.ended is not None]
    took = [(run.ended or 0) - run.came for run in finished if begin <= run.came < end]
    served = sum(begin <= (run.ended or 0) < end for run in finished) / (end - begin)
    p50, p95 = np.quantile(took or [np.nan], (0.5, 0.95))
    refused = sum(run.refused for run in service.runs)
    inside = sum(not run.refused and run.came < end and (run.ended is None or run.ended >= end) for run in service.runs)
    return Outcome(served, float(p50), float(p95), refused, inside)
