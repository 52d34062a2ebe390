"""Resumable uploads over HTTP: tus 1.0.0 with creation, checksum, expiration and termination."""

import base64
import binascii
import re
from email.utils import formatdate
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Header, Path, Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import InputTooLarge
from models.record import Problem
from serve import examples_uploads as given
from serve.access import key_of
from serve.checksums import ALGORITHMS, Checksum, ChecksumMismatch
from serve.problems import problem
from serve.settings import UploadSettings
from serve.upload_state import Expired, Upload
from serve.uploads import Uploads

VERSION = "1.0.0"
ROOT = "/v1/uploads"
PART_TYPE = "application/offset+octet-stream"
CHECKSUM_MISMATCH = 460
METADATA_CHARACTERS = 4096
NAME_CHARACTERS = 255

_NUMBER = re.compile(r"[0-9]{1,18}")
_METADATA_KEY = re.compile(r"[!-+\--~]+")

UploadId = Annotated[str, Path(examples=[given.UPLOAD_ID])]
# They are read as text, so that what is wrong with one is said in 400s: these parameters describe them.
Length = Annotated[str | None, Header(alias="Upload-Length", description="Bytes of the file.", examples=["2345678"])]
Metadata = Annotated[
    str | None,
    Header(
        alias="Upload-Metadata",
        description="Names and base64 values. `filename` is used.",
        examples=[given.METADATA],
    ),
]
Offset = Annotated[
    str | None, Header(alias="Upload-Offset", description="Where the upload stands.", examples=["1048576"])
]
Sum = Annotated[
    str | None,
    Header(
        alias="Upload-Checksum",
        description=f"One of {', '.join(ALGORITHMS)}, and the part's digest in base64.",
        examples=[given.CHECKSUM],
    ),
]


def add_uploads(app: FastAPI, uploads: Uploads, settings: UploadSettings) -> None:
    """Add everything under `/v1/uploads`. The caller's API key is `request.state.key`, if there is one."""
    app.add_middleware(TusProtocol)
    _add_creation(app, uploads, settings)
    _add_parts(app, uploads, settings)


def _add_creation(app: FastAPI, uploads: Uploads, settings: UploadSettings) -> None:
    @app.options(
        ROOT,
        status_code=HTTPStatus.NO_CONTENT,
        responses={204: given.empty("What is understood.", tus_version=VERSION, tus_max_size=str(settings.max_bytes))},
        summary="What uploads may be like",
    )
    async def capabilities() -> Response:
        headers = {
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,checksum,expiration,termination",
            "Tus-Max-Size": str(settings.max_bytes),
            "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
        }
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    @app.post(
        ROOT,
        status_code=HTTPStatus.CREATED,
        response_class=Response,
        responses={
            201: given.empty(
                "`Location` says where to send the parts.",
                location=f"{ROOT}/{given.UPLOAD_ID}",
                upload_expires=given.EXPIRES,
            ),
            **given.problems(400, 413, 507),
        },
        summary="Begin an upload of a file of any size up to the limit",
    )
    async def create(request: Request, upload_length: Length = None, upload_metadata: Metadata = None) -> Response:
        length = _number("Upload-Length", upload_length)
        if length == 0:
            raise _bad("Upload-Length is 0: an empty file is no video and no image")
        name = _file_name(upload_metadata)
        upload = await uploads.create(length, name=name, metadata=upload_metadata or None, key=key_of(request))
        headers = {"Location": f"{ROOT}/{upload.id}"} | _expires(uploads, upload)
        return Response(status_code=HTTPStatus.CREATED, headers=headers)


