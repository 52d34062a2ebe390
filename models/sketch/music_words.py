"""The words by which music is asked for, and how they are found in a prompt."""

import re
from dataclasses import dataclass
from typing import Literal

from models.sketch.harmony import Mode

Instrument = Literal[
    "piano", "electric piano", "guitar", "harp", "bell", "marimba", "flute", "strings", "horn", "pad", "bass"
]

# Word → valence and arousal; None where the word says nothing about it.
MOODS: dict[str, tuple[float | None, float | None]] = {
    "sad": (-0.7, -0.4), "melancholic": (-0.6, -0.4), "melancholy": (-0.6, -0.4), "sorrowful": (-0.8, -0.4),
    "lonely": (-0.6, -0.5), "mournful": (-0.8, -0.5), "nostalgic": (-0.25, -0.3), "gloomy": (-0.7, -0.3),
    "dark": (-0.7, None), "sombre": (-0.7, -0.4), "somber": (-0.7, -0.4), "eerie": (-0.7, -0.1), "mysterious": (-0.4, -0.2),
    "scary": (-0.9, 0.3), "creepy": (-0.8, -0.1), "horror": (-0.9, 0.2), "ominous": (-0.8, 0.0), "sinister": (-0.8, 0.1),
    "tense": (-0.6, 0.6), "suspense": (-0.6, 0.4), "suspenseful": (-0.6, 0.4), "anxious": (-0.6, 0.5),
    "dramatic": (-0.4, 0.6), "angry": (-0.8, 0.8), "aggressive": (-0.6, 0.9), "furious": (-0.8, 0.9), "stormy": (-0.5, 0.6),
    "calm": (None, -0.7), "peaceful": (0.5, -0.7), "serene": (0.5, -0.7), "relaxing": (0.4, -0.7), "relaxed": (0.4, -0.6),
    "gentle": (0.3, -0.6), "soft": (None, -0.6), "quiet": (None, -0.7), "tranquil": (0.4, -0.8), "soothing": (0.4, -0.7),
    "dreamy": (0.4, -0.6), "meditative": (0.3, -0.8), "meditation": (0.3, -0.8), "sleepy": (0.2, -0.8), "tender": (0.4, -0.5),
    "warm": (0.4, None), "romantic": (0.5, -0.3), "hopeful": (0.5, 0.1), "hope": (0.5, 0.1), "inspiring": (0.6, 0.4),
    "uplifting": (0.7, 0.4), "bright": (0.5, None), "sunny": (0.7, None), "light hearted": (0.7, 0.3), "happy": (0.8, 0.4),
    "joyful": (0.8, 0.5), "joyous": (0.8, 0.5), "cheerful": (0.8, 0.4), "playful": (0.7, 0.4), "funny": (0.6, 0.4),
    "triumphant": (0.7, 0.8), "heroic": (0.5, 0.8), "epic": (None, 0.8), "powerful": (None, 0.8), "energetic": (None, 0.8),
    "exciting": (0.4, 0.8), "lively": (0.5, 0.7), "upbeat": (0.6, 0.6), "driving": (None, 0.7), "intense": (None, 0.8),
    "festive": (0.7, 0.6),
}  # fmt: skip

# Word → the instrument meant, then what else goes when the word is refused.
INSTRUMENTS: dict[str, tuple[Instrument, ...]] = {
    "piano": ("piano", "electric piano"), "electric piano": ("electric piano",), "rhodes": ("electric piano",),
    "guitar": ("guitar",), "ukulele": ("guitar",), "banjo": ("guitar",), "lute": ("guitar",), "harp": ("harp",),
    "bell": ("bell",), "music box": ("bell",), "glockenspiel": ("bell",), "celesta": ("bell",), "chime": ("bell",),
    "vibraphone": ("bell",), "marimba": ("marimba",), "xylophone": ("marimba",), "kalimba": ("marimba",),
    "flute": ("flute",), "whistle": ("flute",), "clarinet": ("flute",), "oboe": ("flute",), "strings": ("strings",),
    "violin": ("strings",), "cello": ("strings",), "orchestra": ("strings",), "orchestral": ("strings",),
    "brass": ("horn",), "french horn": ("horn",), "trumpet": ("horn",), "trombone": ("horn",),
    "pad": ("pad",), "synth": ("pad",), "synthesizer": ("pad",), "bass": ("bass",), "bassline": ("bass",),
}  # fmt: skip
DRUMS = ("drum", "percussion", "percussive", "beat", "cymbal", "snare")

TEMPI: dict[str, float] = {
    "slow": 62, "very slow": 50, "largo": 50, "adagio": 64, "andante": 80, "moderate": 96, "medium": 96,
    "allegro": 132, "fast": 140, "quick": 136, "very fast": 160, "presto": 168, "uptempo": 132, "up tempo": 132,
}  # fmt: skip
MODES: dict[str, Mode] = {
    "major": "major", "minor": "minor", "dorian": "dorian", "lydian": "lydian", "mixolydian": "mixolydian",
}  # fmt: skip


# Only words that hardly ever name a thing in a picture: "rock" and "house" do.
GENRES: dict[str, str] = {
    "ambient": "ambient", "new age": "ambient", "jazz": "jazz", "jazzy": "jazz", "swing music": "jazz",
    "bossa nova": "jazz", "blues": "jazz", "lofi": "lofi", "lo fi": "lofi", "chillhop": "lofi", "chill": "lofi",
    "hip hop": "lofi", "lullaby": "lullaby", "waltz": "waltz", "epic": "epic", "heroic": "epic", "trailer music": "epic",
    "orchestral": "orchestral", "orchestra": "orchestral", "cinematic": "orchestral", "symphonic": "orchestral",
    "electronic": "electronic", "techno": "electronic", "edm": "electronic", "house music": "electronic",
    "dance music": "electronic", "synthwave": "electronic", "trance": "electronic", "folk": "folk", "acoustic": "folk",
    "country music": "folk", "bluegrass": "folk", "celtic": "celtic", "irish": "celtic", "medieval": "celtic",
    "classical": "classical", "baroque": "classical", "chamber music": "classical", "rock music": "rock",
    "rock song": "rock", "rock guitar": "rock", "pop music": "rock", "pop song": "rock", "funk": "rock", "punk": "rock",
}  # fmt: skip

_VOCABULARY = frozenset((*MOODS, *INSTRUMENTS, *DRUMS, *TEMPI, *MODES, *GENRES, "solo", "music box"))
_NEGATIONS = frozenset(("no", "not", "without", "never", "nor", "avoid"))
_LINKS = frozenset(("and", "or", "any", "the", "a", "an", "too", "very"))


@dataclass(frozen=True)
class Term:
    """A known word of a prompt."""

    word: str
    negated: bool
    """As in "no …" and "without … and …"."""
    leads: bool
    """In the first sentence: where a prompt has the user's own words, they stand there."""


def terms(text: str) -> list[Term]:
    """The known words of a text in order; of two that begin alike, the longer."""
    words = re.findall(r"[a-z]+|[,.;:!?]", text.lower())
    found: list[Term] = []
    negated, leads = False, True
    at = 0
    while at < len(words):
        pair = " ".join(words[at : at + 2])
        forms = (pair, pair.removesuffix("s"), words[at], words[at].removesuffix("s"))
        known = next((form for form in forms if form in _VOCABULARY), None)
        if known:
            found.append(Term(known, negated, leads))
        elif words[at] in _NEGATIONS:
            negated = True
        elif words[at] not in _LINKS:
            negated = False
            leads = leads and words[at] not in (".", "!", "?")
        at += 2 if known and " " in known else 1
    return found
