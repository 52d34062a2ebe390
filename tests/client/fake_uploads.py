"""The stand-in's resumable uploads: tus 1.0.0 as the service speaks it, with scripted breakages."""

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from uvicorn.protocols.http.h11_impl import H11Protocol

Breakage = Literal["fine", "cut", "answer lost", "silent", "moved", "damaged", "vanished", "down", "full"]
"""What becomes of a part: the connection breaks within it, or before the answer; no answer comes; it lies about the offset or
the checksum; the upload is gone; 503; 507."""


@dataclass
class Upload:
    name: str
    size: int
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Tus:
    """What the uploads are told to do, and what they saw."""

    breakages: list[Breakage] = field(default_factory=list)
    """What becomes of each of the next parts."""
    refuse_creation: tuple[int, str] | None = None
    uploads: dict[str, Upload] = field(default_factory=dict)
    created: list[Upload] = field(default_factory=list)
    parts: list[tuple[int, int]] = field(default_factory=list)
    """Offset and size of every part that was kept."""
    silent_seconds: float = 1.0
    gone_when_asked: bool = False
    """All uploads have expired when one is asked for its offset."""

    async def create(self, request: Request) -> Response:
        if self.refuse_creation:
            return problem(*self.refuse_creation)
        key, _, value = request.headers["upload-metadata"].partition(" ")
        assert key == "filename"
        upload = Upload(base64.b64decode(value).decode(), int(request.headers["upload-length"]))
        new = secrets.token_hex(16)
        self.uploads[new] = upload
        self.created.append(upload)
        return Response(status_code=201, headers={"Location": f"/v1/uploads/{new}"})

    async def head(self, upload_id: str) -> Response:
        if self.gone_when_asked:
            self.uploads.clear()
            self.gone_when_asked = False
        if not (upload := self.uploads.get(upload_id)):
            return problem(404, f"there is no upload {upload_id}")
        told = {
            "Upload-Offset": str(len(upload.content)),
            "Upload-Length": str(upload.size),
            "Cache-Control": "no-store",
        }
        return Response(status_code=200, headers=told)

    async def patch(self, upload_id: str, request: Request) -> Response:
        breakage = self.breakages.pop(0) if self.breakages else "fine"
        if breakage == "vanished":
            self.uploads.clear()
        if not (upload := self.uploads.get(upload_id)):
            return problem(410, f"upload {upload_id} has expired")
        if breakage == "cut":
            await anext(request.stream())
            return cut(request)
        part = await request.body()
        if refusal := await self._refusal(breakage, upload, request, part):
            return refusal
        self.parts.append((len(upload.content), len(part)))
        upload.content += part
        if breakage == "answer lost":
            return cut(request)
        return Response(status_code=204, headers={"Upload-Offset": str(len(upload.content))})

    async def _refusal(self, breakage: Breakage, upload: Upload, request: Request, part: bytes) -> Response | None:
        assert request.headers["content-type"] == "application/offset+octet-stream"
        assert int(request.headers["content-length"]) == len(part)
        algorithm, _, checksum = request.headers["upload-checksum"].partition(" ")
        assert algorithm == "md5"
        match breakage:
            case "silent":
                await asyncio.sleep(self.silent_seconds)
                return cut(request)
            case "down":
                return problem(503, "a replica is restarting")
            case "full":
                return problem(507, "the disk has no room for this upload")
        if breakage == "moved" or int(request.headers["upload-offset"]) != len(upload.content):
            return problem(409, f"the upload stands at byte {len(upload.content)}")
        assert len(part) <= upload.size - len(upload.content)
        if breakage == "damaged" or base64.b64decode(checksum) != hashlib.md5(part).digest():
            return problem(460, "Checksum Mismatch")
        return None

    async def delete(self, upload_id: str) -> Response:
        if self.uploads.pop(upload_id, None):
            return Response(status_code=204)
        return problem(404, f"there is no upload {upload_id}")


class Protocol(H11Protocol):
    """Remembers connections, so that one can be broken in the middle of a request."""

    by_peer: ClassVar[dict[tuple[str, int], asyncio.Transport]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.by_peer[transport.get_extra_info("peername")] = transport


def cut(request: Request) -> Response:
    assert request.client
    Protocol.by_peer[request.client.host, request.client.port].abort()
    return Response()


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    content = {"type": "about:blank", "title": "No", "status": status, "detail": detail, "limit": "an extension"}
    return JSONResponse(content, status_code=status, media_type="application/problem+json", headers=headers)


def add_uploads(app: FastAPI, tus: Callable[[], Tus]) -> None:
    """The routes. Whatever doesn't speak tus 1.0.0 is refused."""

    async def guarded(request: Request) -> Response:
        if request.headers.get("tus-resumable") != "1.0.0":
            return problem(412, "this is tus 1.0.0", {"Tus-Version": "1.0.0"})
        upload = request.path_params.get("upload_id", "")
        match request.method:
            case "POST":
                answer = await tus().create(request)
            case "HEAD":
                answer = await tus().head(upload)
            case "PATCH":
                answer = await tus().patch(upload, request)
            case _:
                answer = await tus().delete(upload)
        answer.headers["Tus-Resumable"] = "1.0.0"
        return answer

    app.add_route("/v1/uploads", guarded, methods=["POST"])
    app.add_route("/v1/uploads/{upload_id}", guarded, methods=["HEAD", "PATCH", "DELETE"])
