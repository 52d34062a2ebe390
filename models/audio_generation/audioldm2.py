"""AudioLDM2 (Liu et al., arXiv:2308.05734): 16 kHz, one channel, nothing above 8 kHz.

The model learnt on 10.24 s. The audio engine makes any length of windows of exactly that size (`tracks.py`), and works on all
requests at once (`batch.py`).
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from models.audio import Audio, Samples, read_audio, stretched
from models.audio_generation import AudioRequest, Candidate, GeneratedAudio, OnStep, nothing_to_report
from models.audio_generation.loading import find_checkpoint, load_pipeline, published
from models.audio_generation.scenes import Scene, crossed, scenes
from models.audio_generation.windows import Joining, lay
from models.device import Device, torch_device
from models.errors import InputTooLarge, ModelUnavailable, ModuleFailed
from models.schema import ModuleSettings
from models.weights import Published

if TYPE_CHECKING:
    from models.audio_generation.text import Conditioning
    from models.audio_generation.tracks import Plan, Track

logger = logging.getLogger(__name__)


class AudioLDM2Settings(ModuleSettings):
    """Which AudioLDM2, and where it runs."""

    kind: Literal["audioldm2"] = "audioldm2"
    checkpoint: str = Field("cvssp/audioldm2", min_length=1)
    """Name on the Hugging Face hub (cvssp/audioldm2 for sounds, cvssp/audioldm2-music for music), or a local folder."""
    revision: str | None = Field(None, min_length=1)
    """Commit on the hub. None: the one that we know of cvssp/audioldm2; of any other, the newest when it is
    first fetched, which is kept."""
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
    at_once: int | None = Field(None, ge=1, le=256)
    """Requests that are worked on side by side. None: 32 on a GPU; 1 on a CPU, where each would only take longer."""
    windows: int | None = Field(None, ge=1, le=64)
    """Most windows (10.24 s each) in one call of the UNet, of whatever requests. None: 16 on a GPU, where more at once are
    faster; 1 on a CPU, where they are not."""
    overlap: float = Field(0.25, ge=0.05, le=0.5)
    """Share of a window that it has in common with the next."""
    joining: Joining = "average"
    """How windows are joined where they overlap: by a weighted average, or by taking their rows in turn."""
    compiled: bool | None = None
    """Whether the networks are compiled at the start, where that is possible, which takes minutes. None: on a GPU they are."""

    tuning: ClassVar = frozenset({"max_seconds", "at_once", "windows", "compiled"})

    def published(self) -> tuple[Published, ...]:
        """The checkpoint, unless it is a folder."""
        return tuple(filter(None, (published(self.checkpoint, revision=self.revision),)))


class AudioLDM2Generator:
    """Sound from words. Any number of threads may ask at once, and none waits for another's end."""

    def __init__(self, pipeline: Any, settings: AudioLDM2Settings, *, model: str) -> None:
        """Around a pipeline as `load_pipeline` makes it; see `load`."""
        from models.audio_generation.engine import Engine
        from models.audio_generation.networks import Networks
        from models.audio_generation.text import TextEncoder

        self.model = model
        self.device = str(pipeline.device)
        # of the weights: not for commercial use; another checkpoint has to be asked itself
        self.licence = "CC-BY-NC-SA-4.0" if settings.checkpoint.startswith("cvssp/audioldm2") else None
        on_a_gpu = self.device != "cpu"
        self.at_once = settings.at_once or (32 if on_a_gpu else 1)
        self._settings = settings
        self._scheduler = pipeline.scheduler
        self._texts = TextEncoder(pipeline)
        self._networks = Networks(pipeline, compiled=on_a_gpu if settings.compiled is None else settings.compiled)
        self._sizes = self._networks.sizes
        self._engine = Engine(self._networks, largest=settings.windows or (16 if on_a_gpu else 1))
        self._overlap = round(settings.overlap * self._sizes.window)

    @property
    def windows_at_once(self) -> int:
        """With fewer windows to make than these, a GPU has time to spare."""
        return self._engine.largest

    @classmethod
    def load(cls, settings: AudioLDM2Settings) -> Self:
        """Load the checkpoint, compile it where that is wanted, and let it make a short sound in one step.

        Raises ModelUnavailable when the weights cannot be had, do not load, or fail that check.
        """
        import torch

        device = torch_device(settings.device)
        dtype = settings.dtype if settings.dtype != "auto" else "float32" if device == "cpu" else "float16"
        checkpoint = find_checkpoint(settings.checkpoint, revision=settings.revision)
        pipeline = load_pipeline(checkpoint, device=device, dtype=getattr(torch, dtype))
        generator = cls(pipeline, settings, model=checkpoint.name)
        generator._self_check()
        return generator

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        """Mono sound at the model's rate: ceil(rate·seconds) samples, of a loop round(rate·seconds).

        Every candidate, and every scene of it, is a track of its own. Noise is drawn on the CPU from the request's seed: the same
        request gives the same sound, whatever else is being made, but for the rounding of calls with more or fewer windows.
        The first of several candidates is the one that is made alone. `on_step` counts steps, as the share of all work
        that is done; what it raises stops the generation.

        Raises InputTooLarge when the sound is to be longer than this generator makes, ModuleFailed when the samples
        are not finite, OutOfMemory, and WorkerDied when the device broke.
        """
        if request.seconds > self._settings.max_seconds:
            raise InputTooLarge(
                f"{request.seconds:g} s of sound asked for; this generator makes at most {self._settings.max_seconds:g} s"
            )
        settings, samples = self._settings, request.samples(self._sizes.sample_rate)
        parts = scenes(request, samples=samples, rate=self._sizes.sample_rate)
        request = replace(
            request, steps=request.steps or settings.steps, guidance=request.guidance or settings.guidance
        )
        tracks = self._tracks(request, parts)
        every = [track for candidate in tracks for track in candidate]
        logger.info(
            "%g s of sound on %s: about %.0f s of work", request.seconds, self.device, self._engine.seconds(every)
        )
        self._engine.run(every, on_step=_in_steps(on_step, request.steps or 1))
        unread = max(track.plan.positive.unread for track in every)
        negative_unread = every[0].plan.negative.unread if request.guidance != 1 else 0
        every.clear()
        best, candidates, chosen = self._ranked(tracks, parts, request, samples=samples)
        return GeneratedAudio(
            best,
            steps=request.steps,
            guidance=request.guidance,
            candidates=candidates,
            chosen=chosen,
            prompt_words_unread=unread,
            negative_words_unread=negative_unread,
            loops=request.loop,
            listened=request.reference is not None,
        )

    def windows(self, request: AudioRequest) -> float:
        """How much work the request is, in windows made with the settings' own steps and guidance."""
        from models.audio_generation.tracks import cost_of_a_clip

        settings, sizes, count = self._settings, self._sizes, 0
        for scene in scenes(request, samples=request.samples(sizes.sample_rate), rate=sizes.sample_rate):
            rows = sizes.rows(scene.start % sizes.row + scene.end - scene.start)
            count += len(lay(rows, size=sizes.window, overlap=self._overlap, circular=scene.circular))
        asked = cost_of_a_clip(request.steps or settings.steps, request.guidance or settings.guidance)
        return request.candidates * count * asked / cost_of_a_clip(settings.steps, settings.guidance)

    def check_health(self) -> None:
        """Raise WorkerDied when the device broke: nothing will come of it any more."""
        self._engine.check_health()

    def _tracks(self, request: AudioRequest, parts: Sequence[Scene]) -> list[list["Track"]]:
        """The tracks of every candidate, one for every scene."""
        from models.audio_generation.tracks import Track

        positive, negative = self._conditioning(request, parts)
        tracks = []
        for candidate in range(request.candidates):
            plans = [
                self._plan(request, scene, text, negative, candidate=candidate)
                for scene, text in zip(parts, positive, strict=True)
            ]
            schedulers = (type(self._scheduler).from_config(self._scheduler.config) for _ in plans)
            tracks.append(
                [
                    Track(plan, self._networks, own, overlap=self._overlap)
                    for plan, own in zip(plans, schedulers, strict=True)
                ]
            )
        return tracks

    def _conditioning(
        self, request: AudioRequest, parts: Sequence[Scene]
    ) -> tuple[list["Conditioning"], "Conditioning"]:
        """The prompts of the scenes, and the negative one, as the UNet takes them."""
        # what the CPU does for CLAP takes a tenth of a second, in which the device would have nothing to do
        reference = self._texts.listen(read_audio(request.reference), to_all=True) if request.reference else None

        def encode() -> tuple[list["Conditioning"], "Conditioning"]:
            texts = self._texts
            negative = texts.encode(request.negative_prompt)
            if reference is None:
                return [texts.encode(scene.prompt) for scene in parts], negative
            heard, weight = texts.hear(reference), request.reference_weight
            return [texts.encode_with_sound(scene.prompt, heard, weight=weight) for scene in parts], negative

        return self._engine.call(encode)

    def _plan(
        self, request: AudioRequest, scene: Scene, positive: "Conditioning", negative: "Conditioning", *, candidate: int
    ) -> "Plan":
        from models.audio_generation.tracks import Plan

        assert request.steps is not None
        assert request.guidance is not None
        first_row, before = divmod(scene.start, self._sizes.row)
        return Plan(
            samples=before + scene.end - scene.start,
            positive=positive,
            negative=negative,
            guidance=request.guidance,
            steps=request.steps,
            seed=(scene.seed, candidate),
            first_row=first_row,
            loop=scene.circular,
            joining=self._settings.joining,
        )

    def _whole(self, parts: Sequence[Scene], tracks: Sequence["Track"], *, samples: int) -> Audio:
        """One candidate, of its scenes' tracks."""
        whole = crossed(map(self._sound, parts, tracks), samples=samples)
        return Audio(np.clip(whole, -1, 1, out=whole), self._sizes.sample_rate)

    def _sound(self, scene: Scene, track: "Track") -> tuple[Scene, Samples]:
        sound, length = track.result(), scene.end - scene.start
        if not np.isfinite(sound).all():
            raise ModuleFailed(f"{self.model} made samples that are not finite")
        if scene.circular:
            sound = stretched(sound, length)
        return scene, sound[np.newaxis, len(sound) - length :]

    def _ranked(
        self, tracks: list[list["Track"]], parts: Sequence[Scene], request: AudioRequest, *, samples: int
    ) -> tuple[Audio, tuple[Candidate, ...], int]:
        """The best candidate, all of them with their scores, and which is best; where there is only one, none is ranked.

        The tracks are let go one after another: of half an hour, each is 115 MB.
        """
        if len(tracks) == 1:
            return self._whole(parts, tracks[0], samples=samples), (), 0
        best, chosen, candidates = None, 0, []
        while tracks:
            audio = self._whole(parts, tracks.pop(0), samples=samples)
            score = self._score(audio, parts)
            candidates.append(Candidate(score, audio if request.keep_candidates else None))
            if best is None or score > (candidates[chosen].score or 0):
                best, chosen = audio, len(candidates) - 1
        assert best is not None
        return best, tuple(candidates), chosen

    def _score(self, audio: Audio, parts: Sequence[Scene]) -> float:
        """Similarity of prompt and sound, in [-1, 1], by the CLAP that AudioLDM2 carries (Wu et al., arXiv:2211.06687).

        Each scene is judged by its own prompt, and counts by its length.
        """
        texts, rate = self._texts, audio.sample_rate
        heard = [Audio(audio.samples[:, max(0, scene.start) : scene.end], rate) for scene in parts]
        listened = [texts.listen(sound) for sound in heard]

        def scores() -> list[float]:
            pairs = zip(listened, parts, strict=True)
            return [float((texts.hear(sound) * texts.read(scene.prompt)).sum()) for sound, scene in pairs]

        return float(np.average(self._engine.call(scores), weights=[sound.seconds for sound in heard]))

    def _self_check(self) -> None:
        """Everything that a request needs, once, with as little work as it takes."""
        request = AudioRequest("a sound", seconds=1, seed=0, negative_prompt="noise", steps=1, candidates=2)
        try:
            self._engine.warm_up()
            made = self.generate(request, on_step=nothing_to_report)
        except Exception as error:  # any: the libraries' changes show here
            raise ModelUnavailable(f"{self.model} failed its self-check: {error}") from error
        if np.ptp(made.audio.samples) == 0 or made.audio.samples.shape[1] != self._sizes.sample_rate:
            raise ModelUnavailable(f"{self.model} failed its self-check: it did not make one second of sound")
        if made.score is None or not math.isfinite(made.score):
            raise ModelUnavailable(f"{self.model} failed its self-check: its CLAP gave no score")


def _in_steps(on_step: OnStep, steps: int) -> OnStep:
    """Tells of the work in the unit in which it was asked for: denoising steps, of which decoding takes its share."""
    told = 0

    def tell(done: int, of: int) -> None:
        nonlocal told
        if (step := steps * done // of) > told:
            told = step
            on_step(step, steps)

    return tell
