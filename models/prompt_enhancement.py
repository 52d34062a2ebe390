"""`prompt_enhancement`: the prompts for the audio models, made of the description, the objects and the user's own words."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from models.record import Box, FrameObjects, Options, PromptEnhancement, ScenePrompts
from models.schema import Frozen

_ENDS = (".", "!", "?", "…", "。", "！", "？")
_CLOSING = "\"'”’)"
_LOOSE = " ,;:.。"


def _only(*allowed: str) -> AfterValidator:
    """Refuses templates with placeholders other than these."""
    may_have = f"it may have {', '.join(f'{{{name}}}' for name in allowed)}"

    def check(template: tuple[str, ...]) -> tuple[str, ...]:
        for sentence in template:
            try:
                fields = list(Formatter().parse(sentence))
            except ValueError as error:
                raise ValueError(f"the template {sentence!r} has a loose brace ({error}); {may_have}") from error
            for _, name, spec, conversion in fields:
                if name is not None and (name not in allowed or spec or conversion):
                    found = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
                    raise ValueError(f"the template {sentence!r} has {{{found}}}; {may_have}")
        return template

    return AfterValidator(check)


Template = Annotated[tuple[str, ...], _only("words", "description", "objects")]
"""Sentences. One with a placeholder for which there is nothing is left out, so nothing dangles."""


class PromptEnhancementSettings(Frozen):
    """The templates. {words}: the user's own. {description}: of the selected frame. {objects}: what the video shows most of."""

    music: Template = (
        "{words}",
        "Instrumental music, clear and of high quality",
        "It fits this scene: {description}",
        "In view: {objects}",
    )
    sound: Template = (
        "{words}",
        "Realistic ambience and sound effects, clear and of high quality",
        "The scene: {description}",
        "The sounds of {objects}",
    )
    negative: Annotated[tuple[str, ...], _only("words")] = ("{words}", "Low quality, average quality, distorted")
    objects: int = Field(5, ge=0, le=80)
    """Most objects named in a prompt."""


@dataclass(frozen=True)
class SeenScene:
    """What is known of a scene."""

    description: str
    """Of the frame that stands for it."""
    frames: Sequence[FrameObjects]
    """What was found in its frames."""


class PromptEnhancer:
    """Composes prompts."""

    model = "templates"
    device = "cpu"
    licence: str | None = None

    def __init__(self, settings: PromptEnhancementSettings) -> None:
        self._settings = settings

    def enhance(self, scenes: Sequence[SeenScene], options: Options) -> PromptEnhancement:
        """The prompts of every scene, at least one. Descriptions, objects and the user's words may each be empty."""
        first, *later = (self._scene(scene, options) for scene in scenes)
        return PromptEnhancement(
            model=self.model,
            music_prompt=first.music_prompt,
            sound_prompt=first.sound_prompt,
            negative_prompt=_compose(self._settings.negative, {"words": options.negative_prompt or ""}),
            objects=first.objects,
            later=tuple(later),
        )

    def _scene(self, scene: SeenScene, options: Options) -> ScenePrompts:
        objects = labels_by_share(scene.frames)[: self._settings.objects]
        seen = {"description": scene.description, "objects": _listed(objects)}
        return ScenePrompts(
            music_prompt=_compose(self._settings.music, {**seen, "words": options.music_prompt or ""}),
            sound_prompt=_compose(self._settings.sound, {**seen, "words": options.sound_prompt or ""}),
            objects=tuple(objects),
        )


def labels_by_share(frames: Sequence[FrameObjects]) -> list[str]:
    """The labels of a video, those first that fill most of it.

    A label's share is the part of the picture under its boxes, overlaps counted once, averaged over all frames. Among equals
    the best score decides, then the alphabet.
    """
    share: dict[str, float] = defaultdict(float)
    score: dict[str, float] = defaultdict(float)
    for frame in frames:
        boxes: dict[str, list[Box]] = defaultdict(list)
        for found in frame.objects:
            boxes[found.label].append(found.box)
            score[found.label] = max(score[found.label], found.score)
        for label, own in boxes.items():
            share[label] += _area(own) / (frame.width * frame.height)
    return sorted(share, key=lambda label: (-share[label], -score[label], label))


def _area(boxes: Sequence[Box]) -> float:
    """Pixels under the boxes' union."""
    columns = np.unique([edge for box in boxes for edge in (box.x0, box.x1)])
    rows = np.unique([edge for box in boxes for edge in (box.y0, box.y1)])
    covered = np.zeros((len(rows), len(columns)), dtype=bool)  # a cell reaches from its edge to the next
    for box in boxes:
        top, bottom = np.searchsorted(rows, (box.y0, box.y1))
        left, right = np.searchsorted(columns, (box.x0, box.x1))
        covered[top:bottom, left:right] = True
    return float(np.diff(rows, append=rows[-1]) @ covered @ np.diff(columns, append=columns[-1]))


def _listed(labels: Sequence[str]) -> str:
    """In words: "person", "person and dog", "person, dog and car"."""
    return " and ".join(filter(None, (", ".join(labels[:-1]), *labels[-1:])))


def _compose(template: Iterable[str], values: Mapping[str, str]) -> str:
    """The template's sentences with the values in place of the placeholders."""
    tidy = {name: _tidy(value) for name, value in values.items()}
    return " ".join(filter(None, (_sentence(sentence, tidy) for sentence in template)))


def _sentence(template: str, values: Mapping[str, str]) -> str:
    names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    if not all(values[name] for name in names):
        return ""
    text = _tidy(template.format_map(values))
    return text if not text or text.rstrip(_CLOSING).endswith(_ENDS) else f"{text}."


def _tidy(text: str) -> str:
    """On one line, without loose punctuation round it."""
    return " ".join(text.split()).strip(_LOOSE)
