"""`video_input`: what came in. A file is judged by its content, never by its name, and before any model runs.

The cost of looking does not grow with a video's length: headers, one decoded frame, the packets at the end of the file. (The
token alone is a checksum of every byte, and is computed as they come in.)
"""

import hashlib
import re
import unicodedata
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from av.container import InputContainer
from PIL import Image, UnidentifiedImageError
from pydantic import Field

from models import media
from models.animations import animation
from models.errors import DamagedMedia, InputTooLarge, InvalidInput, UnsupportedMedia
from models.file_signatures import HEAD_BYTES, begins_like, description, promised_bytes
from models.own_sound import own_sound
from models.picture import ORIENTATION, QUARTER_TURNS, open_image
from models.picture_track import PictureTrack, is_cover
from models.record import Options, Stream, VideoInput
from models.schema import Frozen

READ_HERE = (
    "videos (mp4, mov, mkv, webm, avi, ts, mpg, flv, wmv, ogv, animated gif, png, webp and avif) "
    "and images (jpeg, png, webp, bmp, tiff, gif, heic, avif) are read"
)
NAME_LENGTH = 255
_MOVING = ("GIF", "PNG")  # ffmpeg reads these animations; see `models.animations` for the others
_IMAGES = {"MPO": "jpeg", "HEIF": "heic"}
_CONTAINERS = {"mpegts": "ts", "mpeg": "mpg", "asf": "wmv"}
_STREAM_KINDS = ("video", "audio", "subtitle", "data", "attachment")
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # control characters, marks that turn the writing around, halves of characters
_JOINERS = "\u200c\u200d"  # they shape words and emoji


class MediaLimits(Frozen):
    """What is too large to be worked with."""

    max_seconds: float = Field(4 * 3600, gt=0, le=24 * 3600)
    """Longest video, and longest time that an image is shown."""
    max_pixels: int = Field(8192 * 8192, ge=1, le=89_478_485)
    """Largest frame or image, width times height. Pillow warns of images beyond the upper bound."""
    max_side: int = Field(16_384, ge=1, le=65_535)
    """Longest side of a frame or an image, in pixels."""
    max_streams: int = Field(64, ge=1, le=1000)
    """Streams in one file."""

    def check_size(self, width: int, height: int) -> None:
        """Raise InputTooLarge for a picture beyond the limits."""
        if width * height > self.max_pixels or max(width, height) > self.max_side:
            raise InputTooLarge(
                f"its picture is {width} x {height} pixels; at most {self.max_pixels} pixels "
                f"and {self.max_side} on a side are allowed"
            )

    def check_length(self, seconds: float) -> None:
        """Raise InputTooLarge for a video beyond the limits."""
        if seconds > self.max_seconds:
            raise InputTooLarge(f"it lasts {seconds:.1f} s; at most {self.max_seconds:g} s are allowed")

    def check_seconds(self, options: Options) -> None:
        """Raise InputTooLarge for an image that is to be shown for longer than a video may last."""
        if options.seconds > self.max_seconds:
            raise InputTooLarge(
                f"seconds = {options.seconds:g} is asked for; at most {self.max_seconds:g} s are allowed"
            )


@dataclass(frozen=True)
class _Seen:
    """What a look at the file tells; the fields are those of `VideoInput`."""

    media: Literal["video", "image"]
    container: str
    width: int
    height: int
    duration_seconds: float | None = None
    start_seconds: float = 0
    frame_rate: float | None = None
    has_audio: bool = False
    streams: tuple[Stream, ...] = ()


def file_token(path: Path) -> str:
    """MD5 of the file's bytes, as 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def display_name(name: str) -> str:
    """A user's file name for people to read: its last part, without control characters, 1 to 255 characters long."""
    parts = ("".join(filter(_is_shown, part)).strip() for part in re.split(r"[/\\]", name))
    named = [part for part in parts if part.strip(".")]
    return named[-1][:NAME_LENGTH] if named else "unnamed"


@dataclass(frozen=True)
class SourceFile:
    """A file that somebody sent."""

    path: Path
    name: str
    """As the user calls it."""
    key: str
    """What the record calls it: its key in the store."""
    token: str
    """MD5 of its bytes, as 32 hexadecimal digits."""

    @classmethod
    def of(cls, path: Path, *, name: str, key: str) -> Self:
        """The file, with the token computed here, which takes a look at every byte."""
        return cls(path, name, key, file_token(path))


def probe(source: SourceFile, *, options: Options, limits: MediaLimits) -> VideoInput:
    """Look at a file that somebody sent, and say what it is.

    Raises UnsupportedMedia, DamagedMedia or InputTooLarge, with the name and what is wrong.
    """
    name, path = display_name(source.name), source.path
    try:
        seen = (
            _look_at_animation(path, limits=limits)
            or _look_at_image(path, limits=limits)
            or _look_at_video(path, limits=limits)
        )
        if seen.media == "image":
            limits.check_seconds(options)
    except InvalidInput as error:
        raise type(error)(f"{name}: {error}") from error
    return VideoInput(
        token=source.token,
        name=name,
        path=source.key,
        size_bytes=path.stat().st_size,
        options=options,
        **vars(seen),
    )


