"""The picture of a video: where it begins and ends, which way up it is shown, and its packets from any keyframe on.

Read with PyAV. Nothing here reads or decodes a whole file, as long as the file has an index or time stamps to seek by.
All times are in ticks of the stream's time base, on the stream's own clock, which need not start at zero.
"""

import functools
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream
from PIL import Image

from models import media
from models.errors import DamagedMedia, UnsupportedMedia

# A recording that was joined late begins with packets that nothing can be made of until the first keyframe.
_FIRST_FRAME_PACKETS = 1000
_STILL = Disposition.attached_pic | Disposition.timed_thumbnails
_DEFAULT_RATE = Fraction(25)
# Decoders build these pictures on the one before, though the demuxer calls every packet a keyframe.
_NOT_SEEKABLE = ("apng",)

# By the signs of the display matrix's a, b, c, d: a point (x, y) is shown at (ax + cy, bx + dy).
_TRANSPOSE = {
    (-1, 0, 0, 1): Image.Transpose.FLIP_LEFT_RIGHT,
    (1, 0, 0, -1): Image.Transpose.FLIP_TOP_BOTTOM,
    (-1, 0, 0, -1): Image.Transpose.ROTATE_180,
    (0, -1, 1, 0): Image.Transpose.ROTATE_90,
    (0, 1, -1, 0): Image.Transpose.ROTATE_270,
    (0, 1, 1, 0): Image.Transpose.TRANSPOSE,
    (0, -1, -1, 0): Image.Transpose.TRANSVERSE,
}
_HALF = 1 << 15  # the matrix is fixed point with 16 bits behind the point
_BY_ROTATION = {
    90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180, -90: Image.Transpose.ROTATE_270,
}  # fmt: skip
# What PNG decodes to. It names a colour profile in the metadata of the frame's side data, and PyAV 18.1 frees those a second
# time behind whoever has looked at side data: the process dies. Of these pictures, mirroring is not known.
_OF_PNG = {
    "rgb24", "rgba", "rgb48be", "rgba64be", "gray", "gray16be", "ya8", "ya16be", "pal8", "monob",
}  # fmt: skip
_QUARTER_TURNS = {
    Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270, Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE,
}  # fmt: skip


