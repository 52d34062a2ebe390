"""Prompts as AudioLDM2's UNet takes them: each encoded alone, so that a text is heard the same in any company.

(diffusers' pipeline cuts a negative prompt to the prompt's number of tokens, and lets one text's padding shift the language model's
states of another. It also pads CLAP's text to 512 tokens, of which none but the text's own are read.)
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize, pad

from models.audio import Audio, resample
from models.audio_generation.sizes import Sizes

CACHED = 512  # texts; 0.3 MB each


@dataclass(frozen=True)
class Conditioning:
    """One text, on the model's device."""

    states: torch.Tensor
    """Of T5: (tokens, width), padded to the most tokens that the model reads."""
    mask: torch.Tensor
    """(tokens,): 1 where `states` are the text's, 0 where they are padding."""
    generated: torch.Tensor
    """Of the language model: (8, width)."""
    unread: int = 0
    """Words at the text's end that do not fit the model's limit."""


class TextEncoder:
    """Encodes texts, and remembers them: the negative prompt of nearly every request is the same.

    All but `listen` is for one thread at a time, the device's: not even the tokenizers can be shared.
    """

    def __init__(self, pipeline: Any) -> None:
        """`pipeline`: an AudioLDM2Pipeline as `load_pipeline` makes it."""
        self._pipeline = pipeline
        self._tokens = Sizes.of(pipeline).text
        self._cache: OrderedDict[str, Conditioning] = OrderedDict()

    def encode(self, text: str) -> Conditioning:
        """The text alone."""
        if text not in self._cache:
            self._cache[text] = self._encode(text, None, 0)
        self._cache.move_to_end(text)
        if len(self._cache) > CACHED:
            self._cache.popitem(last=False)
        return self._cache[text]

    def encode_with_sound(self, text: str, heard: torch.Tensor, *, weight: float) -> Conditioning:
        """The text, with what CLAP reads in it mixed with what it hears in a sound (`hear`); weight 0: the text alone.

        T5's states, which the UNet sees beside the language model's, are of the text whatever the weight.
        """
        return self._encode(text, heard, weight)

    def listen(self, audio: Audio, *, to_all: bool = False) -> torch.Tensor:
        """A sound as `hear` takes it. Of a long one the middle, as much as CLAP takes at once (10 s), or all, piece by piece.

        Any thread may call it. (CLAP's own feature extractor would crop at random.)
        """
        extractor = self._pipeline.feature_extractor
        at_once, count = extractor.nb_max_samples, audio.samples.shape[1]
        piece = audio.sample_rate * at_once // extractor.sampling_rate
        first = max(0, count - piece) // 2
        # what is left of a sound at its end counts when it is long enough to be one
        starts = [0, *range(piece, count - piece // 4 + 1, piece)] if to_all else [first]
        heard = []
        for start in starts:
            mono = audio.samples[:, start : start + piece].mean(0, keepdims=True)
            heard.append(resample(mono, rate=audio.sample_rate, to=extractor.sampling_rate)[0, :at_once])
        made = extractor(heard, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        features: torch.Tensor = made.input_features
        return features

    @torch.no_grad()
    def hear(self, features: torch.Tensor) -> torch.Tensor:
        """What CLAP's audio branch makes of a sound that was listened to: a unit vector of shape (1, width), of all its pieces."""
        clap = self._pipeline.text_encoder
        pieces = clap.get_audio_features(features.to(clap.device, clap.dtype)).pooler_output.float()
        return normalize(normalize(pieces, dim=-1).mean(0, keepdim=True), dim=-1)

    @torch.no_grad()
    def read(self, text: str) -> torch.Tensor:
        """What CLAP's text branch makes of a text: a unit vector of shape (1, width)."""
        tokenizer, clap = self._pipeline.tokenizer, self._pipeline.text_encoder
        tokens = tokenizer(text, truncation=True, max_length=tokenizer.model_max_length, return_tensors="pt")
        return normalize(clap.get_text_features(**tokens.to(clap.device)).pooler_output.float(), dim=-1)

    @torch.no_grad()
    def _encode(self, text: str, heard: torch.Tensor | None, weight: float) -> Conditioning:
        pipeline = self._pipeline
        clap = self.read(text)
        if heard is not None:
            clap = normalize(torch.lerp(clap, heard, weight), dim=-1)
        tokens = pipeline.tokenizer_2(text, truncation=True, max_length=self._tokens, return_tensors="pt")
        tokens = tokens.to(pipeline.device)
        states = pipeline.text_encoder_2(**tokens)[0]
        projected = pipeline.projection_model(
            hidden_states=clap[:, None].to(states.dtype),
            hidden_states_1=states,
            attention_mask=tokens.attention_mask.new_ones((1, 1)),
            attention_mask_1=tokens.attention_mask,
        )
        generated = pipeline.generate_language_model(
            projected.hidden_states, attention_mask=projected.attention_mask, max_new_tokens=None
        )
        missing = self._tokens - states.shape[1]
        return Conditioning(
            states=pad(states[0], (0, 0, 0, missing)),
            mask=pad(tokens.attention_mask[0], (0, missing)),
            generated=generated[0],
            unread=self._unread(text),
        )

    def _unread(self, text: str) -> int:
        words = text.split()

        def tokens(count: int) -> int:
            return len(self._pipeline.tokenizer_2(" ".join(words[:count]), verbose=False).input_ids)

        return len(words) - (bisect_right(range(len(words) + 1), self._tokens, key=tokens) - 1)
