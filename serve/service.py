"""What the web layer can ask for: runs accepted, told, followed, and their artifacts. Holds nothing but the store."""

import asyncio
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from models.errors import NotFound
from models.record import Event, Failed, ModuleInfo, Options, Progress, Run, VideoInput
from serve.detached import to_the_end
from serve.log import Heartbeat, RunLog, follow_events
from serve.store import Blob, Store

ARTIFACTS = ("video", "audio", "music", "sounds", "frame", "source")

Probe = Callable[[str, str, Options], Awaitable[VideoInput]]
"""(key of an upload, the user's name of the file, options) -> what it is. Raises InvalidInput."""


@dataclass(frozen=True)
class Backend:
    """The graph behind the service, as things to call."""

    probe: Probe
    start: Callable[[str], Awaitable[None]]
    """Begin working on the run with this id; returns as soon as somebody has taken it."""
    modules: Callable[[], Awaitable[Sequence[ModuleInfo]]]
    """What every module has loaded. Raises when one does not answer."""


class RunService:
    """Runs, from the outside."""

    def __init__(self, store: Store, backend: Backend, *, heartbeat_seconds: float = 10) -> None:
        self._store = store
        self._backend = backend
        self._heartbeat_seconds = heartbeat_seconds

    async def submit(self, file: BinaryIO, *, name: str, options: Options) -> Run:
        """Accept a run of this file, or raise InvalidInput and leave nothing behind.

        Also for a caller who leaves meanwhile: what was sent whole is either accepted and started, or gone.
        """
        return await to_the_end(self._submit(file, name=name, options=options))

    async def _submit(self, file: BinaryIO, *, name: str, options: Options) -> Run:
        if options.seed is None:
            # Drawn here, so that every attempt at this run makes the same sound, and its record says how to get it again.
            options = options.model_copy(update={"seed": secrets.randbelow(2**32)})
        upload = f"uploads/{uuid.uuid4().hex}"
        try:
            await asyncio.to_thread(self._store.put, upload, file)
            video_input = await self._backend.probe(upload, name, options)
            key = f"videos/{video_input.token}/source.{video_input.container}"
            if await self._store.blob(key) is None:  # else the same bytes are there, and other runs read them
                await self._store.move(upload, key)
        finally:
            await self._store.delete(upload)
        video_input = video_input.model_copy(update={"path": key})
        log = await RunLog.create(self._store, uuid.uuid4().hex, video_input)
        try:
            await self._backend.start(log.run.id)
        except Exception:
            # Nobody works on it, and nobody will: whoever follows it must not wait for ever.
            await log.append(Failed, module="video_input", kind="internal", message="the run could not be started")
            raise
        return log.run

    async def run(self, run_id: str) -> Run:
        """The run as it stands. Raises NotFound."""
        return (await RunLog.open(self._store, _checked(run_id))).run

    def events(self, run_id: str, *, after: int) -> AsyncIterator[Event | Progress | Heartbeat]:
        """The run's events from number after + 1, to the one that ends it."""
        return follow_events(self._store, _checked(run_id), after=after, heartbeat_seconds=self._heartbeat_seconds)

    async def artifact(self, run_id: str, name: str) -> Blob:
        """One of the run's files. Raises NotFound, saying why it is not there."""
        run = await self.run(run_id)
        if name not in ARTIFACTS:
            raise NotFound(f"there is no artifact {name[:40]!r}; there are {', '.join(ARTIFACTS)}")
        key = _artifact_key(run, name)
        blob = await self._store.blob(key) if key else None
        if blob is None:
            state = "has none" if run.ended_at else "has none yet"
            raise NotFound(f"this run {state}: {name} ({_why(run, name)})")
        return blob

    def stream(self, blob: Blob, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes of an artifact."""
        return self._store.stream(blob.key, start, end)

    async def modules(self) -> Sequence[ModuleInfo]:
        """What every module has loaded."""
        return await self._backend.modules()


def _checked(run_id: str) -> str:
    # Ids are made here, and are part of keys: nothing else may be.
    if not re.fullmatch(r"[0-9a-f]{32}", run_id):
        raise NotFound(f"there is no run {run_id[:40]!r}: an id is 32 hexadecimal digits")
    return run_id


def _artifact_key(run: Run, name: str) -> str | None:
    record = run.record
    if name == "source":
        return record.video_input.path
    if name == "frame":
        return record.selected.path if record.selected else None
    if name in ("video", "audio"):
        made = record.reconstruction
        return made.path if made and (made.picture == "none") == (name == "audio") else None
    stems = record.audio_generation.stems if record.audio_generation else ()
    return next((stem.path for stem in stems if stem.kind == name), None)


def _why(run: Run, name: str) -> str:
    made = run.record.reconstruction
    if name in ("music", "sounds") and name not in run.record.video_input.options.stems:
        return "it was not asked for"
    if name in ("video", "audio") and made:
        return f"the result is {made.format}: ask for {'video' if made.picture != 'none' else 'audio'}"
    return f"the run is {run.status}"
