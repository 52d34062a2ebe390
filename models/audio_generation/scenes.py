"""A sound whose prompt changes: every scene is a track of its own, and the tracks are cross-faded.

They could be one latent, in which the windows on either side of a border see each other. Then a change of one scene's prompt would
change the others' sound too, window by window: but who rewrites one scene wants the others as they were. So no scene knows of
another, and nothing is measured over all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.audio import Samples, folded, loop_surplus
from models.audio_generation import AudioRequest
from models.record import Mood

HARD_SECONDS = 0.005
"""The shortest crossing. A change that is to be hard takes this long: the ear hears no fade yet, and no click any more."""


@dataclass(frozen=True)
class Scene:
    """One prompt, and the samples in which it is heard. Where two scenes cross, both are."""

    prompt: str
    start: int
    """Negative in a loop whose first scene begins before its last has ended."""
    end: int
    rise: int
    """Samples at the beginning that are shared with the scene before."""
    fall: int
    """Samples at the end that are shared with the scene behind."""
    circular: bool = False
    """Whether the scene is all of a loop, and so crosses with itself."""
    mood: Mood | None = None
    seed: int = 0
    """What its noise is drawn from: that of its take."""

    @property
    def border(self) -> int:
        """The sample at which the scene takes over from the one before: the middle of their crossing."""
        return self.start + self.rise // 2


def scenes(request: AudioRequest, *, samples: int, rate: int) -> list[Scene]:
    """The scenes of a request's timeline, over so many samples at `rate` Hz.

    Neighbouring scenes share the seconds that the request says, half on either side of the border: less where a scene is shorter
    than twice that, and at least `HARD_SECONDS`.
    """
    starts = [round(seconds * rate) for seconds, _ in request.timeline]
    ends = [min(start, samples) for start in (*starts[1:], samples)]
    asked = zip(request.timeline, request.moods, request.seeds, strict=True)
    heard = [
        Scene(prompt, start, end, 0, 0, mood=mood, seed=seed)
        for start, end, ((_, prompt), mood, seed) in zip(starts, ends, asked, strict=True)
        if start < end
    ]
    lengths = [scene.end - scene.start for scene in heard]
    crossing = round(max(request.crossing_seconds, HARD_SECONDS) * rate)
    halves = [
        min(crossing, before // 2, after // 2) // 2
        for before, after in zip(lengths, [*lengths[1:], lengths[0]], strict=True)
    ]
    if request.loop and len(heard) == 1:
        return [replace(heard[0], circular=True)]
    if not request.loop:
        halves[-1] = 0
    return [
        replace(scene, start=scene.start - before, end=scene.end + after, rise=2 * before, fall=2 * after)
        for scene, before, after in zip(heard, [halves[-1], *halves[:-1]], halves, strict=True)
    ]


def in_turn(
    parts: Sequence[Scene], make: Callable[[Scene, int], Samples], *, rate: int
) -> Iterator[tuple[Scene, Samples]]:
    """The scenes' sounds, one after another, as make(scene, samples) gives them: (channels, samples).

    One that is all of a loop is made longer, and what is too much goes over into its beginning.
    """
    for scene in parts:
        yield scene, folded(make(scene, to_make(scene, rate=rate)), scene.end - scene.start)


def to_make(scene: Scene, *, rate: int) -> int:
    """How many samples `in_turn` asks for."""
    length = scene.end - scene.start
    return length + round(loop_surplus(length / rate) * rate) if scene.circular else length


def crossed(parts: Iterable[tuple[Scene, Samples]], *, samples: int) -> Samples:
    """The scenes' sounds in their order, each (channels, samples) from its start to its end, as one: (channels, samples).

    Cross-fades keep the power where both sides have the same, whether their sounds are alike (they begin with the same noise) or
    not. Where both are loud, that may exceed full scale. A sound is let go before the next is asked for; one that is alone is
    the whole.
    """
    whole: Samples | None = None
    opening = fading = np.zeros((1, 0), np.float32)
    first = 0
    for scene, sound in parts:
        length = scene.end - scene.start
        if length == samples and not scene.rise + scene.fall:
            return sound
        if whole is None:
            whole, first = np.zeros((len(sound), samples), np.float32), scene.start
            opening = sound[:, : scene.rise].copy()  # of a loop: crosses with what comes last
        elif scene.rise:
            _put(whole, _faded(fading, sound[:, : scene.rise]), scene.start)
        _put(whole, sound[:, scene.rise : length - scene.fall], scene.start + scene.rise)
        fading = sound[:, length - scene.fall :].copy()
        del sound
    assert whole is not None
    if opening.size:
        _put(whole, _faded(fading, opening), first)
    return whole


def _put(whole: Samples, sound: Samples, start: int) -> None:
    """In place: a stretch of the whole, which in a loop may go round its end."""
    samples = whole.shape[1]
    for begin in (start, start + samples, start - samples):
        into = slice(max(0, begin), min(begin + sound.shape[1], samples))
        if into.start < into.stop:
            whole[:, into] = sound[:, into.start - begin : into.stop - begin]


def _faded(out: Samples, into: Samples) -> Samples:
    """From one to the other. Gains of cos and sin keep the power of sounds that are unrelated, and raise that of sounds alike."""
    angle = np.pi / 2 * (np.arange(out.shape[1]) + 0.5) / out.shape[1]
    alike = float(np.vdot(out, into)) / (float(np.linalg.norm(out)) * float(np.linalg.norm(into)) + 1e-9)
    gain = 1 / np.sqrt(1 + max(0.0, alike) * np.sin(2 * angle))
    faded: Samples = (gain * (np.cos(angle) * out + np.sin(angle) * into)).astype(np.float32)
    return faded
