"""`video_input` of words alone: a sound is made of them, and there is no picture."""

import hashlib
from typing import get_args

from models.errors import InvalidOptions
from models.record import AUDIO_FORMATS, Options, VideoFormat, VideoInput
from models.video_input import MediaLimits

CONTAINER = "txt"
TITLE_LENGTH = 60


def words_token(text: str) -> str:
    """MD5 of the words' UTF-8 bytes, as 32 hexadecimal digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def words_input(text: str, *, key: str, options: Options, limits: MediaLimits) -> VideoInput:
    """`video_input` of a run that begins with these words; `key`: what the record calls the file that they lie in.

    Raises InputTooLarge for a sound beyond the limits, and InvalidOptions for a format that needs a picture.
    """
    check_format(options)
    limits.check_seconds(options)
    return VideoInput(
        token=words_token(text),
        name=title(text),
        media="text",
        path=key,
        container=CONTAINER,
        size_bytes=len(text.encode()),
        duration_seconds=None,
        width=0,
        height=0,
        frame_rate=None,
        has_audio=False,
        streams=(),
        options=options,
        text=text,
    )


def check_format(options: Options) -> None:
    """Raise InvalidOptions for a format that needs a picture."""
    if options.format in get_args(VideoFormat):
        raise InvalidOptions(
            f"format is {options.format}, a video's, and there is no picture to words alone: "
            f"ask for one of {', '.join(AUDIO_FORMATS)}"
        )


def title(text: str) -> str:
    """The words as a name for people to read: on one line, the first of them."""
    line = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return line if len(line) <= TITLE_LENGTH else line[: TITLE_LENGTH - 1].rstrip() + "…"
