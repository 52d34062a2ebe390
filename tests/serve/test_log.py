"""A run is its log, and its log is create-only."""

import asyncio
from pathlib import Path

import pytest

from models.errors import NotFound
from models.record import Event, Failed, Finished, ModuleDone, Progress, Started
from serve.log import Heartbeat, LostRun, RunLog, follow_events, progress_key
from serve.store import Store
from tests.serve import records

RUN = "a" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


async def test_a_run_is_what_its_log_tells(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    await log.append(Started, owner="me")
    await log.append(ModuleDone, module="frame_extraction", output=records.output("frame_extraction"), seconds=1.5)
    read = (await RunLog.open(store, RUN)).run
    assert read == log.run
    assert read.status == "running"
    assert read.record.frame_extraction is not None
    assert read.timings[0].seconds == 1.5


async def test_stems_are_appended_as_they_are_made(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    for part in ("sounds", "music"):
        await log.append(
            ModuleDone, module="audio_generation", output=records.output("audio_generation", part), seconds=1
        )
        assert log.run.record.done("audio_generation") == (part == "music")
    assert log.run.record.audio_generation is not None
    assert [stem.kind for stem in log.run.record.audio_generation.stems] == ["music", "sounds"]


async def test_of_two_writers_the_slower_one_stops(store: Store) -> None:
    first = await RunLog.create(store, RUN, records.video_input())
    second = await RunLog.open(store, RUN)
    await second.append(Started, owner="second")
    with pytest.raises(LostRun):
        await first.append(Started, owner="first")
    assert (await RunLog.open(store, RUN)).run == second.run


async def test_a_run_that_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        await RunLog.open(store, RUN)


async def test_a_failed_run_keeps_what_was_computed(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    await log.append(ModuleDone, module="frame_extraction", output=records.output("frame_extraction"), seconds=1)
    await log.append(Failed, module="object_detection", kind="internal", message="out of memory")
    run = (await RunLog.open(store, RUN)).run
    assert run.status == "failed"
    assert run.error is not None
    assert run.error.module == "object_detection"
    assert run.record.frame_extraction is not None


async def test_a_follower_hears_events_progress_and_heartbeats_up_to_the_end(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    heard: list[Event | Progress | Heartbeat] = []

    async def follow() -> None:
        heard.extend([item async for item in follow_events(store, RUN, heartbeat_seconds=0.3)])

    follower = asyncio.create_task(follow())
    progress = Progress(module="audio_generation", part="music", step=2, steps=9)
    store.put(progress_key(RUN, "audio_generation", "music"), progress.model_dump_json().encode())
    await asyncio.sleep(1.2)
    await log.append(Finished)
    await asyncio.wait_for(follower, 5)
    assert [item.type for item in heard if not isinstance(item, (Heartbeat, Progress))] == ["accepted", "finished"]
    assert heard.count(progress) == 1
    assert Heartbeat() in heard


@pytest.mark.parametrize(("after", "told"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, [3]), (99, [1, 2, 3])])
async def test_a_run_that_ended_long_ago_is_told_from_anywhere(store: Store, after: int, told: list[int]) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    await log.append(Started, owner="me")
    await log.append(Finished)
    items = [item async for item in follow_events(store, RUN, after=after)]
    assert [item.seq for item in items if not isinstance(item, (Heartbeat, Progress))] == told
