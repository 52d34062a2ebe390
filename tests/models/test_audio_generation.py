import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import work
from models.audio import Audio, Samples, write_audio
from models.audio_generation import AudioRequest, GeneratedAudio, nothing_to_report
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.audio_generation.loading import Checkpoint, load_pipeline
from models.audio_generation.scenes import scenes
from models.audio_generation.text import Conditioning
from models.audio_generation.tracks import Track, noise
from models.errors import Cancelled, InputTooLarge, ModelUnavailable, ModuleFailed, OutOfMemory, WorkerDied
from models.weights import HubFiles
from tests.toys.audioldm2 import TOY
from tests.toys.damage import Damage, cut_short, fill, lose

RATE = TOY["vocoder"]["sampling_rate"]
NATIVE_SECONDS = 2.56


@pytest.fixture(scope="module")
def generator(toy_audioldm2: Path) -> AudioLDM2Generator:
    return AudioLDM2Generator.load(
        AudioLDM2Settings(checkpoint=str(toy_audioldm2), device="cpu", steps=2, max_seconds=60, windows=4)
    )


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

    def test_is_as_loud_everywhere(self, generator: AudioLDM2Generator) -> None:
        loudness = samples(generator, seconds=20)[0].reshape(-1, RATE).std(axis=1)
        assert loudness.max() < 1.5 * loudness.min()

    def test_of_one_window_is_what_diffusers_own_pipeline_makes_of_the_same_noise(
        self, generator: AudioLDM2Generator
    ) -> None:
        pipeline = generator._texts._pipeline
        drawn = noise((7, 0), first_row=0, rows=128, sizes=generator._sizes).permute(1, 0, 2)[None]
        # texts of equal length: diffusers cuts or pads the negative one, which is the difference that ours is meant to have
        for words, avoided, steps, guidance in (
            ("rain", "low", 2, 3.5),
            ("the sound of wind and rain", "a low quality sound of music", 5, 2),
        ):
            asked = {"prompt": words, "negative_prompt": avoided}
            ours = samples(generator, **asked, seconds=NATIVE_SECONDS, steps=steps, guidance=guidance)
            theirs = pipeline(**asked, latents=drawn, num_inference_steps=steps, guidance_scale=guidance).audios
            assert ours.shape == theirs.shape
            assert np.abs(ours - theirs).max() < 1e-4 * ours.std()

    def test_longer_than_the_limit_is_refused_and_the_limit_named(self, generator: AudioLDM2Generator) -> None:
        with pytest.raises(InputTooLarge, match=r"61 s.*at most 60 s"):
            generate(generator, seconds=61)


class TestTheSeed:
    def test_same_seed_same_samples(self, generator: AudioLDM2Generator) -> None:
        assert np.array_equal(samples(generator, seconds=3), samples(generator, seconds=3))

    def test_another_seed_another_sound(self, generator: AudioLDM2Generator) -> None:
        assert not np.allclose(samples(generator), samples(generator, seed=8), atol=1e-3)

    def test_two_generators_of_one_checkpoint_agree(self, generator: AudioLDM2Generator, toy_audioldm2: Path) -> None:
        other = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(toy_audioldm2), device="cpu", steps=2))
        assert np.array_equal(samples(generator), samples(other))

    def test_calls_at_once_give_what_each_gives_alone(self, generator: AudioLDM2Generator) -> None:
        asked: list[dict[str, Any]] = [
            {"seed": seed, "steps": 3, "seconds": 1 + 3 * seed, "prompt": "rain " * seed} for seed in range(5)
        ]
        alone = [samples(generator, **one) for one in asked]
        with ThreadPoolExecutor(5) as threads:
            together = list(threads.map(lambda one: samples(generator, **one), asked))
        for one, other in zip(alone, together, strict=True):
            assert np.abs(one - other).max() < 1e-4 * one.std()


