"""How an AudioLDM2 checkpoint measures time."""

import math
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Sizes:
    """A latent is a sequence of rows; each becomes a few mel frames, and each of those a few samples. In brackets: as published."""

    sample_rate: int
    """Hz (16,000)."""
    frame: int
    """Samples of a mel frame (160: 10 ms)."""
    frames: int
    """Mel frames of a latent row (4: 40 ms)."""
    channels: int
    """Of the latent (8)."""
    columns: int
    """Of a latent row (16)."""
    window: int
    """Rows of a training clip (256: 10.24 s): the UNet, the VAE and the vocoder are never given more."""
    text: int
    """Tokens of a prompt that the model reads (128)."""

    @classmethod
    def of(cls, pipeline: Any) -> Self:
        """Of a diffusers AudioLDM2Pipeline."""
        vocoder, unet, frames = pipeline.vocoder.config, pipeline.unet.config, pipeline.vae_scale_factor
        return cls(
            sample_rate=vocoder.sampling_rate,
            frame=math.prod(vocoder.upsample_rates),
            frames=frames,
            channels=unet.in_channels,
            columns=vocoder.model_in_dim // frames,
            window=unet.sample_size,
            text=pipeline.tokenizer_2.model_max_length,
        )

    @property
    def row(self) -> int:
        """Samples of a latent row (640)."""
        return self.frame * self.frames

    def rows(self, samples: int) -> int:
        """The fewest rows that hold so many samples."""
        return max(1, math.ceil(samples / self.row))
