"""The deployment that speaks HTTP. A shim: the web layer is `serve/http.py`, and knows nothing of Ray."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from ray import serve as rs
from ray.serve.handle import DeploymentHandle

from models.errors import DamagedMedia, InvalidInput, WorkerDied
from models.record import Module, ModuleInfo, Outputs, Record, VideoInput
from serve import tracing
from serve.access import ApiKeys
from serve.alone import ModuleService
from serve.attempts import FailedAttempt, attempts
from serve.http import create_app
from serve.http_metrics import read_application
from serve.metrics import RayMetrics
from serve.pipeline import answer
from serve.service import Backend, RunService
from serve.settings import AppSettings
from serve.sources import Sent
from serve.store import Store

LOOK_PAUSES = (0.0, 0.5, 2.0)  # seconds before the file is looked at again, when whoever looked at it died


@rs.ingress()
class Ingress:
    """Any replica answers for any run: all that it knows is in the store."""

    def __init__(
        self, settings: AppSettings, pipeline: DeploymentHandle[Any], extractor: DeploymentHandle[Any]
    ) -> None:
        tracing.start("Ingress")
        self._settings = settings
        self._pipeline = pipeline
        self._extractor = extractor
        # Here, so that a file of keys that cannot be read stops the deployment.
        self._keys = ApiKeys.load(settings.access, os.environ)

    async def __del__(self) -> None:
        """Serve calls this before it ends a replica in order."""
        await asyncio.to_thread(tracing.stop)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The web application that Serve puts behind its proxy."""
        settings, store = self._settings, Store(self._settings.store)
        backend = Backend(self._probe, self._nudge, self._compute, self._modules)
        service = RunService(store, backend, settings, RayMetrics())
        alone = ModuleService(store, service.uploads, backend, settings)
        return create_app(service, alone, settings=settings, keys=self._keys, read_metrics=read_application)

    async def _probe(self, sent: Sent) -> VideoInput:
        async def look(_: bool) -> VideoInput:
            traced = replace(sent, trace=tracing.traceparent())
            seen: VideoInput | InvalidInput = await answer(self._extractor.look.remote(traced))
            if isinstance(seen, InvalidInput):
                raise seen
            return seen

        async def failed(_: FailedAttempt) -> None:
            pass

        try:
            return await attempts(look, pauses=LOOK_PAUSES, failed=failed)
        except WorkerDied as error:
            # One death may be anybody's fault. Four in a row are the file's.
            raise DamagedMedia("every attempt to open it ended the program that reads media") from error

    async def _nudge(self) -> None:
        await self._pipeline.nudge.remote()

    async def _compute(self, module: Module, record: Record, key: str | None) -> Outputs:
        # While the application is upgraded, a replica of the version before may be asked: it is told no more than it must know.
        trace = [here] if (here := tracing.traceparent()) else []
        outputs: Outputs = await answer(self._pipeline.compute.remote(module, record, key, *trace))
        return outputs

    async def _modules(self) -> Sequence[ModuleInfo]:
        modules: Sequence[ModuleInfo] = await answer(self._pipeline.info.remote())
        return modules
