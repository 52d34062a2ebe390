"""What one clip costs with AudioLDM2 at its real size: `python -m bench.audioldm2_full_size [--steps N] [--seconds S]`.

The weights are random, which changes the sound and not the arithmetic: no download. They are written as a checkpoint (4.2 GiB
in the temporary folder) and loaded as a published one is. Runs on the GPU if there is one, else patiently on the CPU.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

from tests.toys.audioldm2 import Sizes, random_audioldm2

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.24)
    arguments = parser.parse_args()

    from models.audio_generation import AudioRequest, nothing_to_report
    from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings

    with tempfile.TemporaryDirectory() as folder:
        # in a process of its own, or its memory would be counted
        writer = multiprocessing.get_context("spawn").Process(target=write_checkpoint, args=(folder,))
        writer.start()
        writer.join()
        start = time.perf_counter()
        generator = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=folder))
        print(f"{generator.device}: loaded and checked in {time.perf_counter() - start:.1f} s")
        request = AudioRequest("rain on a window", arguments.seconds, seed=0, steps=arguments.steps)
        start = time.perf_counter()
        made = generator.generate(request, on_step=nothing_to_report).audio
        took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{made.samples.shape[1]} samples ({made.seconds:g} s) in {arguments.steps} steps: {took:.1f} s")
    print(f"peak memory of the process: {peak:.1f} GiB" + gpu_memory(generator.device))


def write_checkpoint(folder: str) -> None:
    random_audioldm2(BASE).save_pretrained(Path(folder))


def gpu_memory(device: str) -> str:
    import torch

    return f", of the GPU: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if device.startswith("cuda") else ""


if __name__ == "__main__":
    main()
