"""The scenes of the examples: a sea at dusk, a morning over hills, a fire by night. All computed: nobody else's photograph."""

from typing import Protocol

import numpy as np

from client.page.drawing import Array, Canvas, gradient, over, rgb, smooth

HORIZON = 5 / 9  # v, of the sea
SUN = (0.30, 0.50)  # u, v


class Moving(Protocol):
    """A scene that moves."""

    def at(self, seconds: float) -> Array:
        """The picture so long after the beginning."""


class Sea(Canvas):
    """The sea at dusk: a low sun, drifting clouds, and waves that carry its light."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height, seed=5)
        self.clouds = self.noise(0.05, stretch=5, wider=1.5)
        count = 34
        length = 0.02 * 40 ** self.random.random(count)
        angle = self.random.normal(0, 0.5, count)
        self.waves = list(zip(length, angle, self.random.random(count) * 6.3, strict=True))

    def at(self, seconds: float) -> Array:
        """The picture so long after the beginning."""
        picture = self._sky(self.u, np.minimum(self.v, HORIZON), glow=1.0)
        rows = int(HORIZON * self.height)
        picture[:rows] = self._clouded(picture[:rows], rows, seconds)
        picture[rows:] = self._water(rows, seconds)
        return picture

    def _sky(self, u: Array, v: Array, *, glow: float) -> Array:
        picture = gradient(
            v / HORIZON,
            ((0.0, "4a3a72"), (0.35, "74609a"), (0.62, "c9788a"), (0.84, "f2a477"), (1.0, "ffd9a0")),
        )
        near = np.hypot(u - SUN[0], (v - SUN[1]) * 1.15)
        picture = over(picture, "ffc27a", glow * 0.75 * np.exp(-((near / 0.22) ** 1.2)))
        return over(picture, "fff3d6", self.inside(0.052 - near) * glow)

    def _clouded(self, picture: Array, rows: int, seconds: float) -> Array:
        clouds = self.drifted(self.clouds, seconds * 0.0085)
        drift, above = clouds[:rows], clouds[np.minimum(np.arange(rows) + self.height // 120, self.height - 1)]
        high = 1 - self.v[:rows] / HORIZON
        cover = smooth(0.3, 2.4, drift - 1.7 + 1.8 * np.sin(high * 3.1))
        edge = smooth(-0.3, 0.5, drift - above)
        picture = over(picture, "6b567f", cover * 0.5)
        return over(picture, "ffc9a0", cover * edge * 0.8)

    def _water(self, rows: int, seconds: float) -> Array:
        u, v = self.u[rows:], self.v[rows:]
        down = (v - HORIZON) / (1 - HORIZON)
        distance = 1 / (down + 0.015)
        across, slope_x, slope_z = u * distance * 1.1, np.zeros_like(u), np.zeros_like(u)
        for length, angle, phase in self.waves:
            number = 6.283 / (length * 6)
            argument = (
                number * (across * np.sin(angle) + distance * np.cos(angle)) + seconds * np.sqrt(number) * 1.7 + phase
            )
            # What is finer than a pixel there would flicker.
            seen = np.exp(-((distance**2 * number / (1.2 * self.height)) ** 2))
            slope = np.cos(argument) * seen
            slope_x += slope * np.sin(angle)
            slope_z += slope * np.cos(angle)
        slope_x, slope_z = slope_x / 4, slope_z / 4
        height = np.clip(HORIZON * (1 - down * 0.8 - np.abs(slope_z) * 0.25 - 0.05), 0, HORIZON)
        mirrored = self._sky(u, height, glow=0.0)
        picture = mirrored * (0.62 - 0.12 * down[..., None]) + rgb("1d3a5c") * 0.3
        picture = picture * (1 + 0.28 * slope_z[..., None])
        path = np.exp(-(((u - SUN[0]) / (0.035 + 0.16 * down) + slope_x * 1.2) ** 2))
        glitter = path * smooth(0.05, 0.9, slope_z + 0.55 - 0.3 * down)
        return over(picture, "ffdca4", np.clip(glitter * (0.95 - 0.25 * down), 0, 1))


class Hills(Canvas):
    """A morning over wooded hills: mist between them, birds above, grass in the wind."""

    # The ridge's v, its height, its colour above and below, how many firs stand along it, how tall they are.
    RIDGES = (
        (0.44, 0.10, "a3b3ad", "d5dccb", 0, 0.0),
        (0.53, 0.08, "74a08a", "b9d0b0", 150, 0.018),
        (0.63, 0.09, "4c8566", "94b98a", 70, 0.045),
        (0.76, 0.07, "2f6a40", "5f9450", 26, 0.100),
    )

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height, seed=12)
        self.clouds = self.noise(0.07, stretch=4, wider=1.5)
        self.mist = self.noise(0.06, stretch=7, wider=1.5)
        self.tops = [self.ridge(v, height, firs, tall) for v, height, _, _, firs, tall in self.RIDGES]
        self.birds = self.random.uniform((-0.1, -0.05, 0.8, 0), (0.1, 0.05, 1.2, 6.3), (7, 4))
        self.blades = self.random.uniform((-0.9, 0.03, 0, -0.4), (0.9, 0.13, 6.3, 0.4), (420, 4))

    def at(self, seconds: float) -> Array:
        """The picture so long after the beginning."""
        picture = gradient(self.v / 0.6, ((0.0, "6fb1dc"), (0.55, "b9dcec"), (1.0, "fbe9cf")))
        picture = over(picture, "fffdf6", 0.75 * smooth(0.2, 2.2, self.drifted(self.clouds, seconds * 0.011)))
        sun = np.hypot(self.u + 0.45, self.v - 0.24)
        picture = over(picture, "fff6da", np.exp(-((sun / 0.16) ** 1.1)))
        for number, ((bare, top), ridge) in enumerate(zip(self.tops, self.RIDGES, strict=True)):
            if number == 1:
                picture = self._flock(picture, seconds)
            way = seconds * (0.002 + 0.004 * number)
            edge = self.drifted(top, way)
            below = np.clip((self.v - self.drifted(bare, way)) / 0.16, 0, 1)
            shape = self.inside(self.v - edge)
            hill = gradient(below, ((0.0, ridge[2]), (1.0, ridge[3])))
            picture += (hill - picture) * shape[..., None]
            mist = self.drifted(self.mist, seconds * (0.017 + 0.008 * number))
            veil = np.exp(-(((self.v - ridge[0] - 0.13) / 0.045) ** 2)) * smooth(-1.2, 1.6, mist)
            picture = over(picture, "f6f4e8", veil * (0.75 - 0.2 * number))
        return self._grass(picture, seconds)

    def _flock(self, picture: Array, seconds: float) -> Array:
        dark = np.zeros_like(self.u)
        for x, y, speed, phase in self.birds:
            centre = -0.55 + 0.13 * seconds + x * 2.4, 0.27 + y * 2 - 0.006 * seconds
            size = 0.021 * speed
            u, v = (self.u - centre[0]) / size, (self.v - centre[1]) / size
            lift = 0.55 * np.sin(seconds * 9 * speed + phase)
            wing = v + lift * (np.abs(u) * (2 - np.abs(u))) * 0.8 - 0.1
            thick = 0.09 + 0.12 * np.clip(1 - np.abs(u), 0, 1)
            dark = np.maximum(dark, self.inside((thick - np.abs(wing)) * size) * (np.abs(u) < 1))
        return over(picture, "3d4c57", dark * 0.85)

    def _grass(self, picture: Array, seconds: float) -> Array:
        ground = 0.93 + 0.015 * np.sin(self.u * 4 + 1)
        picture = over(picture, "3c7a36", self.inside(self.v - ground))
        for number, (root, tall, phase, lean) in enumerate(self.blades):
            bend = lean + 0.25 * np.sin(seconds * 1.8 + root * 5 + phase * 0.15)
            left = int((root - 0.12) * self.height + self.width / 2)
            part = np.s_[int((1 - tall) * self.height) :, max(left, 0) : max(left + int(0.24 * self.height), 0)]
            up = np.clip((1.005 - self.v[part]) / tall, 0, 1)
            away = np.abs(self.u[part] - root - bend * tall * up**2)
            blade = self.inside(0.0042 * (1 - up) - away) * (up < 1)
            picture[part] = over(picture[part], ("2c6a2f", "4b8f3c", "79b052", "5a9a48")[number % 4], blade)
        return picture


class Fire(Canvas):
    """A fire by night, in a clearing under the stars."""

    FOOT = 0.80  # v

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height, seed=3)

    def picture(self) -> Array:
        """The picture."""
        picture = gradient(self.v, ((0.0, "060b1c"), (0.45, "101f3d"), (0.66, "27405f")))
        stars = self.random.random((self.height, self.width)) ** 1400 * (1 - smooth(0.3, 0.66, self.v))
        stars = np.maximum(stars, 0.6 * np.maximum(np.roll(stars, 1, 0), np.roll(stars, 1, 1)))
        picture = over(picture, "f4f1e4", stars)
        glow = np.hypot(self.u, (self.v - self.FOOT + 0.09) * 1.25)
        picture = over(picture, "d8792f", 0.34 * np.exp(-((glow / 0.3) ** 1.4)))
        for v, tall, shade, lit in ((0.66, 0.12, "0d1a2b", 0.25), (0.70, 0.30, "070f18", 0.35)):
            _, top = self.ridge(v, 0.04, 60 if tall < 0.2 else 26, tall)
            opening = 0.42 * np.exp(-((self.u[0] / 0.42) ** 2)) * tall
            edge = top[: self.width] + opening
            shape = self.inside(self.v - edge)
            picture = over(picture, shade, shape)
            picture = over(picture, "a8571f", shape * lit * np.exp(-((glow / 0.32) ** 2)))
        picture = self._ground(picture)
        picture = over(picture, "ff8a2a", 0.5 * np.exp(-((glow / 0.16) ** 1.3)))
        return self._sparks(self._flame(picture))

    def _ground(self, picture: Array) -> Array:
        soil = self.inside(self.v - 0.735 - 0.008 * np.sin(self.u * 5))
        picture = over(picture, "0a1110", soil)
        rough = 0.75 + 0.25 * np.clip(self.noise(0.012, stretch=2.5), -2, 2)
        near = np.hypot(self.u / 1.9, self.v - self.FOOT - 0.02)
        picture = over(picture, "c9722c", soil * rough * 0.62 * np.exp(-((near / 0.13) ** 1.2)))
        for lean, x in ((0.35, -0.01), (-0.3, 0.02), (0.08, 0.0)):
            along, away = self.u - x, self.v - self.FOOT - 0.012 + lean * (self.u - x)
            log = self.inside(0.016 - np.abs(away)) * self.inside(0.13 - np.abs(along))
            picture = over(picture, "2a1710", log)
            picture = over(picture, "e0742a", log * smooth(0.0, 0.016, -away) * (0.9 - 4 * np.abs(along)).clip(0, 1))
        return picture

    def _flame(self, picture: Array) -> Array:
        licks, fine = self.noise(0.07, stretch=0.5), self.noise(0.028, stretch=0.4)
        heat = np.zeros_like(self.u)
        for x, tall, wide in ((0.0, 0.36, 0.085), (-0.055, 0.24, 0.06), (0.058, 0.20, 0.055), (0.02, 0.29, 0.06)):
            up = (self.FOOT + 0.025 - self.v) / tall
            bent = self.u - x * (1 - 0.5 * up) + (0.026 * licks + 0.007 * fine) * np.clip(up, 0, 1) ** 0.8
            # A drop: round at its foot, drawn out at its tip.
            half = 1.75 * wide * np.sqrt(np.clip(up, 0, 1)) * np.clip(1 - up, 0, 1) ** 1.1
            tongue = np.clip(1 - np.abs(bent) / np.maximum(half, 1e-4), 0, 1) * (half > 0.003)
            heat = np.maximum(heat, tongue * (1.35 - 0.85 * up) + 0.09 * fine * (tongue > 0.05))
        hot = gradient(heat, ((0.0, "b52a0c"), (0.25, "f06a14"), (0.5, "ffae33"), (0.75, "ffe58a"), (1.0, "fffbe6")))
        return picture + (hot - picture) * smooth(0.02, 0.3, heat)[..., None]

    def _sparks(self, picture: Array) -> Array:
        for x, y, size in self.random.uniform((-1, 0, 0.4), (1, 1, 1), (46, 3)):
            centre = x * (0.05 + 0.12 * y), self.FOOT - 0.2 - 0.42 * y**1.3
            away = np.hypot(self.u - centre[0], (self.v - centre[1]) * 0.8) / (0.0042 * size)
            picture = over(picture, "ffb45a", np.exp(-(away**2)) * (1 - 0.5 * y))
        return picture
