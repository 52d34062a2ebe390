"""A service is asked for a run, and what happens meanwhile is told: it is busy, or it is not there, and asked again."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus

import httpx

from client.errors import ServiceUnreachable
from client.findings import busy, printable
from client.protocol import OnBusy
from models.record import Run

SILENT_SECONDS = 5.0
"""After so long without an answer, that is said."""

AGAIN_SECONDS = 3.0
"""Until a service that is not there is asked again."""

LONGEST_SECONDS = 600.0
"""For so long."""


async def asked(ask: Callable[[OnBusy], Awaitable[Run]]) -> AsyncGenerator[str | Run]:
    """Sentences while the service is waited for, and at last the run. Raises what asking raises.

    Whoever stops listening stops asking.
    """
    told: asyncio.Queue[str] = asyncio.Queue()
    asking = asyncio.ensure_future(_until_heard(ask, told))
    hearing = asyncio.ensure_future(told.get())
    try:
        while True:
            await asyncio.wait({asking, hearing}, timeout=SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                yield asking.result()
                return
            if hearing.done():
                sentence = hearing.result()
                hearing = asyncio.ensure_future(told.get())
                yield sentence
            else:
                yield "The service has not answered yet. This page goes on asking."
    finally:
        asking.cancel()
        hearing.cancel()


async def _until_heard(ask: Callable[[OnBusy], Awaitable[Run]], told: asyncio.Queue[str]) -> Run:
    """What asking gives. A request that cannot have reached anybody is sent again; others might then be there twice."""

    def on_busy(seconds: float) -> None:
        sentence = busy(seconds)
        told.put_nowait(f"{sentence[0].upper()}{sentence[1:]}. Nothing is lost meanwhile.")

    loop = asyncio.get_running_loop()
    until = loop.time() + LONGEST_SECONDS
    while True:
        try:
            return await ask(on_busy)
        except ServiceUnreachable as error:
            if not _reached_nobody(error) or loop.time() > until:
                raise
            sentence = printable(str(error))
            told.put_nowait(f"{sentence[0].upper()}{sentence[1:]}. This page goes on trying.")
        await asyncio.sleep(AGAIN_SECONDS)


def _reached_nobody(error: ServiceUnreachable) -> bool:
    """No connection, or the proxy of a service that is still starting."""
    return error.status == HTTPStatus.NOT_FOUND or isinstance(
        error.__cause__, httpx.ConnectError | httpx.ConnectTimeout
    )
