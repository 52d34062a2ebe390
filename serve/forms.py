"""A submission as a form: the file, its token, the options. The MD5 of the file is computed as it comes in."""

import errno
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, BinaryIO, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message, Receive

from models.errors import InputTooLarge, InvalidInput, InvalidOptions, StorageFull
from models.record import Options

M = TypeVar("M", bound=BaseModel)

# A form's boundaries, headers and options come on top of the file.
FORM_BYTES = 64 * 1024
LENGTH_DIGITS = 18  # no file has more bytes, and Python refuses to read numbers of thousands of digits


@dataclass(frozen=True)
class Submission:
    """A file that came in with one request."""

    file: BinaryIO
    size: int
    name: str
    token: str
    """MD5 of its bytes, as 32 hexadecimal digits."""
    options: Options


class _HashingParser(MultiPartParser):
    """Also computes the MD5 of the files' bytes; there is one file at most."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.md5 = hashlib.md5(usedforsecurity=False)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        super().on_part_data(data, start, end)
        if self._current_part.file is not None:
            self.md5.update(memoryview(data)[start:end])

    def close(self) -> None:
        """Let go of what was spooled to disk, also of a file in whose middle the form broke off: that is no part of the form."""
        for file in self._files_to_close_on_error:
            file.close()


@asynccontextmanager
async def submission(request: Request, *, upload_bytes: int) -> AsyncIterator[Submission]:
    """The submission of a multipart request; what was spooled to disk is gone afterwards. Raises InvalidInput."""
    limit = upload_bytes + FORM_BYTES
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and (len(length) > LENGTH_DIGITS or int(length) > limit):
        raise _too_large(upload_bytes)
    counted = Request(request.scope, at_most(request.receive, limit, _too_large(upload_bytes)))
    parser = _HashingParser(request.headers, counted.stream(), max_files=1, max_fields=1, max_part_size=FORM_BYTES)
    try:
        form = await _parsed(parser)
        if unknown := sorted(set(form) - {"file", "options"}):
            raise InvalidInput(f"unknown part {unknown[0][:80]!r}: a submission has `file` and `options` (JSON)")
        file, options = form.get("file"), form.get("options", "{}")
        if not isinstance(file, UploadFile):
            raise InvalidInput("there is no file: send it as the part `file`, with a file name")
        if not isinstance(options, str):
            raise InvalidOptions("`options` is JSON text, not a file")
        if (file.size or 0) > upload_bytes:
            raise _too_large(upload_bytes)
        wanted = parsed_json(Options, options.encode() or b"{}", what="options")
        yield Submission(file.file, file.size or 0, file.filename or "", parser.md5.hexdigest(), wanted)
    finally:
        parser.close()


async def _parsed(parser: _HashingParser) -> Any:
    try:
        async with aclosing(parser.stream):
            return await parser.parse()
    except MultiPartException as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, error.message) from error
    except (ValueError, LookupError) as error:  # a boundary or charset that is none
        raise InvalidInput("the form cannot be read: its content type names no usable boundary or charset") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull("there is no space left for what is sent") from error


async def json_body(kind: type[M], request: Request, *, largest: int = FORM_BYTES) -> M:
    """The request's JSON as this type. Raises InvalidOptions, and InputTooLarge for more than `largest` bytes."""
    fault = InputTooLarge(f"the body is larger than the {largest} bytes that are taken here")
    counted = Request(request.scope, at_most(request.receive, largest, fault))
    return parsed_json(kind, await counted.body() or b"{}")


def parsed_json(kind: type[M], text: bytes, *, what: str = "") -> M:
    """The text as this type. Raises InvalidOptions, which names what is wrong."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise InvalidOptions(f"{what}{': ' if what else ''}{sentence(error.errors())}") from error


def sentence(faults: list[Any]) -> str:
    """What pydantic found wrong, in words."""
    told = []
    for fault in faults[:5]:
        place = ".".join(str(part) for part in fault["loc"])
        given = (
            ""
            if fault["type"] in ("missing", "json_invalid")
            else f", not {json.dumps(fault['input'], default=str)[:80]}"
        )
        told.append(f"{place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}{given}")
    return "; ".join(told)


def at_most(receive: Receive, limit: int, fault: Exception) -> Receive:
    """`receive`, which raises `fault` when more than `limit` bytes come in."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise fault
        return message

    return counted


def _too_large(upload_bytes: int) -> InputTooLarge:
    return InputTooLarge(
        f"the file is larger than the {upload_bytes / 2**20:g} MiB that are taken in one request; "
        "larger ones go to /v1/uploads, in parts"
    )
