"""What can be measured on one picture without a model: colour, texture and layout on a coarse grid."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.picture import read_picture

Array = npt.NDArray[np.float32]

CELL = 8  # pixels
LONG_SIDE = 32  # cells along the longer side of a picture

# Linear sRGB to CIE XYZ, each row divided by the white point (D65).
_XYZ = np.array([[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0178, 0.1095, 0.8727]], dtype=np.float32)


@dataclass(frozen=True)
class Grid:
    """One picture as cells. Every array has the shape (rows, columns), float32."""

    width: int
    """Pixels of the picture itself, upright."""
    height: int
    light: Array
    """CIE lightness, 0 to 1."""
    red: Array
    """CIE a*: green is negative, red positive; about -100 to 100."""
    yellow: Array
    """CIE b*: blue is negative, yellow positive; about -100 to 100."""
    rough: Array
    """Standard deviation of lightness inside a cell."""
    straight: Array
    """Share of the gradient's energy within 10° of the axes: 0.22 for a texture without direction, 1 for bars."""
    ripple: Array
    """1 where lightness changes along columns only, as on water seen from the shore; -1 where it changes along rows only."""

    @property
    def chroma(self) -> Array:
        """Distance from grey, 0 to about 130."""
        return np.hypot(self.red, self.yellow)

    @property
    def hue(self) -> Array:
        """Degrees in the CIE a*b* plane: 40 is red, 90 yellow, 135 green, 270 blue."""
        return np.asarray(np.degrees(np.arctan2(self.yellow, self.red)) % 360, dtype=np.float32)

    @property
    def depth(self) -> Array:
        """How far down a cell lies: 0 at the top edge, 1 at the bottom edge."""
        rows, columns = self.light.shape
        return np.repeat((np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows, columns, axis=1)


def measure(path: Path, *, shape: tuple[int, int] | None = None) -> Grid:
    """A picture on `shape` (rows, columns) cells; None: 32 along its longer side. Raises DamagedMedia."""
    picture = read_picture(path)
    width, height = picture.size
    rows, columns = shape or _shape(width, height)
    small = picture.resize((columns * CELL, rows * CELL), Image.Resampling.BOX)
    lab = _lab(np.asarray(small, dtype=np.float32) / 255)
    light = lab[..., 0] / 100
    down, across = np.gradient(light)
    energy = down**2 + across**2
    angle = np.degrees(np.arctan2(np.abs(down), np.abs(across)))
    on_axis = np.where((angle < 10) | (angle > 80), energy, 0)
    total = _cells(energy) + 1e-6
    return Grid(
        width=width,
        height=height,
        light=_cells(light),
        red=_cells(lab[..., 1]),
        yellow=_cells(lab[..., 2]),
        rough=np.sqrt(np.maximum(_cells(light**2) - _cells(light) ** 2, 0)),
        straight=_cells(on_axis) / total,
        ripple=(_cells(down**2) - _cells(across**2)) / total,
    )


def _shape(width: int, height: int) -> tuple[int, int]:
    longer = max(width, height)
    return max(2, round(LONG_SIDE * height / longer)), max(2, round(LONG_SIDE * width / longer))


def _lab(rgb: Array) -> Array:
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ _XYZ.T
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.asarray(np.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), axis=-1), dtype=np.float32)


def _cells(pixels: Array) -> Array:
    """Mean over every cell: (rows · CELL, columns · CELL) → (rows, columns)."""
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    return np.asarray(pixels.reshape(rows, CELL, columns, CELL).mean(axis=(1, 3)), dtype=np.float32)
