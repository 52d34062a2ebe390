"""Where exactly one scene ends and the next begins.

Scenes are found on frames that lie seconds or minutes apart. Here, only the stretch between two such frames is decoded, and the
strongest change in it is the border: the first frame behind a hard cut, or the middle of a dissolve.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from models import work
from models.picture_track import PictureTrack, open_picture, stamp
from models.scenes import divide

Array = npt.NDArray[np.float32]

SIZE = (32, 18)
"""Width and height on which frames are compared: large enough for what is seen, small enough not to see noise."""
DECODED = 1500
"""Packets decoded at most for one border. Where keyframes are so rare that this is not enough, the middle is taken."""
NARROWED = 300
"""Frames between which a border is looked for one by one; a longer stretch is narrowed down first, by its keyframes."""
KEYFRAMES = 8
"""Keyframes that are looked at at once. The stretch that is left is about a ninth."""
CONTEXT_SECONDS = 1.1
"""What is looked at before and behind the stretch: a dissolve may reach out of it."""
LOOK_BACK_SECONDS = 0.2
"""Frames that nothing is built on are passed over when they are shown longer before."""
FLASH_SECONDS = 0.1
"""What lasts no longer is no change: a flash, or a damaged frame."""
REACHES_SECONDS = (0, 0.08, 0.2, 0.5, 1)
"""How far before and behind a place frames are compared: next to each other for a cut, and for dissolves of up to twice that."""
CLEAR = 0.7
"""A change shows at the shortest reach at which it stands out this much as well as at the best one."""


def refined(video: Path, between: Sequence[tuple[float, float]]) -> list[float]:
    """For every border between two scenes, the time of the new scene's first frame, in seconds from the video's first frame.

    between: for every border, in order, the times of a frame of the one scene and of a later frame of the next. The border is
    behind the first and not behind the second. It is exact for a hard cut, and the middle of a dissolve of up to two
    seconds. Where the stretch cannot be decoded, it is the middle of the two times.
    At most `DECODED` packets and a few keyframes are decoded for one border, however long the video is.
    Raises as `open_picture` does, and Cancelled.
    """
    borders = []
    with open_picture(video) as track:
        for left, right in between:
            work.check()
            border = _border(track, track.start + track.ticks(left), track.start + track.ticks(right))
            seconds = right if border is None else track.seconds_at(border)
            borders.append(seconds if border is not None and left < seconds <= right else (left + right) / 2)
    return borders


@dataclass(frozen=True)
class _Look:
    """A frame as it is compared. Times are ticks of the stream's time base, as everywhere below."""

    at: int
    picture: Array
    """float32, flat: brightness around its mean, of which a part stays, and colour."""


def _border(track: PictureTrack, left: int, right: int) -> int | None:
    """Time of the first frame of the new scene; None if the frames cannot be decoded."""
    left, right = _narrowed(track, left, right)
    context = track.ticks(CONTEXT_SECONDS)
    looks = list(_looks(track, left - context, right + context))
    if not looks or looks[0].at > left or looks[-1].at < right:
        return None
    candidates = [place for place, look in enumerate(looks) if left < look.at <= right]
    if not candidates:
        return None
    pictures = np.stack([look.picture for look in looks])
    return looks[strongest_change(pictures, candidates[0], candidates[-1], rate=float(track.rate))].at


def strongest_change(pictures: Array, first: int, last: int, *, rate: float) -> int:
    """Which picture is the first of a new scene, from `first` to `last`; shape (n, d), 1 ≤ first ≤ last < n, `rate` a second."""
    flash = min(max(math.ceil(FLASH_SECONDS * rate), 2), 8)
    reaches = sorted({round(seconds * rate) for seconds in REACHES_SECONDS})
    changes = [_change(pictures, apart=reach, frames=flash)[first : last + 1] for reach in reaches]
    places = [_plateau(change) for change in changes]
    standing_out = []
    for change, place, reach in zip(changes, places, reaches, strict=True):
        # The same change is seen from places nearby, and a pan everywhere.
        elsewhere = np.abs(np.arange(len(change)) - place) > reach + flash
        standing_out.append(change.max() - change[elsewhere].max(initial=0))
    clear = next(i for i, margin in enumerate(standing_out) if margin >= CLEAR * max(standing_out))
    if reaches[clear] == 0:
        return first + int(changes[clear].argmax())
    return min(max(_middle(pictures, first + places[clear], reaches[clear]), first), last)


