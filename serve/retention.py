"""Deletes what nobody needs any more: ended runs, abandoned uploads, videos that no run holds, and what crashes left behind.

Every step can be taken again, and by several at once, so a sweep that dies is finished by the next one.
"""

import asyncio
import logging
import random
import time
from collections.abc import Coroutine

from models.errors import NotFound
from models.record import Run
from serve.log import RunLog, event_key
from serve.settings import RetentionSettings
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos, holder

logger = logging.getLogger("ray.serve")

# What was begun and never finished is left alone for so long: somebody may be about to finish it.
GRACE_SECONDS = 24 * 3600.0


class Retention:
    """Deletes runs: when asked to, or when they are old."""

    def __init__(self, store: Store, uploads: Uploads, settings: RetentionSettings) -> None:
        self._store = store
        self._videos = Videos(store)
        self._uploads = uploads
        self._settings = settings

    async def delete(self, run: Run) -> None:
        """Delete an ended run, and its video with all that was made of it if no other run or upload holds that."""
        # The hold goes last but one: while it is there, a deletion that was cut short can be found and finished.
        await self._store.delete_all(f"runs/{run.id}")
        await self._videos.release(run.record.video_input.token, holder(run.id, run.key))
        await self._store.delete(f"ended/{run.id}")

    async def sweep(self) -> None:
        """Delete everything whose time has come. What cannot be deleted is logged, and keeps nothing else from going."""
        now = time.time()
        if self._settings.runs_seconds is not None:
            for entry in await self._store.entries("ended"):
                if now - entry.modified > self._settings.runs_seconds:
                    await self._try(self._delete_ended(entry.key.removeprefix("ended/")), entry.key)
        await self._try(self._uploads.expire(now), "uploads")
        for folder in await self._store.folders("videos"):
            await self._try(self._tidy(folder.removeprefix("videos/"), before=now - GRACE_SECONDS), folder)
        for folder in ("owners", "incoming"):
            for entry in await self._store.entries(folder):
                if now - entry.modified > GRACE_SECONDS:
                    await self._try(self._store.delete(entry.key), entry.key)
        await self._try(self._store.delete_unfinished(now - GRACE_SECONDS), "what killed writers left")

    async def _try(self, work: Coroutine[None, None, None], what: str) -> None:
        try:
            await work
        except Exception as error:
            logger.warning("could not be deleted: %s", what, exc_info=error)

    async def _delete_ended(self, run_id: str) -> None:
        try:
            await self.delete((await RunLog.open(self._store, run_id)).run)
        except NotFound:  # an earlier deletion was cut short, or met a writer; its hold is found by `_tidy`
            await self._store.delete_all(f"runs/{run_id}")
            await self._store.delete(f"ended/{run_id}")
        logger.info("run deleted: its time was over", extra={"run_id": run_id})

    async def _tidy(self, token: str, *, before: float) -> None:
        """Release what is held by nobody any more, and delete the video if that was all."""
        entries, holds = await self._store.entries(f"videos/{token}"), f"videos/{token}/holds/"
        for entry in entries:
            name = entry.key.removeprefix(holds)
            if name != entry.key and entry.modified < before and not await self._is_there(name.partition(".")[0]):
                await self._videos.release(token, name)
        if all(entry.modified < before for entry in entries if not entry.key.endswith("/deleting")):
            await self._videos.delete_unheld(token)

    async def _is_there(self, of: str) -> bool:
        if await self._store.blob(event_key(of, 1)) or await self._store.blob(f"uploads/{of}/info.json"):
            return True
        return bool(await self._store.keys(f"active/{of}"))

    async def sweep_for_ever(self) -> None:
        """Sweep again and again. A sweep that fails is tried at the next time."""
        while True:
            # Replicas that started together need not all list the store at the same moments.
            await asyncio.sleep(self._settings.sweep_seconds * random.uniform(0.5, 1.5))  # noqa: S311
            await self._try(self.sweep(), "a sweep was cut short")
