"""A stand-in for the service: its HTTP contract over a real socket, with a scripted run and scripted breakages."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.datastructures import Headers, UploadFile

from client.artifacts import candidate_endings, description_endings, stem_endings
from models.record import (
    TERMINAL,
    Cancelled,
    Event,
    ModuleDone,
    ModuleInfo,
    Options,
    Progress,
    Rerun,
    Run,
    TextRun,
    UploadedRun,
    fold,
)
from tests.client.fake_uploads import Protocol, Tus, add_uploads, problem
from tests.client.logs import a_log, a_rerun, of_words, video_input

RUN_ID = "0123456789abcdef"
RERUN_ID = "fedcba9876543210"
ETAG = '"artifact"'


@dataclass
class Fake:
    """What the service is told to do, and what it saw."""

    log: tuple[Event, ...] = field(default_factory=lambda: a_log(video_input()))
    artifact: bytes = b"the result"
    keep_the_log: bool = False
    """Answer every upload with this log, rather than with one that has the upload's own name and options."""
    break_events_after: list[int] = field(default_factory=list)
    """How many messages each of the next streams sends before it breaks."""
    break_downloads_after: list[int] = field(default_factory=list)
    """How many bytes each of the next downloads sends before it breaks."""
    ignore_ranges: bool = False
    slow_seconds: float = 0
    """Pause after each message."""
    refuse: tuple[int, str] | None = None
    """Status and detail for every request."""
    refuse_runs: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers for each of the next requests that would start a run. They are not read to their end."""
    api_key: str | None = None
    bucket: str | None = None
    """Where artifacts are to be had, instead of here."""
    tus: Tus = field(default_factory=Tus)
    uploads: list[tuple[str | None, bytes, str]] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    references: list[tuple[str | None, bytes]] = field(default_factory=list)
    reruns: list[tuple[str, Rerun, bytes]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    asked: list[tuple[str, Headers]] = field(default_factory=list)
    """Method, path and query of every request, and its headers."""
    asked_after: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def run(self) -> Run:
        return fold(RUN_ID, self.log)

    async def submit(self, request: Request) -> Response:
        if self.refuse_runs:
            return self._refuse_run()
        if request.headers["content-type"] == "application/json":
            body = await request.body()
            if "text" in json.loads(body):
                words = TextRun.model_validate_json(body)
                self.texts.append((words.text, words.options.model_dump_json(exclude_defaults=True)))
                if not self.keep_the_log:
                    self.log = of_words(words.text, words.options)
                return self._accepted(RUN_ID)
            wanted = UploadedRun.model_validate_json(body)
            if not (sent := self.tus.uploads.get(wanted.upload)):
                return problem(404, f"there is no upload {wanted.upload}")
            self._take(sent.name, bytes(sent.content), wanted.options.model_dump_json(exclude_defaults=True))
            if wanted.reference:
                heard = self.tus.uploads[wanted.reference]
                self.references.append((heard.name, bytes(heard.content)))
        else:
            async with request.form() as form:
                file, options = form["file"], form["options"]
                assert isinstance(file, UploadFile)
                assert isinstance(options, str)
                self._take(file.filename, await file.read(), options)
                if isinstance(sound := form.get("reference"), UploadFile):
                    self.references.append((sound.filename, await sound.read()))
        return self._accepted(RUN_ID)

    def _take(self, name: str | None, content: bytes, options: str) -> None:
        self.uploads.append((name, content, options))
        if not self.keep_the_log:
            self.log = a_log(video_input(name or "", Options.model_validate_json(options)))

    async def rerun(self, run_id: str, request: Request) -> Response:
        if self.refuse_runs:
            return self._refuse_run()
        body = await request.body()
        self.reruns.append((run_id, Rerun.model_validate_json(body), body))
        self.log = a_rerun(video_input(), run_id)
        return self._accepted(RERUN_ID)

    def _refuse_run(self) -> Response:
        status, headers = self.refuse_runs.pop(0)
        return problem(status, "100 runs wait already", headers)

    def _accepted(self, run_id: str) -> Response:
        accepted = fold(run_id, self.log[:1]).model_dump_json()
        headers = {"Location": f"/v1/runs/{run_id}"}
        return Response(accepted, status_code=202, media_type="application/json", headers=headers)

    async def get_run(self, run_id: str) -> Response:
        if run_id not in {RUN_ID, RERUN_ID}:
            return problem(404, f"there is no run {run_id}")
        return Response(fold(run_id, self.log).model_dump_json(), media_type="application/json")

    async def cancel(self, run_id: str) -> Response:
        if run_id == RUN_ID and self.log[-1].type not in TERMINAL:
            self.log = (*self.log, Cancelled(seq=len(self.log) + 1, at=self.log[-1].at + 1))
        return await self.get_run(run_id)

    async def delete(self, run_id: str) -> Response:
        if run_id != RUN_ID:
            return problem(404, f"there is no run {run_id}")
        if self.log[-1].type in TERMINAL:
            self.deleted.append(run_id)
            return Response(status_code=204)
        answer = await self.cancel(run_id)
        answer.status_code = 202
        return answer

    async def get_events(self, run_id: str, request: Request, after: int = 0) -> Response:
        if run_id not in {RUN_ID, RERUN_ID}:
            return problem(404, f"there is no run {run_id}")
        assert request.headers["accept"] == "application/x-ndjson"
        self.asked_after.append(after)
        broken_after = self.break_events_after.pop(0) if self.break_events_after else None
        return StreamingResponse(stream(self, after, broken_after), media_type="application/x-ndjson")

    async def get_artifact(self, run_id: str, name: str, request: Request) -> Response:
        if self.bucket:
            return RedirectResponse(f"{self.bucket}/bucket/{name}?signature=secret")
        run = fold(run_id, self.log)
        there = {"video", "audio", *candidate_endings(run), *stem_endings(run), *description_endings(run)}
        if run_id not in {RUN_ID, RERUN_ID} or name not in there:
            return problem(404, f"run {run_id} has no artifact {name}")
        return await self.get_object(name, request)

    async def get_object(self, name: str, request: Request) -> Response:
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        self.artifacts.append(name)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and not self.ignore_ranges else 0
        size = len(self.artifact)
        if start > size:
            return problem(416, "there is no such part", {"Content-Range": f"bytes */{size}"})
        if request.headers.get("if-none-match") == ETAG:
            return Response(status_code=304, headers={"ETag": ETAG})
        headers = {"Content-Length": str(size - start), "ETag": ETAG}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        cut = self.break_downloads_after.pop(0) if self.break_downloads_after else size
        return StreamingResponse(pieces(self.artifact[start:], cut), status_code=206 if start else 200, headers=headers)

    async def get_modules(self) -> list[ModuleInfo]:
        paper = "cvssp/audioldm2-music@abc"
        return [
            ModuleInfo(module="object_detection", model="sketch/scene", device="cpu", profile="sketch"),
            ModuleInfo(
                module="audio_generation", part="music", model=paper, device="cuda:0", profile="paper", licence="CC-BY-NC-SA 4.0"
            ),
            ModuleInfo(
                module="audio_generation", part="music", model="sketch/music", device="cpu", profile="sketch", draft=True
            ),
        ]  # fmt: skip


def create_app(fake: Fake) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def refuse(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        query = f"?{request.url.query}" if request.url.query else ""
        fake.asked.append((f"{request.method} {request.url.path}{query}", request.headers))
        if fake.api_key and request.headers.get("authorization") != f"Bearer {fake.api_key}":
            return problem(401, "this service asks for an API key", {"WWW-Authenticate": "Bearer"})
        return problem(*fake.refuse) if fake.refuse else await call_next(request)

    app.post("/v1/runs")(fake.submit)
    app.get("/v1/runs/{run_id}")(fake.get_run)
    app.delete("/v1/runs/{run_id}")(fake.delete)
    app.post("/v1/runs/{run_id}/cancel")(fake.cancel)
    app.post("/v1/runs/{run_id}/rerun")(fake.rerun)
    app.get("/v1/runs/{run_id}/events")(fake.get_events)
    app.api_route("/v1/runs/{run_id}/artifacts/{name}", methods=["GET", "HEAD"])(fake.get_artifact)
    app.get("/v1/files/{name:path}")(fake.get_object)
    app.get("/bucket/{name}")(fake.get_object)
    app.get("/v1/modules")(fake.get_modules)
    add_uploads(app, lambda: fake.tus)
    return app


async def stream(fake: Fake, after: int, broken_after: int | None) -> AsyncIterator[str]:
    messages: list[str] = ['{"type":"heartbeat"}']
    for event in fake.log:
        if event.seq > after:
            if isinstance(event, ModuleDone) and event.module == "audio_generation":
                messages += [progress(step).model_dump_json() for step in (1, 2)]
            messages.append(event.model_dump_json())
    for number, message in enumerate(messages):
        if number == broken_after:
            yield message[: len(message) // 2]
            return
        yield message + "\n"
        if fake.slow_seconds:
            await asyncio.sleep(fake.slow_seconds)


async def pieces(content: bytes, cut: int) -> AsyncIterator[bytes]:
    for start in range(0, min(cut, len(content)), 1000):
        yield content[start : min(start + 1000, cut)]


def progress(step: int) -> Progress:
    return Progress(module="audio_generation", part="music", step=step, steps=2)


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    """The fake on a free port of this machine, `fake.url`, from a thread."""
    config = uvicorn.Config(
        create_app(fake), port=0, log_config=None, log_level="critical", ws="none", lifespan="off", http=Protocol
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    fake.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join()
