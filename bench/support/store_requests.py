"""How many requests a run makes to a bucket: whole runs in this process, with an S3 API beside them that counts.

What a run costs in requests is a part that every run pays, and a part that grows with how long it is there: its owner looks whether
it was cancelled, its follower whether something happened. So it is counted twice, with audio models that take no time, and some.
"""

import asyncio
import os
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
from werkzeug.serving import make_server

from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from serve.settings import AppSettings
from tests.media_factory import make_video
from tests.serve.local import local_http
from tests.toys.generator import Model

STEPS = 20
SLOW_SECONDS = 8.0


@dataclass(frozen=True)
class Requests:
    """Of one run with one follower, by kind: GET (with HEAD), PUT (with COPY, POST and DELETE), LIST."""

    each: dict[str, float]
    """Whatever the run takes."""
    per_second: dict[str, float]
    """For as long as it is there."""

    def of(self, kind: str, *, seconds: float) -> float:
        """Of a run that is there for so long."""
        return self.each[kind] + seconds * self.per_second[kind]


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
        if "list-type=" in environ["QUERY_STRING"]:
            kind = "LIST"
        else:
            kind = "GET" if environ["REQUEST_METHOD"] in ("GET", "HEAD") else "PUT"
        self.counted[kind] += 1
        answer: Iterable[bytes] = self.app(environ, start_response)
        return answer


def count(folder: Path) -> Requests:
    """Count. Takes about half a minute."""
    with bucket() as (url, api):
        film = make_video(folder / "film.mp4", frames=50).read_bytes()
        fast, fast_seconds = asyncio.run(_count(url, api, film, seconds=0))
        slow, slow_seconds = asyncio.run(_count(url, api, film, seconds=SLOW_SECONDS))
    longer = slow_seconds - fast_seconds
    per_second = {kind: max(0.0, slow[kind] - fast[kind]) / longer for kind in ("GET", "PUT", "LIST")}
    each = {kind: max(0.0, fast[kind] - per_second[kind] * fast_seconds) for kind in per_second}
    return Requests(each, per_second)


async def _count(url: str, api: Counting, film: bytes, *, seconds: float) -> tuple[Counter[str], float]:
    """Requests of one run, and how long it was there, seconds."""
    settings = AppSettings(store=f"{url}/{seconds:g}")
    with patch("serve.deployments.load_generator", lambda chosen, kind: Slow(seconds=seconds)):
        async with local_http(settings) as http:
            before, began = api.counted.copy(), time.monotonic()
            files = {"file": ("film.mp4", film)}
            answer = await http.post("/v1/runs", params={"follow": True}, files=files)
            assert '"finished"' in answer.text, answer.text
            return api.counted - before, time.monotonic() - began


@contextmanager
def bucket() -> Iterator[tuple[str, Counting]]:
    """URL of a new bucket, and who counts."""
    api = Counting()
    server = make_server("127.0.0.1", 0, api, threaded=True)
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
