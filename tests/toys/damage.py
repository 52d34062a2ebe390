"""Ways in which a checkpoint's file of weights may be broken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path], None]


def cut_short(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])


def lose(name: str | None = None) -> Damage:
    """Without this weight; None: without the first one."""
    return lambda weights: _change(weights, lambda tensors: tensors.pop(name or min(tensors)))


def fill(value: float) -> Damage:
    """With nothing but this number."""

    def every_number(tensors: dict[str, Any]) -> None:
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(value)

    return lambda weights: _change(weights, every_number)


def _change(weights: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights, metadata={"format": "pt"})
