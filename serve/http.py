"""The service over HTTP: routes, and nothing that a test would need a cluster for."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from models.errors import ImmersivaudioError, InputTooLarge, InvalidInput, InvalidOptions, UnsupportedMedia
from models.record import Event, ModuleInfo, Options, Problem, Progress, Run
from serve import examples
from serve.log import Heartbeat
from serve.problems import problem, status_of
from serve.ranges import artifact_response
from serve.service import ARTIFACTS, RunService

logger = logging.getLogger("ray.serve")

READY_SECONDS = 5
BROKEN = "the service failed; its log has the details"
NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
# A form's boundaries, headers and options come on top of the file.
FORM_BYTES = 64 * 1024

Name = Annotated[str, Path(description=f"One of {', '.join(ARTIFACTS)}.", examples=["video"])]
Follow = Annotated[bool, Query(description="Answer with the run's events instead, until it ends.")]
RunId = Annotated[str, Path(examples=[examples.RUN["id"]])]
Seen = Annotated[int, Query(ge=0, le=999_999, description="Number of the last event that was seen.", examples=[3])]
SeenByBrowser = Annotated[int | None, Header(ge=0, le=999_999, description="As browsers send it.", examples=[3])]
EVENT_STREAM: dict[str, Any] = {
    "description": f"Events as they happen, as `{SSE}`, or `{NDJSON}` where `Accept` asks for it. The last says how it ended.",
    "content": {SSE: {"example": examples.SSE_STREAM}, NDJSON: {"example": examples.NDJSON_STREAM}},
}


def create_app(service: RunService, *, upload_bytes: int) -> FastAPI:
    """The web application.

    Args:
        service: what it asks for everything.
        upload_bytes: largest file that it takes in one request.
    """
    app = FastAPI(
        title="Immersivaudio",
        description="Gives a video the sound it deserves. Errors are RFC 9457 problem details.",
        version="1",
        redirect_slashes=False,
    )
    _add_errors(app)
    _add_runs(app, service, upload_bytes)
    _add_health(app, service)
    return app


def _add_runs(app: FastAPI, service: RunService, upload_bytes: int) -> None:
    @app.post(
        "/v1/runs",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Run,
        responses={
            202: examples.of("The run. `Location` says where it is.", examples.RUN),
            200: EVENT_STREAM,
            **examples.problems(400, 413, 415, 422),
        },
        openapi_extra=examples.SUBMISSION,
        summary="Give a video or an image its sound",
    )
    async def submit(request: Request, follow: Follow = False) -> Response:
        async with _submission(request, upload_bytes) as (file, options):
            run = await service.submit(file.file, name=file.filename or "", options=options)
        location = {"Location": f"/v1/runs/{run.id}"}
        if follow:
            return _stream(request, service, run.id, headers=location)
        return Response(run.model_dump_json(), HTTPStatus.ACCEPTED, location, "application/json")

    @app.get(
        "/v1/runs/{run_id}",
        responses={200: examples.of("The run and its record.", examples.RUN), **examples.problems(404, 422)},
        summary="The record, with status",
    )
    async def run(run_id: RunId) -> Run:
        return await service.run(run_id)

    @app.get(
        "/v1/runs/{run_id}/events",
        response_class=StreamingResponse,
        responses={200: EVENT_STREAM, **examples.problems(404, 422)},
        summary="Follow a run, from anywhere in its log",
    )
    async def events(request: Request, run_id: RunId, after: Seen = 0, last_event_id: SeenByBrowser = None) -> Response:
        await service.run(run_id)  # a run that is not there is a 404, not an empty stream
        return _stream(request, service, run_id, after=last_event_id or after)

    @app.head("/v1/runs/{run_id}/artifacts/{name}", include_in_schema=False)
    @app.get(
        "/v1/runs/{run_id}/artifacts/{name}",
        response_class=Response,
        responses={
            200: examples.file("The file."),
            206: examples.file("The part that `Range` asked for."),
            304: {"description": "`If-None-Match` names what it still is."},
            **examples.problems(404, 416, 422),
        },
        summary="The result, the stems, the selected frame",
    )
    async def artifact(request: Request, run_id: RunId, name: Name) -> Response:
        blob = await service.artifact(run_id, name)
        return artifact_response(request, blob, lambda start, end: service.stream(blob, start, end))


def _add_health(app: FastAPI, service: RunService) -> None:
    @app.get(
        "/v1/modules",
        responses={200: examples.of("One entry per module.", examples.LOADED), **examples.problems(503)},
        summary="What is loaded",
    )
    async def modules() -> list[ModuleInfo]:
        return await _modules(service)

    @app.get("/healthz", responses={200: examples.of("This process answers.", {"status": "ok"})}, summary="Alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        responses={200: examples.of("Every module answers.", {"status": "ready"}), **examples.problems(503)},
        summary="Able to work?",
    )
    async def readyz() -> dict[str, str]:
        await _modules(service)
        return {"status": "ready"}


async def _modules(service: RunService) -> list[ModuleInfo]:
    try:
        async with asyncio.timeout(READY_SECONDS):
            return list(await service.modules())
    except Exception as error:  # not there yet, restarting or gone: each says so in its own way
        if not isinstance(error, TimeoutError):
            logger.warning("a module does not answer", exc_info=error)
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "not every module answers yet; try again") from error


def _stream(
    request: Request, service: RunService, run_id: str, *, after: int = 0, headers: dict[str, str] | None = None
) -> StreamingResponse:
    line = _ndjson if NDJSON in request.headers.get("accept", "") else _sse

    async def lines() -> AsyncIterator[str]:
        async for item in service.events(run_id, after=after):
            yield line(item)

    return StreamingResponse(
        lines(),
        media_type=NDJSON if line is _ndjson else SSE,
        # A proxy that collects the answer would turn a live view into a long silence.
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **(headers or {})},
    )


def _ndjson(item: Event | Progress | Heartbeat) -> str:
    return item.model_dump_json() + "\n"


def _sse(item: Event | Progress | Heartbeat) -> str:
    if isinstance(item, Heartbeat):
        return ": heartbeat\n\n"
    number = "" if isinstance(item, Progress) else f"id: {item.seq}\n"
    return f"{number}event: {item.type}\ndata: {item.model_dump_json()}\n\n"


@asynccontextmanager
async def _submission(request: Request, upload_bytes: int) -> AsyncIterator[tuple[UploadFile, Options]]:
    """The file and the options of a submission; what was spooled to disk is gone afterwards. Raises InvalidInput."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise UnsupportedMedia(f"send multipart/form-data with a part `file`, not {kind[:80] or 'an untyped body'}")
    limit = upload_bytes + FORM_BYTES
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and int(length) > limit:
        raise _too_large(upload_bytes)
    counted = Request(request.scope, _at_most(request.receive, limit, upload_bytes))
    try:
        form = await counted.form(max_files=1, max_fields=1, max_part_size=FORM_BYTES)
    except (ValueError, LookupError) as error:  # a boundary or charset that is none
        raise InvalidInput("the form cannot be read: its content type names no usable boundary or charset") from error
    try:
        if unknown := sorted(set(form) - {"file", "options"}):
            raise InvalidInput(f"unknown part {unknown[0][:80]!r}: a submission has `file` and `options` (JSON)")
        file, options = form.get("file"), form.get("options", "{}")
        if not isinstance(file, UploadFile):
            raise InvalidInput("there is no file: send it as the part `file`, with a file name")
        if not isinstance(options, str):
            raise InvalidOptions("`options` is JSON text, not a file")
        if (file.size or 0) > upload_bytes:
            raise _too_large(upload_bytes)
        yield file, _options(options)
    finally:
        await form.close()  # what was spooled to disk goes


