"""Tags of a scene from what `grid.measure` saw: where a picture looks like sky, water, vegetation and so on.

Every tag is a fuzzy rule: a membership between 0 and 1 per cell, made of ramps over colour, texture and place; the cells above one
half that hang together are its region. A tag's score is the region's mean membership, lowered where the region is small.
Lightness and colour are CIE L*a*b*, hues in degrees (40 red, 90 yellow, 135 green, 270 blue).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from models.record import Box, DetectedObject
from models.sketch.grid import Array, Grid

Mask = npt.NDArray[np.bool_]

COLOURLESS = 12.0  # chroma; where hardly any cell exceeds it, grey tells nothing


@dataclass
class Scene:
    """One picture while its tags are being found: later rules look at what earlier ones claimed."""

    grid: Grid
    regions: dict[str, Mask] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    def claim(self, label: str, mask: Mask, membership: Array, *, area: tuple[float, float]) -> None:
        """Tag a region. One below the first share of the picture has no score, one above the second its full score."""
        if mask.any():
            score = float(membership[mask].mean() * _ramp(mask.mean(), *area))
            if score > 0:
                self.regions[label], self.scores[label] = mask, score

    def region(self, label: str) -> Mask:
        return self.regions.get(label, np.zeros(self.grid.light.shape, dtype=bool))

    def free(self, *labels: str) -> Array:
        """1 where none of these was found, else 0."""
        return np.asarray(~np.any([self.region(label) for label in labels], axis=0), dtype=np.float32)


def find_tags(grid: Grid, *, confidence: float) -> tuple[DetectedObject, ...]:
    """The tags with at least this score, best first, each with the box of its region in the picture's own pixels."""
    scene = Scene(grid)
    for rule in (_sky, _vegetation, _water, _buildings, _ground, _night, _fire, _sunset, _crowd, _indoor):
        rule(scene)
    found = [
        DetectedObject(label=label, score=round(min(score, 1), 3), box=_box(grid, scene.regions[label]))
        for label, score in scene.scores.items()
        if score >= confidence
    ]
    return tuple(sorted(found, key=lambda tag: -tag.score))


def _sky(scene: Scene) -> None:
    g = scene.grid
    bars = _ramp(g.straight, 0.5, 0.7) * _ramp(g.rough, 0.015, 0.025)
    blue = _between(g.hue, 195, 225, 285, 300) * _ramp(g.chroma, 4, 10)
    pale = _ramp(g.light, 0.6, 0.76) * (1 - _ramp(g.chroma, 12, 22)) * (1 - _ramp(g.yellow, 4, 9)) * (1 - bars)
    glow = (
        _around(g.hue, -65, 80) * _ramp(g.chroma, 8, 16) * _ramp(g.light, 0.28, 0.4) * (1 - _ramp(g.rough, 0.03, 0.07))
    )
    membership = np.maximum(np.maximum(blue, pale), glow) * (1 - _ramp(g.rough, 0.05, 0.12))
    horizon = _horizon(g)
    region = _hanging(membership > 0.5, horizon=horizon)
    if not region.any() or region.any(axis=0).mean() < 0.4:
        return
    rest = float(g.light[~region].mean()) if region.mean() < 0.95 else 1.0
    cold = float(np.mean((blue + pale)[region] > glow[region]))
    # What isn't blue is sky only where it spans the top and shines on what lies below, and what is warm only where it fills all
    # above a horizon: else they are walls and flowers.
    is_blue = blue[region].mean() > 0.5
    is_bright = cold > 0.5 and region[0].mean() > 0.7 and g.light[region].mean() > rest + 0.12
    is_above = horizon < len(g.light) and region[:horizon].mean() > 0.8
    if is_blue or is_bright or is_above:
        scene.claim("sky", region, membership, area=(0.02, 0.12))


def _vegetation(scene: Scene) -> None:
    g = scene.grid
    green = _between(g.hue, 82, 98, 165, 200) * _ramp(g.chroma, 5, 11)
    washed_out = _ramp(g.light, 0.65, 0.8) * (1 - _ramp(g.chroma, 20, 35))
    membership = green * (1 - washed_out) * scene.free("sky")
    scene.claim("vegetation", _large(membership > 0.5, share=0.005), membership, area=(0.02, 0.15))


