"""Files on their way from the browser to the service: tus 1.0.0 (core, creation, termination), passed on part by part.

An upload of the page is the service's upload of the same id, and nothing is kept here: the page may be restarted in the middle.
A request holds one part in memory at most.
"""

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from client.client import AsyncImmersivaudioClient
from client.errors import ClientError, NotUnderstood, ServiceBusy, ServiceUnreachable

ROOT = "/studio/uploads"
VERSION = "1.0.0"
PART_BYTES = 8 * 2**20
PART_TYPE = "application/offset+octet-stream"
NAME_CHARACTERS = 255

AGAIN_SECONDS = 2
"""When to ask again for a service that is not there just now."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_ID = re.compile(r"[0-9a-f]{32}")
_SPOKEN = {"Tus-Resumable": VERSION, "Cache-Control": "no-store"}
_OUT_OF_STEP = (409, 460)
"""The part does not begin where the upload stands, or was damaged on its way to the service: both mend with the right offset."""

Handler = Callable[[Request], Awaitable[Response]]


class _Refused(Exception):
    """A request that the page itself refuses."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.headers = status, headers or {}


def upload_routes(client: Callable[[], AsyncImmersivaudioClient], allowed: Callable[[Request], bool]) -> list[Route]:
    """The routes. `client` is the page's client of the service; who is not `allowed` is answered with 401."""
    one = ROOT + "/{upload}"
    handlers = _Handlers(client)
    return [
        Route(ROOT, _guarded(handlers.create, allowed), methods=["POST"]),
        Route(one, _guarded(handlers.stands, allowed), methods=["HEAD"]),
        Route(one, _guarded(handlers.append, allowed), methods=["PATCH"]),
        Route(one, _guarded(handlers.delete, allowed), methods=["DELETE"]),
    ]


class _Handlers:
    def __init__(self, client: Callable[[], AsyncImmersivaudioClient]) -> None:
        self._client = client

    async def create(self, request: Request) -> Response:
        size, name = _number(request, "Upload-Length"), _file_name(request.headers.get("Upload-Metadata", ""))
        upload = await self._client().create_upload(size, name=name)
        return Response(status_code=HTTPStatus.CREATED, headers={"Location": f"{ROOT}/{upload}"})

    async def stands(self, request: Request) -> Response:
        offset, size = await self._client().upload_offset(_upload(request))
        return Response(headers={"Upload-Offset": str(offset), "Upload-Length": str(size)})

    async def append(self, request: Request) -> Response:
        upload, offset = _upload(request), _number(request, "Upload-Offset")
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != PART_TYPE:
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A part is sent as {PART_TYPE}.")
        try:
            new = await self._client().append_upload(upload, offset, await self._part(request, upload, offset))
        except ClientError as error:
            if error.status not in _OUT_OF_STEP:
                raise
            stands, _ = await self._client().upload_offset(upload)
            raise _Refused(HTTPStatus.CONFLICT, str(error), {"Upload-Offset": str(stands)}) from error
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Upload-Offset": str(new)})

    async def delete(self, request: Request) -> Response:
        await self._client().delete_upload(_upload(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _part(self, request: Request, upload: str, offset: int) -> bytes:
        """The request's body. What came before a connection broke goes to the service, so that the browser need not repeat it."""
        announced = request.headers.get("Content-Length", "")
        part = bytearray()
        if _NUMBER.fullmatch(announced) and int(announced) > PART_BYTES:
            raise _too_large()
        try:
            async for piece in request.stream():
                if len(part) + len(piece) > PART_BYTES:
                    raise _too_large()
                part += piece
        except ClientDisconnect:
            if part:
                with suppress(ClientError):
                    await self._client().append_upload(upload, offset, bytes(part))
            raise
        return bytes(part)


def _guarded(handler: Handler, allowed: Callable[[Request], bool]) -> Handler:
    """For our own page alone, signed in where that is asked for; with errors as problem details."""

    async def guarded(request: Request) -> Response:
        try:
            _check(request, allowed)
            answer = await handler(request)
        except _Refused as refused:
            answer = _problem(refused.status, str(refused), refused.headers)
        except ClientError as error:
            answer = _problem(_status(error), _sentence(error), _retry_after(error))
        except ClientDisconnect:
            answer = Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody is there to read it
        answer.headers.update(_SPOKEN)
        return answer

    return guarded


def _check(request: Request, allowed: Callable[[Request], bool]) -> None:
    # A page of another site may send neither of the two as it likes. Gradio grants its preflights to every origin, and its cookie
    # goes along: the header of our own is not enough.
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        raise _Refused(HTTPStatus.FORBIDDEN, "Files are taken from this page alone.")
    if request.headers.get("Tus-Resumable") != VERSION:
        raise _Refused(HTTPStatus.PRECONDITION_FAILED, f"Send Tus-Resumable: {VERSION}.", {"Tus-Version": VERSION})
    if not allowed(request):
        raise _Refused(HTTPStatus.UNAUTHORIZED, "You are not signed in any more. Reload the page, and sign in.")


def _status(error: ClientError) -> HTTPStatus:
    if isinstance(error, ServiceUnreachable):
        return HTTPStatus.SERVICE_UNAVAILABLE
    if isinstance(error, NotUnderstood) or error.status not in set(HTTPStatus):
        return HTTPStatus.BAD_GATEWAY
    if error.status == HTTPStatus.UNAUTHORIZED:  # the page's key of the service: signing in to the page would not help
        return HTTPStatus.FORBIDDEN
    return HTTPStatus(error.status)


def _retry_after(error: ClientError) -> dict[str, str]:
    if isinstance(error, ServiceUnreachable):
        return {"Retry-After": str(AGAIN_SECONDS)}
    if isinstance(error, ServiceBusy) and error.retry_after_seconds is not None:
        return {"Retry-After": f"{error.retry_after_seconds:.0f}"}
    return {}


def _sentence(error: ClientError) -> str:
    told = str(error)
    return told[:1].upper() + told[1:] + ("" if told.endswith((".", "!", "?")) else ".")


def _problem(status: HTTPStatus, detail: str, headers: Mapping[str, str]) -> Response:
    content = {"title": status.phrase, "status": status.value, "detail": detail}
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _upload(request: Request) -> str:
    upload = str(request.path_params["upload"])
    if not _ID.fullmatch(upload):
        raise _Refused(HTTPStatus.NOT_FOUND, "There is no such upload.")
    return upload


def _number(request: Request, header: str) -> int:
    told = request.headers.get(header, "")
    if not _NUMBER.fullmatch(told):
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{header} is a whole number of bytes.")
    return int(told)


def _file_name(metadata: str) -> str:
    """The `filename` among the metadata; another one where there is none."""
    found = re.search(r"(?:^|,)\s*filename ([A-Za-z0-9+/=]*)\s*(?:,|$)", metadata)
    try:
        name = base64.b64decode(found[1] if found else "", validate=True).decode(errors="replace")
        return name[:NAME_CHARACTERS] or "file"
    except binascii.Error as error:
        raise _Refused(HTTPStatus.BAD_REQUEST, "The file's name in Upload-Metadata is not base64.") from error


def _too_large() -> _Refused:
    return _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A part has at most {PART_BYTES} bytes.")
