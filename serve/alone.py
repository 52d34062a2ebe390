"""Modules alone: a record in, the record with the module's output out.

A record that comes in was written by anybody. What it says of its source is not believed but looked up, and the files that it names
must be files of that source, which whoever asks must have sent.
"""

import math
import re
import uuid
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import PurePosixPath

from models.dependencies import require
from models.errors import InvalidOptions, MissingOutput, NotFound, TooBusy
from models.record import MODULES, Module, Record, TextRun, UploadedRun, VideoInput
from models.words import words_input
from serve.active import ActiveRuns
from serve.admission import Admission
from serve.detached import to_the_end
from serve.modules import files_of
from serve.service import Backend
from serve.settings import AppSettings
from serve.sources import Sent, SentReference, take_in, take_in_words, with_seed, with_upload
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos, holder, reference_path


class ModuleService:
    """One module at a time, on any record that has what it reads."""

    def __init__(self, store: Store, uploads: Uploads, backend: Backend, settings: AppSettings) -> None:
        self._store = store
        self._uploads = uploads
        self._backend = backend
        self._settings = settings
        self._admission = Admission(ActiveRuns(store), settings)
        self._videos = Videos(store)
        self._computing = 0

    async def video_input(self, wanted: UploadedRun | TextRun, key: str | None) -> Record:
        """The first module: what an upload is, or words alone. An upload's files stay as long as it does, words for a day or so.

        Raises NotFound, Conflict when the upload is not complete, InvalidInput.
        """
        if isinstance(wanted, TextRun):
            return await to_the_end(self._take_words(wanted, holder(uuid.uuid4().hex, key)))

        async def look(sent: Sent) -> Record:
            return await to_the_end(self._look_at(sent, holder(wanted.upload, key)))

        return await with_upload(self._store, self._uploads, wanted, key, look)

    async def _take_words(self, wanted: TextRun, held_by: str) -> Record:
        # Of a run that never is: retention finds that, and gives the words up.
        limits, check = self._settings.limits_of_all, self._admission.check_run
        return Record(video_input=await take_in_words(wanted, held_by, limits=limits, check=check, store=self._store))

    async def _look_at(self, sent: Sent, held_by: str) -> Record:
        look, check = self._backend.probe, self._admission.check_run
        return Record(video_input=await take_in(sent, held_by, look=look, check=check, videos=self._videos))

    async def compute(self, module: Module, record: Record, key: str | None) -> Record:
        """The record with the module's output. Raises NotFound, MissingOutput naming what the record lacks, InvalidOptions."""
        if getattr(record, module) is not None:
            raise InvalidOptions(f"the record has {module} already: take it out to have it computed again")
        require(record, module)
        await self._admission.check_room(key)
        if self._computing >= self._settings.runs.waiting:
            raise TooBusy(f"{self._computing} modules are being computed alone, which is as many as may be")
        token, held_by = record.video_input.token, holder(uuid.uuid4().hex, key)
        await self._videos.check_access(token, key)
        self._computing += 1
        try:
            await self._videos.hold(token, held_by)  # whatever becomes of the runs that hold it
            record = await self._checked(record, key)
            return record.append(await self._backend.compute(module, record, key))
        finally:
            self._computing -= 1
            await to_the_end(self._videos.release(token, held_by))

    async def _checked(self, record: Record, key: str | None) -> Record:
        """The record, of whose source only the name, the options and what the reference is called are believed."""
        said = record.video_input
        words = said.media == "text"
        source = await self._videos.source(said.token, words=words)
        there = await self._videos.files(said.token)
        reference = _reference(said, key)
        _check_files([*files_of(record), *([reference.kept] if reference else [])], there)
        known = await self._words(said, source) if words else await self._seen(said, source, reference)
        self._admission.check_run(known)
        record = record.model_copy(update={"video_input": known})
        most = self._settings.frame_extraction.max_frames
        if record.frame_extraction and len(record.frame_extraction.frames) > most:
            raise InvalidOptions(
                f"the record has {len(record.frame_extraction.frames)} frames; at most {most} are taken"
            )
        _check_frames(record)
        _check_stems(record)
        for module in MODULES:
            if getattr(record, module) is not None and module not in record.modules:
                raise InvalidOptions(f"the record has {module}, which has nothing to do with {known.kind}")
        if chosen := record.frame_selection:
            if record.selected is None:
                raise InvalidOptions(f"frame_selection.index is {chosen.index}, and there is no such frame")
            if chosen.path != record.selected.path:
                raise InvalidOptions("frame_selection.path is not that of the frame which frame_selection.index names")
            _check_scenes(record)
        return record

    async def _seen(self, said: VideoInput, source: str, reference: SentReference | None) -> VideoInput:
        sent = Sent(source, said.name, said.token, with_seed(said.options), reference)
        return (await self._backend.probe(sent)).model_copy(update={"path": source})

    async def _words(self, said: VideoInput, source: str) -> VideoInput:
        text = await self._store.read(source)
        if text is None:
            raise NotFound(f"there is no file with the token {said.token}")
        options, limits = with_seed(said.options), self._settings.limits_of_all
        return words_input(text.decode(), key=source, options=options, limits=limits)


def _reference(said: VideoInput, key: str | None) -> SentReference | None:
    """The reference, where that of this API key must lie."""
    if said.reference is None:
        return None
    kept = reference_path(said.token, said.reference.token, key)
    return SentReference(kept, said.reference.name, said.reference.token, kept)


def _check_frames(record: Record) -> None:
    shown = [frame.seconds for frame in record.frame_extraction.frames] if record.frame_extraction else []
    if any(late < early for early, late in pairwise([0, *shown, record.video_input.result_seconds])):
        raise InvalidOptions(
            "the frames' times in frame_extraction are not in order, or lie outside of the video: "
            f"it lasts {record.video_input.result_seconds:g} s"
        )


def _check_scenes(record: Record) -> None:
    frames, scenes = record.pictures, record.scenes
    if any(scene.index >= len(frames) or scene.path != frames[scene.index].path for scene in scenes):
        raise InvalidOptions("a scene's index and path in frame_selection.scenes are not those of one frame")
    if not math.isclose(scenes[-1].end_seconds, record.video_input.result_seconds, abs_tol=1e-6):
        raise InvalidOptions(
            f"the last of frame_selection.scenes must end with the video, at {record.video_input.result_seconds:g} s"
        )


def _check_files(named: Sequence[str], there: Collection[str]) -> None:
    for path in named:
        if path not in there:
            raise MissingOutput(f"the record names {path[:120]!r}, and the source has no such file")


def _check_stems(record: Record) -> None:
    stems = record.audio_generation.stems if record.audio_generation else ()
    if len({stem.kind for stem in stems}) < len(stems):
        raise InvalidOptions("the record has several stems of one kind")
    for stem in stems:
        if not re.fullmatch(rf"{stem.kind}(-\d)?\.flac", PurePosixPath(stem.path).name):
            raise MissingOutput(f"the record names {stem.path[:120]!r} for its {stem.kind}, and that is another file")
