"""The means of sound effects: noise painted on a spectrogram, grains, wavetables, and curves that move slowly at random.

A `Canvas` holds one piece. Steady sounds (rain's bed, wind, a road far away) are noise bands with a level that changes over
time: their powers are summed and turned into sound once, whatever their number, by an inverse short-time Fourier transform of
random spectra with those magnitudes. Nothing repeats, so nothing loops. Short sounds (a drop, a step, a chirp) are added where they
begin.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from models.audio import STEM_SAMPLE_RATE

Array = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating[Any]]

RATE = STEM_SAMPLE_RATE  # Hz
HOP = 1024  # samples between spectra, 21 ms
FRAME_RATE = RATE / HOP  # Hz, of everything that changes the level of a band
HIGHEST = 16_500  # Hz of painted noise: what lies above costs a third more, and is heard by few
FREQUENCIES = np.arange(round(HIGHEST * 2 * HOP / RATE), dtype=np.float32) * (RATE / (2 * HOP))
BLOCK = 512  # spectra turned into sound at a time, 11 s
TOGETHER = 0.35  # correlation of left and right noise: wide, yet in one room

# The squares of its two halves add up to 1.
_WINDOW = np.sin(np.pi * (np.arange(2 * HOP, dtype=np.float32) + 0.5) / (2 * HOP))


class Canvas:
    """One piece, while it is being made."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.samples: Array = np.zeros((2, max(1, round(seconds * RATE))), dtype=np.float32)
        self.frames = _frames(self.samples.shape[1])
        """Spectra in the piece: the first lies around its beginning, then one every 21 ms."""
        self._shapes: list[Array] = []
        self._levels: list[Array] = []

    def add_band(self, shape: Array, level: Array) -> None:
        """Noise of the power spectrum `shape` (bins,) and power `level` (2, frames), to be painted."""
        self._shapes.append(shape)
        self._levels.append(level)

    def add(self, sound: Array, start: int, gain: float) -> None:
        """A sound of shape (2, length) from a sample on; what lies outside the piece is cut."""
        skipped = max(0, -start)
        start, stop = max(0, start), min(start + sound.shape[1], self.samples.shape[1])
        if stop > start:
            self.samples[:, start:stop] += gain * sound[:, skipped : skipped + stop - start]

    def paint(self, rng: np.random.Generator) -> Iterable[int]:
        """Turn all bands into sound, block by block; yields the number of blocks done."""
        shapes = np.stack(self._shapes)
        # Drawing from a table is five times faster than drawing from the distribution.
        normal = rng.standard_normal((1 << 16, 2), dtype=np.float32).view(np.complex64).ravel()
        rest = np.zeros((2, HOP), dtype=np.float32)
        for block in range(blocks(self.samples.shape[1])):
            frames = slice(block * BLOCK, min((block + 1) * BLOCK, self.frames))
            drawn = rng.integers(1 << 16, size=(2, frames.stop - frames.start, len(FREQUENCIES)), dtype=np.uint16)
            left, other = normal[drawn]
            right = np.float32(TOGETHER) * left + np.float32(np.sqrt(1 - TOGETHER**2)) * other
            for side, spectra in enumerate((left, right)):
                power = np.stack([level[side, frames] for level in self._levels], axis=1) @ shapes
                waves = fft.irfft(spectra * np.sqrt(power), n=2 * HOP, axis=1) * _WINDOW
                halves = waves.reshape(len(waves), 2, HOP)
                sound = halves[:, 0]
                sound[1:] += halves[:-1, 1]
                sound[0] += rest[side]
                rest[side] = halves[-1, 1]
                self._put(side, (frames.start - 1) * HOP, sound.ravel())
            yield block + 1

    def _put(self, side: int, start: int, sound: Array) -> None:
        skipped = max(0, -start)
        start, stop = max(0, start), min(start + len(sound), self.samples.shape[1])
        self.samples[side, start:stop] += sound[skipped : skipped + stop - start]