def _plateau(change: Array) -> int:
    """The middle of what is nearly as high as the highest place."""
    begin = end = int(change.argmax())
    high = change >= 0.9 * change[begin]
    while begin > 0 and high[begin - 1]:
        begin -= 1
    while end < len(high) - 1 and high[end + 1]:
        end += 1
    return (begin + end + 1) // 2


def _change(pictures: Array, *, apart: int, frames: int) -> Array:
    """For every place, the smallest difference between one of some frames before it and one of as many from it on: if even
    the most similar of them differ, the change is for good.

    The nearest of them lie `apart` frames from the place. Beyond the ends, the picture stands still. Shape (n,).
    """
    places = np.arange(len(pictures))
    least = np.full(len(pictures), np.inf, dtype=np.float32)
    for back in range(frames):
        before = pictures[np.maximum(places - 1 - apart - back, 0)]
        for ahead in range(frames):
            behind = pictures[np.minimum(places + apart + ahead, len(pictures) - 1)]
            least = np.minimum(least, np.linalg.norm(behind - before, axis=1))
    return least


def _middle(pictures: Array, around: int, half: int) -> int:
    """The place that best divides a dissolve into frames that are more like its beginning, and like its end."""
    begin, end = max(around - half, 0), min(around + half, len(pictures) - 1)
    before = pictures[max(begin - 2, 0) : begin + 1].mean(axis=0)
    behind = pictures[end : end + 3].mean(axis=0)
    way = behind - before
    done = (pictures[begin : end + 1] - before) @ way / max(float(way @ way), 1e-12)
    return begin + int(np.cumsum(done - 0.5).argmin()) + 1


def _narrowed(track: PictureTrack, left: int, right: int) -> tuple[int, int]:
    """Times of two frames, of the one scene and of the next, that are near to each other or have no keyframe between them."""
    if track.frames_between(left, right) <= NARROWED:
        return left, right
    first, last = (next(_looks(track, at, at + track.ticks(1)), None) for at in (left, right))
    while first and last and track.frames_between(first.at, last.at) > NARROWED:
        work.check()
        looks = [first, *_keyframes(track, first.at, last.at), last]
        if len(looks) == 2:
            break
        scenes = divide(np.stack([look.picture for look in looks]), 2)
        if len(scenes) == 1:
            break
        first, last = looks[scenes[1].first - 1], looks[scenes[1].first]
    return (first.at, last.at) if first and last else (left, right)


def _keyframes(track: PictureTrack, left: int, right: int) -> list[_Look]:
    """Some keyframes from between two times, spread over them."""
    found: dict[int, _Look] = {}
    for part in range(1, KEYFRAMES + 1):
        packet = next(track.packets_from_keyframe(left + (right - left) * part // (KEYFRAMES + 1)), None)
        if packet is None or not left < stamp(packet) < right or stamp(packet) in found:
            continue
        frames = track.decode(packet) + track.decode(None)
        if frames:
            found[stamp(packet)] = _Look(stamp(packet), _picture(frames[0]))
    return [found[at] for at in sorted(found)]


def _looks(track: PictureTrack, begin: int, end: int) -> Iterator[_Look]:
    """The frames that are shown between two times, in order, from the one that is shown at the first of them."""
    shown: av.VideoFrame | None = None
    at, needed = -(2**62), begin - track.ticks(LOOK_BACK_SECONDS)
    for _, packet in zip(range(DECODED), track.packets_from_keyframe(begin), strict=False):
        track.skip_unneeded(packet.size > 0 and stamp(packet) < needed)
        for frame in track.decode(packet):
            if frame.is_corrupt:
                continue
            before = at
            # Frames come out in the order of time, even where a container (AVI) misstates their times.
            at = max(at + 1, frame.pts if frame.pts is not None else 0)
            if at > begin and shown is not None:
                yield _Look(before, _picture(shown))
            shown = frame
            if at > end:
                return
    if shown is not None:
        yield _Look(at, _picture(shown))


def _picture(frame: av.VideoFrame) -> Array:
    small = frame.reformat(*SIZE, "yuv444p", interpolation="AREA", threads=1).to_ndarray().astype(np.float32) / 255
    small[0] -= 0.75 * small[0].mean()  # exposure and flicker change all of a picture's brightness
    small[1:] *= 2  # colour takes up less of its range
    flat: Array = small.reshape(-1)
    return flat