class TestProgress:
    def test_rises_to_all_steps(self, generator: AudioLDM2Generator) -> None:
        told: list[tuple[int, int]] = []
        request = AudioRequest("rain", seconds=NATIVE_SECONDS + 1, seed=7, steps=3, candidates=2)
        made = generator.generate(request, on_step=lambda step, total: told.append((step, total)))
        assert [step for step, _ in told] == sorted({step for step, _ in told})
        assert {total for _, total in told} == {3}
        assert told[-1] == (3, 3)
        assert made.steps == 3

    def test_of_one_does_not_hold_up_another(self, generator: AudioLDM2Generator) -> None:
        held, go_on = threading.Event(), threading.Event()

        def wait(_step: int, _steps: int) -> None:
            held.set()
            go_on.wait(60)

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(generator.generate, AudioRequest("rain", 1, 1), on_step=wait)
            assert held.wait(60)
            assert samples(generator).std() > 0
            assert not waiting.done()
            go_on.set()
            waiting.result()

    def test_is_estimated_before_it_begins(
        self, generator: AudioLDM2Generator, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("INFO", "models.audio_generation.audioldm2"):
            samples(generator, seconds=3)
        assert re.search(r"3 s of sound on cpu: about \d+ s of work", caplog.text)

    def test_settings_stand_in_for_what_the_request_leaves_open(self, generator: AudioLDM2Generator) -> None:
        made = generate(generator)
        assert (made.steps, made.guidance, made.score) == (2, 3.5, None)
        assert (generate(generator, steps=3, guidance=2).steps, generate(generator, guidance=2).guidance) == (3, 2)

    def test_a_cancel_stops_at_once_and_leaves_the_others_and_the_next_untouched(
        self, generator: AudioLDM2Generator
    ) -> None:
        undisturbed = samples(generator, steps=30, seconds=4)
        told = []

        def cancel(step: int, steps: int) -> None:
            told.append((step, steps))
            raise Cancelled("stop")

        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(samples, generator, steps=30, seconds=4)
            with pytest.raises(Cancelled):
                generator.generate(AudioRequest("rain", 60.0, seed=1, steps=500), on_step=cancel)
            assert len(told) == 1
            assert np.abs(other.result() - undisturbed).max() < 1e-4 * undisturbed.std()
        assert np.array_equal(samples(generator, steps=30, seconds=4), undisturbed)

    def test_whoever_is_not_wanted_any_more_stops_without_being_told(self, generator: AudioLDM2Generator) -> None:
        doing = work.Work()

        def unwanted() -> None:
            with work.going_on(doing):
                generate(generator, seconds=60, steps=500)

        with ThreadPoolExecutor(1) as threads:
            made = threads.submit(unwanted)
            doing.cancelled.set()
            assert isinstance(made.exception(timeout=30), Cancelled)


class TestABrokenDevice:
    def test_ends_every_request_so_that_another_replica_can_take_them(
        self, toy_audioldm2: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        generator = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(toy_audioldm2), device="cpu"))
        generator.check_health()

        def broken(*_: Any) -> Any:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(generator._networks, "predict", broken)
        with ThreadPoolExecutor(3) as threads:
            asked = [threads.submit(generate, generator, seed=seed) for seed in range(3)]
        assert all(isinstance(one.exception(), WorkerDied) for one in asked)
        with pytest.raises(WorkerDied):
            generator.check_health()
        with pytest.raises(WorkerDied):
            generate(generator)

    @pytest.mark.parametrize("part", ["begin", "encode"])
    def test_is_noticed_wherever_it_shows(
        self, toy_audioldm2: Path, monkeypatch: pytest.MonkeyPatch, part: str
    ) -> None:
        import torch

        generator = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(toy_audioldm2), device="cpu"))

        def broken(*_: Any) -> Any:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(Track if part == "begin" else generator._texts, part, broken)
        with pytest.raises(WorkerDied, match="illegal memory access"):
            generate(generator)
        with pytest.raises(WorkerDied):
            generator.check_health()

    def test_that_has_too_little_memory_says_so_and_goes_on(
        self, generator: AudioLDM2Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        def full(*_: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with monkeypatch.context() as patched:
            patched.setattr(generator._networks, "predict", full)
            with pytest.raises(OutOfMemory):
                generate(generator)
        assert samples(generator).std() > 0


class TestWords:
    def test_another_prompt_another_sound(self, generator: AudioLDM2Generator) -> None:
        assert not np.array_equal(samples(generator, "rain"), samples(generator, "calm sea"))

    def test_a_negative_prompt_is_read_to_its_end_beside_a_shorter_prompt(self, generator: AudioLDM2Generator) -> None:
        music, dogs = (
            samples(generator, "rain", negative_prompt=f"low quality {end}", steps=1) for end in ("music", "dogs")
        )
        assert not np.array_equal(music, dogs)

    def test_padding_changes_nothing(self, generator: AudioLDM2Generator) -> None:
        """Without guidance, only the padding that another text needs could be heard."""
        alone = samples(generator, "rain", guidance=1)
        with ThreadPoolExecutor(2) as threads:
            long = threads.submit(generate, generator, "music and dogs " * 40, seconds=20, steps=20)
            beside = samples(generator, "rain", guidance=1)
            long.result()
        assert np.abs(alone - beside).max() < 1e-4 * alone.std()

    def test_a_text_is_encoded_once(self, generator: AudioLDM2Generator, monkeypatch: pytest.MonkeyPatch) -> None:
        encoded = []
        encode = generator._texts._encode

        def watched(text: str, *more: Any) -> Conditioning:
            encoded.append(text)
            return encode(text, *more)

        monkeypatch.setattr(generator._texts, "_encode", watched)
        for prompt in ("night birds", "night dogs", "night birds"):
            samples(generator, prompt, negative_prompt="low low low", steps=1)
        assert sorted(encoded) == ["low low low", "night birds", "night dogs"]

    def test_of_the_negative_prompt_are_counted_where_it_is_read(self, generator: AudioLDM2Generator) -> None:
        assert generate(generator, negative_prompt="low " * 130, steps=1).negative_words_unread == 3
        assert generate(generator, negative_prompt="low " * 130, steps=1, guidance=1).negative_words_unread == 0

    def test_longer_than_the_model_reads_are_read_alike_in_any_company(self, generator: AudioLDM2Generator) -> None:
        """The tokenizers hold the state of a call: two at once would cut nothing, or the wrong text."""
        prompts = [
            f"{word} " + "rain and wind " * (50 + number) for number, word in enumerate(("sea", "dogs", "night"))
        ]
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda prompt: generate(generator, prompt, steps=1), 4 * prompts))
        generator._texts._cache.clear()
        for prompt, together in zip(4 * prompts, made, strict=True):
            alone = generate(generator, prompt, steps=1)
            assert together.prompt_words_unread == alone.prompt_words_unread > 0
            change = np.abs(alone.audio.samples - together.audio.samples).max()
            assert change < 1e-4 * alone.audio.samples.std()

    def test_of_the_scene_that_is_read_worst_are_counted(self, generator: AudioLDM2Generator) -> None:
        made = generate(generator, "rain", seconds=2, steps=1, later_prompts=((1.0, "rain " * 130),))
        assert made.prompt_words_unread == 3

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
    def test_the_best_one_by_this_prompts_score_is_chosen(self, generator: AudioLDM2Generator) -> None:
        made = generate(generator, "calm sea", candidates=4, keep_candidates=True)
        scores = [candidate.score for candidate in made.candidates]
        assert len(set(scores)) == 4
        assert made.score == max(score for score in scores if score is not None)
        kept = made.candidates[made.chosen].audio
        assert kept is not None
        assert np.array_equal(made.audio.samples, kept.samples)

    def test_the_first_is_the_one_that_is_made_alone(self, generator: AudioLDM2Generator) -> None:
        made = generate(generator, candidates=3, keep_candidates=True)
        first, second = (candidate.audio for candidate in made.candidates[:2])
        assert first is not None
        assert second is not None
        alone = samples(generator)
        assert np.abs(first.samples - alone).max() < 1e-4 * alone.std()
        assert not np.allclose(second.samples, alone, atol=1e-2)

    def test_are_scored_and_let_go_where_they_are_not_kept(self, generator: AudioLDM2Generator) -> None:
        made = generate(generator, candidates=2)
        assert [candidate.audio for candidate in made.candidates] == [None, None]
        assert all(candidate.score is not None for candidate in made.candidates)
        assert generate(generator).candidates == ()

    def test_a_score_depends_on_the_sound_and_the_words_alone(self, generator: AudioLDM2Generator) -> None:
        sound = generate(generator, seconds=5, steps=1).audio
        first = score(generator, sound, "rain")
        assert score(generator, sound, "dogs and birds") != first
        np.random.standard_normal()  # moves on what CLAP's own cropping draws from
        assert score(generator, sound, "rain") == first
        assert -1 <= first <= 1

    def test_a_long_sound_is_judged_by_its_middle(self, generator: AudioLDM2Generator) -> None:
        sound = generate(generator, seconds=5, steps=1).audio
        muted = sound.samples.copy()
        muted[:, :RATE] = 0
        muted[:, -RATE:] = 0
        assert score(generator, sound, "rain") == score(generator, Audio(muted, RATE), "rain")

    def test_every_scene_is_judged_by_its_own_prompt(self, generator: AudioLDM2Generator) -> None:
        first, second = (generate(generator, prompt, seconds=1.5, steps=1).audio for prompt in ("rain", "dogs"))
        both = Audio(np.concatenate([first.samples, second.samples], axis=1), RATE)
        asked = AudioRequest("rain", 3, seed=0, later_prompts=((1.5, "dogs"),), crossing_seconds=0)
        parts = scenes(asked, samples=3 * RATE, rate=RATE)
        mean = (score(generator, first, "rain") + score(generator, second, "dogs")) / 2
        assert generator._score(both, parts) == pytest.approx(mean, abs=5e-3)  # they cross in 5 ms


