"""The outline of a run's sound, as the page asks for it."""

import asyncio
import io
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette

from client import AsyncImmersivaudioClient
from client.page.peaks import MOST_PEAKS, peaks, peaks_route
from tests.media_factory import make_sound


class Service:
    """Serves files as artifacts, and counts how often it is asked."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.asked = 0
        self.going_on = asyncio.Event()
        self.going_on.set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        await asyncio.sleep(0.01)
        await self.going_on.wait()
        name = request.url.path.rsplit("/", 1)[1]
        if name not in self.files:
            return httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": f"run 1 has no {name}"})
        return httpx.Response(200, stream=httpx.ByteStream(self.files[name].read_bytes()))


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[AsyncImmersivaudioClient]:
    async with AsyncImmersivaudioClient("http://service", transport=httpx.MockTransport(service)) as client:
        yield client


@pytest.fixture
async def page(client: AsyncImmersivaudioClient) -> AsyncIterator[httpx.AsyncClient]:
    """Whoever says `Allowed` may."""
    route = peaks_route(lambda: client, lambda request: "Allowed" in request.headers)
    transport = httpx.ASGITransport(Starlette(routes=[route]))
    async with httpx.AsyncClient(base_url="http://page", transport=transport, headers={"Allowed": "yes"}) as page:
        yield page


def written(path: Path, left: np.ndarray, right: np.ndarray) -> Path:  # type: ignore[type-arg]
    soundfile.write(path, np.stack([left, right], axis=1), 48_000, subtype="PCM_24")
    return path


@pytest.mark.parametrize("ending", ["flac", "wav"])
async def test_peaks_lie_where_the_sound_is_loud_in_either_channel(
    client: AsyncImmersivaudioClient, service: Service, tmp_path: Path, ending: str
) -> None:
    silence = np.zeros(20 * 48_000)
    right = silence.copy()
    right[15 * 48_000 + 7] = -0.5
    service.files["mix"] = written(tmp_path / f"mix.{ending}", silence, right)
    outline = await peaks(client, "1", "mix")
    assert outline.seconds == 20
    assert len(outline.peaks) == MOST_PEAKS
    loudest = int(np.argmax(outline.peaks))
    assert outline.peaks[loudest] == pytest.approx(0.5, abs=0.001)
    assert loudest / MOST_PEAKS * 20 == pytest.approx(15, abs=0.05)
    assert sum(outline.peaks) == outline.peaks[loudest]


async def test_a_short_sound_has_fewer_peaks(
    client: AsyncImmersivaudioClient, service: Service, tmp_path: Path
) -> None:
    service.files["mix"] = written(tmp_path / "mix.wav", np.ones(4_800), np.ones(4_800))
    outline = await peaks(client, "1", "mix")
    assert outline.seconds == 0.1
    assert set(outline.peaks) == {1.0}
    assert 1 < len(outline.peaks) < MOST_PEAKS


async def test_a_long_sound_is_read_in_little_memory(
    client: AsyncImmersivaudioClient, service: Service, tmp_path: Path
) -> None:
    silence = np.zeros(300 * 48_000, np.float32)
    service.files["mix"] = written(tmp_path / "mix.flac", silence, silence)
    del silence
    tracemalloc.start()
    try:
        await peaks(client, "1", "mix")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 2**20  # 115 MB decoded


async def test_one_outline_is_made_once_for_all_who_ask(
    page: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    service.files["mix"] = make_sound(tmp_path / "mix.flac")
    first, *others = await asyncio.gather(*(page.get("/studio/runs/1/peaks/mix") for _ in range(4)))
    assert {answer.content for answer in others} == {first.content}
    assert service.asked == 1
    assert first.json()["seconds"] == 1
    assert max(first.json()["peaks"]) == pytest.approx(0.25, abs=0.01)


async def test_a_browser_that_has_it_is_not_sent_it_again(
    page: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    service.files["mix"] = make_sound(tmp_path / "mix.flac")
    first = await page.get("/studio/runs/1/peaks/mix")
    assert "private" in first.headers["Cache-Control"]
    again = await page.get("/studio/runs/1/peaks/mix", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_a_format_that_cannot_be_read_is_told_in_words(
    page: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    service.files["audio"] = make_sound(tmp_path / "audio.m4a")
    answer = await page.get("/studio/runs/1/peaks/audio")
    assert answer.status_code == 404
    assert answer.json()["detail"] == "There is no waveform for sound in this format."


async def test_the_services_own_sentence_comes_through_and_a_later_try_may_succeed(
    page: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    answer = await page.get("/studio/runs/1/peaks/mix")
    assert (answer.status_code, answer.json()["detail"]) == (404, "Run 1 has no mix.")
    service.files["mix"] = make_sound(tmp_path / "mix.flac")
    assert (await page.get("/studio/runs/1/peaks/mix")).status_code == 200


async def test_whoever_goes_away_does_not_take_it_from_the_others(
    page: httpx.AsyncClient, service: Service, tmp_path: Path
) -> None:
    service.files["mix"] = make_sound(tmp_path / "mix.flac")
    service.going_on.clear()
    first, second = (asyncio.create_task(page.get("/studio/runs/1/peaks/mix")) for _ in range(2))
    while not service.asked:
        await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    service.going_on.set()
    assert (await second).status_code == 200
    assert service.asked == 1


async def test_the_page_goes_on_while_a_sound_is_written(
    client: AsyncImmersivaudioClient, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.files["mix"] = make_sound(tmp_path / "mix.flac")
    writers = set()

    class Disk(io.BytesIO):
        def write(self, data: Any) -> int:
            writers.add(threading.current_thread())
            return super().write(data)

    monkeypatch.setattr("tempfile.TemporaryFile", Disk)
    assert (await peaks(client, "1", "mix")).seconds == 1
    assert threading.main_thread() not in writers


async def test_no_service_is_told_as_such() -> None:
    async with AsyncImmersivaudioClient("http://127.0.0.1:9") as client:
        transport = httpx.ASGITransport(Starlette(routes=[peaks_route(lambda: client, lambda _: True)]))
        async with httpx.AsyncClient(base_url="http://page", transport=transport) as page:
            assert (await page.get("/studio/runs/1/peaks/mix")).status_code == 503


async def test_pictures_are_not_fetched_and_strangers_get_nothing(page: httpx.AsyncClient, service: Service) -> None:
    assert (await page.get("/studio/runs/1/peaks/video")).status_code == 404
    del page.headers["Allowed"]
    assert (await page.get("/studio/runs/1/peaks/mix")).status_code == 401
    assert service.asked == 0
