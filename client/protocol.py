"""What is said to the service and what is made of its answers, once, for the blocking and the asynchronous client.

Each call is a flow: a generator that yields what it wants done (open a request, read on, wait, give something to the caller) and is
sent the outcome, or has httpx's exception thrown into it. It touches no socket and never sleeps; `client.py` drives it, in
either way. A flow has one response open at a time: opening the next one closes it.
"""

import re
import unicodedata
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import IO, Annotated, Any, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from client.errors import ClientError, NotUnderstood, RequestRefused, RunFailed, ServiceFailed, ServiceUnreachable
from models.record import TERMINAL, VIDEO_FORMATS, Event, ModuleInfo, Options, Problem, Progress, Run, fold

T = TypeVar("T")

PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)
"""Seconds between attempts after a connection breaks. Together they outlast the restart of a replica."""

SILENCE_SECONDS = 35.0
"""A stream that is silent for longer is dead: the service's heartbeat comes every 10 s."""


@dataclass(frozen=True, slots=True)
class Open:
    """Send the request; the outcome is the response, its body unread."""

    request: httpx.Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read on in the open response; the outcome is bytes, empty at the end."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Give:
    """Hand this to the caller."""

    item: Any


Flow = Generator[Open | Read | Wait | Give, Any, T]


class _Heartbeat(BaseModel):
    type: Literal["heartbeat"]


_MESSAGE: TypeAdapter[Event | Progress | _Heartbeat] = TypeAdapter(
    Annotated[Event | Progress | _Heartbeat, Field(discriminator="type")]
)
_RUN = TypeAdapter(Run)
_MODULES = TypeAdapter(tuple[ModuleInfo, ...])


class Lines:
    """Cuts a stream of bytes into lines at line feeds alone: JSON may hold U+2028 and the like, where httpx would cut too."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes. What follows the last line feed is kept for the next."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line for line in lines if line.strip()]


class _Retries:
    """How often one flow may try again, and how long it waits before each attempt."""

    def __init__(self) -> None:
        self._left = iter(PAUSES)

    def succeeded(self) -> None:
        self._left = iter(PAUSES)

    def pause(self, error: Exception) -> Wait:
        """How long to wait after this error. Raises ServiceUnreachable when it was one too many."""
        seconds = next(self._left, None)
        if seconds is None:
            raise ServiceUnreachable(f"gave up after {len(PAUSES)} attempts to go on: {_reason(error)}") from error
        return Wait(seconds)


class Protocol:
    """The flows. `build` is the `build_request` of the httpx client that will send what it builds."""

    def __init__(self, build: Callable[..., httpx.Request]) -> None:
        self._build = build

    def submit(self, file: IO[bytes], *, name: str, options: Options) -> Flow[Run]:
        """Upload the file, read from where it stands, as it is sent. `name` is for people to read."""
        wanted = options.model_dump_json(exclude_defaults=True)
        return (
            yield from self._get(
                _RUN, "/v1/runs", method="POST", data={"options": wanted}, files={"file": (_sendable(name), file)}
            )
        )

    def run(self, run_id: str) -> Flow[Run]:
        """The run as it is now."""
        return (yield from self._get(_RUN, _run_path(run_id)))

    def modules(self) -> Flow[tuple[ModuleInfo, ...]]:
        """What stands behind each module."""
        return (yield from self._get(_MODULES, "/v1/modules"))

    def events(self, run_id: str, *, after: int) -> Flow[None]:
        """Gives the events behind number `after`, in order, each once, and progress between them, to the terminal event."""
        retries = _Retries()
        while True:
            problem: Exception = ClientError(f"the stream of run {run_id} ended early")
            try:
                yield from self._open(
                    _run_path(run_id) + "/events",
                    params={"after": after},
                    headers={"Accept": "application/x-ndjson"},
                    timeout=httpx.Timeout(SILENCE_SECONDS, connect=5),
                )
                lines = Lines()
                while chunk := (yield Read()):
                    for message in (_parse(_MESSAGE, line) for line in lines.feed(chunk)):
                        retries.succeeded()
                        if isinstance(message, Progress):
                            yield Give(message)
                        elif not isinstance(message, _Heartbeat) and message.seq > after:
                            after = message.seq
                            yield Give(message)
                            if message.type in TERMINAL:
                                return
            except NotUnderstood:
                raise
            except (httpx.RequestError, ServiceUnreachable, ServiceFailed) as error:
                problem = error
            yield retries.pause(problem)

    def download(self, run_id: str, name: str, *, to: IO[bytes]) -> Flow[None]:
        """Write an artifact of the run to a file, as it arrives. A broken connection is taken up again where it broke."""
        retries = _Retries()
        done = 0
        while True:
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
            problem: Exception = ClientError(f"the download of {name} ended early")
            try:
                response = yield from self._open(
                    f"{_run_path(run_id)}/artifacts/{quote(name, safe='')}", headers=headers
                )
                at = _first_byte(response)
                if at > done:
                    raise NotUnderstood(f"asked for {name} from byte {done}, the service sent it from byte {at}")
                length = response.headers.get("Content-Length")
                end = at + int(length) if length else None
                while chunk := (yield Read()):
                    fresh = chunk[max(0, done - at) :]
                    to.write(fresh)
                    at += len(chunk)
                    done += len(fresh)
                    if fresh:
                        retries.succeeded()
                if end is None or done >= end:
                    return
            except NotUnderstood:
                raise
            except (httpx.RequestError, ServiceUnreachable, ServiceFailed) as error:
                problem = error
            yield retries.pause(problem)

    def _get(self, kind: TypeAdapter[T], path: str, *, method: str = "GET", **request: Any) -> Flow[T]:
        """One request, and its whole answer as this type."""
        response = yield from self._open(path, method=method, **request)
        try:
            body = yield from _body()
        except httpx.RequestError as error:
            raise _unreachable(response.request, error) from error
        return _parse(kind, body)

    def _open(self, path: str, *, method: str = "GET", **request: Any) -> Flow[httpx.Response]:
        """The successful response, its body unread. Raises ServiceUnreachable, RequestRefused, ServiceFailed."""
        built = self._build(method, path, **request)
        try:
            response: httpx.Response = yield Open(built)
        except httpx.RequestError as error:
            raise _unreachable(built, error) from error
        if response.is_success:
            return response
        try:
            body = yield from _body()
        except httpx.RequestError:
            body = b""
        raise _refusal(response, body)


def next_state(run: Run | None, run_id: str, event: Event) -> Run:
    """The run after one more event of its log; `run` is None before the first. Raises NotUnderstood."""
    try:
        return run.apply(event) if run else fold(run_id, [event])
    except ValueError as error:
        raise NotUnderstood(f"the service sent a log that makes no sense: {error}") from error


def finished(run: Run) -> Run:
    """The run, which has ended. Raises RunFailed when it failed."""
    if run.status == "failed":
        raise RunFailed(run)
    return run


def giving(flow: Flow[T]) -> Flow[None]:
    """The flow, which gives its result to the caller."""
    yield Give((yield from flow))


def result_name(run: Run) -> str:
    """Name of the artifact that is the run's result. Raises ValueError for a run that has none."""
    if run.record.reconstruction is None:
        raise ValueError(f"run {run.id} has no result")
    return "video" if run.record.reconstruction.format in VIDEO_FORMATS else "audio"


