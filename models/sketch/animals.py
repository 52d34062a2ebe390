"""Birds, insects and the animals that a detector names: layers of sound. Each writes on a `Track`."""

from collections.abc import Sequence

import numpy as np

from models.sketch.synthesis import (
    FRAME_RATE,
    Array,
    Space,
    Track,
    arch,
    at_intervals,
    band,
    coloured,
    flutter,
    formants,
    placed,
    seconds_of,
    sung,
    wander,
    whistle,
)


def birds(track: Track) -> None:
    """A handful of songbirds, each with its own song, place and distance."""
    wood = Space(track.rng, tail=0.7)
    for singer in range(4):
        song = _song(track.rng)
        pan, wet = track.rng.uniform(-0.85, 0.85), track.rng.uniform(0.15, 0.6)
        for at in at_intervals(track, 3, 9) + track.rng.uniform(0, 2 * singer):
            track.play(wood.place(_sing(track.rng, song), pan=pan, wet=wet), at, gain=0.3 * (1 - 0.8 * wet))


def gulls(track: Track) -> None:
    """Gulls over water: falling cries, in rows."""
    shore = Space(track.rng, tail=0.9)
    tables = [formants((1100, 2300, 3800), pitch=900, tilt=-2), formants((900, 1900, 3400), pitch=900, tilt=-3)]
    for at in at_intervals(track, 3.5, 9):
        pan, wet = track.rng.uniform(-0.8, 0.8), track.rng.uniform(0.4, 0.8)
        top, start = track.rng.uniform(850, 1250), at
        for _ in range(track.rng.integers(1, 6)):
            length = track.rng.uniform(0.22, 0.5)
            t = seconds_of(length)
            cry = sung(tables, top * np.interp(t / length, [0, 0.2, 1], [0.75, 1, 0.62]), arch(len(t), rise=0.15))
            track.play(shore.place(cry, pan=pan, wet=wet), start, gain=0.05)
            start += length + track.rng.uniform(0.05, 0.25)


def crickets(track: Track) -> None:
    """Night: field crickets that chirp, each at its own pace, over a far chorus."""
    track.noise(band(80, 900, tilt=-4, steep=2), 0.004 * wander(track, 6, 0.8, 1.2))
    track.noise(band(4300, 5600, steep=3), 0.005 * wander(track, 4, 0.7, 1.2) * flutter(track, 0.3))
    for singer in range(5):
        pitch, pause = track.rng.uniform(3600, 4900), track.rng.uniform(0.42, 0.8)
        pan, near = track.rng.uniform(-0.95, 0.95), (1.0, 0.65, 0.4, 0.25, 0.2)[singer]
        chirps = [placed(_chirp(track.rng, pitch), pan) for _ in range(8)]
        times = at_intervals(track, pause * 0.93, pause * 1.07)
        times = times[np.interp(times, track.times, wander(track, 9, -0.6, 1.4)) > 0]  # now and then, one pauses
        track.scatter(chirps, times, 0.11 * near * track.rng.uniform(0.75, 1, len(times)))


