"""`audio_generation`: a prompt becomes sound.

What every generator is asked (`AudioRequest`) and what it answers (`GeneratedAudio`). A generator has one verb,
`generate(request, *, on_step)`; see `audioldm2.py` for the paper's and `models/sketch/` for the drafts.
"""

from collections.abc import Callable
from dataclasses import dataclass

from models.audio import Audio
from models.record import Mood

OnStep = Callable[[int, int], None]
"""Called as on_step(step, steps) after every step. Raising `models.errors.Cancelled` from it stops the generation."""


@dataclass(frozen=True)
class AudioRequest:
    """What is to be made. None leaves the choice to the model."""

    prompt: str
    seconds: float
    seed: int
    negative_prompt: str = ""
    steps: int | None = None
    guidance: float | None = None
    candidates: int = 1
    mood: Mood | None = None
    """For models that can use it beside the words."""


@dataclass(frozen=True)
class GeneratedAudio:
    """What was made, and how."""

    audio: Audio
    """As it comes out of the model: its own rate and channels. At least as long as asked, to one sample of that rate."""
    steps: int | None
    """Steps taken; None for a model without."""
    guidance: float | None
    score: float | None = None
    """CLAP similarity of prompt and sound, when candidates were ranked."""
    prompt_words_unread: int = 0


def nothing_to_report(step: int, steps: int) -> None:
    """An `OnStep` that ignores its calls."""
