"""Sound effects without a model: the layers that a prompt names, made by subtractive and granular synthesis."""

import itertools
import zlib
from collections.abc import Callable
from typing import Self

import numpy as np

from models.audio import Audio
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.audio_generation.scenes import Scene, crossed, in_turn, scenes, to_make
from models.sketch import SketchAudioSettings, animals, nature, town
from models.sketch.foley_words import Part, plan
from models.sketch.synthesis import RATE, Array, Canvas, Track, blocks

MODEL = "sketch/foley"

# Every layer, with the dB that bring it beside the others: a sea louder than a clock, as loud as people expect them.
_LAYERS: dict[Callable[[Track], None], float] = {
    nature.air: -3, nature.wind: 1, nature.leaves: -1, nature.rain: -3, nature.roof: -6, nature.thunder: 0,
    nature.surf: -4, nature.lapping: 2, nature.stream: -3, nature.waterfall: -7, nature.fire: 2,
    nature.underwater: -4,
    animals.birds: -6, animals.gulls: 4, animals.crickets: 5, animals.dog: -2, animals.cat: 1,
    animals.cattle: 0, animals.sheep: -1,
    town.room: -4, town.traffic: -3, town.engine: -1, town.train: -2, town.aircraft: -5, town.crowd: 2,
    town.applause: -5, town.footsteps: 0, town.crunch: -3, town.hooves: 2, town.tableware: 1,
    town.keyboard: 4, town.clock: 7, town.bell: 1,
}  # fmt: skip
LAYERS = {make.__name__: (make, level_db) for make, level_db in _LAYERS.items()}

FLOOR_DB = -10.0  # of the air that lies under everything
KNEE, CEILING = 0.6, 0.95  # peaks above the first are bent so that none exceeds the second
FADE = 0.02  # seconds, at both ends


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
        """The soundscapes of the request's scenes. A prompt that names no sound gives the open air, never silence.

        The same request gives the same samples. Layers are drawn apart: the birds sing the same song with rain and without. Scenes
        are too, each from the seed and its place. Levels are what they are in nature, not brought to a common loudness. `on_step`
        counts the layers and the stretches of 11 s of all scenes.
        """
        length = max(1, round(request.seconds * RATE))
        parts = scenes(request, samples=length, rate=RATE)
        steps = sum(len(_layers(scene, request.negative_prompt)) + blocks(to_make(scene, rate=RATE)) for scene in parts)
        done = itertools.count(1)

        def make(scene: Scene, samples: int) -> Array:
            return _soundscape(scene, samples, request=request, on_step=lambda: on_step(next(done), steps))

        whole = crossed(in_turn(parts, make, rate=RATE), samples=length)
        _bend(whole)
        if not request.loop:
            _fade(whole)
        return GeneratedAudio(Audio(whole, RATE), steps=None, guidance=None, loops=request.loop)


def _soundscape(scene: Scene, samples: int, *, request: AudioRequest, on_step: Callable[[], None]) -> Array:
    """One scene: (2, samples), its peaks as high as they come."""
    canvas = Canvas(samples / RATE)
    for part in _layers(scene, request.negative_prompt):
        rng = np.random.default_rng((scene.seed, zlib.crc32(part.layer.encode()), scene.border))
        make, level_db = LAYERS[part.layer]
        make(Track(canvas, rng, gain=10 ** ((level_db + part.level_db) / 20)))
        on_step()
    for _ in canvas.paint(np.random.default_rng((scene.seed, 0, scene.border))):
        on_step()
    return canvas.samples


def _layers(scene: Scene, refused: str) -> tuple[Part, ...]:
    parts = plan(scene.prompt, refused)
    if not {"air", "room"} & {part.layer for part in parts}:
        parts = (*parts, Part("air", FLOOR_DB if parts else 0))
    return parts


def _bend(samples: Array) -> None:
    """Bend the peaks, in place and in pieces: half an hour is large enough once."""
    for start in range(0, samples.shape[1], 10 * RATE):
        piece = samples[:, start : start + 10 * RATE]
        above = np.abs(piece) > KNEE
        loud = piece[above]
        piece[above] = np.sign(loud) * (KNEE + (CEILING - KNEE) * np.tanh((np.abs(loud) - KNEE) / (CEILING - KNEE)))


def _fade(samples: Array) -> None:
    """Fade the ends, in place."""
    edge = np.linspace(0, 1, min(round(FADE * RATE), samples.shape[1] // 2), dtype=np.float32) ** 2
    samples[:, : len(edge)] *= edge
    samples[:, samples.shape[1] - len(edge) :] *= edge[::-1]
