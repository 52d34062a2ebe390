"""The deployment that speaks HTTP. A shim: the web layer is `serve/http.py`, and knows nothing of Ray."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from ray import serve as rs
from ray.serve.handle import DeploymentHandle

from models.record import ModuleInfo, Options, VideoInput
from serve.http import create_app
from serve.pipeline import plain_errors
from serve.service import Backend, RunService
from serve.settings import AppSettings
from serve.store import Store


@rs.ingress()
class Ingress:
    """Any replica answers for any run: all that it knows is in the store."""

    def __init__(
        self, settings: AppSettings, pipeline: DeploymentHandle[Any], extractor: DeploymentHandle[Any]
    ) -> None:
        self._settings = settings
        self._pipeline = pipeline
        self._extractor = extractor

    def __serve_build_asgi_app__(self) -> FastAPI:
        """The web application that Serve puts behind its proxy."""
        backend = Backend(probe=self._probe, start=self._start, modules=self._modules)
        settings = self._settings
        service = RunService(Store(settings.store), backend, heartbeat_seconds=settings.heartbeat_seconds)
        return create_app(service, upload_bytes=settings.upload_bytes)

    async def _probe(self, key: str, name: str, options: Options) -> VideoInput:
        with plain_errors():
            video_input: VideoInput = await self._extractor.probe.remote(key, name, options)
        return video_input

    async def _start(self, run_id: str) -> None:
        await self._pipeline.start.remote(run_id)

    async def _modules(self) -> Sequence[ModuleInfo]:
        with plain_errors():
            modules: Sequence[ModuleInfo] = await self._pipeline.info.remote()
        return modules
