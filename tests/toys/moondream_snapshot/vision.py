"""How the stand-in for Moondream2 cuts a picture: as upstream, a tall one costs many crops, and all are bfloat16."""

import numpy as np
import torch
from PIL import Image

from .config import VisionConfig


def prepare_crops(
    image: Image.Image, config: VisionConfig, device: torch.device
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Crops, bfloat16, shape (n, 3, crop_size, crop_size), and how they tile the picture."""
    tiling = (1, 1) if image.height <= 378 else (2, 4)
    side = config.crop_size
    small = np.asarray(image.resize((side, side)), dtype=np.float32) / 255
    crop = torch.from_numpy(small).permute(2, 0, 1).to(device, torch.bfloat16)
    return crop.expand(1 + tiling[0] * tiling[1], -1, -1, -1), tiling
