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
    """What one process was seen to take of a card, GiB: three columns of `bench/placement.py`."""

    loaded: float
    """By torch, with the model loaded and nothing in it."""
    peak: float
    """By torch, at the most, with the largest batch."""
    on_card: float
    """Then, by the driver: with what torch does not count, which is CUDA's context, its libraries and recorded graphs."""

    @property
    def beside(self) -> float:
        """What torch does not count."""
        return self.on_card - self.peak

    @property
    def least(self) -> float:
        """Without which the model cannot be loaded."""
        return self.loaded + self.beside


PEAKS: Mapping[str, Peak] = {
    "yolov9e.pt": Peak(loaded=0.41, peak=1.43, on_card=2.04),
    "resnet18": Peak(loaded=0.06, peak=1.12, on_card=1.74),
    "moondream2": Peak(loaded=3.63, peak=3.76, on_card=4.44),
}
"""By checkpoint (`yolov9e.pt`, `cvssp/audioldm2`), or by kind where every checkpoint of it is as large. On what they were measured,
and in which batches, stands in `bench/RESULTS.md`; Moondream2's is of a stand-in of its size."""
UNKNOWN = Peak(loaded=0, peak=0, on_card=0.7)
"""Of a model that was not measured: what CUDA took beside torch in every process that was. The model itself is taken to fit."""


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
    seen = peak_of(own) or UNKNOWN
    allowed = min(share, 1) * total
    if free < seen.loaded:  # CUDA's own part is there by now
        raise ModelUnavailable(
            f"{deployment} loads {seen.loaded:.1f} GiB of {model_of(own)}, and {free:.1f} of this card's {total:.1f} GiB are free: "
            "something that Ray does not know of uses the card; `nvidia-smi` shows what"
        )
    if allowed < seen.on_card:
        logger.warning(
            "%s may use %.1f GiB of the card, and would take %.1f with its largest batches: it will have to make them smaller",
            deployment, allowed, seen.on_card,
        )  # fmt: skip
    torch.cuda.set_per_process_memory_fraction((allowed - seen.beside) / total, 0)


def misfit(deployment: str, own: ModuleSettings, *, share: float, total: float) -> str | None:
    """Why the model cannot work with this share of a card of `total` GiB, and what would help; None when it can."""
    if share == 0:
        return (
            f"{deployment} is to run on a GPU, and has no num_gpus: give it the share of a card that it may use, "
            "or set its device to cpu"
        )
    seen, allowed = peak_of(own) or UNKNOWN, min(share, 1) * total
    if seen.least <= allowed:
        return None
    needed = math.ceil(seen.least / total * 20) / 20
    cure = f"give it num_gpus: {needed:g}, or a larger card" if needed <= 1 else "give it a larger card"
    return (
        f"{deployment} may use {share:g} of this card's {total:.1f} GiB = {allowed:.1f} GiB, "
        f"and {model_of(own)} needs {seen.least:.1f}: {cure}"
    )


def peak_of(own: ModuleSettings) -> Peak | None:
    """What was measured of the model that these settings name."""
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
