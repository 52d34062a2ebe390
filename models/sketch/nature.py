"""Weather, water, fire: the layers of sound that nature makes. Each writes on a `Track`."""

import numpy as np

from models.sketch.synthesis import (
    RATE,
    Array,
    Track,
    at_intervals,
    at_random,
    band,
    burst,
    flutter,
    placed,
    pluck,
    seconds_of,
    shower,
    wander,
    whistle,
)


def air(track: Track) -> None:
    """The open, with nothing going on: what silence sounds like outdoors."""
    track.noise(band(40, 400, tilt=-4, steep=1), 0.035 * wander(track, 7, 0.7, 1.2), pan=wander(track, 9, -0.3, 0.3))
    track.noise(band(400, 9000, tilt=-4, steep=1), 0.014 * wander(track, 5, 0.7, 1.3))


def wind(track: Track) -> None:
    """Gusts: with every gust the sound grows, brightens, howls higher, and moves."""
    gust = wander(track, 4.5, 0.2, 1.0) * wander(track, 13, 0.6, 1.0) * wander(track, 1.6, 0.75, 1.0)
    pan = wander(track, 6, -0.5, 0.5)
    track.noise(band(40, 220, tilt=-1, steep=2), 0.06 * gust * flutter(track, 0.12), pan=pan)
    track.noise(band(180, 750, tilt=-2, steep=2), 0.12 * gust**1.6 * flutter(track, 0.08), pan=pan)
    track.noise(band(700, 5000, tilt=-4, steep=1), 0.07 * gust**2.4 * flutter(track, 0.08), pan=pan)
    # The howl's pitch follows the gusts: narrow bands that take turns.
    pitches = np.geomspace(240, 900, 12)
    pitch = 240 * 3.2 ** (gust * wander(track, 2.5, 0.7, 1.1))
    for centre in pitches:
        nearness = np.exp(-((np.log(pitch / centre) / np.log(pitches[1] / pitches[0])) ** 2))
        track.noise(band(centre * 0.95, centre * 1.05, steep=3), 0.14 * gust**1.5 * nearness, pan=-pan)


def leaves(track: Track) -> None:
    """Wind in leaves: a rustle that comes in waves."""
    for pan in (-0.6, 0.6):
        gust = wander(track, 3.2, 0.15, 1.0) * wander(track, 11, 0.5, 1.0)
        track.noise(band(1800, 7500, tilt=-1, steep=2), 0.07 * gust**1.5 * flutter(track, 0.3), pan=pan)
        track.noise(band(300, 1800, tilt=-3, steep=1), 0.02 * gust * flutter(track, 0.15), pan=pan)


def rain(track: Track) -> None:
    """A dense high bed, and single drops nearby."""
    track.noise(band(700, 13000, tilt=-1.2, steep=1), 0.06 * wander(track, 6, 0.8, 1.15) * flutter(track, 0.04))
    track.noise(band(90, 700, tilt=-2, steep=1), 0.012 * wander(track, 6, 0.8, 1.15))
    drops = [_drop(track.rng, low=2200, high=7500, decay=0.004) for _ in range(64)]
    shower(track, drops, rate=160, gain=0.07, spread=0.6)
    near = [_drop(track.rng, low=900, high=2600, decay=0.011) for _ in range(32)]
    times = at_random(track, 14)
    track.scatter(near, times, 0.09 * track.rng.lognormal(0, 0.5, len(times)))


def roof(track: Track) -> None:
    """Drops on sheet metal or cloth overhead."""
    track.noise(band(500, 3500, tilt=-2, steep=1), 0.05 * wander(track, 5, 0.8, 1.2))
    knocks = []
    for _ in range(48):
        base = track.rng.uniform(420, 1300)
        ratios = np.array([1, 1.58, 2.24, 2.92, 4.1]) * track.rng.uniform(0.97, 1.03, 5)
        sound = pluck(base * ratios, track.rng.uniform(0.008, 0.04, 5), track.rng.uniform(0.2, 1, 5) / 2.5, length=0.16)
        knocks.append(placed(sound, track.rng.uniform(-0.9, 0.9)))
    shower(track, knocks, rate=95, gain=0.11, spread=0.7)


