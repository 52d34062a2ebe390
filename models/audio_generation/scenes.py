"""A sound whose prompt changes: every scene is a track of its own, and the tracks are cross-faded.

They could be one latent, in which the windows on either side of a border see each other. Then a change of one scene's prompt would
change the others' sound too, window by window: but who rewrites one scene wants the others as they were. The scenes of one sound
have their noise in common: at the same time it is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.audio import Samples


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


def scenes(
    timeline: Sequence[tuple[float, str]], *, samples: int, rate: int, crossing: float, loop: bool
) -> list[Scene]:
    """The scenes of a timeline of (seconds, prompt), which begins at 0, over so many samples at `rate` Hz.

    crossing: seconds that neighbouring scenes share, half on either side of the border; less where a scene is shorter than twice
    that.
    """
    starts = [round(seconds * rate) for seconds, _ in timeline]
    pairs = [
        (start, end, prompt)
        for start, end, (_, prompt) in zip(starts, [*starts[1:], samples], timeline, strict=True)
        if start < end
    ]
    lengths = [end - start for start, end, _ in pairs]
    halves = [
        min(round(crossing * rate), before // 2, after // 2) // 2
        for before, after in zip(lengths, [*lengths[1:], lengths[0]], strict=True)
    ]
    if loop and len(pairs) == 1:
        return [Scene(pairs[0][2], 0, samples, 0, 0, circular=True)]
    if not loop:
        halves[-1] = 0
    return [
        Scene(prompt, start - before, end + after, 2 * before, 2 * after)
        for (start, end, prompt), before, after in zip(pairs, [halves[-1], *halves[:-1]], halves, strict=True)
    ]


def crossed(parts: Sequence[tuple[Scene, Samples]], *, samples: int) -> Samples:
    """The scenes' sounds, each from its start to its end, as one: (samples,), within [-1, 1].

    Cross-fades keep the power where both sides have the same, whether their sounds are alike (they begin with the same noise) or
    not.
    """
    whole = np.zeros(samples, np.float32)
    before = parts[-1]
    for scene, part in parts:
        fading, sound = before[1][len(before[1]) - scene.rise :], part[: len(part) - scene.fall].copy()
        if scene.rise:
            sound[: scene.rise] = _faded(fading, sound[: scene.rise])
        for start in (scene.start, scene.start + samples, scene.start - samples):  # in a loop, it may go round the end
            into = slice(max(0, start), min(start + len(sound), samples))
            if into.start < into.stop:
                whole[into] = sound[into.start - start : into.stop - start]
        before = scene, part
    return np.clip(whole, -1, 1, out=whole)


def _faded(out: Samples, into: Samples) -> Samples:
    """From one to the other. Gains of cos and sin keep the power of sounds that are unrelated, and raise that of sounds alike."""
    angle = np.pi / 2 * (np.arange(len(out)) + 0.5) / len(out)
    alike = float(np.vdot(out, into)) / (float(np.linalg.norm(out)) * float(np.linalg.norm(into)) + 1e-9)
    gain = 1 / np.sqrt(1 + max(0.0, alike) * np.sin(2 * angle))
    faded: Samples = (gain * (np.cos(angle) * out + np.sin(angle) * into)).astype(np.float32)
    return faded