def score(generator: AudioLDM2Generator, sound: Audio, prompt: str) -> float:
    asked = AudioRequest(prompt, sound.seconds, seed=0)
    return generator._score(sound, scenes(asked, samples=sound.samples.shape[1], rate=RATE))


class TestATimeline:
    def test_is_heard_as_loud_where_it_crosses_as_elsewhere(self, generator: AudioLDM2Generator) -> None:
        later = ((3.0, "calm sea"), (7.5, "dogs"))
        made = samples(generator, "rain", seconds=12, later_prompts=later)[0]
        loudness = made.reshape(-1, RATE // 2).std(axis=1)
        assert loudness.max() < 1.6 * loudness.min()


class TestALoop:
    @pytest.mark.parametrize("seconds", [0.1, 1 / 3, 5, 7.77])
    def test_is_exactly_as_long_as_asked(self, generator: AudioLDM2Generator, seconds: float) -> None:
        made = generate(generator, seconds=seconds, loop=True)
        assert made.audio.samples.shape == (1, round(seconds * RATE))
        assert made.loops
        assert not generate(generator, seconds=0.1).loops

    def test_played_twice_has_no_joint(self, generator: AudioLDM2Generator) -> None:
        made = samples(generator, seconds=4.321, loop=True)[0]
        twice = np.abs(np.diff(np.concatenate([made, made])))
        joint = twice[len(made) - 4 : len(made) + 2].max()
        assert joint < np.quantile(twice, 0.9999)


class TestAReference:
    @pytest.fixture
    def clip(self, generator: AudioLDM2Generator, tmp_path: Path) -> Path:
        write_audio(generate(generator, "dogs", seconds=3, seed=99).audio, tmp_path / "dogs.flac")
        return tmp_path / "dogs.flac"

    def test_of_no_weight_changes_nothing(self, generator: AudioLDM2Generator, clip: Path) -> None:
        made = generate(generator, reference=clip, reference_weight=0)
        assert np.abs(made.audio.samples - samples(generator)).max() < 1e-4
        assert made.listened

    def test_changes_the_sound_the_more_the_more_it_weighs(self, generator: AudioLDM2Generator, clip: Path) -> None:
        plain = samples(generator)
        changes = [
            np.abs(samples(generator, reference=clip, reference_weight=weight) - plain).mean() for weight in (0.3, 1)
        ]
        assert 1e-4 < changes[0] < changes[1]

    def test_is_listened_to_from_its_beginning_to_its_end(self, generator: AudioLDM2Generator, tmp_path: Path) -> None:
        """CLAP of the toy takes two seconds at once."""
        noise = np.random.default_rng(0).normal(0, 0.1, (1, 6 * RATE)).astype(np.float32)
        made = []
        for place in (None, 0, 2, 4):
            sound = noise.copy()
            if place is not None:
                sound[:, place * RATE : (place + 2) * RATE] = np.sin(np.arange(2 * RATE) * 0.5)
            write_audio(Audio(sound, RATE), tmp_path / f"{place}.flac")
            made.append(samples(generator, reference=tmp_path / f"{place}.flac", reference_weight=1))
        assert all(not np.allclose(made[0], other, atol=1e-4) for other in made[1:])

    def test_another_one_makes_another_sound(self, generator: AudioLDM2Generator, clip: Path, tmp_path: Path) -> None:
        tone = np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)[np.newaxis].astype(np.float32)
        write_audio(Audio(tone, RATE), tmp_path / "tone.flac")
        one, other = (samples(generator, reference=each, reference_weight=1) for each in (clip, tmp_path / "tone.flac"))
        assert not np.allclose(one, other, atol=1e-4)
        assert not generate(generator).listened


