"""What a flow is made of: the steps that it yields, one request and its answer, and how it goes on after a broken connection.

A flow is a generator that yields what it wants done (open a request, read on, wait, do some blocking work, give something to the
caller) and is sent the outcome, or has httpx's exception thrown into it. It touches no socket and never sleeps; `client.py`
drives it, blocking or asynchronous. A flow has one response open at a time: opening the next one closes it.
"""

import re
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter, ValidationError

from client.errors import (
    ClientError,
    NoConnectionLeft,
    NotUnderstood,
    RequestRefused,
    ServiceBusy,
    ServiceFailed,
    ServiceUnreachable,
)
from models.record import Problem

T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, *(8.0,) * 18)
"""Seconds between attempts after a connection breaks. Together they outlast the restart of a whole service."""

BROKEN = (httpx.RequestError, NoConnectionLeft, ServiceUnreachable, ServiceFailed)
"""What another attempt may mend, unless it is NotUnderstood."""

PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request; the outcome is the response, its body unread."""

    request: httpx.Request
    follow: bool = False
    """Go where the answer points, without what is secret when that is another host."""


@dataclass(frozen=True, slots=True)
class Read:
    """Read on in the open response; the outcome is bytes, empty at the end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Call this, which reads from a disk or a pipe and may take a while; the outcome is what it returns."""

    call: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Give:
    """Hand this to the caller."""

    item: Any


Flow = Generator[Open | Read | Wait | Work | Give, Any, T]


def segment(text: str) -> str:
    """An id or a name as one segment of a path, whatever it holds; "." and ".." would be steps in it."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in {".", ".."} else quoted


def giving(flow: Flow[T]) -> Flow[None]:
    """The flow, which gives its result to the caller."""
    yield Give((yield from flow))


class Retries:
    """How often one flow may try again, and how long it waits before each attempt."""

    def __init__(self) -> None:
        self._left = iter(PAUSES)

    def succeeded(self) -> None:
        """It got somewhere: what broke before doesn't count any more."""
        self._left = iter(PAUSES)

    def pause(self, error: Exception) -> Wait:
        """How long to wait after this error. Raises ServiceUnreachable when it was one too many."""
        seconds = next(self._left, None)
        if seconds is None:
            raise ServiceUnreachable(f"gave up after {len(PAUSES)} attempts to go on: {_reason(error)}") from error
        return Wait(seconds)


class Requests:
    """One request at a time. `build` is the `build_request` of the httpx client that will send what it builds."""

    def __init__(self, build: Callable[..., httpx.Request]) -> None:
        self._build = build

    def get(self, kind: TypeAdapter[T], path: str, *, method: str = "GET", **request: Any) -> Flow[T]:
        """One request, and its whole answer as this type."""
        return parse(kind, (yield from self.body(path, method=method, **request)))

    def body(self, path: str, *, method: str = "GET", **request: Any) -> Flow[bytes]:
        """One request, and its whole answer."""
        yield from self.open(path, method=method, **request)
        try:
            return (yield from _body())
        except httpx.RequestError as error:
            raise unreachable(error) from error

    def open(
        self,
        path: str,
        *,
        method: str = "GET",
        follow: bool = False,
        stream: httpx.SyncByteStream | None = None,
        **request: Any,
    ) -> Flow[httpx.Response]:
        """The successful response, its body unread. Raises ServiceUnreachable, RequestRefused, ServiceFailed.

        `stream` is the request's body; it must be one for both kinds of client, and its length stand in the headers.
        """
        built = self._build(method, path, **request)
        if stream is not None:
            built.stream = stream
        try:
            response: httpx.Response = yield Open(built, follow)
        except httpx.RequestError as error:
            raise unreachable(error) from error
        if response.is_success:
            return response
        try:
            body = yield from _body()
        except httpx.RequestError:
            body = b""
        raise refusal(response, body)


def parse(kind: TypeAdapter[T], body: bytes) -> T:
    """The body as this type. Raises NotUnderstood."""
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotUnderstood(
            f"the service's answer is not understood ({where + ': ' if where else ''}{first['msg']}): "
            "it is of another version, or something else answers at this address"
        ) from error


def _body() -> Flow[bytes]:
    chunks = []
    while chunk := (yield Read()):
        chunks.append(chunk)
    return b"".join(chunks)


def refusal(response: httpx.Response, body: bytes) -> ClientError:
    """The error that stands for an answer which is none, with the service's own sentence if the body has it."""
    kind: type[ClientError] = NotUnderstood
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        kind = ServiceBusy
    elif response.is_client_error:
        kind = RequestRefused
    elif response.is_server_error:
        kind = ServiceFailed
    sentence = _problem(body)
    ours = sentence is not None or response.headers.get("Content-Type") == PROBLEM  # an answer to HEAD has no body
    if not ours and response.status_code == httpx.codes.NOT_FOUND and not response.history:
        kind = ServiceUnreachable  # Ray's proxy answers before there is anything behind it
    error = kind(sentence or _bare(response, kind))
    error.status = response.status_code
    if isinstance(error, ServiceBusy):
        told = response.headers.get("Retry-After", "")
        error.retry_after_seconds = float(told) if re.fullmatch(r"\d{1,9}", told) else None
    return error


def _problem(body: bytes) -> str | None:
    """The service's own sentence, if that is what the body holds."""
    try:
        # Problem details may be extended by members that this version doesn't know.
        return Problem.model_validate_json(body, extra="ignore").detail
    except ValidationError:
        return None


def _bare(response: httpx.Response, kind: type[ClientError]) -> str:
    request = response.request
    # What a presigned address has behind its path is as good as a password.
    address = request.url.copy_with(query=None)
    told = f"{request.method} {address} was answered with {response.status_code} {response.reason_phrase}".rstrip()
    return f"the service is still starting, or it is not one ({told})" if kind is ServiceUnreachable else told


def unreachable(error: httpx.RequestError) -> ClientError:
    """The error that stands for an answer that did not come."""
    if isinstance(error, httpx.PoolTimeout):
        return NoConnectionLeft("all connections that this client may have are in use")
    # Behind a redirect, this is not the request that was asked for.
    address = str(error.request.url.copy_with(path="/", query=None)).rstrip("/")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return ServiceUnreachable(f"no service answers at {address} ({_reason(error)})")
    return ServiceUnreachable(f"the connection to {address} broke ({_reason(error)})")


def _reason(error: Exception) -> str:
    """What an exception says; httpx's timeouts say nothing but their names."""
    return str(error) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
