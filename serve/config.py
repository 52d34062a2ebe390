"""Reads a `serve_config*.yaml` as Serve will, to say something about it before it is deployed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from serve.pipeline import served_by
from serve.settings import AppSettings
from serve.strict import meant, unknown_keys

BUILDER = "serve.app:build"


class BadConfig(Exception):
    """The file cannot be read, or says something that the service refuses, or that Serve would pass over in silence."""


class NotOurs(BadConfig):
    """No application of the file is ours, and one has a builder of its own: whether that is right, only Serve can tell."""


@dataclass(frozen=True)
class Configured:
    """One application of the file that is ours."""

    settings: AppSettings
    num_gpus: Mapping[str, float]
    """By deployment, of those that have an entry."""


def applications(config: Path, *, manifests: bool = True) -> list[Configured]:
    """Those of the file that are ours; at least one. Raises BadConfig, in one sentence.

    manifests: what is read may stand in `serveConfigV2` of a RayService, in a file for Kubernetes.
    """
    contents = _serve_configs(config, manifests=manifests)
    listed = [app for content in contents for app in _applications(content)]
    ours = [app for app in listed if _builder(app) == BUILDER]
    if not ours:
        strange = [app for app in listed if _builder(app).partition(":")[0].partition(".")[0] not in ("", "serve")]
        none = f"it has no application whose import_path is {BUILDER}"
        raise NotOurs(none) if strange else BadConfig(none)
    unknown = [sentence for content in contents for sentence in unknown_keys(content)]
    if unknown:
        raise BadConfig("; ".join(unknown))
    configured = [_configured(app) for app in ours]
    for content in contents:
        try:
            ServeDeploySchema.model_validate(content)
        except ValidationError as error:
            raise BadConfig(_told(error)) from error
    return configured


def deployments(settings: AppSettings) -> set[str]:
    """The names of all that `serve.app.build` makes for these settings."""
    return {"Ingress", "Pipeline", *served_by(settings).values()}


def _serve_configs(config: Path, *, manifests: bool) -> list[Any]:
    import yaml

    try:
        documents = list(yaml.safe_load_all(config.read_text()))
        services = [one for one in documents if isinstance(one, dict) and one.get("kind") == "RayService"]
        if services and not manifests:
            raise BadConfig("it is for Kubernetes, and no configuration of Serve's")
        return [yaml.safe_load(one["spec"]["serveConfigV2"]) for one in services] or documents[:1]
    except OSError as error:
        raise BadConfig(f"cannot be read: {error.strerror}") from error
    except (KeyError, TypeError) as error:
        raise BadConfig("its RayService has no serveConfigV2") from error
    except (ValueError, AttributeError, yaml.YAMLError) as error:
        raise BadConfig(f"cannot be read: {' '.join(str(error).split())}") from error


def _applications(content: Any) -> list[dict[str, Any]]:
    listed = content.get("applications") if isinstance(content, dict) else None
    return [app for app in listed if isinstance(app, dict)] if isinstance(listed, list) else []


def _builder(application: Mapping[str, Any]) -> str:
    """Its import_path, with a colon before the last name: Serve takes a dot there, too."""
    path = str(application.get("import_path") or "")
    module, _, name = path.replace(":", ".").rpartition(".")
    return f"{module}:{name}"


def _configured(application: Mapping[str, Any]) -> Configured:
    try:
        settings = AppSettings.model_validate(application.get("args") or {})
        shares = {
            entry["name"]: float((entry.get("ray_actor_options") or {}).get("num_gpus") or 0)
            for entry in application.get("deployments") or ()
        }
    except ValidationError as error:
        raise BadConfig(_told(error)) from error
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise BadConfig(f"its deployments are not a list of entries with a name each: {error}") from error
    known = deployments(settings)
    strange = [
        f"with these args there is no deployment {name}{meant(name, known)}" for name in shares if name not in known
    ]
    if strange:
        raise BadConfig("; ".join(strange))
    return Configured(settings, shares)


def _told(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
