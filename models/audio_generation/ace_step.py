"""ACE-Step 1.5 (Gong et al., arXiv:2602.00744) through diffusers' pipeline: music in 48 kHz stereo, up to ten minutes at once.

The model learnt on 10 s to 10 min: what is to be shorter is made 10 s long, and cut. It is asked for instrumental music, reads no
negative prompt, and nothing ranks its candidates. Each scene of a timeline is music of its own, and goes over into the next one's
in a second; so does the end of a loop into its beginning. Of a reference it takes the timbre.
"""

import functools
import itertools
import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.audio import Audio, Samples, read_audio, resample
from models.audio_generation import (
    WINDOW_SECONDS,
    AudioRequest,
    Candidate,
    GeneratedAudio,
    OnStep,
    nothing_to_report,
)
from models.audio_generation.loading import Checkpoint, find_checkpoint, load_whole, published
from models.audio_generation.scenes import Scene, crossed, in_turn, scenes, to_make
from models.device import Device, torch_device
from models.errors import InputTooLarge, ModelUnavailable, ModuleFailed
from models.fetching import first_line
from models.schema import ModuleSettings
from models.weights import Published

if TYPE_CHECKING:
    import torch

SHORTEST, LONGEST = 10.0, 600.0  # seconds that the model makes at once
PEAK = 10 ** (-1 / 20)  # of what the model makes, as its own pipeline has it: -1 dBFS
TEXT_TOKENS = 256  # that the model reads: its instruction, the prompt, and the length in words
INSTRUMENTAL = {"lyrics": "[Instrumental]", "vocal_language": "unknown"}

LICENCES = {"ACE-Step/acestep-v15-xl-turbo-diffusers": "MIT AND Apache-2.0"}
"""Of the weights, as others quote their card on the hub: MIT, and Apache-2.0 for the text encoder (Qwen3-Embedding-0.6B)."""


