"""The vision modules without weights: tags, the frame that stands for the video, a sentence and a mood.

All from colour, texture, layout and the differences between frames; see `tags.py` for what is told apart, and how.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field

from models import work
from models.errors import MissingOutput
from models.frame_description import Description, Shot
from models.frame_selection import Selection
from models.record import DetectedObject, FrameObjects, Mood
from models.scenes import divide, medoid
from models.schema import ModuleSettings
from models.sketch.grid import Array, Grid, measure
from models.sketch.tags import find_tags

MODEL = "sketch/scene"

COARSE = (9, 16)
"""Rows and columns on which frames are compared: a slow pan moves less than a cell, a cut changes all of them."""

# Tags as they stand in a sentence, in the order in which they are named.
_THINGS = {
    "fire": "a fire",
    "crowd": "a crowd",
    "water": "water",
    "sand": "sand",
    "vegetation": "vegetation",
    "buildings": "buildings",
    "snow": "snow",
    "road": "a road",
    "lights": "lights",
}


class SketchSceneSettings(ModuleSettings):
    """How the scene is looked at."""

    kind: Literal["sketch"] = "sketch"
    confidence: float = Field(0.25, ge=0.01, le=1)
    """Lowest score of a tag that counts."""


class _Sketch:
    model = MODEL
    device = "cpu"
    licence: str | None = None

    def __init__(self, settings: SketchSceneSettings) -> None:
        self.confidence = settings.confidence

    @classmethod
    def load(cls, settings: SketchSceneSettings) -> Self:
        """Nothing is read from disk."""
        return cls(settings)


class SceneDetector(_Sketch):
    """Tags a picture's regions: sky, vegetation, water, buildings, snow, road, sand, night, lights, fire, sunset, crowd, indoor."""

    def detect(self, images: Sequence[Path]) -> list[FrameObjects]:
        """The tags of each image, in the images' order; `frame` is the position in `images`. Raises DamagedMedia."""
        grids = []
        for done, image in enumerate(images):
            work.step(done, len(images))
            grids.append(measure(image))
        return [
            FrameObjects(
                frame=frame,
                width=grid.width,
                height=grid.height,
                objects=find_tags(grid, confidence=self.confidence),
            )
            for frame, grid in enumerate(grids)
        ]


class SceneSelector(_Sketch):
    """Selects the medoid of the frames' colours and textures, of all or of each scene."""

    @classmethod
    def load(cls, settings: SketchSceneSettings) -> Self:
        """Nothing is read from disk, but the library that finds the medoid takes seconds to import: not during the first run."""
        medoid(np.zeros((1, 1)))
        return cls(settings)

    def select(self, images: Sequence[Path], *, scenes: int | Literal["auto"] = 1) -> Selection:
        """Of each scene, the frame most like all its others; the latent is (5, 9, 16).

        scenes: how many; `auto` as many as there are, see `models.scenes.divide`. Raises DamagedMedia, and MissingOutput
        without an image.
        """
        if not images:
            raise MissingOutput("there is no frame to select from")
        latents = np.stack([_latent(image) for image in images])
        return Selection(divide(latents.reshape(len(images), -1), scenes), latent_shape=latents.shape[1:])


class SceneDescriber(_Sketch):
    """Describes a frame in one sentence, and measures its mood."""

    question: str | None = None

    def describe(self, shots: Sequence[Shot]) -> list[Description]:
        """A sentence and a mood for each shot, in the shots' order. `others` tell how much moves. Raises DamagedMedia."""
        return [self._describe(shot) for shot in shots]

    def _describe(self, shot: Shot) -> Description:
        grid = measure(shot.frame)
        movement = motion(shot) if shot.others else None
        mood = measure_mood(grid, movement=movement)
        tags = find_tags(grid, confidence=self.confidence)
        return Description(sentence(tags, adjectives(grid, mood)), mood)


def motion(shot: Shot) -> float:
    """How much moves around a shot, from 0 (nothing) to 1 (other pictures altogether).

    The mean difference from the two most similar other frames, which are its neighbours in time, or as good: a cut is no motion.
    1 is what two unrelated pictures of the same contrast differ by.
    """
    here = _lightness(shot.frame)
    there = [_lightness(other) for other in shot.others]
    unrelated = [1.13 * float(np.sqrt((here.var() + other.var()) / 2)) + 0.02 for other in there]
    differences = [float(np.abs(here - other).mean()) / scale for other, scale in zip(there, unrelated, strict=True)]
    return min(sum(sorted(differences)[:2]) / min(len(differences), 2), 1.0)


def measure_mood(grid: Grid, *, movement: float | None) -> Mood:
    """Valence and arousal from brightness, saturation and warmth, and from motion where it is known.

    Brightness and saturation weigh as people judged single colours: pleasure = .69 B + .22 S, arousal = -.31 B + .60 S
    (Valdez and Mehrabian, Effects of Color on Emotions, 1994).
    """
    brightness = (float(grid.light.mean()) - 0.5) / 0.25
    saturation = (float(grid.chroma.mean()) - 20) / 20
    warmth = float(np.tanh((grid.yellow.mean() + 0.5 * grid.red.mean()) / 20))
    valence = 0.8 * (0.69 * brightness + 0.22 * saturation) + 0.35 * warmth
    # A whole picture stirs less than a patch of colour that fills the eye; what moves stirs more.
    arousal = 0.4 * (-0.31 * brightness + 0.6 * saturation)
    if movement is not None:
        arousal += 1.8 * movement - 0.45
    return Mood(valence=round(float(np.tanh(valence)), 3), arousal=round(float(np.tanh(arousal)), 3))


def adjectives(grid: Grid, mood: Mood) -> list[str]:
    """At most three: of brightness, of colour, of energy."""
    light, chroma = float(grid.light.mean()), float(grid.chroma.mean())
    yellow, red = float(grid.yellow.mean()), float(grid.red.mean())
    words = [
        "dark" if light < 0.22 else "dim" if light < 0.38 else "bright" if light > 0.6 else "",
        "colourless" if np.quantile(grid.chroma, 0.9) < 5
        else "warm" if yellow > 12 and red > 2
        else "cool" if yellow < -8
        else "colourful" if chroma > 35
        else "muted" if chroma < 9
        else "",
        "calm" if mood.arousal < -0.12 else "lively" if mood.arousal > 0.35 else "",
    ]  # fmt: skip
    return [word for word in words if word]


def sentence(tags: Sequence[DetectedObject], words: Sequence[str]) -> str:
    """What is seen, in one English sentence, such as "A bright, calm scene with sky above water and sand."."""
    labels = {tag.label for tag in tags}
    place = next((f"{label} scene" for label in ("night", "indoor") if label in labels), "scene")
    things = [thing for label, thing in _THINGS.items() if label in labels]
    sky = "a sunset sky" if "sunset" in labels else "sky" if "sky" in labels else ""
    ground = " and ".join(filter(None, (", ".join(things[:-1]), *things[-1:])))
    seen = " above ".join(filter(None, (sky, ground)))
    start = " ".join(filter(None, (", ".join(words), place)))
    article = "An" if start[0] in "aeiou" else "A"
    return f"{article} {start}{' with ' if seen else ''}{seen}."


def _latent(image: Path) -> Array:
    grid = measure(image, shape=COARSE)
    return np.stack((2 * grid.light, grid.red / 50, grid.yellow / 50, 4 * grid.rough, grid.straight))


def _lightness(image: Path) -> Array:
    return measure(image, shape=COARSE).light
