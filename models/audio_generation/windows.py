"""One long sequence out of windows of one size: where they lie, and how they are joined where they overlap.

MultiDiffusion (Bar-Tal et al., arXiv:2302.08113): at every step of the diffusion, each window's prediction is made on its own, and
where windows overlap the predictions are joined into one. Both windows read and write the same rows, so there is no seam.
"""

import functools
import math
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Joining = Literal["average", "swap"]
"""average: weighted by a cos² taper, which sums to one. swap: rows are taken from the windows in turn, and at the next step the
other way round (after SaFa, arXiv:2502.05130)."""


@dataclass(frozen=True)
class Windows:
    """The windows of one sequence. Rows are whatever it is a sequence of: latent rows, mel frames."""

    rows: int
    """Length of the sequence: what was asked for, or as much more as whole windows need."""
    starts: tuple[int, ...]
    """The first row of every window."""
    size: int
    ramp: int
    """Rows over which a window fades out where another takes over."""
    circular: bool
    """Whether the last row is followed by the first."""

    def __len__(self) -> int:
        return len(self.starts)

    def times(self, factor: int) -> Self:
        """The same windows over a sequence that is so many times finer."""
        starts = tuple(start * factor for start in self.starts)
        return type(self)(self.rows * factor, starts, self.size * factor, self.ramp * factor, self.circular)

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """(windows, size): the row of the sequence that each row of each window is."""
        index: npt.NDArray[np.int64] = (np.array(self.starts)[:, np.newaxis] + np.arange(self.size)) % self.rows
        return index

    @property
    def share(self) -> npt.NDArray[np.float32]:
        """(windows, size): the cos² taper, made to sum to 1 over all windows' rows that are the same row of the sequence."""
        taper = np.ones((len(self), self.size))
        rise = np.sin(np.pi / 2 * (np.arange(self.ramp) + 0.5) / self.ramp) ** 2
        taper[0 if self.circular else 1 :, : self.ramp] *= rise
        taper[: None if self.circular else -1, self.size - self.ramp :] *= rise[::-1]
        index = self.index
        share: npt.NDArray[np.float32] = (taper / np.bincount(index.ravel(), taper.ravel())[index]).astype(np.float32)
        return share


def lay(rows: int, *, size: int, overlap: int, circular: bool = False) -> Windows:
    """Windows of `size` rows over at least `rows` rows, neighbours having `overlap` of them in common; 0 < overlap <= size / 2.

    circular: the sequence has exactly `rows` rows, and neighbours have at least `overlap` of them in common. It may be shorter than
    a window, which then sees it several times.
    """
    if circular:
        count = max(2, math.ceil(rows / (size - overlap)))
        starts = tuple(round(number * rows / count) for number in range(count))
        return Windows(rows, starts, size, min(size // 2, size - rows // count), circular)
    count = 1 + max(0, math.ceil((rows - size) / (size - overlap)))
    starts = tuple(number * (size - overlap) for number in range(count))
    return Windows(starts[-1] + size, starts, size, overlap, circular)


@dataclass(frozen=True)
class Joints:
    """How the rows of all windows become those of the sequence: a weighted sum of a few, each row's own."""

    cover: npt.NDArray[np.int64]
    """(depth, rows): rows of the windows, counted over all of them."""
    weight: npt.NDArray[np.float32]
    """(phases, depth, rows): how much of each. Sums to 1 over the depth; successive steps take successive phases."""


@functools.lru_cache(maxsize=64)
def joints(windows: Windows, joining: Joining) -> Joints:
    """The joints of these windows."""
    index = windows.index
    order = np.argsort(index, axis=None, kind="stable")  # rows of the windows, by the row of the sequence
    row = index.ravel()[order]
    count = np.bincount(row)
    depth = np.arange(len(row)) - (np.cumsum(count) - count)[row]  # which of those that cover the row
    cover = np.zeros((count.max(), windows.rows), np.int64)
    cover[depth, row] = order
    phases = int(count.max()) if joining == "swap" else 1
    weight = np.zeros((phases, *cover.shape), np.float32)
    for phase in range(phases):
        share = depth == (row + phase) % count[row] if joining == "swap" else windows.share.ravel()[order]
        weight[phase, depth, row] = share
    return Joints(cover, weight)


@dataclass(frozen=True)
class Span:
    """A piece of a sequence, and the part of it that is kept. The rest is context."""

    index: npt.NDArray[np.int64]
    """(size,): rows of the sequence."""
    keep: slice
    """Within the piece."""


def spans(rows: int, *, size: int, context: int, needed: int, circular: bool = False) -> list[Span]:
    """Pieces of `size` rows whose kept parts follow one another without gap over the first `needed` of `rows` rows.

    Whatever is kept has `context` true rows on either side, or the sequence's own end. Unless circular, size <= rows.
    """
    made, done = [], 0
    while done < needed:
        start = done - context
        if not circular:
            start = min(max(0, start), rows - size)
        at_the_end = not circular and start + size == rows
        keep = slice(done - start, size if at_the_end else size - context)
        made.append(Span((start + np.arange(size)) % rows, keep))
        done = start + keep.stop
    return made
