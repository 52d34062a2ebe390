"""`frame_extraction`: pictures spread evenly over a video, as many as the paper's n = k·log10(s) asks for, or as scenes need.

The video is cut into n equal parts, and each gives one frame: the one that is shown in its middle if that is near a keyframe,
else a keyframe of the part; a part without a keyframe is decoded from the keyframe before it. So the number of frames
that are decoded does not grow with the video's length, and each frame tells the time that it really has.
"""

import functools
import io
import itertools
import math
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.stream import VideoStream
from PIL import Image
from pydantic import Field

from models import work
from models.animations import readable
from models.picture_track import PictureTrack, open_picture, stamp, upright_turn
from models.schema import ModuleSettings

_LOOK_BACK_SECONDS = 0.2


class FrameExtractionSettings(ModuleSettings):
    """How frames are taken."""

    long_side: int = Field(1280, ge=16, le=8192)
    """Longest side of a frame in pixels; larger pictures are scaled down."""
    max_frames: int = Field(1000, ge=1, le=9999)
    """Most frames taken from one video, whatever k."""
    scene_frame_seconds: float = Field(1.5, gt=0, le=3600)
    """Where a video is to be divided into scenes, there is a frame for each stretch of this length, however few k asks for. A scene
    is found when two frames show it."""
    exact_within: int = Field(25, ge=0, le=10_000)
    """A part's middle is taken exactly when it is at most this many frames behind a keyframe; else a keyframe of the part is."""
    max_decoded: int = Field(1500, ge=1, le=100_000)
    """Most frames decoded for one frame taken, where keyframes are rare. After that, the frame that was reached is taken."""
    jpeg_quality: int = Field(90, ge=50, le=95)
    """Pillow's scale."""


@dataclass(frozen=True)
class TimedFrame:
    """One frame on disk."""

    path: Path
    """A JPEG, upright, with square pixels."""
    seconds: float
    """When it is shown, counted from the video's first frame."""


def frame_count(seconds: float, *, k: float) -> int:
    """The paper's n = k·log10(s), rounded down, and at least 1."""
    # A length that was computed may lie just under the power of ten that it is.
    return max(1, math.floor(k * math.log10(max(seconds, 1)) + 1e-9))


class FrameExtractor:
    """Takes frames out of videos with PyAV, in process. Holds nothing but its settings."""

    device = "cpu"
    licence: str | None = None

    def __init__(self, settings: FrameExtractionSettings) -> None:
        self.settings = settings
        self.model = f"pyav {av.__version__}"

    def extract(self, video: Path, folder: Path, *, k: float, for_scenes: bool = False) -> list[TimedFrame]:
        """Write `frame_count` frames into the folder as 0001.jpg, 0002.jpg …, in order of time.

        for_scenes: at least one per `scene_frame_seconds`.
        They are different frames as long as the video has that many; of a shorter one, frames are repeated.
        Raises UnsupportedMedia or DamagedMedia when the video has no picture of which a frame can be decoded.
        """
        with ExitStack() as stack:
            # Once for both readers: what no library decodes is copied.
            taker = _Taker(stack.enter_context(readable(video)), self.settings, stack)
            n = frame_count(taker.track.seconds, k=k)
            if for_scenes:
                n = max(n, math.ceil(taker.track.seconds / self.settings.scene_frame_seconds))
            taken = taker.take(min(n, self.settings.max_frames))
        folder.mkdir(parents=True, exist_ok=True)
        frames = []
        for number, frame in enumerate(taken, start=1):
            path = folder / f"{number:04}.jpg"
            path.write_bytes(frame.jpeg)
            frames.append(TimedFrame(path, taker.track.seconds_at(frame.at)))
        return frames


@dataclass(frozen=True)
class _Taken:
    """One frame in memory."""

    at: int
    """Ticks of the stream's time base, as everywhere below."""
    jpeg: bytes


