"""One part of an upload as it comes in: its bytes, in a temporary file, and their checksum. Knows no HTTP.

The file is mapped into memory while it is put into the store: buffers of a part's size would not go back to the system when they
are freed, and a process that has had many parts in hand would stay large.
"""

import asyncio
import hashlib
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile

from models.errors import InvalidInput
from serve.detached import to_the_end
from serve.store import failures

ALGORITHMS = {"md5": 16, "sha1": 20, "sha256": 32}
"""What a checksum may be made with, and how many bytes it then has."""

PIECE_BYTES = 1 << 20


class ChecksumMismatch(InvalidInput):
    """The bytes that came in are not those that the checksum was made of."""


@dataclass(frozen=True)
class Checksum:
    """What the sender says of a part's bytes."""

    algorithm: str
    """One of ALGORITHMS."""
    digest: bytes


class IncomingPart:
    """A part's bytes. To be closed."""

    def __init__(self, checksum: Checksum | None) -> None:
        self.size = 0
        self._checksum = checksum
        self._hash = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
        with failures():
            self._file = TemporaryFile()  # noqa: SIM115 (outlives this call)
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    async def add(self, data: bytes) -> None:
        """Take what came in next. A caller who is cancelled meanwhile finds it taken, too."""
        self.size += len(data)
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= PIECE_BYTES:
            await to_the_end(asyncio.to_thread(self._take))

    def whole(self) -> mmap:
        """All of it, which is at least a byte. Raises ChecksumMismatch. Blocks: for threads."""
        self._take()
        if self._checksum and self._hash and self._hash.digest() != self._checksum.digest:
            raise ChecksumMismatch(f"the part's {self._checksum.algorithm} is {self._hash.hexdigest()}; send it again")
        with failures():
            self._file.flush()
            return mmap(self._file.fileno(), 0, access=ACCESS_READ)

    def close(self) -> None:
        self._file.close()

    def _take(self) -> None:
        taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
        with failures():
            for data in taken:
                self._file.write(data)
                if self._hash:
                    self._hash.update(data)
