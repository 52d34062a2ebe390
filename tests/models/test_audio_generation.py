import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.audio import Audio, Samples
from models.audio_generation import AudioRequest, GeneratedAudio, audioldm2, nothing_to_report
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.audio_generation.loading import Checkpoint, load_pipeline
from models.audio_generation.ranking import clap_score
from models.errors import Cancelled, InputTooLarge, ModelUnavailable, ModuleFailed
from tests.toys.audioldm2 import TOY, make_audioldm2

RATE = TOY["vocoder"]["sampling_rate"]
ROW = 160  # samples of one latent row
NATIVE_SECONDS = 2.56


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audioldm2(tmp_path_factory.mktemp("weights") / "toy-audioldm2")


@pytest.fixture(scope="module")
def generator(checkpoint: Path) -> AudioLDM2Generator:
    return AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(checkpoint), device="cpu", steps=2, max_seconds=60))


def generate(generator: AudioLDM2Generator, prompt: str = "rain", **request: Any) -> GeneratedAudio:
    asked = AudioRequest(prompt, **{"seconds": 0.5, "seed": 7, **request})
    return generator.generate(asked, on_step=nothing_to_report)


def samples(generator: AudioLDM2Generator, prompt: str = "rain", **request: Any) -> Samples:
    return generate(generator, prompt, **request).audio.samples


class TestTheSound:
    @pytest.mark.parametrize("seconds", [0.04, 0.3, 1, NATIVE_SECONDS, NATIVE_SECONDS + 0.01, 10.24, 12.5])
    def test_is_exactly_as_long_as_asked(self, generator: AudioLDM2Generator, seconds: float) -> None:
        audio = generate(generator, seconds=seconds, steps=1).audio
        assert audio.sample_rate == RATE
        assert audio.samples.shape == (1, round(seconds * RATE))
        assert audio.samples.dtype == np.float32
        assert np.abs(audio.samples).max() <= 1

    @pytest.mark.parametrize("seconds", [0.30003, 1 / 3])
    def test_is_never_shorter_than_asked_between_two_samples(
        self, generator: AudioLDM2Generator, seconds: float
    ) -> None:
        made = samples(generator, seconds=seconds, steps=1).shape[1]
        assert 0 < made - seconds * RATE < 1

    def test_is_not_silence(self, generator: AudioLDM2Generator) -> None:
        assert samples(generator).std() > 1e-3

    def test_is_as_loud_where_clips_meet_as_elsewhere(
        self, generator: AudioLDM2Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        draw = np.random.default_rng(0).normal
        monkeypatch.setattr(
            generator, "_decode", lambda latents: draw(0, 0.1, latents.shape[2] * ROW).astype(np.float32)
        )
        loudness = samples(generator, seconds=10, steps=1)[0].reshape(-1, RATE // 10).std(axis=1)
        assert loudness.max() < 1.2 * loudness.min()

    def test_is_made_of_different_clips_none_beyond_the_training_length(self, generator: AudioLDM2Generator) -> None:
        asked = []
        watch = generator._pipeline.unet.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0].clone()))
        samples(generator, seconds=8, steps=1)
        watch.remove()
        assert len(asked) == 4
        assert all(latents.shape[2] <= TOY["unet"]["sample_size"] for latents in asked)
        assert all(latents.shape[2] % 2 == 0 for latents in asked)
        assert not np.allclose(asked[0], asked[1])

    def test_of_one_clip_is_what_diffusers_own_pipeline_makes_of_the_same_noise(
        self, generator: AudioLDM2Generator
    ) -> None:
        pipeline = generator._pipeline
        noise = []
        watch = pipeline.unet.register_forward_pre_hook(lambda _, inputs: noise.append(inputs[0][:1].clone()))
        ours = samples(generator, "rain", negative_prompt="low", seconds=NATIVE_SECONDS)
        watch.remove()
        theirs = pipeline(
            "rain", negative_prompt="low", latents=noise[0], num_inference_steps=2, guidance_scale=3.5
        ).audios
        assert np.allclose(ours, theirs, atol=1e-5)

    def test_longer_than_the_limit_is_refused_and_the_limit_named(self, generator: AudioLDM2Generator) -> None:
        with pytest.raises(InputTooLarge, match=r"61 s.*at most 60 s"):
            generate(generator, seconds=61)


