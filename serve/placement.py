"""Who may use how much of a GPU. A deployment's `num_gpus` says it, and nothing else does.

Ray adds shares up, and neither asks what a model takes nor holds anybody to it. So every replica, before it loads its model, looks
whether it fits into its share of the very card that it was given, and has torch refuse what would go beyond.
"""

import logging
import math
from collections.abc import Mapping
from typing import NamedTuple

from models.device import Device, torch_device
from models.errors import ModelUnavailable
from models.schema import ModuleSettings

logger = logging.getLogger("ray.serve")

GIB = 2**30


class Peak(NamedTuple):
    """The most that one process takes of a card, GiB, as the driver counts it."""

    smallest: float
    """With the model loaded and one thing at a time in it."""
    largest: float
    """With the largest batch that its default settings allow."""
    beside_torch: float
    """Of these, what torch does not count: CUDA's context, its libraries, recorded graphs."""


PEAKS: Mapping[str, Peak] = {}
"""What `bench/placement.py` measured, by checkpoint (`yolov9e.pt`, `cvssp/audioldm2`), or by kind where every checkpoint of it is
as large (`resnet18`, `moondream2`). What is not here has not been measured, and is taken to fit."""


def claim(deployment: str, own: ModuleSettings) -> None:
    """Keep this process to the share of the GPU that Ray gave it. To be called before the model is loaded.

    Nothing happens to a model that uses no GPU, nor outside of a replica. Raises ModelUnavailable when the model does not fit
    into the share, or into what others have left of the card.
    """
    share = _share()
    if share is None or not _uses_gpu(own):
        return
    import torch

    free, total = (size / GIB for size in torch.cuda.mem_get_info(0))
    if reason := misfit(deployment, own, share=share, total=total):
        raise ModelUnavailable(reason)
    peak = peak_of(own) or Peak(0, 0, 0)
    allowed = min(share, 1) * total
    if free < peak.smallest - peak.beside_torch:  # the context is made by now
        raise ModelUnavailable(
            f"{model_of(own)} needs {peak.smallest:.1f} GiB for {deployment}, and {free:.1f} of this card's {total:.1f} GiB are "
            "free: something that Ray does not know of uses the card; `nvidia-smi` shows what"
        )
    if allowed < peak.largest:
        logger.warning(
            "%s may use %.1f GiB of the card, and would take %.1f with its largest batches: it will have to make them smaller",
            deployment, allowed, peak.largest,
        )  # fmt: skip
    torch.cuda.set_per_process_memory_fraction((allowed - peak.beside_torch) / total, 0)


def misfit(deployment: str, own: ModuleSettings, *, share: float, total: float) -> str | None:
    """Why the model cannot work with this share of a card of `total` GiB, and what would help; None when it can."""
    if share == 0:
        return (
            f"{deployment} is to run on a GPU, and has no num_gpus: give it the share of a card that it may use, "
            "or set its device to cpu"
        )
    peak, allowed = peak_of(own), min(share, 1) * total
    if peak is None or peak.smallest <= allowed:
        return None
    needed = math.ceil(peak.smallest / total * 20) / 20
    cure = f"give it num_gpus: {needed:g}, or a larger card" if needed <= 1 else "give it a larger card"
    return (
        f"{deployment} may use {share:g} of this card's {total:.1f} GiB = {allowed:.1f} GiB, "
        f"and {model_of(own)} needs {peak.smallest:.1f}: {cure}"
    )


def peak_of(own: ModuleSettings) -> Peak | None:
    """What was measured of the model with these settings."""
    return PEAKS.get(model_of(own)) or PEAKS.get(getattr(own, "kind", ""))


def model_of(own: ModuleSettings) -> str:
    """What the settings call their model."""
    return str(getattr(own, "checkpoint", None) or getattr(own, "weights", None) or getattr(own, "kind", ""))


def _uses_gpu(own: ModuleSettings) -> bool:
    device: Device = getattr(own, "device", "cpu")
    return device != "cpu" and torch_device(device) != "cpu"


def _share() -> float | None:
    """Of one card, or the number of cards. None where this is no replica of Serve's."""
    import ray
    from ray import serve as rs
    from ray.serve.exceptions import RayServeException

    try:
        rs.get_replica_context()
    except RayServeException:
        return None
    assigned: Mapping[str, float] = ray.get_runtime_context().get_assigned_resources()  # type: ignore[no-untyped-call]
    return float(assigned.get("GPU", 0))
