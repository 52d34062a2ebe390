"""The division of a timeline into scenes: k-medoids with an order.

A scene is a run of frames, and one of them, its medoid, stands for it. The best division into n scenes is the one with the
smallest sum of distances between the frames and their scene's medoid. Frames are few, so it is found exactly, by dynamic
programming (Bellman, On the approximation of curves by line segments using dynamic programming, 1961). With n = 1 it is
KMedoids with k = 1.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from models.record import MOST_SCENES

Array = npt.NDArray[np.float64]

CLEARLY = 1.5
"""A border's step is at least this many times the usual one."""
AROUND = 3
"""Steps on either side that tell what is usual. Scenes of two frames or more leave most of them inside of scenes."""
NOTICED = 0.25
"""And at least this part of a latent's length: noise, changing light and what moves within one place stay below."""
PRICE = 1.1
"""What a border costs, in steps. More than 1, so that a single frame is no scene; less than 2, so that two frames are one."""
BACK = 0.6
"""Frames before and after a short run that differ by less than this part of the run's steps show the same place."""
SHORT = 2
"""Frames of the longest run that is only a look elsewhere when the picture comes back after it."""
SAME = 1e-3
"""Frames that differ by less than this part of a latent's length are the same picture."""


@dataclass(frozen=True)
class SelectedScene:
    """A run of frames, up to where the next scene begins."""

    first: int
    """Position of its first frame."""
    index: int
    """Position of its medoid."""


def divide(latents: npt.NDArray[np.float32], scenes: int | Literal["auto"]) -> tuple[SelectedScene, ...]:
    """The best division of frames into scenes. `latents` is float32, shape (n, d), in the order of time, n ≥ 1.

    `auto` looks for places where the picture changes at once, for good. A border may lie where the step, the distance of the
    frames on either side, stands out: `CLEARLY` above the median step, of the whole video and of the steps around it, and
    `NOTICED`, and no smaller than its neighbours. That leaves out what changes all the time, however much it does: a pan,
    water, a hand-held camera, a cut on every frame. It may not lie beside a flash or another run of at most `SHORT` frames
    after which the picture is what it was before. Of all divisions with such borders, the best has the smallest sum of
    distances to the medoids plus `PRICE` times the steps at its borders. A scene of m frames that differ by w, and by d from
    those around them, saves about m·(d - w) and costs a bit more than d: it is a scene if it lasts for two frames. Of more
    than `MOST_SCENES` scenes, the best division into `MOST_SCENES` is taken.

    A number gives as many scenes. Their borders are those that `auto` finds, the best of them if there are more; where they are
    not enough, the best division with those and others. There is never a border between two frames that are the same picture,
    so there may be fewer scenes.
    """
    distances = distances_between(latents)
    steps = np.diagonal(distances, 1)
    length = float(np.sqrt((latents.astype(np.float64) ** 2).sum(axis=1).mean()))
    if scenes == 1:
        firsts = [0]
    else:
        allowed = (steps >= np.maximum(CLEARLY * _usual(steps), NOTICED * length)) & ~_beside_looks(distances)
        allowed &= steps >= np.maximum(np.append(steps[1:], 0), np.append(0, steps[:-1]))
        firsts = _cheapest(distances, _positions(allowed), steps)
        most = MOST_SCENES if scenes == "auto" else scenes
        if len(firsts) > most:
            firsts = _best_of(distances, np.array([*firsts, len(latents)]), most)
        elif scenes != "auto":
            firsts = _best_of(distances, _positions(steps > SAME * length), most, within=firsts)
    ends = [*firsts[1:], len(latents)]
    return tuple(
        SelectedScene(first, first + medoid(distances[first:end, first:end]))
        for first, end in zip(firsts, ends, strict=True)
    )


def medoid(distances: Array) -> int:
    """The row with the smallest sum of distances to the others: KMedoids with one cluster. `distances` has the shape (n, n).

    Of equally good rows (n = 2, identical rows), one is taken, always the same.
    """
    with warnings.catch_warnings():
        # sklearn_extra 0.3 compares versions with distutils while it is imported; it is its last release.
        warnings.filterwarnings("ignore", "distutils Version classes", DeprecationWarning)
        from sklearn_extra.cluster import KMedoids

    # With one cluster the heuristic start is the optimum already, so there is nothing to iterate.
    clusters = KMedoids(n_clusters=1, metric="precomputed", method="pam", init="heuristic", max_iter=0)
    return int(clusters.fit(distances).medoid_indices_[0])


