"""What is special to ACE-Step. What it has in common with every generator is tested in `test_generators.py`."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.audio import Audio, Samples, write_audio
from models.audio_generation import AudioRequest, GeneratedAudio, nothing_to_report
from models.audio_generation.ace_step import AceStepGenerator, AceStepSettings
from models.errors import Cancelled, ModelUnavailable
from models.weights import HubFiles
from tests.toys.ace_step import RATE, make_ace_step
from tests.toys.damage import Damage, fill, lose

PUBLISHED = "ACE-Step/acestep-v15-xl-turbo-diffusers"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ace_step(tmp_path_factory.mktemp("weights") / "toy-ace-step")


@pytest.fixture(scope="module")
def generator(checkpoint: Path) -> AceStepGenerator:
    return AceStepGenerator.load(AceStepSettings(checkpoint=str(checkpoint), device="cpu", steps=2))


@pytest.fixture(scope="module")
def undistilled(tmp_path_factory: pytest.TempPathFactory) -> AceStepGenerator:
    """Of a checkpoint that is guided, as `base` and `sft` are."""
    folder = make_ace_step(tmp_path_factory.mktemp("weights") / "toy-base", turbo=False)
    return AceStepGenerator.load(AceStepSettings(checkpoint=str(folder), device="cpu"))


@pytest.fixture(scope="module")
def hum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference."""
    path = tmp_path_factory.mktemp("reference") / "hum.flac"
    write_audio(Audio(np.sin(np.arange(44_100, dtype=np.float32) / 50)[np.newaxis], 44_100), path)
    return path


def generate(generator: AceStepGenerator, prompt: str = "rain", **request: Any) -> GeneratedAudio:
    asked = AudioRequest(prompt, **{"seconds": 0.5, "seed": 7, "steps": 2, **request})
    return generator.generate(asked, on_step=nothing_to_report)


def samples(generator: AceStepGenerator, prompt: str = "rain", **request: Any) -> Samples:
    return generate(generator, prompt, **request).audio.samples


def steps_of(generator: AceStepGenerator, **request: Any) -> int:
    """How many steps the request would take."""
    told = []

    def first_is_enough(_step: int, steps: int) -> None:
        told.append(steps)
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        generator.generate(AudioRequest("rain", **{"seconds": 0.5, "seed": 7, **request}), on_step=first_is_enough)
    return told[0]


