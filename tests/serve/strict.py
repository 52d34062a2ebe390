"""What Serve would pass over in silence."""

from typing import Any, get_args

from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema


def unknown_keys(given: Any, schema: type[BaseModel] = ServeDeploySchema, place: str = "") -> list[str]:
    """Keys of a Serve configuration that Serve does not know, each with where it stands."""
    if not isinstance(given, dict):
        return []
    unknown = []
    for key, value in given.items():
        field = schema.model_fields.get(key)
        if field is None:
            unknown.append(place + key)
            continue
        inner = [kind for kind in _classes(field.annotation) if issubclass(kind, BaseModel)]
        for item in value if isinstance(value, list) else [value]:
            unknown += unknown_keys(item, inner[-1], f"{place}{key}.") if inner else []
    return unknown


def _classes(annotation: Any) -> list[type]:
    if isinstance(annotation, type):
        return [annotation]
    return [found for argument in get_args(annotation) for found in _classes(argument)]
