"""Whatever becomes of a worker, its runs go on."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from models.errors import WorkerDied
from models.record import Started
from serve.active import ActiveRuns
from serve.log import RunLog, cancel, read_events
from serve.metrics import NoMetrics
from serve.runner import Runner
from serve.settings import RunSettings
from serve.store import Store
from serve.worker import Worker
from tests.serve import records
from tests.serve.test_runner import EVERY_UNIT, Graph

LEASE_SECONDS = 0.4  # of those who wait until somebody dead is given up
LONG_LEASE_SECONDS = 600.0  # of all others: nobody is given up who is only slow


class Queue(NoMetrics):
    """What was told of the queue."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []
        self.oldest: list[float] = []

    def queue(self, waiting: int, running: int) -> None:
        self.told.append((waiting, running))

    def oldest_waiting(self, seconds: float) -> None:
        self.oldest.append(seconds)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.worker.LOOK_SECONDS", 0.05)
    monkeypatch.setattr("serve.worker.IDLE_LOOK_SECONDS", 0.2)
    monkeypatch.setattr("serve.worker.REST_SECONDS", (0.1, 0.2))


async def accept(store: Store, number: int, key: str | None = None) -> str:
    run_id = f"{number:032x}"
    await ActiveRuns(store).open(run_id, key)
    await RunLog.create(store, run_id, records.video_input(), key=key)
    return run_id


def worker_of(
    store: Store,
    graph: Graph,
    *,
    at_once: int = 64,
    metrics: NoMetrics | None = None,
    lease_seconds: float = LONG_LEASE_SECONDS,
) -> Worker:
    runner = Runner(store, graph.modules(store), NoMetrics(), pauses=(0.0,))
    settings = RunSettings(at_once=at_once, lease_seconds=lease_seconds)
    return Worker(ActiveRuns(store), runner.execute, metrics or NoMetrics(), settings)


@asynccontextmanager
async def working(worker: Worker) -> AsyncIterator[Worker]:
    worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def ended(store: Store, run_id: str, *, seconds: float = 60) -> str:
    """How the run ended, when nothing of it is unfinished any more."""
    async with asyncio.timeout(seconds):
        while await ActiveRuns(store).all():
            await asyncio.sleep(0.02)
    return (await RunLog.open(store, run_id)).run.status


async def test_accepted_runs_are_found_and_finished(store: Store) -> None:
    runs = [await accept(store, number) for number in range(3)]
    async with working(worker_of(store, Graph())):
        assert [await ended(store, run) for run in runs] == ["finished"] * 3
    assert await store.keys("active") == []
    assert await store.keys("ended") == [f"ended/{run}" for run in runs]


async def test_every_run_is_executed_once_by_however_many_workers(store: Store) -> None:
    runs = [await accept(store, number) for number in range(8)]
    graph = Graph()
    async with working(worker_of(store, graph)), working(worker_of(store, graph)), working(worker_of(store, graph)):
        assert {await ended(store, run) for run in runs} == {"finished"}
    assert len(graph.begun) == 8 * len(EVERY_UNIT)


async def begun(graph: Graph, count: int) -> None:
    """Wait until so many units have begun."""
    while len(graph.begun) < count:
        await asyncio.sleep(0.01)


async def die(worker: Worker) -> None:
    """As when its process is killed: nothing is said, and no sign of life is given any more."""
    for task in (*worker._loops, *worker._working.values()):
        task.cancel()
    await asyncio.sleep(0)


