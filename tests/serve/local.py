"""The whole service in this process: the real deployments' classes, store, runner and web layer, without Ray."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from models.prompt_enhancement import PromptEnhancer
from models.record import ModuleInfo
from serve import deployments
from serve.http import create_app
from serve.pipeline import SERVED_BY, calls_of
from serve.runner import Runner
from serve.service import Backend, RunService
from serve.settings import AppSettings
from serve.store import Store


@asynccontextmanager
async def local_http(settings: AppSettings) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the service. Its runs go on until the block ends."""
    servers: dict[str, Any] = {name: getattr(deployments, name)(settings) for name in set(SERVED_BY.values())}
    served = {name: server.run for name, server in servers.items()}
    calls = calls_of(served, PromptEnhancer(settings.prompt_enhancement))
    store = Store(settings.store)
    runner = Runner(store, calls, owner="this test")
    working: list[asyncio.Task[None]] = []

    async def start(run_id: str) -> None:
        working.append(asyncio.create_task(runner.execute(run_id)))

    async def modules() -> Sequence[ModuleInfo]:
        return [await server.info() for server in servers.values()]

    service = RunService(store, Backend(servers["FrameExtractor"].probe, start, modules))
    transport = httpx.ASGITransport(app=create_app(service, upload_bytes=settings.upload_bytes))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=120) as client:
        yield client
    await asyncio.gather(*working)
