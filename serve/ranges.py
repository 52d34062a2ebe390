"""Files over HTTP: `Range`, entity tags and media types (RFC 9110), for objects in any store."""

import re
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus
from pathlib import PurePosixPath

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from serve.store import Blob

MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".mkv": "video/x-matroska",
    ".webm": "video/webm",
    ".avi": "video/x-msvideo",
    ".ts": "video/mp2t",
    ".mpg": "video/mpeg",
    ".flv": "video/x-flv",
    ".wmv": "video/x-ms-wmv",
    ".txt": "text/plain; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".ogg": "audio/ogg",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
    ".gif": "image/gif",
    ".apng": "image/apng",
    ".avif": "image/avif",
    ".3gp": "video/3gpp",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
}


def artifact_response(request: Request, blob: Blob, read: Callable[[int, int], AsyncIterator[bytes]]) -> Response:
    """The object, or the part of it that `Range` asks for. `read(start, end)` gives its bytes."""
    name = PurePosixPath(blob.key)
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": blob.etag,
        "Cache-Control": "private, max-age=31536000, immutable",  # a key's bytes do not change
        "Content-Disposition": f'inline; filename="{name.name}"',
        "X-Content-Type-Options": "nosniff",
    }
    if {blob.etag, "*"} & _tags(request.headers.get("if-none-match", "")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    status, start, end = HTTPStatus.OK, 0, blob.size
    asked = request.headers.get("range") if request.method == "GET" else None
    if asked and request.headers.get("if-range", blob.etag) == blob.etag and (part := _part(asked, blob.size)):
        status, (start, end) = HTTPStatus.PARTIAL_CONTENT, part
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    headers["Content-Length"] = str(end - start)
    media_type = MEDIA_TYPES.get(name.suffix, "application/octet-stream")
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(read(start, end), status, headers, media_type)


def _tags(header: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """(start, end) of a single byte range; None for what a server may ignore: other units, several ranges, bad syntax.

    Raises a 416 for a range that begins behind the end.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    start, end = (int(first), min(int(last or size), size - 1) + 1) if first else (max(0, size - int(last)), size)
    if first and last and int(last) < start:
        return None
    if start >= size or (not first and int(last) == 0):
        headers = {"Content-Range": f"bytes */{size}"}
        raise HTTPException(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes", headers)
    return start, end
