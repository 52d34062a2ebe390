"""The simulation beside the real service, before it is believed; and the measuring of one machine's AudioLDM2."""

import asyncio
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import simpy

from bench.load import STEPS, TRACKS, WINDOWS, Load, measure, music, service
from bench.support.arrivals import Films, Served, client, send
from bench.support.audioldm2 import checkpoint
from bench.support.device import on_the_device
from bench.support.measured import Measured, measure_device
from bench.support.simulated_service import Costs, Service, Shape, at_times, outcome
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.record import Run

FILM_SECONDS = 6.0
ALONE = 8
SHARES = (0.25, 0.5, 0.75)
BOUND = 0.25
"""An error of the simulation above this, and it says so."""


def check(seconds: float) -> int:
    """Print both, side by side. 0 when no error is above the bound."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = Films.make(folder, seconds=FILM_SECONDS)
        with service(folder) as here:
            alone = asyncio.run(_alone(here.url, films))
            measured = _measured(folder / "audioldm2", alone)
            work = measured.work(FILM_SECONDS)
            rate = min(measured.device.capacity(work), (os.cpu_count() or 1) / _cpu(measured.costs))
            loads = [
                asyncio.run(measure(here.url, films, share=share, capacity=rate, seconds=seconds)) for share in SHARES
            ]
    print(f"alone: {measured.costs}\n{measured.device}\nit can do {rate:.2f} runs/s, by this\n")
    print(f"{'load':>6}{'runs':>6}{'':>8}{'served/s':>10}{'p50 s':>8}{'p95 s':>8}")
    results = [_beside(measured, load) for load in loads]
    return 0 if all(results) else 1


def measured_here(size: str, before: Measured) -> Measured:
    """`before`, with the calls of AudioLDM2 of this size, with random weights, measured here. Nothing is assumed then."""
    import torch

    wanted = before.assumed or before.device
    with tempfile.TemporaryDirectory() as name:
        folder = checkpoint(Path(name) / "audioldm2", size=size)
        settings = AudioLDM2Settings(checkpoint=str(folder), windows=wanted.windows, at_once=wanted.at_once)
        generator = AudioLDM2Generator.load(settings)
    found = measure_device(generator, windows=wanted.windows, at_once=wanted.at_once)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    told = f"Calls: AudioLDM2 {size}, random weights, on {device}, torch {torch.__version__}. All else: {before.provenance}"
    return replace(before, device=found, assumed=None, provenance=told)


async def _alone(url: str, films: Films) -> list[tuple[Served, Run]]:
    """Runs that have the service for themselves, after two to warm up."""
    alone = []
    async with client(url) as http:
        for _ in range(2 + ALONE):
            served = await send(http, films)
            assert served.result is not None, served
            alone.append((served, Run.model_validate_json((await http.get(f"/v1/runs/{served.run_id}")).text)))
    return alone[2:]


def _measured(checkpoint_folder: Path, alone: Sequence[tuple[Served, Run]]) -> Measured:
    """The medians of runs that were alone, and the modelled device's calls as the engine makes them in this process."""
    settings = AudioLDM2Settings.model_validate(music(checkpoint_folder))
    generator: Any = on_the_device(AudioLDM2Generator.load(settings))
    device = measure_device(generator, windows=WINDOWS, at_once=TRACKS)
    sizes = generator._networks.sizes
    window = sizes.window * sizes.row / sizes.sample_rate
    took = {name: float(np.median([_seconds(run, name) for _, run in alone])) for name in alone[0][1].record.modules}
    vision = max(took["object_detection"], took["frame_selection"] + took["frame_description"])
    path = took["frame_extraction"] + vision + took["audio_generation"] + took["reconstruction"]
    first, result = (float(np.median([getattr(served, what) for served, _ in alone])) for what in ("first", "result"))
    costs = Costs(
        ingress=first,
        extraction=took["frame_extraction"],
        vision=vision,
        reconstruction=took["reconstruction"],
        between=max(0.0, result - first - path),
    )
    return Measured("runs that were alone", device, costs, window, 0.75 * window, STEPS)


def _seconds(run: Run, module: str) -> float:
    return max((timing.seconds for timing in run.timings if timing.module == module), default=0.0)


def _cpu(costs: Costs) -> float:
    return costs.ingress + costs.extraction + costs.vision + costs.reconstruction


def _beside(measured: Measured, load: Load) -> bool:
    """Two lines, and whether the simulation's are close enough."""
    env = simpy.Environment()
    simulated = Service(env, measured.device, measured.costs, Shape(cores=os.cpu_count()))
    work = measured.work(FILM_SECONDS)
    env.process(at_times(simulated, lambda: work, [run.sent - load.began for run in load.runs]))
    env.run(10 * load.seconds)
    told = outcome(simulated, begin=0, end=load.seconds)
    p50, p95, _ = load.quantiles("result")
    errors = (told.served / load.served - 1, told.p50 / p50 - 1, told.p95 / p95 - 1)
    close = all(abs(error) <= BOUND for error in errors)
    print(f"{load.name:>6}{len(load.runs):6}{'real':>8}{load.served:10.2f}{p50:8.2f}{p95:8.2f}")
    print(f"{'':12}{'simulated':>10}{told.served:8.2f}{told.p50:8.2f}{told.p95:8.2f}")
    print(
        f"{'':12}{'error':>8}"
        + "".join(f"{error:{width}.0%}" for error, width in zip(errors, (10, 8, 8), strict=True)),
        end="",
    )
    print("" if close else f"   above {BOUND:.0%}: not to be believed at this load", flush=True)
    return close