class AceStepSettings(ModuleSettings):
    """Which ACE-Step 1.5, and where it runs."""

    kind: Literal["ace-step"] = "ace-step"
    checkpoint: str = Field("ACE-Step/acestep-v15-xl-turbo-diffusers", min_length=1)
    """Name on the Hugging Face hub of a checkpoint in diffusers' layout, or a local folder."""
    revision: str | None = Field(None, min_length=1)
    """Commit on the hub. None: the one that we know of the default checkpoint; of any other, the newest when it is first fetched,
    which is kept."""
    device: Device = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of all but the autoencoder. auto: bfloat16 on a GPU that has it, else float32. (float16 is said to overflow.)"""
    steps: int | None = Field(None, ge=1, le=200)
    """Denoising steps where the request leaves them open. None: those it was made for, 8 (turbo) or 50 (base, sft)."""
    guidance: float = Field(7, ge=1, le=20)
    """Guidance where the request leaves it open. 1: none. Without effect on turbo checkpoints, which have it in their weights."""
    max_seconds: float = Field(LONGEST, gt=0, le=LONGEST)
    """The longest sound that is made."""

    tuning: ClassVar = frozenset({"max_seconds"})

    def published(self) -> tuple[Published, ...]:
        """The checkpoint, unless it is a folder."""
        return tuple(filter(None, (published(self.checkpoint, revision=self.revision),)))


class AceStepGenerator:
    """Music from words. One generation at a time: a second call waits for the first."""

    def __init__(self, pipeline: Any, settings: AceStepSettings, *, model: str) -> None:
        """Around a pipeline as `load_pipeline` makes it; see `load`."""
        self.model = model
        self.device = str(pipeline.device)
        self.licence = LICENCES.get(settings.checkpoint)
        self._pipeline = pipeline
        self._settings = settings
        # steps, and how far the noise levels are shifted upwards: as each kind of checkpoint was trained
        steps, self._shift = (8, 3.0) if pipeline.is_turbo else (50, 1.0)
        self._usual_steps = settings.steps or steps
        self._lock = threading.Lock()  # the pipeline's scheduler holds the state of one generation

    @classmethod
    def load(cls, settings: AceStepSettings) -> Self:
        """Load the checkpoint and let it make a short sound in one step.

        Raises ModelUnavailable when the weights cannot be had, do not load, or fail that check.
        """
        import torch

        device = torch_device(settings.device)
        half = device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
        dtype = settings.dtype if settings.dtype != "auto" else "bfloat16" if half else "float32"
        checkpoint = find_checkpoint(settings.checkpoint, revision=settings.revision)
        pipeline = load_pipeline(checkpoint, device=device, dtype=getattr(torch, dtype))
        generator = cls(pipeline, settings, model=checkpoint.name)
        generator._self_check()
        return generator

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        """Stereo sound at the model's rate: ceil(rate·seconds) samples, of a loop round(rate·seconds).

        The noise is drawn on the CPU from the request's seed: the same request gives the same samples on the same
        machine, whatever was generated or cancelled before. The first candidate is the chosen one, and the one that is
        made alone; the others are made only to be kept. `on_step` counts over all scenes of all candidates; what it
        raises stops the generation.

        Raises InputTooLarge when the sound is to be longer than this generator makes, ModuleFailed when the samples
        are not finite.
        """
        if request.seconds > self._settings.max_seconds:
            raise InputTooLarge(
                f"{request.seconds:g} s of sound asked for; this generator makes at most {self._settings.max_seconds:g} s"
            )
        rate = self._pipeline.sample_rate
        samples = request.samples(rate)
        parts = scenes(request, samples=samples, rate=rate)
        candidates = _candidates(request)
        steps = request.steps or self._usual_steps
        guidance = None if self._pipeline.is_turbo else request.guidance or self._settings.guidance
        done, total = itertools.count(1), candidates * len(parts) * steps
        make = functools.partial(
            self._pipeline,
            **INSTRUMENTAL,
            num_inference_steps=steps,
            guidance_scale=guidance or 1.0,
            shift=self._shift,
            max_text_length=TEXT_TOKENS,
            output_type="latent",
            callback_on_step_end=lambda *_: on_step(next(done), total),
        )
        with self._lock, self._listening(request.reference, weight=request.reference_weight):
            tracks = [self._track(parts, samples, make, candidate=one) for one in range(candidates)]
            unread = max(self._words_unread(prompt) for _, prompt in request.timeline)
        return GeneratedAudio(
            tracks[0],
            steps=steps,
            guidance=guidance,
            candidates=tuple(Candidate(None, track) for track in tracks) if candidates > 1 else (),
            prompt_words_unread=unread,
            loops=request.loop,
            listened=request.reference is not None,
        )

    def windows(self, request: AudioRequest) -> float:
        """How much work the request is, in windows of sound made with the usual steps."""
        rate: int = self._pipeline.sample_rate
        parts = scenes(request, samples=request.samples(rate), rate=rate)
        seconds = sum(max(SHORTEST, to_make(scene, rate=rate) / rate) for scene in parts)
        asked: float = _candidates(request) * (request.steps or self._usual_steps) / self._usual_steps
        return asked * seconds / WINDOW_SECONDS

    def _track(self, parts: Sequence[Scene], samples: int, make: Callable[..., Any], *, candidate: int) -> Audio:
        """One candidate: its scenes, cross-faded."""
        rate = self._pipeline.sample_rate
        noises = {scene.seed: _noise(scene.seed, candidate) for scene in parts}
        made = in_turn(parts, lambda scene, length: self._clip(scene, length, make, noises=noises), rate=rate)
        whole = crossed(made, samples=samples)
        return Audio(np.clip(whole, -1, 1, out=whole), rate)

    def _clip(
        self, scene: Scene, samples: int, make: Callable[..., Any], *, noises: Mapping[int, "torch.Generator"]
    ) -> Samples:
        """Music for one scene: float32, shape (channels, samples). `noises`: of all takes, by their seeds."""
        import torch

        pipeline = self._pipeline
        seconds = max(SHORTEST, samples / pipeline.sample_rate)
        rows = math.ceil(seconds * pipeline.latents_per_second)  # as the pipeline counts them
        shape = (1, rows, pipeline.transformer.config.audio_acoustic_hidden_dim)
        # every take's noise goes on, heard or not: so a scene's does not depend on the takes before it
        drawn = {seed: torch.randn(shape, generator=noise) for seed, noise in noises.items()}
        words = scene.prompt.split()
        read = " ".join(words[: len(words) - self._words_unread(scene.prompt)])
        latents = make(prompt=read, audio_duration=seconds, latents=drawn[scene.seed]).audios
        with torch.no_grad():
            decoded = pipeline.vae.decode(latents.transpose(1, 2).to(pipeline.vae.dtype)).sample[0]
        if not decoded.isfinite().all():
            raise ModuleFailed(f"{self.model} made samples that are not finite, in {pipeline.transformer.dtype}")
        clip: Samples = (decoded[:, :samples] * (PEAK / decoded.abs().max().clamp(min=1e-6))).cpu().numpy()
        return clip

    @contextmanager
    def _listening(self, reference: Path | None, *, weight: float) -> Iterator[None]:
        """Inside, the timbre is so much of the reference's, and the rest of silence's, which the model hears without any."""
        if reference is None:
            yield
            return
        timbre = self._timbre(read_audio(reference), weight=weight)
        hook = self._pipeline.condition_encoder.timbre_encoder.register_forward_hook(lambda *_: timbre)
        try:
            yield
        finally:
            hook.remove()

    def _timbre(self, reference: Audio, *, weight: float) -> tuple["torch.Tensor", "torch.Tensor"]:
        """What the timbre encoder makes of a sound and of silence, mixed."""
        import torch

        pipeline = self._pipeline
        device, dtype, encoder = pipeline.device, pipeline.transformer.dtype, pipeline.condition_encoder
        samples = resample(reference.samples, rate=reference.sample_rate, to=pipeline.sample_rate)
        # one channel alone is heard on both sides
        samples = np.resize(samples[:2], (pipeline.vae.config.audio_channels, samples.shape[1]))
        with torch.no_grad(), torch.random.fork_rng([] if device.type == "cpu" else [device]):
            torch.manual_seed(0)  # the autoencoder draws from what it has heard: always the same
            heard, order = pipeline.prepare_reference_audio_latents(torch.from_numpy(samples), 1, device, dtype)
            silence = encoder.silence_latent[:, : heard.shape[1]].to(device, dtype)
            of_silence, present = encoder.timbre_encoder(silence, order)
            of_reference, _ = encoder.timbre_encoder(heard, order)
        return torch.lerp(of_silence, of_reference, weight), present

    def _words_unread(self, prompt: str) -> int:
        """Words at the prompt's end that do not fit the model's limit.

        The pipeline would cut off what comes after the prompt, among it the length, before any of its words.
        """
        words = prompt.split()

        def tokens(count: int) -> int:
            text, _ = self._pipeline._format_prompt(" ".join(words[:count]), audio_duration=LONGEST)
            return len(self._pipeline.tokenizer(text, verbose=False).input_ids)

        return len(words) - (bisect_right(range(len(words) + 1), TEXT_TOKENS, key=tokens) - 1)

    def _self_check(self) -> None:
        """Everything that a request needs, once, with as little work as it takes."""
        request = AudioRequest("a sound", seconds=1, seed=0, steps=1)
        try:
            made = self.generate(request, on_step=nothing_to_report).audio
            timbre, _ = self._timbre(made, weight=1)
        except Exception as error:  # any: the libraries' changes show here
            raise ModelUnavailable(f"{self.model} failed its self-check: {error}") from error
        if np.ptp(made.samples) == 0 or made.samples.shape[1] != self._pipeline.sample_rate:
            raise ModelUnavailable(f"{self.model} failed its self-check: it did not make one second of sound")
        if not timbre.isfinite().all():
            raise ModelUnavailable(f"{self.model} failed its self-check: it cannot hear a reference")


def _candidates(request: AudioRequest) -> int:
    return request.candidates if request.keep_candidates else 1


def _noise(*seed: int) -> "torch.Generator":
    import torch

    return torch.Generator("cpu").manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]))


def load_pipeline(checkpoint: Checkpoint, *, device: str, dtype: "torch.dtype") -> Any:
    """The AceStepPipeline in evaluation mode on `device`. Everything is in `dtype` but the autoencoder, which stays float32.

    Raises ModelUnavailable when a part is missing, broken or of another kind.
    """
    import torch
    from diffusers import AceStepPipeline
    from transformers import Qwen3Model

    try:
        pipeline = AceStepPipeline.from_pretrained(
            checkpoint.folder,
            text_encoder=load_whole(Qwen3Model, checkpoint.folder / "text_encoder", dtype=dtype),
            dtype={"default": dtype, "vae": torch.float32},
            local_files_only=True,
        )
        for name in ("transformer", "condition_encoder", "vae"):
            # diffusers leaves out what the folder lacks, and only logs it
            lacks = sum(value.is_meta for value in getattr(pipeline, name).state_dict().values())
            if lacks:
                raise ValueError(f"the {name.replace('_', ' ')} lacks {lacks} of its weights")
        if not pipeline.condition_encoder.silence_latent.any():
            raise ValueError("the condition encoder lacks what silence is to the model")
        pipeline.vae.enable_tiling()  # minutes of 48 kHz do not fit into memory at once
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)
    except Exception as error:  # a broken file can break any of a dozen readers, each in its own way
        raise ModelUnavailable(f"ACE-Step cannot be loaded from {checkpoint.name}: {first_line(error)}") from error
