"""A submission as a form: the file, the options, a sound to sound like. The files' MD5s are computed as they come in."""

import errno
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar, get_args

from fastapi import Request
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import Message, Receive

from models.errors import InputTooLarge, InvalidInput, InvalidOptions, StorageFull
from models.record import REFERENCE_BYTES, Options, TextRun, UploadedRun
from serve.sources import Incoming, reference_too_large

M = TypeVar("M", bound=BaseModel)

# A form's boundaries, headers and options come on top of the files.
FORM_BYTES = 64 * 1024
LENGTH_DIGITS = 18  # no file has more bytes, and Python refuses to read numbers of thousands of digits


@dataclass(frozen=True)
class Submission:
    """What came in with one request."""

    file: Incoming
    options: Options
    reference: Incoming | None


class _FileParser(MultiPartParser):
    """Also computes the MD5 of every file's bytes, and takes no file that is unknown, there twice, or larger than it may be."""

    def __init__(
        self, headers: Headers, stream: AsyncGenerator[bytes], faults: Mapping[str, tuple[int, InputTooLarge]]
    ) -> None:
        """`faults`: by the names of the files, the most bytes, and what is raised beyond."""
        self._names = {*faults, "options"}
        most = len(self._names)  # one more is there twice, or unknown, which is said below
        super().__init__(headers, stream, max_files=most, max_fields=most, max_part_size=FORM_BYTES)
        self._faults = faults
        self._sizes: dict[str, int] = {}
        self._sums = {name: hashlib.md5(usedforsecurity=False) for name in faults}

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        name = self._current_part.field_name
        if name not in self._names:
            raise _unknown(name)
        if name in self._sizes:
            raise InvalidInput(f"there are several parts {name!r}: a submission has one")
        self._sizes[name] = 0
        is_file = self._current_part.file is not None
        if is_file and name == "options":
            raise InvalidOptions("`options` is JSON text, not a file")
        if not is_file and name != "options":
            raise InvalidInput(f"`{name}` is a file: send it with a file name")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        super().on_part_data(data, start, end)
        if self._current_part.file is not None:
            name = self._current_part.field_name
            most, fault = self._faults[name]
            self._sizes[name] += end - start
            if self._sizes[name] > most:
                raise fault
            self._sums[name].update(memoryview(data)[start:end])

    def file(self, form: FormData, name: str) -> Incoming | None:
        """The file of this name, if there is one."""
        sent = form.get(name)
        return (
            Incoming(sent.file, sent.filename or "", self._sums[name].hexdigest())
            if isinstance(sent, UploadFile)
            else None
        )

    def close(self) -> None:
        """Let go of what was spooled to disk, also of a file in whose middle the form broke off: that is no part of the form."""
        for file in self._files_to_close_on_error:
            file.close()


@asynccontextmanager
async def submission(request: Request, *, upload_bytes: int) -> AsyncIterator[Submission]:
    """The submission of a multipart request; what was spooled to disk is gone afterwards. Raises InvalidInput."""
    limit = upload_bytes + REFERENCE_BYTES + FORM_BYTES
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and (len(length) > LENGTH_DIGITS or int(length) > limit):
        raise _too_large(upload_bytes)
    counted = Request(request.scope, at_most(request.receive, limit, _too_large(upload_bytes)))
    faults = {"file": (upload_bytes, _too_large(upload_bytes)), "reference": (REFERENCE_BYTES, reference_too_large())}
    parser = _FileParser(request.headers, counted.stream(), faults)
    try:
        form = await _parsed(parser)
        file, reference = parser.file(form, "file"), parser.file(form, "reference")
        if file is None:
            raise InvalidInput("there is no file: send it as the part `file`, with a file name")
        options = str(form.get("options", "{}"))
        wanted = parsed_json(Options, options.encode() or b"{}", what="options")
        yield Submission(file, wanted, reference)
    finally:
        parser.close()


async def _parsed(parser: _FileParser) -> FormData:
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


async def run_body(request: Request) -> UploadedRun | TextRun:
    """The request's JSON: a run of an upload, or of words alone. Raises InvalidOptions."""
    fault = InputTooLarge(f"the body is larger than the {FORM_BYTES} bytes that are taken here")
    body = await Request(request.scope, at_most(request.receive, FORM_BYTES, fault)).body() or b"{}"
    try:
        given = from_json(body)
    except ValueError:
        given = None  # what is wrong with it is said below
    if not isinstance(given, dict):
        return parsed_json(UploadedRun, body)
    if ("upload" in given) == ("text" in given):
        raise InvalidOptions(_neither_or_both(given))
    return parsed_json(TextRun, body) if "text" in given else parsed_json(UploadedRun, body)


def _neither_or_both(given: dict[str, object]) -> str:
    of_upload, of_words = (", ".join(kind.model_fields) for kind in (UploadedRun, TextRun))
    unknown = next((name for name in given if name not in {*UploadedRun.model_fields, *TextRun.model_fields}), None)
    if unknown is not None:
        return f"there is no field {unknown[:80]}; there are {of_upload}; or {of_words}"
    return "give either `upload`, the id of an upload that is complete, or `text`, words to make a sound of"


def parsed_json(kind: type[M], text: bytes, *, what: str = "") -> M:
    """The text as this type. Raises InvalidOptions, which names what is wrong."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise InvalidOptions(f"{what}{': ' if what else ''}{sentence(error.errors(), kind)}") from error


def sentence(faults: list[Any], kind: type[BaseModel] | None = None) -> str:
    """What pydantic found wrong, in words. `kind`: what the whole was to be."""
    return "; ".join(_told(fault, kind) for fault in faults[:5])


def _told(fault: Any, kind: type[BaseModel] | None) -> str:
    *above, last = fault["loc"] or [""]
    place = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden" and (holder := _model_at(kind, above)):
        thing = f"option {str(last)[:80]}" if holder is Options else f"field {place[:80]}"
        return f"there is no {thing}; there are {', '.join(holder.model_fields)}"
    # Of several fields that do not go together, the sentence says which.
    whole = fault["type"] in ("missing", "json_invalid", "value_error")
    given = "" if whole else f", not {json.dumps(fault['input'], default=str)[:80]}"
    return f"{place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}{given}"


def _model_at(kind: type[BaseModel] | None, place: Sequence[str | int]) -> type[BaseModel] | None:
    """The class of what stands at this place; None where it isn't known."""
    for part in place:
        if kind and isinstance(part, str):
            field = kind.model_fields.get(part)
            kind = _model_in(field.annotation) if field else None
    return kind


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Of `tuple[Stem, ...] | None` it is Stem."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


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


def _unknown(name: str) -> InvalidInput:
    return InvalidInput(
        f"unknown part {name[:80]!r}: a submission has `file` and `options` (JSON), and may have `reference` (a sound)"
    )


def _too_large(upload_bytes: int) -> InputTooLarge:
    return InputTooLarge(
        f"the file is larger than the {upload_bytes / 2**20:g} MiB that are taken in one request; "
        "larger ones go to /v1/uploads, in parts"
    )
