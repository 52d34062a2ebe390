"""A service is asked for a run, and what happens meanwhile is told: it is busy, or it does not answer."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from client.findings import busy
from client.protocol import OnBusy
from models.record import Run

SILENT_SECONDS = 5.0
"""After so long without an answer, that is said."""


async def asked(ask: Callable[[OnBusy], Awaitable[Run]]) -> AsyncGenerator[str | Run]:
    """Sentences while the service is waited for, and at last the run. Raises what asking raises.

    Whoever stops listening stops asking.
    """
    told: asyncio.Queue[float] = asyncio.Queue()
    asking = asyncio.ensure_future(ask(told.put_nowait))
    hearing = asyncio.ensure_future(told.get())
    try:
        while True:
            await asyncio.wait({asking, hearing}, timeout=SILENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                yield asking.result()
                return
            if hearing.done():
                sentence = busy(hearing.result())
                hearing = asyncio.ensure_future(told.get())
                yield f"{sentence[0].upper()}{sentence[1:]}. Nothing is lost meanwhile."
            else:
                yield "The service has not answered yet. This page goes on asking."
    finally:
        asking.cancel()
        hearing.cancel()
