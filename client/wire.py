"""Who does what a flow asks for: over httpx, blocking or awaiting."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeVar

import httpx

from client.flow import Flow, Give, Open, Read, Wait, Work, giving

T = TypeVar("T")


def run_flow(http: httpx.Client, flow: Flow[T]) -> T:
    """What the flow returns."""
    with closing(iterate_flow(http, giving(flow))) as items:
        result: T = next(items)
        return result


def iterate_flow(http: httpx.Client, flow: Flow[None]) -> Generator[Any]:
    """What the flow gives, as it gives it."""
    with closing(_Wire(http)) as wire, closing(flow):
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


async def run_flow_async(http: httpx.AsyncClient, flow: Flow[T]) -> T:
    """As `run_flow`."""
    async with aclosing(iterate_flow_async(http, giving(flow))) as items:
        result: T = await anext(items)
        return result


async def iterate_flow_async(http: httpx.AsyncClient, flow: Flow[None]) -> AsyncGenerator[Any]:
    """As `iterate_flow`."""
    async with aclosing(_AsyncWire(http)) as wire:
        with closing(flow):
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
    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes]

    def do(self, step: Open | Read | Wait | Work) -> Any:
        match step:
            case Open():
                self.close()
                self._response = self._http.send(step.request, stream=True, follow_redirects=step.follow)
                self._chunks = self._response.iter_bytes()
                return self._response
            case Read():
                return next(self._chunks, b"")
            case Wait():
                return time.sleep(step.seconds)
            case Work():
                return step.call()

    def close(self) -> None:
        if self._response:
            self._response.close()


class _AsyncWire:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes]

    async def do(self, step: Open | Read | Wait | Work) -> Any:
        match step:
            case Open():
                await self.aclose()
                self._response = await self._http.send(step.request, stream=True, follow_redirects=step.follow)
                self._chunks = self._response.aiter_bytes()
                return self._response
            case Read():
                return await anext(self._chunks, b"")
            case Wait():
                return await asyncio.sleep(step.seconds)
            case Work():
                return await asyncio.to_thread(step.call)

    async def aclose(self) -> None:
        if self._response:
            await self._response.aclose()
