"""A model of a GPU for machines without one: AudioLDM2 at toy size, whose calls take as long as they would take a device.

Everything else is the real thing: the deployment, the engine's thread, tracks, turns, text encoders, VAE and vocoder. Only the UNet
does not compute: a call waits, without using a CPU, for a time that grows with its rows, and answers with half of what it was
given. So what is measured is how work is queued, shared and spread, on machines whose CPUs are too few to be the device.

`bench.support.device:build` stands in the place of `serve.app:build` in a configuration file.
"""

import time
from collections.abc import Sequence
from typing import Any

import torch
from ray.serve import Application

import serve.app
from models.audio_step import Generator
from serve import audio_server
from serve.settings import AppSettings

CALL_SECONDS = 0.020
ROW_SECONDS = 0.002
"""A UNet row: a window has two, with the prompt and without."""


def call_seconds(rows: int) -> float:
    """How long the device takes for a call of so many rows."""
    return CALL_SECONDS + ROW_SECONDS * rows


class MusicGenerator(audio_server.MusicGenerator):
    """The real deployment, on the modelled device."""

    def load(self, settings: AppSettings) -> Generator:
        modelled: Generator = on_the_device(super().load(settings))
        return modelled


def on_the_device(generator: Any) -> Any:
    """An AudioLDM2Generator whose UNet is the device's model."""
    generator._networks.predict = _predict
    return generator


def build(settings: AppSettings) -> Application:
    """The application, with that deployment for the music."""
    serve.app.MusicGenerator = MusicGenerator  # type: ignore[attr-defined]
    return serve.app.build(settings)


def _predict(latents: torch.Tensor, rows: Sequence[int], times: Sequence[int], texts: Sequence[Any]) -> torch.Tensor:
    time.sleep(call_seconds(len(rows)))
    return 0.5 * latents[list(rows)]
