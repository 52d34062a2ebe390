"""Notes of eleven instruments and seven drums, made of decaying sines and of filtered noise.

Every pitched instrument is a set of *modes* (frequency, amplitude, decay): what a string, a bar or a tube does. Nothing lies above
11 kHz, so nothing aliases and nothing is shrill.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

from models.audio import STEM_SAMPLE_RATE as RATE
from models.audio import Samples
from models.sketch.arrangement import Drum
from models.sketch.music_words import Instrument

HIGHEST = 11_000  # Hz
_FINE = 512  # samples; a note is a grid of blocks of this size

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Voice:
    """How an instrument stands in the mix."""

    gain: float
    """Evens out how loud the instruments are."""
    pan: float
    """-1 left, 1 right."""
    send: float
    """Share that goes to the reverb."""
    release_seconds: float
    """How long a note takes to end when it is let go."""
    longest_seconds: float
    """A note is silent, or let go, after this."""


VOICES: dict[Instrument | Drum, Voice] = {
    "piano": Voice(1.45, -0.1, 0.25, 0.25, 6), "electric piano": Voice(0.9, 0.12, 0.25, 0.2, 5),
    "guitar": Voice(0.86, 0.25, 0.25, 0.3, 4), "harp": Voice(0.95, -0.3, 0.4, 0.8, 4),
    "bell": Voice(0.55, 0.2, 0.4, 0.9, 4), "marimba": Voice(1.1, -0.2, 0.3, 0.3, 2),
    "flute": Voice(0.8, 0.1, 0.4, 0.12, 9), "strings": Voice(0.75, 0.0, 0.4, 0.3, 14),
    "horn": Voice(0.5, 0.1, 0.45, 0.15, 9), "pad": Voice(1.1, 0.0, 0.4, 0.8, 14), "bass": Voice(1.5, 0.0, 0.05, 0.12, 4),
    "kick": Voice(1.8, 0.0, 0.03, 0.1, 0.5), "snare": Voice(4.0, 0.08, 0.2, 0.1, 0.4), "brush": Voice(3.6, -0.15, 0.15, 0.1, 0.4),
    "hat": Voice(5.5, 0.3, 0.1, 0.05, 0.2), "ride": Voice(3.0, -0.3, 0.2, 0.4, 1.2), "shaker": Voice(7.0, 0.35, 0.15, 0.05, 0.2),
    "tom": Voice(2.0, -0.2, 0.25, 0.2, 1.0),
}  # fmt: skip


def render(instrument: Instrument | Drum, *, pitch: int, velocity: float, seconds: float, short: bool) -> Samples:
    """One note, held: float32, shape (1 or 2 channels, samples), of about unit loudness whatever its velocity.

    `velocity` in [0, 1] sets how bright it is; `short` notes of sustaining instruments speak faster.
    """
    samples = max(1, round(min(seconds, VOICES[instrument].longest_seconds) * RATE))
    if pitch == 0:
        return _DRUMS[instrument](samples)[np.newaxis]
    rng = np.random.default_rng([pitch, sum(map(ord, instrument))])
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    sound = _PITCHED[instrument](frequency, velocity, samples, rng) * np.float32((330 / frequency) ** 0.15)
    return sound * _attack(_ATTACKS.get(instrument, 0.002) * (0.4 if short else 1), samples)


_ATTACKS: dict[Instrument | Drum, float] = {
    "flute": 0.07,
    "horn": 0.06,
    "strings": 0.18,
    "pad": 0.7,
    "bass": 0.02,
}  # seconds


def _attack(seconds: float, samples: int) -> Samples:
    rise = min(samples, round(seconds * RATE))
    envelope = np.ones(samples, np.float32)
    envelope[:rise] = 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    return envelope


def modes(frequencies: Floats, amplitudes: Floats, *, decays: Floats, phases: Floats, samples: int) -> Samples:
    """Σ aₙ·e^(−dₙt)·sin(2πfₙt + φₙ): float32, shape (samples,). Decays are per second.

    e^(s(t₀+τ)) = e^(st₀)·e^(sτ), so the sum over modes is one product of a (blocks, modes) and a (modes, block) matrix.
    """
    heard = frequencies < HIGHEST
    rates = (2j * np.pi * frequencies[heard] - np.broadcast_to(decays, frequencies.shape)[heard]) / RATE
    blocks = -(-samples // _FINE)
    coarse = np.exp(np.outer(np.arange(blocks) * _FINE, rates))
    fine = np.exp(np.outer(rates, np.arange(_FINE))) * (amplitudes[heard] * np.exp(1j * phases[heard]))[:, np.newaxis]
    left = np.concatenate([coarse.real, coarse.imag], axis=1).astype(np.float32)
    right = np.concatenate([fine.imag, fine.real], axis=0).astype(np.float32)
    sound: Samples = (left @ right).reshape(-1)[:samples]
    return sound


@cache
def _noise(low: float, high: float) -> Samples:
    """Three seconds of band-passed noise of unit RMS, the same every time."""
    white = np.random.default_rng(round(low)).standard_normal(3 * RATE)
    band = sosfilt(butter(2, (low, high), "bandpass", fs=RATE, output="sos"), white)
    scaled: Samples = (band / band.std()).astype(np.float32)
    return scaled


def _fading(seconds: float, samples: int) -> Samples:
    fading: Samples = np.exp(-np.arange(samples, dtype=np.float32) / np.float32(seconds * RATE))
    return fading


def _knock(sound: Samples, *, level: float, band: tuple[float, float], seconds: float) -> Samples:
    """The sound with the short noise of a hammer or a finger at its start."""
    samples = min(len(sound), round(6 * seconds * RATE))
    sound[:samples] += level * (_noise(*band)[:samples] * _fading(seconds, samples))
    return sound


def _piano(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    n = np.arange(1.0, 25)
    stretched = n * np.sqrt(1 + 3e-4 * (frequency / 260) * n**2)
    loudness = (
        np.abs(np.sin(np.pi * n / 8.3)) / n**0.7 * np.exp(-n * (0.5 - 0.35 * velocity) * (frequency / 330) ** 0.6)
    )
    fast = 0.9 * (frequency / 220) ** 0.6 + 0.35 * n
    # Two strings a little apart: the sound beats slowly, and falls fast at first and slowly after.
    frequencies = frequency * np.concatenate([stretched, stretched * 1.0004])
    sound = modes(
        frequencies, np.concatenate([loudness, 0.5 * loudness]), decays=np.concatenate([fast, 0.3 * fast]),
        phases=rng.uniform(0, 0.5, 48), samples=samples,
    )  # fmt: skip
    return _knock(sound, level=0.05 * velocity, band=(200, 1200), seconds=0.008)[np.newaxis]


def _electric_piano(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    n = np.array([1, 2, 3, 4, 5, 7.02, 14.1])
    loudness = np.array([1, 0.6, 0.4, 0.25, 0.15, 0.25, 0.1]) * np.array([1, *[velocity] * 6])
    decays = np.array([0.9, 1.4, 2, 3, 4, 9, 18]) * (frequency / 260) ** 0.4
    sound = modes(frequency * n, loudness, decays=decays, phases=rng.uniform(0, 1, 7), samples=samples)
    seconds = np.arange(samples, dtype=np.float32) / RATE
    sway = 0.12 * np.sin(2 * np.pi * 4.6 * seconds)
    return np.stack([sound * (1 + sway), sound * (1 - sway)])


def _guitar(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    """The modes of Karplus and Strong's string: each loses what their averaging filter takes from it every period."""
    n = np.arange(1.0, 29)
    loudness = (
        np.abs(np.sin(np.pi * n * 0.19)) / n**0.8 * np.exp(-n * (0.2 - 0.14 * velocity) * (frequency / 250) ** 0.5)
    )
    decays = 0.8 - 0.35 * frequency * np.log(np.cos(np.pi * np.minimum(frequency * n, 0.49 * 24_000) / 24_000))
    sound = modes(frequency * n, 1.5 * loudness, decays=decays, phases=rng.uniform(0, 6.3, 28), samples=samples)
    return _knock(sound, level=0.04 * velocity, band=(800, 3500), seconds=0.004)[np.newaxis]


