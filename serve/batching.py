"""Dynamic batching: whenever the model is free, it gets the largest batch that is waiting.

`ray.serve.batch` of 2.60 forms its batches on a timer, also while the one before is still being computed: calls that come in one by
one during a long batch are then computed one by one. Here they wait together.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from serve.detached import detached

Item = TypeVar("Item")
Result = TypeVar("Result")


def _unheard(batch: Sequence[object]) -> None:
    """Nobody listens."""


class GreedyBatcher(Generic[Item, Result]):
    """Calls `run(items) -> results` in a thread of its own, one batch at a time, in order of arrival.

    A caller that is cancelled before its batch begins is left out of it. When a batch fails, its items are tried one by one: an
    exception goes to those alone that it belongs to.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        largest: int,
        begins: Callable[[Sequence[Item]], None] = _unheard,
    ) -> None:
        """`begins` hears of every batch as it begins, on the event loop."""
        self._run = run
        self._begins = begins
        self._largest = largest
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._worker: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def submit(self, item: Item) -> Result:
        """The item's result, after it had its turn."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, answer))
        if self._worker is None or self._worker.done():
            self._worker = detached(self._work())
        return await answer

    async def _work(self) -> None:
        while self._waiting:
            batch = [(item, answer) for item, answer in self._waiting if not answer.cancelled()][: self._largest]
            taken = {id(answer) for _, answer in batch}
            self._waiting = [entry for entry in self._waiting if id(entry[1]) not in taken and not entry[1].cancelled()]
            if batch:
                await self._compute(batch)

    async def _compute(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        loop = asyncio.get_running_loop()
        items = [item for item, _ in batch]
        self._begins(items)
        try:
            results = await loop.run_in_executor(self._thread, self._run, items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(results)} results for a batch of {len(items)}")
        except Exception as error:
            if len(batch) > 1:
                for entry in batch:
                    await self._compute([entry])
            elif not batch[0][1].done():
                batch[0][1].set_exception(error)
            return
        for (_, answer), result in zip(batch, results, strict=True):
            if not answer.done():
                answer.set_result(result)
