"""Modules over HTTP: what is loaded, whether all of it answers, and each of them alone."""

import asyncio
import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Path, Request
from starlette.exceptions import HTTPException

from models.errors import NotFound
from models.record import MODULES, ModuleInfo, Record
from serve import examples
from serve.access import key_of
from serve.alone import ModuleService
from serve.forms import json_body, run_body
from serve.service import RunService

logger = logging.getLogger("ray.serve")

READY_SECONDS = 2.5  # probes wait 4 s and more: they are to be answered
RECORD_BYTES = 8 * 2**20

ModuleName = Annotated[str, Path(description=f"One of {', '.join(MODULES)}.", examples=["frame_extraction"])]


def add_modules(app: FastAPI, service: RunService, alone: ModuleService) -> None:
    """The routes below /v1/modules, and the two that say how the service is."""
    _add_alone(app, alone)
    _add_health(app, service)


def _add_alone(app: FastAPI, alone: ModuleService) -> None:
    @app.post(
        "/v1/modules/{module}",
        responses={
            200: examples.of("The record, with the module's output.", examples.RUN["record"]),
            **examples.problems(404, 409, 413, 422, 429, 500, 503),
        },
        openapi_extra=examples.MODULE,
        summary="One module alone: a record in, the record with the module's output out",
    )
    async def compute(request: Request, module: ModuleName) -> Record:
        known = next((name for name in MODULES if name == module), None)
        if known is None:
            raise NotFound(f"there is no module {module[:40]!r}; there are {', '.join(MODULES)}")
        if known == "video_input":
            return await alone.video_input(await run_body(request), key_of(request))
        record = await json_body(Record, request, largest=RECORD_BYTES)
        return await alone.compute(known, record, key_of(request))


def _add_health(app: FastAPI, service: RunService) -> None:
    @app.get(
        "/v1/modules",
        responses={200: examples.of("One entry per module.", examples.LOADED), **examples.problems(503)},
        summary="What is loaded",
    )
    async def modules() -> list[ModuleInfo]:
        return await _modules(service)

    @app.get("/healthz", responses={200: examples.of("This process answers.", {"status": "ok"})}, summary="Alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        responses={
            200: examples.of("Every module has been there, and has answered.", {"status": "ready"}),
            **examples.problems(503),
        },
        summary="Able to work?",
    )
    async def readyz() -> dict[str, str]:
        await _modules(service)
        return {"status": "ready"}


async def _modules(service: RunService) -> list[ModuleInfo]:
    try:
        async with asyncio.timeout(READY_SECONDS):
            return list(await service.modules())
    except Exception as error:  # not there yet, restarting or gone: each says so in its own way
        if not isinstance(error, TimeoutError):
            logger.warning("a module does not answer", exc_info=error)
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "not every module answers yet; try again") from error
