"""What every module has loaded, as `GET /v1/modules` and `GET /readyz` tell it."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from models.errors import ImmersivaudioError
from models.record import ModuleInfo
from serve.detached import detached
from serve.modules import RELEASE
from serve.settings import AppSettings
from serve.store import Store

logger = logging.getLogger("ray.serve")

# How often the modules are asked what they have loaded: an upgrade replaces them one by one.
TOLD_SECONDS = 30.0
# That a question may wait in line until what was told before is told again; less than `READY_SECONDS` of serve/http_modules.py.
LINE_SECONDS = 1.0

_INFOS = TypeAdapter(tuple[ModuleInfo, ...])


class Loaded:
    """Asks the modules, and remembers what they said: here, and in the store for the next replica.

    A question waits in line like any work, behind minutes of it in a burst. A replica that comes in a burst is as able to work as
    those that had asked before it.
    """

    def __init__(
        self,
        store: Store,
        settings: AppSettings,
        *,
        ask: Callable[[], Awaitable[Sequence[ModuleInfo]]],
        all_there: Callable[[], bool],
    ) -> None:
        """ask: each module, now. all_there: whether every deployment has had a replica that runs, as far as is known here."""
        self._store, self._ask_them, self._all_there = store, ask, all_there
        told = hashlib.sha256(f"{RELEASE} {settings.model_dump_json()}".encode()).hexdigest()[:32]
        self._key = f"modules/{told}.json"
        self._loaded: Sequence[ModuleInfo] = ()
        """What this replica was told itself."""
        self._before: Sequence[ModuleInfo] = ()
        """What the store says, once it was read."""
        self._asked_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None

    def begin(self) -> asyncio.Task[None]:
        """Ask, unless somebody is asking. Nobody need wait for it."""
        if self._asking is None or self._asking.done():
            self._asking = detached(self._ask())
            # Else it would be complained about where nobody waits for it.
            self._asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        return self._asking

    async def info(self) -> Sequence[ModuleInfo]:
        """What every module had loaded when it was asked last, by this replica, or by another while they do not answer this one.

        Raises what the question has failed with, when nobody was told before, or a deployment has never had a replica.
        """
        if self._loaded:
            if time.monotonic() - self._asked_at > TOLD_SECONDS:
                self.begin()  # what was told before stands
            return self._loaded
        asking = self.begin()
        await asyncio.wait([asking], timeout=LINE_SECONDS)
        if not self._loaded and self._all_there():
            self._before = self._before or await self._told_before()
            if self._before:
                return self._before
        await asyncio.shield(asking)
        return self._loaded

    async def _ask(self) -> None:
        self._loaded = tuple(await self._ask_them())
        self._asked_at = time.monotonic()
        if self._loaded != self._before and (self._writing is None or self._writing.done()):
            self._writing = detached(self._write(self._loaded))

    async def _write(self, told: Sequence[ModuleInfo]) -> None:
        try:
            await self._store.write(self._key, _INFOS.dump_json(tuple(told)))
            self._before = told
        except ImmersivaudioError as error:  # at the next question again
            logger.warning("what the modules have loaded could not be written down", exc_info=error)

    async def _told_before(self) -> Sequence[ModuleInfo]:
        """By modules of this release with these settings, to whoever asked them."""
        with suppress(ImmersivaudioError, ValidationError):
            if data := await self._store.read(self._key):
                return _INFOS.validate_json(data)
        return ()