def _harp(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    n = np.arange(1.0, 15)
    loudness = np.abs(np.sin(np.pi * n * 0.42)) / n * np.exp(-n * (0.25 - 0.15 * velocity))
    decays = 1.1 * (frequency / 300) ** 0.5 + 0.5 * n
    return modes(frequency * n, 1.7 * loudness, decays=decays, phases=rng.uniform(0, 1, 14), samples=samples)[
        np.newaxis
    ]


def _bell(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    ratios = np.array([1, 1.002, 2.0, 3.01, 4.17, 5.43, 6.8])
    loudness = np.array([0.7, 0.5, 0.3, 0.2, 0.2 * velocity, 0.15 * velocity, 0.1 * velocity])
    decays = np.array([1.3, 1.5, 2.2, 3.5, 6, 9, 14])
    return modes(frequency * ratios, loudness, decays=decays, phases=rng.uniform(0, 1, 7), samples=samples)[np.newaxis]


def _marimba(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    loudness = np.array([1.3, 0.6 * velocity, 0.3 * velocity])
    decays = np.array([4.5, 14, 30]) * (frequency / 330) ** 0.5
    sound = modes(
        frequency * np.array([1, 3.98, 9.6]), loudness, decays=decays, phases=rng.uniform(0, 0.5, 3), samples=samples
    )
    return _knock(sound, level=0.06 * velocity, band=(300, 1500), seconds=0.005)[np.newaxis]


def _flute(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    n = np.arange(1.0, 6)
    loudness = np.array([1, 0.45, 0.3, 0.14, 0.07]) * np.where(n > 1, 0.4 + velocity, 1)
    sound = modes(frequency * n, 0.55 * loudness, decays=np.zeros(5), phases=rng.uniform(0, 6.3, 5), samples=samples)
    breath = np.resize(_noise(1200, 4500), samples) * (0.006 + 0.05 * _fading(0.05, samples))
    blown: Samples = _vibrato(sound, rate=5.1, depth=0.0035) + breath
    return blown[np.newaxis]


def _vibrato(sound: Samples, *, rate: float, depth: float) -> Samples:
    """Sets in late, as a player's does: the note is read a little early and late. `depth` is a share of the frequency."""
    seconds = np.arange(len(sound)) / RATE
    swing = np.clip(2 * seconds - 0.5, 0, 1) * np.sin(2 * np.pi * rate * seconds)
    read = np.arange(len(sound)) + depth * RATE / (2 * np.pi * rate) * swing
    bent: Samples = (np.interp(read, np.arange(len(sound)), sound) * (1 + 10 * depth * swing)).astype(np.float32)
    return bent


def _strings(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    dark = 1 / (1 + (frequency * np.arange(1, 17) / (2200 + 3300 * velocity)) ** 2)
    sound = _ensemble(frequency, 0.5 * dark / np.arange(1, 17) ** 0.75, cents=(-7, -2, 4, 8), samples=samples, rng=rng)
    return np.stack([_vibrato(side, rate=rate, depth=0.003) for side, rate in zip(sound, (5.4, 4.7), strict=True)])


def _horn(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    n = np.arange(1.0, 19)
    bright = np.exp(-n * frequency / (500 + 1500 * velocity))
    phases = rng.uniform(0, 1, 18)
    soft, full = (
        modes(frequency * n, loud, decays=np.zeros(1), phases=phases, samples=samples) for loud in (bright**2, bright)
    )
    # Brass brightens as it speaks, and settles.
    seconds = np.arange(samples, dtype=np.float32) / RATE
    blown = np.clip(seconds / 0.12, 0, 1) * (0.6 + 0.4 * np.exp(-3 * seconds))
    sound: Samples = 0.5 * soft + 0.7 * blown * full
    return sound[np.newaxis]


def _pad(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    dark = 1 / (1 + (frequency * np.arange(1, 11) / (1000 + 1500 * velocity)) ** 2)
    return _ensemble(frequency, 0.55 * dark / np.arange(1, 11), cents=(-9, -3, 3, 9), samples=samples, rng=rng)


def _ensemble(
    frequency: float, loudness: Floats, *, cents: tuple[float, ...], samples: int, rng: np.random.Generator
) -> Samples:
    """Several players a little apart, half of them on each side."""
    n = np.arange(1.0, len(loudness) + 1)
    sides = []
    for side in (cents[::2], cents[1::2]):
        frequencies = np.concatenate([frequency * n * 2 ** (cent / 1200) for cent in side])
        phases = rng.uniform(0, 6.3, len(frequencies))
        sides.append(
            modes(frequencies, np.tile(loudness, len(side)), decays=np.zeros(1), phases=phases, samples=samples)
        )
    return np.stack(sides)


def _bass(frequency: float, velocity: float, samples: int, rng: np.random.Generator) -> Samples:
    n = np.arange(1.0, 9)
    loudness = np.array([1, 0.6, 0.3, 0.18, 0.1, 0.06, 0.04, 0.02]) * np.exp(-n * 0.35 * (1 - velocity))
    return modes(frequency * n, loudness, decays=0.7 + 0.5 * n, phases=rng.uniform(0, 0.5, 8), samples=samples)[
        np.newaxis
    ]


_PITCHED: dict[Instrument | Drum, Callable[[float, float, int, np.random.Generator], Samples]] = {
    "piano": _piano, "electric piano": _electric_piano, "guitar": _guitar, "harp": _harp, "bell": _bell,
    "marimba": _marimba, "flute": _flute, "strings": _strings, "horn": _horn, "pad": _pad, "bass": _bass,
}  # fmt: skip


def _drop(start: float, end: float, *, seconds: float, samples: int) -> Samples:
    """A struck skin: a sine that falls from one frequency to another."""
    frequency = end + (start - end) * _fading(0.03, samples)
    sound: Samples = np.sin(2 * np.pi * np.cumsum(frequency, dtype=np.float64) / RATE).astype(np.float32)
    return sound * _fading(seconds, samples) * _attack(0.002, samples)


def _kick(samples: int) -> Samples:
    return _drop(140, 64, seconds=0.1, samples=samples)


def _tom(samples: int) -> Samples:
    skin = _drop(150, 92, seconds=0.22, samples=samples)
    return skin + 0.08 * _noise(150, 900)[:samples] * _fading(0.05, samples)


def _snare(samples: int) -> Samples:
    return 0.25 * _noise(900, 5500)[:samples] * _fading(0.07, samples) + 0.4 * _drop(
        230, 180, seconds=0.05, samples=samples
    )


def _brush(samples: int) -> Samples:
    return 0.25 * _noise(1200, 6000)[:samples] * _fading(0.09, samples) * _attack(0.05, samples)


def _hat(samples: int) -> Samples:
    return 0.22 * _noise(5000, 8500)[:samples] * _fading(0.03, samples)


def _shaker(samples: int) -> Samples:
    return 0.22 * _noise(3500, 7500)[:samples] * _fading(0.035, samples) * _attack(0.03, samples)


def _ride(samples: int) -> Samples:
    ratios: Floats = np.array([1.0, 1.34, 1.72, 2.11, 2.63, 3.19, 3.7])
    return modes(
        2150 * ratios, np.full(7, 0.06), decays=np.linspace(4, 9, 7), phases=np.arange(7.0), samples=samples
    ) + 0.04 * _noise(4000, 8000)[:samples] * _fading(0.05, samples)


_DRUMS: dict[Instrument | Drum, Callable[[int], Samples]] = {
    "kick": _kick, "tom": _tom, "snare": _snare, "brush": _brush, "hat": _hat, "shaker": _shaker, "ride": _ride,
}  # fmt: skip
