"""A run is its log, and its log is create-only.

`stored/` has a log and a record as each version of the schema wrote them.
"""

import asyncio
from pathlib import Path

import pytest

from models.errors import NotFound
from models.record import (
    SCHEMA_VERSION,
    Accepted,
    Cancelled,
    Event,
    Failed,
    Finished,
    ModuleDone,
    ModuleRetried,
    Progress,
    Record,
    Started,
)
from serve.log import Heartbeat, LostRun, RunLog, cancel, event_key, follow_events, progress_key
from serve.store import Store
from tests.serve import records

pytest_plugins = ("tests.serve.stores",)

RUN = "a" * 32


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


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
    await asyncio.wait_for(follower, 20)
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


STORED = Path(__file__).parent / "stored"


def test_every_version_of_the_schema_is_kept() -> None:
    assert {folder.name for folder in STORED.iterdir()} == {f"v{number}" for number in range(1, SCHEMA_VERSION + 1)}


@pytest.mark.parametrize("version", sorted(folder.name for folder in STORED.iterdir()))
async def test_what_an_older_version_stored_opens_and_goes_on(store: Store, version: str) -> None:
    lines = (STORED / version / "log.ndjson").read_bytes().splitlines()
    for seq, line in enumerate(lines, start=1):
        await store.create(event_key(RUN, seq), line)
    run = (await RunLog.open(store, RUN)).run
    assert run.status == "finished"
    assert run.record == Record.model_validate_json((STORED / version / "record.json").read_text())
    assert run.record.schema_version == SCHEMA_VERSION
    await store.delete(event_key(RUN, len(lines)))
    log = await RunLog.open(store, RUN)
    await log.append(Started, owner="somebody of today")
    await log.append(Finished)
    assert (await RunLog.open(store, RUN)).run.status == "finished"


def test_a_record_of_a_later_version_is_refused_in_words() -> None:
    record = Record(video_input=records.video_input()).model_dump() | {"schema_version": SCHEMA_VERSION + 1}
    with pytest.raises(ValueError, match=f"schema version {SCHEMA_VERSION + 1}; versions 1 to {SCHEMA_VERSION}"):
        Record.model_validate(record)


async def test_cancelling_twice_or_after_the_end_changes_nothing(store: Store) -> None:
    await RunLog.create(store, RUN, records.video_input())
    assert [(await cancel(store, RUN)).status for _ in range(2)] == ["cancelled", "cancelled"]
    assert await store.keys(f"runs/{RUN}/events") == [event_key(RUN, seq) for seq in (1, 2)]
    other = await RunLog.create(store, "b" * 32, records.video_input())
    await other.append(Finished)
    assert (await cancel(store, "b" * 32)).status == "finished"


async def test_a_cancel_that_meets_the_owners_events_comes_after_them(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())

    async def write() -> None:
        for number in range(50):
            await log.append(
                ModuleRetried, module="object_detection", attempt=number + 1, cause="deadline", pause_seconds=0
            )
            await asyncio.sleep(number / 1000)

    writing = asyncio.create_task(write())
    await asyncio.sleep(0.01)
    assert (await cancel(store, RUN)).status == "cancelled"
    with pytest.raises(LostRun):
        await writing
    assert (await RunLog.open(store, RUN)).run.status == "cancelled"


async def test_following_a_run_that_is_deleted_meanwhile_ends(store: Store) -> None:
    await RunLog.create(store, RUN, records.video_input())
    heard: list[str] = []
    async with asyncio.timeout(30):
        async for item in follow_events(store, RUN, heartbeat_seconds=0.05):
            heard.append(item.type)
            if heard.count("heartbeat") == 2:
                await store.delete_all(f"runs/{RUN}")
    assert heard == ["accepted", "heartbeat", "heartbeat"]


def test_an_event_says_which_version_wrote_it() -> None:
    assert Accepted(seq=1, at=0, video_input=records.video_input()).schema_version == 1
    assert Cancelled(seq=1, at=0, schema_version=2).schema_version == 2


async def test_who_goes_on_with_a_run_that_was_cancelled_and_deleted_is_told_and_leaves_nothing(store: Store) -> None:
    log = await RunLog.create(store, RUN, records.video_input())
    await log.append(Started, owner="me")
    await cancel(store, RUN)
    await store.delete_all(f"runs/{RUN}")
    with pytest.raises(NotFound, match="deleted"):
        await asyncio.wait_for(log.overtaken(), 5)
    with pytest.raises(NotFound, match="deleted"):
        await log.append(Finished)
    assert await store.keys(f"runs/{RUN}") == []


async def test_an_append_that_is_given_up_leaves_nothing_of_a_deleted_run(store: Store) -> None:
    for turns in range(0, 60, 3):
        log = await RunLog.create(store, RUN, records.video_input())
        await store.delete_all(f"runs/{RUN}")
        writing = asyncio.create_task(log.append(Started, owner="me"))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises((asyncio.CancelledError, NotFound)):
            await writing
        assert await store.keys("runs") == []
