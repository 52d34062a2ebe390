"""AudioLDM2 (Liu et al., arXiv:2308.05734) through diffusers' pipeline: 16 kHz, one channel, nothing above 8 kHz.

The model learnt on 10.24 s. A longer sound is made of clips of one length, at most that, joined by equal-power
cross-fades of about a second: the clips share a prompt, but none knows how its neighbour ends. (Overlapping windows of
one latent will take their place, behind the same verb.) Memory does not grow with the length, beyond the samples.
"""

import functools
import itertools
import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field

from models.audio import Audio, Samples
from models.audio_generation import AudioRequest, GeneratedAudio, OnStep, nothing_to_report
from models.audio_generation.loading import find_checkpoint, load_pipeline
from models.audio_generation.ranking import clap_score
from models.device import Device, torch_device
from models.errors import InputTooLarge, ModelUnavailable, ModuleFailed
from models.schema import Frozen

if TYPE_CHECKING:
    import torch


class AudioLDM2Settings(Frozen):
    """Which AudioLDM2, and where it runs."""

    kind: Literal["audioldm2"] = "audioldm2"
    checkpoint: str = Field("cvssp/audioldm2", min_length=1)
    """Name on the Hugging Face hub (cvssp/audioldm2 for sounds, cvssp/audioldm2-music for music), or a local folder."""
    revision: str | None = Field(None, min_length=1)
    """Commit on the hub. None: the one that we know of cvssp/audioldm2, the newest of any other."""
    device: Device = "auto"
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Precision of all but the vocoder. auto: float16 on a GPU (bfloat16 rounds the spectrogram by up to
    0.3 dB), float32 on a CPU."""
    steps: int = Field(20, ge=1, le=500)
    """Denoising steps (DPM-Solver++) where the request leaves them open."""
    guidance: float = Field(3.5, ge=1, le=20)
    """Classifier-free guidance where the request leaves it open. 1: none, and negative prompts have no effect."""
    max_seconds: float = Field(1800, gt=0, le=7200)
    """The longest sound that is made."""
    memory_fraction: float | None = Field(None, gt=0, le=1)
    """Share of the GPU's memory that this process may use, enforced by torch. None: all of it. No effect on a CPU."""


