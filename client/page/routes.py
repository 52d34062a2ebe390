"""The page's own routes beside Gradio's: what its elements are made of, a run as it happens, and a run's files.

Everything is passed on from the service as it comes, through the Python client: nothing is kept here.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from client.answers import Answer
from client.async_client import AsyncImmersivaudioClient
from client.errors import ClientError, RequestRefused, RunCancelled, ServiceUnreachable
from client.page.access import refusal
from client.page.result import shown
from client.page.strip import Strip
from client.page.words import trouble

STATIC = Path(__file__).with_name("static")
RUN = "/studio/runs/{run_id}"

QUIET_SECONDS = 15.0
"""After so long without a word of the service, it is asked whether it is there at all."""

RECONNECT_MILLISECONDS = 2000
"""When a browser whose stream broke off asks again."""

_PASSED_ON = ("content-type", "content-length", "content-range", "accept-ranges", "etag", "cache-control")
_ASKED_ON = ("range", "if-none-match", "if-range")

Client = Callable[[], AsyncImmersivaudioClient]
Handler = Callable[[Request], Awaitable[Response]]


def routes(client: Client) -> list[Route]:
    """The routes. `client` is the page's client of the service, made in the loop that serves them."""

    async def static(request: Request) -> Response:
        path = (STATIC / request.path_params["path"]).resolve()
        if not path.is_relative_to(STATIC) or not path.is_file():
            return JSONResponse({"detail": "There is no such file."}, 404)
        return FileResponse(path, headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})

    async def events(request: Request) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = _stream(client(), request.path_params["run_id"])
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def artifact(request: Request) -> Response:
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        opening = client().open_artifact(run_id, name, headers=_asked(request), method=request.method)
        return await _passed_on(request, opening)

    async def file(request: Request) -> Response:
        path = request.path_params["path"]
        return await _passed_on(request, client().open_file(path, headers=_asked(request), method=request.method))

    async def record(request: Request) -> Response:
        run = await client().run(request.path_params["run_id"])
        headers = {"Content-Disposition": f'attachment; filename="{run.id}.json"', "Cache-Control": "no-store"}
        return Response(run.model_dump_json(indent=2), media_type="application/json", headers=headers)

    async def result(request: Request) -> Response:
        run = await client().run(request.path_params["run_id"])
        drafts = run.record.video_input.options.draft and any(info.draft for info in await client().modules())
        return JSONResponse(shown(run, drafts=drafts), headers={"Cache-Control": "no-store"})

    async def cancel(request: Request) -> Response:
        run = await client().cancel(request.path_params["run_id"])
        return JSONResponse({"status": run.status})

    async def delete(request: Request) -> Response:
        try:
            await client().delete(request.path_params["run_id"])
        except RunCancelled:
            await client().delete(request.path_params["run_id"])  # it had not ended: now it has
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return [
        Route("/studio/static/{path:path}", static),  # open to all, as Gradio's own
        Route(f"{RUN}/events", _guarded(events)),
        Route(f"{RUN}/files/{{name}}", _guarded(artifact), methods=["GET"]),
        Route("/studio/files/{path:path}", _guarded(file), methods=["GET"]),
        Route(f"{RUN}/result", _guarded(result), methods=["GET"]),
        Route(f"{RUN}/record", _guarded(record), methods=["GET"]),
        Route(f"{RUN}/cancel", _guarded(cancel), methods=["POST"]),
        Route(RUN, _guarded(delete), methods=["DELETE"]),
    ]


def _guarded(handler: Handler) -> Handler:
    """For those who may, and with errors in words."""

    async def guarded(request: Request) -> Response:
        if refused := refusal(request):
            return refused
        try:
            return await handler(request)
        except ClientError as error:
            status = error.status or (503 if isinstance(error, ServiceUnreachable) else 502)
            return JSONResponse({"detail": str(trouble(error))}, status)

    return guarded


def _asked(request: Request) -> dict[str, str]:
    """The headers of the request that are the service's to answer."""
    return {name: request.headers[name] for name in _ASKED_ON if name in request.headers}


async def _passed_on(request: Request, opening: AbstractAsyncContextManager[Answer]) -> Response:
    """The service's answer, as it comes in. What strangers sent may be shown and heard, but not run as a page of ours."""
    stack = AsyncExitStack()
    answer = await stack.enter_async_context(opening)

    async def pieces() -> AsyncIterator[bytes]:
        async with stack:
            async for piece in answer.pieces():
                yield piece

    headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
    headers |= {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
    if wanted := request.query_params.get("download"):
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(wanted[:200], safe='')}"
    return StreamingResponse(pieces(), answer.status, headers)


async def _stream(client: AsyncImmersivaudioClient, run_id: str) -> AsyncGenerator[str]:
    """A run as Server-Sent Events, from its beginning: what has changed on the strip, and in the end that it has ended.

    `problem` says in words why there is nothing to see, and whether asking again may help.
    """
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    strip = Strip(run_id)
    try:
        await client.run(run_id)  # says at once what following would say after minutes
        async with aclosing(client.events(run_id)) as events:
            coming = asyncio.ensure_future(anext(events, None))
            try:
                while True:
                    done, _ = await asyncio.wait({coming}, timeout=QUIET_SECONDS)
                    if not done:
                        yield await _meanwhile(client, run_id)
                        continue
                    message = coming.result()
                    if message is None:
                        return
                    coming = asyncio.ensure_future(anext(events, None))
                    # What is already there is shown at once, not one event after the other.
                    strip.see(message)
                    if not strip.run:
                        continue
                    yield _event("strip", strip.changes())
                    if strip.run.ended_at is not None:
                        yield _event("ended", strip.ending())
                        return
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
    except ClientError as error:
        again = not isinstance(error, RequestRefused)
        yield _event("problem", {"sentence": trouble(error).sentence, "advice": trouble(error).advice, "again": again})


async def _meanwhile(client: AsyncImmersivaudioClient, run_id: str) -> str:
    """Whether the service is still there, while nothing happens."""
    try:
        await client.run(run_id)
    except ServiceUnreachable:
        return _event("waiting", {"sentence": "The service does not answer just now. The run goes on when it is back."})
    except ClientError:
        pass
    return ": quiet\n\n"


def _event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
