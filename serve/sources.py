"""Files that somebody has sent, before it is known what they are."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from models.errors import InputTooLarge, NotFound
from models.record import REFERENCE_BYTES, Options, TextRun, UploadedRun, VideoInput
from models.video_input import MediaLimits
from models.words import CONTAINER, words_input, words_token
from serve.store import Store
from serve.uploads import CompletedUpload, Uploads
from serve.videos import Videos, reference_path

T = TypeVar("T")


@dataclass(frozen=True)
class Incoming:
    """A file as it came in with a request."""

    file: BinaryIO
    name: str
    """As the user calls it."""
    token: str
    """MD5 of its bytes, as 32 hexadecimal digits."""


@dataclass(frozen=True)
class SentReference:
    """A sound in the store that somebody has sent beside a file: the result is to sound like it."""

    path: str
    """Its key."""
    name: str
    token: str
    """MD5 of its bytes."""
    kept: str
    """Key of the sound that is listened to."""


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
    reference: SentReference | None = None
    trace: str | None = None
    """`traceparent` of the request that it came with."""


async def take_in(
    sent: Sent,
    held_by: str,
    *,
    look: Callable[[Sent], Awaitable[VideoInput]],
    check: Callable[[VideoInput], None],
    videos: Videos,
) -> VideoInput:
    """Look at a file, and keep it under this hold. Raises what `look` and `check` raise, and leaves nothing behind then."""
    if sent.reference:  # its sound is put where it stays already by whoever looks
        await videos.hold(sent.token, held_by)
    try:
        video_input = await look(sent)
        check(video_input)
        path = await videos.keep(sent.path, video_input, held_by)
    except BaseException:
        if sent.reference:
            await videos.release(sent.token, held_by)
        raise
    return video_input.model_copy(update={"path": path})


async def take_in_words(
    words: TextRun,
    held_by: str,
    *,
    limits: MediaLimits,
    check: Callable[[VideoInput], None],
    store: Store,
) -> VideoInput:
    """Keep words alone under this hold. Raises InvalidInput, also what `check` raises, and leaves nothing behind then."""
    key = f"videos/{words_token(words.text)}/source.{CONTAINER}"
    video_input = words_input(words.text, key=key, options=with_seed(words.options), limits=limits)
    check(video_input)
    videos = Videos(store)
    await videos.hold(video_input.token, held_by)
    try:
        if await store.blob(key) is None:
            await store.write(key, words.text.encode())
    except BaseException:
        await videos.release(video_input.token, held_by)
        raise
    return video_input


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
    reference = None
    if wanted.reference:
        heard = await uploads.completed(wanted.reference, key)
        if heard.size > REFERENCE_BYTES:
            raise reference_too_large()
        reference = SentReference(
            await _path(store, heard), heard.name, heard.token, reference_path(upload.token, heard.token, key)
        )
    return Sent(await _path(store, upload), upload.name, upload.token, with_seed(wanted.options), reference)


async def _path(store: Store, upload: CompletedUpload) -> str:
    if await store.blob(upload.path_key) is None:  # an earlier run of the same upload has put it in its place
        return await Videos(store).source(upload.token)
    return upload.path_key


def reference_too_large() -> InputTooLarge:
    """A reference that is beyond the limit."""
    return InputTooLarge(f"the reference is larger than the {REFERENCE_BYTES >> 20} MiB that are listened to")


def with_seed(options: Options) -> Options:
    """Drawn here, so that every attempt at a run makes the same sound, and its record says how to get it again."""
    return options if options.seed is not None else options.model_copy(update={"seed": secrets.randbelow(2**32)})
