"""The command line's flags for what a run is to make: one per option, made from `Options` itself, where names, help and bounds
stand once; and, for a rerun, one per output that a user may replace.
"""

import functools
import inspect
import re
import reprlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple

import typer
from pydantic import BaseModel, ValidationError

from models.record import (
    Edits,
    FrameDescriptionEdit,
    FrameSelectionEdit,
    Options,
    PromptEnhancementEdit,
    SceneFrame,
    ScenePromptsEdit,
    SceneText,
)

PANEL = "What to make"
RERUN_PANEL = "What to change (all else stays as it was)"
EDITS_PANEL = "What to replace by your own"


class _Edit(NamedTuple):
    """A field of an edited output, as a flag."""

    module: str
    field: str
    kind: type[BaseModel]
    metavar: str
    told: str
    in_scene: type[BaseModel] | None
    """The same field of one scene alone; None where all scenes have it together."""


_EDITS = {
    "frame": _Edit(
        "frame_selection", "index", FrameSelectionEdit, "N", "Describe this frame instead of the selected one, counted from 0.",
        SceneFrame,
    ),
    "description": _Edit(
        "frame_description", "text", FrameDescriptionEdit, "TEXT", "Your description of the picture, instead of the model's.",
        SceneText,
    ),
    "edit_music_prompt": _Edit(
        "prompt_enhancement", "music_prompt", PromptEnhancementEdit, "TEXT",
        "The whole prompt for the music, instead of the composed one. (--music-prompt only leads the composed one.)",
        ScenePromptsEdit,
    ),
    "edit_sound_prompt": _Edit(
        "prompt_enhancement", "sound_prompt", PromptEnhancementEdit, "TEXT",
        "The whole prompt for the sound effects, instead of the composed one.", ScenePromptsEdit,
    ),
    "edit_negative_prompt": _Edit(
        "prompt_enhancement", "negative_prompt", PromptEnhancementEdit, "TEXT",
        "The whole negative prompt, instead of the composed one. It is that of all scenes.", None,
    ),
    "music_take": _Edit(
        "prompt_enhancement", "music_take", PromptEnhancementEdit, "N",
        "Other music from the same words: a take for each number. 0 is the first, the seed's own.", ScenePromptsEdit,
    ),
    "sound_take": _Edit(
        "prompt_enhancement", "sound_take", PromptEnhancementEdit, "N",
        "Other sound effects from the same words, as --music-take.", ScenePromptsEdit,
    ),
}  # fmt: skip
_SCENE = "in_scene"
_SCENE_TOLD = (
    "The scene that the flags below are about, counted from 0, as `immersivaudio show` counts them; "
    "the other scenes keep what they have. Without it, prompts and takes are for all scenes."
)