def dog(track: Track) -> None:
    """Barks, two or three at a time."""
    yard = Space(track.rng, tail=0.4)
    throat = [formants((850, 1700, 2900), pitch=400), formants((600, 1300, 2500), pitch=400)]
    for at in at_intervals(track, 3.5, 8):
        start, size = float(at), track.rng.uniform(380, 480)
        for _ in range(track.rng.integers(1, 4)):
            t = seconds_of(track.rng.uniform(0.16, 0.24))
            hoarse = np.repeat(track.rng.normal(1, 0.06, len(t) // 120 + 1), 120)[: len(t)]
            pitch = size * np.interp(t / t[-1], [0, 0.25, 1], [0.7, 1.15, 0.6]) * hoarse
            track.play(yard.place(sung(throat, pitch, arch(len(t), rise=0.12)), pan=0.2, wet=0.3), start, gain=0.16)
            start += t[-1] + track.rng.uniform(0.12, 0.3)


def cat(track: Track) -> None:
    """A purr, in and out, and a miaow now and then."""
    in_and_out = 0.7 + 0.3 * np.sin(2 * np.pi * np.cumsum(wander(track, 3, 0.5, 0.75)) / FRAME_RATE)
    thumps = [placed(_purr(track.rng), 0.0) for _ in range(24)]
    times = np.arange(0.02, track.seconds, 0.04)
    times += track.rng.normal(0, 0.0015, len(times))
    track.scatter(thumps, times, 0.16 * np.interp(times, track.times, in_and_out))
    place = Space(track.rng, tail=0.3)
    mouth = [
        formants(f, pitch=550) for f in ((450, 2300, 3200), (1000, 1900, 3100), (850, 1400, 2900), (450, 900, 2700))
    ]
    for at in at_intervals(track, 7, 14):
        t = seconds_of(track.rng.uniform(0.6, 0.95))
        pitch = track.rng.uniform(480, 620) * np.interp(t / t[-1], [0, 0.3, 0.7, 1], [0.8, 1.1, 1.05, 0.75])
        track.play(place.place(sung(mouth, pitch, arch(len(t), rise=0.25)), pan=0.0, wet=0.25), at + 0.8, gain=0.11)


def cattle(track: Track) -> None:
    """A cow lows, far off."""
    _calls(
        track,
        pitch=(125, 165),
        length=(1.3, 2.2),
        pause=(6, 13),
        resonances=((350, 800, 2300), (600, 1100, 2400), (420, 900, 2300)),
    )


def sheep(track: Track) -> None:
    """Bleating."""
    _calls(
        track,
        pitch=(260, 380),
        length=(0.6, 1.0),
        pause=(2.5, 7),
        resonances=((650, 1700, 2600), (750, 1600, 2600)),
        shake=9,
    )


def _calls(
    track: Track, *, pitch: tuple[float, float], length: tuple[float, float], pause: tuple[float, float],
    resonances: Sequence[Sequence[float]], shake: float = 0,
) -> None:  # fmt: skip
    meadow = Space(track.rng, tail=0.7)
    tables = [formants(frequencies, pitch=sum(pitch) / 2, tilt=-5) for frequencies in resonances]
    for at in at_intervals(track, *pause):
        t = seconds_of(track.rng.uniform(*length))
        bend = track.rng.uniform(*pitch) * np.interp(t / t[-1], [0, 0.2, 0.8, 1], [0.85, 1.05, 1, 0.8])
        tremble = np.sin(2 * np.pi * shake * t)
        call = sung(tables, bend * (1 + 0.03 * tremble), arch(len(t), rise=0.2) * (1 + 0.4 * tremble) / 1.4)
        track.play(meadow.place(call, pan=track.rng.uniform(-0.7, 0.7), wet=0.3), at, gain=0.11)


def _song(rng: np.random.Generator) -> list[tuple[float, float, float, float, float]]:
    """A song of three to nine notes: start and end pitch (Hz), length and gap (s), and depth of the trill."""
    centre = rng.uniform(2600, 5200)
    notes = []
    for _ in range(rng.integers(2, 5)):
        start = centre * np.exp(rng.normal(0, 0.18))
        end = start * np.exp(rng.normal(0, 0.22))
        note = (start, end, rng.uniform(0.05, 0.2), rng.uniform(0.03, 0.1), rng.choice([0.0, 0.0, 0.06, 0.12]))
        notes += [note] * int(rng.choice([1, 1, 2, 4]))
    return notes[:9]


def _sing(rng: np.random.Generator, song: list[tuple[float, float, float, float, float]]) -> Array:
    parts = []
    mood = np.exp(rng.normal(0, 0.03))
    for start, end, length, gap, trill in song:
        t = seconds_of(length * rng.uniform(0.9, 1.1))
        part = t / max(t[-1], 1e-6)
        pitch = np.clip(mood * start * (end / start) ** part, 1900, 7000) * (1 + trill * np.sin(2 * np.pi * 32 * t))
        level = np.sqrt(np.abs(np.sin(np.pi * part))) * rng.uniform(0.6, 1)
        parts += [whistle(pitch, level, overtone=0.08), np.zeros(len(seconds_of(gap)), dtype=np.float32)]
    return np.concatenate(parts, dtype=np.float32)


def _chirp(rng: np.random.Generator, pitch: float) -> Array:
    """Three or four pulses of a wing, each louder than the one before."""
    pulses = []
    for number in range(rng.integers(3, 5)):
        t = seconds_of(0.017)
        level = np.sin(np.pi * t / t[-1]) ** 2 * (0.55 + 0.15 * number)
        pulses += [
            whistle(pitch * (1 - 0.02 * t / t[-1]), level, overtone=0.1),
            np.zeros(len(seconds_of(0.016)), dtype=np.float32),
        ]
    return np.concatenate(pulses, dtype=np.float32)


def _purr(rng: np.random.Generator) -> Array:
    t = seconds_of(0.05)
    body = coloured(rng, len(t), 45, 160) + 0.5 * coloured(rng, len(t), 150, 700)
    return np.asarray(body * np.sin(np.pi * t / t[-1]) ** 2 * np.exp(-t / 0.02), dtype=np.float32)
