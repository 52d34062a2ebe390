"""A toy-size ACE-Step 1.5 with random weights, saved in the layout of the checkpoints that are published on the hub.

Every component is the real library class, only small; the vocabulary is written out here. Nothing is downloaded, and
the same call writes the same files.
"""

import json
from pathlib import Path
from typing import Any

RATE = 8000  # Hz
ROW = 320  # samples of one latent row (40 ms, as in the published checkpoints)

_WIDTH, _LATENT, _TEXT = 16, 8, 16
_ATTENTION = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 16}


def make_ace_step(folder: Path, *, turbo: bool = True) -> Path:
    """Write the toy checkpoint into `folder`, and return it. Takes about a second.

    turbo: with the guidance distilled into its weights, as the checkpoint that we name is.
    """
    import diffusers
    import torch
    import transformers as tf

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        models = {
            "vae": diffusers.AutoencoderOobleck(
                encoder_hidden_size=2 * _LATENT,
                downsampling_ratios=[4, 8, 10],
                channel_multiples=[1, 2, 2],
                decoder_channels=4,
                decoder_input_channels=_LATENT,
                audio_channels=2,
                sampling_rate=RATE,
            ),
            "text_encoder": tf.Qwen3Model(
                tf.Qwen3Config(
                    vocab_size=300,
                    hidden_size=_TEXT,
                    intermediate_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    num_key_value_heads=1,
                    head_dim=8,
                    initializer_range=1.0,
                )
            ),
            "transformer": diffusers.AceStepTransformer1DModel(
                hidden_size=_WIDTH,
                intermediate_size=32,
                num_hidden_layers=2,
                in_channels=3 * _LATENT,
                audio_acoustic_hidden_dim=_LATENT,
                is_turbo=turbo,
                **_ATTENTION,
            ),
            "condition_encoder": diffusers.AceStepConditionEncoder(
                hidden_size=_WIDTH,
                intermediate_size=32,
                text_hidden_dim=_TEXT,
                timbre_hidden_dim=_LATENT,
                num_lyric_encoder_hidden_layers=1,
                num_timbre_encoder_hidden_layers=1,
                **_ATTENTION,
            ),
        }
        models["condition_encoder"].silence_latent.normal_(std=0.1)
        # with its own initial weights the transformer hardly hears the words
        models["transformer"].condition_embedder.weight.data.mul_(30)
    diffusers.AceStepPipeline(
        **{name: model.eval() for name, model in models.items()},
        tokenizer=_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    ).save_pretrained(folder)
    # What the published checkpoints name: today's transformers would write its own, newer name.
    index = folder / "model_index.json"
    named = json.loads(index.read_text())
    named["tokenizer"] = ["transformers", "Qwen2TokenizerFast"]
    index.write_text(json.dumps(named, indent=2))
    return folder


def _tokenizer() -> Any:
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    # It knows no words: every letter is a token.
    pieces = ["<|endoftext|>", *sorted(ByteLevel.alphabet())]
    return Qwen2Tokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
