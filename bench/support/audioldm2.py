"""AudioLDM2 at its real size, with random weights: they change the sound and not the arithmetic, and nothing is downloaded."""

import multiprocessing
from pathlib import Path

from tests.toys.audioldm2 import TOY, Sizes, random_audioldm2

# cvssp/audioldm2, from its published configuration and diffusers' conversion script.
BASE: Sizes = {
    "unet": {
        "sample_size": 256,
        "in_channels": 8,
        "out_channels": 8,
        "layers_per_block": 2,
        "block_out_channels": (128, 256, 384, 640),
        "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3,
        "up_block_types": ("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",),
        "cross_attention_dim": ((None, 768, 1024),) * 4,
        "transformer_layers_per_block": 1,
    },
    "vae": {
        "sample_size": 1024,
        "in_channels": 1,
        "out_channels": 1,
        "latent_channels": 8,
        "layers_per_block": 2,
        "block_out_channels": (128, 256, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "scaling_factor": 0.4,
    },
    "clap": {
        "text_config": {"vocab_size": 50265, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
        "audio_config": {
            "patch_embeds_hidden_size": 128,
            "hidden_size": 1024,
            "depths": [2, 2, 12, 2],
            "num_attention_heads": [4, 8, 16, 32],
        },
        "projection_dim": 512,
    },
    "t5": {
        "vocab_size": 32128,
        "d_model": 1024,
        "d_kv": 64,
        "d_ff": 2816,
        "num_layers": 24,
        "num_heads": 16,
        "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False,
    },
    "gpt2": {},
    "projection": {"text_encoder_dim": 512, "text_encoder_1_dim": 1024, "langauge_model_dim": 768},
    "vocoder": {
        "model_in_dim": 64,
        "sampling_rate": 16000,
        "upsample_initial_channel": 1024,
        "upsample_rates": [5, 4, 2, 2, 2],
        "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        "normalize_before": False,
    },
    "features": {"feature_size": 64, "hop_length": 480, "fft_window_size": 1024, "max_length_s": 10},
}

SIZES = {"toy": TOY, "base": BASE}


def checkpoint(folder: Path, *, size: str) -> Path:
    """The folder, with a checkpoint of that size in it (base: 4.2 GiB)."""
    # in a process of its own, or its memory would be counted
    writer = multiprocessing.get_context("spawn").Process(target=_write, args=(folder, size))
    writer.start()
    writer.join()
    if writer.exitcode != 0:
        raise RuntimeError("the checkpoint could not be written")
    return folder


def _write(folder: Path, size: str) -> None:
    random_audioldm2(SIZES[size]).save_pretrained(folder)