def _frames(samples: int) -> int:
    return -(-samples // HOP) + 1


def blocks(samples: int) -> int:
    """In how many blocks a piece of so many samples is painted."""
    return -(-_frames(samples) // BLOCK)


@dataclass(frozen=True)
class Track:
    """One layer's way to write on the canvas: at its own level, with its own randomness."""

    canvas: Canvas
    rng: np.random.Generator
    gain: float

    @property
    def seconds(self) -> float:
        return self.canvas.seconds

    @property
    def times(self) -> Array:
        """Seconds of the frames, shape (frames,)."""
        return np.arange(self.canvas.frames, dtype=np.float32) / FRAME_RATE

    def noise(self, shape: Array, level: npt.ArrayLike, *, pan: npt.ArrayLike = 0.0) -> None:
        """Noise of a shape made by `band`.

        `level`: RMS, a number or of shape (frames,) or (2, frames); `pan`: -1 left, 1 right, a number or of shape (frames,).
        """
        angle = (np.asarray(pan, dtype=np.float32) + 1) * np.float32(np.pi / 4)
        power = np.zeros((2, self.canvas.frames), dtype=np.float32)
        power += np.square(np.asarray(level, dtype=np.float32) * self.gain)
        power[0] *= 2 * np.cos(angle) ** 2
        power[1] *= 2 * np.sin(angle) ** 2
        self.canvas.add_band(shape, power)

    def play(self, sound: Array, at: float, *, gain: float = 1.0, pan: float = 0.0) -> None:
        """A sound, mono (length,) or stereo (2, length), from `at` seconds on."""
        self.canvas.add(sound if sound.ndim == 2 else placed(sound, pan), round(at * RATE), gain * self.gain)

    def scatter(self, bank: Sequence[Array], times: Numbers, gains: Numbers) -> None:
        """At each time, one sound of the bank (stereo), chosen at random."""
        starts, chosen = np.round(times * RATE).astype(int), self.rng.integers(len(bank), size=len(times))
        for start, gain, which in zip(starts.tolist(), gains.tolist(), chosen.tolist(), strict=True):
            self.canvas.add(bank[which], start, gain * self.gain)


def shower(track: Track, bank: Sequence[Array], *, rate: float, gain: float, spread: float) -> None:
    """Sounds of a bank without number, `rate` per second; `spread`: standard deviation of their levels in nepers.

    They fall in handfuls, three at any time: one by one they would take ten times as long.
    """
    handfuls = []
    for _ in range(40):
        handful = Canvas(0.3 + max(sound.shape[1] for sound in bank) / RATE)
        count = track.rng.poisson(0.1 * rate)
        gains = gain * track.rng.lognormal(0, spread, count)
        Track(handful, track.rng, 1.0).scatter(bank, track.rng.uniform(0, 0.3, count), gains)
        handfuls.append(handful.samples)
    times = np.arange(-0.3, track.seconds, 0.1)
    track.scatter(handfuls, times + track.rng.uniform(-0.04, 0.04, len(times)), np.ones(len(times)))


def band(low: float, high: float, *, tilt: float = 0.0, steep: float = 4.0) -> Array:
    """The power spectrum of a band of noise with RMS 1, shape (bins,).

    `low`, `high`: Hz, its edges at -3 dB; `tilt`: dB per octave within it; `steep`: order of the edges.
    """
    f = np.maximum(FREQUENCIES, 10)
    power = (f / 1000) ** (tilt / 3.01) / (1 + (low / f) ** (2 * steep)) / (1 + (f / high) ** (2 * steep))
    power[FREQUENCIES < 20] = 0
    return np.asarray(power * HOP**2 / power.sum(), dtype=np.float32)


def placed(sound: Array, pan: float) -> Array:
    """A mono sound between left (-1) and right (1) at equal power, shape (2, length)."""
    angle = (pan + 1) * np.pi / 4
    sides = np.array([[np.cos(angle)], [np.sin(angle)]], dtype=np.float32) * np.float32(np.sqrt(2))
    return np.asarray(sides * sound, dtype=np.float32)


def wander(track: Track, period: float, low: float, high: float) -> Array:
    """A smooth random curve between two values with a turn about every `period` seconds, shape (frames,)."""
    count = int(track.seconds / period) + 4
    knots = np.cumsum(track.rng.uniform(0.6, 1.4, count)) * period - 2 * period
    values = track.rng.uniform(low, high, count)
    return np.asarray(np.clip(_smooth_between(track.times, knots, values), low, high), dtype=np.float32)


def _smooth_between(
    times: Array, knots: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Interpolation by half cosines: no overshoot, no corner."""
    after = np.clip(np.searchsorted(knots, times), 1, len(knots) - 1)
    part = np.clip((times - knots[after - 1]) / (knots[after] - knots[after - 1]), 0, 1)
    return np.asarray(values[after - 1] + (values[after] - values[after - 1]) * (1 - np.cos(np.pi * part)) / 2)


def flutter(track: Track, depth: float) -> Array:
    """Quick irregular changes of level around 1, shape (frames,). `depth`: about their standard deviation in nepers."""
    rough = track.rng.standard_normal(track.canvas.frames + 8)
    smooth = np.convolve(rough, np.hanning(7) / 1.9, mode="same")[4:-4]
    return np.asarray(np.exp(depth * smooth), dtype=np.float32)


def at_random(track: Track, rate: float) -> Array:
    """Times of events that know nothing of each other, `rate` per second on average."""
    count = track.rng.poisson(rate * track.seconds)
    return np.sort(track.rng.uniform(0, track.seconds, count)).astype(np.float32)


def at_intervals(track: Track, shortest: float, longest: float) -> Array:
    """Times of events with an interval between these. The first comes within half the shortest interval."""
    count = int(track.seconds / shortest) + 2
    intervals = track.rng.uniform(shortest, longest, count)
    times = track.rng.uniform(0, shortest / 2) + np.cumsum(intervals) - intervals[0]
    return np.asarray(times[times < track.seconds], dtype=np.float32)


def seconds_of(length: float) -> Array:
    """Times of the samples of a sound, shape (samples,)."""
    return np.arange(max(1, round(length * RATE)), dtype=np.float32) / RATE


def pluck(
    frequencies: Sequence[float] | Numbers,
    decays: Sequence[float] | Numbers,
    gains: Sequence[float] | Numbers,
    *,
    length: float,
) -> Array:
    """A struck body: sines that die away. `decays`: seconds to -8.7 dB."""
    t = seconds_of(length)
    sound = np.zeros_like(t)
    for frequency, decay, gain in zip(frequencies, decays, gains, strict=True):
        sound += np.float32(gain) * np.sin(np.float32(2 * np.pi * frequency) * t) * np.exp(-t / np.float32(decay))
    return _eased(sound, 0.0005)


def burst(rng: np.random.Generator, low: float, high: float, *, attack: float, decay: float) -> Array:
    """A puff of noise between two frequencies, RMS 0.4 at its height; five times `decay` long."""
    t = seconds_of(attack + 5 * decay)
    noise = coloured(rng, len(t), low, high)
    return _eased(0.4 * noise * np.minimum(t / attack, 1) * np.exp(-np.maximum(t - attack, 0) / decay), 0.0005)


def coloured(rng: np.random.Generator, samples: int, low: float, high: float) -> Array:
    """Steady noise with RMS 1 between two frequencies (Hz, 12 dB per octave beyond), of shape (samples,)."""
    size = max(64, fft.next_fast_len(samples, real=True))
    f = np.maximum(np.arange(size // 2 + 1, dtype=np.float32) * np.float32(RATE / size), 1)
    gain = 1 / np.sqrt((1 + (low / f) ** 4) * (1 + (f / high) ** 4))
    noise = fft.irfft(rng.standard_normal((len(f), 2), dtype=np.float32).view(np.complex64)[:, 0] * gain, n=size)
    return np.asarray(noise[:samples] / noise.std(), dtype=np.float32)


def whistle(pitch: Array, level: Array, *, overtone: float = 0.0) -> Array:
    """A sine of the given pitch (Hz) and level, both of shape (samples,), with some of its octave."""
    phase = 2 * np.pi * np.cumsum(pitch, dtype=np.float64) / RATE
    sound = np.sin(phase) + overtone * np.sin(2 * phase) if overtone else np.sin(phase)
    return np.asarray(sound * level, dtype=np.float32)


def formants(frequencies: Sequence[float], *, pitch: float, tilt: float = -6.0) -> Array:
    """One period, 2048 samples with RMS 1, of a voice at `pitch` Hz with these resonances. `tilt`: dB per octave of the source."""
    harmonics = np.arange(1, int(min(9000, 0.45 * RATE) / pitch) + 1) * pitch
    gain = np.zeros_like(harmonics, dtype=np.float64)
    for rank, centre in enumerate(frequencies):
        gain += 0.6**rank / np.sqrt(1 + ((harmonics - centre) / (40 + 0.06 * centre)) ** 2)
    gain *= (harmonics / pitch) ** (tilt / 6.02)
    spectrum = np.zeros(1025, dtype=np.complex128)
    spectrum[1 : len(harmonics) + 1] = gain * np.exp(1j * np.pi * np.arange(len(harmonics)) ** 2 / len(harmonics))
    table = np.fft.irfft(spectrum)
    return np.asarray(table / table.std(), dtype=np.float32)


def sung(tables: Sequence[Array], pitch: Array, level: Array) -> Array:
    """A voice that goes from one period of `formants` to the next. `pitch` (Hz) and `level` have the shape (samples,)."""
    place = (np.cumsum(pitch, dtype=np.float64) * (2048 / RATE)).astype(np.int64) & 2047
    along = np.linspace(0, len(tables) - 1, len(pitch), dtype=np.float32)
    sound = np.zeros_like(along)
    for number, table in enumerate(tables):
        sound += np.maximum(0, 1 - np.abs(along - number)) * table[place]
    return sound * level


def arch(samples: int, *, rise: float) -> Array:
    """A level that grows from 0 to 1 during the given part of its length, and falls back to 0, shape (samples,)."""
    t = np.linspace(0, 1, samples, dtype=np.float32)
    return np.asarray(np.sin(np.pi / 2 * np.minimum(t / rise, (1 - t) / (1 - rise))) ** 2, dtype=np.float32)


class Space:
    """An echo without single reflections: what a wood, a street or a room does to a sound."""

    def __init__(self, rng: np.random.Generator, *, tail: float) -> None:
        t = seconds_of(tail)
        echo = rng.standard_normal((2, len(t)), dtype=np.float32) * np.exp(-t * np.float32(6 / tail))
        self._echo = echo / np.sqrt(np.square(echo).sum(axis=1, keepdims=True))
        self._spectra: dict[int, npt.NDArray[np.complex64]] = {}

    def place(self, sound: Array, *, pan: float, wet: float) -> Array:
        """A mono sound in this space, shape (2, its length and the tail's). `wet`: the echo's part, 0 to 1."""
        length = len(sound) + self._echo.shape[1]
        size = -(-length // 8192) * 8192
        if size not in self._spectra:
            self._spectra[size] = fft.rfft(self._echo, n=size, axis=1)
        scattered = fft.irfft(fft.rfft(sound, n=size) * self._spectra[size], n=size, axis=1)[:, :length]
        scattered *= np.float32(wet)
        scattered[:, : len(sound)] += np.float32(1 - wet) * placed(sound, pan)
        return np.asarray(scattered, dtype=np.float32)


def _eased(sound: Array, seconds: float) -> Array:
    """The sound with its first and last moments faded, so that it doesn't click."""
    edge = np.linspace(0, 1, max(2, round(seconds * RATE)), dtype=np.float32)[: len(sound) // 2]
    sound[: len(edge)] *= edge
    sound[len(sound) - len(edge) :] *= edge[::-1]
    return sound
