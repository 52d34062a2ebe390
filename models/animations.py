"""Animated WebP and AVIF, for ffmpeg and PyAV: one of them does not decode the first, and both take the second for a still.

Pillow decodes them. `readable` writes what it decodes as a video for as long as that is needed: nothing of the colours is lost,
and every frame is shown for as long as in the animation. What is transparent is black, as in the stills of `models.picture`: so
the vision models and the result have the same picture, and it is what ffmpeg makes of a transparent GIF.
"""

import errno
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import numpy as np
from av.container import OutputContainer
from PIL import Image

from models import work
from models.errors import DamagedMedia, ImmersivaudioError, InputTooLarge, StorageFull
from models.picture import open_image, over_black

MAX_FRAMES = 3000
MAX_PIXELS = 2**27
"""Of all frames together: sixty-five of 1080p, or six hundred of 360p."""
MAX_BYTES = 64 * 2**20
"""Of the file. What decoding costs goes by the bytes as much as by the pixels: noise takes ten times as long as a drawing."""
LOOK_SECONDS, COPY_SECONDS = 20.0, 60.0
"""For decoding all of it in a look, and for a copy of it. The worst that the other limits allow is a fifth of that on an idle
machine; this ends what is made to be slower."""
MOST_OTHER_CHUNKS = 1000  # of one WebP; three or four are usual
HASTY_MS, SHOWN_MS = 10, 100
"""Frames of up to so many milliseconds are shown for so many: nobody meant them, and so do browsers."""

_AS_A_VIDEO = "as a video (mp4, webm) it may be longer"
_HEAD_BYTES = 64
_WEBP_MOVES = 0x02
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Without loss, and five times as fast as FFV1. Keyframes are near, for whoever takes single frames.
_LOSSLESS = {"preset": "ultrafast", "qp": "0", "threads": "1", "sc_threshold": "0"}
_GOP = 12


@dataclass(frozen=True)
class Animation:
    """What an animation is. Of WebP, its structure tells; of AVIF, all frames are decoded."""

    kind: Literal["webp", "avif"]
    width: int
    height: int
    milliseconds: tuple[int, ...]
    """How long each frame is shown."""

    @property
    def seconds(self) -> float:
        return sum(self.milliseconds) / 1000

    @property
    def frame_rate(self) -> float:
        """Average frames per second."""
        return len(self.milliseconds) / self.seconds