def _run_path(run_id: str) -> str:
    return f"/v1/runs/{quote(run_id, safe='')}"


def _sendable(name: str) -> str:
    """A file's name as a multipart header can carry it: valid Unicode, no control characters, no double quotes."""
    whole = name.encode(errors="replace").decode().replace('"', "'")
    return "".join("_" if unicodedata.category(character) == "Cc" else character for character in whole) or "file"


def _body() -> Flow[bytes]:
    chunks = []
    while chunk := (yield Read()):
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(kind: TypeAdapter[T], body: bytes) -> T:
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotUnderstood(
            f"the service's answer is not understood ({where + ': ' if where else ''}{first['msg']}): "
            "it is of another version, or something else answers at this address"
        ) from error


def _first_byte(response: httpx.Response) -> int:
    """Where in the artifact this response begins."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not found:
        raise NotUnderstood("the service sent a part of an artifact and doesn't say which")
    return int(found[1])


def _refusal(response: httpx.Response, body: bytes) -> ClientError:
    status = response.status_code
    kind: type[ClientError] = NotUnderstood
    if response.is_client_error:
        kind = RequestRefused
    elif response.is_server_error:
        kind = ServiceFailed
    try:
        # Problem details may be extended by members that this version doesn't know.
        return kind(Problem.model_validate_json(body, extra="ignore").detail)
    except ValidationError:
        request = response.request
        return kind(f"{request.method} {request.url} was answered with {status} {response.reason_phrase}".rstrip())


def _unreachable(request: httpx.Request, error: httpx.RequestError) -> ServiceUnreachable:
    address = str(request.url.copy_with(path="/", query=None)).rstrip("/")
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol):
        return ServiceUnreachable(f"no service answers at {address} ({_reason(error)})")
    return ServiceUnreachable(f"the connection to {address} broke ({_reason(error)})")


def _reason(error: Exception) -> str:
    """What an exception says; httpx's timeouts say nothing but their names."""
    return str(error) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
