"""The whole service in this process: the real deployments' classes, store, worker and web layer, without Ray."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from models.prompt_enhancement import PromptEnhancer
from models.record import Module, ModuleInfo, Outputs, Record
from serve import app
from serve.access import ApiKeys
from serve.active import ActiveRuns
from serve.alone import ModuleService
from serve.http import create_app
from serve.metrics import Metrics, NoMetrics
from serve.modules import Modules, units_of
from serve.pipeline import served_by, servers_of, told_of
from serve.runner import Runner
from serve.service import Backend, RunService
from serve.settings import AppSettings
from serve.store import Store
from serve.worker import Worker


@asynccontextmanager
async def local_http(
    settings: AppSettings, *, metrics: Metrics | None = None, keys: dict[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the service. Runs that have not ended when the block ends are left as they are."""
    metrics = metrics or NoMetrics()
    served = served_by(settings)
    servers: dict[str, Any] = {name: getattr(app, name)(settings) for name in set(served.values())}
    store = Store(settings.store)
    modules = Modules(store, servers_of(settings, servers, PromptEnhancer(settings.prompt_enhancement)))
    runner = Runner(store, modules, metrics, pauses=settings.runs.retry_pauses)
    worker = Worker(ActiveRuns(store), runner.execute, metrics, settings.runs)
    worker.start()

    async def nudge() -> None:
        worker.nudge()

    async def compute(module: Module, record: Record, key: str | None) -> Outputs:
        for unit in units_of(record, module):
            record = record.append(await modules.compute(unit, record, run_id=None, key=key))
        return Outputs.model_validate({module: getattr(record, module)})

    async def loaded() -> Sequence[ModuleInfo]:
        return [await servers[name].info(unit.part) for unit, name in told_of(settings).items()]

    backend = Backend(servers["FrameExtractor"].probe, nudge, compute, loaded)
    try:
        async with local_client(store, backend, settings, metrics=metrics, keys=keys) as client:
            yield client
    finally:
        await worker.stop()


@asynccontextmanager
async def local_client(
    store: Store,
    backend: Backend,
    settings: AppSettings,
    *,
    metrics: Metrics | None = None,
    keys: dict[str, str] | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of the web layer over this graph. `keys`: API keys by name."""
    service = RunService(store, backend, settings, metrics or NoMetrics())
    environ = {"IMMERSIVAUDIO_API_KEYS": ",".join(f"{name}:{secret}" for name, secret in (keys or {}).items())}

    async def read_metrics() -> str:
        return ""

    app = create_app(
        service,
        ModuleService(store, service.uploads, backend, settings),
        settings=settings,
        keys=ApiKeys.load(settings.access, environ),
        read_metrics=read_metrics,
    )
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client:
        yield client