class _Taker:
    """Takes frames out of one video. One reader finds keyframes, and another, opened at need, decodes what lies between."""

    def __init__(self, video: Path, settings: FrameExtractionSettings, stack: ExitStack) -> None:
        self.track = stack.enter_context(open_picture(video))
        self._video = video
        self._settings = settings
        self._stack = stack

    @functools.cached_property
    def _walker(self) -> "_Walker":
        return _Walker(self._stack.enter_context(open_picture(self._video)), self._settings.max_decoded)

    def take(self, n: int) -> list[_Taken]:
        """As many frames, in the order of time."""
        start, length = self.track.start, self.track.end - self.track.start
        middles = [start + length * (2 * part + 1) // (2 * n) for part in range(n)]
        bounds = [start + length * part // n for part in range(n + 1)]
        found = [self._from_part(*part) for part in zip(bounds, middles, bounds[1:], strict=False)]
        decoded = [frame for frame in found if frame is not None] or [self._taken(_Decoded(start, self.track.first))]
        taken = [
            frame or min(decoded, key=lambda other: abs(other.at - middle))
            for frame, middle in zip(found, middles, strict=True)
        ]
        taken.sort(key=lambda frame: frame.at)
        if len({frame.at for frame in taken}) < n and self._has_frames(n):
            self._separate(taken)
        return taken

    def _from_part(self, begin: int, middle: int, end: int) -> _Taken | None:
        work.check()
        keyframe = next(self.track.packets_from_keyframe(middle), None)
        before = stamp(keyframe) if keyframe else self.track.start
        if self.track.frames_between(before, middle) > self._settings.exact_within:
            if before < begin:
                keyframe = next(self.track.packets_from_keyframe(end - 1), None)
            if keyframe and begin <= stamp(keyframe) < end and (frames := self._decode_alone(keyframe)):
                return self._taken(_Decoded(stamp(keyframe), frames[0]))
        decoded = self._walker.shown_at(middle, keyframe=before)
        return self._taken(decoded) if decoded else None

    def _decode_alone(self, keyframe: "av.Packet[VideoStream]") -> list[av.VideoFrame]:
        return self.track.decode(keyframe) + self.track.decode(None)

    def _has_frames(self, n: int) -> bool:
        packets = (packet for packet in self.track.packets_from_keyframe(self.track.start) if _shows(packet))
        return len(list(itertools.islice(packets, n))) == n

    def _separate(self, taken: list[_Taken]) -> None:
        """Make the frames different: where the picture stands still for longer than a part, from what moves around it."""
        for i in range(1, len(taken)):
            if taken[i].at <= taken[i - 1].at:
                later = self._walker.first_after(taken[i - 1].at, keyframe=self._keyframe_at(taken[i - 1].at))
                taken[i] = self._taken(later) if later else taken[i - 1]
        for i in reversed(range(len(taken) - 1)):
            if taken[i].at >= taken[i + 1].at:
                before = taken[i + 1].at - 1
                earlier = self._walker.shown_at(before, keyframe=self._keyframe_at(before), exact=True)
                taken[i] = self._taken(earlier) if earlier and earlier.at <= before else taken[i + 1]

    def _keyframe_at(self, at: int) -> int:
        keyframe = next(self.track.packets_from_keyframe(at), None)
        return stamp(keyframe) if keyframe else self.track.start

    def _taken(self, decoded: "_Decoded") -> _Taken:
        settings, frame = self._settings, decoded.frame
        width, height = self.track.scaled(frame)
        scale = min(1, settings.long_side / max(width, height))
        width, height = (max(1, round(side * scale)) for side in (width, height))
        image = Image.fromarray(frame.reformat(width, height, "rgb24", threads=1).to_ndarray())
        if (turn := upright_turn(frame)) is not None:
            image = image.transpose(turn)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=settings.jpeg_quality)
        return _Taken(decoded.at, file.getvalue())


@dataclass(frozen=True)
class _Decoded:
    at: int
    frame: av.VideoFrame


class _Walker:
    """Decodes forward; seeks when it must go back, or when a keyframe lies ahead."""

    def __init__(self, track: PictureTrack, limit: int) -> None:
        self._track = track
        self._limit = limit
        """Packets decoded at most for one call."""
        self._left = 0
        self._needed = -math.inf
        self._shown: _Decoded | None = None
        self._ahead: _Decoded | None = None
        self._start(track.start)

    def shown_at(self, at: int, *, keyframe: int, exact: bool = False) -> _Decoded | None:
        """The frame that is shown at this time; the next that can be decoded if that cannot; None if none can.

        keyframe: time of the last keyframe before. Unless `exact`, frames that nothing is built on may be passed over
        when they are shown long before.
        """
        if self._shown is None or not keyframe <= self._shown.at <= at:
            self._start(at)
        self._left = self._limit
        self._needed = -math.inf if exact else at - self._track.ticks(_LOOK_BACK_SECONDS)
        self._ahead = self._ahead or self._decode()
        while self._ahead and self._ahead.at <= at:
            self._shown, self._ahead = self._ahead, self._decode()
        return self._shown or self._ahead

    def first_after(self, at: int, *, keyframe: int) -> _Decoded | None:
        """The first frame that is shown after this time."""
        self.shown_at(at, keyframe=keyframe, exact=True)
        return self._ahead

    def _start(self, at: int) -> None:
        self._packets = self._track.packets_from_keyframe(at)
        self._queue: deque[_Decoded] = deque()
        self._last = -(2**62)
        self._shown = self._ahead = None

    def _decode(self) -> _Decoded | None:
        """The next frame in the order of time."""
        while not self._queue and self._left > 0:
            self._left -= 1
            packet = next(self._packets, None)
            if packet is None:
                return None
            self._track.skip_unneeded(_shows(packet) and stamp(packet) < self._needed)
            for frame in self._track.decode(packet):
                # Frames come out in the order of time, even where a container (AVI) misstates their times.
                self._last = max(self._last + 1, frame.pts if frame.pts is not None else 0)
                self._queue.append(_Decoded(self._last, frame))
        return self._queue.popleft() if self._queue else None


def _shows(packet: "av.Packet[VideoStream]") -> bool:
    return packet.size > 0 and not packet.is_discard