def _look_at_animation(source: Path, *, limits: MediaLimits) -> _Seen | None:
    """None for what is no animated WebP or AVIF."""
    found = animation(source, check_size=limits.check_size)
    if found is None:
        return None
    limits.check_length(found.seconds)
    return _Seen(
        media="video",
        container=found.kind,
        width=found.width,
        height=found.height,
        duration_seconds=found.seconds,
        frame_rate=found.frame_rate,
        streams=(Stream(index=0, kind="video", codec=found.kind),),
    )


def _look_at_image(source: Path, *, limits: MediaLimits) -> _Seen | None:
    """None for what is not an image, or is one that moves."""
    try:
        with open_image(source) as image:
            limits.check_size(*image.size)
            kind = str(image.format)
            if kind in _MOVING and getattr(image, "is_animated", False):
                return None
            image.load()
            turned = image.getexif().get(ORIENTATION) in QUARTER_TURNS
            width, height = reversed(image.size) if turned else image.size
            return _Seen("image", _IMAGES.get(kind, kind.lower()), width, height)
    except UnidentifiedImageError:
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputTooLarge(
            f"it is an image of more than {limits.max_pixels} pixels, which is the most allowed"
        ) from error
    except InvalidInput:
        raise
    except Exception as error:  # Pillow's readers stumble over a stranger's bytes in any way there is
        raise DamagedMedia(f"it is an image that cannot be decoded to its end: {error}") from error


def _look_at_video(source: Path, *, limits: MediaLimits) -> _Seen:
    size, promised = source.stat().st_size, promised_bytes(source)
    if promised > size:
        raise DamagedMedia(f"it is cut short: {size} of {promised} bytes are there")
    with source.open("rb") as file:
        head = file.read(HEAD_BYTES)
    with ExitStack() as stack:
        try:
            container = stack.enter_context(media.open_media(source))
        except UnsupportedMedia as error:
            if kind := begins_like(head):
                raise DamagedMedia(f"it begins like {kind}, but what is needed to show it is missing") from error
            raise UnsupportedMedia(f"it is {description(head)}; {READ_HERE}") from error
        _check(container, limits=limits)
        track = PictureTrack(container)
        limits.check_size(*track.size)
        limits.check_length(track.seconds)
        width, height = track.size
        return _Seen(
            media="video",
            container=_container_name(container, head),
            width=width,
            height=height,
            duration_seconds=track.seconds,
            start_seconds=float(track.start * track.time_base),
            frame_rate=float(track.rate),
            has_audio=_has_sound(source),
            streams=tuple(map(_stream, container.streams)),
        )


def _check(container: InputContainer, *, limits: MediaLimits) -> None:
    """Before anything is decoded."""
    if len(container.streams) > limits.max_streams:
        raise InputTooLarge(f"it has {len(container.streams)} streams; at most {limits.max_streams} are allowed")
    pictures = [stream for stream in container.streams.video if not is_cover(stream)]
    if not pictures:
        has = "sound but no picture" if container.streams.audio else "no picture"
        raise UnsupportedMedia(f"it has {has}; {READ_HERE}")
    for stream in pictures:
        if stream.codec_context is not None:
            limits.check_size(stream.codec_context.width, stream.codec_context.height)


def _has_sound(source: Path) -> bool:
    """Whether any sound can be decoded. Opened anew: the picture's reader has moved on."""
    with media.open_media(source) as container:
        return own_sound(container) is not None


def _container_name(container: InputContainer, head: bytes) -> str:
    """As in a file's ending."""
    name = container.format.name
    if name.startswith("mov,"):
        brand = container.metadata.get("major_brand", "qt").strip()
        return {"qt": "mov", "3g": "3gp"}.get(brand[:2], "mp4")
    if name.startswith("matroska"):
        return "webm" if b"\x42\x82\x84webm" in head else "mkv"
    return _CONTAINERS.get(name, name)


def _stream(stream: Any) -> Stream:
    kind = stream.type if stream.type in _STREAM_KINDS else "data"
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    language, title = tags.get("language", ""), "".join(filter(_is_shown, tags.get("title") or tags.get("name", "")))
    return Stream(
        index=stream.index,
        kind="attachment" if kind == "video" and is_cover(stream) else kind,
        codec=stream.codec_context.codec.canonical_name if stream.codec_context else "unknown",
        language=language
        if re.fullmatch("[A-Za-z]{2,3}(-[A-Za-z0-9-]{1,32})?", language) and language != "und"
        else None,
        title=title[:NAME_LENGTH] or None,
    )


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in _HIDDEN or character in _JOINERS
