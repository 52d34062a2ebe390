"""Who plays what under the melody: chord patterns, pad, bass and percussion, entering and leaving with the intensity."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.sketch.harmony import Bar, Chord, voice
from models.sketch.music_words import Instrument
from models.sketch.style import BassLine, Pattern, Style

Part = Literal["lead", "chords", "pad", "bass", "drums"]
Drum = Literal["kick", "snare", "brush", "hat", "ride", "shaker", "tom"]

# Where an instrument sounds like itself: lowest and highest MIDI pitch around which its melody may lie.
_RANGES: dict[Instrument, tuple[int, int]] = {
    "piano": (55, 79), "electric piano": (57, 79), "guitar": (57, 76), "harp": (60, 79), "bell": (71, 84),
    "marimba": (57, 79), "flute": (66, 84), "strings": (57, 81), "horn": (57, 75), "pad": (52, 72), "bass": (36, 48),
}  # fmt: skip
# Intensity from which a part plays.
_ENTERS: dict[Part, float] = {"pad": 0.0, "chords": 0.25, "bass": 0.4, "drums": 0.55}
_OTHER_PATTERN: dict[Pattern, Pattern] = {
    "arpeggio": "block", "block": "arpeggio", "broken": "arpeggio", "strum": "broken", "pulse": "block", "stabs": "block",
    "waltz": "arpeggio",
}  # fmt: skip


@dataclass(frozen=True)
class Note:
    start: float
    """Beats."""
    beats: float
    pitch: int
    """MIDI; 0 for percussion."""
    velocity: float
    """0 to 1."""
    part: Part
    instrument: Instrument | Drum


@dataclass(frozen=True)
class Measure:
    """One bar under the melody."""

    start: float
    """Beats."""
    beats: float
    chords: Bar
    tonic: int
    """MIDI pitch."""
    intensity: float
    """Of its section: decides who plays."""
    swell: float
    """Within its phrase, around 1: how loud."""
    movement: int
    closes_phrase: bool
    final: bool = False
    """The last chord, which is struck once and rings."""

    @property
    def loudness(self) -> float:
        """Factor on every velocity, up to about 1.1."""
        return (0.55 + 0.5 * self.intensity) * self.swell

    def spans(self) -> Iterator[tuple[float, float, Chord]]:
        """Start, beats and chord, in order."""
        beats = self.beats / len(self.chords)
        for at, chord in enumerate(self.chords):
            yield self.start + at * beats, beats, chord


def octave_of(instrument: Instrument, register: int) -> int:
    """Semitones, whole octaves, that bring a register into the instrument's range."""
    low, high = _RANGES[instrument]
    return (
        12 * -(-(low - register) // 12)
        if register < low
        else -12 * -(-(register - high) // 12)
        if register > high
        else 0
    )


def accompany(measures: Sequence[Measure], style: Style, rng: np.random.Generator) -> list[Note]:
    """Everything but the melody."""
    notes: list[Note] = []
    loud = 0.3 + 0.5 * style.dynamics
    low = int(np.clip(style.register - 17, 45, 56))
    if style.pad:
        notes += _pad(measures, style.pad, low=low - 2, loud=0.9 * loud)
    if style.chords:
        notes += _chords(measures, style, low=low, loud=0.85 * loud)
    if style.bass:
        notes += _bass(measures, style.bass, style.bass_line, loud=loud, rng=rng)
    if style.drums:
        notes += _drums(measures, style, loud=loud)
    return notes


def _playing(measures: Iterable[Measure], part: Part) -> Iterator[Measure]:
    return (measure for measure in measures if measure.intensity >= _ENTERS[part])


def _pad(measures: Sequence[Measure], instrument: Instrument, *, low: int, loud: float) -> Iterator[Note]:
    tones: tuple[int, ...] = ()
    for measure in _playing(measures, "pad"):
        for start, beats, chord in measure.spans():
            tones = voice(chord, tonic=measure.tonic, low=low, previous=tones)
            for tone in tones:
                yield Note(start, beats, tone, loud * measure.loudness, "pad", instrument)


def _chords(measures: Sequence[Measure], style: Style, *, low: int, loud: float) -> Iterator[Note]:
    assert style.chords
    low += octave_of(style.chords, low + 10)
    tones: tuple[int, ...] = ()
    for measure in _playing(measures, "chords"):
        pattern = style.pattern if measure.movement % 2 == 0 else _OTHER_PATTERN[style.pattern]
        for start, beats, chord in measure.spans():
            tones = voice(chord, tonic=measure.tonic, low=low, previous=tones)
            struck = _rolled(beats, tones) if measure.final else _pattern(pattern, beats, tones, style)
            for at, length, tone, accent in struck:
                velocity = min(1.0, loud * accent * measure.loudness)
                yield Note(start + at, length, tone, velocity, "chords", style.chords)


Struck = Iterator[tuple[float, float, int, float]]
"""Beats after the chord's start, length in beats, MIDI pitch, accent."""


def _rolled(beats: float, tones: tuple[int, ...]) -> Struck:
    for at, tone in enumerate(tones):
        lag = min(0.06 * at, 0.1 * beats)
        yield lag, beats - lag, tone, 1.0


# Beat, length and accent of chords struck whole.
_STRIKES: dict[Pattern, tuple[tuple[float, float, float], ...]] = {
    "block": ((0, 2, 1), (2, 2, 0.85)),
    "waltz": ((1, 0.7, 0.8), (2, 0.7, 0.75)),
    "pulse": tuple((at / 2, 0.4, 0.7 if at % 2 else 1) for at in range(8)),
    "stabs": ((0, 0.9, 0.9), (1.5, 0.5, 1), (3.5, 0.4, 1)),
}
_STRUMS = ((0, 1.0), (1, 0.8), (1.5, -0.6), (2, 0.85), (2.5, -0.6), (3, 0.8), (3.5, -0.6))
"""Beat and accent; upward strokes are negative."""


def _pattern(pattern: Pattern, beats: float, tones: tuple[int, ...], style: Style) -> Struck:
    """One chord, played for some beats."""
    if pattern in ("arpeggio", "broken"):
        yield from _broken(pattern, beats, tones, style)
    elif pattern == "strum":
        for at, accent in _STRUMS:
            for string, tone in enumerate(tones if accent > 0 else tones[::-1]):
                if at < beats:
                    yield at + 0.025 * string, 0.5, tone, abs(accent)
    else:
        for at, length, accent in _STRIKES[pattern]:
            if at < beats:
                yield from ((at, min(length, beats - at), tone, accent) for tone in tones)


def _broken(pattern: Pattern, beats: float, tones: tuple[int, ...], style: Style) -> Struck:
    """Tones one after another: up and down through the octave, or low-high-middle-high."""
    step = 1.0 if style.density < 0.2 else 0.5
    rising = (*tones, tones[0] + 12)
    order = (*rising, *rising[-2:0:-1]) if pattern == "arpeggio" else (tones[0], tones[-1], tones[1], tones[-1])
    for at, when in enumerate(np.arange(0, beats, step)):
        held = min(2.0 if pattern == "arpeggio" else 1.0, beats - when)
        yield float(when), float(held), order[at % len(order)], 1.0 if at == 0 else 0.8


def _bass(
    measures: Sequence[Measure], instrument: Instrument, line: BassLine, *, loud: float, rng: np.random.Generator
) -> Iterator[Note]:
    spans = [(measure, *span) for measure in _playing(measures, "bass") for span in measure.spans()]
    for at, (measure, start, beats, chord) in enumerate(spans):
        root = _low(measure.tonic + chord.pitch_classes[0])
        fifth = _low(measure.tonic + chord.pitch_classes[2])
        following = spans[at + 1] if at + 1 < len(spans) else None
        goal = _low(following[0].tonic + following[3].pitch_classes[0]) if following else root
        if measure.final:
            played = [(0.0, beats, root)]
        else:
            third = _low(measure.tonic + chord.pitch_classes[1])
            played = _bass_line(line, beats, (root, third, fifth), goal=goal, rng=rng)
        for when, length, tone in played:
            yield Note(start + when, length, tone, min(1.0, loud * measure.loudness), "bass", instrument)


def _low(pitch: int) -> int:
    """The pitch's place between E1 and D#2: low, but not below what small speakers have."""
    return 40 + (pitch - 40) % 12


def _bass_line(
    line: BassLine, beats: float, tones: tuple[int, int, int], *, goal: int, rng: np.random.Generator
) -> list[tuple[float, float, int]]:
    """Start, length and pitch within one chord; a walking line ends a step from the next root."""
    root, third, fifth = tones
    if line == "fifths" and beats >= 2:
        half = beats / 2 if beats != 3 else 2.0
        return [(0.0, half, root), (half, beats - half, fifth)]
    if line == "pulse":
        return [(float(at), 0.45, root) for at in np.arange(0, beats, 0.5)]
    if line == "walking":
        middle = [int(tone) for tone in rng.permutation([third, fifth])]
        approach = goal + (1 if rng.random() < 0.4 else -1)
        walked = [root, *middle, approach] if beats >= 4 else [root, approach]
        return [(float(at), 0.95, tone) for at, tone in enumerate(walked[: max(1, int(beats))])]
    return [(0.0, beats, root)]


# Kit → hits of a bar in four and of a bar in three: beat, drum, velocity.
_Hits = tuple[tuple[float, Drum, float], ...]
_BARS: dict[str, tuple[_Hits, _Hits]] = {
    "kit": (
        ((0, "kick", 1), (2, "kick", 0.9), (2.5, "kick", 0.5), (1, "snare", 0.7), (3, "snare", 0.75),
         *((at / 2, "hat", 0.55 if at % 2 == 0 else 0.35) for at in range(8))),
        ((0, "kick", 1), (1, "snare", 0.45), (2, "snare", 0.55), *((at / 2, "hat", 0.5 - 0.15 * (at % 2)) for at in range(6))),
    ),
    "brushes": (
        ((0, "ride", 0.6), (1, "ride", 0.8), (1.5, "ride", 0.45), (2, "ride", 0.6), (3, "ride", 0.8), (3.5, "ride", 0.45),
         (0, "brush", 0.45), (1, "brush", 0.8), (2, "brush", 0.45), (3, "brush", 0.8), (0, "kick", 0.35)),
        ((0, "ride", 0.6), (1, "ride", 0.6), (2, "ride", 0.7), (1, "brush", 0.6), (2, "brush", 0.7), (0, "kick", 0.4)),
    ),
    "toms": (
        ((0, "tom", 1), (1.5, "tom", 0.7), (2, "tom", 0.85), (3, "tom", 0.7), (3.5, "tom", 0.8), (0, "kick", 0.9)),
        ((0, "tom", 1), (1, "tom", 0.6), (2, "tom", 0.7), (2.5, "tom", 0.7), (0, "kick", 0.8)),
    ),
    "shaker": (
        ((0, "kick", 0.8), (2, "kick", 0.7), *((at / 2, "shaker", (0.8, 0.4, 0.55, 0.4)[at % 4]) for at in range(8))),
        ((0, "kick", 0.8), *((at / 2, "shaker", (0.8, 0.4, 0.55)[at % 3]) for at in range(6))),
    ),
}  # fmt: skip
_FILL: _Hits = ((2, "tom", 0.6), (2.5, "tom", 0.7), (3, "tom", 0.8), (3.5, "tom", 0.9))


def _drums(measures: Sequence[Measure], style: Style, *, loud: float) -> Iterator[Note]:
    assert style.drums
    for measure in _playing(measures, "drums"):
        if measure.final:
            yield Note(measure.start, 1.0, 0, 0.7 * loud, "drums", "kick")
            continue
        hits = _BARS[style.drums][style.beats == 3]
        if measure.closes_phrase and measure.intensity > 0.85 and style.drums in ("kit", "toms") and style.beats == 4:
            hits = (*(hit for hit in hits if hit[0] < 2), *_FILL)
        for at, drum, velocity in hits:
            if at < measure.beats:
                yield Note(
                    measure.start + at,
                    0.5,
                    0,
                    min(1.0, velocity * loud * (0.7 + 0.4 * measure.intensity)),
                    "drums",
                    drum,
                )
