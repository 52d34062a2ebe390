"""What Serve would pass over in silence."""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema


def unknown_keys(given: Any, schema: type[BaseModel] = ServeDeploySchema, place: str = "") -> list[str]:
    """One sentence for each key of a Serve configuration that Serve does not know: where it stands, and what may be meant."""
    if not isinstance(given, dict):
        return []
    unknown = []
    for key, value in given.items():
        field = schema.model_fields.get(key)
        if field is None:
            unknown.append(f"{place}{key} is no key that Serve knows{meant(key, schema.model_fields)}")
            continue
        inner = [kind for kind in _classes(field.annotation) if issubclass(kind, BaseModel)]
        for item in value if isinstance(value, list) else [value]:
            unknown += unknown_keys(item, inner[-1], f"{place}{key}{_name(item, value)}.") if inner else []
    return unknown


def meant(word: Any, known: Collection[str]) -> str:
    """What is known and looks like it, as the end of a sentence; nothing where nothing does."""
    close = get_close_matches(str(word), known, n=1, cutoff=0.8)
    return f": did you mean {close[0]}?" if close else ""


def _name(item: Any, within: Any) -> str:
    """Tells entries of a list apart."""
    return f"[{item['name']}]" if isinstance(within, list) and isinstance(item, dict) and "name" in item else ""


def _classes(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _classes(argument)]