class TestTheSound:
    def test_is_stereo_at_the_models_rate(self, generator: AceStepGenerator) -> None:
        made = generate(generator).audio
        assert made.sample_rate == RATE
        assert made.samples.shape == (2, RATE // 2)
        left, right = made.samples
        assert not np.allclose(left, right, atol=1e-3)

    def test_is_what_diffusers_own_pipeline_makes_of_the_same_noise(self, generator: AceStepGenerator) -> None:
        pipeline = generator._pipeline
        noise = []
        watch = pipeline.transformer.register_forward_pre_hook(
            lambda _, _args, inputs: noise.append(inputs["hidden_states"]), with_kwargs=True
        )
        # longer than what the autoencoder decodes at once
        ours = samples(generator, seconds=25)
        watch.remove()
        pipeline.vae.use_tiling = False
        theirs = pipeline(
            "rain", lyrics="[Instrumental]", vocal_language="unknown", audio_duration=25, latents=noise[0],
            num_inference_steps=2, guidance_scale=1.0,
        ).audios  # fmt: skip
        pipeline.vae.use_tiling = True
        assert np.allclose(ours, theirs[0].numpy(), atol=1e-5)

    def test_of_less_than_the_model_makes_is_the_beginning_of_the_shortest(self, generator: AceStepGenerator) -> None:
        assert np.array_equal(samples(generator, seconds=3), samples(generator, seconds=10)[:, : 3 * RATE])

    def test_in_half_precision_is_the_same_but_for_rounding(
        self, generator: AceStepGenerator, checkpoint: Path
    ) -> None:
        half = AceStepGenerator.load(AceStepSettings(checkpoint=str(checkpoint), device="cpu", dtype="bfloat16"))
        exact, rounded = (samples(each, seconds=3) for each in (generator, half))
        assert np.corrcoef(exact[0], rounded[0])[0, 1] > 0.99


class TestSteps:
    def test_are_told_one_by_one_over_all_scenes_and_kept_candidates(self, generator: AceStepGenerator) -> None:
        told: list[tuple[int, int]] = []
        asked = AudioRequest(
            "rain", 6, seed=7, later_prompts=((3, "sea"),), steps=3, candidates=2, keep_candidates=True
        )
        generator.generate(asked, on_step=lambda *far: told.append(far))
        assert told == [(step, 12) for step in range(1, 13)]

    def test_are_as_many_as_the_checkpoint_was_made_for_unless_said_otherwise(
        self, checkpoint: Path, generator: AceStepGenerator, undistilled: AceStepGenerator
    ) -> None:
        turbo = AceStepGenerator.load(AceStepSettings(checkpoint=str(checkpoint), device="cpu"))
        assert (steps_of(turbo), steps_of(undistilled)) == (8, 50)
        assert (steps_of(generator), steps_of(generator, steps=5)) == (2, 5)

    def test_are_not_taken_for_candidates_that_nobody_ranks_or_keeps(self, generator: AceStepGenerator) -> None:
        assert steps_of(generator, candidates=4) == 2
        assert generate(generator, candidates=4).candidates == ()


class TestGuidance:
    def test_counts_where_it_is_not_in_the_weights(self, undistilled: AceStepGenerator) -> None:
        weak, strong = (generate(undistilled, guidance=guidance) for guidance in (1, 9))
        assert (weak.guidance, strong.guidance, generate(undistilled).guidance) == (1, 9, 7)
        assert not np.allclose(weak.audio.samples, strong.audio.samples, atol=1e-4)

    def test_is_none_where_it_is(self, generator: AceStepGenerator) -> None:
        guided = generate(generator, guidance=9)
        assert guided.guidance is None
        assert np.array_equal(guided.audio.samples, samples(generator))


class TestScenes:
    def test_are_as_loud_where_they_cross_as_elsewhere(
        self, generator: AceStepGenerator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        draw = np.random.default_rng(0).normal
        monkeypatch.setattr(
            generator, "_clip", lambda _scene, length, _make, noises: draw(0, 0.1, (2, length)).astype(np.float32)
        )
        made = samples(generator, seconds=10, later_prompts=((3, "sea"), (6, "birds")))
        loudness = made.reshape(2, -1, RATE // 5).std(axis=2)
        assert loudness.max() < 1.2 * loudness.min()

    @pytest.mark.parametrize("later", [(), ((3, "calm sea"),)])
    def test_of_a_loop_go_over_into_the_first(
        self, generator: AceStepGenerator, monkeypatch: pytest.MonkeyPatch, later: tuple[tuple[float, str], ...]
    ) -> None:
        monkeypatch.setattr(
            generator,
            "_clip",
            lambda _scene, length, _make, noises: np.sin(np.arange(length) / 50)[np.newaxis].astype(np.float32) / 2,
        )
        made = samples(generator, seconds=6, later_prompts=later, loop=True)
        turned = np.concatenate([made, made], axis=1)
        assert np.abs(np.diff(turned)).max() < 2 * np.abs(np.diff(np.sin(np.arange(100) / 50) / 2)).max()


class TestAReference:
    def test_is_heard_the_same_every_time(self, generator: AceStepGenerator, hum: Path) -> None:
        one, two = (samples(generator, reference=hum) for _ in range(2))
        assert np.array_equal(one, two)

    def test_counts_by_its_weight(self, generator: AceStepGenerator, hum: Path) -> None:
        plain = samples(generator)
        lightly, fully = (samples(generator, reference=hum, reference_weight=weight) for weight in (0.2, 1))
        assert 0 < np.abs(lightly - plain).max() < np.abs(fully - plain).max()

    def test_is_forgotten_afterwards(self, generator: AceStepGenerator, hum: Path) -> None:
        before = samples(generator)

        def cancel(_step: int, _steps: int) -> None:
            raise Cancelled("stop")

        with pytest.raises(Cancelled):
            generator.generate(AudioRequest("rain", 1, seed=7, reference=hum), on_step=cancel)
        assert np.array_equal(samples(generator), before)


class TestWords:
    def test_beyond_the_models_limit_are_counted_and_leave_the_rest_as_it_is(self, generator: AceStepGenerator) -> None:
        unread = generate(generator, "rain " * 100).prompt_words_unread
        assert 0 < unread < 100
        read = " ".join(["rain"] * (100 - unread))
        assert np.array_equal(samples(generator, "rain " * 100), samples(generator, read))
        assert generate(generator, read).prompt_words_unread == 0
        assert generate(generator, f"{read} rain").prompt_words_unread == 1

    def test_are_counted_of_the_scene_where_most_are_unread(self, generator: AceStepGenerator) -> None:
        long = "rain " * 100
        made = generate(generator, seconds=4, later_prompts=((2, long),))
        assert made.prompt_words_unread == generate(generator, long).prompt_words_unread

    def test_to_be_avoided_are_not_read(self, generator: AceStepGenerator) -> None:
        assert np.array_equal(samples(generator, negative_prompt="noise"), samples(generator))


class TestLoading:
    def test_a_name_means_the_hub_at_the_commit_we_know_and_its_licence_is_told(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def find(published: HubFiles) -> Path:
            assert published.repository == PUBLISHED
            return shutil.copytree(checkpoint, tmp_path / "snapshots" / str(published.revision))

        monkeypatch.setattr("models.weights.find", find)
        generator = AceStepGenerator.load(AceStepSettings(device="cpu"))
        assert (generator.model, generator.licence) == (f"{PUBLISHED}@200ba99", "MIT AND Apache-2.0")

    @pytest.mark.parametrize(
        ("part", "damage", "message"),
        [
            ("transformer/diffusion_pytorch_model", lose(), "the transformer lacks 1 of its weights"),
            ("vae/diffusion_pytorch_model", lose(), "the vae lacks 1 of its weights"),
            ("text_encoder/model", lose(), "the text encoder lacks 1 of its weights"),
            ("condition_encoder/diffusion_pytorch_model", lose("silence_latent"), "lacks what silence is"),
            ("condition_encoder/diffusion_pytorch_model", fill(0), "lacks what silence is"),
            ("vae/diffusion_pytorch_model", fill(0), "self-check"),
        ],
        ids=["transformer", "vae", "text encoder", "silence", "condition encoder", "a vae of zeros"],
    )
    def test_a_part_that_is_not_whole_is_named(
        self, checkpoint: Path, tmp_path: Path, part: str, damage: Damage, message: str
    ) -> None:
        broken = shutil.copytree(checkpoint, tmp_path / "broken")
        damage(broken / f"{part}.safetensors")
        with pytest.raises(ModelUnavailable, match=f"broken.*{message}"):
            AceStepGenerator.load(AceStepSettings(checkpoint=str(broken), device="cpu"))
