"""Files on their way from the browser to the service: tus 1.0.0 (core, creation, termination), passed on part by part.

An upload of the page is the service's upload of the same id, and nothing of it is kept here: the page may be restarted in the
middle. A request holds one part in memory at most.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from client.client import AsyncImmersivaudioClient
from client.errors import ClientError, RequestRefused
from client.page.answers import Allowed, Handler, Refused, guarded
from client.page.unfinished import Unfinished
from client.page.words import trouble

ROOT = "/studio/uploads"
VERSION = "1.0.0"
PART_BYTES = 8 * 2**20
PART_TYPE = "application/offset+octet-stream"
NAME_CHARACTERS = 255

_TUS = "Tus-Resumable"
_NUMBER = re.compile(r"[0-9]{1,18}")
_ID = re.compile(r"[0-9a-f]{32}")
_SPOKEN = {_TUS: VERSION, "Cache-Control": "no-store"}
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_OUT_OF_STEP = (409, 460)
"""The part does not begin where the upload stands, or was damaged on its way to the service: both mend with the right offset."""


def upload_routes(client: Callable[[], AsyncImmersivaudioClient], allowed: Allowed) -> list[Route]:
    """The routes. `client` is the page's client of the service; who is not `allowed` is answered with 401.

    One address may have `unfinished.MOST` uploads that have not come to their end; more are refused with 429.
    """
    one = ROOT + "/{upload}"
    handlers = _Handlers(client)
    return [
        Route(ROOT, _spoken(handlers.create, allowed), methods=["POST"]),
        Route(one, _spoken(handlers.stands, allowed), methods=["HEAD"]),
        Route(one, _spoken(handlers.append, allowed), methods=["PATCH"]),
        Route(one, _spoken(handlers.delete, allowed), methods=["DELETE"]),
    ]


class _Handlers:
    def __init__(self, client: Callable[[], AsyncImmersivaudioClient]) -> None:
        self._client = client
        self._unfinished = Unfinished()

    async def create(self, request: Request) -> Response:
        size, name = _number(request, "Upload-Length"), _file_name(request.headers.get("Upload-Metadata", ""))
        address = request.client.host if request.client else ""
        with self._unfinished.room(address):
            upload = await self._client().create_upload(size, name=name)
            self._unfinished.began(upload, address=address, size=size)
        return Response(status_code=HTTPStatus.CREATED, headers={"Location": f"{ROOT}/{upload}"})

    async def stands(self, request: Request) -> Response:
        upload = _upload(request)
        with self._counted(upload):
            offset, size = await self._client().upload_offset(upload)
        self._unfinished.stands(upload, offset)
        return Response(headers={"Upload-Offset": str(offset), "Upload-Length": str(size)})

    async def append(self, request: Request) -> Response:
        upload, offset = _upload(request), _number(request, "Upload-Offset")
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != PART_TYPE:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"A part is sent as {PART_TYPE}.")
        part = await self._part(request, upload, offset)
        try:
            with self._counted(upload):
                new = await self._client().append_upload(upload, offset, part)
        except ClientError as error:
            if error.status not in _OUT_OF_STEP:
                raise
            stands, _ = await self._client().upload_offset(upload)
            self._unfinished.stands(upload, stands)
            sentence = trouble(error).sentence
            raise Refused(HTTPStatus.CONFLICT, sentence, {"Upload-Offset": str(stands)}) from error
        self._unfinished.stands(upload, new)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Upload-Offset": str(new)})

    async def delete(self, request: Request) -> Response:
        upload = _upload(request)
        with self._counted(upload):
            await self._client().delete_upload(upload)
        self._unfinished.gone(upload)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @contextmanager
    def _counted(self, upload: str) -> Iterator[None]:
        """An upload that the service knows no more counts no more."""
        try:
            yield
        except RequestRefused as error:
            if error.status in _GONE:
                self._unfinished.gone(upload)
            raise

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


def _spoken(handler: Handler, allowed: Allowed) -> Handler:
    """The handler for those who speak this version of tus."""

    async def heard(request: Request) -> Response:
        if request.headers.get(_TUS) != VERSION:
            raise Refused(HTTPStatus.PRECONDITION_FAILED, f"Send {_TUS}: {VERSION}.", {"Tus-Version": VERSION})
        return await handler(request)

    # No form of another site can send that header.
    guard = guarded(heard, allowed, needs=_TUS)

    async def spoken(request: Request) -> Response:
        answer = await guard(request)
        answer.headers.update(_SPOKEN)
        return answer

    return spoken


def _upload(request: Request) -> str:
    upload = str(request.path_params["upload"])
    if not _ID.fullmatch(upload):
        raise Refused(HTTPStatus.NOT_FOUND, "There is no such upload.")
    return upload


def _number(request: Request, header: str) -> int:
    told = request.headers.get(header, "")
    if not _NUMBER.fullmatch(told):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{header} is a whole number of bytes.")
    return int(told)


def _file_name(metadata: str) -> str:
    """The `filename` among the metadata; another one where there is none."""
    found = re.search(r"(?:^|,)\s*filename ([A-Za-z0-9+/=]*)\s*(?:,|$)", metadata)
    try:
        name = base64.b64decode(found[1] if found else "", validate=True).decode(errors="replace")
        return name[:NAME_CHARACTERS] or "file"
    except binascii.Error as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "The file's name in Upload-Metadata is not base64.") from error


def _too_large() -> Refused:
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A part has at most {PART_BYTES} bytes.")
