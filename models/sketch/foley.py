"""Sound effects without a model: the layers that a prompt names, made by subtractive and granular synthesis."""

import zlib
from collections.abc import Callable
from typing import Self

import numpy as np

from models.audio import Audio
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.sketch import SketchAudioSettings, animals, nature, town
from models.sketch.foley_words import Part, plan
from models.sketch.synthesis import RATE, Array, Canvas, Track

MODEL = "sketch/foley"

LAYERS: dict[str, Callable[[Track], None]] = {
    layer.__name__: layer
    for layer in (
        nature.air, nature.wind, nature.leaves, nature.rain, nature.roof, nature.thunder, nature.surf, nature.lapping,
        nature.stream, nature.waterfall, nature.fire, nature.underwater,
        animals.birds, animals.gulls, animals.crickets, animals.dog, animals.cat, animals.cattle, animals.sheep,
        town.room, town.traffic, town.engine, town.train, town.aircraft, town.crowd, town.applause, town.footsteps,
        town.crunch, town.hooves, town.tableware, town.keyboard, town.clock, town.bell,
    )
}  # fmt: skip

LEVEL = 0.1  # RMS of the result, -20 dBFS
KNEE, CEILING = 0.55, 0.95  # peaks above the first are bent so that none exceeds the second
FADE = 0.02  # seconds, at both ends
FLOOR_DB = -6.0  # of the air that lies under everything


class FoleyGenerator:
    """Makes soundscapes: 48 kHz, stereo."""

    model = MODEL
    device = "cpu"
    licence: str | None = None

    @classmethod
    def load(cls, settings: SketchAudioSettings) -> Self:
        """Nothing is read from disk."""
        return cls()

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        """The soundscape of the request's prompt. What names no sound gives the open air, never silence.

        The same request gives the same samples. A layer sounds the same whatever accompanies it.
        """
        parts = plan(request.prompt, request.negative_prompt)
        if not {"air", "room"} & {part.layer for part in parts}:
            parts = (*parts, Part("air", FLOOR_DB))
        canvas = Canvas(request.seconds)
        steps = len(parts) + canvas.blocks
        for step, part in enumerate(parts, start=1):
            rng = np.random.default_rng((request.seed, zlib.crc32(part.layer.encode())))
            LAYERS[part.layer](Track(canvas, rng, gain=10 ** (part.level_db / 20)))
            on_step(step, steps)
        for block in canvas.paint(np.random.default_rng(request.seed)):
            on_step(len(parts) + block, steps)
        _finish(canvas.samples)
        return GeneratedAudio(Audio(canvas.samples, RATE), steps=None, guidance=None)


def _finish(samples: Array) -> None:
    """Bring to level, bend the peaks and fade the ends, in place and in pieces: a piece of half an hour is large enough once."""
    pieces = [samples[:, start : start + 10 * RATE] for start in range(0, samples.shape[1], 10 * RATE)]
    power = sum(float(np.square(piece).sum(dtype=np.float64)) for piece in pieces) / samples.size
    for piece in pieces:
        piece *= np.float32(LEVEL / np.sqrt(power))
        above = np.abs(piece) > KNEE
        loud = piece[above]
        piece[above] = np.sign(loud) * (KNEE + (CEILING - KNEE) * np.tanh((np.abs(loud) - KNEE) / (CEILING - KNEE)))
    edge = np.linspace(0, 1, min(round(FADE * RATE), samples.shape[1] // 2), dtype=np.float32) ** 2
    samples[:, : len(edge)] *= edge
    samples[:, samples.shape[1] - len(edge) :] *= edge[::-1]
