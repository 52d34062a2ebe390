"""Sizes of the stand-in for Moondream2, under upstream's names."""

from dataclasses import dataclass

VOCABULARY = ("<eos>", "<bos>", "a", "red", "green", "blue", "picture")


@dataclass(frozen=True)
class TextConfig:
    dim: int = 3 + len(VOCABULARY)  # the picture's colour, then the last word as one-hot
    max_context: int = 16


@dataclass(frozen=True)
class VisionConfig:
    crop_size: int = 28


@dataclass(frozen=True)
class MoondreamConfig:
    text: TextConfig = TextConfig()
    vision: VisionConfig = VisionConfig()
