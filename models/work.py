"""What a step may know of the work that it is part of: whether it is still wanted, who wants to hear how far it is, and whether
memory was short the last time.

Around a step, in its thread: `with going_on(work): …`. Inside, at every place where it could stop: `step(done, of)` or `check()`.
Without anything around it, a step runs to its end and nobody hears of it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from models.errors import Cancelled


def _unheard(done: int, of: int) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Work:
    """One step on its way."""

    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when nobody wants the result any more."""
    report: Callable[[int, int], None] = _unheard
    """Called as report(done, of)."""
    memory_was_short: bool = False
    """The last attempt ran out of memory: take half of the usual batch."""


_CURRENT: ContextVar[Work | None] = ContextVar("work", default=None)


@contextmanager
def going_on(work: Work) -> Iterator[None]:
    """Everything inside, in this thread, is this work."""
    token = _CURRENT.set(work)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def check() -> None:
    """Raise Cancelled when nobody wants the result any more."""
    work = _CURRENT.get()
    if work and work.cancelled.is_set():
        raise Cancelled("nobody waits for this any more")


def step(done: int, of: int) -> None:
    """Say how far the work is, and raise Cancelled when nobody wants it any more."""
    check()
    if work := _CURRENT.get():
        work.report(done, of)


def batch_size(usual: int) -> int:
    """How many items the model should take at once: half of the usual where that was too much for the memory."""
    work = _CURRENT.get()
    return max(1, usual // 2) if work and work.memory_was_short else usual