def with_flags(flags: Iterable[inspect.Parameter]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replaces a command's `**given` by these flags. Typer reads the signature, and the keyword arguments receive them."""

    def replaced(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command)
        kept = [parameter for parameter in own.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
        command.__signature__ = own.replace(parameters=[*kept, *flags])  # type: ignore[attr-defined]
        return command

    return replaced


def option_flags(*, rerun: bool = False) -> list[inspect.Parameter]:
    """A keyword parameter for each option, as Typer reads it. None means: not given."""
    declared = typer.Option("--no-loudness", help="Leave the mix as loud as it is.", rich_help_panel=_panel(rerun))
    no_loudness = inspect.Parameter(
        "no_loudness", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, declared]
    )
    return [*(_option_flag(name, rerun=rerun) for name in Options.model_fields), no_loudness]


def edit_flags() -> list[inspect.Parameter]:
    """A keyword parameter for each output that a rerun may replace, and one for the scene in which it does."""
    scene = _edit_flag(_SCENE, SceneText, "scene", metavar="N", told=_SCENE_TOLD)
    flags = (_edit_flag(name, it.kind, it.field, metavar=it.metavar, told=it.told) for name, it in _EDITS.items())
    return [scene, *flags]


def changes_from(given: dict[str, Any]) -> Options:
    """As `options_from`, of a rerun: what is not given is not the default, but what the run had."""
    several = {"candidates": 2} if given["keep_candidates"] and given["candidates"] is None else {}
    options = options_from(given | several)
    return Options.model_construct(options.model_fields_set - set(several), **dict(options))


def options_from(given: dict[str, Any]) -> Options:
    """The options that these flags ask for, and no other set. Raises typer.BadParameter, which says what is allowed."""
    wanted = {name: value for name, value in given.items() if name in Options.model_fields and value is not None}
    if given["no_loudness"]:
        if "loudness_lufs" in wanted:
            raise typer.BadParameter("--loudness-lufs and --no-loudness exclude each other")
        wanted["loudness_lufs"] = None
    try:
        return Options.model_validate(wanted)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            raise typer.BadParameter(str(first["ctx"]["error"])) from None
        name = str(first["loc"][0])
        raise _not_allowed(name, first["input"], _schema(Options, name)) from None


def edits_from(given: dict[str, Any]) -> Edits:
    """The outputs that these flags replace. Raises typer.BadParameter, which says what is allowed."""
    scene, wanted = given[_SCENE], {name: given[name] for name in _EDITS if given[name] is not None}
    edits: dict[str, dict[str, Any]] = {}
    for name, value in wanted.items():
        edit = _EDITS[name]
        if scene is None:
            edits.setdefault(edit.module, {})[edit.field] = value
        elif edit.in_scene is None:
            raise typer.BadParameter(f"{_flag(name)} is for all scenes: leave {_flag(_SCENE)} out")
        else:
            edits.setdefault(edit.module, {"scenes": [{"scene": scene}]})["scenes"][0][edit.field] = value
    if scene is not None and not wanted:
        raise typer.BadParameter(
            f"give one of {', '.join(_flag(name) for name, edit in _EDITS.items() if edit.in_scene)}",
            param_hint=_flag(_SCENE),
        )
    try:
        return Edits.model_validate(edits)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        module, field = first["loc"][0], first["loc"][-1]
        if field == "scene":
            raise _not_allowed(_SCENE, first["input"], _schema(SceneText, "scene")) from None
        name = next(name for name, edit in _EDITS.items() if (edit.module, edit.field) == (module, field))
        raise _not_allowed(name, first["input"], _schema(_EDITS[name].kind, _EDITS[name].field)) from None


def bounds(name: str) -> str:
    """What values the option takes, in words."""
    return _in_words(_schema(Options, name))


_BOUNDS = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most", "exclusiveMaximum": "below"}
_METAVARS = {"integer": "N", "number": "X", "string": "WORDS"}


def _not_allowed(name: str, value: object, schema: dict[str, Any]) -> typer.BadParameter:
    shown = reprlib.repr(value)
    return typer.BadParameter(f"{shown} is not allowed: {_in_words(schema)}", param_hint=_flag(name))


def _in_words(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "maxLength" in schema:
        return f"at most {schema['maxLength']} characters"
    words = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    return f"{kind} {', '.join(words)}" + (f", or {schema['const']}" if "const" in schema else "")


def _option_flag(name: str, *, rerun: bool) -> inspect.Parameter:
    schema = _schema(Options, name)
    optional = schema["default"] is None
    told = schema["description"]
    if rerun and optional:
        told = re.sub(r" None: [^.]*\.", "", told)
    told = told.replace("None:", "Not given:" if optional else "--no-loudness:")
    if schema["type"] == "boolean":
        declared = typer.Option(
            f"{_flag(name)}/--no-{_flag(name)[2:]}", help=told, rich_help_panel=_panel(rerun), show_default=False
        )
        return _parameter(name, declared, boolean=True)
    default = "" if rerun or optional else f"; default {schema['default']}"
    metavar = name.rpartition("_")[2].upper() if "enum" in schema else _METAVARS[schema["type"]]
    metavar += f"|{schema['const']}" if "const" in schema else ""
    told = f"{told} ({_in_words(schema)}{default})"
    return _parameter(name, typer.Option(_flag(name), metavar=metavar, help=told, rich_help_panel=_panel(rerun)))


def _edit_flag(name: str, kind: type[BaseModel], field: str, *, metavar: str, told: str) -> inspect.Parameter:
    told = f"{told} ({_in_words(_schema(kind, field))})"
    return _parameter(name, typer.Option(_flag(name), metavar=metavar, help=told, rich_help_panel=EDITS_PANEL))


def _parameter(name: str, declared: Any, *, boolean: bool = False) -> inspect.Parameter:
    annotation: Any = Annotated[bool | None, declared] if boolean else Annotated[str | None, declared]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _panel(rerun: bool) -> str:
    return RERUN_PANEL if rerun else PANEL


def _schema(kind: type[BaseModel], name: str) -> dict[str, Any]:
    """The field's JSON schema, with the alternatives of a union laid over one another."""
    schema: dict[str, Any] = dict(_schemas(kind)[name])
    choices: list[str] = []
    for alternative in schema.get("anyOf", ()):
        if alternative["type"] != "null":
            choices += alternative.get("enum", ())
            schema = alternative | schema  # the first says the type
    return schema | ({"enum": choices} if choices else {})


@functools.cache
def _schemas(kind: type[BaseModel]) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = kind.model_json_schema()["properties"]
    return properties


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
