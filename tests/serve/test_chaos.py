"""Runs on a real cluster while what works on them is killed, and what can be seen of it. The long form is `bench/chaos.py`."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from bench.chaos import DEPLOYMENTS, begun_after_done, plays
from bench.support.replicas import kill, log_lines, replicas
from client import ImmersivaudioClient, Options, Run
from client.sample import build_sample
from models.record import MODULES
from tests import media_factory
from tests.serve.conftest import Deploy

RUNS = 6
KILL_SECONDS = 1.0
BUSY = 6  # runs: more than a replica takes at once (`max_ongoing_requests`)


@pytest.fixture(scope="module")
def address(deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> str:
    store = str(tmp_path_factory.mktemp("store"))
    return deploy("serve_config.yaml", store=store, runs={"lease_seconds": 2, "retry_pauses": [0.5, 2, 5]})


@pytest.fixture(scope="module")
def survivors(address: str, ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Runs during which one replica of every deployment was killed, and at last all of them at once."""
    video = tmp_path_factory.mktemp("sample") / "sample.mp4"
    build_sample(video)
    with ImmersivaudioClient(address) as service:
        ids = [service.submit(video, Options(seed=seed, k=5 + seed)).id for seed in range(RUNS)]
        for name in DEPLOYMENTS:
            for pid in replicas(ray_folder).get(name, []):
                kill(pid)
            time.sleep(KILL_SECONDS)
        for there in replicas(ray_folder).values():
            for pid in there:
                kill(pid)
        for run_id in ids:
            for _ in service.events(run_id):
                pass
        return [service.run(run_id) for run_id in ids]


@pytest.mark.timeout(600)
def test_every_run_ends_finished_whatever_is_killed(survivors: list[Run]) -> None:
    assert [(run.status, run.error) for run in survivors] == [("finished", None)] * RUNS
    assert sum(run.resumptions for run in survivors) > 0


def test_no_module_that_had_finished_began_again(address: str, survivors: list[Run], ray_folder: Path) -> None:
    with ImmersivaudioClient(address) as service:
        assert begun_after_done(service, survivors, ray_folder) == 0
    begun = [line for line in log_lines(ray_folder) if line.get("message") == "module begins"]
    assert {line["run_id"] for line in begun} >= {run.id for run in survivors}


def test_every_result_plays_to_its_end(address: str, survivors: list[Run], tmp_path: Path) -> None:
    with ImmersivaudioClient(address) as service:
        for run in survivors:
            service.download(run.id, "video", tmp_path / "result.mp4")
            assert plays(tmp_path / "result.mp4", 12)


async def test_a_cancelled_run_frees_its_place_on_the_cluster(address: str, tmp_path: Path) -> None:
    image = media_factory.make_image(tmp_path / "still.png", size=(64, 36))
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        files, data = {"file": ("still.png", image.read_bytes())}, {"options": json.dumps({"seconds": 1700})}
        location = (await http.post("/v1/runs", files=files, data=data)).headers["location"]
        async with asyncio.timeout(60):
            while not (await http.get(location)).json()["record"]["prompt_enhancement"]:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        began = time.monotonic()
        assert (await http.post(location + "/cancel")).json()["status"] == "cancelled"
        data = {"options": json.dumps({"seconds": 1})}
        answer = await http.post(
            "/v1/runs", params={"follow": True}, files=files, data=data, headers={"accept": "application/x-ndjson"}
        )
        assert json.loads(answer.text.splitlines()[-1])["type"] == "finished"
        assert time.monotonic() - began < 20  # 1,700 s of music and of sounds would take longer
        assert (await http.get(location)).json()["record"]["audio_generation"] is None


@pytest.fixture
def orphans(address: str, ray_folder: Path, tmp_path: Path) -> Iterator[list[str]]:
    """Runs whose owner was killed while more of them had long work at one replica than it takes at once."""
    image = media_factory.make_image(tmp_path / "still.png", size=(64, 36))
    with ImmersivaudioClient(address) as service, ExitStack() as cleaning:
        runs = []
        for seed in range(BUSY):
            runs.append(service.submit(image, Options(seconds=1700, seed=seed)).id)
            cleaning.callback(service.cancel, runs[-1])
        while not all(service.run(run_id).record.prompt_enhancement for run_id in runs):
            time.sleep(0.1)
        time.sleep(1)
        [before] = replicas(ray_folder)["Pipeline"]
        kill(before)
        while before in (there := replicas(ray_folder).get("Pipeline", [])) or not there:
            time.sleep(0.1)
        yield runs


@pytest.mark.timeout(600)
def test_after_its_owners_death_the_service_is_ready_and_what_he_had_asked_for_is_stopped(
    address: str, ray_folder: Path, orphans: list[str]
) -> None:
    began = time.monotonic()
    while httpx.get(f"{address}/readyz", timeout=60).status_code != 200:
        time.sleep(0.1)
    assert len(httpx.get(f"{address}/v1/modules", timeout=60).json()) == len(MODULES)  # a stem more, and no video_input
    stopped: set[object] = set()
    while not stopped & {*orphans}:
        stopped = {
            line["run_id"] for line in log_lines(ray_folder) if str(line.get("message")).startswith("module stopped")
        }
        assert time.monotonic() - began < 150
        time.sleep(1)
    with ImmersivaudioClient(address) as service:
        assert {service.run(run_id).ended_at for run_id in orphans} == {None}


async def test_what_the_service_does_can_be_seen_from_outside(address: str, survivors: list[Run]) -> None:
    wanted = {
        'immersivaudio_runs_ended_total{node="': 'status="finished"',
        "immersivaudio_module_seconds_count{": 'module="audio_generation"',
        "immersivaudio_runs_resumed_total{": "",
        "immersivaudio_cache_misses_total{": "",
        "immersivaudio_runs_waiting ": "",
    }
    async with httpx.AsyncClient(base_url=address, timeout=30) as http, asyncio.timeout(60):
        while True:
            lines = (await http.get("/metrics")).text.splitlines()
            seen = {
                start for start, label in wanted.items() for line in lines if line.startswith(start) and label in line
            }
            if seen == set(wanted):
                return
            await asyncio.sleep(2)


async def test_a_log_line_tells_the_run_the_module_and_the_request(
    address: str, ray_folder: Path, tmp_path: Path
) -> None:
    image = media_factory.make_image(tmp_path / "a.png", size=(64, 36))
    async with httpx.AsyncClient(base_url=address, timeout=60) as http:
        answer = await http.post(
            "/v1/runs",
            params={"follow": True},
            files={"file": ("a.png", image.read_bytes())},
            data={"options": '{"seconds": 1}'},
            headers={"X-Request-ID": "the-request-of-this-test"},
        )
    assert answer.headers["x-request-id"] == "the-request-of-this-test"
    run_id = answer.headers["location"].rpartition("/")[2]
    about = [line for line in log_lines(ray_folder) if line.get("run_id") == run_id]
    modules = {line.get("module_name") for line in about if line["message"] == "module done"}
    assert modules >= {"object_detection", "audio_generation", "reconstruction"}
    asked = [line for line in log_lines(ray_folder) if line.get("request_id") == "the-request-of-this-test"]
    assert any(line.get("run_id") == run_id for line in asked)
