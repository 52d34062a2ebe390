"""What the web layer can ask for: runs accepted, told, followed, changed and ended, and their files. Holds nothing but the store.

`key` is everywhere the name of the API key of whoever asks, None where the service asks for none. What belongs to another key is
not there.
"""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from models.errors import NotFound, StorageFull
from models.record import (
    Event,
    Module,
    ModuleInfo,
    Options,
    Outputs,
    Progress,
    Record,
    Rerun,
    Run,
    TextRun,
    UploadedRun,
    VideoInput,
)
from models.words import check_format
from serve.active import ActiveRuns
from serve.admission import Admission
from serve.artifacts import CANDIDATE, KEPT, artifacts, why
from serve.detached import detached, to_the_end
from serve.log import Heartbeat, RunLog, cancel, event_key, follow_events
from serve.metrics import Metrics
from serve.rerun import changed
from serve.retention import Retention
from serve.settings import AppSettings
from serve.sources import Incoming, Sent, SentReference, take_in, take_in_words, with_seed, with_upload
from serve.store import Blob, Store
from serve.uploads import Uploads
from serve.videos import Videos, holder, reference_path

NUDGE_SECONDS = 5.0
ENDED_KEPT = 256  # ended runs in memory
# What a record may name: the source, references, and what modules made of it (version 1 had its frames elsewhere).
_FILE = re.compile(
    r"videos/([0-9a-f]{32})/"
    r"(source|references/(?P<reference>[0-9a-f]{32})(-[0-9a-f]{16})?"
    r"|made/[0-9a-f]{32}-[0-9a-f]{8}/[\w-]{1,40}|frames-[0-9a-f]{12}/\w{1,9})\.\w{1,5}",
    re.ASCII,
)


@dataclass(frozen=True)
class Backend:
    """The graph behind the service, as things to call."""

    probe: Callable[[Sent], Awaitable[VideoInput]]
    """What the file is. Raises InvalidInput."""
    nudge: Callable[[], Awaitable[None]]
    """A run has been accepted. It is found without that too, later."""
    compute: Callable[[Module, Record, str | None], Awaitable[Outputs]]
    """One module alone, for this API key."""
    modules: Callable[[], Awaitable[Sequence[ModuleInfo]]]
    """What every module has loaded. Raises when one does not answer."""


