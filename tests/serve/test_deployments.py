"""What every deployment adds to its model: it stops, it has deadlines, it says what failed for a reason of ours, and who it is."""

import asyncio
import contextlib
import errno
import os
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from models import work
from models.errors import (
    DeadlinePassed,
    NotFound,
    OutOfMemory,
    StorageFailed,
    StorageFull,
    UnsupportedMedia,
    WorkerAway,
)
from models.frame_description import Description, Shot
from models.record import Options, Outputs, Progress, Record
from models.video_input import SourceFile
from serve import module_server
from serve.active import ActiveRun, ActiveRuns
from serve.audio_server import MusicGenerator
from serve.deployments import FrameDescriber, FrameExtractor
from serve.log import progress_key
from serve.module_server import ModuleServer
from serve.modules import Task
from serve.settings import AppSettings, Deadline, Deadlines
from serve.sources import Sent
from serve.store import Store
from serve.workspace import STALE_SECONDS, StoreWorkspace
from tests.serve import records

RUN = "a" * 32
LEASE_SECONDS = 1.0


class Model:
    model = "test"


class Steps(ModuleServer):
    """Takes steps of 10 ms until it has taken a thousand, or is stopped; or fails."""

    module = "object_detection"
    error: Exception | None = None

    def load(self, settings: AppSettings) -> Any:
        self.taken = 0
        self.batches: list[int] = []
        return Model()

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        files.new("videos/x/half").write_bytes(b"half")
        self.batches.append(work.batch_size(8))
        if self.error:
            raise self.error
        for step in range(1000):
            work.step(step, 1000)
            self.taken += 1
            time.sleep(0.01)
        return records.output("object_detection")


def task(**changes: Any) -> Task:
    record = Record(video_input=records.video_input()).append(records.output("frame_extraction"))
    return Task(record, "videos/x/made/y", **changes)


@pytest.fixture
def server(tmp_path: Path) -> Steps:
    return Steps(settings(tmp_path))


def settings(tmp_path: Path, **given: object) -> AppSettings:
    return AppSettings.model_validate({"store": str(tmp_path / "store"), **given})


async def until_stopped(server: Steps) -> None:
    async with asyncio.timeout(30):
        while True:
            before = server.taken
            await asyncio.sleep(0.1)
            if server.taken == before:
                return


async def test_a_cancelled_module_stops_at_its_next_step_and_leaves_nothing(server: Steps) -> None:
    running = asyncio.create_task(server.run(task()))
    while not server.taken:
        await asyncio.sleep(0.01)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    taken = server.taken
    await until_stopped(server)
    assert server.taken <= taken + 2
    assert await server.store.keys("videos") == []


async def test_what_waits_for_its_turn_and_is_cancelled_is_never_begun(server: Steps) -> None:
    first, second = (asyncio.create_task(server.run(task())) for _ in range(2))
    while not server.taken:
        await asyncio.sleep(0.01)
    for waiting in (second, first):
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
    await until_stopped(server)
    assert len(server.batches) == 1


@pytest.fixture
def server_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """One that looks often whether somebody waits for what it does."""
    monkeypatch.setattr(module_server, "UNWANTED_SECONDS", 0.05)
    return Steps(settings(tmp_path, runs={"lease_seconds": LEASE_SECONDS}))


@pytest.fixture
async def taken_run(server_of_runs: Steps) -> ActiveRun:
    """A run that `me` has taken, who has given a sign of life."""
    active = ActiveRuns(server_of_runs.store)
    await active.open(RUN, None)
    [waiting] = await active.all()
    await active.beat("me")
    assert await active.claim(waiting, "me")
    [taken] = await active.all()
    return taken


async def taken_over(active: ActiveRuns, run: ActiveRun) -> None:
    assert await active.claim(run, "another")


async def left(active: ActiveRuns, run: ActiveRun) -> None:
    await active.release(run)
    await active.goodbye("me")


async def ended(active: ActiveRuns, run: ActiveRun) -> None:
    await active.close(run.run_id)


