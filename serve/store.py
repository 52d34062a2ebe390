"""The store: every event, artifact and upload, on a local folder or in a bucket.

One URL says which (`file:///…` or a plain path, `s3://…`, `gs://…`, `az://…`); this is the one file that knows there is a
difference. A bucket's credentials, endpoint and region come from the usual environment (`AWS_ACCESS_KEY_ID` and so on). Objects are
written whole or not at all, and are never changed in place once something names them.

What fails comes out as StorageFailed, or StorageFull where there is no space left; what is not there, as each call says.
What killed writers left is invisible, and goes with `delete_all`; in a bucket, a lifecycle rule for incomplete uploads does that.
"""

import asyncio
import errno
import mimetypes
import random
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from mmap import mmap
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, BinaryIO

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import AzureStore, GCSStore, LocalStore, ObjectStore, S3Store, from_url

from models.errors import StorageFailed, StorageFull
from serve import tracing

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, Attributes

CHUNK_BYTES = 1 << 20
# The least that S3 takes as a part of an object. A writer may hold several.
WRITER_BYTES = 5 << 20
WRITER_PARTS = 2
# Another process may delete an empty folder at the moment in which something is put into it.
ATTEMPTS = 60
_FOLDER_WENT = "Unable to create dir"
# ENOSPC and EDQUOT. The library hands on the words, not the number.
_FULL = ("os error 28)", "os error 122)", "No space left on device", "Disk quota exceeded")


class Taken(Exception):
    """Somebody else has created this object first."""


