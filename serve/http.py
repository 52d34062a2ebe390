"""The service over HTTP: the web application, put together, and how it says that something went wrong."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from models.errors import ImmersivaudioError, Interrupted, TooBusy
from models.record import Problem
from serve.access import ApiKeys, add_access, add_request_ids
from serve.admission import RETRY_AFTER_SECONDS
from serve.alone import ModuleService
from serve.forms import sentence
from serve.http_metrics import add_metrics
from serve.http_modules import add_modules
from serve.http_runs import add_runs
from serve.http_tracing import add_tracing
from serve.http_uploads import add_uploads
from serve.problems import problem, status_of
from serve.service import RunService
from serve.settings import AppSettings

logger = logging.getLogger("ray.serve")

BROKEN = "the service failed; its log has the details"


def create_app(
    service: RunService,
    alone: ModuleService,
    *,
    settings: AppSettings,
    keys: ApiKeys,
    read_metrics: Callable[[], Awaitable[str]],
) -> FastAPI:
    """The web application.

    Args:
        service: what it asks for everything about runs.
        alone: what it asks for single modules.
        settings: limits, and who may use it.
        keys: the API keys that are known.
        read_metrics: the text of `/metrics`.
    """
    app = FastAPI(
        title="Immersivaudio",
        description="Gives a video the sound it deserves. Errors are RFC 9457 problem details.",
        version="1",
        redirect_slashes=False,
    )
    _add_errors(app)
    add_runs(app, service, upload_bytes=settings.upload_bytes)
    add_uploads(app, service.uploads, settings.uploads)
    add_modules(app, service, alone)
    add_metrics(app, read_metrics)
    add_tracing(app)  # inside of the access: who may not come in makes no traces
    add_access(app, keys, settings.access)
    add_request_ids(app)

    @app.get("/", include_in_schema=False)
    async def description() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app


def _add_errors(app: FastAPI) -> None:
    def answer(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
        told: Problem = problem(status, detail)
        return JSONResponse(told.model_dump(), status, headers, "application/problem+json")

    @app.exception_handler(ImmersivaudioError)
    async def ours(request: Request, error: ImmersivaudioError) -> JSONResponse:
        status = status_of(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("a request failed", exc_info=error)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            return answer(status, BROKEN)  # what broke in us may name our files
        later = {"Retry-After": str(RETRY_AFTER_SECONDS)} if isinstance(error, TooBusy | Interrupted) else None
        return answer(status, str(error), later)

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> JSONResponse:
        detail = str(error.detail)
        if detail == HTTPStatus(error.status_code).phrase:  # the router's own
            detail = _nowhere(request, allowed=(error.headers or {}).get("Allow"))
        return answer(HTTPStatus(error.status_code), detail, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def parameters(request: Request, error: RequestValidationError) -> JSONResponse:
        return answer(HTTPStatus.UNPROCESSABLE_ENTITY, sentence(list(error.errors())))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        # Nobody hears it, and nothing of ours failed.
        return answer(HTTPStatus.BAD_REQUEST, "the request broke off before its end")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return answer(HTTPStatus.INTERNAL_SERVER_ERROR, BROKEN)


def _nowhere(request: Request, *, allowed: str | None) -> str:
    place = f"{request.url.path[:120]!r}"
    return f"{place} takes {allowed}, not {request.method[:20]}" if allowed else f"there is nothing at {place}"
