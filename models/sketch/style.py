"""What kind of piece: from the mood that was measured and from the words of the prompt. Where both speak, the words win."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.record import Mood
from models.sketch.harmony import Mode
from models.sketch.music_words import DRUMS, GENRES, INSTRUMENTS, MODES, MOODS, TEMPI, Instrument, Term, terms

Drums = Literal["brushes", "kit", "toms", "shaker"]
Pattern = Literal["arpeggio", "block", "broken", "strum", "pulse", "stabs", "waltz"]
BassLine = Literal["held", "fifths", "walking", "pulse"]


@dataclass(frozen=True)
class Style:
    """Everything that is decided before the first note."""

    mode: Mode
    tempo: float
    """Beats per minute that the piece should have; fitting it to its length moves this a little."""
    beats: int
    """Beats in a bar: 3 or 4."""
    register: int
    """MIDI pitch around which the melody lies."""
    density: float
    """Notes of the melody, 0 (one a bar) to 1 (quavers)."""
    dynamics: float
    """Loudness and brightness, 0 to 1."""
    lead: Instrument
    second: Instrument
    """Plays the melody of contrasting sections."""
    chords: Instrument | None
    pad: Instrument | None
    bass: Instrument | None
    drums: Drums | None
    pattern: Pattern
    bass_line: BassLine
    swing: bool = False
    sevenths: bool = False
    pentatonic: bool = False
    reverb_seconds: float = 2.0


_CHORDAL: tuple[Instrument, ...] = ("piano", "electric piano", "guitar", "harp", "marimba")


def _bright(style: Style) -> bool:
    return style.mode in ("major", "lydian", "mixolydian")


# Genre → what it makes of the style that the mood has suggested.
_STYLES: dict[str, Callable[[Style], Style]] = {
    "ambient": lambda s: replace(
        s, tempo=min(80, 0.75 * s.tempo), density=0.2, lead="bell", second="flute", chords=None, pad="pad", bass=None, drums=None,
        pattern="arpeggio", bass_line="held", pentatonic=True, reverb_seconds=2.7),
    "jazz": lambda s: replace(
        s, tempo=0.5 * s.tempo + 62, beats=4, lead="piano", second="bell", chords="electric piano", pad=None, bass="bass",
        drums="brushes", pattern="stabs", bass_line="walking", swing=True, sevenths=True, density=0.6, reverb_seconds=1.2),
    "lofi": lambda s: replace(
        s, tempo=76, beats=4, lead="electric piano", second="guitar", chords="electric piano", pad="pad", bass="bass",
        drums="kit", pattern="block", bass_line="held", swing=True, sevenths=True, density=0.4),
    "lullaby": lambda s: replace(
        s, mode="major" if _bright(s) else s.mode, tempo=72, beats=3, lead="bell", second="flute", chords="harp", pad="pad",
        bass=None, drums=None, pattern="arpeggio", density=0.35, dynamics=0.25, pentatonic=True),
    "waltz": lambda s: replace(s, tempo=max(96, s.tempo), beats=3, pattern="waltz", bass="bass", bass_line="held"),
    "epic": lambda s: replace(
        s, beats=4, lead="horn", second="strings", chords="strings", pad="strings", bass="bass", drums="toms",
        pattern="pulse", bass_line="pulse", dynamics=0.95, register=min(s.register, 67), reverb_seconds=2.7),
    "orchestral": lambda s: replace(s, lead="strings", second="horn", chords="harp", pad="strings", reverb_seconds=2.6),
    "electronic": lambda s: replace(
        s, tempo=max(118, s.tempo), beats=4, lead="electric piano", second="bell", chords="pad", pad="pad", bass="bass",
        drums="kit", pattern="pulse", bass_line="pulse", pentatonic=True),
    "folk": lambda s: replace(
        s, mode="mixolydian" if s.mode == "lydian" else s.mode, lead="flute", second="guitar", chords="guitar", pad=None,
        pattern="strum", bass_line="fifths", pentatonic=True, reverb_seconds=1.4),
    "celtic": lambda s: replace(
        s, mode="mixolydian" if _bright(s) else "dorian", lead="flute", second="harp", chords="harp", pad="strings",
        pattern="arpeggio", pentatonic=True),
    "classical": lambda s: replace(
        s, lead="piano", second="strings", chords="piano", pad="strings", drums=None, pattern="broken", density=0.6),
    "rock": lambda s: replace(
        s, tempo=max(112, s.tempo), beats=4, lead="guitar", second="electric piano", chords="guitar", bass="bass",
        drums="kit", pattern="strum", bass_line="pulse", dynamics=max(0.75, s.dynamics), reverb_seconds=1.3),
}  # fmt: skip


def style_of(prompt: str, *, negative: str, mood: Mood | None, rng: np.random.Generator) -> Style:
    """The style that a prompt asks for. The prompt's first sentence leads."""
    found = terms(prompt)
    refused = [term.word for term in found if term.negated] + [term.word for term in terms(negative)]
    wanted = [term for term in found if not term.negated]
    said = [term.word for term in wanted]
    valence = _led(wanted, 0, mood.valence if mood else None, neutral=0.2)
    arousal = _led(wanted, 1, mood.arousal if mood else None, neutral=-0.1)
    style = _of_mood(valence, arousal, rng)
    style = replace(style, mode=next((MODES[word] for word in said if word in MODES), style.mode))
    genre = next((GENRES[word] for word in said if word in GENRES), None)
    if genre:
        style = _STYLES[genre](style)
    if "waltz" in said and genre != "waltz":
        style = replace(style, beats=3, pattern="waltz", swing=False)
    style = replace(style, tempo=_tempo(prompt, said, style.tempo))
    return _without(_with(style, said), refused)