def thunder(track: Track) -> None:
    """A crack now and then, and what rolls after it."""
    rumble, crack = np.zeros((2, track.canvas.frames), dtype=np.float32)
    for start in at_intervals(track, 12, 22) + 0.5:
        near = track.rng.uniform(0.4, 1)
        crack += near**2 * _wave(track.times - start, rise=0.05, fall=0.3)
        for delay in (0, *track.rng.gamma(2, 1.1, 7)):  # the far ends of the bolt are heard later
            rumble += (
                near
                * track.rng.uniform(0.3, 1)
                / (1 + 0.5 * delay)
                * _wave(track.times - start - delay, rise=0.15, fall=0.9)
            )
    rolling = rumble * wander(track, 0.3, 0.5, 1)
    pan = wander(track, 3, -0.6, 0.6)
    track.noise(band(28, 120, tilt=-2, steep=2), 0.22 * rolling, pan=pan)
    track.noise(band(110, 600, tilt=-4, steep=1), 0.12 * rolling**1.3, pan=pan)
    track.noise(band(300, 5000, tilt=-5, steep=1), 0.2 * crack * flutter(track, 0.5), pan=pan)


def surf(track: Track) -> None:
    """Waves on a shore: each swells with a rumble, breaks into hiss, runs up the beach and drains away."""
    rumble, breaker, hiss, foam = np.zeros((4, track.canvas.frames), dtype=np.float32)
    pan = wander(track, 8, -0.45, 0.45)
    near, far = at_intervals(track, 6.5, 11.5) + 2.5, at_intervals(track, 4, 9)
    sizes = np.concatenate((track.rng.uniform(0.55, 1, len(near)), track.rng.uniform(0.08, 0.25, len(far))))
    for break_at, size in zip(np.concatenate((near, far)), sizes, strict=True):
        since = track.times - break_at
        rise, run = track.rng.uniform(0.7, 1.3), track.rng.uniform(1.3, 2.1)
        rumble += size * np.exp(-((since + 0.4) ** 2) / (2 * 1.5**2))
        breaker += size * _wave(since, rise=rise * 0.8, fall=run * 0.7)
        hiss += size * _wave(since - 0.5, rise=rise, fall=run)
        foam += size * _wave(since - 1.6, rise=rise * 1.3, fall=run * 1.5)
    sea = wander(track, 6, 0.7, 1.2)
    track.noise(band(35, 170, tilt=-1, steep=2), 0.02 * sea + 0.06 * rumble, pan=pan)
    track.noise(band(150, 1100, tilt=-2, steep=2), 0.02 * sea + 0.14 * breaker * flutter(track, 0.1), pan=pan)
    track.noise(band(800, 6000, tilt=-2, steep=2), 0.015 * sea + 0.16 * hiss * flutter(track, 0.06), pan=pan)
    track.noise(band(3500, 14000, tilt=-2, steep=2), 0.006 * sea + 0.07 * foam, pan=-pan)


def lapping(track: Track) -> None:
    """Small waves against a bank or a hull."""
    swell = np.zeros(track.canvas.frames, dtype=np.float32)
    bubbles = [_bubble(track.rng, low=260, high=1100) for _ in range(48)]
    for start in at_intervals(track, 1.3, 3.4):
        size = track.rng.uniform(0.4, 1)
        swell += size * _wave(track.times - start - 0.4, rise=0.35, fall=0.5)
        times = start + track.rng.gamma(3, 0.16, track.rng.integers(5, 16))
        track.scatter(bubbles, times, 0.09 * size * track.rng.lognormal(0, 0.5, len(times)))
    track.noise(band(60, 350, tilt=-3, steep=1), 0.025 + 0.03 * swell, pan=wander(track, 4, -0.4, 0.4))
    track.noise(
        band(350, 3000, tilt=-4, steep=1), 0.012 + 0.05 * swell * flutter(track, 0.3), pan=wander(track, 3, -0.5, 0.5)
    )


def stream(track: Track) -> None:
    """Running water: a bed of splashes, and bubbles without number."""
    track.noise(
        band(400, 6000, tilt=-2.5, steep=1), 0.05 * wander(track, 1.5, 0.8, 1.2) * flutter(track, 0.1), pan=0.25
    )
    track.noise(band(150, 900, tilt=-3, steep=1), 0.035 * wander(track, 2, 0.8, 1.2) * flutter(track, 0.15), pan=-0.25)
    bubbles = [_bubble(track.rng, low=420, high=2600) for _ in range(96)]
    shower(track, bubbles, rate=75, gain=0.06, spread=0.5)


def waterfall(track: Track) -> None:
    """Water that falls far: loud, broad, without pause."""
    track.noise(band(50, 450, tilt=-2, steep=1), 0.12 * flutter(track, 0.06))
    track.noise(band(400, 9000, tilt=-3, steep=1), 0.13 * wander(track, 2, 0.9, 1.1))