def distances_between(rows: npt.NDArray[np.float32]) -> Array:
    """Euclidean distances between rows, shape (n, n), out of one matrix product: the rows are few and long."""
    # |a-b|² = |a|² + |b|² - 2ab loses what is close together, so it is summed in float64, by slices to stay small.
    products = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.shape[1], 2**16):
        part = rows[:, start : start + 2**16].astype(np.float64)
        products += part @ part.T
    squares = np.diagonal(products)
    distances: Array = np.sqrt(np.maximum(squares[:, None] + squares - products - products.T, 0))
    return distances


def _usual(steps: Array) -> Array:
    """For every step, the median of those around it, or of all if that is more; endlessly large for one that is alone."""
    if len(steps) < 2:
        return np.full(len(steps), np.inf)
    windows = sliding_window_view(np.pad(steps, AROUND, constant_values=np.nan), 2 * AROUND + 1)
    around = np.nanmedian(np.delete(windows, AROUND, axis=1), axis=1)
    usual: Array = np.maximum(around, np.median(steps))
    return usual


def _beside_looks(distances: Array) -> npt.NDArray[np.bool_]:
    """Which steps lead into a short run of frames after which the picture is what it was before, or out of it."""
    steps = np.diagonal(distances, 1)
    beside = np.zeros(len(steps), dtype=np.bool_)
    for frames in range(1, SHORT + 1):
        into, out = steps[:-frames], steps[frames:]
        looks = np.diagonal(distances, frames + 1) < BACK * np.minimum(into, out)
        beside[:-frames] |= looks
        beside[frames:] |= looks
    return beside


def _positions(allowed: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Where scenes may begin and end: the start, the first frame behind every allowed border, and the end."""
    return np.concatenate(([0], np.flatnonzero(allowed) + 1, [len(allowed) + 1]))


def _costs(distances: Array, positions: npt.NDArray[np.intp]) -> Array:
    """costs[i, j]: of a scene from positions[i] up to positions[j], the sum of distances to its medoid; infinite for j ≤ i."""
    count = len(positions)
    sums = np.zeros((len(distances), len(distances) + 1))  # of a frame's distances to all frames before another
    np.cumsum(distances, axis=1, out=sums[:, 1:])
    sums = sums[:, positions]
    # No frame stands for a scene that ends before it.
    until = np.where(positions > np.arange(len(distances))[:, None], sums, np.inf)
    costs = np.full((count, count), np.inf)
    for i, first in enumerate(positions[:-1]):
        costs[i, i + 1 :] = (until[first:, i + 1 :] - sums[first:, i, None]).min(axis=0)
    return costs


def _cheapest(distances: Array, positions: npt.NDArray[np.intp], steps: Array) -> list[int]:
    """First frames of the scenes whose distances and borders cost least together."""
    costs = _costs(distances, positions)
    # The price is paid where a scene begins; the first one begins for nothing.
    costs[1:-1] += PRICE * steps[positions[1:-1] - 1, None]
    best, before = np.zeros(len(positions)), np.zeros(len(positions), dtype=np.intp)
    for j in range(1, len(positions)):
        sums = best[:j] + costs[:j, j]
        before[j] = sums.argmin()
        best[j] = sums[before[j]]
    firsts, at = [], len(positions) - 1
    while at:
        at = int(before[at])
        firsts.append(int(positions[at]))
    return firsts[::-1]


def _best_of(
    distances: Array, positions: npt.NDArray[np.intp], scenes: int, *, within: Sequence[int] = (0,)
) -> list[int]:
    """First frames of the scenes of the best division into so many, or into as many as there can be.

    within: first frames of scenes that are divided further, but not joined.
    """
    scenes = min(scenes, len(positions) - 1)
    costs = _costs(distances, positions)
    before_border = np.searchsorted(
        within, positions[:-1], side="right"
    )  # of a scene that begins here, the run it is in
    behind_border = np.searchsorted(within, positions[1:], side="left")
    costs[:-1, 1:][before_border[:, None] < behind_border[None]] = np.inf
    best, befores = costs[0], []
    for _ in range(scenes - 1):
        sums = best[:, None] + costs
        befores.append(sums.argmin(axis=0))
        best = sums.min(axis=0)
    firsts, at = [], len(positions) - 1
    for before in reversed(befores):
        at = int(before[at])
        firsts.append(int(positions[at]))
    return [0, *firsts[::-1]]
