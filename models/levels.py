"""How loud a sound is, from hearing it once: its true peak and its loudness (ITU-R BS.1770), millisecond by millisecond.

Millisecond by millisecond, because then the loudness of the same sound under any gain that changes slowly is known without
reading it again. ffmpeg's `ebur128` takes longer for the whole alone.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models import work
from models.audio import STEM_CHANNELS, STEM_SAMPLE_RATE, Samples

if TYPE_CHECKING:
    from soundfile import SoundFile

GRID = STEM_SAMPLE_RATE // 1000  # samples; levels are known, and gains bend, once in a millisecond
CHUNK = 4096 * GRID  # samples that are in memory at a time, 4.1 s
STRETCH = 60_000  # milliseconds of levels that are computed with at a time: whole tenths of a second

SILENT_LUFS = -70.0  # the absolute gate of BS.1770
_RELATIVE_GATE = 10.0  # LU below what passes the absolute one
_TENTH = 100  # milliseconds from one of the standard's blocks to the next
_OVERLAPPING = 4  # tenths of a second that one of its blocks lasts

# BS.1770-4, tables 1 and 2, for 48 kHz: the head, then what is low.
_K_WEIGHTING = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585),
    (1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621),
)

_OVERSAMPLED = 4
_REACH = 12  # samples on either side that decide about what lies between two samples

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Levels:
    """Of a 48 kHz stereo sound. Four bytes a millisecond: half precision is 0.004 dB."""

    samples: int
    """How long it is."""
    peaks: npt.NDArray[np.float16]
    """Highest true peak of either channel per millisecond, four times oversampled; 1 is full scale. The last may be shorter."""
    weighted: npt.NDArray[np.float16]
    """Root of the K-weighted mean square per millisecond, its channels summed."""

    @property
    def peak(self) -> float:
        """Highest true peak; 1 is full scale."""
        return float(self.peaks.max())

    def tenths(self) -> Curve:
        """The K-weighted mean square of every whole tenth of a second."""
        parts = range(0, len(self.weighted), STRETCH)
        return np.concatenate([tenths(self.weighted[at : at + STRETCH].astype(np.float64) ** 2) for at in parts])


class Meter:
    """Takes a 48 kHz stereo sound piece by piece, and says its levels. Holds no more of it than a piece."""

    def __init__(self) -> None:
        self._samples = 0
        self._waiting = np.zeros((STEM_CHANNELS, _REACH), np.float32)
        self._state = np.zeros((len(_K_WEIGHTING), STEM_CHANNELS, 2))
        self._peaks: list[npt.NDArray[np.float16]] = []
        self._weighted: list[npt.NDArray[np.float16]] = []

    def add(self, piece: Samples) -> None:
        """What comes next: float32, shape (samples, channels)."""
        self._samples += len(piece)
        self._waiting = np.concatenate([self._waiting, piece.T], axis=1)
        self._take((self._waiting.shape[1] - 2 * _REACH) // GRID)

    def levels(self) -> Levels:
        """Of all that was added."""
        missing = math.ceil(self._samples / GRID) - sum(map(len, self._peaks))
        rest = _REACH + missing * GRID + _REACH - self._waiting.shape[1]
        self._waiting = np.pad(self._waiting, ((0, 0), (0, max(0, rest))))
        self._take(missing)
        return Levels(self._samples, np.concatenate(self._peaks), np.concatenate(self._weighted))

    def _take(self, milliseconds: int) -> None:
        if milliseconds <= 0:
            return
        length = milliseconds * GRID
        part = self._waiting[:, : length + 2 * _REACH]
        with ThreadPoolExecutor(1) as beside:
            weighing = beside.submit(_weighted, part[:, _REACH:-_REACH], self._state)
            peaks = np.max([_true_peaks(channel) for channel in part], axis=0)
            weighted, self._state = weighing.result()
        self._peaks.append(peaks.astype(np.float16))
        self._weighted.append(weighted.astype(np.float16))
        self._waiting = self._waiting[:, length:]


def integrated(tenths: Curve) -> float | None:
    """Integrated loudness in LUFS of mean squares per tenth of a second. None below the gate, and for less than 0.4 s."""
    if len(tenths) < _OVERLAPPING:
        return None
    blocks = np.convolve(tenths, np.full(_OVERLAPPING, 1 / _OVERLAPPING), "valid")
    blocks = blocks[blocks > _mean_square(SILENT_LUFS)]
    if not len(blocks):
        return None
    gate = blocks.mean() * 10 ** (-_RELATIVE_GATE / 10)
    return float(-0.691 + 10 * np.log10(blocks[blocks > gate].mean()))


def tenths(milliseconds: Curve) -> Curve:
    """Means of every whole tenth of a second."""
    whole = len(milliseconds) // _TENTH
    means: Curve = milliseconds[: whole * _TENTH].reshape(whole, _TENTH).mean(axis=1)
    return means


def chunks(file: "SoundFile") -> Iterator[tuple[int, Samples]]:
    """The sound in pieces of `CHUNK` samples, with the place of the first: shape (samples, channels)."""
    for start in range(0, file.frames, CHUNK):
        work.check()
        yield start, file.read(CHUNK, dtype="float32", always_2d=True)


def under(gain: Samples, piece: Samples) -> Samples:
    """A piece of shape (samples, channels) under a gain of shape (samples,)."""
    # Seven times as fast as by broadcasting over two channels.
    weighed: Samples = piece * np.repeat(gain, piece.shape[1]).reshape(piece.shape)
    return weighed


def drawn(points: Curve, samples: int) -> Samples:
    """A gain at every sample from its values at every millisecond, in straight lines: shape (samples,).

    One point more than milliseconds; where the last millisecond is not whole, it ends at the last point all the same.
    """
    values = points.astype(np.float32)
    slopes = np.diff(values)
    lines: Samples = slopes[:, None] * (np.arange(GRID, dtype=np.float32) / GRID) + values[:-1, None]
    if rest := samples % GRID:
        lines[-1, :rest] = slopes[-1] * (np.arange(rest, dtype=np.float32) / rest) + values[-2]
    return lines.reshape(-1)[:samples]


def _mean_square(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _weighted(part: Samples, state: Curve) -> tuple[Curve, Curve]:
    """The root of the K-weighted mean square of every millisecond, its channels summed; and the filters' state behind it."""
    from scipy.signal import sosfilt

    heard, state = sosfilt(_K_WEIGHTING, part.astype(np.float64), zi=state)
    milliseconds = heard.reshape(STEM_CHANNELS, -1, GRID)
    return np.sqrt(np.einsum("cms,cms->m", milliseconds, milliseconds) / GRID), state


