"""A stand-in for the service: its HTTP contract over a real socket, with a scripted run and scripted breakages."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.datastructures import UploadFile

from models.record import (
    Accepted,
    AudioGeneration,
    Box,
    DetectedObject,
    Event,
    Failed,
    Finished,
    Frame,
    FrameDescription,
    FrameExtraction,
    FrameObjects,
    FrameSelection,
    ModuleDone,
    ModuleInfo,
    Mood,
    ObjectDetection,
    Options,
    Outputs,
    Progress,
    PromptEnhancement,
    Reconstruction,
    Run,
    Started,
    Stem,
    StemKind,
    Stream,
    VideoInput,
    fold,
)

RUN_ID = "0123456789abcdef"
DESCRIPTION = "A calm sea.\u2028Under a \x1b[31mred\x1b[0m sky."
"""With a line separator that is legal in JSON, and with colours that a terminal must not take."""


def video_input(name: str = "sea.mp4", options: Options | None = None) -> VideoInput:
    return VideoInput(
        token="0" * 32,
        name=name,
        media="video",
        path="videos/0/source",
        container="mp4",
        size_bytes=1000,
        duration_seconds=12,
        width=960,
        height=540,
        frame_rate=25,
        has_audio=False,
        streams=(Stream(index=0, kind="video", codec="h264"),),
        options=options or Options(),
    )


def a_log(came: VideoInput) -> tuple[Event, ...]:
    """The log of a whole run of a video, one second per event."""
    water = DetectedObject(label="water", score=0.9, box=Box(x0=0, y0=0, x1=9, y1=9))
    objects = FrameObjects(frame=0, width=10, height=10, objects=(water, water))
    frames = tuple(Frame(path=f"frames/{index}.jpg", seconds=index * 1.2) for index in range(10))
    outputs: list[Outputs] = [
        Outputs(frame_extraction=FrameExtraction(model="ffmpeg", folder="frames", count=10, frames=frames)),
        Outputs(
            object_detection=ObjectDetection(
                model="sketch/scene", confidence=0.25, frames=(objects, objects), objects=("water",)
            )
        ),
        Outputs(
            frame_selection=FrameSelection(model="sketch/scene", path="frames/4.jpg", index=4, latent_shape=(512, 16, 29))
        ),
        Outputs(
            frame_description=FrameDescription(
                model="sketch/scene", question=None, text=DESCRIPTION, mood=Mood(valence=0.4, arousal=-0.2)
            )
        ),
        Outputs(
            prompt_enhancement=PromptEnhancement(
                model="templates", music_prompt="calm music", sound_prompt="waves", negative_prompt="noise"
            )
        ),
        *(Outputs(audio_generation=AudioGeneration(stems=(stem(kind),))) for kind in came.options.stems),
        Outputs(
            reconstruction=Reconstruction(
                model="ffmpeg",
                path="runs/0/result.mp4",
                format=came.options.format or "mp4",
                duration_seconds=12,
                picture="copied",
                video_codec="h264",
                audio_codec="aac",
                sample_rate=48000,
                channels=2,
                original_used=False,
                integrated_lufs=-14.02,
                true_peak_dbtp=-1.3,
            )
        ),
    ]  # fmt: skip
    done = [
        ModuleDone(seq=seq, at=seq, module=next(name for name, value in output if value), output=output, seconds=0.5)
        for seq, output in enumerate(outputs, 3)
    ]
    last = len(done) + 3
    return (
        Accepted(seq=1, at=1, video_input=came),
        Started(seq=2, at=2, owner="me"),
        *done,
        Finished(seq=last, at=last),
    )


def stem(kind: StemKind) -> Stem:
    return Stem(
        kind=kind,
        model="sketch/foley" if kind == "sounds" else "sketch/music",
        path=f"runs/0/{kind}.flac",
        duration_seconds=12,
        sample_rate=48000,
        channels=2,
        model_sample_rate=48000,
        model_channels=2,
        prompt="waves",
        negative_prompt="noise",
        seed=7,
        steps=None,
        guidance=None,
        candidates=1,
    )


def a_failure(came: VideoInput, kind: str = "internal") -> tuple[Event, ...]:
    """The log of a run that fails when it has frames."""
    log = a_log(came)[:3]
    failed = {"seq": 4, "at": 4, "module": "object_detection", "kind": kind, "message": "the detector broke"}
    return (*log, Failed.model_validate(failed))


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
    uploads: list[tuple[str | None, bytes, str]] = field(default_factory=list)
    asked_after: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def run(self) -> Run:
        return fold(RUN_ID, self.log)

    async def submit(self, request: Request) -> Response:
        async with request.form() as form:
            file, options = form["file"], form["options"]
            assert isinstance(file, UploadFile)
            assert isinstance(options, str)
            self.uploads.append((file.filename, await file.read(), options))
            if not self.keep_the_log:
                self.log = a_log(video_input(file.filename or "", Options.model_validate_json(options)))
        accepted = fold(RUN_ID, self.log[:1]).model_dump_json()
        headers = {"Location": f"/v1/runs/{RUN_ID}"}
        return Response(accepted, status_code=202, media_type="application/json", headers=headers)

    async def get_run(self, run_id: str) -> Response:
        if run_id != RUN_ID:
            return problem(404, f"there is no run {run_id}")
        return Response(self.run.model_dump_json(), media_type="application/json")

    async def get_events(self, run_id: str, request: Request, after: int = 0) -> Response:
        if run_id != RUN_ID:
            return problem(404, f"there is no run {run_id}")
        assert request.headers["accept"] == "application/x-ndjson"
        self.asked_after.append(after)
        broken_after = self.break_events_after.pop(0) if self.break_events_after else None
        return StreamingResponse(stream(self, after, broken_after), media_type="application/x-ndjson")

    async def get_artifact(self, run_id: str, name: str, request: Request) -> Response:
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        self.artifacts.append(name)
        if run_id != RUN_ID or name not in {"video", "audio"}:
            return problem(404, f"run {run_id} has no artifact {name}")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and not self.ignore_ranges else 0
        size = len(self.artifact)
        headers = {"Content-Length": str(size - start)}
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
        ]  # fmt: skip


def create_app(fake: Fake) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def refuse(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return problem(*fake.refuse) if fake.refuse else await call_next(request)

    app.post("/v1/runs")(fake.submit)
    app.get("/v1/runs/{run_id}")(fake.get_run)
    app.get("/v1/runs/{run_id}/events")(fake.get_events)
    app.get("/v1/runs/{run_id}/artifacts/{name}")(fake.get_artifact)
    app.get("/v1/modules")(fake.get_modules)
    return app


def problem(status: int, detail: str) -> JSONResponse:
    content = {"type": "about:blank", "title": "No", "status": status, "detail": detail, "limit": "an extension"}
    return JSONResponse(content, status_code=status, media_type="application/problem+json")


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
    server = uvicorn.Server(
        uvicorn.Config(create_app(fake), port=0, log_config=None, log_level="critical", ws="none", lifespan="off")
    )
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
