"""Where a model runs, and in which number format."""

from typing import TYPE_CHECKING, Literal

from models.errors import ModelUnavailable

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
"""auto: the first GPU that torch sees, else the CPU."""


def torch_device(wanted: Device) -> str:
    """Name of the device in torch's words: "cpu" or "cuda:0".

    Raises ModelUnavailable when a GPU is demanded and torch sees none.
    """
    import torch

    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise ModelUnavailable("the setting device is cuda, but torch sees no GPU here; auto and cpu need none")
    return "cuda:0" if available and wanted != "cpu" else "cpu"


def model_dtype(device: str) -> "torch.dtype":
    """What large models compute in: bfloat16 on a GPU that has it, float16 on an older one, float32 on the CPU.

    Half precision on a CPU without matching instructions is many times slower than float32.
    """
    import torch

    if device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