def fire(track: Track) -> None:
    """Flames that flutter, embers that crackle in fits, and a pop now and then."""
    breath = wander(track, 1.7, 0.6, 1.1) * flutter(track, 0.3)
    track.noise(band(45, 260, tilt=-2, steep=2), 0.05 * breath, pan=wander(track, 3, -0.2, 0.2))
    track.noise(band(260, 1600, tilt=-5, steep=1), 0.02 * breath)
    track.noise(band(2000, 10000, tilt=-2, steep=1), 0.006 * wander(track, 0.8, 0.4, 1.2))
    crackles = [
        placed(
            burst(track.rng, *_octaves(track.rng, 1400, 6500), attack=0.0004, decay=track.rng.uniform(0.001, 0.006)),
            pan,
        )
        for pan in track.rng.uniform(-0.6, 0.6, 64)
    ]
    fits = at_random(track, 1.6)
    times = np.concatenate(
        [start + np.cumsum(track.rng.exponential(0.045, track.rng.geometric(0.16))) for start in fits] or [fits]
    )
    track.scatter(crackles, times, 0.3 * track.rng.lognormal(-0.4, 0.6, len(times)))
    pops = [_pop(track.rng) for _ in range(16)]
    times = at_random(track, 0.45)
    track.scatter(pops, times, 0.22 * track.rng.lognormal(0, 0.4, len(times)))


def underwater(track: Track) -> None:
    """Below the surface: a dull roar, and bubbles that rise."""
    track.noise(band(30, 260, tilt=-4, steep=2), 0.14 * wander(track, 4, 0.7, 1.1), pan=wander(track, 5, -0.3, 0.3))
    track.noise(band(200, 700, tilt=-6, steep=3), 0.03 * wander(track, 2, 0.5, 1.2))
    bubbles = [_bubble(track.rng, low=180, high=700) for _ in range(48)]
    for start in at_intervals(track, 1.5, 5):
        times = start + np.cumsum(track.rng.exponential(0.06, track.rng.integers(4, 22)))
        track.scatter(bubbles, times, 0.1 * track.rng.lognormal(0, 0.4, len(times)))


def _wave(since: Array, *, rise: float, fall: float) -> Array:
    """A level that grows for about `rise` seconds up to 1 at 0, and then dies away."""
    return np.where(since < 0, np.exp(-((since / rise) ** 2)), np.exp(-np.maximum(since, 0) / fall)).astype(np.float32)


def _drop(rng: np.random.Generator, *, low: float, high: float, decay: float) -> Array:
    pitch = np.exp(rng.uniform(np.log(low), np.log(high)))
    ring = pluck([pitch, pitch * rng.uniform(1.3, 2.1)], [decay, decay / 2], [0.6, 0.3], length=5 * decay)
    splash = burst(rng, 1500, 9000, attack=0.0006, decay=decay / 2)
    ring[: len(splash)] += 0.5 * splash[: len(ring)]
    return placed(ring, rng.uniform(-0.95, 0.95))


def _bubble(rng: np.random.Generator, *, low: float, high: float) -> Array:
    """A bubble rings at a pitch set by its size, the larger the longer, and higher as it rises."""
    pitch = np.exp(rng.uniform(np.log(low), np.log(high)))
    decay = 13 / pitch * rng.uniform(0.7, 1.5)
    t = seconds_of(7 * decay)
    glide = pitch * (1 + rng.uniform(0, 0.9) * t / (7 * decay))
    level = np.exp(-t / decay) * np.minimum(t * 700, 1)
    return placed(whistle(glide, level), rng.uniform(-0.9, 0.9))


def _pop(rng: np.random.Generator) -> Array:
    thud = pluck([rng.uniform(90, 180)], [0.03], [0.7], length=0.2)
    crack = burst(rng, 800, 5000, attack=0.0004, decay=rng.uniform(0.004, 0.012))
    thud[: len(crack)] += crack[: len(thud)]
    return placed(thud, rng.uniform(-0.5, 0.5))


def _octaves(rng: np.random.Generator, low: float, high: float) -> tuple[float, float]:
    """Edges of a band two octaves wide with its centre somewhere between two frequencies."""
    centre = np.exp(rng.uniform(np.log(low), np.log(high)))
    return centre / 2, min(centre * 2, 0.45 * RATE)
