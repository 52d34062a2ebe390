"""The graph, on one screen. What stands where, how often, and on which fraction of a GPU, is said in `serve_config*.yaml`.

No `from __future__ import annotations` here: Ray reads the builder's annotation to make its argument, and cannot read a string.
"""

from pathlib import Path
from typing import Any

from ray import serve as rs
from ray.serve import Application

from serve.audio_server import DraftGenerator, MusicGenerator, SoundGenerator
from serve.deployments import FrameDescriber, FrameExtractor, FrameSelector, ObjectDetector, Reconstructor
from serve.ingress import Ingress
from serve.pipeline import DRAFTS, Pipeline, served_by
from serve.settings import AppSettings, WithMusicSettings

LOAD_ATTEMPTS = 2  # weights that cannot be had will not be there at the twentieth try, which is Serve's default
# A replica that says three times that it is broken is replaced, before the runs that it fails have used up their attempts.
HEALTH_SECONDS = 2.0


def build(settings: AppSettings) -> Application:
    """The application that `serve run serve_config.yaml` deploys."""
    settings = _with_absolute_paths(settings)
    modules = {
        "FrameExtractor": _bind(FrameExtractor, settings),
        "ObjectDetector": _bind(ObjectDetector, settings),
        "FrameSelector": _bind(FrameSelector, settings),
        "FrameDescriber": _bind(FrameDescriber, settings),
        "MusicGenerator": _bind(MusicGenerator, settings),
        "Reconstructor": _bind(Reconstructor, settings),
    }
    if not isinstance(settings.sounds, WithMusicSettings):
        modules["SoundGenerator"] = _bind(SoundGenerator, settings)
    if DRAFTS in served_by(settings).values():
        modules[DRAFTS] = _bind(DraftGenerator, settings)
    pipeline = _bind(Pipeline, settings, modules)
    return _bind(Ingress, settings, pipeline, modules["FrameExtractor"])


def _with_absolute_paths(settings: AppSettings) -> AppSettings:
    """Replicas may have another working directory."""
    update: dict[str, Any] = {}
    if "://" not in settings.store:
        update["store"] = str(Path(settings.store).absolute())
    if settings.access.keys_file:
        keys_file = settings.access.keys_file.expanduser().absolute()
        update["access"] = settings.access.model_copy(update={"keys_file": keys_file})
    return settings.model_copy(update=update)


def _bind(deployed: type, *arguments: Any) -> Application:
    deployment = rs.deployment(max_constructor_retry_count=LOAD_ATTEMPTS, health_check_period_s=HEALTH_SECONDS)
    return deployment(deployed).bind(*arguments)
