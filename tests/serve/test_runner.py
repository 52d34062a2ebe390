"""The graph's order, without any model."""

import asyncio
from pathlib import Path

import pytest

from models.errors import DamagedMedia, MediaToolFailed
from models.record import ModuleDone, Outputs, Record, Run, VideoInput
from serve.log import RunLog, read_events
from serve.runner import Call, Runner, Unit, units
from serve.store import Store
from tests.serve import records

RUN = "b" * 32
EVERY_UNIT = units(Record(video_input=records.video_input()))


class Calls:
    """Modules that only say when they were called; `slow` ones take a while, `broken` ones raise."""

    def __init__(self, *, broken: dict[Unit, Exception] | None = None) -> None:
        self.begun: list[Unit] = []
        self.running: set[Unit] = set()
        self.together: set[frozenset[Unit]] = set()
        self.broken = broken or {}

    def of(self, unit: Unit) -> Call:
        async def call(run_id: str, record: Record) -> Outputs:
            self.begun.append(unit)
            self.running.add(unit)
            await asyncio.sleep(0.01)
            self.together.add(frozenset(self.running))
            self.running.remove(unit)
            if unit in self.broken:
                raise self.broken[unit]
            return records.output(unit.module, unit.part)

        return call

    def all(self) -> dict[Unit, Call]:
        return {unit: self.of(unit) for unit in EVERY_UNIT}


async def execute(store: Store, calls: Calls, video_input: VideoInput) -> Run:
    await RunLog.create(store, RUN, video_input)
    await Runner(store, calls.all(), owner="me").execute(RUN)
    return (await RunLog.open(store, RUN)).run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


async def test_a_video_goes_through_every_module_once(store: Store) -> None:
    calls = Calls()
    run = await execute(store, calls, records.video_input())
    assert run.status == "finished"
    assert sorted(map(str, calls.begun)) == sorted(map(str, EVERY_UNIT))
    assert all(run.record.done(module) for module in run.record.modules)


async def test_detection_runs_beside_selection_and_music_beside_sounds(store: Store) -> None:
    calls = Calls()
    await execute(store, calls, records.video_input())
    assert frozenset({Unit("object_detection"), Unit("frame_selection")}) in calls.together
    assert frozenset({Unit("audio_generation", "music"), Unit("audio_generation", "sounds")}) in calls.together


async def test_an_image_skips_extraction_and_selection(store: Store) -> None:
    calls = Calls()
    run = await execute(store, calls, records.image_input())
    assert run.status == "finished"
    assert {unit.module for unit in calls.begun}.isdisjoint({"frame_extraction", "frame_selection"})


async def test_only_what_was_asked_for_is_generated(store: Store) -> None:
    calls = Calls()
    await execute(store, calls, records.video_input(options={"sounds": False, "seed": 1}))
    assert Unit("audio_generation", "sounds") not in calls.begun
    assert Unit("audio_generation", "music") in calls.begun


async def test_a_run_that_was_begun_elsewhere_goes_on_where_it_stopped(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    await log.append(ModuleDone, module="frame_extraction", output=records.output("frame_extraction"), seconds=1)
    calls = Calls()
    await Runner(store, calls.all(), owner="second").execute(RUN)
    assert Unit("frame_extraction") not in calls.begun
    assert (await RunLog.open(store, RUN)).run.status == "finished"


async def test_an_ended_run_is_left_alone(store: Store) -> None:
    await execute(store, Calls(), records.video_input())
    calls = Calls()
    before = [event async for event in read_events(store, RUN, after=0)]
    await Runner(store, calls.all(), owner="second").execute(RUN)
    assert calls.begun == []
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
    run = await execute(store, Calls(broken={Unit("object_detection"): error}), records.video_input())
    assert run.status == "failed"
    assert run.error is not None
    assert (run.error.module, run.error.kind) == ("object_detection", kind)
    assert words in run.error.message
    assert "0x7f" not in run.error.message
    assert run.record.frame_extraction is not None
