"""How many replicas an audio model has: as many as it takes to have done what waits within so many seconds.

Requests are a poor measure of audio: one is ten seconds, another half an hour. So the unit is the window: the work that a model has
with one window of sound (10.24 s), made as its settings say. Every replica says how many it has left, and how many it makes in a
second (`Backlog`, `record_autoscaling_stats` in `serve/audio_server.py`), and Serve's controller decides by that (`Drain`, named in
`serve_config.gpu.yaml`).

Serve carries `Drain` to its controller by value: nothing that it uses may need more than the standard library.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

SLACK = 0.7
"""A replica goes when what waits would be done without it in this share of the time: what comes at a border changes nothing."""
BUSY = 0.8
"""And when what is being made would keep the rest busy for this share of theirs: a queue that is short because it is worked on by
all is no reason to take one away."""
PACE_SECONDS = 60.0
"""Of work over which a pace is measured."""
RATE_SECONDS = 120.0
"""Over which what was made is measured, whether there was work or not."""
SURE_SECONDS = 5.0
"""Of work after which a pace is told: what comes first takes longer."""
REMEMBERED = 32
"""Requests over which their size is averaged."""


class Report(NamedTuple):
    """What a replica says of itself. Serve takes numbers alone."""

    windows: float = 0.0
    """Windows of work left, in flight and in line."""
    requests: float = 0.0
    """Requests that they belong to."""
    windows_per_request: float = 0.0
    """Mean size of those that came lately; 0 when none did."""
    pace: float = 0.0
    """Windows that it makes in a second when it has enough to do; 0 when that is not known yet."""
    rate: float = 0.0
    """Windows that it made per second lately, pauses included."""


class Drain:
    """The autoscaling policy: what waits is to be done within `seconds_to_drain`.

    More replicas come as long as those that are there would take longer. To ask for less time than a replica takes to come gains
    nothing: what it is asked for is done before it is there.
    """

    def __init__(self, *, seconds_to_drain: float) -> None:
        if not 0 < seconds_to_drain < math.inf:
            raise ValueError(f"seconds_to_drain has to be a number of seconds above 0, and is {seconds_to_drain}")
        self._seconds = seconds_to_drain

    def __call__(self, ctx: "AutoscalingContext") -> tuple[int, dict[str, Any]]:
        """Replicas wanted. Serve applies its delays to that, and `min_replicas` and `max_replicas`."""
        wanted = replicas_wanted(
            latest_reports(ctx.raw_metrics or {}),
            requests=ctx.total_num_requests,
            target=ctx.target_num_replicas,
            seconds_to_drain=self._seconds,
        )
        return wanted, {}


def latest_reports(metrics: dict[str, Any]) -> list[Report]:
    """The last report of every replica. metrics: Serve's, by name and by replica, each a list of values with their times."""
    return [
        Report(*(metrics[name][replica][-1].value for name in Report._fields))
        for replica in metrics.get("windows", {})
        if all(metrics.get(name, {}).get(replica) for name in Report._fields)
    ]


def replicas_wanted(reports: Sequence[Report], *, requests: float, target: int, seconds_to_drain: float) -> int:
    """How many replicas there should be.

    Never more than requests: one request cannot be spread. What no replica has reported is at the handles still, on its way, or at
    a replica that has not reported yet, and counts as much as requests did lately. Where no pace is known, since nothing was made,
    none is added, and those without a request may go.

    Args:
        reports: of the replicas that run. One that was told to go, and finishes what it has, is not among them.
        requests: in hand and in line, as the handles count them.
        target: replicas that there should be by the last decision; some of them may not have found a GPU yet.
        seconds_to_drain: see `Drain`.
    """
    known = sum(report.requests for report in reports)
    unseen = max(0.0, requests - known)
    pace = _mean([report.pace for report in reports])
    at_most = math.ceil(known + unseen)
    if pace == 0:
        return min(target, at_most)
    windows = sum(report.windows for report in reports)
    windows += unseen * (_mean([report.windows_per_request for report in reports]) or 1.0)
    in_time = pace * seconds_to_drain
    wanted = _whole(windows / in_time)
    if wanted < target:
        made = sum(report.rate for report in reports)
        wanted = min(target, max(_whole(windows / (SLACK * in_time)), _whole(made / (BUSY * pace))))
    return min(wanted, at_most)


