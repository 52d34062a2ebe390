"""Sound in memory and on disk."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models import work
from models.errors import StorageFull

STEM_SAMPLE_RATE = 48_000  # Hz
STEM_CHANNELS = 2
FLOAT_WAV: dict[str, Any] = {
    "samplerate": STEM_SAMPLE_RATE,
    "channels": STEM_CHANNELS,
    "subtype": "FLOAT",
    "format": "RF64",
}
"""What `soundfile` is to write of sound that is worked on: 32-bit float, and of any length."""

BLOCK = 2**18  # samples of a stem that are made and written at a time, 5.5 s
LOOP_FADE_SECONDS = 1.0  # of a long loop that are its end and its beginning at once

_ZERO_CROSSINGS = 64  # of the resampling filter, on either side; the transition band is 8 % of the pass band
_STOPBAND_DB = 80.0
_REACH = 16  # samples on either side that decide about a value between two samples at 48 kHz
_FINENESS = 512  # places between two samples at which that filter is known; it is a line between them, 106 dB near

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Audio:
    """Sound in memory."""

    samples: Samples
    """float32, shape (channels, samples), in [-1, 1]."""
    sample_rate: int
    """Hz."""

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.sample_rate


def write_stem(audio: Audio, path: Path, *, seconds: float, loop: bool = False) -> None:
    """Write the sound as a stem: 24-bit FLAC, 48 kHz, two channels, round(48000·seconds) samples but at least one.

    What is too long is cut, and silence follows what is too short. Of a loop, nothing is cut or added: all of it is one turn,
    resampled to exactly that length, and the filter reaches round from its end to its beginning.
    Only a few seconds of the stem are in memory at a time. Raises Cancelled when nobody wants it any more, StorageFull.
    """
    import soundfile

    length = max(1, round(seconds * STEM_SAMPLE_RATE))
    up, down = _ratio(audio.sample_rate, STEM_SAMPLE_RATE)
    ends = length if loop else math.ceil(audio.samples.shape[1] * up / down)
    form = {"samplerate": STEM_SAMPLE_RATE, "channels": STEM_CHANNELS, "subtype": "PCM_24", "format": "FLAC"}
    with space_for(path), soundfile.SoundFile(path, "w", **form) as file:
        for start in range(0, length, BLOCK):
            work.check()
            stop = min(start + BLOCK, length)
            block = _of_a_turn(audio, start, stop, length=length) if loop else _between(audio, start, stop)
            block[:, max(0, ends - start) :] = 0  # the filter rings on for a moment
            file.write((block[:STEM_CHANNELS] if len(block) > 1 else np.repeat(block, STEM_CHANNELS, axis=0)).T)


def resample(samples: Samples, *, rate: int, to: int) -> Samples:
    """Samples of shape (channels, samples) at the rate `to` (Hz), ceil(samples·to/rate) per channel.

    A polyphase filter that is 80 dB down from the lower Nyquist frequency on: nothing is folded, and nothing is added
    above what the source can hold. (scipy's default filter leaves an image of a 7.5 kHz tone 12 dB below it.)
    """
    from scipy.signal import firwin, kaiser_beta, resample_poly

    if rate == to:
        return samples
    up, down = _ratio(rate, to)
    order = 2 * _ZERO_CROSSINGS * max(up, down)
    # Kaiser's formula; frequencies are relative to the Nyquist frequency of the rate rate·up = to·down
    transition = (_STOPBAND_DB - 7.95) / (2.285 * math.pi * order)
    cutoff = 1 / max(up, down) - transition / 2
    taps = firwin(order + 1, cutoff, window=("kaiser", kaiser_beta(_STOPBAND_DB))).astype(np.float32)
    resampled: Samples = resample_poly(samples, up, down, axis=1, window=taps)
    return np.clip(resampled, -1, 1, out=resampled)


def loop_surplus(seconds: float) -> float:
    """How many seconds more than that a sound must have that `folded` makes a loop of."""
    return min(LOOP_FADE_SECONDS, seconds / 4)


def folded(samples: Samples, length: int) -> Samples:
    """The first `length` samples as a loop: what lies beyond is cross-faded, at equal power, into the beginning. In place."""
    surplus = samples.shape[1] - length
    rising = np.sin(np.linspace(0, np.pi / 2, surplus, dtype=np.float32))
    samples[:, :surplus] *= rising
    samples[:, :surplus] += rising[::-1] * samples[:, length:]
    return samples[:, :length]


def stretched(loop: Samples, samples: int) -> Samples:
    """A loop, (samples,), with as many samples as said, more or less by a few: slower or faster, and as seamless."""
    from scipy.signal import resample

    if len(loop) == samples:
        return loop
    made: Samples = resample(loop, samples)  # by Fourier's series, which takes it for periodic
    return made


def write_audio(audio: Audio, path: Path) -> None:
    """Write as 24-bit FLAC or WAV, by the path's ending. Raises StorageFull."""
    import soundfile

    with space_for(path):
        soundfile.write(path, audio.samples.T, audio.sample_rate, subtype="PCM_24")


def read_audio(path: Path) -> Audio:
    """Read a WAV or FLAC file."""
    import soundfile

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return Audio(np.ascontiguousarray(samples.T), rate)


@contextmanager
def space_for(path: Path) -> Iterator[None]:
    """Around writing: what the library calls a system error is StorageFull where the disk is."""
    import soundfile

    try:
        yield
    except soundfile.LibsndfileError as error:
        if shutil.disk_usage(path.parent).free > BLOCK:
            raise
        raise StorageFull("there is no space left on the disk that is worked on") from error


def _ratio(rate: int, to: int) -> tuple[int, int]:
    """The rates in lowest terms: so many samples at `to` last as long as so many at `rate`."""
    common = math.gcd(rate, to)
    return to // common, rate // common


def _between(audio: Audio, start: int, stop: int, *, around: bool = False) -> Samples:
    """Samples `start` to `stop` (exclusive) of the sound at 48 kHz, as if all of it were resampled at once.

    Before its first and after its last sample lies silence or, `around`, the sound itself again.
    """
    up, down = _ratio(audio.sample_rate, STEM_SAMPLE_RATE)
    # Counted in the shortest stretch that is a whole number of samples at both rates.
    context = 0 if up == down else math.ceil(_ZERO_CROSSINGS * max(up, down) / (up * down))
    first, last = start // up - context, -(-stop // up) + context
    source = _cut(audio.samples, first * down, last * down, around=around)
    skipped = start - first * up
    resampled = resample(source, rate=audio.sample_rate, to=STEM_SAMPLE_RATE)
    return resampled[:, skipped : skipped + stop - start]


def _cut(samples: Samples, first: int, last: int, *, around: bool) -> Samples:
    """A copy of the samples from `first` to `last` (exclusive), which may lie outside."""
    if around:
        return samples.take(np.arange(first, last), axis=1, mode="wrap")
    cut = np.zeros((len(samples), last - first), np.float32)
    inside = slice(max(0, first), min(last, samples.shape[1]))
    if inside.start < inside.stop:
        cut[:, inside.start - first : inside.stop - first] = samples[:, inside]
    return cut


def _of_a_turn(audio: Audio, start: int, stop: int, *, length: int) -> Samples:
    """Samples `start` to `stop` (exclusive) of the sound as one turn of a loop that has `length` of them."""
    up, down = _ratio(audio.sample_rate, STEM_SAMPLE_RATE)
    count = audio.samples.shape[1]
    if count * up == length * down:
        return _between(audio, start, stop, around=True)
    # The model's rate does not hold exactly that length: the turn is a fraction of a sample longer, or shorter.
    places = np.arange(start, stop) * (count * up / down / length)
    first = math.floor(places[0]) - _REACH + 1
    source = _between(audio, first, math.floor(places[-1]) + _REACH + 1, around=True)
    return _at(source, places - first)


def _at(samples: Samples, places: npt.NDArray[np.float64]) -> Samples:
    """Values between samples, at places that leave `_REACH` samples on either side: a windowed sinc."""
    grid = np.arange(-_REACH * _FINENESS, _REACH * _FINENESS + 1) / _FINENESS
    beta = 0.1102 * (_STOPBAND_DB - 8.7)  # Kaiser's
    window = np.i0(beta * np.sqrt(1 - (grid / _REACH) ** 2)) / np.i0(beta)
    kernel = np.sinc(grid) * window
    whole = np.floor(places).astype(np.int64)
    values = np.zeros((len(samples), len(places)))
    for tap in range(1 - _REACH, _REACH + 1):
        values += np.interp(whole + tap - places, grid, kernel) * samples[:, whole + tap]
    return np.clip(values, -1, 1).astype(np.float32)
