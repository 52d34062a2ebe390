"""Musical form: how many bars fill a length at a tempo, and how phrases and sections are laid out over them."""

from dataclasses import dataclass
from math import ceil, log

import numpy as np

from models.sketch.harmony import Cadence

RITARDANDO = 0.35
"""How much longer than the first the last beat before the final chord is; the whole bar before it slows down evenly."""

# Sections by their number: songs, rondos, verse and chorus. A piece returns to A, or ends on the chorus that it has prepared.
_FORMS: dict[int, tuple[str, ...]] = {
    1: ("A",), 2: ("AA",), 3: ("ABA",), 4: ("AABA", "ABAB"), 5: ("ABACA", "AABBA"), 6: ("AABABA", "ABABCB", "AABBCA"),
    7: ("ABACABA", "AABACAA"),
}  # fmt: skip
_LONGEST = 6  # sections before a piece becomes several movements


@dataclass(frozen=True)
class Fit:
    """A length in bars. Bars fill it up to the final chord, which rings for the rest."""

    bars: int
    beats: int
    """In a bar. A piece too short for one bar has one of fewer beats."""
    tempo: float
    """Beats per minute."""
    ring_seconds: float


@dataclass(frozen=True)
class Phrase:
    """One phrase of the plan."""

    label: str
    """Section: A, B, C …, or "intro"."""
    theme: str
    """Phrases of one theme share motif and chords. Movements have their own themes, but the first and the last share theirs."""
    occurrence: int
    """How often the section has been heard before."""
    bars: int
    cadence: Cadence
    section: int
    movement: int
    intensity: float
    """0 to 1: how many play, and how loud."""


def fit(seconds: float, *, tempo: float, beats: int, ring_seconds: float | None = None) -> Fit:
    """Whole bars that fill a length near a tempo: a multiple of four where that is near enough, else an even number.

    ring_seconds: of the final chord; None leaves it some of the room that the bars do not fill.
    """
    bar = beats * 60 / tempo
    shortest, longest = min(2.0, 0.2 * seconds), min(0.3 * seconds, max(2.5, 1.5 * bar))
    if ring_seconds is not None:
        shortest = longest = ring_seconds
    exact = (seconds - (shortest + longest) / 2) / bar
    if seconds < 0.8 or exact < 0.5 / beats:
        return Fit(0, beats, tempo, seconds)
    if exact < 1.5:
        bars, beats = 1, max(1, round(exact * beats))
    else:
        near = range(2, 4) if exact < 3.5 else range(2 * int(exact / 2), 2 * int(exact / 2) + 5, 2)
        bars = min(near, key=lambda count: abs(log(count / exact)) + 0.06 * (count % 4 != 0))
    total = bars * beats + 0.5 * RITARDANDO * beats
    ring = float(np.clip(seconds - total * 60 / tempo, shortest, longest))
    return Fit(bars, beats, 60 * total / (seconds - ring), ring)


def plan(bars: int, rng: np.random.Generator) -> tuple[Phrase, ...]:
    """The phrases of a piece, from an introduction to one that leads to the final chord."""
    if bars < 8:
        lengths = [4, bars - 4] if bars > 4 else [bars] * (bars > 0)
        last = len(lengths) - 1
        return tuple(
            Phrase("A", "A", at, length, "final" if at == last else "half", at, 0, 0.8)
            for at, length in enumerate(lengths)
        )
    intro, count = bars % 4, bars // 4
    double = count > 7
    if double and count % 2:
        intro += 4
    movements = _movements(count // 2 if double else count, rng)
    total = sum(len(letters) for letters in movements)
    phrases = [Phrase("intro", "A", 0, intro, "half", 0, 0, 0.35)] if intro else []
    heard: dict[str, int] = {}
    section = len(phrases)
    for movement, letters in enumerate(movements):
        home = movement in (0, len(movements) - 1)
        for at, letter in enumerate(letters):
            following = letters[at + 1] if at + 1 < len(letters) else ""
            ends = _cadences(letter, following, double=double, last=section - bool(intro) == total - 1)
            theme = letter if home else f"{letter}{movement}"
            intensity = _intensity(section - bool(intro), total, at, len(letters))
            before = heard.get(theme, 0)
            phrases += [Phrase(letter, theme, before, 4, cadence, section, movement, intensity) for cadence in ends]
            heard[theme] = before + 1
            section += 1
    return tuple(phrases)


def _movements(sections: int, rng: np.random.Generator) -> list[str]:
    if sections in _FORMS:
        return [str(rng.choice(_FORMS[sections]))]
    sizes = [len(part) for part in np.array_split(np.arange(sections), ceil(sections / _LONGEST))]
    return [str(rng.choice(_FORMS[size])) for size in sizes]


def _cadences(letter: str, following: str, *, double: bool, last: bool) -> tuple[Cadence, ...]:
    if double:
        return ("half", "final" if last else "authentic")
    if last:
        return ("final",)
    return ("half",) if following == letter or letter != "A" else ("authentic",)


def _intensity(section: int, sections: int, at: int, movement: int) -> float:
    """An arch over the whole, its summit two thirds in, and in a piece of several movements a smaller one over each."""
    whole = _arch(section, sections)
    return whole if movement == sections else 0.5 * whole + 0.5 * _arch(at, movement)


def _arch(at: int, count: int) -> float:
    if count < 3:
        return 0.8 + 0.1 * at
    low, place = (0.7 if count < 4 else 0.5), at / (count - 1)
    return low + (1 - low) * place / 0.67 if place <= 0.67 else 1 - 0.4 * (place - 0.67) / 0.33