@dataclass(frozen=True)
class Blob:
    """What the store says of one object."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Entry:
    """An object in a listing: bytes, and when it was written (Unix time, seconds)."""

    key: str
    size: int
    modified: float


class StoreWriter:
    """Writes one object piece by piece. Nobody sees it before it is closed; aborted, or dropped, it never was."""

    def __init__(self, file: "AsyncWritableFile") -> None:
        self._file = file

    async def write(self, data: bytes) -> None:
        with failures():
            await self._file.write(data)

    async def close(self) -> None:
        """Make the object appear, whole. What stood there is replaced."""
        with failures():
            await self._file.close()

    async def abort(self) -> None:
        """Leave nothing."""
        # The one way to an abort that the library has is a `with` block that fails.
        with suppress(BaseError, OSError):
            await self._file.__aexit__(StorageFailed, StorageFailed("aborted"), None)


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

    async def create(self, key: str, data: bytes | mmap) -> None:
        """Write a new object. Raises Taken where there is one: that makes a log of objects safe for several writers."""
        await _written(lambda: obstore.put_async(self._objects, key, data, mode="create"), new=True)

    async def write(self, key: str, data: bytes) -> None:
        """Write or replace a small object."""
        await _written(lambda: obstore.put_async(self._objects, key, data), new=True)

    def put(self, key: str, source: bytes | Path | BinaryIO) -> None:
        """Write or replace an object. A file is read in parts; nobody sees it before it is whole. Blocks: for threads."""
        start = 0 if isinstance(source, bytes | Path) else source.tell()
        for attempt in range(ATTEMPTS):
            try:
                with failures("put", new=True):
                    obstore.put(self._objects, key, source, attributes=self._attributes(key))
                return
            except StorageFailed as error:
                if not _may_pass(error, attempt):
                    raise
                time.sleep(_pause(attempt))
                if not isinstance(source, bytes | Path):
                    source.seek(start)

    def discard(self, keys: Iterable[str]) -> None:
        """Delete what is there of these objects, if it can be deleted. Blocks: for threads."""
        for key in keys:
            with suppress(FileNotFoundError, StorageFailed), failures("delete"):
                obstore.delete(self._objects, key)
            self._leave_no_empty_folder(key)

    def _attributes(self, key: str) -> "Attributes | None":
        """What the bucket says of an object to whoever fetches it there. A folder keeps no such thing."""
        media_type = mimetypes.guess_type(key)[0] if self._remote is not None else None
        return {"Content-Type": media_type} if media_type else None

    def writer(self, key: str) -> StoreWriter:
        """Writes an object of any size piece by piece, with little in memory. To be closed or aborted."""
        file = obstore.open_writer_async(self._objects, key, buffer_size=WRITER_BYTES, max_concurrency=WRITER_PARTS)
        return StoreWriter(file)

    async def read(self, key: str) -> bytes | None:
        """A small object's bytes; None where there is none."""
        try:
            with failures("read"):
                got = await obstore.get_async(self._objects, key)
                return bytes(await got.bytes_async())
        except FileNotFoundError:
            return None

    async def blob(self, key: str) -> Blob | None:
        """Size and entity tag; None where there is no such object."""
        try:
            with failures("head"):
                meta = await obstore.head_async(self._objects, key)
        except FileNotFoundError:
            return None
        return Blob(key=key, size=meta["size"], etag=(meta["e_tag"] or f'"{key}-{meta["size"]}"'))

    async def stream(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes start … end (exclusive), about a megabyte at a time. An empty range streams nothing. Raises FileNotFoundError."""
        if end <= start:
            return
        with failures():
            got = await obstore.get_async(self._objects, key, options={"range": (start, end)})
            async for chunk in got.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def delete(self, key: str) -> None:
        """Delete an object, if there is one, and on a folder the directories that this leaves empty."""
        with suppress(FileNotFoundError), failures("delete"):
            await obstore.delete_async(self._objects, key)
        self._leave_no_empty_folder(key)

    async def delete_all(self, prefix: str) -> None:
        """Delete everything below a folder, and what writers that were killed left there."""
        keys = await self.keys(prefix)
        if self._remote is not None:
            with suppress(FileNotFoundError), failures("delete"):
                await obstore.delete_async(self._objects, keys)
            return
        with failures():
            await asyncio.to_thread(shutil.rmtree, self._folder / prefix, onerror=_leave_what_came)
        self._leave_no_empty_folder(prefix)

    async def delete_unfinished(self, before: float) -> None:
        """Delete what killed writers left on a folder before that (Unix time, seconds). A bucket has lifecycle rules for it."""
        if self._remote is None:
            with failures():
                await asyncio.to_thread(self._delete_unfinished, before)

    def _delete_unfinished(self, before: float) -> None:
        for path in self._folder.rglob("*#*"):
            with suppress(FileNotFoundError):
                if re.fullmatch(r".+#\d+", path.name) and path.stat().st_mtime < before:
                    path.unlink()
                    self._leave_no_empty_folder(str(path.relative_to(self._folder)))

    def _leave_no_empty_folder(self, key: str) -> None:
        if self._remote is not None:
            return
        with suppress(OSError):  # not empty, or gone already
            for parent in (self._folder / key).parents:
                if parent == self._folder:
                    break
                parent.rmdir()

    async def move(self, source: str, target: str) -> None:
        """Move an object. What stands at `target` is replaced. Raises FileNotFoundError."""
        await _written(lambda: obstore.rename_async(self._objects, source, target))

    async def entries(self, prefix: str) -> list[Entry]:
        """Everything below a folder, in the order of the keys. Nothing where there is no such folder."""
        with failures("list", new=True):
            found = [
                Entry(blob["path"], blob["size"], blob["last_modified"].timestamp())
                async for page in obstore.list(self._objects, prefix)
                for blob in page
            ]
        return sorted(found, key=lambda entry: entry.key)

    async def folders(self, prefix: str) -> list[str]:
        """The folders right below a folder, in order."""
        with failures():
            found = await obstore.list_with_delimiter_async(self._objects, prefix)
        return sorted(found["common_prefixes"])

    async def keys(self, prefix: str) -> list[str]:
        """All keys under a folder, in order."""
        return [entry.key for entry in await self.entries(prefix)]

    def free_bytes(self) -> int | None:
        """What is left on a local folder's disk. None for a bucket."""
        if self._remote is not None:
            return None
        with failures():
            return shutil.disk_usage(self._folder).free

    async def sign(self, key: str, *, seconds: int) -> str | None:
        """A URL from which anybody can get the object, for so long. None for a local folder."""
        if isinstance(self._remote, S3Store | GCSStore | AzureStore):
            with failures():
                return await obstore.sign_async(self._remote, "GET", key, timedelta(seconds=seconds))
        return None

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
            with failures("fetch"):
                self._copy(key, path)
        return path

    def _copy(self, key: str, path: Path) -> None:
        got = obstore.get(self._objects, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, delete=False) as part:
            try:
                for chunk in got.stream(min_chunk_size=CHUNK_BYTES):
                    part.write(bytes(chunk))
                part.flush()
                Path(part.name).rename(path)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise


async def _written(write: Callable[[], Awaitable[object]], *, new: bool = False) -> None:
    for attempt in range(ATTEMPTS):
        try:
            with failures("write", new=new):
                await write()
            return
        except StorageFailed as error:
            if not _may_pass(error, attempt):
                raise
            await asyncio.sleep(_pause(attempt))


def _may_pass(error: StorageFailed, attempt: int) -> bool:
    return _FOLDER_WENT in str(error.__cause__) and attempt + 1 < ATTEMPTS


def _pause(attempt: int) -> float:
    return random.uniform(0, 0.001 * attempt)  # noqa: S311 (keeps writers apart, hides nothing)


def _leave_what_came(call: object, path: str, failure: tuple[type[BaseException], BaseException, object]) -> None:
    # Others delete here, too, and may write: what they took is gone, and what they brought is theirs.
    error = failure[1]
    if not isinstance(error, OSError) or error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
        raise error


@contextmanager
def failures(call: str | None = None, *, new: bool = False) -> Iterator[None]:
    """What the library raises, as this project says it: its messages may name files.

    call: what a slow call is named in a trace. new: nothing has to be there before.
    """
    try:
        with tracing.slow(f"store {call}") if call else nullcontext():
            yield
    except FileNotFoundError as error:
        if not new:
            raise
        raise StorageFailed("the store is not there") from error
    except AlreadyExistsError as error:
        raise Taken("there is such an object already") from error
    except (BaseError, OSError) as error:
        if any(word in str(error) for word in _FULL):
            raise StorageFull("the store has no space left") from error
        raise StorageFailed("the store cannot be read or written") from error