class TestTheSeed:
    def test_same_seed_same_samples(self, generator: AudioLDM2Generator) -> None:
        assert np.array_equal(samples(generator, seconds=3), samples(generator, seconds=3))

    def test_another_seed_another_sound(self, generator: AudioLDM2Generator) -> None:
        assert not np.allclose(samples(generator), samples(generator, seed=8), atol=1e-3)

    def test_two_generators_of_one_checkpoint_agree(self, generator: AudioLDM2Generator, checkpoint: Path) -> None:
        other = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(checkpoint), device="cpu", steps=2))
        assert np.array_equal(samples(generator), samples(other))

    def test_two_calls_at_once_give_what_each_gives_alone(self, generator: AudioLDM2Generator) -> None:
        made: dict[int, Samples] = {}
        threads = [
            threading.Thread(target=lambda seed=seed: made.update({seed: samples(generator, seed=seed, steps=3)}))
            for seed in (1, 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for seed in (1, 2):
            assert np.array_equal(made[seed], samples(generator, seed=seed, steps=3))


class TestStepping:
    def test_counts_every_step_of_every_clip_and_candidate(self, generator: AudioLDM2Generator) -> None:
        steps: list[tuple[int, int]] = []
        request = AudioRequest("rain", seconds=NATIVE_SECONDS + 1, seed=7, steps=3, candidates=2)
        made = generator.generate(request, on_step=lambda step, total: steps.append((step, total)))
        assert steps == [(step, 12) for step in range(1, 13)]
        assert made.steps == 3

    def test_settings_stand_in_for_what_the_request_leaves_open(self, generator: AudioLDM2Generator) -> None:
        made = generate(generator)
        assert (made.steps, made.guidance, made.score) == (2, 3.5, None)
        assert (generate(generator, steps=3, guidance=2).steps, generate(generator, guidance=2).guidance) == (3, 2)

    @pytest.mark.parametrize("last", [1, 3, 4])
    def test_a_cancel_stops_at_once_and_leaves_the_next_sound_untouched(
        self, generator: AudioLDM2Generator, last: int
    ) -> None:
        undisturbed = samples(generator, steps=4)
        seen = []

        def cancel(step: int, _total: int) -> None:
            seen.append(step)
            if step == last:
                raise Cancelled("stop")

        with pytest.raises(Cancelled):
            generator.generate(AudioRequest("rain", 3.0, seed=1, steps=3), on_step=cancel)
        assert seen == list(range(1, last + 1))
        assert np.array_equal(samples(generator, steps=4), undisturbed)


class TestWords:
    def test_another_prompt_another_sound(self, generator: AudioLDM2Generator) -> None:
        assert not np.array_equal(samples(generator, "rain"), samples(generator, "calm sea"))

    def test_a_negative_prompt_is_read_to_its_end_beside_a_shorter_prompt(self, generator: AudioLDM2Generator) -> None:
        music, dogs = (
            samples(generator, "rain", negative_prompt=f"low quality {end}", steps=1) for end in ("music", "dogs")
        )
        assert not np.array_equal(music, dogs)

    def test_a_long_negative_prompt_does_not_change_how_the_prompt_is_read(self, generator: AudioLDM2Generator) -> None:
        # without guidance only the padding that the negative prompt causes could be heard
        short, long = (
            samples(generator, "rain", negative_prompt=words, guidance=1) for words in ("low", "low quality " * 20)
        )
        assert np.allclose(short, long, atol=1e-5)

    @pytest.mark.parametrize(
        ("prompt", "unread"),
        [("", 0), ("rain", 0), ("rain " * 127, 0), ("rain " * 130, 3), ("rain " * 120 + "zebras", 0)],
    )
    def test_words_beyond_the_models_limit_are_counted(
        self, generator: AudioLDM2Generator, prompt: str, unread: int
    ) -> None:
        assert generate(generator, prompt, steps=1).prompt_words_unread == unread

    def test_a_word_read_in_part_is_unread(self, generator: AudioLDM2Generator) -> None:
        assert generate(generator, "rain " * 124 + "zebras", steps=1).prompt_words_unread == 1


class TestCandidates:
    def test_the_best_one_by_this_prompts_score_is_chosen(
        self, generator: AudioLDM2Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        judged: list[tuple[float, str, Audio]] = []

        def judge(pipeline: object, audio: Audio, *, prompt: str) -> float:
            score = clap_score(pipeline, audio, prompt=prompt)
            judged.append((score, prompt, audio))
            return score

        monkeypatch.setattr(audioldm2, "clap_score", judge)
        chosen = generate(generator, "calm sea", candidates=4)
        scores = [score for score, _, _ in judged]
        assert {prompt for _, prompt, _ in judged} == {"calm sea"}
        assert len(set(scores)) == 4
        assert chosen.score == max(scores)
        assert np.array_equal(chosen.audio.samples, judged[int(np.argmax(scores))][2].samples)
        assert np.array_equal(judged[0][2].samples, samples(generator, "calm sea"))

    def test_a_score_depends_on_the_sound_and_the_words_alone(self, generator: AudioLDM2Generator) -> None:
        pipeline, sound = generator._pipeline, generate(generator, seconds=5, steps=1).audio
        first = clap_score(pipeline, sound, prompt="rain")
        assert clap_score(pipeline, sound, prompt="dogs and birds") != first
        np.random.standard_normal()  # moves on what CLAP's own cropping draws from
        assert clap_score(pipeline, sound, prompt="rain") == first
        assert -1 <= first <= 1

    def test_a_long_sound_is_judged_by_its_middle(self, generator: AudioLDM2Generator) -> None:
        sound = generate(generator, seconds=5, steps=1).audio
        muted = sound.samples.copy()
        muted[:, :RATE] = 0
        muted[:, -RATE:] = 0
        scores = [
            clap_score(generator._pipeline, Audio(heard, RATE), prompt="rain") for heard in (sound.samples, muted)
        ]
        assert scores[0] == scores[1]


class TestLoading:
    def test_says_what_was_loaded(self, generator: AudioLDM2Generator) -> None:
        assert (generator.model, generator.device, generator.licence) == ("toy-audioldm2", "cpu", None)

    def test_the_published_layout_still_breaks_diffusers_own_loading(self, checkpoint: Path) -> None:
        """When this fails, loading.py can lose its special case."""
        from diffusers import AudioLDM2Pipeline

        assert '"GPT2Model"' in (checkpoint / "model_index.json").read_text()
        pipeline = AudioLDM2Pipeline.from_pretrained(checkpoint, local_files_only=True)
        with pytest.raises(AttributeError, match="GPT2Model"):
            pipeline("rain", num_inference_steps=1)

    def test_a_name_means_the_hub_at_the_commit_we_know(
        self, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from diffusers import DiffusionPipeline

        def download(name: str, revision: str) -> str:
            assert name == "cvssp/audioldm2"
            return str(shutil.copytree(checkpoint, tmp_path / "snapshots" / revision))

        monkeypatch.setattr(DiffusionPipeline, "download", download)
        generator = AudioLDM2Generator.load(AudioLDM2Settings(device="cpu"))
        assert (generator.model, generator.licence) == ("cvssp/audioldm2@c8e7e18", "CC-BY-NC-SA-4.0")

    def test_half_precision_makes_the_same_sound_but_for_rounding(
        self, generator: AudioLDM2Generator, checkpoint: Path
    ) -> None:
        half = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(checkpoint), device="cpu", dtype="bfloat16"))
        exact, rounded = (samples(each, guidance=1, steps=2) for each in (generator, half))
        assert np.corrcoef(exact[0], rounded[0])[0, 1] > 0.9

    def test_a_folder_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ModelUnavailable, match="there is no folder /nowhere/audioldm2"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint="/nowhere/audioldm2"))

    def test_a_folder_with_something_else_in_it_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable, match=r"no model_index\.json"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(tmp_path)))

    def test_a_hub_that_cannot_be_reached_is_said_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(ModelUnavailable, match=r"nobody/no-such-model \(revision abc\) is neither .* nor"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint="nobody/no-such-model", revision="abc"))

    def test_a_gpu_that_is_not_there_is_said_so(self, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ModelUnavailable, match="sees no GPU"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(checkpoint), device="cuda"))


