"""The graph's order, without any model."""

import asyncio

import pytest

from models.errors import DamagedMedia, DeadlinePassed, MediaToolFailed, OutOfMemory, StorageFull, WorkerDied
from models.record import ModuleDone, ModuleRetried, Outputs, Record, Run, Started, VideoInput
from serve.log import RunLog, cancel, read_events
from serve.metrics import NoMetrics
from serve.modules import Modules, Task, Unit, units
from serve.runner import Runner
from serve.store import Store
from tests.serve import records

pytest_plugins = ("tests.serve.stores",)

RUN = "b" * 32
EVERY_UNIT = units(Record(video_input=records.video_input()))


class Graph:
    """Modules that only say when they were called. What stands in `broken` is raised, one error a call."""

    def __init__(self, *, broken: dict[Unit, list[Exception]] | None = None) -> None:
        self.begun: list[Unit] = []
        self.short: list[bool] = []
        self.running: set[Unit] = set()
        self.together: set[frozenset[Unit]] = set()
        self.cancelled: set[Unit] = set()
        self.owners: set[str | None] = set()
        self.broken = broken or {}
        self.seconds = 0.01

    def modules(self, store: Store) -> Modules:
        return Modules(store, {unit: Server(self, unit) for unit in EVERY_UNIT})


class Server:
    """One module of the graph."""

    def __init__(self, graph: Graph, unit: Unit) -> None:
        self.graph, self.unit = graph, unit

    async def run(self, task: Task) -> Outputs:
        graph, unit = self.graph, self.unit
        graph.begun.append(unit)
        graph.short.append(task.memory_was_short)
        graph.owners.add(task.owner)
        graph.running.add(unit)
        try:
            await asyncio.sleep(graph.seconds)
        except asyncio.CancelledError:
            graph.cancelled.add(unit)
            raise
        graph.together.add(frozenset(graph.running))
        graph.running.discard(unit)
        if errors := graph.broken.get(unit):
            raise errors.pop(0)
        return records.output(unit.module, unit.part)

    async def identity(self) -> str | None:
        return None


def runner(store: Store, graph: Graph) -> Runner:
    return Runner(store, graph.modules(store), NoMetrics(), pauses=(0.0, 0.01, 0.02))


async def execute(store: Store, graph: Graph, video_input: VideoInput) -> Run:
    await RunLog.create(store, RUN, video_input)
    assert await runner(store, graph).execute(RUN, owner="me")
    return (await RunLog.open(store, RUN)).run


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


async def test_a_video_goes_through_every_module_once(store: Store) -> None:
    graph = Graph()
    run = await execute(store, graph, records.video_input())
    assert run.status == "finished"
    assert sorted(map(str, graph.begun)) == sorted(map(str, EVERY_UNIT))
    assert all(run.record.done(module) for module in run.record.modules)


async def test_detection_runs_beside_selection_and_music_beside_sounds(store: Store) -> None:
    graph = Graph()
    await execute(store, graph, records.video_input())
    assert frozenset({Unit("object_detection"), Unit("frame_selection")}) in graph.together
    assert frozenset({Unit("audio_generation", "music"), Unit("audio_generation", "sounds")}) in graph.together


async def test_an_image_skips_extraction_and_selection(store: Store) -> None:
    graph = Graph()
    run = await execute(store, graph, records.image_input())
    assert run.status == "finished"
    assert {unit.module for unit in graph.begun}.isdisjoint({"frame_extraction", "frame_selection"})


async def test_only_what_was_asked_for_is_generated(store: Store) -> None:
    graph = Graph()
    await execute(store, graph, records.video_input(options={"sounds": False, "seed": 1}))
    assert Unit("audio_generation", "sounds") not in graph.begun
    assert Unit("audio_generation", "music") in graph.begun


