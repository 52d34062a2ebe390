"""The near ends of a transfer: a file or a stream to read from, a file or a stream to write to."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
