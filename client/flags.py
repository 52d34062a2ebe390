"""One command-line flag per option of a run, made from `Options` itself: names, help and bounds stand there, once."""

import functools
import inspect
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from models.record import Options

PANEL = "What to make"


def parameters() -> list[inspect.Parameter]:
    """A keyword parameter for each option, as Typer reads it. None means: not given."""
    return [_parameter(name) for name in Options.model_fields] + [
        inspect.Parameter(
            "no_loudness",
            inspect.Parameter.KEYWORD_ONLY,
            default=False,
            annotation=Annotated[
                bool, typer.Option("--no-loudness", help="Leave the mix as loud as it is.", rich_help_panel=PANEL)
            ],
        )
    ]


def options_from(given: dict[str, Any]) -> Options:
    """The options that these flags ask for. Raises typer.BadParameter, which says what is allowed."""
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
        raise typer.BadParameter(f"{first['input']!r} is not allowed: {bounds(name)}", param_hint=_flag(name)) from None


def bounds(name: str) -> str:
    """What values the option takes, in words."""
    schema = _schema(name)
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    if "maxLength" in schema:
        return f"at most {schema['maxLength']} characters"
    words = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    kind = "a whole number" if schema["type"] == "integer" else "a number"
    return f"{kind} {', '.join(words)}"


_BOUNDS = {"exclusiveMinimum": "above", "minimum": "at least", "maximum": "at most", "exclusiveMaximum": "below"}
_METAVARS = {"integer": "N", "number": "X", "string": "WORDS"}


def _parameter(name: str) -> inspect.Parameter:
    schema = _schema(name)
    told = schema["description"].replace("None:", "Not given:" if schema["default"] is None else "--no-loudness:")
    if schema["type"] == "boolean":
        declared = typer.Option(f"{_flag(name)}/--no-{name}", help=told, rich_help_panel=PANEL, show_default=False)
        annotation: Any = Annotated[bool | None, declared]
    else:
        default = "" if schema["default"] is None else f"; default {schema['default']}"
        metavar = "FORMAT" if "enum" in schema else _METAVARS[schema["type"]]
        declared = typer.Option(
            _flag(name), metavar=metavar, help=f"{told} ({bounds(name)}{default})", rich_help_panel=PANEL
        )
        annotation = Annotated[str | None, declared]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _schema(name: str) -> dict[str, Any]:
    """The option's JSON schema, with the alternatives of a union laid over one another."""
    schema: dict[str, Any] = dict(_schemas()[name])
    choices: list[str] = []
    for alternative in schema.get("anyOf", ()):
        if alternative["type"] != "null":
            choices += alternative.get("enum", ())
            schema |= alternative
    return schema | ({"enum": choices} if choices else {})


@functools.cache
def _schemas() -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = Options.model_json_schema()["properties"]
    return properties


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
