"""A small application behind the real access control, and ways to ask it something."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import Message

from serve.access import ApiKeys, add_access, add_request_ids
from serve.settings import AccessSettings

ALICE, BOB = "correct-horse-battery", "s3cr3t:with#signs!{}~"
SECRETS = (ALICE, BOB)
KEYS = {"IMMERSIVAUDIO_API_KEYS": f"alice:{ALICE}, bob:{BOB}"}
STUDIO = "https://studio.example"
CORS = AccessSettings(cors_origins=(STUDIO, "http://localhost:3000"))
HERE, ELSEWHERE = ("127.0.0.1", 1234), ("203.0.113.9", 1234)


def application(environ: dict[str, str] | None = None, settings: AccessSettings | None = None) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/who")
    async def who(request: Request) -> dict[str, str | None]:
        return {"key": request.state.key}

    @app.post("/v1/runs")
    async def submit() -> str:
        return "accepted"

    @app.get("/healthz")
    @app.get("/readyz")
    async def health() -> str:
        return "ok"

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError("we broke")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "broken"}, 500)

    settings = settings or AccessSettings()
    add_access(app, ApiKeys.load(settings, environ or {}), settings)
    add_request_ids(app)
    return app


async def ask(
    app: Any,
    path: str = "/v1/who",
    *,
    method: str = "GET",
    peer: Any = HERE,
    host: str = "localhost:8000",
    **headers: str,
) -> httpx.Response:
    transport = httpx.ASGITransport(app=app, client=peer, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        sent = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
        raw_headers = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
        return await client.request(method, path, headers=raw_headers)


def assert_refused(answer: httpx.Response, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    for word in words:
        assert word in answer.json()["detail"]


@contextmanager
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Serve's logger does not hand on to the root where a cluster runs."""
    logger = logging.getLogger("ray.serve")
    logger.addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "ray.serve"):
            yield caplog
    finally:
        logger.removeHandler(caplog.handler)


class Exchange:
    """One request, message by message, as a server sees it."""

    def __init__(self, app: Any, path: str, *, type_: str = "http", headers: dict[str, str] | None = None) -> None:
        self.sent: list[Message] = []
        self.more = asyncio.Condition()
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {
            "type": type_,
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": raw,
            "client": list(HERE),
        }
        extensions = {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "server": ("localhost", 80)}
        self.task = asyncio.create_task(app({**scope, **extensions}, self.incoming.get, self._send))

    async def _send(self, message: Message) -> None:
        async with self.more:
            self.sent.append(message)
            self.more.notify_all()

    async def body(self, size: int) -> bytes:
        """What has come when so many bytes have."""

        def so_far() -> bytes:
            return b"".join(message.get("body", b"") for message in self.sent)

        async with asyncio.timeout(30), self.more:
            await self.more.wait_for(lambda: len(so_far()) >= size)
        return so_far()