def _true_peaks(channel: Samples) -> Samples:
    """The true peak of every millisecond of one channel, which has `_REACH` samples more on either side."""
    # A product of matrices: a tenth of the time that a polyphase filter takes.
    rows = np.lib.stride_tricks.sliding_window_view(channel, GRID + 2 * _REACH)[::GRID]
    between = np.ascontiguousarray(rows) @ _interpolation()
    samples = np.abs(channel[_REACH:-_REACH]).reshape(-1, GRID).max(axis=1)
    peaks: Samples = np.maximum(np.abs(between, out=between).max(axis=1), samples)
    return peaks


@cache
def _interpolation() -> Samples:
    """From the samples of a millisecond, and `_REACH` more on either side, to what lies between them: a windowed sinc."""
    taps = np.arange(GRID + 2 * _REACH)[:, None, None]
    places = (np.arange(GRID)[:, None] + np.arange(1, _OVERSAMPLED) / _OVERSAMPLED).reshape(1, GRID, -1) + _REACH
    distance = taps - places
    inside = np.clip(1 - (distance / _REACH) ** 2, 0, None)
    kernel = np.sinc(distance) * np.i0(5.0 * np.sqrt(inside)) * (inside > 0)
    matrix: Samples = (kernel / kernel.sum(axis=0)).reshape(len(taps), -1).astype(np.float32)
    return matrix
