"""`audio_generation`: a prompt becomes sound.

What every generator is asked (`AudioRequest`) and what it answers (`GeneratedAudio`). A generator has one verb,
`generate(request, *, on_step)`; see `audioldm2.py` for the paper's and `models/sketch/` for the drafts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.audio import Audio
from models.record import Mood

OnStep = Callable[[int, int], None]
"""Called as on_step(step, steps) after every step. Raising `models.errors.Cancelled` from it stops the generation."""

WINDOW_SECONDS = 10.24
"""Of sound in a window. Audio's work is counted in windows: what AudioLDM2 learnt on, and is never given more of at once."""


@dataclass(frozen=True)
class AudioRequest:
    """What is to be made. None leaves the choice to the model."""

    prompt: str
    seconds: float
    seed: int
    negative_prompt: str = ""
    later_prompts: tuple[tuple[float, str], ...] = ()
    """(seconds, prompt): from then on another prompt is heard. In order, all within the sound."""
    later_moods: tuple[Mood | None, ...] = ()
    """Beside each of `later_prompts`, as `mood` is beside `prompt`; none at all where no mood is known."""
    later_takes: tuple[int, ...] = ()
    """Beside each of `later_prompts`, as `take` is beside `prompt`; none at all where all are 0."""
    crossing_seconds: float = 1
    """How long two neighbouring scenes are heard together; less where one is shorter than twice that."""
    steps: int | None = None
    guidance: float | None = None
    candidates: int = 1
    keep_candidates: bool = False
    """Whether the answer holds the sound of all candidates, or the best one's alone."""
    loop: bool = False
    """Whether the end is to go over into the beginning."""
    reference: Path | None = None
    """A sound file that the result is to sound like, for models that can listen."""
    reference_weight: float = 0.5
    """How much the reference counts beside the words, from 0 to 1."""
    mood: Mood | None = None
    """For models that can use it beside the words."""
    take: int = 0
    """Which sound of the prompt: another number begins with other noise. 0 begins with that of the seed itself."""

    def samples(self, rate: int) -> int:
        """How many samples at `rate` Hz are made: no fewer than asked for; of a loop, as many, to the nearest."""
        return max(1, round(self.seconds * rate) if self.loop else math.ceil(self.seconds * rate - 1e-6))

    @property
    def timeline(self) -> tuple[tuple[float, str], ...]:
        """(seconds, prompt) of every scene, from the first, which begins at 0."""
        return (0.0, self.prompt), *self.later_prompts

    @property
    def moods(self) -> tuple[Mood | None, ...]:
        """The mood of every scene of the timeline."""
        return self.mood, *(self.later_moods or (None,) * len(self.later_prompts))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seed of every scene of the timeline: that of its take."""
        takes = self.take, *(self.later_takes or (0,) * len(self.later_prompts))
        return tuple(_seed_of_take(self.seed, take) for take in takes)


@dataclass(frozen=True)
class Candidate:
    """One of several sounds made for the same request."""

    score: float | None
    """CLAP similarity of prompt and sound, in [-1, 1]; None where nothing was ranked."""
    audio: Audio | None
    """None unless candidates are kept."""


@dataclass(frozen=True)
class GeneratedAudio:
    """What was made, and how."""

    audio: Audio
    """As it comes out of the model: its own rate and channels. At least as long as asked, to one sample of that rate."""
    steps: int | None
    """Steps taken; None for a model without."""
    guidance: float | None
    candidates: tuple[Candidate, ...] = ()
    """In the order in which they were made; none where there was only one."""
    chosen: int = 0
    """Which candidate `audio` is."""
    prompt_words_unread: int = 0
    """Words at a prompt's end that did not fit the model: of the scene where most did not."""
    negative_words_unread: int = 0
    """Words at the negative prompt's end that did not."""
    loops: bool = False
    """Whether the end goes over into the beginning."""
    listened: bool = False
    """Whether the reference was heard."""

    @property
    def score(self) -> float | None:
        """Of the chosen candidate; None where nothing was ranked."""
        return self.candidates[self.chosen].score if self.candidates else None


def _seed_of_take(seed: int, take: int) -> int:
    """Of take 0 the seed itself, of others one of 64 bits, which no other take and no other stem is likely to have."""
    if not take:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(take,)).generate_state(1, np.uint64)[0])


def nothing_to_report(step: int, steps: int) -> None:
    """An `OnStep` that ignores its calls."""