def _led(said: list[Term], dimension: int, measured: float | None, *, neutral: float) -> float:
    """Valence (0) or arousal (1): what the first sentence says; else what the others do, together with what was measured."""
    values = [
        (value, term.leads) for term in said if (value := MOODS.get(term.word, (None, None))[dimension]) is not None
    ]
    leading = [value for value, leads in values if leads]
    if leading:
        return _first_counts_most(leading)
    described = _first_counts_most([value for value, _ in values]) if values else None
    known = [value for value in (described, measured) if value is not None]
    return float(np.mean(known)) if known else neutral


def _first_counts_most(values: list[float]) -> float:
    return float(np.average(values, weights=0.3 ** np.arange(len(values))))


def _tempo(prompt: str, said: list[str], tempo: float) -> float:
    if stated := re.search(r"\b(\d{2,3})\s*bpm\b", prompt.lower()):
        return float(np.clip(float(stated[1]), 40, 200))
    return next((TEMPI[word] for word in said if word in TEMPI), tempo)


def _of_mood(valence: float, arousal: float, rng: np.random.Generator) -> Style:
    lively, dark = arousal > 0.15, valence < -0.15
    modes: tuple[Mode, ...]
    if dark:
        modes = ("minor", "minor", "minor", "dorian")
    elif valence > 0.15:
        modes = ("major", "major", "mixolydian" if lively else "lydian")
    else:
        modes = ("mixolydian", "major") if lively else ("dorian", "lydian")
    style = Style(
        mode=modes[int(rng.integers(len(modes)))],
        tempo=88 * 2 ** (0.65 * arousal) * float(rng.uniform(0.95, 1.05)),
        beats=3 if arousal < 0.4 and rng.random() < 0.2 else 4,
        register=round(69 + 5 * valence + 3 * arousal),
        density=float(np.clip(0.45 + 0.4 * arousal, 0.1, 0.9)),
        dynamics=float(np.clip(0.5 + 0.4 * arousal, 0.1, 0.95)),
        lead="piano", second="flute", chords="piano", pad="pad", bass="bass", drums=None,
        pattern="broken", bass_line="held", reverb_seconds=2.2 - 0.6 * arousal, pentatonic=bool(rng.random() < 0.3),
    )  # fmt: skip
    choices = _ENSEMBLES[(dark, lively)]
    style = choices[int(rng.integers(len(choices)))](style)
    return replace(style, drums=None) if arousal < 0.3 else style