def _water(scene: Scene) -> None:
    g = scene.grid
    sky = scene.region("sky")
    # Without a sky above it, only plain blue counts: foliage out of focus is teal.
    blue = _between(g.hue, *((175, 195) if sky.any() else (200, 220)), 285, 305) * _ramp(g.chroma, 7, 13)
    mirrored = np.zeros_like(blue)
    if sky.any():
        colour = np.hypot(g.red - g.red[sky].mean(), g.yellow - g.yellow[sky].mean())
        distance = np.hypot(colour, 60 * (g.light - g.light[sky].mean()))
        mirrored = (1 - _ramp(distance, 14, 26)) * _ramp(g.ripple, 0.1, 0.4) * _ramp(g.chroma, 2, 5)
    low = _ramp(g.depth, 0.25, 0.45)
    bars = _ramp(g.straight, 0.35, 0.5) * _ramp(g.rough, 0.06, 0.1) * (1 - _ramp(g.ripple, 0.4, 0.7))
    white = _ramp(g.light, 0.8, 0.9) * (1 - _ramp(g.chroma, 12, 20))
    membership = (
        np.maximum(blue, mirrored)
        * low
        * (1 - _ramp(g.rough, 0.11, 0.17))
        * (1 - bars)
        * (1 - white)
        * scene.free("sky")
    )
    region = _large(membership > 0.5, share=0.04)
    if region.any(axis=0).mean() > 0.5:
        scene.claim("water", region, membership, area=(0.03, 0.15))


def _buildings(scene: Scene) -> None:
    g = scene.grid
    walls = _smooth(_ramp(g.straight, 0.22, 0.42) * _ramp(g.rough, 0.04, 0.08))
    membership = walls * scene.free("sky", "water", "vegetation")
    region = _large(membership > 0.5, share=0.03)
    if region.any() and abs(g.ripple[region].mean()) < 0.5:
        scene.claim("buildings", region, membership, area=(0.03, 0.2))


def _ground(scene: Scene) -> None:
    """Snow, sand or a road: what reaches the lower edge, where something else says that this is outdoors."""
    g = scene.grid
    if np.quantile(g.chroma, 0.9) < COLOURLESS:
        return
    free = scene.free("sky", "water", "vegetation") * (g.depth > 0.35)
    even = 1 - _ramp(g.rough, 0.08, 0.15)
    grey = 1 - _ramp(g.chroma, 8, 14)
    snow = _ramp(g.light, 0.78, 0.88) * grey
    road = _between(g.light, 0.15, 0.25, 0.68, 0.78) * grey
    sand = _between(g.hue, 45, 55, 95, 105) * _between(g.chroma, 8, 13, 40, 50) * _ramp(g.light, 0.5, 0.62)
    outdoors = {"snow": {"sky", "vegetation"}, "road": {"sky", "buildings"}, "sand": {"sky", "water"}}
    for label, membership in {"snow": snow, "road": road, "sand": sand}.items():
        region = _standing(_large(membership * even * free > 0.5, share=0.03))
        if outdoors[label] & scene.scores.keys() and region.any(axis=0).mean() > 0.5:
            scene.claim(label, region, membership * even, area=(0.05, 0.2))


def _night(scene: Scene) -> None:
    g = scene.grid
    if g.light.max() < 0.12:  # nothing can be seen: a fade, or a lens cap
        return
    dark = (1 - _ramp(g.light, 0.22, 0.36)) * (1 - _around(g.hue, 50, 180) * _ramp(g.chroma, 4, 10))
    bright = float((g.light > 0.55).mean())
    mostly = _ramp((dark > 0.5).mean(), 0.45, 0.7) * (1 - _ramp(bright, 0.1, 0.2))
    scene.claim("night", dark > 0.5, np.multiply(dark, mostly), area=(0.3, 0.5))
    if scene.scores.get("night", 0) > 0.3:
        brightest = g.light + 1.5 * g.rough
        lamps = _ramp(brightest, 0.4, 0.55) * _ramp(brightest - _smooth(brightest), 0.06, 0.14)
        scene.claim("lights", lamps > 0.5, lamps, area=(0.0, 0.01))


def _fire(scene: Scene) -> None:
    """Orange around a core that is burnt out to pale yellow, in the dark."""
    g = scene.grid
    flame = _around(g.hue, 35, 85) * _ramp(g.chroma, 40, 55) * _ramp(g.light, 0.35, 0.5)
    core = np.asarray((g.light > 0.88) & _near(flame > 0.5))
    dark = _ramp((g.light < 0.25).mean(), 0.35, 0.6)
    if core.any():
        region = _large((flame > 0.5) | core, share=0.004)
        scene.claim("fire", region, np.maximum(flame, core.astype(np.float32)) * dark, area=(0.0, 0.02))


