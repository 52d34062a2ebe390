"""Functional harmony: chords in a mode, progressions that lead somewhere, and their voicing.

Melody and chords are written in *steps* of the scale: step 0 is the tonic, 1 the second degree, 7 the tonic an octave up. A chord
carries the scale that is in force while it sounds, so a borrowed leading tone is heard by the melody above it too.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

Mode = Literal["major", "minor", "dorian", "lydian", "mixolydian"]
Cadence = Literal["half", "authentic", "final"]
"""How a phrase ends: open on the dominant, closed on the tonic, or on the dominant that the piece's last chord resolves."""

Scale = tuple[int, ...]
SCALES: dict[Mode, Scale] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
LEADING_TONE = 11  # semitones above the tonic

# Degrees by function (tonic, subdominant, dominant), the usual ones more often.
_FUNCTIONS: dict[Mode, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {
    "major": ((0, 0, 0, 5, 5, 2), (3, 3, 1), (4,)),
    "minor": ((0, 0, 0, 5, 5, 2), (3, 3, 5), (4,)),
    "dorian": ((0, 0, 2), (3, 3, 6), (6, 4)),
    "lydian": ((0, 0, 5), (1, 1, 5), (4,)),
    "mixolydian": ((0, 0, 5), (3, 3, 6), (6,)),
}


@dataclass(frozen=True)
class Chord:
    """Thirds stacked on a degree of the scale that is in force."""

    degree: int
    """0 to 6."""
    scale: Scale
    size: int = 3

    @property
    def degrees(self) -> tuple[int, ...]:
        """Scale degrees of the tones, root first."""
        return tuple((self.degree + 2 * third) % 7 for third in range(self.size))

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Semitones above the tonic, 0 to 11, root first."""
        return tuple(self.scale[degree] for degree in self.degrees)


Bar = tuple[Chord, ...]
"""The chords of one bar, which share it evenly."""


def pitch(step: int, *, scale: Scale) -> int:
    """Semitones of a step above the tonic."""
    return 12 * (step // 7) + scale[step % 7]


def nearest_tone(step: int, chord: Chord) -> int:
    """The chord's tone nearest to a step; of two, the lower."""
    return min(
        (near for near in range(step - 3, step + 4) if near % 7 in chord.degrees), key=lambda n: (abs(n - step), n)
    )


def tonic_chord(mode: Mode) -> Chord:
    """The chord that a piece ends on."""
    return Chord(0, SCALES[mode])


def dominant_chord(mode: Mode) -> Chord:
    """The fifth degree with a raised leading tone, whatever the mode: only that makes V–I a cadence."""
    scale = SCALES[mode]
    return Chord(4, (*scale[:6], LEADING_TONE))


@dataclass(frozen=True)
class Harmonist:
    """Draws progressions in one mode."""

    mode: Mode
    sevenths: bool

    def opening(self, rng: np.random.Generator, *, bars: int, away: bool) -> tuple[Bar, ...]:
        """How a phrase begins: at home, then moving. `away`: a contrasting section begins off the tonic."""
        tonics, subdominants, _ = _FUNCTIONS[self.mode]
        first = (
            self._draw(rng, [degree for degree in (*tonics, *subdominants) if degree != 0]) if away else self._chord(0)
        )
        chords = [first]
        while len(chords) < bars:
            others = [degree for degree in (*tonics, *subdominants) if degree != chords[-1].degree]
            chords.append(self._draw(rng, others))
        return tuple((chord,) for chord in chords)

    def ending(self, rng: np.random.Generator, *, bars: int, cadence: Cadence, after: Chord | None) -> tuple[Bar, ...]:
        """The last one or two bars of a phrase. `after` is the chord before them, which is not repeated."""
        dominant = self._dominant(rng, cadence)
        if bars == 1:
            return ((dominant,),) if cadence != "authentic" else ((dominant, self._chord(0)),)
        used = after.degree if after else -1
        prepared = self._draw(rng, [degree for degree in _FUNCTIONS[self.mode][1] if degree != used])
        if cadence == "authentic":
            return ((prepared, dominant), (self._chord(0),))
        return ((prepared,), (dominant,))

    def _dominant(self, rng: np.random.Generator, cadence: Cadence) -> Chord:
        if cadence == "final" or self.mode in ("major", "minor", "lydian"):
            chord = dominant_chord(self.mode)
            return Chord(chord.degree, chord.scale, 4 if self.sevenths else 3)
        return self._draw(rng, _FUNCTIONS[self.mode][2])

    def _draw(self, rng: np.random.Generator, degrees: list[int] | tuple[int, ...]) -> Chord:
        return self._chord(int(rng.choice(degrees)))

    def _chord(self, degree: int) -> Chord:
        return Chord(degree, SCALES[self.mode], 4 if self.sevenths else 3)


def voice(chord: Chord, *, tonic: int, low: int, previous: tuple[int, ...]) -> tuple[int, ...]:
    """MIDI pitches of a close voicing within about an octave above `low`, each voice moving as little as it can."""
    classes = [(tonic + pitch_class) % 12 for pitch_class in chord.pitch_classes]
    found: list[tuple[float, tuple[int, ...]]] = []
    for bottom in range(low - 4, low + 9):
        if bottom % 12 not in classes:
            continue
        tones = [bottom]
        for pitch_class in classes[classes.index(bottom % 12) + 1 :] + classes[: classes.index(bottom % 12)]:
            tones.append(tones[-1] + (pitch_class - tones[-1]) % 12)
        moved = sum(min(abs(tone - old) for old in previous) for tone in tones) if previous else 0
        found.append((moved + 0.5 * abs(tones[0] - low) + 2 * _parallels(previous, tuple(tones)), tuple(tones)))
    return min(found)[1]


def _parallels(previous: tuple[int, ...], tones: tuple[int, ...]) -> int:
    """Perfect fifths that move as fifths."""
    if len(previous) != len(tones):
        return 0
    pairs = zip(pairwise(previous), pairwise(tones), strict=True)
    return sum(b - a == d - c == 7 and a != c for (a, b), (c, d) in pairs)
