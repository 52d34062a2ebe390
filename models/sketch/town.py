"""People, machines and rooms: layers of sound. Each writes on a `Track`."""

from collections.abc import Callable

import numpy as np

from models.sketch.synthesis import (
    RATE,
    Array,
    Space,
    Track,
    arch,
    at_intervals,
    at_random,
    band,
    burst,
    coloured,
    flutter,
    formants,
    placed,
    pluck,
    seconds_of,
    shower,
    sung,
    wander,
)

# First three formants of vowels, Hz.
_VOWELS = (
    (730, 1090, 2440),
    (530, 1840, 2480),
    (300, 2300, 3000),
    (570, 840, 2410),
    (440, 1020, 2240),
    (490, 1350, 1690),
)


def room(track: Track) -> None:
    """A room with nobody in it: air in the walls, and the mains far away."""
    track.noise(band(50, 350, tilt=-5, steep=1), 0.03 * wander(track, 8, 0.9, 1.1))
    track.noise(band(350, 6000, tilt=-5, steep=1), 0.012 * wander(track, 5, 0.9, 1.1))
    track.noise(band(98, 102, steep=6), 0.004)


def traffic(track: Track) -> None:
    """A road: the roar of the distance, and cars that pass."""
    track.noise(band(40, 320, tilt=-3, steep=2), 0.06 * wander(track, 5, 0.75, 1.15), pan=wander(track, 7, -0.3, 0.3))
    track.noise(band(320, 2500, tilt=-5, steep=1), 0.02 * wander(track, 4, 0.7, 1.2))
    tyres = (
        (band(60, 400, tilt=-2, steep=2), 0.11, 1.5),
        (band(400, 1800, tilt=-2, steep=2), 0.1, 2.2),
        (band(1500, 8000, tilt=-4, steep=1), 0.05, 3.2),  # the higher, the less far it carries
    )
    levels = np.zeros((len(tyres), 2, track.canvas.frames), dtype=np.float32)
    for at in at_intervals(track, 3.2, 8.5) + track.rng.uniform(0.5, 2.5):
        speed, near, size = track.rng.uniform(9, 17), track.rng.uniform(6, 14), track.rng.uniform(0.6, 1)  # m/s, m
        way = track.rng.choice([-1.0, 1.0])
        frames = slice(*np.searchsorted(track.times, (at - 20, at + 20)))
        along = speed * (track.times[frames] - at)
        sides = _sides(0.85 * way * along / np.hypot(1.5 * near, along))
        for level, (_, loud, falling) in zip(levels, tyres, strict=True):
            level[:, frames] += np.square(sides * loud * size * (near / np.hypot(near, along)) ** falling)
        t = seconds_of(4)
        along = speed * (t - 2)
        distance = np.hypot(near, along)
        pitch = track.rng.uniform(62, 95) / (1 + speed * along / distance / 343)  # lower once it has passed
        fading = 0.05 * size * (near / distance) ** 1.5 * np.minimum(1, np.minimum(t, 4 - t))
        motor = sung([formants((120, 260, 520), pitch=80, tilt=-7)], pitch, fading)
        track.play(motor * _sides(0.85 * way * along / np.hypot(1.5 * near, along)), at - 2)
    for level, (shape, _, _) in zip(levels, tyres, strict=True):
        track.noise(shape, np.sqrt(level))


def _sides(pan: Array) -> Array:
    """Gains of left and right, shape (2, length), of what moves between -1 and 1."""
    angle = (pan + 1) * np.float32(np.pi / 4)
    return np.asarray(np.sqrt(2) * np.stack((np.cos(angle), np.sin(angle))), dtype=np.float32)


def engine(track: Track) -> None:
    """A motor nearby, running steadily, never quite evenly."""
    turning = wander(track, 3, 0.92, 1.08) * wander(track, 0.35, 0.985, 1.015)
    colour = wander(track, 0.8, 0.0, 1.0)
    dull, bright = (
        formants(resonances, pitch=28, tilt=tilt) for resonances, tilt in (((90, 240, 700), -5), ((110, 300, 900), -3))
    )
    place = 0.0
    for start in range(0, round(track.seconds * RATE), 4 * RATE):  # in pieces, so that a long one needs no more memory
        t = seconds_of(min(4.0, track.seconds - start / RATE)) + start / RATE
        cycle = place + np.cumsum(28 * np.interp(t, track.times, turning)) * (2048 / RATE)
        place = cycle[-1] % 2048
        index, mix = cycle.astype(np.int64) & 2047, np.interp(t, track.times, colour)
        track.play((0.08 * (dull[index] * (1 - mix) + bright[index] * mix)).astype(np.float32), start / RATE)
    track.noise(band(60, 900, tilt=-4, steep=1), 0.025 * turning * flutter(track, 0.15))
    track.noise(band(1500, 7000, tilt=-4, steep=1), 0.012 * turning * flutter(track, 0.25))