def cut_short(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-100])


def lose_one(weights: Path) -> None:
    _change(weights, lambda tensors: tensors.pop(min(tensors)))


def fill(value: float) -> Callable[[Path], None]:
    def every_number(tensors: dict[str, Any]) -> None:
        for tensor in tensors.values():
            if tensor.is_floating_point():
                tensor.fill_(value)

    return lambda weights: _change(weights, every_number)


def _change(weights: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights, metadata={"format": "pt"})


class TestABrokenCheckpoint:
    @pytest.mark.parametrize(
        ("part", "damage", "message"),
        [
            ("unet/diffusion_pytorch_model", fill(float("nan")), "self-check: .* not finite"),
            ("vocoder/model", fill(0), "self-check: it did not make one second of sound"),
            ("text_encoder/model", fill(float("nan")), "self-check"),
            ("language_model/model", lose_one, "lacks 1 of its weights"),
            ("vae/diffusion_pytorch_model", cut_short, "cannot be loaded"),
            ("text_encoder_2/model", Path.unlink, "cannot be loaded"),
        ],
    )
    def test_is_found_at_start(
        self, checkpoint: Path, tmp_path: Path, part: str, damage: Callable[[Path], None], message: str
    ) -> None:
        broken = shutil.copytree(checkpoint, tmp_path / "broken")
        damage(broken / f"{part}.safetensors")
        with pytest.raises(ModelUnavailable, match=message) as raised:
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(broken), device="cpu"))
        assert "broken" in str(raised.value)

    def test_that_breaks_later_fails_the_module_and_gives_no_sound(self, checkpoint: Path) -> None:
        import torch

        pipeline = load_pipeline(Checkpoint("toy", checkpoint), device="cpu", dtype=torch.float32)
        generator = AudioLDM2Generator(pipeline, AudioLDM2Settings(), model="toy")
        pipeline.vae.post_quant_conv.bias.data.fill_(float("inf"))
        with pytest.raises(ModuleFailed, match="not finite"):
            generate(generator)
