"""A look-ahead limiter whose effect on loudness is known before it is applied.

Every millisecond says how far its true peak has to come down. From there the gain falls ahead of it and recovers after it, in
straight lines of decibels, and so no peak passes. As the gain changes slowly, the loudness behind it follows from the levels alone:
the drive that reaches a loudness is found without a pass over the sound.
"""

import math
from pathlib import Path

import numpy as np

from models.audio import FLOAT_WAV, space_for
from models.levels import GRID, STRETCH, Curve, Levels, chunks, drawn, integrated, tenths, under

_ATTACK = 3.0  # dB a millisecond
_RELEASE = 0.12  # dB a millisecond
_CONTEXT = 1000  # milliseconds before and after that can have a say: 120 dB are over by then


class Limiter:
    """Holds the true peak of a sound below `ceiling` (1 is full scale), however loud it comes. A sound that `loops` stays one."""

    def __init__(self, levels: Levels, *, ceiling: float, loops: bool) -> None:
        self._levels = levels
        self._ceiling = ceiling
        self._loops = loops

    def loudness(self, drive_db: float) -> float | None:
        """Integrated loudness in LUFS of what comes out when the sound goes in that much louder."""
        found = []
        for first in range(0, len(self._levels.weighted), STRETCH):
            squares = self._levels.weighted[first : first + STRETCH].astype(np.float64) ** 2
            gain = self._gain(drive_db, first, first + len(squares))
            before, after = gain[:-1], gain[1:]
            found.append(tenths(squares * (before**2 + before * after + after**2) / 3))
        return integrated(np.concatenate(found))

    def write(self, path: Path, *, drive_db: float, limited: Path) -> None:
        """Write what comes out for the sound at `path`, whose levels these are: 32-bit float. Raises StorageFull, Cancelled."""
        import soundfile

        with (
            space_for(limited),
            soundfile.SoundFile(path) as read,
            soundfile.SoundFile(limited, "w", **FLOAT_WAV) as written,
        ):
            for start, part in chunks(read):
                first = start // GRID
                gain = self._gain(drive_db, first, first + math.ceil(len(part) / GRID))
                written.write(under(drawn(gain, len(part)), part))

    def _gain(self, drive_db: float, first: int, last: int) -> Curve:
        """The gain, drive included, at every border of the milliseconds `first` to `last` (exclusive): one more than they are."""
        need = self._need(drive_db, first - _CONTEXT - 1, last + _CONTEXT + 1)
        at_borders = np.maximum(need[:-1], need[1:])
        steps = np.arange(len(at_borders))
        after = np.maximum.accumulate(at_borders + _RELEASE * steps) - _RELEASE * steps
        before = np.maximum.accumulate((at_borders - _ATTACK * steps)[::-1])[::-1] + _ATTACK * steps
        lowered = np.maximum(after, before)[_CONTEXT : _CONTEXT + last - first + 1]
        gain: Curve = 10 ** ((drive_db - lowered) / 20)
        return gain

    def _need(self, drive_db: float, first: int, last: int) -> Curve:
        """How many decibels every one of these milliseconds has to come down; they may lie outside, where a loop goes on."""
        count = len(self._levels.peaks)
        if self._loops:
            peaks = self._levels.peaks.take(np.arange(first, last), mode="wrap").astype(np.float64)
        else:
            inside = self._levels.peaks[max(0, first) : min(last, count)].astype(np.float64)
            peaks = np.pad(inside, (max(0, -first), max(0, last - count)))
        need: Curve = np.maximum(20 * np.log10(np.maximum(peaks, 1e-9) / self._ceiling) + drive_db, 0)
        return need