@pytest.mark.parametrize("becomes", [taken_over, left, ended])
async def test_what_an_owner_who_has_died_had_asked_for_is_stopped_when_the_run_is_not_his_any_more(
    server_of_runs: Steps, taken_run: ActiveRun, becomes: Callable[[ActiveRuns, ActiveRun], Awaitable[None]]
) -> None:
    server = server_of_runs
    at_work, in_line = (asyncio.create_task(server.run(task(run_id=RUN, owner="me"))) for _ in range(2))
    while not server.taken:
        await asyncio.sleep(0.01)
    await becomes(ActiveRuns(server.store), taken_run)
    for running in (at_work, in_line):
        with pytest.raises(WorkerAway):
            await asyncio.wait_for(running, 8)  # all of its steps would take longer
    await until_stopped(server)


@pytest.mark.parametrize("becomes", [taken_over, ended])
async def test_what_a_living_owner_waits_for_goes_on_whatever_the_claims_say(
    server_of_runs: Steps, taken_run: ActiveRun, becomes: Callable[[ActiveRuns, ActiveRun], Awaitable[None]]
) -> None:
    """Another may have claimed the run after an outage of the store, and not have got into its log."""
    server, active = server_of_runs, ActiveRuns(server_of_runs.store)
    running = asyncio.create_task(server.run(task(run_id=RUN, owner="me")))
    await becomes(active, taken_run)
    for _ in range(30):
        await active.beat("me")
        await asyncio.sleep(LEASE_SECONDS / 10)
    assert not running.done()
    running.cancel()
    await until_stopped(server)


async def test_what_an_owner_waits_for_goes_on_while_the_store_is_away(
    server_of_runs: Steps, taken_run: ActiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, asked = server_of_runs, []

    async def away(self: ActiveRuns, run_id: str) -> str:
        asked.append(run_id)
        raise StorageFailed("away")

    monkeypatch.setattr(ActiveRuns, "holder", away)
    running = asyncio.create_task(server.run(task(run_id=RUN, owner="me")))
    while len(asked) < 4:
        await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await until_stopped(server)


async def test_who_has_a_run_is_read_in_the_store(server_of_runs: Steps, taken_run: ActiveRun) -> None:
    active = ActiveRuns(server_of_runs.store)
    assert await active.holder(RUN) == "me"
    await active.release(taken_run)
    assert await active.holder(RUN) is None
    [released] = await active.all()
    await active.claim(released, "another")
    assert await active.holder(RUN) == "another"
    await active.forget(RUN)
    assert await active.holder(RUN) is None


async def test_a_deadline_stops_the_work_and_waiting_does_not_count(tmp_path: Path) -> None:
    server = Steps(settings(tmp_path, deadlines={"object_detection": {"seconds": 0.3}}))
    began = time.monotonic()
    told = await asyncio.gather(*(server.run(task()) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in told] == [DeadlinePassed] * 3
    assert time.monotonic() - began > 0.85
    assert "0.3 s" in str(told[0])
    await until_stopped(server)


async def test_a_longer_film_may_take_longer(tmp_path: Path) -> None:
    server = MusicGenerator(settings(tmp_path, deadlines={"audio_generation": {"seconds": 10, "per_second": 2}}))
    assert server._deadline(task().record) == 10 + 2 * 10


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), StorageFull),
        (MemoryError(), OutOfMemory),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory"), OutOfMemory),
        (OSError(errno.EPERM, "/secret"), PermissionError),
        (ValueError("a bug"), ValueError),
    ],
)
async def test_what_failed_for_a_reason_of_ours_is_named(
    server: Steps, error: Exception, named: type[Exception]
) -> None:
    server.error = error
    with pytest.raises(named) as raised:
        await server.run(task())
    assert type(raised.value) is named


async def test_when_memory_was_short_half_as_much_is_taken_at_once(server: Steps) -> None:
    server.error = ValueError("enough")
    for memory_was_short in (False, True):
        with pytest.raises(ValueError, match="enough"):
            await server.run(task(memory_was_short=memory_was_short))
    assert server.batches == [8, 4]