class TestLoading:
    def test_says_what_was_loaded(self, generator: AudioLDM2Generator) -> None:
        assert (generator.model, generator.device, generator.licence) == ("toy-audioldm2", "cpu", None)

    def test_the_published_layout_still_breaks_diffusers_own_loading(self, toy_audioldm2: Path) -> None:
        """When this fails, loading.py can lose its special case."""
        from diffusers import AudioLDM2Pipeline

        assert '"GPT2Model"' in (toy_audioldm2 / "model_index.json").read_text()
        pipeline = AudioLDM2Pipeline.from_pretrained(toy_audioldm2, local_files_only=True)
        with pytest.raises(AttributeError, match="GPT2Model"):
            pipeline("rain", num_inference_steps=1)

    def test_a_name_means_the_hub_at_the_commit_we_know(
        self, toy_audioldm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def find(published: HubFiles) -> Path:
            assert published.repository == "cvssp/audioldm2"
            return shutil.copytree(toy_audioldm2, tmp_path / "snapshots" / str(published.revision))

        monkeypatch.setattr("models.weights.find", find)
        generator = AudioLDM2Generator.load(AudioLDM2Settings(device="cpu"))
        assert (generator.model, generator.licence) == ("cvssp/audioldm2@c8e7e18", "CC-BY-NC-SA-4.0")

    def test_half_precision_makes_the_same_sound_but_for_rounding(
        self, generator: AudioLDM2Generator, toy_audioldm2: Path
    ) -> None:
        half = AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(toy_audioldm2), device="cpu", dtype="bfloat16"))
        exact, rounded = (samples(each, guidance=1, steps=2) for each in (generator, half))
        assert np.corrcoef(exact[0], rounded[0])[0, 1] > 0.9

    def test_a_folder_that_is_not_there_is_named(self) -> None:
        with pytest.raises(ModelUnavailable, match="there is no folder /nowhere/audioldm2"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint="/nowhere/audioldm2"))

    def test_a_folder_with_something_else_in_it_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable, match=r"no model_index\.json"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(tmp_path)))

    def test_a_hub_that_may_not_be_asked_is_said_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path))
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(
            ModelUnavailable, match=r"nobody/no-such-model \(revision abc\) is not in .* HF_HUB_OFFLINE"
        ):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint="nobody/no-such-model", revision="abc"))

    def test_a_gpu_that_is_not_there_is_said_so(self, toy_audioldm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(ModelUnavailable, match="sees no GPU"):
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(toy_audioldm2), device="cuda"))