def _add_parts(app: FastAPI, uploads: Uploads, settings: UploadSettings) -> None:
    one = ROOT + "/{upload_id}"

    @app.head(
        one,
        response_class=Response,
        responses={
            200: given.empty("Where it stands.", upload_offset="1048576", upload_length="2345678"),
            **given.problems(404, 410),
        },
        summary="How much of an upload has come in",
    )
    async def stands(request: Request, upload_id: UploadId) -> Response:
        upload = await _known(uploads, upload_id, request)
        headers = {
            "Upload-Offset": str(upload.offset),
            "Upload-Length": str(upload.info.length),
            "Cache-Control": "no-store",
        } | _expires(uploads, upload)
        if upload.info.metadata:
            headers["Upload-Metadata"] = upload.info.metadata
        return Response(headers=headers)

    @app.patch(
        one,
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses={
            204: given.empty("The part is kept.", upload_offset="2345678", upload_expires=given.EXPIRES),
            **given.problems(400, 404, 409, 410, 413, 415, 460, 507),
        },
        openapi_extra=given.PART,
        summary="Send the next part",
    )
    async def append(
        request: Request, upload_id: UploadId, upload_offset: Offset = None, upload_checksum: Sum = None
    ) -> Response:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind != PART_TYPE:
            raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a part is sent as {PART_TYPE}")
        offset, checksum = _number("Upload-Offset", upload_offset), _checksum(upload_checksum)
        announced = request.headers.get("content-length", "")
        if _NUMBER.fullmatch(announced) and int(announced) > settings.part_bytes:
            raise InputTooLarge(f"a part has at most {settings.part_bytes} bytes")
        await _known(uploads, upload_id, request)
        try:
            upload = await uploads.append(
                upload_id, request.stream(), offset=offset, checksum=checksum, key=key_of(request)
            )
        except ChecksumMismatch as error:
            return _checksum_mismatch(str(error))
        headers = {"Upload-Offset": str(upload.offset)} | _expires(uploads, upload)
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    @app.delete(
        one,
        status_code=HTTPStatus.NO_CONTENT,
        response_class=Response,
        responses={204: given.empty("It is gone."), **given.problems(404, 410)},
        summary="Delete an upload",
    )
    async def delete(request: Request, upload_id: UploadId) -> Response:
        await _known(uploads, upload_id, request)
        await uploads.delete(upload_id, key_of(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)


class TusProtocol:
    """Says with every answer which version of tus is spoken, and refuses others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (scope["path"] == ROOT or scope["path"].startswith(ROOT + "/")):
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Tus-Resumable"] = VERSION
            await send(message)

        spoken = Headers(scope=scope).get("tus-resumable")
        if scope["method"] != "OPTIONS" and spoken != VERSION:
            refusal = _problem(
                problem(HTTPStatus.PRECONDITION_FAILED, f"send Tus-Resumable: {VERSION}"), {"Tus-Version": VERSION}
            )
            await refusal(scope, receive, answer)
        else:
            await self._app(scope, receive, answer)


async def _known(uploads: Uploads, upload_id: str, request: Request) -> Upload:
    try:
        return await uploads.find(upload_id, key_of(request))
    except Expired as error:
        raise HTTPException(HTTPStatus.GONE, str(error)) from error


def _expires(uploads: Uploads, upload: Upload) -> dict[str, str]:
    return {"Upload-Expires": formatdate(uploads.expires_at(upload), usegmt=True)}


def _number(name: str, text: str | None) -> int:
    if text is None or not _NUMBER.fullmatch(text):
        raise _bad(
            f"{name} is a whole number of bytes, up to 18 digits, not {'missing' if text is None else text[:40]!r}"
        )
    return int(text)


def _checksum(text: str | None) -> Checksum | None:
    if text is None:
        return None
    algorithm, _, digest = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise _bad(f"Upload-Checksum is made with {', '.join(ALGORITHMS)}, not with {algorithm[:40]!r}")
    decoded = _decoded("Upload-Checksum", digest)
    if len(decoded) != ALGORITHMS[algorithm]:
        raise _bad(f"Upload-Checksum: {algorithm} has {ALGORITHMS[algorithm]} bytes, not {len(decoded)}")
    return Checksum(algorithm, decoded)


def _file_name(metadata: str | None) -> str:
    """The `filename` among the metadata; "" where there is none."""
    if not metadata:
        return ""
    if len(metadata) > METADATA_CHARACTERS:
        raise _bad(f"Upload-Metadata has at most {METADATA_CHARACTERS} characters")
    found: dict[str, bytes] = {}
    for pair in metadata.split(","):
        name, _, value = pair.strip().partition(" ")
        if not _METADATA_KEY.fullmatch(name) or name in found:
            raise _bad("Upload-Metadata is a list of different names, each with a base64 value, separated by commas")
        found[name] = _decoded("Upload-Metadata", value)
    return found.get("filename", b"").decode(errors="replace")[:NAME_CHARACTERS]


def _decoded(header: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad(f"{header}: {text[:40]!r} is not base64") from error


def _bad(detail: str) -> HTTPException:
    return HTTPException(HTTPStatus.BAD_REQUEST, detail)


def _checksum_mismatch(detail: str) -> JSONResponse:
    return _problem(Problem(title="Checksum Mismatch", status=CHECKSUM_MISMATCH, detail=detail))


def _problem(told: Problem, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(told.model_dump(), told.status, headers, "application/problem+json")
