"""Where the video's own sound is heard, and the gain that makes room for it.

Own sound is heard where its level, without rumble, stands above a threshold. That is fixed, except where the sound never is quieter
than some noise: hiss alone lowers nothing. The gain falls ahead, so that it is down when the own sound begins, stays down for a
moment after it, so that pauses between words are not filled, and comes back; in straight lines of decibels.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE, Samples
from models.errors import MediaToolFailed
from models.levels import GRID, SILENT_LUFS, Curve, chunks, drawn
from models.record import Options
from models.schema import Frozen

FRAME = STEM_SAMPLE_RATE // 100  # samples of which the level is taken
ABSURD_PEAK = 24.0  # dBFS; floating-point sound may pass full scale, but not by that much

_GATED = 40  # frames that a block of BS.1770 lasts
_FLOOR = 10  # per cent of the frames that are taken for noise
_SILENT = -120.0  # dBFS; lower is not told apart


class DuckingSettings(Frozen):
    """When own sound counts as heard."""

    threshold_dbfs: float = Field(-45, ge=-80, le=0)
    """Level (RMS of 10 ms, the channels' mean) from which own sound is heard."""
    hysteresis_db: float = Field(6, ge=0, le=24)
    """How far it may fall below that before it is over, or be below that before it begins."""
    above_noise_db: float = Field(10, ge=0, le=40)
    """The threshold lies so far above what is there nearly always (the 10th percentile of the levels), if that is higher."""
    noise_threshold_dbfs: float = Field(-30, ge=-80, le=0)
    """But noise lifts the threshold no higher than this: what is louder is heard, even if it never ends."""
    rumble_hertz: float = Field(80, ge=10, le=500)
    """What lies below does not count."""
    shortest_seconds: float = Field(0.05, ge=0, le=1)
    """What is over sooner is a click, and lowers nothing."""
    hold_seconds: float = Field(0.3, ge=0, le=5)
    """How long the gain stays down behind own sound."""


@dataclass(frozen=True)
class Heard:
    """What was found in an own sound."""

    samples: int
    """How long it is."""
    peak_dbfs: float
    """Highest sample."""
    audible_dbfs: float
    """Highest sample without rumble and a constant offset."""
    loudest_dbfs: float
    """Level of its loudest 0.4 s, the same way."""
    levels: npt.NDArray[np.float32]
    """dBFS per 10 ms, the same way."""

    def silent(self, dbfs: float) -> bool:
        """Whether nothing is heard of it: no sample beyond that, or nothing that passes the gate of BS.1770."""
        return self.audible_dbfs < dbfs or self.loudest_dbfs < SILENT_LUFS


def listen(path: Path, *, rumble_hertz: float) -> Heard:
    """Read a 48 kHz stereo sound once; only seconds of it are in memory, and 400 bytes of levels a second.

    Raises MediaToolFailed if it holds samples that are no sound (as integers, NaN would be a click at full scale), Cancelled.
    """
    import soundfile
    from scipy.signal import butter, sosfilt, sosfilt_zi

    rumble = butter(2, rumble_hertz, "highpass", fs=STEM_SAMPLE_RATE, output="sos")
    peak = audible = 0.0
    found: list[Curve] = []
    with soundfile.SoundFile(path) as file:
        state = np.zeros((len(rumble), STEM_CHANNELS, 2))
        for start, part in chunks(file):
            loudest = float(np.abs(part).max())  # of NaN, NaN
            if not loudest <= 10 ** (ABSURD_PEAK / 20):
                raise MediaToolFailed("the own sound holds samples that are no sound")
            if start == 0:
                # As if it had always been where it begins: an offset is no click.
                state = sosfilt_zi(rumble)[:, None, :] * part[0][None, :, None]
            passed, state = sosfilt(rumble, np.ascontiguousarray(part.T, np.float64), zi=state)
            peak, audible = max(peak, loudest), max(audible, float(passed.max()), -float(passed.min()))
            squares = np.einsum("cs,cs->s", passed, passed) / STEM_CHANNELS
            found.append(np.pad(squares, (0, -len(squares) % FRAME)).reshape(-1, FRAME).mean(axis=1))
        means = np.concatenate(found)
        width = min(_GATED, len(means))
        loudest = float(np.convolve(means, np.full(width, 1 / width), "valid").max())
        levels = np.maximum(10 * np.log10(np.maximum(means, 1e-12)), _SILENT).astype(np.float32)
        return Heard(file.frames, _dbfs(peak), _dbfs(audible), 10 * math.log10(max(loudest, 1e-12)), levels)


class Ducking:
    """The gain that makes room for an own sound. A gain that `loops` goes over from its end into its beginning."""

    def __init__(self, heard: Heard, settings: DuckingSettings, *, options: Options, loops: bool) -> None:
        self._options = options
        self._hold = settings.hold_seconds
        self._samples = heard.samples
        self._begins, self._ends = _when(heard, settings, loops=loops)
        self.ducked_seconds = 0.0
        """For how long the gain was below half of the way down, in decibels, where it was asked for."""

    def gain(self, start: int, length: int) -> Samples:
        """The gain from the sample `start` on, which is a whole millisecond: shape (length,)."""
        borders = np.minimum(start + GRID * np.arange(math.ceil(length / GRID) + 1), self._samples)
        depth = self._depth(borders / STEM_SAMPLE_RATE)
        self.ducked_seconds += float(np.diff(borders)[depth[:-1] > 0.5].sum() / STEM_SAMPLE_RATE)
        return drawn(10 ** (-self._options.duck_db * depth / 20), length)

    def _depth(self, seconds: Curve) -> Curve:
        """How much of the way down the gain is at these times, 0 to 1."""
        last = np.searchsorted(self._begins, seconds, "right") - 1
        following = np.minimum(np.searchsorted(self._ends, seconds, "right"), len(self._ends) - 1)
        falling = 1 - (self._begins[following] - seconds) / self._options.duck_attack_seconds
        rising = 1 - (seconds - self._ends[last] - self._hold) / self._options.duck_release_seconds
        depth: Curve = np.clip(np.maximum(falling, rising), 0, 1)
        return depth


def _when(heard: Heard, settings: DuckingSettings, *, loops: bool) -> tuple[Curve, Curve]:
    """Beginnings and ends, in seconds, of what is heard, in order; of a loop, in the turns before and after too."""
    threshold = _threshold(heard.levels, settings)
    held = np.diff(heard.levels > threshold - settings.hysteresis_db, prepend=False, append=False)
    borders = np.flatnonzero(held)
    loud = np.append(heard.levels > threshold, False)
    runs = borders.reshape(-1, 2)[np.logical_or.reduceat(loud, borders)[::2]] * (FRAME / STEM_SAMPLE_RATE)
    runs = runs[np.diff(runs, axis=1)[:, 0] >= settings.shortest_seconds - 1e-9]
    turn = heard.samples / STEM_SAMPLE_RATE
    runs = np.minimum(runs, turn)
    if loops:
        runs = np.concatenate([runs - turn, runs, runs + turn])
    # Before the first and behind the last there is none that has a say.
    runs = np.concatenate([[[-np.inf, -np.inf]], runs, [[np.inf, np.inf]]])
    return runs[:, 0], runs[:, 1]


def _threshold(levels: npt.NDArray[np.float32], settings: DuckingSettings) -> float:
    lifted = min(float(np.percentile(levels, _FLOOR)) + settings.above_noise_db, settings.noise_threshold_dbfs)
    return max(settings.threshold_dbfs, lifted)


def _dbfs(amplitude: float) -> float:
    return 20 * math.log10(max(amplitude, 1e-9))
