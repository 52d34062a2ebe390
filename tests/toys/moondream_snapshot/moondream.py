"""A stand-in for the code of a Moondream2 snapshot: upstream's names, calls and traps, and a few dozen weights.

It answers "a red picture", "a green picture" or "a blue picture". The traps: built, it wants a tokenizer from elsewhere, buffers
outside the checkpoint decide what it says, one cache serves all calls, sampling is on unless turned off, and a plain picture
with settings ends in KeyError.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import nn

from .config import VOCABULARY, MoondreamConfig
from .vision import prepare_crops

EOS, BOS = 0, 1


@dataclass(frozen=True)
class EncodedImage:
    cache: torch.Tensor


class MoondreamModel(nn.Module):
    attn_mask: torch.Tensor
    freqs_cis: torch.Tensor

    def __init__(
        self, config: MoondreamConfig, dtype: torch.dtype = torch.bfloat16, *, setup_caches: bool = True
    ) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = Tokenizer.from_pretrained("moondream/starmie-v1")
        self.proj = nn.Linear(3, 3, dtype=dtype)
        self.lm_head = nn.Linear(config.text.dim, len(VOCABULARY), dtype=dtype)
        context = config.text.max_context
        self.register_buffer("attn_mask", torch.ones(context, dtype=torch.bool), persistent=False)
        self.register_buffer("freqs_cis", torch.ones(context, dtype=torch.float32), persistent=False)
        self.crops_seen: list[int] = []
        if setup_caches:
            self._setup_caches()

    def _setup_caches(self) -> None:
        self.cache = torch.zeros(3, dtype=self.proj.weight.dtype, device=self.proj.weight.device)

    def encode_image(self, image: Image.Image | EncodedImage) -> EncodedImage:
        if isinstance(image, EncodedImage):
            return image
        crops, _ = prepare_crops(image, self.config.vision, device=self.attn_mask.device)
        self.crops_seen.append(len(crops))
        self.cache.copy_(self.proj(crops.mean(dim=(0, 2, 3))))
        time.sleep(0.001)  # another thread's turn: without a lock, the cache is then of another picture
        return EncodedImage(self.cache.clone())

    def query(
        self,
        image: Image.Image | EncodedImage,
        question: str,
        *,
        settings: Mapping[str, float] | None = None,
    ) -> dict[str, str]:
        chosen = dict(settings or {})
        if settings is not None and not isinstance(image, EncodedImage):
            chosen["variant"] = chosen["variant"]
        self.tokenizer.encode(question)
        self.cache.copy_(self.encode_image(image).cache)
        words, last = [], BOS
        for place in range(int(chosen.get("max_tokens", 768))):
            last = self._next(last, place, temperature=chosen.get("temperature", 0.5))
            if last == EOS:
                break
            words.append(last)
            time.sleep(0.001)
        return {"answer": " " + self.tokenizer.decode(words) + " "}

    def _next(self, last: int, place: int, *, temperature: float) -> int:
        word = nn.functional.one_hot(torch.tensor(last), len(VOCABULARY)).to(self.cache)
        seen = self.cache * self.attn_mask[place] * self.freqs_cis[place].to(self.cache.dtype)
        logits = self.lm_head(torch.cat([seen, word])).float()
        if temperature:
            return int(torch.multinomial(torch.softmax(logits / (1000 * temperature), dim=0), 1))
        return int(logits.argmax())