def _sunset(scene: Scene) -> None:
    """Warm and bright in the sky, or in rough clouds beside it."""
    g = scene.grid
    sky = scene.region("sky")
    warm = _around(g.hue, -55, 82) * _ramp(g.chroma, 12, 24)
    bright = (sky | (_near(_near(sky)) & (g.depth < 0.6))) & (g.light > 0.55)
    if g.light.mean() < 0.75:
        scene.claim("sunset", (warm > 0.5) & bright, warm, area=(0.01, 0.05))


def _crowd(scene: Scene) -> None:
    """Many small patches of many colours, skin among them."""
    g = scene.grid
    skin = _between(g.hue, 25, 35, 65, 75) * _between(g.chroma, 10, 14, 34, 42) * _between(g.light, 0.3, 0.4, 0.8, 0.9)
    mixed = np.sqrt(np.maximum(_smooth(g.red**2 + g.yellow**2) - _smooth(g.red) ** 2 - _smooth(g.yellow) ** 2, 0))
    membership = _ramp(mixed, 9, 15) * _ramp(_smooth(g.rough), 0.04, 0.07) * _ramp(_smooth(_smooth(skin)), 0.05, 0.12)
    scene.claim("crowd", _large(membership > 0.5, share=0.1), membership, area=(0.1, 0.4))


def _indoor(scene: Scene) -> None:
    """Warm light, things with straight edges, nothing of the outdoors."""
    g = scene.grid
    warm = _ramp(np.median(g.yellow), 5, 14) * _ramp(np.median(g.red), 0, 6) * (1 - _ramp(np.median(g.chroma), 35, 45))
    outdoors = _ramp(1 - scene.free("sky", "water", "vegetation").mean(), 0.08, 0.25)
    things = _ramp(np.quantile(g.rough, 0.9), 0.06, 0.1)
    score = np.full(g.light.shape, warm * things * (1 - outdoors), dtype=np.float32)
    scene.claim("indoor", np.ones(g.light.shape, dtype=bool), score, area=(0.5, 1))


def _ramp(value: npt.ArrayLike, low: float, high: float) -> Array:
    """0 up to `low`, 1 from `high`."""
    return np.clip((np.asarray(value, dtype=np.float32) - low) / (high - low), 0, 1)


def _between(value: Array, low: float, full: float, still_full: float, high: float) -> Array:
    return np.minimum(_ramp(value, low, full), 1 - _ramp(value, still_full, high))


def _around(hue: Array, low: float, high: float) -> Array:
    """1 where a hue lies between two degrees, 0 from 15° outside; `low` may be negative."""
    centre, half = (low + high) / 2, (high - low) / 2
    away = np.abs((hue - centre + 180) % 360 - 180)
    return 1 - _ramp(away, half, half + 15)


def _smooth(values: Array) -> Array:
    """Mean over a cell and its eight neighbours."""
    return np.asarray(ndimage.uniform_filter(values, 3), dtype=np.float32)


def _near(mask: Mask) -> Mask:
    return np.asarray(ndimage.binary_dilation(mask, iterations=2), dtype=bool)


def _pieces(mask: Mask, keep: Callable[[Mask], bool]) -> Mask:
    """Of the parts of a mask that hang together, those to keep."""
    labels, count = ndimage.label(mask)
    kept = [piece for piece in range(1, count + 1) if keep(labels == piece)]
    return np.asarray(np.isin(labels, kept), dtype=bool)


def _large(mask: Mask, *, share: float) -> Mask:
    return _pieces(mask, lambda piece: bool(piece.mean() >= share))


def _standing(mask: Mask) -> Mask:
    """The pieces that reach the lower edge."""
    return _pieces(mask, lambda piece: bool(piece[-1].any()))


def _hanging(mask: Mask, *, horizon: int) -> Mask:
    """The pieces that reach the upper edge, down to the horizon."""
    return _pieces(mask & (np.arange(len(mask))[:, None] < horizon), lambda piece: bool(piece[0].any()))


def _horizon(g: Grid) -> int:
    """The first row of cells below the picture's one long horizontal edge; the number of rows when there is none."""
    lab = np.stack((100 * g.light, g.red, g.yellow))
    step = np.median(np.sqrt((np.diff(lab, axis=1) ** 2).sum(axis=0)), axis=1)
    rows = len(g.light)
    step[: rows // 5] = 0
    row = int(step.argmax())
    return row + 1 if step[row] > max(4, 2.3 * np.median(step)) else rows


def _box(grid: Grid, region: Mask) -> Box:
    rows, columns = region.shape
    down, across = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    return Box(
        x0=grid.width * across[0] / columns,
        y0=grid.height * down[0] / rows,
        x1=grid.width * (across[-1] + 1) / columns,
        y1=grid.height * (down[-1] + 1) / rows,
    )
