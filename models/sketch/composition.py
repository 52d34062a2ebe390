"""A piece as a score: form, harmony and melody (the expert system of MeloForm, arXiv:2208.14345), and then who plays what."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import pi, sin

import numpy as np

from models.sketch.arrangement import Measure, Note, accompany, octave_of
from models.sketch.form import RITARDANDO, Fit, Phrase, fit, plan
from models.sketch.harmony import SCALES, Bar, Cadence, Harmonist, pitch, tonic_chord
from models.sketch.melody import PENTATONIC, MelodyNote, Motif, Singer, contrast, develop, draw_motif, vary
from models.sketch.style import Style

# Semitones to the keys of the middle movements of a long piece: mostly upwards from a low register, downwards from a high one.
_RELATED_KEYS = {True: (5, 2, -2), False: (-5, -2, 2)}


@dataclass(frozen=True)
class Section:
    label: str
    start: float
    """Beats."""
    beats: float
    intensity: float


@dataclass(frozen=True)
class Score:
    """A whole piece. Notes are timed in beats; `time` turns them into seconds."""

    style: Style
    fit: Fit
    tonic: int
    """MIDI pitch."""
    sections: tuple[Section, ...]
    notes: tuple[Note, ...]

    @property
    def final_beat(self) -> float:
        """Where the last chord begins."""
        return float(self.fit.bars * self.fit.beats)

    def time(self, beat: float) -> float:
        """Seconds from the start; the last bar before the final chord slows down."""
        bar = self.fit.beats
        late = min(max(0.0, beat - self.final_beat + bar), bar) if self.fit.bars else 0.0
        return (beat + 0.5 * RITARDANDO * late * late / bar) * 60 / self.fit.tempo


def draw_tonic(rng: np.random.Generator) -> int:
    """MIDI pitch of a key's tonic, from F sharp below the middle C to F above it."""
    return 60 + int(rng.integers(-6, 6))


def compose(
    style: Style, *, tonic: int, seconds: float, ring_seconds: float | None = None, rng: np.random.Generator
) -> Score:
    """A piece in a style that fills a length.

    ring_seconds: how long before the end its final chord begins; None: early enough to ring out.
    """
    fitted = fit(seconds, tempo=style.tempo, beats=style.beats, ring_seconds=ring_seconds)
    phrases = plan(fitted.bars, rng)
    keys = _keys(phrases, style.register < 68, rng)
    composer = _Composer(style, beats=fitted.beats, tonic=tonic, rng=rng)
    notes: list[Note] = []
    measures: list[Measure] = []
    sections: list[Section] = []
    for phrase in phrases:
        start, key = float(len(measures) * fitted.beats), tonic + keys[phrase.movement]
        draft = composer.phrase(phrase)
        measures.extend(_measures(phrase, draft.chords, start=start, beats=fitted.beats, tonic=key))
        if phrase.label != "intro" or not (style.chords or style.pad):
            amount = min(0.5, 0.2 * phrase.occurrence)
            notes.extend(composer.sing(vary(draft.notes, rng, amount=amount), phrase, start=start, tonic=key))
        if sections and phrase.section == len(sections) - 1:
            sections[-1] = replace(sections[-1], beats=sections[-1].beats + phrase.bars * fitted.beats)
        else:
            sections.append(Section(phrase.label, start, float(phrase.bars * fitted.beats), phrase.intensity))
    end = _final_measure(style, fitted, tonic, intensity=phrases[-1].intensity if phrases else 0.7)
    notes.extend(composer.last_note(end, before=notes[-1].pitch if notes else None))
    notes.extend(accompany((*measures, end), style, rng))
    sections.append(Section("end", end.start, end.beats, end.intensity))
    return Score(style, fitted, tonic, tuple(sections), tuple(sorted(notes, key=lambda note: note.start)))


def _keys(phrases: tuple[Phrase, ...], low: bool, rng: np.random.Generator) -> list[int]:
    """Semitones of each movement's key from the first's: the outer ones are at home."""
    count = 1 + max((phrase.movement for phrase in phrases), default=0)
    return [0, *(int(rng.choice(_RELATED_KEYS[low])) for _ in range(count - 2)), *[0] * (count > 1)]


def _measures(phrase: Phrase, chords: tuple[Bar, ...], *, start: float, beats: int, tonic: int) -> list[Measure]:
    return [
        Measure(
            start + at * beats, float(beats), bar, tonic, phrase.intensity, _swell((at + 0.5) / len(chords)), phrase.movement,
            closes_phrase=at == len(chords) - 1,
        )
        for at, bar in enumerate(chords)
    ]  # fmt: skip


def _swell(place: float) -> float:
    """Loudness within a phrase: it grows to two thirds and falls. `place` is 0 at its start and 1 at its end."""
    return 0.86 + 0.18 * sin(pi * min(1.0, place) ** 1.4)


def _final_measure(style: Style, fitted: Fit, tonic: int, *, intensity: float) -> Measure:
    beats = max(0.1, fitted.ring_seconds * fitted.tempo / 60)
    start = float(fitted.bars * fitted.beats)
    chords = (tonic_chord(style.mode),)
    return Measure(start, beats, chords, tonic, intensity, swell=0.9, movement=0, closes_phrase=True, final=True)


@dataclass(frozen=True)
class _Theme:
    """What the phrases of one section have in common."""

    motif: Motif
    answer: Motif
    """Second bar."""
    turn: Motif
    """Third bar."""
    opening: tuple[Bar, ...]
    height: int
    """Steps above the voice's centre."""