class RunService:
    """Runs, from the outside."""

    def __init__(self, store: Store, backend: Backend, settings: AppSettings, metrics: Metrics) -> None:
        self.uploads = Uploads(store, settings.uploads, on_bytes=metrics.uploaded)
        self._store = store
        self._backend = backend
        self._settings = settings
        self._metrics = metrics
        self._active = ActiveRuns(store)
        self._admission = Admission(self._active, settings)
        self._videos = Videos(store)
        self._retention = Retention(store, self.uploads, settings.retention)
        self._nudges: set[asyncio.Task[None]] = set()
        self._ended: dict[str, Run] = {}

    async def check_room(self, key: str | None) -> None:
        """Raise TooBusy when no further run is taken now."""
        await self._admission.check_room(key)

    async def submit(
        self, file: Incoming, *, options: Options, key: str | None, reference: Incoming | None = None
    ) -> Run:
        """Accept a run of this file, which is to sound like the reference, or raise InvalidInput and leave nothing behind.

        Also for a caller who leaves meanwhile: what was sent whole is either accepted, or gone.
        """
        folder = f"incoming/{uuid.uuid4().hex}"
        files = {f"{folder}/file": file.file}
        heard = None
        if reference:
            kept = reference_path(file.token, reference.token, key)
            heard = SentReference(f"{folder}/reference", reference.name, reference.token, kept)
            files[heard.path] = reference.file
        sent = Sent(f"{folder}/file", file.name, file.token, with_seed(options), heard)
        return await to_the_end(self._submit(files, sent, key))

    async def _submit(self, files: Mapping[str, BinaryIO], sent: Sent, key: str | None) -> Run:
        size = sum(file.seek(0, os.SEEK_END) for file in files.values())
        free = self._store.free_bytes()
        if free is not None and free < size + self._settings.uploads.reserve_bytes:
            raise StorageFull(f"there is no space for {size} bytes")
        try:
            for path, file in files.items():
                file.seek(0)
                await asyncio.to_thread(self._store.put, path, file)
            return await self._accept(sent, key)
        finally:
            await self._store.delete_all(sent.path.rpartition("/")[0])

    async def submit_upload(self, wanted: UploadedRun, key: str | None) -> Run:
        """Accept a run of a file that was uploaded before. Raises NotFound, Conflict when it is not complete, InvalidInput."""

        async def accept(sent: Sent) -> Run:
            return await to_the_end(self._accept(sent, key))

        return await with_upload(self._store, self.uploads, wanted, key, accept)

    async def submit_text(self, words: TextRun, key: str | None) -> Run:
        """Accept a run of words alone, or raise InvalidInput and leave nothing behind."""
        return await to_the_end(self._accept_words(words, key))

    async def _accept_words(self, words: TextRun, key: str | None) -> Run:
        run_id = uuid.uuid4().hex
        limits, check = self._settings.limits_of_all, self._admission.check_run
        video_input = await take_in_words(words, holder(run_id, key), limits=limits, check=check, store=self._store)
        return await self._begin(run_id, video_input, key=key)

    async def _accept(self, sent: Sent, key: str | None) -> Run:
        run_id = uuid.uuid4().hex
        look, check = self._backend.probe, self._admission.check_run
        video_input = await take_in(sent, holder(run_id, key), look=look, check=check, videos=self._videos)
        return await self._begin(run_id, video_input, key=key)

    async def _begin(
        self,
        run_id: str,
        video_input: VideoInput,
        *,
        key: str | None,
        rerun_of: str | None = None,
        outputs: Outputs | None = None,
    ) -> Run:
        """The run of a video that is held. Whatever fails before the run is there gives the video up again."""
        try:
            await self._active.open(run_id, key)
            await self._admission.check_place(run_id, key)  # who came at the same moment may have taken the last one
            log = await RunLog.create(self._store, run_id, video_input, key=key, rerun_of=rerun_of, outputs=outputs)
        except BaseException:
            await self._active.forget(run_id)
            await self._videos.release(video_input.token, holder(run_id, key))
            raise
        self._metrics.run_accepted()
        task = detached(self._nudge())
        self._nudges.add(task)
        task.add_done_callback(self._nudges.discard)
        return log.run

    async def _nudge(self) -> None:
        try:
            async with asyncio.timeout(NUDGE_SECONDS):
                await self._backend.nudge()
        except Exception:  # noqa: S110 (nobody has to hear it: the run is in the store, and will be found there)
            pass

    async def rerun(self, run_id: str, wanted: Rerun, key: str | None) -> Run:
        """Accept a new run that changes this one. Raises NotFound and InvalidInput."""
        old = await self.run(run_id, key)
        options, outputs = changed(old.record, wanted)
        video_input = old.record.video_input.model_copy(update={"options": with_seed(options)})
        if video_input.media != "video":
            self._settings.limits_of_all.check_seconds(options)
        if video_input.media == "text":
            check_format(options)
        self._admission.check_run(video_input)
        return await to_the_end(self._rerun(old, video_input, outputs))

    async def _rerun(self, old: Run, video_input: VideoInput, outputs: Outputs) -> Run:
        run_id = uuid.uuid4().hex
        await self._videos.hold(video_input.token, holder(run_id, old.key))
        if await self._store.blob(video_input.path) is None:
            await self._videos.release(video_input.token, holder(run_id, old.key))
            raise NotFound(f"run {old.id} is being deleted")
        return await self._begin(run_id, video_input, key=old.key, rerun_of=old.id, outputs=outputs)

    async def run(self, run_id: str, key: str | None) -> Run:
        """The run as it stands. Raises NotFound."""
        if not re.fullmatch(r"[0-9a-f]{32}", run_id):  # ids are made here, and are part of keys: nothing else may be
            raise NotFound(f"there is no run {run_id[:40]!r}: an id is 32 hexadecimal digits")
        run = self._ended.get(run_id)
        if run is None or await self._store.blob(event_key(run_id, 1)) is None:
            run = (await RunLog.open(self._store, run_id)).run
        if run.ended_at is not None:  # it changes no more: its log need not be read again for every part of its result
            self._ended[run_id] = run
            while len(self._ended) > ENDED_KEPT:
                self._ended.pop(next(iter(self._ended)))
        if run.key != key:
            raise NotFound(f"there is no run {run_id}")
        return run

    def events(self, run_id: str, *, after: int) -> AsyncIterator[Event | Progress | Heartbeat]:
        """The events of a run that `run` has found, from number after + 1, to the one that ends it."""
        heartbeat_seconds = self._settings.heartbeat_seconds
        return follow_events(self._store, run_id, after=after, heartbeat_seconds=heartbeat_seconds)

    async def cancel(self, run_id: str, key: str | None) -> Run:
        """The run, cancelled; as it is when it has ended. Raises NotFound."""
        run = await self.run(run_id, key)
        if run.ended_at is None:
            run = await cancel(self._store, run_id)
            if run.status == "cancelled" and run.ended_at is not None:
                self._metrics.run_ended(run.status, run.ended_at - run.created_at)
            await self._active.close(run_id)
        return run

    async def delete(self, run_id: str, key: str | None) -> Run | None:
        """Cancel the run, and return it; delete it when it has ended, and return None. Raises NotFound."""
        run = await self.run(run_id, key)
        if run.ended_at is None:
            return await self.cancel(run_id, key)
        await to_the_end(self._retention.delete(run))
        return None

    async def artifact(self, run_id: str, name: str, key: str | None) -> Blob:
        """One of the run's files. Raises NotFound, saying why it is not there."""
        run = await self.run(run_id, key)
        paths = artifacts(run.record)
        if name not in paths and not CANDIDATE.fullmatch(name):
            kept = "" if any(map(CANDIDATE.fullmatch, paths)) else f", and {KEPT}"
            raise NotFound(f"there is no artifact {name[:40]!r}; there are {', '.join(paths)}{kept}")
        path = paths.get(name)
        blob = await self._store.blob(path) if path else None
        if blob is None:
            state = "has none" if run.ended_at else "has none yet"
            raise NotFound(f"this run {state}: {name} ({why(run, name)})")
        return blob

    async def file(self, path: str, key: str | None) -> Blob:
        """Any file that a record of this API key names. Raises NotFound."""
        found = _FILE.fullmatch(path)
        if found is None:
            raise NotFound(f"there is no file {path[:120]!r}; records name files as videos/…")
        await self._videos.check_access(found[1], key)
        reference = found["reference"]
        own = reference is None or path == reference_path(found[1], reference, key)
        blob = await self._store.blob(path) if own else None
        if blob is None:
            raise NotFound(f"there is no file {path[:120]!r}")
        return blob

    def stream(self, blob: Blob, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes of a file."""
        return self._store.stream(blob.key, start, end)

    async def signed_url(self, blob: Blob) -> str | None:
        """Where the bucket itself hands out the file; None where the service does."""
        seconds = self._settings.presigned_seconds
        return await self._store.sign(blob.key, seconds=seconds) if seconds else None

    async def modules(self) -> Sequence[ModuleInfo]:
        """What every module has loaded."""
        return await self._backend.modules()
