"""Disks that fill: a clear error, nothing half-written, other runs go on, and what waited goes on when there is space again."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.record import Outputs, Run
from serve import worker
from serve.audio_server import MusicGenerator
from serve.deployments import FrameExtractor, FrameSelector, Reconstructor
from serve.module_server import ModuleServer
from serve.settings import AppSettings, RunSettings, UploadSettings
from tests import media_factory
from tests.serve.following import run_to_the_end
from tests.serve.local import local_http
from tests.serve.stores import mounted

TUS = {"Tus-Resumable": "1.0.0"}
PART = TUS | {"Content-Type": "application/offset+octet-stream"}
SPACE = "no space left"
PAUSES = (0.5, 0.5, 0.5)

Step = type[ModuleServer]
MODULES: list[Step] = [FrameExtractor, Reconstructor]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The store's."""
    with mounted(tmp_path / "disk") as place:
        yield place


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one that modules work on."""
    with mounted(tmp_path / "scratch") as place:
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        monkeypatch.setenv("TMPDIR", str(place))
        yield place


def fill(place: Path) -> None:
    """Take every byte that is left."""
    with (place / "filler").open("ab", buffering=0) as filler:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while filler.write(b"x" * size):
                    pass
            except OSError:
                continue


def fill_but(place: Path, left: int) -> None:
    """Take all but so many bytes."""
    fill(place)
    os.truncate(place / "filler", (place / "filler").stat().st_size - left)


def make_space(place: Path) -> None:
    (place / "filler").unlink()


def stored(disk: Path) -> set[str]:
    """Every file of the store, those included that a writer has not finished."""
    return {str(path.relative_to(disk)) for path in (disk / "store").rglob("*") if path.is_file()}


@pytest.fixture
async def http(disk: Path) -> AsyncIterator[httpx.AsyncClient]:
    runs = RunSettings(retry_pauses=PAUSES, lease_seconds=0.5)
    uploads = UploadSettings(reserve_bytes=0)
    async with local_http(AppSettings(store=str(disk / "store"), runs=runs, uploads=uploads)) as client:
        yield client


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return media_factory.make_video(tmp_path / "clip.mp4", frames=50, rate=10, size=(320, 240), sound=True)


@pytest.fixture
def another(tmp_path: Path) -> Path:
    return media_factory.make_video(tmp_path / "other.mp4", frames=20, rate=10, size=(64, 48))


def assert_full(answer: httpx.Response) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "space" in answer.json()["detail"]


async def run_of(http: httpx.AsyncClient, run_id: str) -> Run:
    return Run.model_validate_json((await http.get(f"/v1/runs/{run_id}")).text)


async def ended(http: httpx.AsyncClient, run_id: str) -> Run:
    async with asyncio.timeout(30):
        while (run := await run_of(http, run_id)).ended_at is None:
            await asyncio.sleep(0.05)
    return run


async def submit(http: httpx.AsyncClient, file: Path) -> httpx.Response:
    return await http.post("/v1/runs", files={"file": (file.name, file.read_bytes())}, data={"options": '{"seed": 1}'})


def fill_before(step: Step, place: Path, monkeypatch: pytest.MonkeyPatch, *, left: int = 0) -> None:
    """The disk fills at the moment in which this module begins, but for so many bytes."""
    original, begun = step.step, iter((True,))

    def filling(self: ModuleServer, *arguments: Any) -> Outputs:
        if next(begun, False):
            fill_but(place, left)
        outputs: Outputs = original(self, *arguments)
        return outputs

    monkeypatch.setattr(step, "step", filling)


async def causes(http: httpx.AsyncClient, run: Run) -> list[str]:
    events = await http.get(f"/v1/runs/{run.id}/events", headers={"accept": "application/x-ndjson"})
    told = [json.loads(line) for line in events.text.splitlines()]
    return [event["cause"] for event in told if event["type"] == "module_retried"]


async def test_an_upload_that_finds_the_disk_full_goes_on_when_there_is_space(
    http: httpx.AsyncClient, disk: Path, video: Path
) -> None:
    content = video.read_bytes()
    half = len(content) // 2
    created = await http.post("/v1/uploads", headers=TUS | {"Upload-Length": str(len(content))})
    location = created.headers["location"]
    assert (
        await http.patch(location, headers=PART | {"Upload-Offset": "0"}, content=content[:half])
    ).status_code == 204
    await settled(disk)
    before = stored(disk)
    fill(disk)
    assert_full(await http.patch(location, headers=PART | {"Upload-Offset": str(half)}, content=content[half:]))
    assert_full(await http.post("/v1/uploads", headers=TUS | {"Upload-Length": "1000"}))
    assert stored(disk) == before
    assert (await http.head(location, headers=TUS)).headers["upload-offset"] == str(half)
    make_space(disk)
    rest = await http.patch(location, headers=PART | {"Upload-Offset": str(half)}, content=content[half:])
    assert (rest.status_code, rest.headers["upload-offset"]) == (204, str(len(content)))
    begun = await http.post("/v1/runs", json={"upload": location[-32:]})
    assert begun.status_code == 202, begun.text
    assert (await ended(http, begun.json()["id"])).status == "finished"


async def test_a_submission_that_finds_the_disk_full_is_refused_and_leaves_nothing(
    http: httpx.AsyncClient, disk: Path, video: Path
) -> None:
    before = stored(disk)
    fill(disk)
    assert_full(await submit(http, video))
    assert stored(disk) == before
    make_space(disk)
    assert (await ended(http, (await submit(http, video)).json()["id"])).status == "finished"


@pytest.mark.parametrize("left", [0, 30_000, 200_000])
async def test_a_reference_that_finds_the_disk_full_is_refused_and_leaves_nothing(
    http: httpx.AsyncClient, disk: Path, another: Path, tmp_path: Path, left: int
) -> None:
    """Nothing finds room, or the file does, or what was sent, but not what was made of it."""
    sound = media_factory.make_sound(tmp_path / "drums.wav", seconds=1)
    files = {name: (path.name, path.read_bytes()) for name, path in (("file", another), ("reference", sound))}
    before = stored(disk)
    fill_but(disk, left)
    assert_full(await http.post("/v1/runs", files=files))
    assert stored(disk) == before
    make_space(disk)
    begun = await http.post("/v1/runs", files=files)
    assert (await ended(http, begun.json()["id"])).status == "finished"


async def test_a_reference_whose_scratch_is_full_is_refused(
    http: httpx.AsyncClient, disk: Path, scratch: Path, another: Path, tmp_path: Path
) -> None:
    sound = media_factory.make_sound(tmp_path / "drums.mp3", seconds=5)
    before = stored(disk)
    fill_but(scratch, 20_000)
    files = {name: (path.name, path.read_bytes()) for name, path in (("file", another), ("reference", sound))}
    assert_full(await http.post("/v1/runs", files=files))
    assert stored(disk) == before
    assert [path.name for path in scratch.iterdir()] == ["filler"]


async def test_a_submission_that_cannot_be_spooled_is_refused(http: httpx.AsyncClient, scratch: Path) -> None:
    fill(scratch)
    assert_full(await http.post("/v1/runs", files={"file": ("clip.mp4", b"v" * 3_000_000)}))
    assert [path.name for path in scratch.iterdir()] == ["filler"]


@pytest.mark.parametrize("step", [*MODULES, MusicGenerator])
async def test_a_module_whose_scratch_is_full_for_a_while_is_tried_again(
    http: httpx.AsyncClient, scratch: Path, video: Path, *, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    fill_before(step, scratch, monkeypatch)
    run_id = (await submit(http, video)).json()["id"]
    async with asyncio.timeout(20):
        while not (await run_of(http, run_id)).retries:
            await asyncio.sleep(0.02)
    make_space(scratch)
    run = await ended(http, run_id)
    assert run.status == "finished", run.error
    assert set(await causes(http, run)) == {"storage"}


@pytest.mark.parametrize("step", MODULES)
async def test_a_module_whose_scratch_stays_full_fails_alone(
    http: httpx.AsyncClient,
    scratch: Path,
    video: Path,
    another: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    first = await run_to_the_end(http, another, seed=1)
    fill_before(step, scratch, monkeypatch)
    run = await ended(http, (await submit(http, video)).json()["id"])
    assert (run.status, run.error and run.error.module) == ("failed", step.module)
    assert run.error is not None
    assert SPACE in run.error.message
    assert str(scratch) not in run.error.message
    assert await causes(http, run) == ["storage"] * len(PAUSES)
    for name in ("video", "audio"):
        assert (await http.get(f"/v1/runs/{run.id}/artifacts/{name}")).status_code == 404
    for name in () if step is FrameExtractor else ("music", "sounds", "frame"):
        assert (await http.get(f"/v1/runs/{run.id}/artifacts/{name}")).status_code == 200
    assert (await run_to_the_end(http, another, seed=1)).status == "finished"
    assert (await http.get(f"/v1/runs/{first.id}/artifacts/video")).status_code == 200
    make_space(scratch)
    assert list(scratch.iterdir()) == []
    assert (await run_to_the_end(http, video, seed=1)).status == "finished"


async def test_a_result_that_does_not_fit_into_the_store_fails_its_run_in_words(
    http: httpx.AsyncClient, disk: Path, video: Path, another: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_before(Reconstructor, disk, monkeypatch, left=48 * 1024)
    run = await ended(http, (await submit(http, video)).json()["id"])
    assert (run.status, run.error and run.error.module) == ("failed", "reconstruction")
    assert run.error is not None
    assert SPACE in run.error.message
    assert await causes(http, run) == ["storage"] * len(PAUSES)
    assert (await http.get(f"/v1/runs/{run.id}/artifacts/video")).status_code == 404
    assert (await http.get(f"/v1/runs/{run.id}/artifacts/music")).status_code == 200
    assert not [key for key in stored(disk) if "result" in key]
    make_space(disk)
    assert (await run_to_the_end(http, video, seed=1)).status == "finished"
    assert (await run_to_the_end(http, another, seed=1)).status == "finished"


@pytest.mark.parametrize("step", [*MODULES, FrameSelector])
async def test_no_run_is_lost_while_the_store_is_full(
    http: httpx.AsyncClient,
    disk: Path,
    video: Path,
    another: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    monkeypatch.setattr(worker, "REST_SECONDS", (0.3, 0.3))
    first = await run_to_the_end(http, another, seed=1)
    fill_before(step, disk, monkeypatch)
    run_id = (await submit(http, video)).json()["id"]
    async with asyncio.timeout(20):
        while not (disk / "filler").exists():
            await asyncio.sleep(0.02)
    await asyncio.sleep(2)  # longer than the lease, and than all pauses
    waiting = await run_of(http, run_id)
    assert waiting.ended_at is None
    assert getattr(waiting.record, step.module) is None
    assert (await http.get(f"/v1/runs/{run_id}/artifacts/video")).status_code == 404
    assert (await http.get(f"/v1/runs/{first.id}/artifacts/video")).status_code == 200
    assert_full(await submit(http, another))
    make_space(disk)
    run = await ended(http, run_id)
    assert run.status == "finished", run.error
    assert sum(timing.module == step.module for timing in run.timings) == 1
    assert (await run_to_the_end(http, another, seed=2)).status == "finished"
    await settled(disk)
    keys = {key for key in stored(disk) if key.startswith("store/runs")}
    assert all("/events/" in key for key in keys), keys


async def settled(disk: Path) -> None:
    """Wait until nothing changes in the store any more."""
    before: set[str] | None = None
    while before != stored(disk):
        before = stored(disk)
        await asyncio.sleep(0.1)
