"""Reads a `serve_config*.yaml` as Serve will, to say something about it before it is deployed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from serve.settings import AppSettings

BUILDER = "serve.app:build"


class BadConfig(Exception):
    """The file cannot be read, or says something that the service refuses."""


@dataclass(frozen=True)
class Configured:
    """One application of the file that is ours."""

    settings: AppSettings
    num_gpus: Mapping[str, float]
    """By deployment, of those that have an entry."""


def applications(config: Path) -> list[Configured]:
    """Those of the file that are ours; at least one. Raises BadConfig, in one sentence."""
    import yaml

    try:
        content = yaml.safe_load(config.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadConfig(f"cannot be read: {' '.join(str(error).split())}") from error
    listed = content.get("applications") if isinstance(content, dict) else None
    ours = [app for app in listed or () if isinstance(app, dict) and app.get("import_path") == BUILDER]
    if not ours:
        raise BadConfig(f"it has no application whose import_path is {BUILDER}")
    return [_configured(app) for app in ours]


def _configured(application: Mapping[str, Any]) -> Configured:
    try:
        settings = AppSettings.model_validate(application.get("args") or {})
        shares = {
            entry["name"]: float((entry.get("ray_actor_options") or {}).get("num_gpus") or 0)
            for entry in application.get("deployments") or ()
        }
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise BadConfig("; ".join(wrong)) from error
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise BadConfig(f"its deployments are not a list of entries with a name each: {error}") from error
    return Configured(settings, shares)
