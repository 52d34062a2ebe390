"""How windows are best joined: `python -m bench.joining`.

A latent of several windows, denoised by a UNet of AudioLDM2's real topology, a quarter as wide and with random weights, once for
each way of joining. Of the joined predictions, in rows that two windows have in common compared with rows that one window has
alone: their power, and that of the differences from row to row, which is what is heard as dullness (less) or roughness (more). And
of the differences from step to step, which DPM-Solver++ extrapolates. Means over steps and seeds.
"""

import tempfile
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from bench.support.audioldm2 import BASE
from models.audio_generation.batch import ContinuousBatch, Job
from models.audio_generation.loading import Checkpoint, load_pipeline
from models.audio_generation.networks import Networks
from models.audio_generation.text import TextEncoder
from models.audio_generation.tracks import Plan, Track
from models.audio_generation.windows import Joining, lay
from tests.toys.audioldm2 import TOY, random_audioldm2

WINDOWS, STEPS, SEEDS = 6, 6, 2
OVERLAP = 64  # of 256 rows


def main() -> None:
    toy = {**TOY, "vae": {**TOY["vae"], "latent_channels": 8}}
    toy["vocoder"] = {**TOY["vocoder"], "model_in_dim": 64}
    toy["unet"] = {
        **BASE["unet"],
        "block_out_channels": (32, 64, 96, 160),
        "cross_attention_dim": TOY["unet"]["cross_attention_dim"] * 2,
    }
    with tempfile.TemporaryDirectory() as folder:
        random_audioldm2(toy).save_pretrained(Path(folder))
        pipeline = load_pipeline(Checkpoint("quarter", Path(folder)), device="cpu", dtype=torch.float32)
    print(f"{WINDOWS} windows, {STEPS} steps, {SEEDS} seeds; where windows overlap, beside where they do not")
    print(f"{'':10}{'power':>8}{'row to row':>12}{'step to step':>14}")
    for joining in get_args(Joining):
        ratios = [compare(predictions(pipeline, joining, seed)) for seed in range(SEEDS)]
        power, rows, steps = np.mean(ratios, axis=0)
        print(f"{joining:10}{power:8.3f}{rows:12.3f}{steps:14.3f}", flush=True)


def predictions(pipeline: Any, joining: Joining, seed: int) -> torch.Tensor:
    """(steps, rows, channels, columns): what the scheduler is given."""
    networks, texts = Networks(pipeline, compiled=False), TextEncoder(pipeline)
    rows = 256 + (WINDOWS - 1) * (256 - OVERLAP)
    samples = rows * networks.sizes.row
    plan = Plan(samples, texts.encode("rain"), texts.encode("low"), 3.5, STEPS, (seed,), joining=joining)
    scheduler = type(pipeline.scheduler).from_config(pipeline.scheduler.config)
    given: list[torch.Tensor] = []
    step = scheduler.step

    def watched(predicted: torch.Tensor, *more: Any, **named: Any) -> Any:
        given.append(predicted)
        return step(predicted, *more, **named)

    scheduler.step = watched
    track = Track(plan, networks, scheduler, overlap=OVERLAP)
    batch = ContinuousBatch(networks, largest=1)
    batch.add(Job([track]))
    while not track.denoised:
        batch.turn()
    return torch.stack(given)


def compare(predicted: torch.Tensor) -> list[float]:
    """Power, and power of the differences between neighbouring rows and steps: in overlaps, over elsewhere."""
    count = np.bincount(lay(predicted.shape[1], size=256, overlap=OVERLAP).index.ravel())
    shared = torch.from_numpy(count > 1)
    within, alone = shared[1:] & shared[:-1], ~shared[1:] & ~shared[:-1]
    power, steps = (values.square().mean((0, 2, 3)) for values in (predicted, predicted.diff(dim=0)))
    rows = predicted.diff(dim=1).square().mean((0, 2, 3))
    return [
        float(power[shared].mean() / power[~shared].mean()),
        float(rows[within].mean() / rows[alone].mean()),
        float(steps[shared].mean() / steps[~shared].mean()),
    ]


if __name__ == "__main__":
    main()
