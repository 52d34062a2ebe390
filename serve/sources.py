"""Files that somebody has sent, before it is known what they are."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from models.errors import NotFound
from models.record import Options, UploadedRun
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos

T = TypeVar("T")


@dataclass(frozen=True)
class Sent:
    """A file in the store that somebody has sent."""

    path: str
    """Its key."""
    name: str
    """As the user calls it."""
    token: str
    """MD5 of its bytes."""
    options: Options


async def with_upload(
    store: Store, uploads: Uploads, wanted: UploadedRun, key: str | None, use: Callable[[Sent], Awaitable[T]]
) -> T:
    """What `use` makes of the file of an upload. Raises NotFound, and Conflict when the upload is not complete."""
    sent = await _uploaded(store, uploads, wanted, key)
    try:
        return await use(sent)
    except NotFound:  # another run of the same upload has put it in its place meanwhile
        return await use(await _uploaded(store, uploads, wanted, key))


async def _uploaded(store: Store, uploads: Uploads, wanted: UploadedRun, key: str | None) -> Sent:
    upload = await uploads.completed(wanted.upload, key)
    path = upload.path_key
    if await store.blob(path) is None:  # an earlier run of the same upload has put it in its place
        path = await Videos(store).source(upload.token)
    return Sent(path, upload.name, upload.token, with_seed(wanted.options))


def with_seed(options: Options) -> Options:
    """Drawn here, so that every attempt at a run makes the same sound, and its record says how to get it again."""
    return options if options.seed is not None else options.model_copy(update={"seed": secrets.randbelow(2**32)})
