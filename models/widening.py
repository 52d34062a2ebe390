"""Sound made wider than it is, as ffmpeg's filters; in mono, nothing of that is heard.

A second wave of what both sides have in common is added to one and taken from the other. It is made by allpasses: each turns the
phase by a full circle, so that the wave is as loud as it was at every frequency, and yet another one.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import ffmpeg

from models import media
from models.audio import STEM_SAMPLE_RATE

Sound: TypeAlias = ffmpeg.nodes.FilterableStream

FROM = 200  # Hz; below, ears do not tell directions, and needles and subwoofers want both sides alike
CIRCLES = (320, 760, 1800, 4200, 9600)  # Hz
WIDEST = 0.6  # of the sides beside the middle: the sides' correlation is then 0.5
MEMORY = 0.5  # seconds after which nothing is left in the filters


def widened(path: Path, width: float, *, loops: bool) -> Sound:
    """The stem at `path`, `width` (0 to 1) wider, as long as it is. A loop stays one."""
    import soundfile

    # Of a loop, the filters have heard the end when its beginning comes.
    length = soundfile.info(path).frames
    turns = math.ceil(MEMORY * STEM_SAMPLE_RATE / length) if loops else 0
    played = media.source(path, **({"stream_loop": turns} if turns else {}))["a:0"]
    both = as_stereo(played).filter_multi_output("asplit")
    side = both[1].filter("pan", args="mono|c0=0.5*c0+0.5*c1").filter("highpass", f=FROM)
    for hertz in CIRCLES:
        side = side.filter("allpass", f=hertz, t="q", w=0.7)
    size = WIDEST * width
    side = as_stereo(side.filter("pan", args=f"stereo|c0={size:.6f}*c0|c1=-{size:.6f}*c0"))
    wide = together([both[0], side])
    return wide.filter("atrim", start_sample=turns * length).filter("asetpts", "N/SR/TB") if turns else wide


def together(parts: Sequence[Sound]) -> Sound:
    """Their sum, as long as the longest."""
    return parts[0] if len(parts) == 1 else ffmpeg.filter(parts, "amix", inputs=len(parts), normalize=0)


def as_stereo(sound: Sound) -> Sound:
    """The same as 48 kHz stereo in floating point."""
    return sound.filter("aformat", sample_fmts="fltp", sample_rates=STEM_SAMPLE_RATE, channel_layouts="stereo")
