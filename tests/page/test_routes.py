"""The page's own routes, as a browser asks them, and those who should not."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from client import AsyncImmersivaudioClient
from client.page.peaks import peaks_route
from client.page.routes import routes
from client.page.uploads import upload_routes
from tests.client.fake import RUN_ID, Fake, serving
from tests.media_factory import make_video
from tests.page.site import Site, page, settings, site

GUARD = {"X-Immersivaudio": "1"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(settings(tmp_path_factory.mktemp("site")), users="ann:secret") as found:
        yield found


@pytest.fixture(scope="module")
def browser(studio: Site) -> Iterator[httpx.Client]:
    """Who has signed in."""
    with httpx.Client(base_url=studio.url, timeout=30) as http:
        signed = http.post("/login", data={"username": "ann", "password": "secret"})
        assert signed.status_code == 200
        yield http


@pytest.fixture(scope="module")
def finished(studio: Site, tmp_path_factory: pytest.TempPathFactory) -> str:
    film = make_video(tmp_path_factory.mktemp("film") / "clip.mp4", frames=50, rate=25)
    return studio.service.wait(studio.service.submit(film).id).id


def test_who_has_not_signed_in_sees_nothing_but_the_door(studio: Site, finished: str) -> None:
    with httpx.Client(base_url=studio.url, timeout=30) as stranger:
        for path in (f"/studio/runs/{finished}/{what}" for what in ("events", "record", "files/video", "peaks/mix")):
            assert stranger.get(path).status_code == 401
        assert stranger.post(f"/studio/runs/{finished}/cancel", headers=GUARD).status_code == 401
        assert stranger.delete(f"/studio/runs/{finished}", headers=GUARD).status_code == 401
        upload = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
        assert stranger.post("/studio/uploads", headers=upload).status_code == 401
        wrong = stranger.post("/login", data={"username": "ann", "password": "guess"})
        assert wrong.status_code == 400
        assert stranger.get("/studio/static/logo.svg").status_code == 200


def test_another_sites_page_can_change_nothing(browser: httpx.Client, finished: str) -> None:
    # It can make the browser send a form with the cookies, but no header of its own.
    assert browser.post(f"/studio/runs/{finished}/cancel").status_code == 403
    assert browser.delete(f"/studio/runs/{finished}").status_code == 403
    assert browser.get(f"/studio/runs/{finished}/record").status_code == 200
    # Where it may send headers, the browser says where it comes from. That holds for Gradio's own routes, too.
    for whence in ("cross-site", "same-site"):
        theirs = GUARD | {"Sec-Fetch-Site": whence, "Sec-Fetch-Mode": "cors"}
        assert browser.post(f"/studio/runs/{finished}/cancel", headers=theirs).status_code == 403
        assert browser.get(f"/studio/runs/{finished}/record", headers=theirs).status_code == 403
        assert browser.post("/gradio_api/queue/join", headers=theirs, json={}).status_code == 403
        link = {"Sec-Fetch-Site": whence, "Sec-Fetch-Mode": "navigate"}
        assert browser.get(f"/?run={finished}", headers=link).status_code == 200


@pytest.fixture(scope="module")
def open_page() -> Iterator[str]:
    """A page that is open to the network, over plain http: browsers say nothing of where a request comes from but its origin."""
    with page("http://127.0.0.1:9", host="0.0.0.0") as url:
        yield url


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://studio.example:81", "https://studio.example", "null", "http://["]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/config"),
        ("GET", f"/studio/runs/{'0' * 32}/record"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/studio/uploads"),
        ("OPTIONS", "/gradio_api/queue/join"),
        ("OPTIONS", "/studio/uploads"),
    ],
)
def test_over_plain_http_another_sites_script_gets_and_does_nothing(
    open_page: str, method: str, path: str, origin: str
) -> None:
    asked = {"Host": "studio.example:7860", "Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = httpx.request(method, open_page + path, headers=asked | GUARD, timeout=30)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "asked",
    [
        {"Host": "studio.example:7860", "Origin": "http://studio.example:7860"},
        {"Host": "Studio.example:80", "Origin": "http://studio.example"},
        {"Host": "127.0.0.1:7860", "X-Forwarded-Host": "sound.example, inner", "Origin": "https://sound.example"},
        {"Host": "studio.example:7860"},
        {"Host": "sound.example", "Origin": "https://sound.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_over_plain_http_and_behind_a_proxy_the_page_itself_is_answered(open_page: str, asked: dict[str, str]) -> None:
    assert httpx.get(f"{open_page}/config", headers=asked, timeout=30).status_code == 200


def test_another_name_that_leads_here_is_not_answered(studio: Site) -> None:
    answer = httpx.get(studio.url + "/", headers={"Host": "rebound.example"}, timeout=30)
    assert answer.status_code == 400


def test_a_runs_files_come_in_parts_and_cannot_run_as_a_page(browser: httpx.Client, finished: str) -> None:
    path = f"/studio/runs/{finished}/files/video"
    whole = browser.get(path)
    assert whole.headers["content-type"] == "video/mp4"
    assert "sandbox" in whole.headers["content-security-policy"]
    part = browser.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert browser.get(path, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    assert browser.head(path).headers["content-length"] == str(len(whole.content))
    named = browser.get(path, params={"download": 'Ünïted "film"\r\nX: y.mp4'})
    assert named.headers["content-disposition"].startswith("attachment; filename*=UTF-8''%C3%9Cn%C3%AFted")
    assert "x" not in named.headers


@pytest.mark.parametrize("ending", [".immersivaudio.mp4", ".immersivaudio.music-2.flac"])
@pytest.mark.parametrize("stem", ["море " * 60, "a" * 300, "Dr. No. " * 40, "." + "b" * 250])
def test_long_names_keep_their_endings(browser: httpx.Client, finished: str, stem: str, ending: str) -> None:
    answer = browser.get(f"/studio/runs/{finished}/files/video", params={"download": stem + ending})
    name = unquote(answer.headers["content-disposition"].removeprefix("attachment; filename*=UTF-8''"))
    assert len(name) == 200
    assert name.endswith(ending)
    assert name.startswith(stem[:100])


def test_frames_are_shown_and_nothing_beside_them(browser: httpx.Client, studio: Site, finished: str) -> None:
    frame = studio.service.run(finished).record.pictures[0]
    assert browser.get(f"/studio/files/{frame.path}").content[:3] == b"\xff\xd8\xff"
    for path in ("runs/x", f"runs/{finished}/events/000001.json", "..%2f..%2fetc/passwd", "videos/../secret"):
        assert browser.get(f"/studio/files/{path}").status_code == 404


@pytest.mark.parametrize("path", ["../blocks.py", "..%2fblocks.py", "%2e%2e/ui.py", "nothing.js", "", "examples"])
def test_static_files_are_those_and_no_others(browser: httpx.Client, path: str) -> None:
    assert browser.get(f"/studio/static/{path}").status_code == 404


def test_a_run_is_told_from_its_beginning_to_its_end(browser: httpx.Client, finished: str) -> None:
    told = events(browser, finished)
    assert [kind for kind, _ in told][-1] == "ended"
    assert told[-1][1]["status"] == "finished"
    sections = {name for kind, data in told if kind == "strip" for name in data["sections"]}
    assert {"head", "frame_extraction", "audio_generation", "reconstruction"} <= sections


@pytest.mark.parametrize("run_id", ["0" * 32, "nonsense"])
def test_a_run_that_is_not_there_is_said_to_be_none(browser: httpx.Client, run_id: str) -> None:
    [(kind, told)] = events(browser, run_id)
    assert kind == "problem"
    assert told["sentence"].startswith("There is no run")
    assert told["again"] is False
    for what in ("record", "files/video"):
        answer = browser.get(f"/studio/runs/{run_id}/{what}")
        assert answer.status_code == 404
        assert "There is no run" in answer.json()["detail"]


def test_without_a_service_the_page_says_so_and_asks_to_be_asked_again() -> None:
    with page("http://127.0.0.1:9") as url, httpx.Client(base_url=url, timeout=60) as http:
        [(kind, told)] = events(http, "0" * 32)
        assert (kind, told["again"]) == ("problem", True)
        assert "No service answers" in told["sentence"]
        record = http.get(f"/studio/runs/{'0' * 32}/record")
        assert record.status_code == 503
        assert "No service answers" in record.json()["detail"]


async def test_calls_are_answered_while_as_much_is_passed_on_as_can_be() -> None:
    with serving(Fake(artifact=bytes(64 * 2**20))) as service:
        patience = httpx.Timeout(10, pool=0.1)
        async with (
            AsyncImmersivaudioClient(service.url) as calls,
            AsyncImmersivaudioClient(service.url, timeout=patience, max_connections=2) as streams,
            listened(Starlette(routes=routes(lambda: calls, lambda: streams, lambda _: True))) as http,
        ):
            file = f"/studio/runs/{RUN_ID}/files/video"
            async with (
                http.stream("GET", file),
                http.stream("GET", file),
            ):  # as paused players do, which read no further
                full = await http.get(file)
                assert (full.status_code, full.headers["retry-after"]) == (503, "2")
                assert full.json()["detail"].startswith("The page has too much to do just now")
                events = await http.get(f"/studio/runs/{RUN_ID}/events")
                assert "The page has too much to do just now" in events.text
                assert (await http.get(f"/studio/runs/{RUN_ID}/record")).status_code == 200
            for _ in range(50):
                if (again := await http.head(file)).status_code == 200:
                    break
                await asyncio.sleep(0.1)
            assert again.status_code == 200


@pytest.mark.parametrize(
    ("refused", "status"), [(401, 403), (403, 403), (404, 404), (409, 409), (413, 413), (500, 500), (507, 507)]
)
async def test_the_service_and_the_page_refuse_in_the_same_shape_everywhere(refused: int, status: int) -> None:
    with serving(Fake(refuse=(refused, "the service says no"))) as service:
        async with AsyncImmersivaudioClient(service.url) as client:
            own = [
                *routes(lambda: client, lambda: client, lambda _: True),
                *upload_routes(lambda: client, lambda _: True),
                peaks_route(lambda: client, lambda _: True),
            ]
            async with listened(Starlette(routes=own)) as http:
                tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "9"}
                answers = [
                    await http.get(f"/studio/runs/{RUN_ID}/record"),
                    await http.get(f"/studio/runs/{RUN_ID}/files/video"),
                    await http.get(f"/studio/runs/{RUN_ID}/peaks/mix"),
                    await http.post(f"/studio/runs/{RUN_ID}/cancel", headers=GUARD),
                    await http.post("/studio/uploads", headers=tus),
                ]
    assert {answer.status_code for answer in answers} == {status}
    assert {answer.headers["content-type"] for answer in answers} == {"application/problem+json"}
    [told] = {answer.json()["detail"] for answer in answers}
    assert told.startswith("The service says no.")
    assert ("IMMERSIVAUDIO_API_KEY" in told) == (status == 403)


@asynccontextmanager
async def listened(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of the application, which is served by this loop: over a socket, so that answers arrive as they are made."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        task = asyncio.create_task(server.serve(sockets=[place]))
        url = f"http://127.0.0.1:{place.getsockname()[1]}"
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            async with httpx.AsyncClient(base_url=url, timeout=30) as http:
                yield http
        finally:
            server.should_exit = True
            await task


def test_it_can_be_installed_as_an_app(browser: httpx.Client) -> None:
    manifest = browser.get("/manifest.json").json()
    assert manifest["name"] == "Immersivaudio"
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        picture = browser.get(icon["src"])
        assert (picture.status_code, picture.content[:4]) == (200, b"\x89PNG")


def events(http: httpx.Client, run_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Kinds and data of a run's events, as the page tells them."""
    answer = http.get(f"/studio/runs/{run_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found
