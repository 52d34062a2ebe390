"""The graph, on one screen. What stands where, how often, and on which fraction of a GPU, is said in `serve_config*.yaml`.

No `from __future__ import annotations` here: Ray reads the builder's annotation to make its argument, and cannot read a string.
"""

from pathlib import Path

from ray.serve import Application

from serve.deployments import (
    FrameDescriber,
    FrameExtractor,
    FrameSelector,
    MusicGenerator,
    ObjectDetector,
    Reconstructor,
    SoundGenerator,
)
from serve.ingress import Ingress
from serve.pipeline import Pipeline
from serve.settings import AppSettings


def build(settings: AppSettings) -> Application:
    """The application that `serve run serve_config.yaml` deploys."""
    if "://" not in settings.store:  # replicas may have another working directory
        settings = settings.model_copy(update={"store": str(Path(settings.store).absolute())})
    modules = {
        "FrameExtractor": FrameExtractor.bind(settings),
        "ObjectDetector": ObjectDetector.bind(settings),
        "FrameSelector": FrameSelector.bind(settings),
        "FrameDescriber": FrameDescriber.bind(settings),
        "MusicGenerator": MusicGenerator.bind(settings),
        "SoundGenerator": SoundGenerator.bind(settings),
        "Reconstructor": Reconstructor.bind(settings),
    }
    pipeline = Pipeline.bind(settings, modules)
    return Ingress.bind(settings, pipeline, modules["FrameExtractor"])