def _options(text: str) -> Options:
    try:
        return Options.model_validate_json(text or "{}")
    except ValidationError as error:
        raise InvalidOptions(f"options: {_sentence(error.errors())}") from error


def _sentence(faults: list[Any]) -> str:
    told = []
    for fault in faults[:5]:
        place = ".".join(str(part) for part in fault["loc"])
        given = (
            ""
            if fault["type"] in ("missing", "json_invalid")
            else f", not {json.dumps(fault['input'], default=str)[:80]}"
        )
        told.append(f"{place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(told)


def _too_large(upload_bytes: int) -> InputTooLarge:
    return InputTooLarge(f"the file is larger than the {upload_bytes / 2**20:g} MiB that are taken in one request")


def _at_most(receive: Receive, limit: int, upload_bytes: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise _too_large(upload_bytes)
        return message

    return counted


def _add_errors(app: FastAPI) -> None:
    def answer(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
        told: Problem = problem(status, detail)
        return JSONResponse(told.model_dump(), status, headers, "application/problem+json")

    @app.exception_handler(ImmersivaudioError)
    async def ours(request: Request, error: ImmersivaudioError) -> JSONResponse:
        status = status_of(error)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return answer(status, str(error))
        logger.error("a request failed", exc_info=error)
        return answer(status, BROKEN)  # what broke in us may name our files

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> JSONResponse:
        return answer(HTTPStatus(error.status_code), str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(HTTPStatus.UNPROCESSABLE_ENTITY, _sentence(list(error.errors())))

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)
