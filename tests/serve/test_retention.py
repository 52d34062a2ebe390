"""What nobody needs any more goes, and nothing that is in use."""

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from models.record import Finished, Run
from serve.active import ActiveRuns
from serve.log import RunLog
from serve.retention import GRACE_SECONDS, Retention
from serve.settings import RetentionSettings, UploadSettings
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos, holder
from tests.serve import records

DAY = 24 * 3600.0
TOKENS = ("a" * 32, "b" * 32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def retention(store: Store) -> Retention:
    return Retention(store, Uploads(store, UploadSettings(keep_seconds=DAY)), RetentionSettings(runs_seconds=7 * DAY))


Ended = Callable[..., Awaitable[Run]]


@pytest.fixture
def ended(store: Store) -> Ended:
    """ended(number, token): a run of that video that has ended now."""

    async def make(number: int, token: str, *, ends: bool = True) -> Run:
        run_id = f"{number:032x}"
        store.put(f"incoming/{run_id}", b"film")
        given = records.video_input(token=token, path=f"videos/{token}/source.mp4")
        await Videos(store).keep(f"incoming/{run_id}", given, holder(run_id, None))
        await store.delete(f"incoming/{run_id}")
        await ActiveRuns(store).open(run_id, None)
        log = await RunLog.create(store, run_id, given)
        if ends:
            await log.append(Finished)
            await ActiveRuns(store).close(run_id)
        return log.run

    return make


def age(folder: Path, seconds: float, *, but: str = "\0") -> None:
    """Everything there was written so much earlier."""
    then = time.time() - seconds
    for path in folder.rglob("*"):
        if but not in str(path):
            os.utime(path, (then, then))


async def test_an_old_run_goes_with_its_video_and_a_young_one_stays(
    retention: Retention, ended: Ended, store: Store, tmp_path: Path
) -> None:
    await ended(1, TOKENS[0])
    age(tmp_path, 8 * DAY)
    young = await ended(2, TOKENS[1])
    await retention.sweep()
    assert not any("a" * 32 in key or f"{1:032x}" in key for key in await store.keys(""))
    assert (await RunLog.open(store, young.id)).run == young
    assert await store.read(f"videos/{TOKENS[1]}/source.mp4") == b"film"


async def test_a_video_that_a_younger_run_uses_stays(
    retention: Retention, ended: Ended, store: Store, tmp_path: Path
) -> None:
    await ended(1, TOKENS[0])
    age(tmp_path, 8 * DAY)
    await ended(2, TOKENS[0])
    await retention.sweep()
    assert await store.read(f"videos/{TOKENS[0]}/source.mp4") == b"film"
    assert await Videos(store).holders(TOKENS[0]) == [f"{2:032x}"]


async def test_a_run_that_has_not_ended_stays_however_old(
    retention: Retention, ended: Ended, store: Store, tmp_path: Path
) -> None:
    run = await ended(1, TOKENS[0], ends=False)
    before = await store.keys("")
    age(tmp_path, 1000 * DAY)
    await retention.sweep()
    assert await store.keys("") == before
    assert (await RunLog.open(store, run.id)).run == run


async def test_for_ever_is_for_ever(ended: Ended, store: Store, tmp_path: Path) -> None:
    await ended(1, TOKENS[0])
    before = await store.keys("")
    age(tmp_path, 1000 * DAY)
    for_ever = RetentionSettings(runs_seconds=None)
    await Retention(store, Uploads(store, UploadSettings()), for_ever).sweep()
    assert await store.keys("") == before


async def test_an_abandoned_upload_goes_and_one_that_goes_on_stays(
    retention: Retention, store: Store, tmp_path: Path
) -> None:
    uploads = Uploads(store, UploadSettings(keep_seconds=DAY))
    await uploads.create(10, name="old", metadata=None, key=None)
    age(tmp_path, 2 * DAY)
    kept = await uploads.create(10, name="young", metadata=None, key=None)
    await retention.sweep()
    assert await store.folders("uploads") == [f"uploads/{kept.id}"]


async def test_a_deletion_that_was_cut_short_is_finished(
    retention: Retention, ended: Ended, store: Store, tmp_path: Path
) -> None:
    run = await ended(1, TOKENS[0])
    await store.delete_all(f"runs/{run.id}")  # and then somebody died
    age(tmp_path, 8 * DAY)
    await retention.sweep()
    assert await store.keys("") == []


async def test_what_a_crash_left_of_a_submission_goes_after_a_while(
    retention: Retention, store: Store, tmp_path: Path
) -> None:
    store.put("incoming/x", b"film")
    given = records.video_input(token=TOKENS[0])
    await Videos(store).keep("incoming/x", given, "c" * 32)
    store.put("incoming/y", b"another")
    await store.write("owners/dead.json", b"1")
    await retention.sweep()
    assert len(await store.keys("")) == 4
    age(tmp_path, 2 * GRACE_SECONDS)
    await retention.sweep()
    assert await store.keys("") == []


async def test_a_log_that_cannot_be_read_keeps_nothing_else_from_going(
    retention: Retention, ended: Ended, store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = await ended(1, TOKENS[0]), await ended(2, TOKENS[1])
    await store.write(f"runs/{bad.id}/events/000002.json", b'{"type": "of a later version"}')
    age(tmp_path, 8 * DAY)
    await retention.sweep()
    assert await store.keys(f"runs/{good.id}") == []
    assert await store.keys(f"runs/{bad.id}") != []
    assert bad.id in caplog.text


async def test_what_killed_writers_left_on_a_disk_goes_after_a_while(
    retention: Retention, store: Store, tmp_path: Path
) -> None:
    await store.write("videos/x/holds/y", b"")
    left = tmp_path / "incoming" / "zz#1"
    left.parent.mkdir()
    left.write_bytes(b"half")
    await retention.sweep()
    assert left.exists()
    os.utime(left, (0, 0))
    await retention.sweep()
    assert not left.parent.exists()


async def test_what_was_just_made_of_a_video_that_nobody_holds_yet_stays(
    retention: Retention, store: Store, tmp_path: Path
) -> None:
    store.put(f"videos/{TOKENS[0]}/source.mp4", b"film")
    await retention.sweep()
    assert await store.keys("") == [f"videos/{TOKENS[0]}/source.mp4"]


async def test_what_a_writer_left_of_a_deleted_run_goes_with_the_next_sweep(
    retention: Retention, ended: Ended, store: Store, tmp_path: Path
) -> None:
    run = await ended(1, TOKENS[0])
    await retention.delete(run)
    await store.write(f"runs/{run.id}/events/000007.json", b"{}")
    await store.write(f"ended/{run.id}", b"{}")
    age(tmp_path, 8 * DAY)
    await retention.sweep()
    assert await store.keys("runs") == []
