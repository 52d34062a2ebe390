"""Files that somebody has sent, before it is known what they are."""

import secrets
from dataclasses import dataclass

from models.record import Options
from serve.store import Store
from serve.uploads import Uploads
from serve.videos import Videos


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


async def uploaded(store: Store, uploads: Uploads, upload_id: str, options: Options, key: str | None) -> Sent:
    """The file of an upload. Raises NotFound, and Conflict when it is not complete."""
    upload = await uploads.completed(upload_id, key)
    path = upload.path_key
    if await store.blob(path) is None:  # an earlier run of the same upload has put it in its place
        path = await Videos(store).source(upload.token)
    return Sent(path, upload.name, upload.token, with_seed(options))


def with_seed(options: Options) -> Options:
    """Drawn here, so that every attempt at a run makes the same sound, and its record says how to get it again."""
    return options if options.seed is not None else options.model_copy(update={"seed": secrets.randbelow(2**32)})
