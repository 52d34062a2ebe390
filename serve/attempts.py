"""Tries again what failed for a reason of ours: a dead process, a deadline, short memory, a store that was away.

Never what failed because of the input, and never what broke in a way that it would break again.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from models import errors
from models.errors import Interrupted, OutOfMemory
from models.record import Cause

T = TypeVar("T")

CAUSES: dict[type[Interrupted], Cause] = {
    errors.WorkerDied: "worker_died",
    errors.WorkerAway: "worker_died",
    errors.OtherModel: "worker_died",
    errors.DeadlinePassed: "deadline",
    errors.OutOfMemory: "out_of_memory",
    errors.StorageFailed: "storage",
}


def cause_of(error: Interrupted) -> Cause:
    """What the log and the metrics call it."""
    return next(CAUSES[kind] for kind in type(error).__mro__ if kind in CAUSES)


@dataclass(frozen=True)
class FailedAttempt:
    """One attempt that will be followed by another."""

    number: int
    cause: Cause
    pause_seconds: float
    error: Interrupted


async def attempts(
    attempt: Callable[[bool], Awaitable[T]],
    *,
    pauses: Sequence[float],
    failed: Callable[[FailedAttempt], Awaitable[None]],
    rest: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """The first result that `attempt(memory_was_short)` comes to, tried once more after each of the pauses (seconds).

    What ran out of memory is tried once more, with less at a time. `failed` hears of each failure before the pause,
    which `rest(seconds)` makes; what that raises ends it all.
    Raises what the last attempt raised: of an Interrupted, the same class, saying how often.
    """
    left, memory_was_short = iter(pauses), False
    for number in itertools.count(1):
        try:
            return await attempt(memory_was_short)
        except Interrupted as error:
            pause = next(left, None)
            if pause is None or (isinstance(error, OutOfMemory) and memory_was_short):
                if number == 1:
                    raise
                raise type(error)(f"{error} (attempt {number}, the last)") from error
            memory_was_short |= isinstance(error, OutOfMemory)
            await failed(FailedAttempt(number, cause_of(error), pause, error))
        await rest(pause)
    raise AssertionError("unreachable")