def train(track: Track) -> None:
    """Wheels on rails: a heavy roar, and the joints, two and two."""
    track.noise(band(35, 350, tilt=-1, steep=2), 0.07 * wander(track, 3, 0.85, 1.1))
    track.noise(band(350, 4000, tilt=-4, steep=2), 0.04 * wander(track, 2, 0.8, 1.15) * flutter(track, 0.1))
    clacks = [
        placed(_knock(track.rng, low=(90, 160), bright=(900, 3500)), track.rng.uniform(-0.2, 0.2)) for _ in range(24)
    ]
    pairs = np.arange(0.2, track.seconds, 0.92)
    for offset, gain in ((0, 0.7), (0.13, 0.55), (0.42, 0.35), (0.55, 0.3)):
        times = pairs + offset + track.rng.normal(0, 0.006, len(pairs))
        track.scatter(clacks, times, gain * track.rng.uniform(0.7, 1.1, len(times)))


def aircraft(track: Track) -> None:
    """A jet high up, or a cabin's roar: low, broad, slowly moving."""
    pan = wander(track, 12, -0.5, 0.5)
    track.noise(band(45, 300, tilt=-2, steep=2), 0.12 * wander(track, 6, 0.7, 1.1), pan=pan)
    track.noise(band(300, 3500, tilt=-4, steep=1), 0.05 * wander(track, 4, 0.6, 1.1), pan=pan)


def crowd(track: Track) -> None:
    """Many people talking at once: voices whose syllables can be heard, and no words."""
    track.noise(band(250, 2500, tilt=-3, steep=2), 0.012 * wander(track, 1.5, 0.7, 1.2) * flutter(track, 0.2))
    hall = Space(track.rng, tail=0.4)
    for talker in range(9):
        pitch = track.rng.choice([track.rng.uniform(95, 140), track.rng.uniform(170, 240)])
        pan, near = track.rng.uniform(-0.9, 0.9), (0.75, 0.6, 0.5, 0.4)[min(talker, 3)]
        syllables = [hall.place(_syllable(track.rng, pitch), pan=pan, wet=1 - near) for _ in range(14)]
        times = _speech(track)
        track.scatter(syllables, times, 0.09 * near * track.rng.uniform(0.4, 1.3, len(times)))


def _speech(track: Track) -> Array:
    """When syllables begin: four or five a second, in phrases, with pauses to listen."""
    syllables = track.rng.uniform(0.15, 0.3, int(track.seconds * 5) + 8)
    last = track.rng.random(len(syllables)) < 1 / 9
    starts = np.cumsum(syllables + last * track.rng.uniform(0.4, 3.0, len(syllables))) - track.rng.uniform(0.2, 2)
    return np.asarray(starts[(starts > -0.2) & (starts < track.seconds)], dtype=np.float32)


def _syllable(rng: np.random.Generator, pitch: float) -> Array:
    samples = int(rng.uniform(0.12, 0.3) * RATE)
    first, second = rng.choice(len(_VOWELS), 2)
    bend = pitch * rng.uniform(0.9, 1.15) * np.linspace(rng.uniform(1, 1.15), rng.uniform(0.8, 1), samples)
    voice = sung(
        [formants(_VOWELS[vowel], pitch=pitch, tilt=-3) for vowel in (first, second)], bend, arch(samples, rise=0.25)
    )
    if rng.random() < 0.4:
        consonant = burst(rng, 2500, 7000, attack=0.01, decay=0.015)
        voice[: len(consonant)] += 0.5 * consonant[:samples]
    return voice


def applause(track: Track) -> None:
    """A hall that claps."""
    track.noise(band(600, 6000, tilt=-2, steep=1), 0.06 * wander(track, 2, 0.8, 1.1))
    claps = [
        placed(burst(track.rng, centre * 0.6, centre * 1.7, attack=0.0008, decay=track.rng.uniform(0.004, 0.009)), pan)
        for centre, pan in zip(track.rng.uniform(800, 2400, 64), track.rng.uniform(-0.95, 0.95, 64), strict=True)
    ]
    shower(track, claps, rate=130, gain=0.2, spread=0.4)


def footsteps(track: Track) -> None:
    """Somebody walks: heel, then sole, left and right."""
    _walk(track, pace=0.53, ground=lambda rng: (_knock(rng, low=(75, 130), bright=(250, 2600), click=1.2), _scuff(rng)))


def crunch(track: Track) -> None:
    """Steps in snow, gravel or dry leaves."""
    _walk(track, pace=0.58, ground=lambda rng: (_crumble(rng, 0.16), _crumble(rng, 0.1)))


def _walk(track: Track, *, pace: float, ground: Callable[[np.random.Generator], tuple[Array, Array]]) -> None:
    feet = [[ground(track.rng) for _ in range(8)] for _ in range(2)]
    count = int(track.seconds / pace) + 1
    times = 0.15 + np.arange(count) * pace + track.rng.normal(0, 0.014, count)
    for step, at in enumerate(times):
        heel, sole = feet[step % 2][track.rng.integers(8)]
        size = track.rng.uniform(0.75, 1.1)
        pan = 0.12 if step % 2 else -0.12
        track.play(heel, at, gain=0.4 * size, pan=pan)
        track.play(sole, at + track.rng.uniform(0.07, 0.11), gain=0.2 * size, pan=pan)


