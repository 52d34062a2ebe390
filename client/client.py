"""The Python client, blocking and asynchronous. What is said over the wire stands in `protocol.py`; here is who says it.

with ImmersivaudioClient("http://127.0.0.1:8000") as service:
    run = service.enhance("sea.mp4", Options(music_prompt="slow strings"), output="sea.enhanced.mp4")
    print(run.record.frame_description.text)
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from client.files import Source, Target, opened, whole
from client.protocol import Flow, Give, Open, Protocol, Read, Wait, finished, giving, next_state, result_name
from models.record import Event, ModuleInfo, Options, Progress, Run

T = TypeVar("T")

DEFAULT_SERVER = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = httpx.Timeout(60, connect=5)
"""Seconds that the service may take to accept a connection, and to say the next thing."""

# A proxy of the environment stands between this machine and others, never between it and itself.
_LOOPBACK = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}


class ImmersivaudioClient:
    """Talks to one service. Use it as a context manager, or close it.

    Raises ValueError for an address that cannot be one. Every call raises ServiceUnreachable when nobody answers, RequestRefused
    when the service refuses (unknown run, unreadable file), ServiceFailed when it breaks.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(
            base_url=_address(base_url), timeout=timeout, transport=transport, mounts=None if transport else _LOOPBACK
        )
        self._say = Protocol(self._http.build_request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def submit(self, source: Source, options: Options | None = None, *, name: str | None = None) -> Run:
        """Upload a video or an image, streamed from disk, and start a run. `name` replaces the file's own."""
        with opened(source) as (file, own_name):
            return self._one(self._say.submit(file, name=name or own_name, options=options or Options()))

    def run(self, run_id: str) -> Run:
        """The run as it is now."""
        return self._one(self._say.run(run_id))

    def events(self, run_id: str, *, after: int = 0) -> Iterator[Event | Progress]:
        """The run's log behind event number `after`, as it is written, and progress in between; ends with the run.

        A broken stream is taken up again where it broke, after growing pauses; ServiceUnreachable when that doesn't help.
        """
        return self._each(self._say.events(run_id, after=after))

    def follow(self, run_id: str) -> Iterator[Run]:
        """The run after each of its events, from the first to the last."""
        run: Run | None = None
        for event in self.events(run_id):
            if not isinstance(event, Progress):
                run = next_state(run, run_id, event)
                yield run

    def wait(self, run_id: str) -> Run:
        """The finished run. Raises RunFailed, which has it, when it failed."""
        *_, last = self.follow(run_id)
        return finished(last)

    def enhance(self, source: Source, options: Options | None = None, *, output: Target) -> Run:
        """Upload, wait, and write the result to `output`. Raises RunFailed."""
        run = self.wait(self.submit(source, options).id)
        self.download(run.id, result_name(run), output)
        return run

    def download(self, run_id: str, name: str, to: Target) -> None:
        """Write an artifact (`video`, `audio`, `music`, `sounds`, `frame`) to a file or a binary stream.

        A file appears whole or not at all, and replaces what is there. A broken connection is taken up again.
        """
        with whole(to) as file:
            self._one(self._say.download(run_id, name, to=file))

    def modules(self) -> tuple[ModuleInfo, ...]:
        """What stands behind each module: model, device, licence."""
        return self._one(self._say.modules())

    def _one(self, flow: Flow[T]) -> T:
        with closing(self._each(giving(flow))) as items:
            result: T = next(items)
            return result

    def _each(self, flow: Flow[None]) -> Generator[Any]:
        with closing(_Wire(self._http)) as wire:
            outcome: Any = None
            error: httpx.RequestError | None = None
            while True:
                try:
                    step = flow.throw(error) if error else flow.send(outcome)
                except StopIteration:
                    return
                outcome = error = None
                if isinstance(step, Give):
                    yield step.item
                    continue
                try:
                    outcome = wire.do(step)
                except httpx.RequestError as caught:
                    error = caught


class AsyncImmersivaudioClient:
    """`ImmersivaudioClient` for asyncio: the same calls, awaited, or iterated with `async for`."""

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=_address(base_url), timeout=timeout, transport=transport, mounts=None if transport else _LOOPBACK
        )
        self._say = Protocol(self._http.build_request)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give back the connections."""
        await self._http.aclose()

    async def submit(self, source: Source, options: Options | None = None, *, name: str | None = None) -> Run:
        """As `ImmersivaudioClient.submit`."""
        with opened(source) as (file, own_name):
            return await self._one(self._say.submit(file, name=name or own_name, options=options or Options()))

    async def run(self, run_id: str) -> Run:
        """As `ImmersivaudioClient.run`."""
        return await self._one(self._say.run(run_id))

    def events(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Event | Progress]:
        """As `ImmersivaudioClient.events`."""
        return self._each(self._say.events(run_id, after=after))

    async def follow(self, run_id: str) -> AsyncGenerator[Run]:
        """As `ImmersivaudioClient.follow`."""
        run: Run | None = None
        async with aclosing(self.events(run_id)) as events:
            async for event in events:
                if not isinstance(event, Progress):
                    run = next_state(run, run_id, event)
                    yield run

    async def wait(self, run_id: str) -> Run:
        """As `ImmersivaudioClient.wait`."""
        *_, last = [run async for run in self.follow(run_id)]
        return finished(last)

    async def enhance(self, source: Source, options: Options | None = None, *, output: Target) -> Run:
        """As `ImmersivaudioClient.enhance`."""
        run = await self.wait((await self.submit(source, options)).id)
        await self.download(run.id, result_name(run), output)
        return run

    async def download(self, run_id: str, name: str, to: Target) -> None:
        """As `ImmersivaudioClient.download`."""
        with whole(to) as file:
            await self._one(self._say.download(run_id, name, to=file))

    async def modules(self) -> tuple[ModuleInfo, ...]:
        """As `ImmersivaudioClient.modules`."""
        return await self._one(self._say.modules())

    async def _one(self, flow: Flow[T]) -> T:
        async with aclosing(self._each(giving(flow))) as items:
            result: T = await anext(items)
            return result

    async def _each(self, flow: Flow[None]) -> AsyncGenerator[Any]:
        async with aclosing(_AsyncWire(self._http)) as wire:
            outcome: Any = None
            error: httpx.RequestError | None = None
            while True:
                try:
                    step = flow.throw(error) if error else flow.send(outcome)
                except StopIteration:
                    return
                outcome = error = None
                if isinstance(step, Give):
                    yield step.item
                    continue
                try:
                    outcome = await wire.do(step)
                except httpx.RequestError as caught:
                    error = caught


class _Wire:
    """Does what a flow asks for, blocking."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes]

    def do(self, step: Open | Read | Wait) -> httpx.Response | bytes | None:
        match step:
            case Open():
                self.close()
                self._response = self._http.send(step.request, stream=True)
                self._chunks = self._response.iter_bytes()
                return self._response
            case Read():
                return next(self._chunks, b"")
            case Wait():
                time.sleep(step.seconds)
                return None

    def close(self) -> None:
        if self._response:
            self._response.close()


class _AsyncWire:
    """Does what a flow asks for, awaiting."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def do(self, step: Open | Read | Wait) -> httpx.Response | bytes | None:
        match step:
            case Open():
                await self.aclose()
                self._response = await self._http.send(step.request, stream=True)
                self._chunks = self._response.aiter_bytes()
                return self._response
            case Read():
                return await anext(self._chunks, b"")
            case Wait():
                await asyncio.sleep(step.seconds)
                return None

    async def aclose(self) -> None:
        if self._response:
            await self._response.aclose()


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is not the address of a service: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{base_url!r} is not the address of a service: write it like {DEFAULT_SERVER}")
    return url
