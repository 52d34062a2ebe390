"""Where an upload stands, read from its objects in the store. Changes nothing.

    uploads/<id>/info.json           what was announced
    uploads/<id>/parts/<offset>      one object per part, created only where there is none: of two who send the same one wins
    uploads/<id>/whole               all parts in one
    uploads/<id>/done.json           the token and the size; written when `whole` is there, and the parts are deleted then
    uploads/<id>/touched             somebody was sending a part, which may take long

An upload without `info.json` is one that is being deleted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.errors import NotFound
from models.schema import Frozen
from serve.store import Entry, Store

FOLDER = "uploads"
_ID = re.compile(r"[0-9a-f]{32}")


class Expired(NotFound):
    """An upload for which nothing came for too long."""


class UploadInfo(Frozen):
    """What is announced of a file before its first byte."""

    length: int
    """Bytes."""
    name: str
    """As the user calls it."""
    metadata: str | None = None
    """As it was sent, for whoever asks for it."""
    created_at: float
    """Unix time, seconds."""
    key: str | None = None
    """Name of the API key that it belongs to."""


class Done(Frozen):
    """What is known of a file when all of it has come."""

    token: str
    """MD5 of the bytes."""
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Upload:
    """Where an upload stands."""

    id: str
    info: UploadInfo
    offset: int
    """Bytes that have come in, from the first one on without a gap."""
    changed_at: float
    """When something came last: Unix time, seconds."""
    parts: tuple[Entry, ...]
    """The objects that hold these bytes. None when it is done."""
    done: Done | None

    @property
    def is_whole(self) -> bool:
        """Whether every byte has come in."""
        return self.offset == self.info.length


def path(upload_id: str, *names: str) -> str:
    return "/".join((FOLDER, upload_id, *names))


def part_path(upload_id: str, offset: int) -> str:
    return path(upload_id, "parts", f"{offset:015d}")


async def read_upload(store: Store, upload_id: str) -> Upload:
    """The upload as it is now. Raises NotFound."""
    if _ID.fullmatch(upload_id):
        entries = await store.entries(path(upload_id))
        info = await store.read(path(upload_id, "info.json"))
        if entries and info:
            # Read last: where the listing lacks parts that were deleted meanwhile, this is there already.
            done = await read_done(store, upload_id)
            return _upload(upload_id, entries, UploadInfo.model_validate_json(info), done)
    raise no_upload(upload_id)


async def read_done(store: Store, upload_id: str) -> Done | None:
    done = await store.read(path(upload_id, "done.json"))
    return Done.model_validate_json(done) if done else None


def no_upload(upload_id: str) -> NotFound:
    return NotFound(
        f"there is no upload {upload_id[:40]!r}: an id is 32 hexadecimal digits, and not every upload is kept"
    )


async def by_upload(store: Store) -> dict[str, list[Entry]]:
    """Everything that is under the folder of the uploads, by the name that stands below it."""
    found: dict[str, list[Entry]] = {}
    for entry in await store.entries(FOLDER):
        found.setdefault(entry.key.split("/")[1], []).append(entry)
    return found


def changed_at(entries: Sequence[Entry]) -> float:
    """When something was written last: Unix time, seconds. 0 of nothing."""
    return max((entry.modified for entry in entries), default=0.0)


def _upload(upload_id: str, entries: Sequence[Entry], info: UploadInfo, done: Done | None) -> Upload:
    if done:
        return Upload(upload_id, info, done.size, changed_at(entries), (), done)
    offset, parts = 0, []
    for entry in entries:  # in the order of their offsets, since that is how the keys are written
        if entry.key == part_path(upload_id, offset):
            parts.append(entry)
            offset += entry.size
    return Upload(upload_id, info, offset, changed_at(entries), tuple(parts), None)