def _mean(values: Sequence[float]) -> float:
    """Of those that say something."""
    told = [value for value in values if value > 0]
    return sum(told) / len(told) if told else 0.0


def _whole(replicas: float) -> int:
    """A twentieth of a replica is none: what was made fades, and is never quite nothing."""
    return math.ceil(replicas - 0.05)


@dataclass
class _Speed:
    """Windows per second; what lies back further than `memory` seconds counts less and less."""

    memory: float
    windows: float = 0.0
    seconds: float = 0.0

    def add(self, windows: float, seconds: float) -> None:
        kept = math.exp(-seconds / self.memory)
        self.windows, self.seconds = kept * self.windows + windows, kept * self.seconds + seconds

    @property
    def value(self) -> float:
        return self.windows / self.seconds if self.seconds else 0.0


@dataclass
class _Sums:
    """Since the replica started."""

    windows: float = 0.0
    """Made."""
    busy: float = 0.0
    """Seconds in which there was something to make."""


@dataclass
class _Request:
    size: float
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.size


class Backlog:
    """The work that a replica has in hand. Any thread may tell it something, and ask.

    How fast a model is shows when it has enough to do: a GPU makes several windows at once in little more time than one. What it
    made with less to do shows the least that it can, and counts where that is more.
    """

    def __init__(self, *, enough: float, clock: Callable[[], float] = time.monotonic) -> None:
        """enough: windows that the model works on at once, and so is as fast with as with more. 0: with any."""
        self._enough, self._clock, self._lock = enough, clock, threading.Lock()
        self._in_hand: dict[str, _Request] = {}
        self._sizes: deque[float] = deque(maxlen=REMEMBERED)
        self._sums, self._reported = _Sums(), _Sums()
        self._at = self._reported_at = clock()
        self._had_enough = False
        self._any, self._full, self._rate = _Speed(PACE_SECONDS), _Speed(PACE_SECONDS), _Speed(RATE_SECONDS)

    @contextmanager
    def holding(self, name: str, windows: float) -> Iterator[None]:
        """Around a request of so many windows, from when it came until its sound is there, it failed, or nobody wants it."""
        with self._lock:
            self._pass_time()
            self._in_hand[name] = _Request(windows)
            self._sizes.append(windows)
        try:
            yield
            self.step(name, 1, 1)
        finally:
            with self._lock:
                self._pass_time()
                del self._in_hand[name]

    def step(self, name: str, done: int, of: int) -> None:
        """So much of the request is done. What is not held any more is passed over."""
        with self._lock:
            if request := self._in_hand.get(name):
                left = request.size * (1 - done / of)
                self._sums.windows += request.left - left
                request.left = left

    @property
    def windows(self) -> float:
        """Windows of work left."""
        with self._lock:
            return sum(request.left for request in self._in_hand.values())

    def report(self) -> dict[str, float]:
        """`Report`, of now. What was made since the last one goes into the speeds."""
        windows = self.windows
        with self._lock:
            self._pass_time()
            self._measure()
            sizes = self._sizes
            told = Report(
                windows=windows,
                requests=len(self._in_hand),
                windows_per_request=sum(sizes) / len(sizes) if sizes else 0.0,
                pace=max(self._any.value, self._full.value) if self._sums.busy >= SURE_SECONDS else 0.0,
                rate=self._rate.value,
            )
        return told._asdict()

    def _measure(self) -> None:
        made = self._sums.windows - self._reported.windows
        busy = self._sums.busy - self._reported.busy
        has_enough = bool(self._in_hand) and sum(request.size for request in self._in_hand.values()) >= self._enough
        self._any.add(made, busy)
        if self._had_enough and has_enough:
            self._full.add(made, busy)
        self._rate.add(made, self._at - self._reported_at)
        self._reported, self._reported_at = _Sums(self._sums.windows, self._sums.busy), self._at
        self._had_enough = has_enough

    def _pass_time(self) -> None:
        now = self._clock()
        if self._in_hand:
            self._sums.busy += now - self._at
        self._at = now