async def test_runs_of_a_worker_that_died_go_on_where_they_stopped(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    graph.seconds = 0.1
    first = worker_of(store, graph)
    first.start()
    await begun(graph, 2)
    done_before = {unit for unit in graph.begun if unit not in graph.running}
    await die(first)
    async with working(worker_of(store, graph, lease_seconds=LEASE_SECONDS)):
        assert await ended(store, run) == "finished"
    assert all(graph.begun.count(unit) == 1 for unit in done_before)
    told = (await RunLog.open(store, run)).run
    assert told.resumptions == 1


async def test_a_worker_that_drains_does_what_it_has_begun_and_leaves_the_rest_to_others(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    graph.seconds = 0.2
    first = worker_of(store, graph)
    first.start()
    await begun(graph, 2)
    async with working(worker_of(store, graph)):
        await first.drain()
        assert await ended(store, run) == "finished"
    assert not graph.cancelled
    assert sorted(graph.begun, key=str) == sorted(EVERY_UNIT, key=str)
    assert (await RunLog.open(store, run)).run.resumptions == 1


async def test_a_run_that_is_left_need_not_wait_until_the_others_of_its_worker_are(store: Store) -> None:
    graph, short = Graph(), await accept(store, 1)
    graph.seconds = 0.3
    first = worker_of(store, graph)
    first.start()
    await begun(graph, 1)
    graph.seconds = 60  # of what is begun from here on
    long = await accept(store, 2)
    first.nudge()
    await begun(graph, 2)
    draining = asyncio.create_task(first.drain())
    async with working(worker_of(store, Graph())):
        async with asyncio.timeout(30):
            while (await RunLog.open(store, short)).run.status != "finished":
                await asyncio.sleep(0.02)
        assert (await RunLog.open(store, long)).run.status == "running"
        assert not draining.done()
        draining.cancel()
        await first.stop()
        assert await ended(store, long) == "finished"


async def test_a_worker_that_drains_waits_no_longer_than_it_may(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    graph.seconds = 60
    settings = RunSettings(lease_seconds=LONG_LEASE_SECONDS, drain_seconds=0.1)
    runner = Runner(store, graph.modules(store), NoMetrics(), pauses=(0.0,))
    first = Worker(ActiveRuns(store), runner.execute, NoMetrics(), settings)
    first.start()
    await begun(graph, 1)
    async with asyncio.timeout(30):
        await first.drain()
    async with working(worker_of(store, Graph())):
        assert await ended(store, run) == "finished"


@pytest.mark.parametrize("when", ["while it is at work", "while it rests"])
async def test_a_worker_that_drains_tries_nothing_again_and_leaves_that_to_others(store: Store, when: str) -> None:
    unit = EVERY_UNIT[0]
    run, graph = await accept(store, 1), Graph(broken={unit: [WorkerDied("its node has gone, too")]})
    graph.seconds = 0.2
    runner = Runner(store, graph.modules(store), NoMetrics(), pauses=(60.0,))
    first = Worker(ActiveRuns(store), runner.execute, NoMetrics(), RunSettings(drain_seconds=60))
    first.start()
    async with asyncio.timeout(10):
        while unit not in graph.begun or (when == "while it rests" and graph.broken[unit]):
            await asyncio.sleep(0.01)
        await first.drain()
    assert graph.begun.count(unit) == 1
    (left,) = await ActiveRuns(store).all()
    assert left.waits_since is not None
    async with working(worker_of(store, graph)):
        assert await ended(store, run) == "finished"
    told = (await RunLog.open(store, run)).run
    assert (told.retries, told.resumptions) == (1, 1)


async def test_a_living_workers_runs_are_left_alone(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    lease_seconds = 2.0
    graph.seconds = 3 * lease_seconds / len(EVERY_UNIT)
    first, second = (worker_of(store, graph, lease_seconds=lease_seconds) for _ in range(2))
    async with working(first), working(second):
        assert await ended(store, run) == "finished"
    started = [event async for event in read_events(store, run, after=0) if isinstance(event, Started)]
    assert len(started) == 1


async def test_a_worker_that_stops_in_order_hands_over_at_once(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    graph.seconds = 0.05
    first, second = worker_of(store, graph), worker_of(store, graph)
    first.start()
    await begun(graph, 1)
    await first.stop()
    async with working(second):
        assert await ended(store, run) == "finished"


async def test_a_worker_takes_as_many_as_it_may_in_the_order_in_which_they_came(store: Store) -> None:
    runs = [await accept(store, number) for number in range(4)]
    graph, queue = Graph(), Queue()
    graph.seconds = 0.03
    async with working(worker_of(store, graph, at_once=2, metrics=queue)):
        await ended(store, runs[-1])
    assert max(running for _, running in queue.told) == 2
    assert (2, 2) in queue.told
    began = {run: (await RunLog.open(store, run)).run.ended_at or 0 for run in runs}
    assert max(began[runs[0]], began[runs[1]]) < min(began[runs[2]], began[runs[3]])


async def test_a_run_that_was_left_waits_until_somebody_takes_it(store: Store, tmp_path: Path) -> None:
    """Accepted a thousand seconds ago, and left five hundred ago."""
    graph, queue, active = Graph(), Queue(), ActiveRuns(store)
    graph.seconds = 60
    async with working(worker_of(store, graph, at_once=1, metrics=queue)):
        await accept(store, 1)
        while not graph.begun:
            await asyncio.sleep(0.01)
        left = await accept(store, 2)
        for owner in ("another", ""):
            (seen,) = (run for run in await active.all() if run.run_id == left)
            assert await active.claim(seen, owner)
        for number, age in ((0, 1000), (1, 990), (2, 500)):
            then = time.time() - age
            os.utime(tmp_path / "active" / left / f"{number:06d}", (then, then))
        queue.told.clear()
        queue.oldest.clear()
        async with asyncio.timeout(30):
            while len(queue.oldest) < 2:
                await asyncio.sleep(0.01)
    assert queue.told[1] == (1, 1)
    assert queue.oldest[1] == pytest.approx(500, abs=20)


async def test_a_cancelled_run_that_waits_is_never_begun(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    await cancel(store, run)
    async with working(worker_of(store, graph)):
        assert await ended(store, run) == "cancelled"
    assert graph.begun == []


async def test_a_run_that_was_announced_and_never_written_is_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.worker.ORPHAN_SECONDS", 0.3)
    await ActiveRuns(store).open("a" * 32, None)
    async with working(worker_of(store, Graph())):
        async with asyncio.timeout(30):
            while await store.keys("active"):
                await asyncio.sleep(0.02)


async def test_a_claim_on_a_run_that_was_deleted_at_that_moment_is_taken_back(store: Store) -> None:
    run_id = await accept(store, 1)
    (seen,) = await ActiveRuns(store).all()
    await ActiveRuns(store).forget(run_id)
    await store.delete_all(f"runs/{run_id}")
    assert await ActiveRuns(store).claim(seen, "a worker that had listed it before")
    async with working(worker_of(store, Graph(), lease_seconds=LEASE_SECONDS)), asyncio.timeout(30):
        while await store.keys("active"):
            await asyncio.sleep(0.02)


async def test_a_crash_between_the_last_event_and_the_mark_of_the_end_is_mended(store: Store) -> None:
    run, graph = await accept(store, 1), Graph()
    runner = Runner(store, graph.modules(store), NoMetrics(), pauses=())
    assert await runner.execute(run, owner="somebody who dies now")
    begun = len(graph.begun)
    async with working(worker_of(store, graph)):
        assert await ended(store, run) == "finished"
    assert len(graph.begun) == begun
    assert await store.keys("ended") == [f"ended/{run}"]


async def test_a_worker_whose_loop_has_stopped_is_not_healthy(store: Store) -> None:
    async with working(worker_of(store, Graph())) as worker:
        worker.check()
        worker._loops[0].cancel()
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="stopped"):
            worker.check()
