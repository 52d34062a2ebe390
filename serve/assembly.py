"""An upload's whole, made of its parts while they come in: the MD5 of its bytes, and one object of them.

The parts are in the store and never change, so an assembly can be thrown away at any time and made again from the first part.
Every replica may have its own, and all of them write the same object. Knows no HTTP, and nothing of who sends what.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Sequence

from serve.store import Entry, Store
from serve.upload_state import path

AT_ONCE = 16
# Upload after upload would push the others out, and be read from its first part again.
IDLE_SECONDS = 60.0


class Assembly:
    """The bytes of one upload, from the first up to some part's end."""

    def __init__(self, store: Store, upload_id: str) -> None:
        self.lock = asyncio.Lock()
        self.used = time.monotonic()
        self.offset = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._store = store
        self._writer = store.writer(path(upload_id, "whole"))

    async def take(self, parts: Sequence[Entry]) -> None:
        """Go on to the end of the last of these parts, which begin with the first. Raises FileNotFoundError."""
        end = 0
        for part in parts:
            if end == self.offset:
                await self._take(part)
            end += part.size
            self.used = time.monotonic()

    async def _take(self, part: Entry) -> None:
        async for piece in self._store.stream(part.key, 0, part.size):
            await asyncio.gather(asyncio.to_thread(self._md5.update, piece), self._writer.write(piece))
        self.offset += part.size

    async def close(self) -> str:
        """Make the object appear. Returns the MD5 in hexadecimal digits."""
        await self._writer.close()
        return self._md5.hexdigest()

    async def abort(self) -> None:
        await self._writer.abort()


class Assemblies:
    """The assemblies that one process has in hand."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: OrderedDict[str, Assembly] = OrderedDict()

    async def room_for(self, upload_id: str) -> bool:
        """Whether an upload may be assembled before that is needed: not when too many are, and all of them go on coming in."""
        if upload_id in self._held or len(self._held) < AT_ONCE:
            return True
        return await self._drop_idle(time.monotonic() - IDLE_SECONDS)

    async def of(self, upload_id: str) -> Assembly:
        """The upload's assembly; one that nobody works on may have to go for it."""
        if upload_id not in self._held and len(self._held) >= AT_ONCE:
            await self._drop_idle(time.monotonic())
        if upload_id not in self._held:
            self._held[upload_id] = Assembly(self._store, upload_id)
        self._held.move_to_end(upload_id)
        return self._held[upload_id]

    def holds(self, upload_id: str, assembly: Assembly) -> bool:
        """Whether this is still the upload's assembly. One that was dropped is of no use."""
        return self._held.get(upload_id) is assembly

    def offset(self, upload_id: str) -> int:
        """How many bytes of the upload are assembled here."""
        return self._held[upload_id].offset if upload_id in self._held else 0

    def names(self) -> list[str]:
        """Ids of the uploads that are in hand."""
        return list(self._held)

    async def drop(self, upload_id: str) -> None:
        """Forget an assembly. What it has written goes, unless it was closed."""
        if assembly := self._held.pop(upload_id, None):
            await assembly.abort()

    async def drop_idle(self, before: float) -> None:
        """Drop every assembly that was not used since then (monotonic clock, seconds)."""
        while await self._drop_idle(before):
            pass

    async def _drop_idle(self, before: float) -> bool:
        for upload_id, held in self._held.items():
            if not held.lock.locked() and held.used <= before:
                await self.drop(upload_id)
                return True
        return False