async def test_how_far_it_is_is_told_at_most_twice_a_second(server: Steps, tmp_path: Path) -> None:
    store, key = Store(str(tmp_path / "store")), progress_key("a" * 32, "object_detection", None)
    began = time.monotonic()
    running = asyncio.create_task(server.run(task(run_id="a" * 32)))
    told: set[bytes | None] = {None}
    while len(told) < 1 + 3:
        told.add(await store.read(key))
        await asyncio.sleep(0.02)
    assert time.monotonic() - began > 3 * 0.5
    running.cancel()


async def test_how_long_it_will_take_is_told_from_when_its_turn_came(server: Steps, tmp_path: Path) -> None:
    store, key = Store(str(tmp_path / "store")), progress_key("a" * 32, "object_detection", None)
    first, second = (asyncio.create_task(server.run(task(run_id=run_id))) for run_id in ("b" * 32, "a" * 32))
    await asyncio.sleep(1.5)
    first.cancel()
    began = time.monotonic()
    while (data := await store.read(key)) is None:
        await asyncio.sleep(0.02)
    seen = time.monotonic()
    second.cancel()
    told = Progress.model_validate_json(data)
    assert told.seconds_left is not None
    worked = told.seconds_left * told.step / (told.steps - told.step)
    assert 0.4 < worked < seen - began


class Preparing(Steps):
    """Takes its time before its first step."""

    def step(self, task: Task, files: StoreWorkspace) -> Outputs:
        time.sleep(0.6)
        work.step(0, 4)
        return records.output("object_detection")


async def test_how_long_it_will_take_is_not_told_before_anything_is_done(tmp_path: Path) -> None:
    server = Preparing(settings(tmp_path))
    await server.run(task(run_id="a" * 32))
    data = await server.store.read(progress_key("a" * 32, "object_detection", None))
    assert data is not None
    told = Progress.model_validate_json(data)
    assert (told.step, told.steps, told.seconds_left) == (0, 4, None)


def test_a_thread_that_never_stops_makes_its_replica_unhealthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.module_server.STUCK_SECONDS", 0.1)
    server = Steps(settings(tmp_path, deadlines={"object_detection": {"seconds": 0.1}}))
    with server.in_hand(task()):
        server.check_health()
        time.sleep(0.25)
        with pytest.raises(RuntimeError, match="has not stopped"):
            server.check_health()
    server.check_health()


async def test_a_film_that_is_put_together_can_be_stopped_too(tmp_path: Path) -> None:
    """ffmpeg is a process of its own: it is ended, not waited for."""
    import ffmpeg

    from models import media
    from models.errors import Cancelled

    doing = work.Work()
    endless = ffmpeg.output(ffmpeg.input("testsrc=size=64x36", f="lavfi", re=None), "pipe:", format="null", t=60)

    def run() -> None:
        with work.going_on(doing):
            media.run(endless, timeout_seconds=60)

    running = asyncio.create_task(asyncio.to_thread(run))
    await asyncio.sleep(0.3)
    doing.cancelled.set()
    with pytest.raises(Cancelled):
        await asyncio.wait_for(running, 20)


class Slow:
    """Takes two seconds over every batch."""

    model, question = "slow", None

    def __init__(self) -> None:
        self.batches: list[int] = []

    def describe(self, shots: list[Shot]) -> list[Description]:
        self.batches.append(len(shots))
        time.sleep(2)
        return [Description(text="A dog.") for _ in shots]


class Describer(FrameDescriber):
    """With a model that takes its time."""

    def load(self, settings: AppSettings) -> Any:
        return Slow()


def to_describe() -> Task:
    record = Record(video_input=records.image_input())
    return Task(record, "videos/x/made/y")


@pytest.fixture
def describer(tmp_path: Path) -> Describer:
    describer = Describer(settings(tmp_path, deadlines={"frame_description": {"seconds": 60}}))
    describer.store.put(records.image_input().path, b"picture")
    return describer


