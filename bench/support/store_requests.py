"""How many requests a run makes to a bucket: whole runs in this process, with an S3 API beside them that counts.

What a run costs in requests is a part that every run pays, and a part that grows with how long it is there: its owner looks whether
it was cancelled, its follower whether something happened. Both look more often while a run is young. So it is counted twice, with
audio models that take a third of a minute, and a whole one: what the line through both says of runs much shorter is not so.

What a `Pipeline` replica asks for by itself, however many runs it has, is counted apart: LOOK, through active/, and BEAT, its sign
of life.
"""

import asyncio
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from serve.settings import AppSettings
from tests.media_factory import make_video
from tests.serve.local import local_http
from tests.toys.generator import Model

STEPS = 20
WORK_SECONDS = (20.0, 60.0)
KINDS = ("GET", "PUT", "LIST")
LOOK = re.compile(r"prefix=[^&]*(/|%2F)active(/|%2F)(&|$)")


@dataclass(frozen=True)
class Requests:
    """Of one run with one follower, by kind: GET (with HEAD), PUT (with COPY, POST and DELETE), LIST."""

    each: dict[str, float]
    """Whatever the run takes."""
    per_second: dict[str, float]
    """For as long as it is there."""
    counted: tuple["Counted", ...] = ()
    """What that is from."""


@dataclass(frozen=True)
class Counted:
    """One run with one follower."""

    seconds: float
    """For which it was there."""
    requests: Counter[str]

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s: " + ", ".join(
            f"{number} {kind}" for kind, number in sorted(self.requests.items())
        )


@dataclass
class Slow(Model):
    """Takes its time, and says how far it is."""

    seconds: float = 0.0

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        for step in range(1, STEPS + 1):
            time.sleep(self.seconds / STEPS)
            on_step(step, STEPS)
        return super().generate(request, on_step=on_step)


@dataclass
class Counting:
    """An S3 API that counts what it is asked for."""

    app: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))
    counted: Counter[str] = field(default_factory=Counter)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = environ["QUERY_STRING"]
        if "list-type=" in query:
            kind = "LOOK" if LOOK.search(query) else "LIST"
        elif "/owners/" in environ["PATH_INFO"]:
            kind = "BEAT"
        else:
            kind = "GET" if environ["REQUEST_METHOD"] in ("GET", "HEAD") else "PUT"
        self.counted[kind] += 1
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer


def count(folder: Path) -> Requests:
    """Count. Takes about a minute and a half, in which next to nothing is computed."""
    with bucket() as (url, api):
        film = make_video(folder / "film.mp4", frames=50).read_bytes()
        counted = [asyncio.run(_count(url, api, film, seconds=seconds)) for seconds in WORK_SECONDS]
    return through(*counted)


def through(short: Counted, long: Counted) -> Requests:
    """The line through both."""
    longer = long.seconds - short.seconds
    per_second = {kind: (long.requests[kind] - short.requests[kind]) / longer for kind in KINDS}
    each = {kind: short.requests[kind] - per_second[kind] * short.seconds for kind in KINDS}
    return Requests(each, per_second, (short, long))


async def _count(url: str, api: Counting, film: bytes, *, seconds: float) -> Counted:
    """Of one run whose audio models take so long."""
    settings = AppSettings(store=f"{url}/{seconds:g}")
    with patch("serve.audio_server.load_generator", lambda chosen, kind: Slow(seconds=seconds)):
        async with local_http(settings) as http:
            before, began = api.counted.copy(), time.monotonic()
            files = {"file": ("film.mp4", film)}
            answer = await http.post("/v1/runs", params={"follow": True}, files=files)
            assert '"finished"' in answer.text, answer.text
            return Counted(time.monotonic() - began, api.counted - before)


class _Silent(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """No line for each."""


@contextmanager
def bucket() -> Iterator[tuple[str, Counting]]:
    """URL of a new bucket, and who counts."""
    api = Counting()
    server = make_server("127.0.0.1", 0, api, threaded=True, request_handler=_Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    signed = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}
    try:
        with patch.dict(os.environ, signed | {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}):
            httpx.put(f"{address}/runs").raise_for_status()
            yield "s3://runs", api
    finally:
        server.shutdown()
        thread.join()
