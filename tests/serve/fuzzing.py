"""A service to be fuzzed: the whole of it in this process, in a folder of its own, with everything watched that it must not touch.

Requests are given to the application byte by byte, without a client that would put them right. Every answer is looked at.
"""

import asyncio
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import HealthCheck, settings
from starlette.types import Message

from models.record import Run
from serve import retention
from serve.settings import AppSettings, RetentionSettings, RunSettings, UploadSettings
from serve.store import Store
from serve.uploads import Uploads
from tests import media_factory
from tests.serve.following import run_to_the_end
from tests.serve.local import local_http

ROOT = Path(__file__).parents[2]
SECRET = "what-lies-outside-of-the-store"
TUS = ((b"tus-resumable", b"1.0.0"),)
ENOUGH_FOR_A_SENTENCE = 15

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Asked:
    """A request as it arrives."""

    method: str
    path: str
    """Path and query as they stand in the request's first line: percent-encoded ASCII."""
    headers: Headers = ()
    body: bytes = b""
    pieces: int = 1
    """In how many pieces the body comes."""
    leaves: bool = False
    """The client is gone after these bytes, and hears no answer."""


@dataclass
class Fuzzed:
    """A running service. `asked` counts the requests."""

    folder: Path
    app: Any
    portal: BlockingPortal
    asked: int = 0
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def video(self) -> Path:
        """Half a second of picture and sound, a few kilobytes."""
        return self.folder / "media" / "clip.mp4"

    @property
    def silent(self) -> Path:
        """Four seconds of picture alone, of which several frames are taken."""
        return self.folder / "media" / "silent.mp4"

    @property
    def sound(self) -> Path:
        """Half a second of a tone."""
        return self.folder / "media" / "tone.wav"

    def ask(self, asked: Asked) -> httpx.Response:
        """The answer, which is checked."""
        return self.ask_all([asked])[0]

    def ask_all(self, requests: Sequence[Asked]) -> list[httpx.Response]:
        """The answers to requests that are made at the same time."""

        async def together() -> list[httpx.Response]:
            async with asyncio.timeout(60):
                return list(await asyncio.gather(*(exchange(self.app, asked) for asked in requests)))

        answers = self.portal.call(together)
        self.asked += len(answers)
        for asked, answer in zip(requests, answers, strict=True):
            self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
            self.check(asked, answer)
        return answers

    def check(self, asked: Any, answer: httpx.Response) -> None:
        """What every answer has in common, whatever was asked."""
        told = f"{asked!r:.600} was answered {answer.status_code}: {answer.text:.600}"
        assert answer.status_code < 500, told
        assert SECRET not in answer.text, told
        for name, value in answer.headers.raw:
            assert re.fullmatch(rb"[!-~]+", name), told
            assert re.fullmatch(rb"[\t -~\x80-\xff]*", value), told
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json", told
            problem = answer.json()
            assert problem["status"] == answer.status_code, told
            assert len(problem["detail"]) >= ENOUGH_FOR_A_SENTENCE, told
            assert " " in problem["detail"], told
            for ours in (str(self.folder), str(ROOT), os.sep + "site-packages", "Traceback (", 'File "'):
                assert ours not in answer.text, told

    def json(self, path: str) -> Any:
        return json.loads(self.ask(Asked("GET", path)).text)

    def run_to_the_end(self, video: Path, reference: Path | None = None, **options: object) -> Run:
        """A run that is well-behaved, for those that are not."""

        async def run() -> Run:
            transport = httpx.ASGITransport(self.app)
            async with asyncio.timeout(60), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
                return await run_to_the_end(http, video, reference, **options)

        return self.portal.call(run)

    @contextmanager
    def address(self) -> Iterator[tuple[str, int]]:
        """The same service behind a real server, on a port of this machine."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", lifespan="off"))
            serving = self.portal.start_task_soon(server.serve, [listening])
            try:
                yield listening.getsockname()
            finally:
                server.should_exit = True
                serving.result(timeout=60)

    def tidy_up(self) -> None:
        """Cancel and delete everything that was accepted, as whoever sent it would."""
        for run_id in {path.name for folder in ("runs", "active") for path in (self.store / folder).glob("*")}:
            while self.ask(Asked("DELETE", f"/v1/runs/{run_id}")).status_code == 202:
                pass
        for upload in (self.store / "uploads").glob("*"):
            self.ask(Asked("DELETE", f"/v1/uploads/{upload.name}", TUS))
        left = [str(path.relative_to(self.store)) for path in self.store.rglob("*") if path.is_file()]
        # The worker is alive; what was made for an upload alone is given up by the next sweep.
        left = [path for path in left if not path.startswith(("owners/", "videos/"))]
        assert not left, left
        runs = [path for path in self.store.glob("videos/*/holds/*") if (self.store / "runs" / path.name).exists()]
        assert not runs, runs


@contextmanager
def fuzzed(folder: Path) -> Iterator[Fuzzed]:
    """The service, in an empty folder. When the block ends, it is seen to that nothing is left of it."""
    outside = {name: folder / name for name in ("here", "temp", "media")}
    for path in outside.values():
        path.mkdir()
    (folder / "secret.txt").write_text(SECRET)
    media_factory.make_video(outside["media"] / "clip.mp4", frames=12, size=(16, 16), sound=True)
    media_factory.make_video(outside["media"] / "silent.mp4", frames=8, rate=2, size=(16, 16))
    media_factory.make_sound(outside["media"] / "tone.wav", seconds=0.5)
    before = _outside(folder)
    chosen = AppSettings(
        store=str(folder / "store"),
        upload_bytes=200_000,
        uploads=UploadSettings(max_bytes=1_000_000, part_bytes=50_000, max_parts=20, reserve_bytes=0),
        runs=RunSettings(waiting=10_000),  # what is accepted must not be in the way of what is to be refused
    )
    with _in_folders(outside["here"], outside["temp"]), start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(local_http(chosen)) as http:
            assert isinstance(http._transport, httpx.ASGITransport)
            service = Fuzzed(folder, http._transport.app, portal)
            yield service
            service.tidy_up()
        left = _left_outside(folder, before)
        portal.call(_sweep, chosen)
    assert not left, left
    left = [str(path) for path in (folder / "store").rglob("*") if path.is_file()]
    assert not left, left


def _left_outside(folder: Path, before: dict[str, bytes]) -> list[str]:
    """What was changed outside of the store, as soon as the threads are done that worked on cancelled runs."""
    deadline = time.monotonic() + 20
    while (now := _outside(folder)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    return [path for path in {*now, *before} if now.get(path) != before.get(path)]


def _outside(folder: Path) -> dict[str, bytes]:
    """Everything in the folder that is not in the store."""
    paths = (path for path in folder.rglob("*") if folder / "store" not in (path, *path.parents))
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in paths}


@contextmanager
def _in_folders(here: Path, temp: Path) -> Iterator[None]:
    before, usual, inherited = Path.cwd(), tempfile.tempdir, os.environ.get("TMPDIR")
    os.chdir(here)
    tempfile.tempdir = os.environ["TMPDIR"] = str(temp)
    try:
        yield
    finally:
        os.chdir(before)
        tempfile.tempdir = usual
        del os.environ["TMPDIR"]
        if inherited is not None:
            os.environ["TMPDIR"] = inherited


async def _sweep(chosen: AppSettings) -> None:
    """What the service does every ten minutes, for things that are as old as they must be for it."""
    store, grace = Store(chosen.store), retention.GRACE_SECONDS
    uploads = Uploads(store, UploadSettings(keep_seconds=1e-9))
    retention.GRACE_SECONDS = -1
    try:
        await retention.Retention(store, uploads, RetentionSettings(runs_seconds=1e-9)).sweep()
    finally:
        retention.GRACE_SECONDS = grace
        await uploads.close()


async def exchange(app: Any, asked: Asked) -> httpx.Response:
    """Gives the request to the application, as a server does, and collects what it answers."""
    raw, _, query = asked.path.partition("?")
    headers = [(name.lower(), value) for name, value in asked.headers]
    if b"host" not in dict(headers):
        headers.append((b"host", b"localhost"))
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": asked.method,
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "root_path": "",
    }
    size = max(1, -(-len(asked.body) // asked.pieces))
    pieces = [asked.body[at : at + size] for at in range(0, len(asked.body), size)] or [b""]
    coming: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if not asked.leaves:
        coming[-1]["more_body"] = False
    sent: list[Message] = []
    ended = asyncio.Event()

    async def receive() -> Message:
        if coming:
            return coming.pop(0)
        if not asked.leaves:
            await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            ended.set()

    try:
        await app(scope, receive, send)
    except Exception:  # the application has answered, and hands its failure on to the server
        assert sent
    begun, *rest = sent
    assert begun["type"] == "http.response.start"
    assert all(message["type"] == "http.response.body" for message in rest)
    body = b"".join(message.get("body", b"") for message in rest)
    answer = httpx.Response(begun["status"], headers=begun["headers"], request=httpx.Request(asked.method, "http://x"))
    announced = answer.headers.get("content-length")
    if announced and asked.method != "HEAD" and answer.status_code != 304 and not asked.leaves:
        assert int(announced) == len(body), f"{announced} bytes are announced, and {len(body)} come"
    answer.headers.pop("content-encoding", None)
    answer._content = body
    return answer


def examples(count: int) -> Callable[[Any], Any]:
    """So many examples, the same ones at every run of the tests."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