def is_cover(stream: Any) -> bool:
    """Whether a video stream is no video: cover art, or thumbnails."""
    return bool(stream.disposition & _STILL)


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream of an open file that is not cover art."""
    return next((stream for stream in container.streams.video if not is_cover(stream)), None)


class PictureTrack:
    """The first video stream of an open file that is not cover art.

    Raises UnsupportedMedia when there is none or no decoder for it, DamagedMedia when no frame of it can be decoded.
    """

    def __init__(self, container: InputContainer) -> None:
        stream = picture_stream(container)
        if stream is None:
            raise UnsupportedMedia("it has no picture")
        if stream.codec_context is None:
            raise UnsupportedMedia("its picture is coded in a way that cannot be decoded here")
        stream.codec_context.thread_count = 1
        self._container = container
        self._stream: VideoStream = stream
        self.time_base: Fraction = stream.time_base or Fraction(1, av.time_base)
        self.rate: Fraction = stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
        """Average frames per second, as the file's header tells it."""
        self.first = self._first_frame()
        """The first frame that can be decoded."""
        self.start: int = self.first.pts or 0

    @functools.cached_property
    def end(self) -> int:
        """Where the last frame's time is over."""
        return self._find_end()

    @property
    def seconds(self) -> float:
        """How long the picture is shown."""
        return self.seconds_at(self.end)

    def seconds_at(self, at: int) -> float:
        """Ticks as seconds from the first frame on."""
        return float((at - self.start) * self.time_base)

    def frames_between(self, begin: int, end: int) -> Fraction:
        """How many frames are shown in this time, at the average rate."""
        return (end - begin) * self.time_base * self.rate

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as displayed: upright, and with square pixels."""
        width, height = self.scaled(self.first)
        return (height, width) if upright_turn(self.first) in _QUARTER_TURNS else (width, height)

    def scaled(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Width and height of a frame with square pixels, before it is turned upright."""
        return max(1, round(frame.width * (self._stream.sample_aspect_ratio or 1))), frame.height

    def ticks(self, seconds: float | Fraction) -> int:
        return round(seconds / self.time_base)

    def packets_from_keyframe(self, at: int) -> "Iterator[av.Packet[VideoStream]]":
        """The picture's packets, from the last keyframe that is shown at or before `at`; the first one if there is none."""
        step = self.ticks(1)
        target = self.start if self._container.format.name in _NOT_SEEKABLE else at
        while True:
            packets = self._packets_from(target)
            keyframe = _keyframe(packets, until=at)
            if keyframe is not None and (stamp(keyframe) <= at or target < self.start):
                yield keyframe
                yield from packets
                return
            if target < self.start:
                yield from self._packets_from(target)  # it has no keyframes: the decoder will see
                return
            # Index by decoding time, or none at all (MPEG streams): look earlier.
            target, step = target - step, step * 2

    def decode(self, packet: "av.Packet[VideoStream] | None") -> list[av.VideoFrame]:
        """The frames that come out; none for a packet that is damaged. None ends the stream: seek before the next packet."""
        try:
            return self._stream.codec_context.decode(packet)
        except av.FFmpegError:
            return []

    def skip_unneeded(self, skip: bool) -> None:
        """Whether to decode only the frames that other frames are built on."""
        self._stream.codec_context.skip_frame = "NONREF" if skip else "DEFAULT"

    def _first_frame(self) -> av.VideoFrame:
        packets = self._read()
        for _, packet in zip(range(_FIRST_FRAME_PACKETS), packets, strict=False):
            if frames := self.decode(packet):
                return frames[0]
        raise DamagedMedia("no frame of its picture can be decoded")

    def _find_end(self) -> int:
        """From the packets at the end of the file: headers round, guess, or speak of the sound."""
        step, target = self.ticks(1), self._promised_end()
        while True:
            target -= step
            if end := self._end_of_packets(target):
                # Some seek by decoding time: the first look may have landed between the last frames.
                return max(end, self._end_of_packets(end - self.ticks(1)) or end)
            if target < self.start:
                return self.start + (self.first.duration or self.ticks(1 / self.rate))
            step *= 4

    def _promised_end(self) -> int:
        if self._stream.duration is not None:
            return (self._stream.start_time or 0) + self._stream.duration
        if self._container.duration is not None:
            start = self._container.start_time or 0
            return self.ticks(Fraction(start + self._container.duration, av.time_base))
        return 2**48  # far beyond, in any time base

    def _end_of_packets(self, target: int) -> int | None:
        one = self.ticks(1 / self.rate)
        packets = self._packets_from(target, any_frame=True)
        ends = [stamp(packet) + (packet.duration or one) for packet in packets if packet.size and not packet.is_discard]
        return max((end for end in ends if end > self.start), default=None)

    def _packets_from(self, target: int, *, any_frame: bool = False) -> "Iterator[av.Packet[VideoStream]]":
        for at in (target, self.start):  # some refuse to look for a time before the first frame's, others need it
            try:
                self._container.seek(at, stream=self._stream, any_frame=any_frame)
            except (av.FFmpegError, OverflowError):  # a damaged time may not fit
                continue
            return self._read()
        return iter(())

    def _read(self) -> "Iterator[av.Packet[VideoStream]]":
        try:
            yield from self._container.demux(self._stream)
        except (av.FFmpegError, IndexError):  # PyAV loses count of streams that turn up in the middle of a file
            return


def upright_turn(frame: av.VideoFrame) -> Image.Transpose | None:
    """How a frame must be turned to be seen as a player shows it; None for not at all."""
    if frame.format.name in _OF_PNG:
        return _BY_ROTATION.get(frame.rotation)
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV doesn't know the type of some other side data of this frame
        return _BY_ROTATION.get(frame.rotation)
    if matrix is None:
        return None
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    return _TRANSPOSE.get(tuple((value > _HALF) - (value < -_HALF) for value in (a, b, c, d)))


def _keyframe(packets: "Iterator[av.Packet[VideoStream]]", *, until: int) -> "av.Packet[VideoStream] | None":
    """The next keyframe, or None when the packets end, or lie behind `until`, without one."""
    for packet in packets:
        if packet.size and packet.is_keyframe:
            return packet
        if packet.size and stamp(packet) > until:
            return None
    return None


def stamp(packet: "av.Packet[Any]") -> int:
    """When a packet's frame is shown, or, where the container doesn't say, decoded."""
    if packet.pts is not None:
        return packet.pts
    return packet.dts if packet.dts is not None else 0


@contextmanager
def open_picture(path: Path) -> Iterator[PictureTrack]:
    """Open a video's picture. Raises as `PictureTrack` and `models.media.open_media` do."""
    with media.open_media(path) as container:
        yield PictureTrack(container)
