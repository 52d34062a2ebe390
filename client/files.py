"""The near ends of a transfer: a file or a stream to read from, a file or a stream to write to."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

Source = str | os.PathLike[str] | IO[bytes]
Target = str | os.PathLike[str] | IO[bytes]


@contextmanager
def opened(source: Source) -> Iterator[tuple[IO[bytes], str]]:
    """The source as a binary stream, and its name. A stream that was handed in stays open."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        with path.open("rb") as file:
            yield file, path.name
    else:
        name = getattr(source, "name", None)
        yield source, Path(name).name if isinstance(name, str) else "file"


@contextmanager
def opened_if_given(source: Source | None) -> Iterator[tuple[IO[bytes], str] | None]:
    """As `opened`; None for None."""
    if source is None:
        yield None
        return
    with opened(source) as named:
        yield named


class Rest:
    """What a binary stream still has to say, as a stream of its own, which has a size and can be read again from its beginning.

    A pipe is read to its end first, into a temporary file, which closing the rest removes. The stream itself stays open.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._copy: IO[bytes] | None = None
        if not _can_seek(file):
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 (`close` closes it)
            shutil.copyfileobj(file, self._copy, 2**20)
            self._copy.seek(0)
        self._file = self._copy or file
        self._start = self._file.tell()
        self.size = self._file.seek(0, os.SEEK_END) - self._start
        self._file.seek(self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._copy:
            self._copy.close()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most `size`; empty at the end."""
        return self._file.read(size)

    def tell(self) -> int:
        """Where it stands, in bytes from its beginning."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go there, and say where that is."""
        return self._file.seek(offset + (self._start if whence == os.SEEK_SET else 0), whence) - self._start

    def at(self, offset: int, size: int) -> bytes:
        """Exactly these bytes. Raises OSError when the stream ends before."""
        self.seek(offset)
        chunks, missing = [], size
        while missing:
            # A raw stream may answer with less than it is asked for.
            chunk = self.read(missing)
            if not chunk:
                raise OSError("the file became shorter while it was sent")
            chunks.append(chunk)
            missing -= len(chunk)
        return b"".join(chunks)


def _can_seek(file: IO[bytes]) -> bool:
    """Whether it says so; a stream that someone wrote may have no word for it."""
    return hasattr(file, "seekable") and file.seekable()


@contextmanager
def whole(to: Target) -> Iterator[IO[bytes]]:
    """A stream to write `to` through. A file takes its name only when all is written."""
    if not isinstance(to, str | os.PathLike):
        yield to
        return
    path = Path(to)
    part = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
