"""Every test of a call runs it blocking and awaited: `Call` stands for either."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from client import AsyncImmersivaudioClient, ImmersivaudioClient

Call = Callable[..., Any]
"""Takes the address, the name of the call, and its arguments; `client` has settings of the client itself."""


def blocking(url: str, verb: str, *arguments: Any, client: dict[str, Any] | None = None, **named: Any) -> Any:
    with ImmersivaudioClient(url, **(client or {})) as service:
        answer = getattr(service, verb)(*arguments, **named)
        return list(answer) if isinstance(answer, Iterator) else answer


def awaited(url: str, verb: str, *arguments: Any, client: dict[str, Any] | None = None, **named: Any) -> Any:
    async def run() -> Any:
        async with AsyncImmersivaudioClient(url, **(client or {})) as service:
            answer = getattr(service, verb)(*arguments, **named)
            return [item async for item in answer] if isinstance(answer, AsyncIterator) else await answer

    return asyncio.run(run())
