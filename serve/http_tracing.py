"""A span round a request: where a run's trace begins, unless its client has begun it."""

from http import HTTPStatus

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve import tracing

READS = ("GET", "HEAD", "OPTIONS")


class TraceRequests:
    """A span for every request that changes something, and for those that belong to a trace already.

    Runs are looked at far more often than they are made: a look has a span only where its client sends a `traceparent`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("traceparent") if scope["type"] == "http" else None
        if scope["type"] != "http" or (given is None and scope["method"] in READS):
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        with tracing.span(method, {"http.request.method": method}, within=given, kind="SERVER") as request:

            async def send_and_tell(message: Message) -> None:
                if message["type"] == "http.response.start":
                    request.tell({"http.response.status_code": message["status"]})
                    if message["status"] >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        request.failed(str(message["status"]))
                await send(message)

            try:
                await self._app(scope, receive, send_and_tell)
            finally:
                if route := getattr(scope.get("route"), "path", None):  # never the path itself: it may name a file
                    request.tell({"http.route": route})
                    request.rename(f"{method} {route}")


def add_tracing(app: FastAPI) -> None:
    """Traces the application's requests, where this process traces anything."""
    if tracing.is_on():
        app.add_middleware(TraceRequests)
