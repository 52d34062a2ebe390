"""Resumable uploads as the client speaks them: tus 1.0.0, in parts, each with its checksum.

What breaks is taken up again where the service says that it stands. An upload that a caller abandons (Ctrl-C, a cancelled task) is
left to expire: telling the service would take a request more, just when somebody wants to leave.
"""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import httpx

from client.errors import ClientError, NotUnderstood, RequestRefused
from client.files import Rest
from client.flow import BROKEN, Flow, Requests, Retries, Work, segment

RESUMABLE_ABOVE = 32 * 2**20
"""Bytes. What is larger is sent in parts; what isn't, in one request together with the options."""

PART_BYTES = 8 * 2**20
"""What a broken connection costs at most, and what an upload holds in memory."""

OnUpload = Callable[[int, int], None]
"""Is told the bytes that have arrived, and how many there are."""

_GONE = (404, 410)
_OUT_OF_STEP = (408, 409, 460)
"""The part came too slowly, or not at the place where the upload stands, or damaged: asking for the offset and going on from
there mends each."""
_FULL = 507


class Uploads:
    """The flows of one upload. `requests` is what goes to the service."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def send(self, file: Rest, *, name: str, on_upload: OnUpload | None = None) -> Flow[str]:
        """The id of a complete upload of the file. One that vanishes on the way, expired or deleted, is begun anew once."""
        tell = on_upload or _nobody
        try:
            return (yield from self._once(file, name=name, tell=tell))
        except RequestRefused as error:
            if error.status not in _GONE:
                raise
        return (yield from self._once(file, name=name, tell=tell))

    def create(self, size: int, *, name: str) -> Flow[str]:
        """The id of a new upload, of which nothing has arrived."""
        metadata = "filename " + base64.b64encode((name or "file").encode(errors="replace")).decode()
        response = yield from self._open(
            "POST", "/v1/uploads", {"Upload-Length": str(size), "Upload-Metadata": metadata}
        )
        # Only the id is taken: a service behind a proxy may not know the address at which it is reached.
        found = re.search(r"/([0-9a-f]{32})/?$", response.headers.get("Location", ""))
        if not found:
            raise NotUnderstood("the service took an upload and doesn't say where it is")
        return found[1]

    def stands(self, upload: str) -> Flow[tuple[int, int]]:
        """The bytes that have arrived, and the bytes there are."""
        try:
            response = yield from self._open("HEAD", _path(upload))
        except RequestRefused as error:
            if error.status not in _GONE:
                raise
            # An answer to HEAD has no body, and so no sentence.
            gone = RequestRefused(f"there is no upload {upload}, or not any more")
            gone.status = error.status
            raise gone from error
        told = response.headers.get("Upload-Length", "")
        if not re.fullmatch(r"\d{1,19}", told):
            raise NotUnderstood(f"the service says that upload {upload} has {told or 'nothing'!r} bytes")
        return _told_offset(response, int(told)), int(told)

    def append(self, upload: str, offset: int, data: bytes) -> Flow[int]:
        """Send these bytes, which belong at this offset; the new offset. One request, which is not tried again."""
        part, checksum = yield Work(partial(_checked, data))
        return (yield from self._send(upload, offset, part, checksum))

    def delete(self, upload: str) -> Flow[None]:
        """Delete an upload."""
        yield from self._open("DELETE", _path(upload))

    def discard(self, upload: str) -> Flow[None]:
        """Delete an upload that nobody will use; if that fails, it expires."""
        with suppress(ClientError):
            yield from self.delete(upload)

    def _once(self, file: Rest, *, name: str, tell: OnUpload) -> Flow[str]:
        upload = yield from self.create(file.size, name=name)
        tell(0, file.size)
        retries = Retries()
        offset: int | None = 0
        while offset != file.size:
            try:
                if offset is None:
                    offset = yield from self._offset(upload, file.size)
                else:
                    offset = yield from self._next_part(upload, file, offset)
                    retries.succeeded()
                tell(offset, file.size)
            except (*BROKEN, RequestRefused) as error:
                if not _mends(error):
                    raise
                offset = None
                yield retries.pause(error)
        return upload

    def _offset(self, upload: str, size: int) -> Flow[int]:
        """How much of the upload has arrived."""
        return _told_offset((yield from self._open("HEAD", _path(upload))), size)

    def _next_part(self, upload: str, file: Rest, offset: int) -> Flow[int]:
        """Send what follows the offset; the new offset."""
        part, checksum = yield Work(lambda: _checked(file.at(offset, min(PART_BYTES, file.size - offset))))
        return (yield from self._send(upload, offset, part, checksum))

    def _send(self, upload: str, offset: int, part: "_Body", checksum: str) -> Flow[int]:
        """Send a part; the new offset."""
        end = offset + part.size
        headers = {
            "Upload-Offset": str(offset),
            "Upload-Checksum": checksum,
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(part.size),
        }
        try:
            response = yield from self._open("PATCH", _path(upload), headers, stream=part)
        finally:
            part.forget()
        new = _told_offset(response, end)
        if new != end:
            raise NotUnderstood(f"the upload stands at byte {new} after a part that ends at {end}")
        return new

    def _open(
        self, method: str, path: str, headers: dict[str, str] | None = None, **request: Any
    ) -> Flow[httpx.Response]:
        headers = {"Tus-Resumable": "1.0.0"} | (headers or {})
        return (yield from self._requests.open(path, method=method, headers=headers, **request))


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A part on its way, in pieces: a time limit holds for each of them, and a slow line may take minutes for the whole part."""

    PIECE_BYTES = 2**16

    def __init__(self, part: bytes) -> None:
        self._part = memoryview(part)
        self.size = len(part)

    def forget(self) -> None:
        """Give the memory back. An answer holds its request, in a circle that the garbage collector comes upon much later."""
        self._part = memoryview(b"")

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._part), self.PIECE_BYTES):
            yield bytes(self._part[start : start + self.PIECE_BYTES])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


def _path(upload: str) -> str:
    return f"/v1/uploads/{segment(upload)}"


def _checked(part: bytes) -> tuple[_Body, str]:
    """The bytes as they are sent, and their checksum as tus writes it."""
    digest = hashlib.md5(part, usedforsecurity=False).digest()
    return _Body(part), f"md5 {base64.b64encode(digest).decode()}"


def _told_offset(response: httpx.Response, size: int) -> int:
    told = response.headers.get("Upload-Offset", "")
    if not re.fullmatch(r"\d{1,19}", told) or int(told) > size:
        raise NotUnderstood(f"the service says that {told or 'nothing'!r} of {size} bytes have arrived")
    return int(told)


def _mends(error: Exception) -> bool:
    """Whether asking for the offset and going on from there may help."""
    if isinstance(error, RequestRefused):
        return error.status in _OUT_OF_STEP
    return not isinstance(error, NotUnderstood) and getattr(error, "status", None) != _FULL


def _nobody(sent: int, total: int) -> None:
    """Nobody wants to know."""
