"""Whole runs with a bucket for a store, and nothing of them anywhere else."""

import tempfile
from pathlib import Path

import httpx
import pytest

from serve.active import ActiveRuns
from serve.metrics import NoMetrics
from serve.retention import Retention
from serve.runner import Runner
from serve.settings import AppSettings, RetentionSettings, RunSettings
from serve.store import Store
from serve.uploads import Uploads
from serve.worker import Worker
from tests import media_factory
from tests.serve.following import download, picture_packets, run_to_the_end
from tests.serve.local import local_http
from tests.serve.s3 import new_bucket
from tests.serve.test_runner import Graph
from tests.serve.test_worker import LEASE_SECONDS, accept, die, ended, working

pytest_plugins = ("tests.serve.stores",)


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    return new_bucket(s3_endpoint, monkeypatch)


async def test_a_run_with_all_its_files_is_in_the_bucket_alone(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    video = media_factory.make_video(tmp_path / "clip.mp4", frames=50)
    async with local_http(AppSettings(store=bucket)) as http:
        run = await run_to_the_end(http, video, seed=1)
        assert run.status == "finished", run.error
        result = await download(http, run, "video", tmp_path)
        assert picture_packets(result) == picture_packets(video)
        part = await http.get(f"/v1/runs/{run.id}/artifacts/video", headers={"range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, result.read_bytes()[10:20])
        again = await run_to_the_end(http, video, seed=2)
        assert again.record.frame_description is not None
        assert again.record.frame_description.origin == "cached"
        for one in (run, again):
            assert (await http.delete(f"/v1/runs/{one.id}")).status_code == 204
    assert list(scratch.iterdir()) == []
    assert await Store(bucket).keys("") == []


async def test_results_can_be_fetched_from_the_bucket_itself(bucket: str, tmp_path: Path) -> None:
    video = media_factory.make_video(tmp_path / "clip.mp4", frames=25)
    async with local_http(AppSettings(store=bucket, presigned_seconds=60)) as http:
        run = await run_to_the_end(http, video)
        answer = await http.get(f"/v1/runs/{run.id}/artifacts/video")
        assert answer.status_code == 307
        assert answer.headers["cache-control"] == "no-store"
        async with httpx.AsyncClient() as anybody:
            film = await anybody.get(answer.headers["location"], headers={"range": "bytes=0-99"})
        assert (film.status_code, len(film.content)) == (206, 100)
        assert film.headers["content-type"] == "video/mp4"
        assert (await http.head(f"/v1/runs/{run.id}/artifacts/video")).status_code == 200
        (tmp_path / "film.mp4").write_bytes(httpx.get(answer.headers["location"], timeout=60).content)
        assert picture_packets(tmp_path / "film.mp4") == picture_packets(video)


def test_a_folder_signs_no_addresses() -> None:
    with pytest.raises(ValueError, match="presigned_seconds needs a store that is a bucket"):
        AppSettings(store="var/store", presigned_seconds=60)


async def test_runs_of_a_worker_that_died_go_on_in_a_bucket_too(bucket: str) -> None:
    store, graph = Store(bucket), Graph()
    run = await accept(store, 1)
    graph.seconds = 0.3

    def worker() -> Worker:
        runner = Runner(store, graph.modules(store), NoMetrics(), pauses=(0.0,))
        return Worker(ActiveRuns(store), runner.execute, NoMetrics(), RunSettings(lease_seconds=5 * LEASE_SECONDS))

    first = worker()
    async with working(first):
        while len(graph.begun) < 2:
            assert await store.keys("active")
        await die(first)
        async with working(worker()):
            assert await ended(store, run, seconds=30) == "finished"
    await Retention(store, Uploads(store, AppSettings().uploads), RetentionSettings(runs_seconds=0.001)).sweep()
    assert await store.keys("runs") == []