@dataclass(frozen=True)
class _Draft:
    chords: tuple[Bar, ...]
    notes: tuple[MelodyNote, ...]
    """Timed from the phrase's start."""


class _Composer:
    """Writes phrases, and remembers them: what was sung returns as it was."""

    def __init__(self, style: Style, *, beats: int, tonic: int, rng: np.random.Generator) -> None:
        self._style, self._beats, self._rng = style, beats, rng
        scale = SCALES[style.mode]
        centre = min(range(-14, 22), key=lambda step: abs(tonic + pitch(step, scale=scale) - style.register))
        self._singer = Singer(centre, beats, PENTATONIC[4 in scale] if style.pentatonic else None)
        self._harmonist = Harmonist(style.mode, style.sevenths)
        self._motif = draw_motif(rng, beats=beats, density=style.density)
        self._themes: dict[str, _Theme] = {}
        self._openings: dict[tuple[str, int], tuple[MelodyNote, ...]] = {}
        self._drafts: dict[tuple[str, int, Cadence], _Draft] = {}

    def phrase(self, phrase: Phrase) -> _Draft:
        key = (phrase.theme, phrase.bars, phrase.cadence)
        if key not in self._drafts:
            self._drafts[key] = self._write(self._theme(phrase.theme), *key)
        return self._drafts[key]

    def sing(self, notes: Iterable[MelodyNote], phrase: Phrase, *, start: float, tonic: int) -> list[Note]:
        """A phrase of melody as notes of whoever sings it; at a summit somebody joins an octave above."""
        style = self._style
        home = phrase.label == "A"
        who = style.lead if home == (phrase.movement % 2 == 0) else style.second
        octave = octave_of(who, style.register)
        length = phrase.bars * self._beats
        sung: list[Note] = []
        for note in notes:
            height = tonic + pitch(note.step, scale=note.chord.scale)
            accent = 1.05 if note.start % self._beats == 0 else 0.95
            loud = accent * (0.65 + 0.4 * phrase.intensity) * _swell((note.start + 0.5 * note.beats) / length)
            velocity = min(1.0, (0.35 + 0.55 * style.dynamics) * loud)
            sung.append(Note(start + note.start, note.beats, height + octave, velocity, "lead", who))
            if phrase.intensity > 0.95 and phrase.occurrence and note.beats >= 1:
                other = style.second if who == style.lead else style.lead
                above = height + 12 + octave_of(other, style.register + 12)
                sung.append(Note(start + note.start, note.beats, above, 0.5 * velocity, "lead", other))
        return sung

    def last_note(self, end: Measure, *, before: int | None) -> list[Note]:
        """The tonic, where the melody has led to."""
        octave = octave_of(self._style.lead, self._style.register)
        near = before if before is not None else self._style.register + octave
        height = min((end.tonic + 12 * octave for octave in range(-3, 5)), key=lambda pitch: abs(pitch - near))
        velocity = (0.35 + 0.55 * self._style.dynamics) * (0.65 + 0.4 * end.intensity)
        return [Note(end.start, end.beats, height, min(1.0, velocity), "lead", self._style.lead)]

    def _theme(self, name: str) -> _Theme:
        if name not in self._themes:
            motif = self._motif if name == "A" else self._other_motif(name)
            opening = self._harmonist.opening(self._rng, bars=2, away=name[0] != "A")
            answer = motif if self._rng.random() < 0.6 else develop(motif, self._rng)
            height = 0 if name[0] == "A" else int(self._rng.choice([2, 3, -2]))
            self._themes[name] = _Theme(motif, answer, develop(motif, self._rng), opening, height)
        return self._themes[name]

    def _other_motif(self, name: str) -> Motif:
        """A contrast for other sections; the A of another movement is the first A, developed."""
        if name[0] == "A":
            return develop(self._motif, self._rng)
        return contrast(self._motif, self._rng, density=self._style.density)

    def _write(self, theme: _Theme, name: str, bars: int, cadence: Cadence) -> _Draft:
        closing = min(2, bars - (bars == 2))
        opening = tuple(theme.opening[at % 2] for at in range(bars - closing))
        ending = self._harmonist.ending(
            self._rng, bars=closing, cadence=cadence, after=opening[-1][0] if opening else None
        )
        key = (name, len(opening))
        if key not in self._openings:
            self._openings[key] = tuple(self._open(theme, opening))
        notes = list(self._openings[key])
        before = notes[-1].step if notes else self._singer.centre
        if closing == 2:
            notes += self._singer.state(
                theme.turn, ending[0], start=float(len(opening) * self._beats), height=theme.height + 2, before=before
            )
            before = notes[-1].step
        start = float((bars - 1) * self._beats)
        notes += self._singer.close(ending[-1], self._rng, start=start, before=before, cadence=cadence)
        return _Draft((*opening, *ending), tuple(notes))

    def _open(self, theme: _Theme, bars: tuple[Bar, ...]) -> list[MelodyNote]:
        """The motif, and its answer a little higher."""
        notes: list[MelodyNote] = []
        for at, bar in enumerate(bars):
            motif = theme.motif if at % 2 == 0 else theme.answer
            before = notes[-1].step if notes else None
            start = float(at * self._beats)
            notes += self._singer.state(motif, bar, start=start, height=theme.height + at % 2, before=before)
        return notes
