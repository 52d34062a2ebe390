"""Runs over HTTP: submitted, told, followed, changed, ended, and their files."""

import logging
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from models.errors import UnsupportedMedia
from models.record import Event, Progress, Rerun, Run, TextRun
from serve import examples, tracing
from serve.access import key_of
from serve.artifacts import ARTIFACTS, KEPT
from serve.forms import json_body, run_body, submission
from serve.log import Heartbeat
from serve.ranges import artifact_response
from serve.service import RunService
from serve.store import Blob

logger = logging.getLogger("ray.serve")

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"

NAMES = f"One of {', '.join(ARTIFACTS)}; and {KEPT}"
Name = Annotated[str, Path(description=NAMES, examples=["video"])]
FilePath = Annotated[str, Path(description="As a record names it.", examples=[examples.FRAME])]
Follow = Annotated[bool, Query(description="Answer with the run's events instead, until it ends.")]
RunId = Annotated[str, Path(examples=[examples.RUN["id"]])]
Seen = Annotated[int, Query(ge=0, le=999_999, description="Number of the last event that was seen.", examples=[3])]
SeenByBrowser = Annotated[int | None, Header(ge=0, le=999_999, description="As browsers send it.", examples=[3])]
EVENT_STREAM: dict[str, Any] = {
    "description": f"Events as they happen, as `{SSE}`, or `{NDJSON}` where `Accept` asks for it. The last says how it ended.",
    "content": {SSE: {"example": examples.SSE_STREAM}, NDJSON: {"example": examples.NDJSON_STREAM}},
}
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: examples.of("The run. `Location` says where it is.", examples.ACCEPTED_RUN),
    200: EVENT_STREAM,
}


def add_runs(app: FastAPI, service: RunService, *, upload_bytes: int) -> None:
    """The routes below /v1/runs, and /v1/files. `upload_bytes`: largest file taken in one request."""
    _add_submission(app, service, upload_bytes)
    _add_run(app, service)
    _add_files(app, service)


def _add_submission(app: FastAPI, service: RunService, upload_bytes: int) -> None:
    @app.post(
        "/v1/runs",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Run,
        responses={**ACCEPTED, **examples.problems(400, 404, 409, 413, 415, 422, 429)},
        openapi_extra=examples.SUBMISSION,
        summary="Give a video, an image or words their sound",
    )
    async def submit(request: Request, follow: Follow = False) -> Response:
        key = key_of(request)
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "application/json":
            wanted = await run_body(request)
            await service.check_room(key)
            if isinstance(wanted, TextRun):
                return _accepted(request, service, await service.submit_text(wanted, key), follow)
            return _accepted(request, service, await service.submit_upload(wanted, key), follow)
        if kind != "multipart/form-data":
            raise UnsupportedMedia(
                "send multipart/form-data with a part `file`, or application/json that names an upload or has words, "
                f"not {kind[:80] or 'an untyped body'}"
            )
        await service.check_room(key)  # before the file comes in
        async with submission(request, upload_bytes=upload_bytes) as sent:
            run = await service.submit(sent.file, options=sent.options, key=key, reference=sent.reference)
        return _accepted(request, service, run, follow)

    @app.post(
        "/v1/runs/{run_id}/rerun",
        status_code=HTTPStatus.ACCEPTED,
        response_model=Run,
        responses={**ACCEPTED, **examples.problems(404, 413, 422, 429)},
        openapi_extra=examples.RERUN,
        summary="Once more, with other options or edited outputs",
    )
    async def rerun(request: Request, run_id: RunId, follow: Follow = False) -> Response:
        wanted = await json_body(Rerun, request)
        await service.check_room(key_of(request))
        return _accepted(request, service, await service.rerun(run_id, wanted, key_of(request)), follow)


def _add_run(app: FastAPI, service: RunService) -> None:
    @app.get(
        "/v1/runs/{run_id}",
        responses={200: examples.of("The run and its record.", examples.RUN), **examples.problems(404, 422)},
        summary="The record, with status",
    )
    async def run(request: Request, run_id: RunId) -> Run:
        return await service.run(run_id, key_of(request))

    @app.get(
        "/v1/runs/{run_id}/events",
        response_class=StreamingResponse,
        responses={200: EVENT_STREAM, **examples.problems(404, 422)},
        summary="Follow a run, from anywhere in its log",
    )
    async def events(request: Request, run_id: RunId, after: Seen = 0, last_event_id: SeenByBrowser = None) -> Response:
        await service.run(run_id, key_of(request))  # a run that is not there is a 404, not an empty stream
        return _stream(request, service, run_id, after=last_event_id or after)

    @app.post(
        "/v1/runs/{run_id}/cancel",
        responses={
            200: examples.of("The run, cancelled, or as it had ended.", examples.CANCELLED_RUN),
            **examples.problems(404, 422),
        },
        summary="Stop a run",
    )
    async def cancel(request: Request, run_id: RunId) -> Run:
        return await service.cancel(run_id, key_of(request))

    @app.delete(
        "/v1/runs/{run_id}",
        status_code=HTTPStatus.NO_CONTENT,
        responses={
            202: examples.of("The run had not ended: it is cancelled, and still there.", examples.CANCELLED_RUN),
            204: {"description": "The run had ended, and is deleted."},
            **examples.problems(404, 422),
        },
        summary="Stop a run, or delete an ended one",
    )
    async def delete(request: Request, run_id: RunId) -> Response:
        cancelled = await service.delete(run_id, key_of(request))
        if cancelled is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        return Response(cancelled.model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")


def _add_files(app: FastAPI, service: RunService) -> None:
    described: dict[int | str, dict[str, Any]] = {
        200: examples.file("The file."),
        206: examples.file("The part that `Range` asked for."),
        304: {"description": "`If-None-Match` names what it still is."},
        307: {"description": "The bucket itself has it, at `Location`."},
        **examples.problems(404, 416, 422),
    }

    @app.head("/v1/runs/{run_id}/artifacts/{name}", include_in_schema=False)
    @app.get(
        "/v1/runs/{run_id}/artifacts/{name}",
        response_class=Response,
        responses=described,
        summary="The result, the stems, the selected frame",
    )
    async def artifact(request: Request, run_id: RunId, name: Name) -> Response:
        return await _file(request, service, await service.artifact(run_id, name, key_of(request)))

    @app.head("/v1/files/{path:path}", include_in_schema=False)
    @app.get(
        "/v1/files/{path:path}",
        response_class=Response,
        responses=described,
        summary="Any file that a record names",
    )
    async def file(request: Request, path: FilePath) -> Response:
        return await _file(request, service, await service.file(path, key_of(request)))


async def _file(request: Request, service: RunService, blob: Blob) -> Response:
    if request.method == "GET" and (url := await service.signed_url(blob)):  # signed for that method alone
        # For a while only: the address must not be remembered in the file's place.
        headers = {"Location": url, "Cache-Control": "no-store"}
        return Response(status_code=HTTPStatus.TEMPORARY_REDIRECT, headers=headers)
    return artifact_response(request, blob, lambda start, end: service.stream(blob, start, end))


def _accepted(request: Request, service: RunService, run: Run, follow: bool) -> Response:
    # here, where the log still knows the request's id
    logger.info("run accepted", extra={"run_id": run.id} | tracing.log_fields())
    location = {"Location": f"/v1/runs/{run.id}"}
    if follow:
        return _stream(request, service, run.id, headers=location)
    return Response(run.model_dump_json(), HTTPStatus.ACCEPTED, location, "application/json")


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