def kind_of(path: Path) -> Literal["webp", "avif"] | None:
    """What a file that calls itself animated is, by its first bytes; None for every other file."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X":
        return "webp" if head[20:21] and head[20] & _WEBP_MOVES else None
    if head[4:8] == b"ftyp":
        brands = head[8 : min(int.from_bytes(head[:4], "big"), _HEAD_BYTES)]
        return "avif" if b"avis" in (brands[at : at + 4] for at in range(0, len(brands), 4) if at != 4) else None
    return None


def animation(path: Path, *, check_size: Callable[[int, int], None]) -> Animation | None:
    """None for every file that is not an animated WebP or AVIF of several frames. Its first frame is decoded.

    check_size: raises when a frame, width times height, is too large to be decoded.
    Raises DamagedMedia, and InputTooLarge beyond MAX_BYTES, MAX_FRAMES, MAX_PIXELS in all frames together, or LOOK_SECONDS.
    """
    kind = kind_of(path)
    if kind is None:
        return None
    until = time.monotonic() + LOOK_SECONDS
    found = _structure(path, kind, until=until, check_size=check_size)
    if len(found.milliseconds) == 1:
        return None
    next(_frames(path, until=until))
    return found


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """A video that ffmpeg and PyAV read: the file itself, or, of an animated WebP or AVIF, a copy that is removed afterwards.

    Making the copy decodes every frame, for up to COPY_SECONDS. Whoever opens a file several times does so inside, on what is
    yielded: that is read where it lies. Raises as `animation` does, and Cancelled, and StorageFull.
    """
    kind = kind_of(path)
    if kind is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="immersivaudio-") as folder:
        video = Path(folder, "animation.mkv")
        _write(path, kind, video)
        yield video


def _anything(width: int, height: int) -> None:
    """No size is too large."""


def _structure(
    path: Path, kind: Literal["webp", "avif"], *, until: float, check_size: Callable[[int, int], None] = _anything
) -> Animation:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputTooLarge(f"it is an animation of {size} bytes; at most {MAX_BYTES} are allowed: {_AS_A_VIDEO}")
    return _webp(path, size, check_size) if kind == "webp" else _avif(path, check_size, until=until)


def _webp(path: Path, size: int, check_size: Callable[[int, int], None]) -> Animation:
    with path.open("rb") as file:
        head = file.read(30)
        promised = 8 + int.from_bytes(head[4:8], "little")
        if size < promised:
            raise DamagedMedia(f"it is cut short: {size} of {promised} bytes are there")
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        check_size(width, height)
        shown = tuple(_webp_milliseconds(file, promised))
    if not shown:
        raise DamagedMedia("it says that it is an animation, but has no frames")
    _check(len(shown), width * height)
    return Animation("webp", width, height, shown)


def _avif(path: Path, check_size: Callable[[int, int], None], *, until: float) -> Animation:
    with _opened(path) as image:
        width, height = image.size
    check_size(width, height)
    return Animation("avif", width, height, tuple(shown for _, shown in _frames(path, until=until)))


def _webp_milliseconds(file: BinaryIO, end: int) -> Iterator[int]:
    at, frames, others = 12, 0, 0
    while at < end and others < MOST_OTHER_CHUNKS:
        file.seek(at)
        header = file.read(24)
        length = int.from_bytes(header[4:8], "little")
        if header[:4] == b"ANMF":
            frames += 1
            _check(frames, 0)
            yield _shown(int.from_bytes(header[20:23], "little"))
        else:
            others += 1
        at += 8 + length + length % 2


def _shown(milliseconds: float) -> int:
    return round(milliseconds) if milliseconds > HASTY_MS else SHOWN_MS


def _check(frames: int, pixels: int) -> None:
    if frames > MAX_FRAMES or frames * pixels > MAX_PIXELS:
        raise InputTooLarge(
            f"it is an animation of {frames} frames or more; at most {MAX_FRAMES} frames, with {MAX_PIXELS} pixels together, "
            f"are allowed: {_AS_A_VIDEO}"
        )


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Pillow's readers stumble over a stranger's bytes in any way there is: all of them are DamagedMedia."""
    try:
        with open_image(path) as image:
            yield image
    except (ImmersivaudioError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).replace(str(path), path.name)
        raise DamagedMedia(f"it is an animation that cannot be decoded to its end: {reason}") from error


def _frames(path: Path, *, until: float) -> Iterator[tuple[Image.Image, int]]:
    """Each frame, decoded, and for how many milliseconds it is shown. It is the same image that goes from frame to frame.

    Raises InputTooLarge when there are frames left at the time `until`, as `time.monotonic` counts.
    """
    with _opened(path) as image:
        count = getattr(image, "n_frames", 1)
        _check(count, image.width * image.height)
        for number in range(count):
            work.check()
            if time.monotonic() > until:
                raise InputTooLarge(f"it is an animation that takes too long to be decoded: {_AS_A_VIDEO}")
            image.seek(number)
            image.load()
            yield image, _shown(image.info.get("duration", 0))


def _write(path: Path, kind: Literal["webp", "avif"], video: Path) -> None:
    until = time.monotonic() + COPY_SECONDS
    found = _structure(path, kind, until=until)
    # At this rate, every frame is shown for whole ticks. (Encoders may count in ticks of the rate.)
    rate = Fraction(1000, math.gcd(*found.milliseconds))
    try:
        with av.open(str(video), "w", format="matroska") as container:
            _encode(container, _frames(path, until=until), rate=rate)
    except (OSError, av.FFmpegError) as error:
        if error.errno in _NO_SPACE:
            raise StorageFull("there is no space left on the disk that is worked on") from error
        raise


def _encode(container: OutputContainer, frames: Iterator[tuple[Image.Image, int]], *, rate: Fraction) -> None:
    stream: Any = container.add_stream("libx264rgb", rate=rate, options=_LOSSLESS)
    stream.codec_context.time_base, stream.gop_size = Fraction(1, 1000), _GOP
    lengths: dict[int, int] = {}
    at = 0
    for image, shown in frames:
        if not lengths:
            stream.width, stream.height, stream.pix_fmt = *image.size, "rgb24"
        picture = av.VideoFrame.from_ndarray(np.asarray(over_black(image)), format="rgb24")
        picture.pts, picture.time_base = at, Fraction(1, 1000)
        lengths[at] = shown
        at += shown
        _mux(container, stream.encode(picture), lengths)
    _mux(container, stream.encode(None), lengths)


def _mux(container: OutputContainer, packets: Any, lengths: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = lengths[packet.pts]  # encoders forget how long the last frame is shown
        container.mux(packet)
