"""A store that is away for a moment, or loses an answer, costs no run and fails no module."""

import asyncio
import time
from mmap import mmap
from pathlib import Path

import pytest

from models.errors import StorageFailed
from models.record import Run
from serve.active import ActiveRuns
from serve.log import RunLog, event_key
from serve.metrics import NoMetrics
from serve.runner import Runner
from serve.store import Store
from tests.serve import records
from tests.serve.test_runner import EVERY_UNIT, RUN, Graph
from tests.serve.test_worker import accept, ended, worker_of, working


class Shaky(Store):
    """Fails the next so many times, for keys that have this in them."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.left: dict[str, int] = {}
        self.answers_lost = 0

    def _fail(self, verb: str, key: str) -> None:
        for what, left in self.left.items():
            if left and what in f"{verb} {key}":
                self.left[what] = left - 1
                raise StorageFailed("the store cannot be read or written")

    async def create(self, key: str, data: bytes | mmap) -> None:
        self._fail("create", key)
        await super().create(key, data)
        if self.answers_lost and "/events/" in key:
            self.answers_lost -= 1
            raise StorageFailed("the answer was lost")

    async def read(self, key: str) -> bytes | None:
        self._fail("read", key)
        return await super().read(key)

    async def delete(self, key: str) -> None:
        self._fail("delete", key)
        await super().delete(key)

    async def write(self, key: str, data: bytes) -> None:
        self._fail("write", key)
        await super().write(key, data)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.log.APPEND_PAUSES", (0.01, 0.02, 0.05))
    monkeypatch.setattr("serve.log.OVERTAKEN_SECONDS", 0.01)
    monkeypatch.setattr("serve.worker.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("serve.worker.IDLE_LOOK_SECONDS", 0.1)
    monkeypatch.setattr("serve.worker.REST_SECONDS", (0.1, 0.2))


@pytest.fixture
def store(tmp_path: Path) -> Shaky:
    return Shaky(str(tmp_path))


async def execute(store: Shaky, graph: Graph) -> Run:
    await RunLog.create(store, RUN, records.video_input())
    assert await Runner(store, graph.modules(store), NoMetrics(), pauses=(0.0,)).execute(RUN, owner="me")
    return (await RunLog.open(store, RUN)).run


@pytest.mark.parametrize("what", ["create runs/", "delete runs/"])
async def test_a_moment_without_the_store_is_no_failure_of_a_module(store: Shaky, what: str) -> None:
    graph = Graph()
    store.left = {what: 3}
    run = await execute(store, graph)
    assert (run.status, run.retries, run.error) == ("finished", 0, None)
    assert len(graph.begun) == len(EVERY_UNIT)
    assert store.left == {what: 0}


async def test_work_in_hand_is_not_given_up_because_nobody_could_look(store: Shaky) -> None:
    graph = Graph()
    graph.seconds = 0.1
    await RunLog.create(store, RUN, records.video_input())
    store.left = {"read runs/": 0}
    executing = asyncio.create_task(
        Runner(store, graph.modules(store), NoMetrics(), pauses=()).execute(RUN, owner="me")
    )
    while not graph.running:
        await asyncio.sleep(0.005)
    store.left = {"read runs/": 5}
    assert await executing
    assert graph.cancelled == set()
    assert len(graph.begun) == len(EVERY_UNIT)


async def test_an_event_whose_answer_was_lost_is_written_once(store: Shaky) -> None:
    graph = Graph()
    store.answers_lost = 5
    run = await execute(store, graph)
    assert run.status == "finished"
    assert len(graph.begun) == len(EVERY_UNIT)
    assert len(await store.keys(f"runs/{RUN}/events")) == len(EVERY_UNIT) + 3


async def test_a_longer_outage_ends_with_the_run_where_it_was(store: Shaky) -> None:
    run, graph = await accept(store, 1), Graph()
    graph.seconds = 0.05
    async with working(worker_of(store, graph)):
        while not graph.begun:
            await asyncio.sleep(0.005)
        store.left = {"create runs/": 8}
        assert await ended(store, run) == "finished"
    told = (await RunLog.open(store, run)).run
    assert told.error is None
    assert len(graph.begun) <= len(EVERY_UNIT) + 2  # what was in hand, and nothing that was logged


async def test_an_event_that_a_power_cut_left_empty_is_written_anew(store: Shaky) -> None:
    run, graph = await accept(store, 1), Graph()
    await Store.write(store, event_key(run, 2), b"")
    async with working(worker_of(store, graph)):
        assert await ended(store, run) == "finished"
    assert len(graph.begun) == len(EVERY_UNIT)


async def test_a_log_that_cannot_be_read_is_left_alone_for_longer_and_longer(
    store: Shaky, caplog: pytest.LogCaptureFixture
) -> None:
    run, graph = await accept(store, 1), Graph()
    other = await accept(store, 2)
    await Store.write(store, event_key(run, 2), b'{"type": "of a later version"}')
    began = time.monotonic()
    async with working(worker_of(store, graph)), asyncio.timeout(30):
        while (await RunLog.open(store, other)).run.ended_at is None:
            await asyncio.sleep(0.02)
        while (tried := caplog.text.count("a run could not be worked on")) < 4:
            await asyncio.sleep(0.02)
        assert tried <= 2 + (time.monotonic() - began) / 0.2  # the longest rest here
    assert len(await store.keys(f"active/{run}")) == 2  # the mark, and one claim
    assert [known.run_id for known in await ActiveRuns(store).all()] == [run]
