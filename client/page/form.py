"""What a run is to make, as a form: an input for every option that makes sense for the kind of thing that comes in.

Bounds stand once, in `Options`: what it refuses is told in the form's own words.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import gradio as gr
from pydantic import ValidationError

from client.flags import bounds
from client.page.elements import html, intake
from client.page.presets import AS_SEEN, MOST, STYLES, joined
from models.record import AUDIO_FORMATS, VIDEO_FORMATS, Options

Kind = Literal["video", "image", "text"]

LABELS = {
    "music": "Music",
    "sounds": "Sound effects",
    "music_prompt": "Words for the music",
    "sound_prompt": "Words for the sound effects",
    "negative_prompt": "What to avoid",
    "original_mode": "The video's own sound",
    "seconds": "Length in seconds",
    "loop": "A loop: the end goes over into the beginning",
    "draft": "Quality",
    "scenes": "Scenes",
    "k": "Frames looked at (k)",
    "seed": "Seed",
    "steps": "Steps",
    "guidance": "Guidance",
    "candidates": "Candidates of each",
    "keep_candidates": "Keep all candidates, to compare them",
    "crossing_seconds": "Crossing between scenes, seconds",
    "original": "Share of the video's own sound",
    "duck_db": "Ducking of the new sound, dB",
    "music_volume_db": "Music, dB",
    "sound_volume_db": "Sound effects, dB",
    "stereo_width": "Width of the sound effects",
    "fade_in_seconds": "Fade in, seconds",
    "fade_out_seconds": "Fade out, seconds",
    "loudness_lufs": "Loudness",
    "format": "Format of the result",
    "stem_format": "Format of the stems",
    "descriptions": "Write what was seen into the video, as a text track",
    "reference_weight": "How much the reference counts",
}

_INFO = {
    "seed": "The same seed gives the same sound. Empty: one is drawn.",
    "steps": "Empty: the model's own number.",
    "guidance": "How closely the model follows the words. Empty: the model's own.",
    "k": "n = k·log10(seconds) frames are looked at.",
    "original": "0: the new sound alone, 1: the own one alone.",
    "reference_weight": "0: not at all, 1: it alone, without the words.",
    "fade_in_seconds": "Empty: the service's own.",
    "fade_out_seconds": "Empty: the service's own.",
}
_ORIGINAL = [
    ("Duck: the new sound makes room for it", "duck"),
    ("Keep: it is mixed with the new sound", "keep"),
    ("Replace: it is left out", "replace"),
]
_SCENES: list[tuple[str, str]] = [
    ("One for the whole video", "1"),
    ("As many as it has", "auto"),
    *((str(number), str(number)) for number in range(2, 11)),
]
_AS_IT_IS, _AS_SOURCE = "as it is", "as the source"
_LOUDNESS = [
    ("−14 LUFS, for streaming", "-14"),
    ("−16 LUFS, for podcasts", "-16"),
    ("−18 LUFS", "-18"),
    ("−23 LUFS, for broadcast (EBU R 128)", "-23"),
    ("−24 LUFS, for broadcast (ATSC A/85)", "-24"),
    ("As loud as it comes out", _AS_IT_IS),
]
_QUALITY = [("Draft: a sketch, within seconds", True), ("Full: the trained models", False)]

_IN_SIGHT: dict[Kind, tuple[str, ...]] = {
    "video": ("music_prompt", "sound_prompt", "negative_prompt", "original_mode"),
    "image": ("music_prompt", "sound_prompt", "negative_prompt", "seconds"),
    "text": ("negative_prompt", "seconds"),
}
_MAKING = ("seed", "steps", "guidance", "candidates", "keep_candidates")
_MIX = ("loudness_lufs", "music_volume_db", "sound_volume_db", "stereo_width", "fade_in_seconds", "fade_out_seconds")
_FILES = ("format", "stem_format")
_ADVANCED: dict[Kind, dict[str, tuple[str, ...]]] = {
    "video": {
        "Frames and scenes": ("scenes", "k", "crossing_seconds"),
        "How the sound is made": _MAKING,
        "The mix": ("original", "duck_db", *_MIX),
        "Files": (*_FILES, "descriptions"),
    },
    "image": {
        "How the sound is made": (*_MAKING, "loop"),
        "The mix": _MIX,
        "Files": (*_FILES, "descriptions"),
    },
    "text": {
        "Words for one part alone": ("music_prompt", "sound_prompt"),
        "How the sound is made": (*_MAKING, "loop"),
        "The mix": _MIX,
        "Files": _FILES,
    },
}


@dataclass(frozen=True)
class Form:
    """The inputs of one tab."""

    fields: Mapping[str, gr.components.Component]
    """By the names of the options; `style` and `reference` besides."""

    @property
    def inputs(self) -> list[gr.components.Component]:
        """In the order in which a handler is given their values."""
        return list(self.fields.values())

    def read(self, values: Sequence[Any]) -> tuple[Options, str | None]:
        """The options, and the id of the reference's upload. Raises ValueError, in the form's words."""
        given = dict(zip(self.fields, values, strict=True))
        reference = given.pop("reference", None)
        style = STYLES[given.pop("style", None) or AS_SEEN]
        wanted = {name: _READ.get(name, _same)(value) for name, value in given.items()}
        for name, words in zip(("music_prompt", "sound_prompt", "negative_prompt"), style, strict=True):
            wanted[name] = joined(wanted.get(name), words)
        # What was left empty is left to its default, but for loudness, where none is a choice.
        asked = {name: value for name, value in wanted.items() if value is not None or name == "loudness_lufs"}
        try:
            return Options.model_validate(asked), (reference or {}).get("upload")
        except ValidationError as error:
            raise ValueError(_told(error)) from None


def form(kind: Kind, *, beside: gr.Column | None = None) -> Form:
    """Draw the inputs: those that everybody sees into the column, if one is given, and the others below."""
    fields: dict[str, gr.components.Component] = {}
    with beside or nullcontext(), gr.Group(elem_classes="iv-wanted"):
        with gr.Row():
            fields |= {name: _field(name, kind) for name in ("music", "sounds")}
        fields["style"] = gr.Dropdown(_styles(kind), value=AS_SEEN, label="Style", filterable=False)
        fields["draft"] = gr.Radio(
            _QUALITY, value=False, label=LABELS["draft"], visible=False, elem_classes="iv-quality"
        )
        fields |= {name: _field(name, kind) for name in _IN_SIGHT[kind]}
    with gr.Accordion("Advanced", open=False, elem_classes="iv-advanced"):
        for title, names in _ADVANCED[kind].items():
            html(f"<h3>{title}</h3>")
            with gr.Row():
                fields |= {name: _field(name, kind) for name in names}
        if kind != "text":  # the service takes a reference beside a file alone
            html("<h3>A sound to sound like</h3>")
            fields["reference"] = intake("sound", label="A sound to sound like")
            with gr.Row():
                fields["reference_weight"] = _field("reference_weight", kind)
    return Form(fields)


def _styles(kind: Kind) -> list[tuple[str, str]]:
    none = "As your words suggest" if kind == "text" else AS_SEEN
    return [(none if name == AS_SEEN else name, name) for name in STYLES]


def _field(name: str, kind: Kind) -> gr.components.Component:
    label, info = LABELS[name], _INFO.get(name)
    default = Options.model_fields[name].default
    if name in _CHOICES:
        choices = _CHOICES[name](kind)
        value = default if any(default == one[1] for one in choices) else choices[0][1]
        if name == "original_mode":
            return gr.Radio(choices, value=value, label=label)
        return gr.Dropdown(choices, value=value, label=label, filterable=False, min_width=220)
    if isinstance(default, bool):
        return gr.Checkbox(default, label=label, min_width=220)
    if name.endswith("_prompt"):
        return gr.Textbox(label=label, lines=1, max_lines=8, max_length=MOST, placeholder=_EXAMPLES[name])
    if default is None:
        # An empty number input of Gradio's is a 0.
        return gr.Textbox(label=label, info=info, min_width=220, html_attributes=_TYPED)
    return gr.Number(default, label=label, info=info, min_width=220, step=0.1 if name in _FINE else 1)


def _formats(kind: Kind) -> list[tuple[str, str]]:
    pictures = [] if kind == "text" else [(f"{one}, a video", one) for one in VIDEO_FORMATS]
    first = {"video": "As the source, else mp4", "image": "mp4", "text": "wav"}[kind]
    sounds = [(f"{one}, the sound alone", one) for one in AUDIO_FORMATS]
    return [(first, _AS_SOURCE), *pictures, *sounds]


_CHOICES: dict[str, Callable[[Kind], list[tuple[str, str]]]] = {
    "original_mode": lambda _: _ORIGINAL,
    "scenes": lambda _: _SCENES,
    "loudness_lufs": lambda _: _LOUDNESS,
    "format": _formats,
    "stem_format": lambda _: [("flac", "flac"), ("wav", "wav")],
}
_FINE = {
    "crossing_seconds",
    "original",
    "stereo_width",
    "fade_in_seconds",
    "fade_out_seconds",
    "reference_weight",
    "seconds",
}
_TYPED = gr.InputHTMLAttributes(autocomplete="off", autocorrect="off")
_EXAMPLES = {
    "music_prompt": "slow solo piano, hopeful",
    "sound_prompt": "small waves, gulls far away",
    "negative_prompt": "voices, traffic",
}


def _same(value: Any) -> Any:
    return value


def _whole(value: Any) -> Any:
    """A number input may give 7.0 for 7."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    """What was typed, as a number where it is one; what is none is refused as it stands."""
    text = str(value or "").strip().replace(",", ".")
    try:
        return _whole(float(text)) if text else None
    except ValueError:
        return value


_READ: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("seed", "steps", "guidance", "fade_in_seconds", "fade_out_seconds"), _number),
    "candidates": _whole,
    "scenes": lambda value: value if value == "auto" else int(value),
    "loudness_lufs": lambda value: None if value == _AS_IT_IS else float(value),
    "format": lambda value: None if value == _AS_SOURCE else value,
    "music_prompt": lambda value: (value or "").strip() or None,
    "sound_prompt": lambda value: (value or "").strip() or None,
    "negative_prompt": lambda value: (value or "").strip() or None,
}


def _told(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return str(first["msg"]).removeprefix("Value error, ")
    name = str(first["loc"][0])
    return f"{LABELS.get(name, name)}: {bounds(name)} is allowed, not {first['input']!r}."
