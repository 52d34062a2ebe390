"""Resumable uploads: files that come in parts, over any number of connections, to any replica. Knows no HTTP.

What is in the store is all that an upload is (see `serve/upload_state.py`), so a process may die at any point, and another one
goes on with what has come in.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from models.errors import Conflict, ImmersivaudioError, InputTooLarge, NotFound, StorageFailed, StorageFull, TooBusy
from serve.assembly import Assemblies, Assembly
from serve.checksums import Checksum, IncomingPart
from serve.detached import detached, to_the_end
from serve.settings import UploadSettings
from serve.store import Entry, Store, Taken
from serve.upload_state import (
    Done,
    Expired,
    Upload,
    UploadInfo,
    by_upload,
    changed_at,
    no_upload,
    part_path,
    path,
    read_done,
    read_upload,
)

logger = logging.getLogger("ray.serve")

# A part is in memory as a whole while it is put into the store.
PARTS_IN_MEMORY = 2
# After so long without a new part, what was assembled is dropped; it can be made again.
ABANDONED_SECONDS = 900.0


@dataclass(frozen=True)
class CompletedUpload:
    """A file that has come in."""

    path_key: str
    """Its key, unless somebody has moved it away."""
    token: str
    """MD5 of its bytes."""
    name: str
    """As the user calls it."""
    size: int
    """Bytes."""


def _nobody(count: int) -> None:
    """Nobody counts bytes."""


class Uploads:
    """All uploads in the store. For one event loop.

    `on_bytes` is told how many bytes were kept. Who asks says so by the name of an API key, or None: another one's uploads are not
    there.
    """

    def __init__(self, store: Store, settings: UploadSettings, *, on_bytes: Callable[[int], None] = _nobody) -> None:
        self._store = store
        self._settings = settings
        self._on_bytes = on_bytes
        self._assemblies = Assemblies(store)
        self._in_memory = asyncio.Semaphore(PARTS_IN_MEMORY)
        self._creating = asyncio.Lock()
        self._working: set[asyncio.Task[object]] = set()
        self._dropping: asyncio.Task[None] | None = None

    async def create(self, length: int, *, name: str, metadata: str | None, key: str | None) -> Upload:
        """Begin an upload of so many bytes. Raises InputTooLarge, and StorageFull where there is no space for it."""
        if length > self._settings.max_bytes:
            raise InputTooLarge(f"the file has {length} bytes; at most {self._settings.max_bytes} are taken")
        upload_id = uuid.uuid4().hex
        info = UploadInfo(length=length, name=name, metadata=metadata, created_at=time.time(), key=key)
        async with self._creating:  # else two would be promised the same space
            found = await by_upload(self._store)
            unfinished = sum(all(entry.key != path(name, "done.json") for entry in found[name]) for name in found)
            if unfinished >= self._settings.unfinished:
                raise TooBusy(
                    f"{unfinished} uploads have not come to their end, which is as many as may be; try again later"
                )
            await self._check_space(length, found)
            await self._store.create(path(upload_id, "info.json"), info.model_dump_json().encode())
        return await self._open(upload_id, key)

    async def find(self, upload_id: str, key: str | None) -> Upload:
        """Where the upload stands. Raises NotFound."""
        upload = await self._open(upload_id, key)
        if upload.is_whole and not upload.done:  # whoever was about to assemble it has died, or is still at it
            self._later(self._finish(upload))
        return upload

    def expires_at(self, upload: Upload) -> float:
        """Until when the upload is kept if nothing comes any more: Unix time, seconds."""
        return upload.changed_at + self._settings.keep_seconds

    async def append(
        self, upload_id: str, body: AsyncIterator[bytes], *, offset: int, checksum: Checksum | None, key: str | None
    ) -> Upload:
        """Take a part that begins at `offset`. If it is the last one, the whole file is there afterwards.

        Where `body` breaks off, its exception is raised, and without a checksum what came in is kept. Raises NotFound, Conflict
        when the upload stands elsewhere, InputTooLarge and ChecksumMismatch; nothing of the part is kept then.
        """
        upload = await self._open(upload_id, key)
        if offset != upload.offset:
            raise Conflict(f"the upload stands at byte {upload.offset}, not at {offset}")
        if len(upload.parts) >= self._settings.max_parts:
            raise InputTooLarge(f"an upload has at most {self._settings.max_parts} parts; send it anew, in larger ones")
        if self.expires_at(upload) - time.time() < self._settings.keep_seconds / 2:
            await self._store.write(path(upload_id, "touched"), b"")
        part = IncomingPart(checksum)
        try:
            async for data in body:
                self._check_size(upload, part.size + len(data))
                await part.add(data)
        except ImmersivaudioError:
            part.close()
            raise
        except (Exception, asyncio.CancelledError):  # however the server says that the connection broke
            if checksum is None:
                await to_the_end(self._keep(upload, part))
            part.close()
            raise
        return await to_the_end(self._keep(upload, part))

    async def completed(self, upload_id: str, key: str | None) -> CompletedUpload:
        """The file that was sent. Raises NotFound, and Conflict when it is not complete."""
        upload = await self._open(upload_id, key)
        if not upload.is_whole:
            raise Conflict(f"the upload has {upload.offset} of {upload.info.length} bytes; send the rest first")
        done = await to_the_end(self._finish(upload))
        return CompletedUpload(path(upload_id, "whole"), done.token, upload.info.name, done.size)

    async def delete(self, upload_id: str, key: str | None) -> None:
        """Delete an upload with all that has come in. Raises NotFound."""
        await self._open(upload_id, key)
        await to_the_end(self._remove(upload_id))

    async def expire(self, now: float) -> None:
        """Delete uploads for which nothing came for too long, and what deletions that were cut short have left."""
        found = await by_upload(self._store)
        for upload_id, entries in found.items():
            if entries[0].key == path(upload_id):  # sent in one request, to a replica that died before it had a place
                if self._is_old(entries, now):
                    await self._store.delete(path(upload_id))
            elif await self._is_over(upload_id, entries, now):
                await self._remove(upload_id)
        for upload_id in self._assemblies.names():
            if upload_id not in found:
                await self._assemblies.drop(upload_id)

    async def close(self) -> None:
        """Give up what is in hand; somebody else can go on with it."""
        while self._working:
            await asyncio.wait(self._working)
        if self._dropping:
            self._dropping.cancel()
        for upload_id in self._assemblies.names():
            await self._assemblies.drop(upload_id)

    async def _open(self, upload_id: str, key: str | None) -> Upload:
        upload = await read_upload(self._store, upload_id)
        if upload.info.key != key:
            raise no_upload(upload_id)
        if self.expires_at(upload) < time.time():
            raise Expired(f"nothing came for upload {upload_id} for {self._settings.keep_seconds:g} s: it has expired")
        return upload

    async def _check_space(self, length: int, found: Iterable[str]) -> None:
        free = self._store.free_bytes()
        if free is None:
            return
        promised = 0
        for upload_id in found:
            with suppress(NotFound):  # being deleted, or not one
                upload = await read_upload(self._store, upload_id)
                if not upload.done and self.expires_at(upload) > time.time():
                    promised += 2 * upload.info.length - upload.offset - self._assemblies.offset(upload_id)
        # The parts and the whole are there at the same time.
        if 2 * length + promised + self._settings.reserve_bytes > free:
            raise StorageFull(
                f"there is no space for {length} bytes: twice that is needed until the upload is complete"
            )

    def _check_size(self, upload: Upload, size: int) -> None:
        if size > self._settings.part_bytes:
            raise InputTooLarge(f"a part has at most {self._settings.part_bytes} bytes")
        if upload.offset + size > upload.info.length:
            raise InputTooLarge(f"the part goes beyond the {upload.info.length} bytes that were announced")

    async def _keep(self, upload: Upload, part: IncomingPart) -> Upload:
        try:
            if part.size:
                await self._put(upload, part)
        finally:
            part.close()
        try:
            now = await self._open(upload.id, upload.info.key)
        except NotFound:  # deleted while this part came in
            await self._store.delete(part_path(upload.id, upload.offset))
            raise
        if now.is_whole:
            await self._finish(now)
        elif part.size:
            self._later(self._assemble(now))
        return now

    async def _put(self, upload: Upload, part: IncomingPart) -> None:
        async with self._in_memory:
            data = await asyncio.to_thread(part.whole)
            try:
                await self._store.create(part_path(upload.id, upload.offset), data)
            except Taken as error:
                raise Conflict(f"somebody else has sent the bytes from {upload.offset} on") from error
        self._on_bytes(len(data))

    def _later(self, work: Coroutine[object, object, object]) -> None:
        """Do it beside everything else. What fails is tried again when it is needed."""

        async def attempt() -> None:
            try:
                await work
            except Exception as error:
                logger.warning("an upload could not be assembled yet", exc_info=error)

        task = detached(attempt())
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _drop_abandoned(self) -> None:
        """An assembly that nothing was added to for long takes space of which nobody knows. Ends when there is none."""
        while self._assemblies.names():
            await asyncio.sleep(ABANDONED_SECONDS / 10)
            await self._assemblies.drop_idle(time.monotonic() - ABANDONED_SECONDS)

    async def _assemble(self, upload: Upload) -> None:
        """Go on with the whole, as far as the parts go."""
        if self._dropping is None or self._dropping.done():
            self._dropping = detached(self._drop_abandoned())
        if not await self._assemblies.room_for(upload.id):
            return
        assembly = await self._assemblies.of(upload.id)
        async with assembly.lock:
            if self._assemblies.holds(upload.id, assembly):
                try:
                    await assembly.take(upload.parts)
                except FileNotFoundError:  # another replica has finished it, or it was deleted
                    await self._assemblies.drop(upload.id)
                except BaseException:
                    await self._assemblies.drop(upload.id)
                    raise

    async def _finish(self, upload: Upload) -> Done:
        """Make the whole of all parts. Raises NotFound when the upload is deleted meanwhile."""
        while not upload.done:
            assembly = await self._assemblies.of(upload.id)
            async with assembly.lock:
                if self._assemblies.holds(upload.id, assembly):
                    upload = replace(upload, done=await self._close(upload, assembly))
        await self._store.delete_all(path(upload.id, "parts"))
        return upload.done

    async def _close(self, upload: Upload, assembly: Assembly) -> Done:
        try:
            if done := await read_done(self._store, upload.id):
                return done
            await assembly.take(upload.parts)
            done = Done(token=await assembly.close(), size=assembly.offset)
            await self._store.write(path(upload.id, "done.json"), done.model_dump_json().encode())
        except (FileNotFoundError, StorageFailed) as error:
            if done := await read_done(
                self._store, upload.id
            ):  # another replica was quicker, and has deleted the parts
                return done
            await read_upload(self._store, upload.id)
            if isinstance(error, StorageFailed):
                raise
            raise StorageFailed("a part of the upload is missing") from error
        finally:
            await self._assemblies.drop(upload.id)
        return done

    def _is_old(self, entries: Sequence[Entry], now: float) -> bool:
        return changed_at(entries) + self._settings.keep_seconds < now

    async def _is_over(self, upload_id: str, entries: Sequence[Entry], now: float) -> bool:
        if self._is_old(entries, now):
            return self._is_old(await self._store.entries(path(upload_id)), now)  # listing all of them took a while
        announced = path(upload_id, "info.json")
        return all(entry.key != announced for entry in entries) and await self._store.blob(announced) is None

    async def _remove(self, upload_id: str) -> None:
        await self._assemblies.drop(upload_id)
        await self._store.delete(path(upload_id, "info.json"))  # first: what is left of a deletion is known by that
        await self._store.delete_all(path(upload_id))
