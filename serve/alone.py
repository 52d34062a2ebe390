"""Modules alone: a record in, the record with the module's output out.

A record that comes in was written by anybody. What it says of its source is not believed but looked up, and the files that it names
must be files of that source, which whoever asks must have sent.
"""

from collections.abc import Iterator

from models import steps
from models.errors import InvalidOptions, MissingOutput
from models.record import MODULES, Module, Record, UploadedRun
from serve.active import ActiveRuns
from serve.admission import Admission
from serve.detached import to_the_end
from serve.service import Backend
from serve.settings import AppSettings
from serve.sources import Sent, uploaded, with_seed
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos, holder


class ModuleService:
    """One module at a time, on any record that has what it reads."""

    def __init__(self, store: Store, uploads: Uploads, backend: Backend, settings: AppSettings) -> None:
        self._store = store
        self._uploads = uploads
        self._backend = backend
        self._settings = settings
        self._admission = Admission(ActiveRuns(store), settings)
        self._videos = Videos(store)

    async def video_input(self, wanted: UploadedRun, key: str | None) -> Record:
        """The first module: what an upload is. Its files stay as long as the upload does.

        Raises NotFound, Conflict when the upload is not complete, InvalidInput.
        """
        sent = await uploaded(self._store, self._uploads, wanted.upload, wanted.options, key)
        return await to_the_end(self._look_at(sent, holder(wanted.upload, key)))

    async def _look_at(self, sent: Sent, held_by: str) -> Record:
        video_input = await self._backend.probe(sent)
        self._admission.check_size(video_input)
        path = await self._videos.keep(sent.path, video_input, held_by)
        return Record(video_input=video_input.model_copy(update={"path": path}))

    async def compute(self, module: Module, record: Record, key: str | None) -> Record:
        """The record with the module's output. Raises NotFound, MissingOutput naming what the record lacks, InvalidOptions."""
        if getattr(record, module) is not None:
            raise InvalidOptions(f"the record has {module} already: take it out to have it computed again")
        steps.require(record, module)
        await self._admission.check_room(key)
        record = await self._checked(record, key)
        return record.append(await self._backend.compute(module, record, key))

    async def _checked(self, record: Record, key: str | None) -> Record:
        """The record, of whose source only the name and the options are believed."""
        said = record.video_input
        await self._videos.check_access(said.token, key)
        source = await self._videos.source(said.token)
        sent = Sent(source, said.name, said.token, with_seed(said.options))
        known = (await self._backend.probe(sent)).model_copy(update={"path": source})
        self._admission.check_size(known)
        record = record.model_copy(update={"video_input": known})
        most = self._settings.frame_extraction.max_frames
        if record.frame_extraction and len(record.frame_extraction.frames) > most:
            raise InvalidOptions(
                f"the record has {len(record.frame_extraction.frames)} frames; at most {most} are taken"
            )
        there = await self._videos.files(said.token)
        for path in _paths(record):
            if path not in there:
                raise MissingOutput(f"the record names {path[:120]!r}, and the source has no such file")
        for module in MODULES:
            if getattr(record, module) is not None and module not in record.modules:
                raise InvalidOptions(f"the record has {module}, which has nothing to do with an image")
        if record.frame_selection and record.selected is None and "frame_selection" in record.modules:
            raise InvalidOptions(f"frame_selection.index is {record.frame_selection.index}, and there is no such frame")
        return record


def _paths(record: Record) -> Iterator[str]:
    """Every file that the record names, besides its source."""
    for frame in record.frame_extraction.frames if record.frame_extraction else ():
        yield frame.path
    if record.frame_selection:
        yield record.frame_selection.path
    for stem in record.audio_generation.stems if record.audio_generation else ():
        yield stem.path
    if record.reconstruction:
        yield record.reconstruction.path
