"""Whatever waits while the model is busy goes together."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from serve.batching import GreedyBatcher


class Model:
    """Doubles numbers; each batch takes until `release` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.release = threading.Event()

    def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.release.wait(5)
        if -1 in items:
            raise ValueError("a minus one")
        return [2 * item for item in items]


async def _busy(model: Model, batcher: GreedyBatcher[int, int]) -> asyncio.Task[int]:
    first = asyncio.create_task(batcher.submit(0))
    while not model.batches:
        await asyncio.sleep(0.005)
    return first


async def test_what_waits_while_the_model_is_busy_is_one_batch() -> None:
    model = Model()
    batcher = GreedyBatcher[int, int](model, largest=4)
    first = await _busy(model, batcher)
    others = [asyncio.create_task(batcher.submit(n)) for n in range(1, 7)]
    await asyncio.sleep(0.01)
    model.release.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10, 12]
    assert model.batches == [[0], [1, 2, 3, 4], [5, 6]]


async def test_who_leaves_before_the_batch_is_not_in_it() -> None:
    model = Model()
    batcher = GreedyBatcher[int, int](model, largest=4)
    first = await _busy(model, batcher)
    leaves, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0.01)
    leaves.cancel()
    await asyncio.sleep(0.01)
    model.release.set()
    assert (await first, await stays) == (0, 4)
    assert model.batches == [[0], [2]]


async def test_an_item_that_breaks_its_batch_is_the_only_one_to_fail() -> None:
    model = Model()
    batcher = GreedyBatcher[int, int](model, largest=4)
    first = await _busy(model, batcher)
    others = [asyncio.create_task(batcher.submit(n)) for n in (1, -1, 2)]
    await asyncio.sleep(0.01)
    model.release.set()
    answers = await asyncio.gather(first, *others, return_exceptions=True)
    assert [answers[0], answers[1], answers[3]] == [0, 2, 4]
    with pytest.raises(ValueError, match="a minus one"):
        raise answers[2]  # type: ignore[misc]
    assert model.batches == [[0], [1, -1, 2], [1], [-1], [2]]