async def test_a_description_that_is_cancelled_while_it_waits_is_never_made(describer: Describer) -> None:
    first = asyncio.create_task(describer.run(to_describe()))
    while not describer.model.batches:
        await asyncio.sleep(0.01)
    others = [asyncio.create_task(describer.run(to_describe())) for _ in range(3)]
    await asyncio.sleep(0.2)
    for other in others:
        other.cancel()
    assert (await first).frame_description is not None
    await asyncio.sleep(0.5)
    assert describer.model.batches == [1]


async def test_a_description_has_a_deadline_which_begins_with_its_batch(describer: Describer) -> None:
    def allow(seconds: float) -> None:
        deadlines = Deadlines(frame_description=Deadline(seconds=seconds))
        describer.settings = describer.settings.model_copy(update={"deadlines": deadlines})

    allow(3.5)
    told = await asyncio.gather(*(describer.run(to_describe()) for _ in range(3)))
    assert len(told) == 3  # the last one was there after six seconds, of which it had waited for four
    assert describer.model.batches == [1, 1, 1]
    allow(0.1)
    with pytest.raises(DeadlinePassed, match=r"0\.1 s"):
        await describer.run(to_describe())


async def test_a_look_that_hangs_has_a_deadline_and_its_replica_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.deployments.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("serve.deployments.STUCK_SECONDS", 60.0)
    ends = threading.Event()
    monkeypatch.setattr("models.video_input.probe", lambda *_, **__: ends.wait(60))
    server = FrameExtractor(settings(tmp_path))
    server.store.put("incoming/x", b"film")
    with pytest.raises(DeadlinePassed):
        await server.probe(Sent("incoming/x", "x.mp4", records.TOKEN, Options()))
    server.check_health()
    monkeypatch.setattr("serve.deployments.STUCK_SECONDS", 0.1)
    await asyncio.sleep(0.2)
    with pytest.raises(RuntimeError, match="has not ended"):
        server.check_health()
    ends.set()
    while server._looking:
        await asyncio.sleep(0.01)
    server.check_health()


async def test_a_file_that_is_taken_away_while_it_is_looked_at_is_gone_and_not_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FrameExtractor(settings(tmp_path))

    def taken_away(source: SourceFile, **_: Any) -> None:
        source.path.unlink()
        raise UnsupportedMedia("x.mp4 cannot be read")

    monkeypatch.setattr("models.video_input.probe", taken_away)
    server.store.put("incoming/x", b"film")
    with pytest.raises(NotFound, match="not there any more"):
        await server.probe(Sent("incoming/x", "x.mp4", records.TOKEN, Options()))


async def test_of_files_that_do_not_all_find_room_none_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path / "store"))
    put = store.put

    def full(key: str, source: Any) -> None:
        if key.endswith("2.jpg"):
            raise StorageFull("there is no space left")
        put(key, source)

    monkeypatch.setattr(store, "put", full)
    with StoreWorkspace(store, "videos/x/made/y") as files:
        for name in ("1.jpg", "2.jpg"):
            files.new(f"{files.made}/{name}").write_bytes(b"picture")
        with pytest.raises(StorageFull):
            files.keep()
    assert await store.keys("videos") == []


def test_what_a_killed_step_left_on_the_disk_goes_when_the_next_replica_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    for name, age in (("immersivaudio-step-old", 2 * STALE_SECONDS), ("immersivaudio-step-new", 0), ("else", 1e9)):
        (scratch / name).mkdir(parents=True)
        os.utime(scratch / name, (time.time() - age,) * 2)
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    Steps(settings(tmp_path))
    assert sorted(path.name for path in scratch.iterdir()) == ["else", "immersivaudio-step-new"]


async def test_a_refusal_is_an_answer_and_no_failure_of_the_replica(tmp_path: Path) -> None:
    server = FrameExtractor(settings(tmp_path))
    server.store.put("incoming/x", b"<html>")
    told = await server.look(Sent("incoming/x", "x.mp4", records.TOKEN, Options()))
    assert isinstance(told, UnsupportedMedia)
    with pytest.raises(NotFound):
        await server.look(Sent("incoming/gone", "x.mp4", records.TOKEN, Options()))
