"""The store: every event, artifact and upload, on a local folder or in a bucket.

One URL says which (`file:///…` or a plain path, `s3://…`, `gs://…`, `az://…`); this is the one file that knows there is a
difference. Objects are written whole or not at all, and are never changed in place once something names them.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import LocalStore, ObjectStore, from_url

CHUNK_BYTES = 1 << 20


class Taken(Exception):
    """Somebody else has created this object first."""


@dataclass(frozen=True)
class Blob:
    """What the store says of one object."""

    key: str
    size: int
    etag: str


class Store:
    """Objects under keys such as `runs/<id>/events/000001.json`. Safe to use from threads and from an event loop."""

    def __init__(self, url: str) -> None:
        self._remote: ObjectStore | None = None
        if "://" in url and not url.startswith("file://"):
            self._objects: ObjectStore = from_url(url)
            self._remote = self._objects
        else:
            self._folder = Path(url.removeprefix("file://")).absolute()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._objects = LocalStore(prefix=self._folder)

    async def create(self, key: str, data: bytes) -> None:
        """Write a new object. Raises Taken where there is one: that makes a log of objects safe for several writers."""
        try:
            await obstore.put_async(self._objects, key, data, mode="create")
        except AlreadyExistsError as error:
            raise Taken(key) from error

    def put(self, key: str, source: bytes | Path | BinaryIO) -> None:
        """Write or replace an object. A file is read in parts; nobody sees it before it is whole. Blocks: for threads."""
        obstore.put(self._objects, key, source)

    async def read(self, key: str) -> bytes | None:
        """A small object's bytes; None where there is none."""
        try:
            got = await obstore.get_async(self._objects, key)
        except FileNotFoundError:
            return None
        return bytes(await got.bytes_async())

    async def blob(self, key: str) -> Blob | None:
        """Size and entity tag; None where there is no such object."""
        try:
            meta = await obstore.head_async(self._objects, key)
        except FileNotFoundError:
            return None
        return Blob(key=key, size=meta["size"], etag=(meta["e_tag"] or f'"{key}-{meta["size"]}"'))

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes start … end (exclusive), about a megabyte at a time. An empty range streams nothing."""
        if end <= start:
            return
        got = await obstore.get_async(self._objects, key, options={"range": (start, end)})
        async for chunk in got.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)

    async def delete(self, key: str) -> None:
        """Delete an object, if there is one, and on a folder the directories that this leaves empty."""
        with suppress(FileNotFoundError):
            await obstore.delete_async(self._objects, key)
        if self._remote is None:
            with suppress(OSError):
                for parent in (self._folder / key).parents:
                    if parent == self._folder:
                        break
                    parent.rmdir()

    async def move(self, source: str, target: str) -> None:
        """Move an object. What stands at `target` is replaced."""
        await obstore.rename_async(self._objects, source, target)

    async def keys(self, prefix: str) -> list[str]:
        """All keys under a folder, in order."""
        found = [blob["path"] async for page in obstore.list(self._objects, prefix) for blob in page]
        return sorted(found)

    def local(self, key: str, cache: Path) -> Path:
        """A readable file with the object's bytes: the object itself where it is one, else a copy under `cache`.

        Never write to it. Blocks: for threads. Raises FileNotFoundError.
        """
        if self._remote is None:
            path = self._folder / key
            if not path.is_file():
                raise FileNotFoundError(key)
            return path
        path = cache / key
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            got = obstore.get(self._objects, key)
            with NamedTemporaryFile(dir=path.parent, delete=False) as part:
                for chunk in got.stream(min_chunk_size=CHUNK_BYTES):
                    part.write(bytes(chunk))
            Path(part.name).rename(path)
        return path
