"""Text tracks of mp4 and mov that nobody sees who does not ask for them.

ffmpeg enables the first text track of such a file, whether or not it is to be a default one, and players draw what is enabled over
the picture. No option of ffmpeg's changes that, so the flag is cleared in the written file: ISO/IEC 14496-12, 8.3.2 (`tkhd`).
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_ENABLED = 1
_TEXT_HANDLERS = (b"sbtl", b"text", b"subt")


def hide_texts(path: Path) -> None:
    """Mark every text track of an mp4 or mov file as not enabled, in place. No byte moves."""
    with path.open("r+b") as file:
        whole = (0, file.seek(0, os.SEEK_END))
        for movie in _boxes(file, whole, b"moov"):
            for track in _boxes(file, movie, b"trak"):
                if _handler(file, track) in _TEXT_HANDLERS:
                    for begin, _ in _boxes(file, track, b"tkhd"):
                        _clear(file, begin + 3)  # after the version, the last of three bytes of flags


def _handler(file: BinaryIO, track: tuple[int, int]) -> bytes:
    """What a track is for."""
    for media in _boxes(file, track, b"mdia"):
        for begin, _ in _boxes(file, media, b"hdlr"):
            file.seek(begin + 8)
            return file.read(4)
    return b""


def _clear(file: BinaryIO, at: int) -> None:
    file.seek(at)
    flags = file.read(1)[0]
    file.seek(at)
    file.write(bytes([flags & ~_ENABLED]))


def _boxes(file: BinaryIO, within: tuple[int, int], name: bytes) -> Iterator[tuple[int, int]]:
    """Where the contents of the boxes of a name begin and end, inside those of another one."""
    at, end = within
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, begin = int.from_bytes(head[:4]), at + 8
        if size == 1:
            size, begin = int.from_bytes(head[8:16]), at + 16
        following = at + size if size else end
        if following < begin:
            return
        if head[4:8] == name:
            yield begin, min(following, end)
        at = following
