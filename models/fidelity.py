"""Whether a written result shows the picture that its source shows, for as long, and nothing behind it.

Edit lists of mp4 and QuickTime hide packets at the beginning or the end: a trimmed recording has one. Containers without such lists
show them, and everything else is late by as much.
"""

from pathlib import Path

import av

from models import media
from models.errors import InvalidInput, MediaToolFailed
from models.muxing import Job
from models.picture_track import open_picture, picture_stream, upright_turn

CLOCK_SECONDS = 0.002  # Matroska's clock rounds both ends to milliseconds
SOUND_FRAME_SECONDS = 0.05  # by which a copied sound may end behind the picture: a long frame of a slow codec
_WITH_EDIT_LISTS = frozenset({"mp4", "mov", "3gp"})
_DEFAULT_RATE = 25


class PictureChanged(Exception):
    """The copied packets are not shown as the source's are."""


def length(path: Path) -> float:
    """Seconds that a file's header promises."""
    with media.open_media(path) as result:
        return (result.duration or 0) / av.time_base


def check_copy(job: Job) -> None:
    """Raise PictureChanged unless the result shows as many frames as the source, from zero on, for as long, the same way up.

    Times may differ by half a frame. Frames are counted only where the source hides some: it takes a look at every packet.
    """
    nearly = max(CLOCK_SECONDS, 0.5 / (job.video_input.frame_rate or _DEFAULT_RATE))
    try:
        with open_picture(job.path) as track, open_picture(job.source) as source:
            begins = float(track.start * track.time_base)
            if max(abs(begins), abs(track.seconds - job.seconds)) >= nearly:
                raise PictureChanged(f"shown from {begins:.3f} s on for {track.seconds:.3f} s")
            # Older versions of ffmpeg let Matroska lie on its side.
            if upright_turn(track.first) != upright_turn(source.first):
                raise PictureChanged("it is turned")
    except InvalidInput as error:
        raise PictureChanged(f"it cannot be read: {error}") from error
    hides = job.video_input.container in _WITH_EDIT_LISTS and _hides_frames(job.source)
    if hides and _shown_frames(job.path) != _shown_frames(job.source):
        raise PictureChanged("frames that the source hides are shown")


def check_length(job: Job) -> None:
    """Raise MediaToolFailed where another track makes the result longer than its picture."""
    try:
        with open_picture(job.path) as track:
            shown = max(track.seconds, job.seconds)
        promised = length(job.path)
    except InvalidInput as error:
        raise MediaToolFailed(f"the result cannot be read: {error}") from error
    if promised > shown + SOUND_FRAME_SECONDS:
        raise MediaToolFailed(f"the result is {promised:.3f} s long, its picture {shown:.3f} s")


def _hides_frames(path: Path) -> bool:
    """Whether an edit list hides packets at the beginning or at the end of the picture, told without reading what lies between."""
    with media.open_media(path) as container:
        stream = picture_stream(container)
        assert stream is not None  # it was opened as a picture before
        first = next((packet for packet in container.demux(stream) if packet.size), None)
        if first is None or first.is_discard:
            return True
        try:
            container.seek((stream.start_time or 0) + (stream.duration or 0), stream=stream)
        except av.FFmpegError:
            return True
        return any(packet.is_discard for packet in container.demux(stream) if packet.size)


def _shown_frames(path: Path) -> int:
    with media.open_media(path) as container:
        stream = picture_stream(container)
        assert stream is not None  # it was opened as a picture before
        return sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)