# (dark, lively) → ensembles, of which the seed picks one.
_ENSEMBLES: dict[tuple[bool, bool], tuple[Callable[[Style], Style], ...]] = {
    (False, True): (
        lambda s: replace(s, lead="marimba", second="flute", chords="guitar", pattern="strum", bass_line="fifths", drums="kit"),
        lambda s: replace(s, lead="guitar", second="bell", chords="piano", pattern="broken", bass_line="pulse", drums="kit"),
        lambda s: replace(s, lead="flute", second="marimba", chords="guitar", pattern="strum", bass_line="fifths",
                          drums="shaker"),
        lambda s: replace(s, lead="bell", second="electric piano", chords="electric piano", pattern="stabs",
                          bass_line="fifths", drums="shaker"),
    ),
    (False, False): (
        lambda s: replace(s, lead="electric piano", second="flute", chords="electric piano", pattern="arpeggio"),
        lambda s: replace(s, lead="flute", second="bell", chords="harp", pattern="arpeggio"),
        lambda s: replace(s, lead="bell", second="electric piano", chords="harp", pattern="arpeggio", pad="strings"),
        lambda s: replace(s, lead="guitar", second="flute", chords="guitar", pattern="arpeggio"),
    ),
    (True, False): (
        lambda s: replace(s, lead="piano", second="strings", chords="piano", pattern="broken", pad="strings"),
        lambda s: replace(s, lead="strings", second="piano", chords="piano", pattern="block"),
        lambda s: replace(s, lead="piano", second="flute", chords="harp", pattern="arpeggio", pad="strings"),
    ),
    (True, True): (
        lambda s: replace(s, lead="strings", second="piano", chords="strings", pattern="pulse", bass_line="pulse",
                          drums="toms", pad="pad"),
        lambda s: replace(s, lead="piano", second="strings", chords="strings", pattern="pulse", bass_line="pulse",
                          drums="toms"),
        lambda s: replace(s, lead="electric piano", second="strings", chords="marimba", pattern="arpeggio",
                          bass_line="pulse", drums="toms"),
    ),
}  # fmt: skip


def _with(style: Style, said: list[str]) -> Style:
    """The instruments that the words name: the first sings, the next accompany."""
    named = list(dict.fromkeys(INSTRUMENTS[word][0] for word in said if word in INSTRUMENTS))
    if "bass" in named:
        style = replace(style, bass="bass")
    singers = [name for name in named if name not in ("pad", "bass")]
    if singers:
        style = replace(style, lead=singers[0], second=singers[-1] if len(singers) > 1 else style.second)
    if "pad" in named:
        style = replace(style, pad="pad")
    accompanying = next((name for name in (*singers[1:], *singers[:1]) if name in _CHORDAL), None)
    if accompanying:
        style = replace(style, chords=accompanying)
    if singers and "solo" in said:
        pad = None if accompanying else style.pad
        style = replace(style, second=singers[0], chords=accompanying, pad=pad, bass=None, drums=None)
    if any(word in DRUMS for word in said) and style.drums is None:
        style = replace(style, drums="kit" if style.tempo > 80 else "brushes")
    return style


def _without(style: Style, refused: list[str]) -> Style:
    """Takes away what is refused. Melody and chords go to somebody else; a pad, a bass or drums fall silent."""
    removed = {name for word in refused if word in INSTRUMENTS for name in INSTRUMENTS[word]}
    leads: tuple[Instrument, ...] = ("piano", "flute", "guitar", "bell", "harp", "marimba", "strings", "pad")
    spare = next((name for name in leads if name not in removed), style.lead)
    accompanist = next((name for name in _CHORDAL if name not in removed), None)
    return replace(
        style,
        lead=spare if style.lead in removed else style.lead,
        second=spare if style.second in removed else style.second,
        chords=accompanist if style.chords in removed else style.chords,
        pad=None if style.pad in removed else style.pad,
        bass=None if style.bass in removed else style.bass,
        drums=None if any(word in DRUMS for word in refused) else style.drums,
    )