def hooves(track: Track) -> None:
    """A horse at a trot."""
    hoof = [
        placed(_knock(track.rng, low=(420, 700), bright=(900, 3800)), track.rng.uniform(-0.2, 0.2)) for _ in range(24)
    ]
    beats = np.arange(0.1, track.seconds, 0.31)
    for offset, gain in ((0, 0.3), (0.045, 0.18)):
        times = beats + offset + track.rng.normal(0, 0.009, len(beats))
        track.scatter(hoof, times, gain * track.rng.uniform(0.7, 1.1, len(beats)))


def tableware(track: Track) -> None:
    """Cutlery, plates and glasses, here and there."""
    table = Space(track.rng, tail=0.35)
    clinks = []
    for _ in range(40):
        base = np.exp(track.rng.uniform(np.log(1800), np.log(5200)))
        ratios = np.array([1, 1.47, 2.09, 2.56]) * track.rng.uniform(0.96, 1.04, 4)
        sound = pluck(base * ratios, track.rng.uniform(0.02, 0.16, 4), [0.5, 0.35, 0.2, 0.1], length=0.5)
        clinks.append(table.place(sound, pan=track.rng.uniform(-0.8, 0.8), wet=0.3))
    starts = at_random(track, 0.9)
    times = np.concatenate(
        [start + np.cumsum(track.rng.uniform(0.06, 0.25, track.rng.integers(1, 4))) for start in starts] or [starts]
    )
    track.scatter(clinks, times, 0.1 * track.rng.lognormal(-0.3, 0.6, len(times)))


def keyboard(track: Track) -> None:
    """Typing, in runs."""
    keys = [
        placed(_knock(track.rng, low=(300, 600), bright=(1200, 6000), click=1.5), track.rng.uniform(-0.2, 0.2))
        for _ in range(40)
    ]
    strokes = track.rng.gamma(4, 0.035, int(track.seconds * 8) + 4)
    pauses = (track.rng.random(len(strokes)) < 1 / 14) * track.rng.uniform(0.4, 2.2, len(strokes))
    times = np.cumsum(strokes + pauses)
    track.scatter(keys, times, 0.14 * track.rng.uniform(0.5, 1.1, len(times)))


def clock(track: Track) -> None:
    """Tick, tock."""
    for beat in range(int(track.seconds * 2) + 1):
        pitch = 2300 if beat % 2 else 1850
        tick = pluck([pitch, pitch * 1.9, 640], [0.006, 0.004, 0.012], [0.5, 0.4, 0.4], length=0.09)
        track.play(tick, 0.05 + beat / 2, gain=0.16 * track.rng.uniform(0.9, 1.05), pan=0.15)


def bell(track: Track) -> None:
    """A church bell: hum, prime, tierce, quint, nominal and above."""
    pitch = track.rng.uniform(190, 330)
    ratios = np.array([0.5, 1, 1.2, 1.5, 2, 2.67, 3.01, 4.17])
    decays = 3.2 / ratios**0.8
    toll = pluck(pitch * ratios, decays, [0.3, 0.4, 0.35, 0.15, 0.5, 0.2, 0.12, 0.1], length=7)
    strike = burst(track.rng, 1500, 6000, attack=0.001, decay=0.01)
    toll[: len(strike)] += 0.2 * strike
    far = Space(track.rng, tail=1.5).place(toll, pan=0.15, wet=0.35)
    for at in np.arange(0.4, track.seconds, 2.9):
        track.play(far, at + track.rng.normal(0, 0.03), gain=0.14 * track.rng.uniform(0.85, 1.05))


def _knock(
    rng: np.random.Generator, *, low: tuple[float, float], bright: tuple[float, float], click: float = 0.7
) -> Array:
    """Something hard on something harder: a thud with a pitch between `low`, and a click within `bright`."""
    pitch = rng.uniform(*low)
    sound = pluck([pitch, pitch * rng.uniform(1.6, 2.3)], [0.028, 0.014], [0.6, 0.3], length=0.15)
    noise = burst(rng, *bright, attack=0.0008, decay=rng.uniform(0.005, 0.011))
    sound[: len(noise)] += click * noise[: len(sound)]
    return sound


def _scuff(rng: np.random.Generator) -> Array:
    return burst(rng, 700, 4500, attack=0.02, decay=rng.uniform(0.012, 0.03))


def _crumble(rng: np.random.Generator, length: float) -> Array:
    """Many small breaks in a row."""
    samples = round((length + 0.05) * RATE)
    level = np.zeros(samples, dtype=np.float32)
    crack = np.exp(-seconds_of(0.02) / np.float32(0.003))
    for at in rng.uniform(0, 1, 40) ** 1.3 * length:
        start = int(at * RATE)
        level[start : start + len(crack)] += rng.uniform(0.1, 0.6) * crack[: samples - start]
    return 0.4 * level * coloured(rng, samples, 500, 4500)