async def test_a_run_that_was_begun_elsewhere_goes_on_where_it_stopped(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    await log.append(ModuleDone, module="frame_extraction", output=records.output("frame_extraction"), seconds=1)
    graph = Graph()
    assert await runner(store, graph).execute(RUN, owner="second")
    assert Unit("frame_extraction") not in graph.begun
    assert (await RunLog.open(store, RUN)).run.status == "finished"


async def test_an_ended_run_is_left_alone(store: Store) -> None:
    await execute(store, Graph(), records.video_input())
    graph = Graph()
    before = [event async for event in read_events(store, RUN, after=0)]
    assert await runner(store, graph).execute(RUN, owner="second")
    assert graph.begun == []
    assert [event async for event in read_events(store, RUN, after=0)] == before


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (DamagedMedia("no frame decodes"), "input", "no frame decodes"),
        (MemoryError("secret address 0x7f"), "internal", "object_detection failed inside the service (MemoryError)"),
        (MediaToolFailed("ffmpeg failed: /srv/0x7f"), "internal", "failed inside the service (MediaToolFailed)"),
    ],
)
async def test_a_broken_module_ends_the_run_with_its_name(
    store: Store, error: Exception, kind: str, words: str
) -> None:
    run = await execute(store, Graph(broken={Unit("object_detection"): [error]}), records.video_input())
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error.module, run.error.kind) == ("object_detection", kind)
    assert words in run.error.message
    assert "0x7f" not in run.error.message
    assert run.record.frame_extraction is not None


DETECTION = Unit("object_detection")


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (WorkerDied("gone"), "worker_died"),
        (DeadlinePassed("slow"), "deadline"),
        (OutOfMemory("large"), "out_of_memory"),
        (StorageFull("full"), "storage"),
    ],
)
async def test_what_fails_for_a_reason_of_ours_is_tried_again(store: Store, error: Exception, cause: str) -> None:
    graph = Graph(broken={DETECTION: [error]})
    run = await execute(store, graph, records.video_input())
    assert (run.status, run.retries) == ("finished", 1)
    assert graph.begun.count(DETECTION) == 2
    assert len(graph.begun) == len(EVERY_UNIT) + 1
    (retried,) = [event async for event in read_events(store, RUN, after=0) if isinstance(event, ModuleRetried)]
    assert (retried.module, retried.cause, retried.attempt) == ("object_detection", cause, 1)


async def test_after_three_further_attempts_the_run_has_failed_and_keeps_what_it_had(store: Store) -> None:
    graph = Graph(broken={DETECTION: [WorkerDied("the process that worked on it is gone") for _ in range(9)]})
    run = await execute(store, graph, records.video_input())
    assert graph.begun.count(DETECTION) == 4
    assert (run.status, run.retries) == ("failed", 3)
    assert run.error is not None
    assert (run.error.module, run.error.kind) == ("object_detection", "internal")
    assert run.error.message.startswith("object_detection failed: the process that worked on it is gone (attempt 4")
    assert run.record.frame_extraction is not None


async def test_what_ran_out_of_memory_is_tried_once_more_with_less_at_a_time(store: Store) -> None:
    graph = Graph(broken={DETECTION: [OutOfMemory("too large") for _ in range(9)]})
    run = await execute(store, graph, records.video_input())
    assert run.status == "failed"
    asked = [short for unit, short in zip(graph.begun, graph.short, strict=True) if unit == DETECTION]
    assert asked == [False, True]


async def test_a_cancelled_run_stops_whatever_it_is_doing(store: Store) -> None:
    graph = Graph()
    graph.seconds = 30
    await RunLog.create(store, RUN, records.video_input())
    executing = asyncio.create_task(runner(store, graph).execute(RUN, owner="me"))
    while not graph.running:
        await asyncio.sleep(0.01)
    assert (await cancel(store, RUN)).status == "cancelled"
    assert await asyncio.wait_for(executing, 20)
    assert graph.cancelled == {Unit("frame_extraction")}
    log = [event async for event in read_events(store, RUN, after=0)]
    assert [event.type for event in log] == ["accepted", "started", "cancelled"]
    assert (await cancel(store, RUN)).status == "cancelled"
    assert [event async for event in read_events(store, RUN, after=0)] == log


async def test_whoever_computes_is_told_who_asks(store: Store) -> None:
    graph = Graph()
    assert (await execute(store, graph, records.video_input())).status == "finished"
    assert graph.owners == {"me"}


async def test_an_owner_that_has_lost_its_run_stops_and_writes_nothing_more(store: Store) -> None:
    graph = Graph()
    graph.seconds = 30
    await RunLog.create(store, RUN, records.video_input())
    executing = asyncio.create_task(runner(store, graph).execute(RUN, owner="first"))
    while not graph.running:
        await asyncio.sleep(0.01)
    second = await RunLog.open(store, RUN)
    await second.append(Started, owner="second")
    assert not await asyncio.wait_for(executing, 20)
    assert (await RunLog.open(store, RUN)).run == second.run
    assert second.run.resumptions == 1
