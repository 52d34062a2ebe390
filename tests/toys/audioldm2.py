"""A toy-size AudioLDM2 with random weights, saved in the layout of the checkpoints that are published on the hub.

Every component is the real library class, only small; the vocabularies are written out here. Nothing is
downloaded, and the same call writes the same files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORDS = (
    "a",
    "and",
    "birds",
    "calm",
    "dogs",
    "low",
    "music",
    "night",
    "of",
    "quality",
    "rain",
    "sea",
    "sound",
    "the",
    "wind",
)
"""What the T5 tokenizer knows as one token each; it spells other words, letter by letter."""

Sizes = Mapping[str, Mapping[str, Any]]
"""The configuration of each component: unet, vae, clap, t5, gpt2, projection, vocoder, features."""

# 8 kHz; a mel frame is 40 samples, a latent row 160 (20 ms); rows come in twos, and 128 rows (2.56 s) are the native length.
TOY: Sizes = {
    "unet": {
        "sample_size": 128,
        "in_channels": 4,
        "out_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": ((None, 16, 32), (None, 16, 32)),
        "attention_head_dim": 2,
    },
    "vae": {
        "in_channels": 1,
        "out_channels": 1,
        "latent_channels": 4,
        "norm_num_groups": 4,
        "block_out_channels": (8, 8, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
    },
    "clap": {
        "text_config": {
            "vocab_size": 1000,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "projection_dim": 16,
        },
        "audio_config": {
            "spec_size": 64,
            "num_mel_bins": 16,
            "window_size": 4,
            "patch_size": 2,
            "patch_stride": 2,
            "hidden_size": 32,
            "patch_embeds_hidden_size": 16,
            "depths": [1, 1],
            "num_hidden_layers": 2,
            "num_attention_heads": [1, 1],
            "intermediate_size": 32,
            "projection_dim": 16,
            "enable_fusion": False,
        },
        "projection_dim": 16,
    },
    "t5": {"vocab_size": 1000, "d_model": 32, "d_ff": 32, "d_kv": 8, "num_heads": 2, "num_layers": 1},
    "gpt2": {
        "n_embd": 16,
        "n_head": 2,
        "n_layer": 1,
        "vocab_size": 1000,
        "n_positions": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "projection": {"text_encoder_dim": 16, "text_encoder_1_dim": 32, "langauge_model_dim": 16},
    "vocoder": {
        "model_in_dim": 16,
        "sampling_rate": 8000,
        "upsample_initial_channel": 16,
        "upsample_rates": [5, 4, 2],
        "upsample_kernel_sizes": [10, 8, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
        "normalize_before": False,
    },
    "features": {"feature_size": 16, "hop_length": 960, "fft_window_size": 2048, "max_length_s": 2},
}


def make_audioldm2(folder: Path) -> Path:
    """Write the toy checkpoint into `folder`, and return it. Takes about a second."""
    random_audioldm2(TOY).save_pretrained(folder)
    # What the published checkpoints name: today's transformers would write its own, newer names.
    index = folder / "model_index.json"
    named = json.loads(index.read_text())
    named["tokenizer"] = ["transformers", "RobertaTokenizerFast"]
    named["tokenizer_2"] = ["transformers", "T5TokenizerFast"]
    index.write_text(json.dumps(named, indent=2))
    return folder


def random_audioldm2(sizes: Sizes, *, seed: int = 0) -> Any:
    """An AudioLDM2Pipeline of these sizes with random weights, on the CPU, its language model declared as on the hub."""
    import diffusers
    import torch
    import transformers as tf

    scheduler = diffusers.DDIMScheduler(
        beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        models = {
            "unet": diffusers.AudioLDM2UNet2DConditionModel(**sizes["unet"]),
            "vae": diffusers.AutoencoderKL(**sizes["vae"]),
            "text_encoder": tf.ClapModel(tf.ClapConfig(**sizes["clap"])),
            "text_encoder_2": tf.T5EncoderModel(tf.T5Config(**sizes["t5"])),
            "language_model": tf.GPT2Model(tf.GPT2Config(**sizes["gpt2"])),
            "projection_model": diffusers.AudioLDM2ProjectionModel(**sizes["projection"]),
            "vocoder": tf.SpeechT5HifiGan(tf.SpeechT5HifiGanConfig(**sizes["vocoder"])),
        }
        # with its own initial weights the vocoder is silent, whatever the spectrogram
        for values in models["vocoder"].parameters():
            (torch.nn.init.kaiming_normal_ if values.ndim > 1 else torch.nn.init.zeros_)(values)
    models["language_model"].config.max_new_tokens = 8
    return diffusers.AudioLDM2Pipeline(
        **{name: model.eval() for name, model in models.items()},
        scheduler=scheduler,
        tokenizer=_clap_tokenizer(),
        tokenizer_2=_t5_tokenizer(),
        feature_extractor=tf.ClapFeatureExtractor(
            **sizes["features"], sampling_rate=48000, truncation="rand_trunc", padding="repeatpad"
        ),
    )


def _clap_tokenizer() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    return RobertaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=512)


def _t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    # A unigram vocabulary: whole words are likelier than their letters; what is not listed is unknown.
    letters = [chr(code) for code in range(33, 127)]
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    pieces += [(letter, -10.0) for letter in ("▁", *letters)] + [(f"▁{word}", -5.0) for word in WORDS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=128)