class TestABrokenCheckpoint:
    @pytest.mark.parametrize(
        ("part", "damage", "message"),
        [
            ("unet/diffusion_pytorch_model", fill(float("nan")), "self-check: .* not finite"),
            ("vocoder/model", fill(0), "self-check: it did not make one second of sound"),
            ("text_encoder/model", fill(float("nan")), "self-check"),
            ("language_model/model", lose(), "lacks 1 of its weights"),
            ("vae/diffusion_pytorch_model", cut_short, "cannot be loaded"),
            ("text_encoder_2/model", Path.unlink, "cannot be loaded"),
        ],
    )
    def test_is_found_at_start(
        self, toy_audioldm2: Path, tmp_path: Path, part: str, damage: Damage, message: str
    ) -> None:
        broken = shutil.copytree(toy_audioldm2, tmp_path / "broken")
        damage(broken / f"{part}.safetensors")
        with pytest.raises(ModelUnavailable, match=message) as raised:
            AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(broken), device="cpu"))
        assert "broken" in str(raised.value)

    def test_that_breaks_later_fails_the_module_and_gives_no_sound(self, toy_audioldm2: Path) -> None:
        import torch

        pipeline = load_pipeline(Checkpoint("toy", toy_audioldm2), device="cpu", dtype=torch.float32)
        generator = AudioLDM2Generator(pipeline, AudioLDM2Settings(), model="toy")
        pipeline.vae.post_quant_conv.bias.data.fill_(float("inf"))
        with pytest.raises(ModuleFailed, match="not finite"):
            generate(generator)
