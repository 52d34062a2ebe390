"""A generator that can all that it may be asked for, and takes no time over it."""

from dataclasses import dataclass, field

import numpy as np

from models.audio import Audio
from models.audio_generation import AudioRequest, Candidate, GeneratedAudio, OnStep

RATE = 8000


@dataclass
class Model:
    """Makes a sound of another loudness for every candidate, and likes the second best, if there are several."""

    can: bool = True
    """Whether it does all that it is asked for, or makes one plain sound."""
    unread: int = 0
    asked: list[AudioRequest] = field(default_factory=list)
    model: str = "test"

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        self.asked.append(request)
        several = self.can and request.candidates > 1
        sounds = [sound(0.1 * number, seconds=request.seconds) for number in range(1, request.candidates + 1)]
        scores = [0.4 if number == 1 else 0.1 for number in range(request.candidates)]
        kept = [made if request.keep_candidates else None for made in sounds]
        return GeneratedAudio(
            sounds[1 if several else 0],
            steps=20,
            guidance=3.5,
            candidates=tuple(map(Candidate, scores, kept)) if several else (),
            chosen=1 if several else 0,
            prompt_words_unread=self.unread,
            loops=request.loop and self.can,
            listened=request.reference is not None and self.can,
        )


def sound(level: float, *, seconds: float) -> Audio:
    return Audio(np.full((1, round(seconds * RATE)), level, np.float32), RATE)
