"""The bench that loads the service, at a small load: over sockets, with the service in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

import bench.load
from bench.support.arrivals import Films, Served, client, closed, poisson
from bench.support.audioldm2 import checkpoint
from bench.support.device import MusicGenerator
from serve import app
from serve.settings import AppSettings
from tests.serve.local import local_http


@asynccontextmanager
async def served(settings: AppSettings) -> AsyncIterator[str]:
    """Address of the service."""
    async with local_http(settings) as inside:
        transport = inside._transport
        assert isinstance(transport, httpx.ASGITransport)
        server = uvicorn.Server(uvicorn.Config(transport.app, port=0, log_level="warning", lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        await serving


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> AppSettings:
    folder = tmp_path_factory.mktemp("load")
    music = bench.load.music(checkpoint(folder / "audioldm2", size="toy")) | {"steps": 2}
    return AppSettings.model_validate(
        {"store": str(folder / "store"), "music": music, "runs": {"waiting": 2, "at_once": 2}}
    )


@pytest.fixture(scope="module")
async def address(settings: AppSettings) -> AsyncIterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "MusicGenerator", MusicGenerator)
        async with served(settings) as url:
            yield url


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films.make(tmp_path_factory.mktemp("films"), seconds=2)


async def test_a_run_tells_of_its_beginning_before_its_end(address: str, films: Films) -> None:
    async with client(address) as http:
        runs = await closed(http, films, clients=1, seconds=0.01)
        told = (await http.get(f"/v1/runs/{runs[0].run_id}")).json()
    assert [run.ended for run in runs] == ["finished"]
    assert 0 < (runs[0].first or 0) <= (runs[0].begun or 0) < (runs[0].result or 0)
    assert told["record"]["audio_generation"]["stems"][0]["origin"] == "computed"
    assert told["record"]["audio_generation"]["stems"][0]["model"] == "audioldm2"


async def test_runs_that_arrive_faster_than_they_are_done_are_refused_or_finished_and_none_is_lost(
    address: str, films: Films
) -> None:
    async with client(address) as http:
        began = asyncio.get_running_loop().time()
        runs = await poisson(http, films, per_second=12, seconds=2)
    load = bench.load.Load("150%", 2, began, runs, cpu=0.1)
    assert len(load.runs) == pytest.approx(24, abs=12)
    assert any(run.refused for run in load.runs)
    assert load.finished
    assert load.lost == 0
    assert max(run.sent for run in runs) - began == pytest.approx(2, abs=1), "they do not wait for one another"


def test_what_was_seen_of_a_load_is_counted() -> None:
    runs = [
        Served(0, first=0.1, result=2, ended="finished"),
        Served(1, first=0.1, result=10, ended="finished"),
        Served(2, refused=True),
        Served(3, first=0.1, ended="failed"),
    ]
    load = bench.load.Load("100%", 4, 0, runs, cpu=0.5)
    assert (len(load.accepted), len(load.finished), load.lost) == (3, 2, 1)
    assert load.served == 1 / 4
    row = bench.load._row(load)
    assert row.split() == [
        "100%",
        "1.00",
        "0.25",
        "100",
        "100",
        "100",
        "6.00",
        "9.60",
        "9.92",
        "4",
        "1",
        "1",
        "1",
        "50%",
    ]
