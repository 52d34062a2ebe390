"""Source files, each kept once, and everything that was made of them: `videos/<token>/`.

    source.<ending>       what was sent; words alone are a .txt
    references/<MD5>[-<digest of the API key's name>].flac   what runs of it are to sound like, as it is listened to
    outputs/<digest>.json, made/<digest>/…   what modules made of it; see `serve/modules.py`
    holds/<holder>[.<API key's name>]        a run or an upload that needs it
    deleting              somebody deletes it at this moment

A video is deleted when nobody holds it. Whoever wants it writes its hold first and looks for `deleting` afterwards; whoever deletes
it writes `deleting` first and looks for holds afterwards: at least one of the two sees the other.
"""

import asyncio
import hashlib
import time
from pathlib import PurePosixPath

from models.errors import NotFound, StorageFailed
from models.record import VideoInput
from models.words import CONTAINER
from serve.store import Store, Taken

WAIT_SECONDS = 10.0
STALE_SECONDS = 600.0  # no deletion takes as long, and no two machines' clocks differ by as much
NOT_FILES = ("holds", "outputs", "deleting")


def reference_path(token: str, reference: str, key: str | None) -> str:
    """Key of a reference's sound, by the MD5 of the video and its own, and the name of the API key that it was sent with.

    Whoever sends the same video holds all that is kept of it, so that the key alone keeps a reference from others.
    """
    whose = f"-{hashlib.sha256(key.encode()).hexdigest()[:16]}" if key else ""
    return f"videos/{token}/references/{reference}{whose}.flac"


def holder(of: str, key: str | None) -> str:
    """The name of a hold: of a run or an upload, and the API key that it belongs to."""
    return f"{of}.{key}" if key else of


class Videos:
    """The videos in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def keep(self, sent: str, video_input: VideoInput, held_by: str) -> str:
        """Hold the video, and put what was sent there unless the same bytes are there already. Returns the source's key.

        Raises NotFound when neither is there.
        """
        await self.hold(video_input.token, held_by)
        source = f"videos/{video_input.token}/source.{video_input.container}"
        if await self._store.blob(source) is None:
            try:
                await self._store.move(sent, source)
            except FileNotFoundError:
                if await self._store.blob(source) is None:  # else another run of the same upload was quicker
                    await self.release(video_input.token, held_by)
                    raise NotFound("the file is not there any more; send it again") from None
        elif sent != source:
            await self._store.delete(sent)  # the same bytes once more would only take space
        return source

    async def hold(self, token: str, held_by: str) -> None:
        """From now on the video stays. Raises StorageFailed when it is being deleted, and that takes long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            await self._store.write(f"videos/{token}/holds/{held_by}", b"{}")
            if await self._store.blob(f"videos/{token}/deleting") is None:
                return
            if await self._forget_stale(token):
                continue
            if time.monotonic() > deadline:
                await self._store.delete(f"videos/{token}/holds/{held_by}")
                raise StorageFailed("an earlier copy of this file is still being deleted; try again in a while")
            await asyncio.sleep(0.1)

    async def release(self, token: str, held_by: str) -> None:
        """Give the video up. The last to do so deletes it."""
        await self._store.delete(f"videos/{token}/holds/{held_by}")
        await self.delete_unheld(token)

    async def delete_unheld(self, token: str) -> None:
        """Delete the video, if nobody holds it, and nobody else deletes it at this moment."""
        if await self.holders(token):
            return
        mark = f"videos/{token}/deleting"
        try:
            await self._store.create(mark, b"{}")
        except Taken:
            await self._forget_stale(token)
            return
        if not await self.holders(token):
            # Outputs before the files that they name, so that none is found without them.
            await self._store.delete_all(f"videos/{token}/outputs")
            await self._store.delete_all(f"videos/{token}/made")
            for key in await self.files(token):
                await self._store.delete(key)
        await self._store.delete(mark)

    async def _forget_stale(self, token: str) -> bool:
        """Take back the mark of somebody who died over a deletion: nobody else's, since he would go on under a new hold."""
        mark = f"videos/{token}/deleting"
        for entry in await self._store.entries(f"videos/{token}"):
            if entry.key == mark and time.time() - entry.modified > STALE_SECONDS:
                await self._store.delete(mark)
                return True
        return False

    async def holders(self, token: str) -> list[str]:
        """Who holds it."""
        return [PurePosixPath(key).name for key in await self._store.keys(f"videos/{token}/holds")]

    async def check_access(self, token: str, key: str | None) -> None:
        """Raise NotFound unless a run or an upload of this API key holds the video."""
        keys = {name.partition(".")[2] or None for name in await self.holders(token)}
        if key not in keys:
            raise NotFound(f"there is no file with the token {token}")

    async def files(self, token: str) -> set[str]:
        """Keys of the source and of everything made of it."""
        keys = await self._store.keys(f"videos/{token}")
        return {key for key in keys if key.split("/")[2] not in NOT_FILES}

    async def source(self, token: str, *, words: bool = False) -> str:
        """Key of the source; `words`: of words alone, which are no file that was uploaded. Raises NotFound."""
        for key in sorted(await self.files(token)):
            if key.startswith(f"videos/{token}/source.") and words == key.endswith(f".{CONTAINER}"):
                return key
        raise NotFound(f"there is no file with the token {token}")
