"""The page's own routes beside Gradio's: what its elements are made of, a run as it happens, and a run's files.

Everything is passed on from the service as it comes, through the Python client: nothing is kept here.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from http import HTTPStatus
from pathlib import Path, PurePath
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from client.answers import Answer
from client.async_client import AsyncImmersivaudioClient
from client.errors import ClientError, RequestRefused, RunCancelled, ServiceUnreachable
from client.page.answers import Allowed, Handler, guarded, problem
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
_MOST_OF_NAME, _MOST_OF_ENDINGS = 200, 60  # characters

Client = Callable[[], AsyncImmersivaudioClient]


def routes(client: Client, streams: Client, allowed: Allowed) -> list[Route]:
    """The routes. `client` is for calls of the service, `streams` for what goes on as long as a browser likes.

    Whoever is not `allowed` is answered with 401. What is passed on is refused with 503 while there is too much of it.
    """
    runs, files = _Runs(client), _Files(streams)
    wanted: list[tuple[str, str, Handler]] = [
        ("GET", f"{RUN}/events", files.events),
        ("GET", f"{RUN}/files/{{name}}", files.artifact),
        ("GET", "/studio/files/{path:path}", files.file),
        ("GET", f"{RUN}/result", runs.result),
        ("GET", f"{RUN}/record", runs.record),
        ("POST", f"{RUN}/cancel", runs.cancel),
        ("DELETE", RUN, runs.delete),
    ]
    return [
        Route("/studio/static/{path:path}", _static),  # open to all, as Gradio's own
        *(Route(path, guarded(handler, allowed), methods=[method]) for method, path, handler in wanted),
    ]


async def _static(request: Request) -> Response:
    path = (STATIC / request.path_params["path"]).resolve()
    if not path.is_relative_to(STATIC) or not path.is_file():
        return problem(HTTPStatus.NOT_FOUND, "There is no such file.")
    return FileResponse(path, headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"})


class _Runs:
    """What is asked and answered at once."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def result(self, request: Request) -> Response:
        run = await self._client().run(request.path_params["run_id"])
        drafts = run.record.video_input.options.draft and any(info.draft for info in await self._client().modules())
        return JSONResponse(shown(run, drafts=drafts), headers={"Cache-Control": "no-store"})

    async def record(self, request: Request) -> Response:
        run = await self._client().run(request.path_params["run_id"])
        headers = {"Content-Disposition": f'attachment; filename="{run.id}.json"', "Cache-Control": "no-store"}
        return Response(run.model_dump_json(indent=2), media_type="application/json", headers=headers)

    async def cancel(self, request: Request) -> Response:
        run = await self._client().cancel(request.path_params["run_id"])
        return JSONResponse({"status": run.status})

    async def delete(self, request: Request) -> Response:
        try:
            await self._client().delete(request.path_params["run_id"])
        except RunCancelled:
            await self._client().delete(request.path_params["run_id"])  # it had not ended: now it has
        return Response(status_code=HTTPStatus.NO_CONTENT)


class _Files:
    """What is passed on as it comes."""

    def __init__(self, streams: Client) -> None:
        self._streams = streams

    async def events(self, request: Request) -> Response:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = _stream(self._streams(), request.path_params["run_id"])
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def artifact(self, request: Request) -> Response:
        run_id, name = request.path_params["run_id"], request.path_params["name"]
        opening = self._streams().open_artifact(run_id, name, headers=_asked(request), method=request.method)
        return await _passed_on(request, opening)

    async def file(self, request: Request) -> Response:
        path = request.path_params["path"]
        opening = self._streams().open_file(path, headers=_asked(request), method=request.method)
        return await _passed_on(request, opening)


def _asked(request: Request) -> dict[str, str]:
    """The headers of the request that are the service's to answer."""
    return {name: request.headers[name] for name in _ASKED_ON if name in request.headers}


async def _passed_on(request: Request, opening: AbstractAsyncContextManager[Answer]) -> Response:
    """The service's answer, as it comes in. What strangers sent may be shown and heard, but not run as a page of ours."""
    stack = AsyncExitStack()
    answer = await stack.enter_async_context(opening)
    headers = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
    headers |= {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
    if wanted := request.query_params.get("download"):
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(_short(wanted), safe='')}"
    return _Passed(answer.pieces(), answer.status, headers, opened=stack)


class _Passed(StreamingResponse):
    """Closes the service's answer in the end, even where a browser went away before the first piece."""

    def __init__(
        self, pieces: AsyncIterator[bytes], status: int, headers: Mapping[str, str], *, opened: AsyncExitStack
    ) -> None:
        super().__init__(pieces, status, headers)
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._opened:
            await super().__call__(scope, receive, send)


def _short(name: str) -> str:
    """The name with its stem cut where it is too long for a file's. The endings say what it is: `.immersivaudio.music.flac`."""
    endings = "".join(PurePath(name).suffixes[-3:])[-_MOST_OF_ENDINGS:]
    return name if len(name) <= _MOST_OF_NAME else name[: _MOST_OF_NAME - len(endings)] + endings


async def _stream(client: AsyncImmersivaudioClient, run_id: str) -> AsyncGenerator[str]:
    """A run as Server-Sent Events, from its beginning: what has changed on the strip, and in the end that it has ended.

    What had happened before it was asked for comes as one `strip`, so a run that had ended is that and `ended`. `problem` says in
    words why there is nothing to see, and whether asking again may help.
    """
    yield f"retry: {RECONNECT_MILLISECONDS}\n\n"
    strip = Strip(run_id)
    try:
        already = await client.run(run_id)  # says at once what following would say after minutes
        async with aclosing(client.events(run_id)) as events:
            coming = asyncio.ensure_future(anext(events, None))
            try:
                while True:
                    done, _ = await asyncio.wait({coming}, timeout=QUIET_SECONDS)
                    if not done:
                        yield await _meanwhile(client, strip)
                        continue
                    message = coming.result()
                    if message is None:
                        return
                    coming = asyncio.ensure_future(anext(events, None))
                    strip.see(message)
                    if strip.behind(already):
                        continue
                    yield _event("strip", strip.changes())
                    if strip.ended:
                        yield _event("ended", strip.ending())
                        return
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
    except ClientError as error:
        again = not isinstance(error, RequestRefused)
        yield _event("problem", {"sentence": trouble(error).sentence, "advice": trouble(error).advice, "again": again})


async def _meanwhile(client: AsyncImmersivaudioClient, strip: Strip) -> str:
    """Whether the service is still there, while nothing happens."""
    try:
        run = await client.run(strip.run_id)
    except ServiceUnreachable:
        return _event("waiting", {"sentence": "The service does not answer just now. The run goes on when it is back."})
    except ClientError:
        return ": quiet\n\n"
    # It takes back what `waiting` may have said.
    return ": quiet\n\n" if strip.behind(run) else _event("strip", strip.changes())


def _event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
