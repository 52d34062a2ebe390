"""Melody: motifs, their development into phrases, and their cadences (the expert system of MeloForm, arXiv:2208.14345).

A motif is one bar of rhythm and contour. A phrase states it, develops it (sequence, inversion, fragment, new tail) over the chords,
and ends in a cadence. Strong beats take chord tones; what lies between them passes by.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from models.sketch.harmony import Bar, Cadence, Chord, nearest_tone

LARGEST_LEAP = 4  # steps: a fifth
PENTATONIC: dict[bool, tuple[int, ...]] = {True: (0, 1, 2, 4, 5), False: (0, 2, 3, 4, 6)}
"""Degrees of the five-tone scale within a mode, by whether its third is major."""


@dataclass(frozen=True)
class MelodyNote:
    start: float
    """Beats."""
    beats: float
    step: int
    chord: Chord
    """What sounds below it."""


@dataclass(frozen=True)
class Motif:
    """One bar: how long each note is, and how far it lies from the first, in steps."""

    rhythm: tuple[float, ...]
    """Beats; they fill the bar."""
    contour: tuple[int, ...]

    def inverted(self) -> "Motif":
        return replace(self, contour=tuple(-step for step in self.contour))

    def retrograde(self) -> "Motif":
        last = self.contour[-1]
        return Motif(self.rhythm[::-1], tuple(step - last for step in self.contour[::-1]))

    def fragment(self) -> "Motif":
        """The first half, said twice, the second time a step on."""
        half, beats, onward = len(self.rhythm) // 2, sum(self.rhythm), 1 if self.contour[-1] >= 0 else -1
        head = self.rhythm[:half]
        if half == 0 or abs(2 * sum(head) - beats) > 1e-6:
            return self.inverted()
        return Motif(head * 2, self.contour[:half] + tuple(step + onward for step in self.contour[:half]))


def draw_motif(rng: np.random.Generator, *, beats: int, density: float) -> Motif:
    """A motif. `density` in [0, 1]: from one note a bar to running quavers."""
    rhythm = _rhythm(rng, float(beats), density)
    contours = [_contour(rng, len(rhythm)) for _ in range(8)]
    return Motif(rhythm, max(contours, key=_interest))


def contrast(motif: Motif, rng: np.random.Generator, *, density: float) -> Motif:
    """A motif for a contrasting section: another rhythm, and a contour that goes the other way."""
    beats = round(sum(motif.rhythm))
    other = 0.75 * density if len(motif.rhythm) > beats / 2 else min(1.0, density + 0.3)
    drawn = [draw_motif(rng, beats=beats, density=other) for _ in range(6)]
    return max(drawn, key=lambda new: (new.rhythm != motif.rhythm, -_similarity(new.contour, motif.contour)))


def develop(motif: Motif, rng: np.random.Generator) -> Motif:
    """The same motif, said otherwise."""
    return [motif.inverted(), motif.retrograde(), motif.fragment()][int(rng.integers(3))]


def _interest(contour: tuple[int, ...]) -> int:
    """A contour to remember goes somewhere, and does not stand still."""
    span, standing = max(contour) - min(contour), sum(a == b for a, b in pairwise(contour))
    return (2 <= span <= 5) - (standing > 1)


def _similarity(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    grid = np.linspace(0, 1, 8)
    a, b = (np.interp(grid, np.linspace(0, 1, len(steps)), steps) for steps in (one, other))
    return float(a @ b)


def _rhythm(rng: np.random.Generator, beats: float, density: float) -> tuple[float, ...]:
    """Halve (or dot) until dense enough; a quaver is the shortest."""
    if beats <= 0.5 or rng.random() > _splitting(beats, density):
        return (beats,)
    if beats == 3:
        cut = float(rng.choice([2, 1, 1.5], p=[0.55, 0.25, 0.2]))
    elif beats >= 2 and rng.random() < 0.3:
        cut = 0.75 * beats
    else:
        cut = beats / 2
    cut = max(0.5, round(2 * cut) / 2)
    return _rhythm(rng, cut, density) + _rhythm(rng, beats - cut, density)


def _splitting(beats: float, density: float) -> float:
    """How likely a note of this length is split: bars almost always, beats only in a dense melody."""
    return {
        4.0: 1.0,
        3.0: 0.97,
        2.0: 0.3 + 0.7 * density,
        1.5: 0.2 + 0.5 * density,
        1.0: 0.9 * max(0.0, density - 0.15),
    }.get(beats, 0.5)


def _contour(rng: np.random.Generator, length: int) -> tuple[int, ...]:
    """Mostly steps, some leaps, and after a leap back: within a sixth."""
    steps, heading = [0], int(rng.choice([-1, 1], p=[0.35, 0.65]))
    for _ in range(length - 1):
        size = int(rng.choice([0, 1, 2, 3, 4], p=[0.07, 0.5, 0.25, 0.1, 0.08]))
        if abs(steps[-1] + heading * size) > 5:
            heading = -heading
        steps.append(steps[-1] + heading * size)
        if size > 2 or rng.random() < 0.3:
            heading = -heading
    return tuple(steps)


@dataclass(frozen=True)
class Singer:
    """Writes phrases for one voice: where it lies, and which degrees it prefers."""

    centre: int
    """Step around which it moves."""
    beats: int
    """Beats in a bar."""
    pentatonic: tuple[int, ...] | None
    below: int = 4
    """Steps that it may go below its centre."""
    above: int = 7

    def state(self, motif: Motif, bar: Bar, *, start: float, height: int, before: int | None) -> list[MelodyNote]:
        """A motif over one bar of chords, begun `height` steps above the centre or where `before` can reach it."""
        anchor = self._anchor(motif, bar[0], height, before)
        notes: list[MelodyNote] = []
        at, last, said = 0.0, before, motif.contour[0]
        for beats, offset in zip(motif.rhythm, motif.contour, strict=True):
            chord = bar[min(len(bar) - 1, int(at / self.beats * len(bar) + 1e-6))]
            strong = beats >= 1 and at % (2 if self.beats == 4 else 3) == 0
            step = self._fit(anchor + offset, chord, strong=strong, last=last)
            if step == last and offset != said:
                step = self._onward(step, chord, strong=strong, by=1 if offset > said else -1)
            notes.append(MelodyNote(start + at, beats, step, chord))
            at, last, said = at + beats, step, offset
        return notes

    def close(
        self, bar: Bar, rng: np.random.Generator, *, start: float, before: int, cadence: Cadence
    ) -> list[MelodyNote]:
        """The last bar of a phrase: stepwise to a tone of its chord (an authentic cadence: to the tonic), then held."""
        chord = bar[-1]
        goal = self._goal(chord, before, cadence)
        held = 2.0 if self.beats > 2 else self.beats / 2
        approach = self.beats - held if cadence != "half" or rng.random() < 0.7 else 0.0
        lengths = [1.5, 0.5] if approach == 2 and rng.random() < 0.3 else [min(1.0, approach), approach - 1]
        lengths = [length for length in lengths if length > 0]
        path = np.linspace(before, goal, len(lengths) + 2)[1:-1]
        notes: list[MelodyNote] = []
        at = 0.0
        for beats, place in zip(lengths, path, strict=True):
            under = bar[min(len(bar) - 1, int(at / self.beats * len(bar) + 1e-6))]
            step = round(place) if round(place) != before else before + (1 if goal <= before else -1)
            step = nearest_tone(step, under) if at == 0 else step
            notes.append(MelodyNote(start + at, beats, step, under))
            at += beats
        breath = 0.25 * held if cadence != "final" else 0.0
        notes.append(MelodyNote(start + at, self.beats - at - breath, goal, chord))
        return notes

    def _goal(self, chord: Chord, before: int, cadence: Cadence) -> int:
        if cadence == "authentic":
            return min((step for step in range(before - 7, before + 8) if step % 7 == 0), key=lambda s: abs(s - before))
        # A final cadence leads on: the second degree or the leading tone, each a step from the tonic.
        wanted = (1, 6) if cadence == "final" else chord.degrees[:3]
        near = [step for step in range(before - 5, before + 6) if step % 7 in wanted]
        return min(near, key=lambda step: (abs(step - before) + 0.5 * abs(step - self.centre), step))

    def _anchor(self, motif: Motif, chord: Chord, height: int, before: int | None) -> int:
        aim = self.centre + height - round(float(np.mean(motif.contour)))
        tones = [step for step in range(aim - 5, aim + 6) if step % 7 in chord.degrees]

        def cost(step: int) -> float:
            leap = abs(step - before) if before is not None else 1
            below = max(0, self.centre - self.below - step - min(motif.contour))
            above = max(0, step + max(motif.contour) - self.centre - self.above)
            return abs(step - aim) + (0 if leap <= 3 else 2 * leap) + 2 * (leap == 0) + 3 * (below + above)

        return min(tones, key=cost)

    def _fit(self, step: int, chord: Chord, *, strong: bool, last: int | None) -> int:
        step = int(np.clip(step, self.centre - self.below, self.centre + self.above))
        if strong:
            step = nearest_tone(step, chord)
        elif self.pentatonic and step % 7 not in self.pentatonic and step % 7 not in chord.degrees:
            step += 1 if last is not None and last > step else -1
        if last is not None and abs(step - last) > LARGEST_LEAP:
            step = nearest_tone(last + LARGEST_LEAP - 1 if step > last else last - LARGEST_LEAP + 1, chord)
        return step

    def _onward(self, step: int, chord: Chord, *, strong: bool, by: int) -> int:
        """The next tone that fits: where the motif moves, the melody does."""
        allowed = chord.degrees if strong else (*chord.degrees, *(self.pentatonic or range(7)))
        return next(step + by * far for far in range(1, 7) if (step + by * far) % 7 in allowed)


def vary(notes: Sequence[MelodyNote], rng: np.random.Generator, *, amount: float) -> list[MelodyNote]:
    """The phrase again with passing and neighbour tones: long notes split, the first stays where it was. `amount` in [0, 1]."""
    varied: list[MelodyNote] = []
    for note, following in zip(notes, [*notes[1:], None], strict=True):
        if following is None or note.beats < 1 or rng.random() > amount:
            varied.append(note)
            continue
        gap = following.step - note.step
        between = note.step + (gap // 2 if abs(gap) == 2 else int(rng.choice([-1, 1])))
        kept = note.beats - 0.5
        varied.append(replace(note, beats=kept))
        varied.append(MelodyNote(note.start + kept, 0.5, between, note.chord))
    return varied
