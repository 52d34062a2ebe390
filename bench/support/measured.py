"""Measured times, as the simulation takes them: a file for each machine in `bench/measured/`, which says where they come from."""

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from bench.support.simulated_audio import Device, Work
from bench.support.simulated_service import Costs
from models.audio_generation import AudioRequest, nothing_to_report

STEPS = (5, 25)


@dataclass(frozen=True)
class Measured:
    """One machine's times."""

    provenance: str
    """What was measured, where, and what is assumed."""
    device: Device
    """As it was measured."""
    costs: Costs
    window_seconds: float
    """Sound in one window, and how far the next one lies behind it."""
    stride_seconds: float
    steps: int
    assumed: Device | None = None
    """What the device may turn out to be, which nobody measured; None where nothing is guessed."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a file in `bench/measured/`."""
        told = json.loads(path.read_text())
        device, costs = _device(told.pop("device")), Costs(**told.pop("costs"))
        assumed = told.pop("assumed", None)
        return cls(device=device, costs=costs, assumed=assumed and _device(assumed), **told)

    def write(self, path: Path) -> None:
        """As such a file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    def work(self, seconds: float) -> Work:
        """What one stem of a film of so many seconds asks for."""
        return Work(1 + max(0, math.ceil((seconds - self.window_seconds) / self.stride_seconds)), self.steps)


def _device(told: dict[str, Any]) -> Device:
    calls = {int(rows): seconds for rows, seconds in told.pop("calls").items()}
    return Device(calls, **told)


def measure_device(generator: Any, *, windows: int, at_once: int) -> Device:
    """What calls of this AudioLDM2Generator take, with 1, 2, 4 … windows in each, and what it does with one window alone.

    Requests of one window each run side by side, with few steps and with many: the difference is the calls', the rest is not.
    """
    sizes = generator._networks.sizes
    clip = sizes.window * sizes.row / sizes.sample_rate
    calls, alone = {}, []
    together = 1
    while together <= windows:
        few, many = (_seconds(generator, clip, together=together, steps=steps) for steps in STEPS)
        calls[2 * together] = (many - few) / (STEPS[1] - STEPS[0])
        alone.append((few - STEPS[0] * calls[2 * together]) / together)
        together *= 2
    return Device(calls, windows, max(0.0, sum(alone) / len(alone)), at_once)


def _seconds(generator: Any, clip: float, *, together: int, steps: int) -> float:
    """The best of three."""

    def make(seed: int) -> None:
        request = AudioRequest("rain on a window", clip, seed, "low quality", steps=steps, guidance=3.5)
        generator.generate(request, on_step=nothing_to_report)

    best = math.inf
    with ThreadPoolExecutor(together) as threads:
        for _ in range(3):
            began = time.monotonic()
            list(threads.map(make, range(together)))
            best = min(best, time.monotonic() - began)
    return best
