"""What the examples are drawn with: a canvas with coordinates and noise, colours, and soft edges. Needs numpy and scipy.

Pictures are float arrays of shape (height, width, 3), 0–1, sRGB.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Array = npt.NDArray[np.float32]


class Canvas:
    """A picture's coordinates: `v` is 0 at the top and 1 at the bottom, `u` is 0 in the middle, and of the same unit."""

    def __init__(self, width: int, height: int, *, seed: int) -> None:
        self.width, self.height = width, height
        self.random = np.random.default_rng(seed)
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        self.v = (rows + 0.5) / height
        self.u = (columns + 0.5 - width / 2) / height

    def noise(self, scale: float, *, stretch: float = 1.0, wider: float = 1.0) -> Array:
        """Soft clouds, mean 0, deviation 1, tileable from left to right. `scale`: their size as a fraction of the height."""
        total = np.zeros((self.height, int(self.width * wider)), dtype=np.float32)
        for octave in range(5):
            sigma = scale * self.height / 2**octave
            white = self.random.standard_normal(total.shape)
            soft = ndimage.gaussian_filter(white, (sigma, sigma * stretch), mode=("nearest", "wrap"))
            total += (soft / soft.std() * 0.55**octave).astype(np.float32)
        return np.asarray(total / total.std(), dtype=np.float32)

    def ridge(self, v: float, height: float, firs: int, tall: float) -> tuple[Array, Array]:
        """The v at which each column's hill begins, without and with its firs; the same at both ends, and half as wide again."""
        columns = int(self.width * 1.5)
        x = np.arange(columns) / columns * 6.283
        bare = v + np.zeros(columns)
        for wave in (1, 2, 3, 5, 8):
            bare += height / 2 / wave * np.sin(wave * x + self.random.random() * 6.3)
        top = bare.copy()
        for place, size in zip(self.random.random(firs) * columns, self.random.uniform(0.6, 1, firs), strict=True):
            away = np.abs((np.arange(columns) - place + columns / 2) % columns - columns / 2) / self.height
            # A fir: a cone whose branches make steps.
            steps = 0.7 * away + 0.3 * np.ceil(away * 30 / tall) * tall / 30
            top = np.minimum(top, bare[int(place)] + (steps * 4 - size * tall))
        return bare.astype(np.float32), top.astype(np.float32)

    def drifted(self, pattern: Array, way: float) -> Array:
        """The part of a pattern, which goes around, that is seen when it has moved so far to the left, in heights."""
        columns = way * self.height
        whole, part = int(columns), np.float32(columns % 1)
        seen = np.roll(pattern, -whole, axis=-1)[..., : self.width + 1]
        return np.asarray(seen[..., :-1] * (1 - part) + seen[..., 1:] * part, dtype=np.float32)

    def inside(self, depth: Array) -> Array:
        """How much of a pixel lies within a shape, whose edge is so far away, in heights; outside it is negative."""
        return np.asarray(np.clip(depth * self.height + 0.5, 0, 1), dtype=np.float32)


def gradient(at: Array, stops: Sequence[tuple[float, str]]) -> Array:
    """Colours between those of the stops: places on the way, rising, and hexadecimal colours."""
    places = [place for place, _ in stops]
    colours = np.stack([rgb(colour) for _, colour in stops])
    return np.stack([np.interp(at, places, colours[:, part]) for part in range(3)], axis=-1).astype(np.float32)


def rgb(hexadecimal: str) -> Array:
    """A colour such as "ffd9a0", of shape (3,)."""
    return np.frombuffer(bytes.fromhex(hexadecimal), dtype=np.uint8).astype(np.float32) / 255


def over(picture: Array, colour: str, opacity: Array) -> Array:
    """The picture under a colour of this opacity, of shape (height, width)."""
    return picture + (rgb(colour) - picture) * opacity[..., None]


def smooth(low: float, high: float, value: Array) -> Array:
    """0 up to `low`, 1 from `high`, without a kink between."""
    part = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(part * part * (3 - 2 * part), dtype=np.float32)


def pixels(picture: Array) -> npt.NDArray[np.uint8]:
    """The picture in 8 bits."""
    # Half a step of noise: the sky's gradient would show bands.
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, picture.shape)
    return np.clip(picture * 255 + 0.5 + noise, 0, 255).astype(np.uint8)
