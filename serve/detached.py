"""Work that outlives whoever asked for it.

Serve cancels everything that hangs on a request together with it, also tasks that were made in it and shielded ones. It finds them
by the context that they inherit, so what must go on starts in an empty one.
"""

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

from serve import tracing

T = TypeVar("T")


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run the coroutine as a task of its own. Keep the task: the event loop alone does not."""
    context = contextvars.Context()
    context.run(tracing.carry, tracing.carried())  # who asked for it is still told in its trace
    return asyncio.get_running_loop().create_task(work, context=context)


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. A caller who is cancelled waits until it has ended, and is cancelled then."""
    task = detached(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # nobody is left to hear it
        raise