@dataclass(frozen=True)
class _Sizes:
    """How the checkpoint measures time. In brackets: the published ones."""

    sample_rate: int
    """Hz (16,000)."""
    row: int
    """Samples of one latent row (640: 40 ms)."""
    rows_multiple: int
    """The UNet halves the rows so often that it wants multiples of this (8: 0.32 s)."""
    native_rows: int
    """Rows of a training clip (256: 10.24 s)."""
    latent: tuple[int, int]
    """Channels, and columns of a row (8, 16)."""

    @classmethod
    def of(cls, pipeline: Any) -> Self:
        vocoder, unet, scale = pipeline.vocoder.config, pipeline.unet.config, pipeline.vae_scale_factor
        return cls(
            sample_rate=vocoder.sampling_rate,
            row=math.prod(vocoder.upsample_rates) * scale,
            rows_multiple=2 ** (len(unet.block_out_channels) - 1),
            native_rows=unet.sample_size,
            latent=(unet.in_channels, vocoder.model_in_dim // scale),
        )

    @property
    def fade(self) -> int:
        """Samples that neighbouring clips share (16,384: 1.02 s)."""
        return self.native_rows * self.row // 10

    def clips(self, samples: int) -> tuple[int, int]:
        """Number of clips for so many samples, and the rows of each: as few clips as can be, all of one length."""
        count = max(1, math.ceil((samples - self.fade) / (self.native_rows * self.row - self.fade)))
        rows = math.ceil((samples + (count - 1) * self.fade) / count / self.row)
        return count, math.ceil(rows / self.rows_multiple) * self.rows_multiple


class AudioLDM2Generator:
    """Sound from words. One generation at a time: a second call waits for the first."""

    def __init__(self, pipeline: Any, settings: AudioLDM2Settings, *, model: str) -> None:
        """Around a pipeline as `load_pipeline` makes it; see `load`."""
        self.model = model
        self.device = str(pipeline.device)
        # of the weights: not for commercial use; another checkpoint has to be asked itself
        self.licence = "CC-BY-NC-SA-4.0" if settings.checkpoint.startswith("cvssp/audioldm2") else None
        self._pipeline = pipeline
        self._settings = settings
        self._sizes = _Sizes.of(pipeline)
        self._lock = threading.Lock()  # the pipeline's scheduler holds the state of one generation

    @classmethod
    def load(cls, settings: AudioLDM2Settings) -> Self:
        """Load the checkpoint and let it make a short sound in one step.

        Raises ModelUnavailable when the weights cannot be had, do not load, or fail that check.
        """
        import torch

        device = torch_device(settings.device)
        if device != "cpu" and settings.memory_fraction is not None:
            torch.cuda.set_per_process_memory_fraction(settings.memory_fraction, device)
        dtype = settings.dtype if settings.dtype != "auto" else "float32" if device == "cpu" else "float16"
        checkpoint = find_checkpoint(settings.checkpoint, revision=settings.revision)
        pipeline = load_pipeline(checkpoint, device=device, dtype=getattr(torch, dtype))
        generator = cls(pipeline, settings, model=checkpoint.name)
        generator._self_check()
        return generator

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        """Mono sound at the model's rate, ceil(rate·seconds) samples.

        The noise is drawn on the CPU from the request's seed: the same request gives the same samples on the same
        machine, whatever was generated or cancelled before, and the first of several candidates is the one that is made
        alone. `on_step` counts over all clips of all candidates; what it raises stops the generation.

        Raises InputTooLarge when the sound is to be longer than this generator makes, ModuleFailed when the samples
        are not finite.
        """
        if request.seconds > self._settings.max_seconds:
            raise InputTooLarge(
                f"{request.seconds:g} s of sound asked for; this generator makes at most {self._settings.max_seconds:g} s"
            )
        steps = request.steps or self._settings.steps
        guidance = request.guidance or self._settings.guidance
        samples = max(1, math.ceil(request.seconds * self._sizes.sample_rate - 1e-6))
        total = request.candidates * self._sizes.clips(samples)[0] * steps
        done = itertools.count(1)
        with self._lock:
            denoise = functools.partial(
                self._pipeline,
                **self._conditioning(request.prompt, request.negative_prompt),
                num_inference_steps=steps,
                guidance_scale=guidance,
                output_type="latent",
                callback=lambda *_: on_step(next(done), total),
            )
            candidates = (
                self._track(samples, denoise, seed=(request.seed, candidate)) for candidate in range(request.candidates)
            )
            audio, score = self._best(candidates, request)
        unread = _words_unread(self._pipeline.tokenizer_2, request.prompt)
        return GeneratedAudio(audio, steps=steps, guidance=guidance, score=score, prompt_words_unread=unread)

    def _best(self, candidates: Iterator[Audio], request: AudioRequest) -> tuple[Audio, float | None]:
        """The candidate that CLAP finds nearest to the prompt; only that and the one being made are in memory."""
        if request.candidates == 1:
            return next(candidates), None
        scored = ((made, clap_score(self._pipeline, made, prompt=request.prompt)) for made in candidates)
        return max(scored, key=lambda pair: pair[1])

    def _conditioning(self, prompt: str, negative_prompt: str) -> dict[str, "torch.Tensor"]:
        """The texts as the pipeline takes them, each encoded alone.

        Encoded together, diffusers would cut the negative prompt to the prompt's number of tokens, and either's padding
        would shift the language model's states of the other. Here only the T5 states are padded, and masked.
        """
        import torch

        encoded = {}
        with torch.no_grad():
            for prefix, text in (("", prompt), ("negative_", negative_prompt)):
                states, mask, generated = self._pipeline.encode_prompt([text], self._pipeline.device, 1, False)
                encoded[f"{prefix}prompt_embeds"] = states
                encoded[f"{prefix}attention_mask"] = mask
                encoded[f"{prefix}generated_prompt_embeds"] = generated
        length = max(encoded["attention_mask"].shape[1], encoded["negative_attention_mask"].shape[1])
        for prefix in ("", "negative_"):
            missing = length - encoded[f"{prefix}attention_mask"].shape[1]
            for name, padding in (("prompt_embeds", (0, 0, 0, missing)), ("attention_mask", (0, missing))):
                encoded[prefix + name] = torch.nn.functional.pad(encoded[prefix + name], padding)
        return encoded

    def _track(self, samples: int, denoise: Callable[..., Any], *, seed: tuple[int, ...]) -> Audio:
        """One candidate: its clips, cross-faded, cut to so many samples."""
        import torch

        noise = torch.Generator("cpu").manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))
        count, rows = self._sizes.clips(samples)
        length, fade = rows * self._sizes.row, self._sizes.fade
        # clips are unrelated sounds: their powers add up, so it is the squares of the gains that sum to one
        fade_in = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32))
        track = np.zeros(count * length - (count - 1) * fade, np.float32)
        channels, columns = self._sizes.latent
        for index in range(count):
            drawn = torch.randn((1, channels, rows, columns), generator=noise)
            clip = self._decode(denoise(latents=drawn.to(self._pipeline.unet.dtype)).audios)[:length]
            if index > 0:
                clip[:fade] *= fade_in
            if index < count - 1:
                clip[-fade:] *= fade_in[::-1]
            start = index * (length - fade)
            track[start : start + length] += clip
        track = track[:samples]
        track /= max(1.0, float(np.abs(track).max()))
        return Audio(track[np.newaxis], self._sizes.sample_rate)

    def _decode(self, latents: "torch.Tensor") -> Samples:
        """Latents of shape (1, channels, rows, columns) to float32 samples in [-1, 1], at least rows·row of them."""
        import torch

        vae, vocoder = self._pipeline.vae, self._pipeline.vocoder
        with torch.no_grad():
            mel = vae.decode(latents / vae.config.scaling_factor).sample
            samples: Samples = vocoder(mel[:, 0].to(vocoder.dtype))[0].cpu().numpy()
        if not np.isfinite(samples).all():
            raise ModuleFailed(f"{self.model} made samples that are not finite, in {self._pipeline.unet.dtype}")
        return samples

    def _self_check(self) -> None:
        """Everything that a request needs, once, with as little work as it takes."""
        request = AudioRequest("a sound", seconds=1, seed=0, negative_prompt="noise", steps=1, candidates=2)
        try:
            made = self.generate(request, on_step=nothing_to_report)
        except Exception as error:  # any: the libraries' changes show here
            raise ModelUnavailable(f"{self.model} failed its self-check: {error}") from error
        if np.ptp(made.audio.samples) == 0 or made.audio.samples.shape[1] != self._sizes.sample_rate:
            raise ModelUnavailable(f"{self.model} failed its self-check: it did not make one second of sound")
        if made.score is None or not math.isfinite(made.score):
            raise ModelUnavailable(f"{self.model} failed its self-check: its CLAP gave no score")


def _words_unread(tokenizer: Any, prompt: str) -> int:
    """Words at the prompt's end that do not fit the tokenizer's limit (128 tokens for the published checkpoints)."""
    words = prompt.split()

    def tokens(count: int) -> int:
        return len(tokenizer(" ".join(words[:count]), verbose=False).input_ids)

    read = bisect_right(range(len(words) + 1), tokenizer.model_max_length, key=tokens) - 1
    return len(words) - read
