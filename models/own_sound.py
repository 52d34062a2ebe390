"""Which of a film's sound tracks is its own sound."""

from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

_PACKETS = 100
"""Of one track, none of which can be decoded: then none of it is."""
_SPOKEN_OVER = Disposition.comment | Disposition.visual_impaired


def own_sound(container: InputContainer) -> int | None:
    """The index of the own sound among the streams of an open file: of the track that players choose, the default one.

    Without one, it is the first that is no commentary; where that cannot be decoded, the next one that can. None where none can.
    Reads on in the file, at the most to its end.
    """
    tracks = sorted((stream for stream in container.streams.audio if stream.codec_context is not None), key=_place)
    left = {stream.index: _PACKETS for stream in tracks}  # how many packets of each may still be tried
    heard: set[int] = set()
    packets = container.demux(tracks) if tracks else iter(())
    while (
        best := next((index for index in left if left[index] or index in heard), None)
    ) is not None and best not in heard:
        try:
            if (packet := next(packets, None)) is None:
                break
            index = packet.stream_index
            if index not in heard and left.get(index):
                left[index] -= 1
                if packet.decode():
                    heard.add(index)
        except (av.FFmpegError, IndexError):  # IndexError as in `PictureTrack`
            continue
    return next((index for index in left if index in heard), None)


def _place(stream: Any) -> tuple[bool, bool]:
    """What comes first, by the tracks' marks."""
    return Disposition.default not in stream.disposition, bool(stream.disposition & _SPOKEN_OVER)
