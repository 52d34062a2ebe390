"""Continuous batching: the windows of all tracks in flight share the calls of the UNet.

A call takes windows of any tracks, each at its own timestep, with its own text and guidance: tracks join and leave between calls,
and none waits for another's end (Orca, Yu et al., OSDI 2022, for language models; here a track's step takes the place of a token).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from models.audio_generation.failures import device_is_broken, memory_is_short
from models.audio_generation.networks import Networks
from models.audio_generation.text import Conditioning
from models.audio_generation.tracks import Track
from models.errors import ImmersivaudioError, ModuleFailed, OutOfMemory

logger = logging.getLogger(__name__)

PATIENCE = 100  # turns without a shortage of memory, after which calls may be larger again


@dataclass(eq=False)
class Job:
    """The tracks of one request."""

    tracks: Sequence[Track]
    changed: Callable[[], None] = lambda: None
    """Called after every change of what follows."""
    done: int = 0
    """Work done, of `total`, in UNet rows."""
    total: int = 0
    ended: bool = False
    cancelled: bool = False
    """Set by whoever wants no more of it."""
    failure: Exception | None = None
    served: float = 0
    """Work done, on the clock that all jobs share."""
    begun: list[Track] = field(default_factory=list)
    """Tracks on their way: no more than it takes to fill a call, however many are asked for."""

    def __post_init__(self) -> None:
        self.total = sum(track.cost for track in self.tracks)
        self._next = iter(self.tracks)

    def window(self) -> tuple[Track, int] | None:
        """A window that waits for its prediction, and does not wait any more; None when there is none."""
        for track in self.begun:
            if not track.denoised and track.waiting:
                return track, track.waiting.popleft()
        for track in self._next:
            track.begin()
            self.begun.append(track)
            return track, track.waiting.popleft()
        return None

    def to_decode(self) -> Track | None:
        """A track whose steps are all taken."""
        return next((track for track in self.begun if track.denoised), None)

    def advance(self, cost: int) -> None:
        """So much work is done."""
        self.done += cost
        self.ended = self.ended or self.done == self.total
        self.changed()

    def fail(self, error: Exception) -> None:
        """The job ends with this."""
        self.failure, self.ended = error, True
        self.changed()


@dataclass(frozen=True)
class _Place:
    """One window in a call."""

    job: Job
    track: Track
    window: int


class ContinuousBatch:
    """Jobs in flight, worked on turn by turn. Everything is called by one thread, but `Job.cancelled` may be set by any.

    Turns are given by start-time fair queueing (Goyal et al., SIGCOMM 1996): the next window is of the job that has been served
    least since it came. A job that comes is put level with the least served one. So a short track beside a long one gets its
    window into every call, and where there are more jobs than places in a call, they take turns.
    """

    def __init__(self, networks: Networks, *, largest: int) -> None:
        """largest: windows in one call of the UNet."""
        self.networks = networks
        self.limit(largest)
        self.jobs: list[Job] = []

    def limit(self, largest: int) -> None:
        """Windows in one call, from now on at most."""
        self.largest = self._wanted = largest
        self._calm = 0

    def add(self, job: Job) -> None:
        """The job joins at the next turn."""
        job.served = min((other.served for other in self.jobs), default=0)
        self.jobs.append(job)

    def turn(self) -> int:
        """One call of a network: the UNet on as many windows as fit, or the VAE or the vocoder on one. Returns its cost."""
        self.jobs = [job for job in self.jobs if not (job.cancelled or job.ended)]
        if not self.jobs:
            return 0
        before = sum(job.done for job in self.jobs)
        least = min(self.jobs, key=lambda job: job.served)
        if track := least.to_decode():
            self._decode(least, track)
        elif places := self._places():
            self._predict(places)
        cost = sum(job.done for job in self.jobs) - before
        self.jobs = [job for job in self.jobs if not job.ended]
        return cost

    def _decode(self, job: Job, track: Track) -> None:
        try:
            self._charge(job, track.decode())
        except Exception as error:
            if not memory_is_short(error):
                raise
            job.fail(_failure(error))
        if track.done:
            job.begun.remove(track)

    def _places(self) -> list[_Place]:
        """Windows for one call, in the order in which it is their jobs' turn."""
        places: list[_Place] = []
        served = {job: job.served for job in self.jobs if not job.to_decode()}
        while served and len(places) < self.largest:
            job = min(served, key=served.__getitem__)
            try:
                found = job.window()
            except Exception as error:
                if device_is_broken(error):
                    raise
                job.fail(_failure(error))
                found = None
            if found is None:
                del served[job]
            else:
                places.append(_Place(job, *found))
                served[job] += found[0].plan.cost_of_a_window
        return places

    def _predict(self, places: list[_Place]) -> None:
        try:
            predicted = self._guided(places)
        except Exception as error:
            if not memory_is_short(error):
                raise
            self._was_too_much(places, error)
            return
        self._calm += 1
        if self.largest < self._wanted and self._calm >= PATIENCE:
            self.largest, self._calm = min(2 * self.largest, self._wanted), 0
        for place, prediction in zip(places, predicted, strict=True):
            place.track.give(place.window, prediction)
            self._charge(place.job, place.track.plan.cost_of_a_window)

    def _guided(self, places: list[_Place]) -> torch.Tensor:
        """The predictions, (windows, channels, rows, columns): of the prompt, and away from the negative one."""
        plans = [place.track.plan for place in places]
        texts: list[Conditioning] = [plan.positive for plan in plans]
        rows, away = list(range(len(places))), list(range(len(places)))
        for number, plan in enumerate(plans):
            if plan.guidance != 1:
                away[number] = len(rows)
                rows.append(number)
                texts.append(plan.negative)
        networks = self.networks
        predicted = networks.predict(
            torch.stack([place.track.latent(place.window) for place in places]),
            rows,
            [places[number].track.time for number in rows],
            texts,
        )
        wanted, unwanted = predicted[: len(places)], predicted.index_select(0, networks.tensor(away))
        guidance = networks.tensor([float(plan.guidance) for plan in plans])
        return torch.lerp(unwanted, wanted, guidance[:, None, None, None])

    def _was_too_much(self, places: list[_Place], error: Exception) -> None:
        """Half as much for a while; what was to be done is done at the next turns."""
        if len(places) == 1:
            places[0].job.fail(_failure(error))
            return
        self.largest, self._calm = len(places) // 2, 0
        logger.warning("the audio model ran out of memory; for a while it takes %d windows at a time", self.largest)
        for place in reversed(places):
            place.track.waiting.appendleft(place.window)

    @staticmethod
    def _charge(job: Job, cost: int) -> None:
        job.served += cost
        job.advance(cost)


def _failure(error: Exception) -> ImmersivaudioError:
    """What a request ends with that could not be given what it needs."""
    failure: ImmersivaudioError = (
        OutOfMemory("the audio model ran out of memory, although it took one window at a time")
        if memory_is_short(error)
        else ModuleFailed(f"the audio model could not begin: {error}")
    )
    failure.__cause__ = error
    return failure
