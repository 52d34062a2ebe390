"""The audio engine: a thread that owns the device, and works on whatever was asked for by then."""

import functools
import logging
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import torch

from models import work
from models.audio_generation import OnStep
from models.audio_generation.batch import ContinuousBatch, Job
from models.audio_generation.failures import device_is_broken
from models.audio_generation.networks import Networks
from models.audio_generation.tracks import Track
from models.errors import WorkerDied

logger = logging.getLogger(__name__)

T = TypeVar("T")

_Inbox = queue.SimpleQueue[Callable[[], object] | None]

LOOK_SECONDS = 0.5  # how often a caller looks whether it is still wanted, while it hears nothing


class Engine:
    """Many threads may ask at once. What one of them asks for changes nothing of what another gets, but the time."""

    def __init__(self, networks: Networks, *, largest: int) -> None:
        """largest: windows in one call of the UNet."""
        self._loop = _Loop(ContinuousBatch(networks, largest=largest))
        thread = threading.Thread(target=self._loop.run, name="audio-engine", daemon=True)
        thread.start()
        # The thread holds the loop, and not the engine: it ends with the engine's last user, or with the program.
        self._closing = weakref.finalize(self, _close, self._loop.inbox, thread)

    def warm_up(self) -> None:
        """Have everything compiled that is, with as many windows at once as fit into memory."""
        batch = self._loop.batch
        self.call(lambda: batch.limit(batch.networks.warm_up(batch.largest)))

    @property
    def largest(self) -> int:
        """Windows in one call of the UNet, at most: as many as fitted into memory."""
        return self._loop.batch.largest

    def seconds(self, tracks: Sequence[Track]) -> float:
        """How long the tracks would take by themselves, as far as can be said from what was done before."""
        return sum(track.cost for track in tracks) * self._loop.seconds_per_row

    def call(self, function: Callable[[], T]) -> T:
        """What the function returns, or raises, called by the thread that owns the device, between two turns.

        Raises WorkerDied when the device broke.
        """
        self.check_health()
        answer: Future[T] = Future()
        self._loop.inbox.put(functools.partial(self._loop.answer, answer, function))
        return answer.result()

    def run(self, tracks: Sequence[Track], *, on_step: OnStep) -> None:
        """Carry out the tracks, which are done afterwards. `on_step` is told of the work done and all of it, in no fixed unit.

        What `on_step` raises stops them at the next turn. Raises Cancelled also by itself (`models.work`), OutOfMemory when
        not even one window fits into memory, and WorkerDied when the device broke.
        """
        self.check_health()
        moved = threading.Event()
        job = Job(tracks, changed=moved.set)
        self._loop.inbox.put(functools.partial(self._loop.batch.add, job))
        told = 0
        try:
            while True:
                moved.wait(LOOK_SECONDS)
                moved.clear()
                work.check()
                ended, done = job.ended, job.done
                if job.failure is not None:
                    raise job.failure
                if done > told:
                    on_step(done, job.total)
                    told = done
                if ended:
                    return
        except BaseException:
            job.cancelled = True
            raise

    def check_health(self) -> None:
        """Raise WorkerDied when the device broke."""
        if self._loop.broken is not None:
            raise WorkerDied(f"the audio engine broke: {self._loop.broken}") from self._loop.broken


class _Loop:
    """What the thread runs."""

    def __init__(self, batch: ContinuousBatch) -> None:
        self.batch = batch
        self.inbox: _Inbox = queue.SimpleQueue()
        self.broken: Exception | None = None
        self.seconds_per_row = 0.0
        self._ahead: deque[torch.cuda.Event] = deque()

    def run(self) -> None:
        while (asked := self._asked()) is not None:
            for function in asked:
                function()
            start = time.monotonic()
            try:
                cost = self.batch.turn()
                self._keep_pace()
            except Exception as error:  # any: all that is of one request alone has been caught
                self._give_up(error)
            else:
                if cost:
                    seconds = (time.monotonic() - start) / cost
                    self.seconds_per_row += (seconds - self.seconds_per_row) * (0.1 if self.seconds_per_row else 1)

    def answer(self, answer: "Future[Any]", function: Callable[[], Any]) -> None:
        """Call the function for whoever waits for its answer."""
        try:
            answer.set_result(function())
        except BaseException as error:  # whatever it is, it is the caller's
            if isinstance(error, Exception) and device_is_broken(error):
                self._give_up(error)
                error = WorkerDied(f"the audio engine broke: {error}")
            answer.set_exception(error)

    def _give_up(self, error: Exception) -> None:
        logger.error("the audio engine broke", exc_info=error)
        self.broken = error
        for job in self.batch.jobs:
            job.fail(WorkerDied(f"the audio engine broke: {error}"))
        self.batch.jobs.clear()

    def _asked(self) -> list[Callable[[], object]] | None:
        """Everything that was asked for meanwhile; waits for it when there is nothing to do. None: to close."""
        asked: list[Callable[[], object]] = []
        wait = not self.batch.jobs
        while wait or not self.inbox.empty():
            wait = False
            function = self.inbox.get()
            if function is None:
                return None
            asked.append(function)
        return asked

    def _keep_pace(self) -> None:
        """Let the device be one turn behind, not more: it never waits for the next, and who leaves is gone at once."""
        if self.batch.networks.device.type != "cuda":
            return
        here = torch.cuda.Event()  # type: ignore[no-untyped-call]
        here.record()
        self._ahead.append(here)
        if len(self._ahead) > 1:
            self._ahead.popleft().synchronize()


def _close(inbox: "_Inbox", thread: threading.Thread) -> None:
    inbox.put(None)
    if thread is not threading.current_thread():
        thread.join(10)  # torch does not like to be left in the middle of something when the program ends
