"""What every trained generator does behind the one verb; what only one of them does stands in its own tests."""

import math
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.audio import Audio, Samples, write_audio
from models.audio_generation import AudioRequest, GeneratedAudio, nothing_to_report
from models.audio_generation.ace_step import AceStepGenerator, AceStepSettings
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.audio_step import Generator
from models.errors import Cancelled, InputTooLarge, ModelUnavailable
from tests.toys.ace_step import make_ace_step
from tests.toys.audioldm2 import make_audioldm2
from tests.toys.damage import Damage, cut_short, fill

SAME = 1e-4  # of full scale: what the company in a batch, or the order of a sum, may change


@dataclass(frozen=True)
class Backend:
    """One generator."""

    make: Callable[[Path], Path]
    load: Callable[[Path], Generator]
    network: str
    """The weights of what denoises."""


def load_audioldm2(folder: Path) -> Generator:
    return AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=str(folder), device="cpu", steps=2, max_seconds=60))


def load_ace_step(folder: Path) -> Generator:
    return AceStepGenerator.load(AceStepSettings(checkpoint=str(folder), device="cpu", steps=2, max_seconds=60))


BACKENDS = {
    "audioldm2": Backend(make_audioldm2, load_audioldm2, "unet/diffusion_pytorch_model.safetensors"),
    "ace-step": Backend(make_ace_step, load_ace_step, "transformer/diffusion_pytorch_model.safetensors"),
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture(scope="module")
def checkpoint(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backend.make(tmp_path_factory.mktemp("weights") / "toy")


@pytest.fixture(scope="module")
def generator(backend: Backend, checkpoint: Path) -> Generator:
    return backend.load(checkpoint)


def generate(generator: Generator, prompt: str = "rain", **request: Any) -> GeneratedAudio:
    asked = AudioRequest(prompt, **{"seconds": 0.5, "seed": 7, **request})
    return generator.generate(asked, on_step=nothing_to_report)


def samples(generator: Generator, prompt: str = "rain", **request: Any) -> Samples:
    return generate(generator, prompt, **request).audio.samples


def alike(one: Samples, other: Samples) -> bool:
    return one.shape == other.shape and np.allclose(one, other, atol=SAME)


class TestEveryGenerator:
    @pytest.mark.parametrize("seconds", [0.04, 1 / 3, 1, 3, 12.5])
    def test_makes_exactly_as_much_sound_as_is_asked_for(self, generator: Generator, seconds: float) -> None:
        audio = generate(generator, seconds=seconds, steps=1).audio
        assert audio.samples.shape[1] == math.ceil(seconds * audio.sample_rate - 1e-6)
        assert audio.samples.dtype == np.float32
        assert np.abs(audio.samples).max() <= 1
        assert audio.samples.std() > 1e-3

    def test_makes_the_same_of_the_same_seed_and_other_sounds_of_another_seed_or_prompt(
        self, generator: Generator
    ) -> None:
        made = samples(generator)
        assert alike(made, samples(generator))
        assert not alike(made, samples(generator, seed=8))
        assert not alike(made, samples(generator, "calm sea"))

    def test_gives_each_of_two_calls_at_once_what_it_gives_it_alone(self, generator: Generator) -> None:
        made: dict[int, Samples] = {}
        threads = [
            threading.Thread(target=lambda seed=seed: made.update({seed: samples(generator, seed=seed, steps=3)}))
            for seed in (1, 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(alike(made[seed], samples(generator, seed=seed, steps=3)) for seed in (1, 2))

    def test_says_how_far_it_is(self, generator: Generator) -> None:
        told: list[tuple[int, int]] = []
        made = generator.generate(AudioRequest("rain", 0.5, seed=7, steps=3), on_step=lambda *far: told.append(far))
        assert told == sorted(set(told))
        assert {total for _, total in told} == {told[-1][0]}
        assert made.steps == 3
        assert generate(generator).steps == 2

    @pytest.mark.parametrize("last", [1, 2])
    def test_stops_when_it_is_cancelled_and_is_ready_for_the_next(self, generator: Generator, last: int) -> None:
        heard = []

        def cancel(*far: int) -> None:
            heard.append(far)
            if len(heard) == last:
                raise Cancelled("stop")

        undisturbed = samples(generator)
        with pytest.raises(Cancelled):
            generator.generate(AudioRequest("rain", 20, seed=1, steps=50), on_step=cancel)
        assert len(heard) == last
        assert alike(samples(generator), undisturbed)

    def test_keeps_all_candidates_if_asked_the_first_being_what_is_made_alone(self, generator: Generator) -> None:
        made = generate(generator, candidates=3, keep_candidates=True)
        kept = [one.audio.samples for one in made.candidates if one.audio]
        assert len(kept) == 3
        assert alike(kept[0], samples(generator))
        assert not any(alike(kept[0], other) for other in kept[1:])
        assert np.array_equal(made.audio.samples, kept[made.chosen])

    def test_keeps_no_candidates_else(self, generator: Generator) -> None:
        made = generate(generator, candidates=2)
        assert not any(one.audio for one in made.candidates)
        assert made.audio.seconds == 0.5

    def test_lets_another_prompt_be_heard_later(self, generator: Generator) -> None:
        one, two = (samples(generator, seconds=6, later_prompts=later) for later in ((), ((3, "calm sea"),)))
        assert one.shape == two.shape
        assert not alike(one, two)

    def test_says_whether_the_end_goes_over_into_the_beginning(self, generator: Generator) -> None:
        made = generate(generator, seconds=6, loop=True)
        sound = made.audio.samples
        assert sound.shape == samples(generator, seconds=6).shape
        if made.loops:
            assert np.abs(sound[:, 0] - sound[:, -1]).max() <= np.abs(np.diff(sound)).max()
        assert not generate(generator).loops

    def test_says_whether_it_has_listened_to_a_reference(self, generator: Generator, tmp_path: Path) -> None:
        hum = np.sin(np.arange(32_000, dtype=np.float32) / 50)[np.newaxis]
        write_audio(Audio(hum, 16_000), reference := tmp_path / "hum.wav")
        plain = samples(generator)
        made = generate(generator, reference=reference, reference_weight=1)
        assert made.listened is not alike(made.audio.samples, plain)
        assert alike(samples(generator, reference=reference, reference_weight=0), plain)
        assert not generate(generator).listened

    def test_counts_the_words_that_it_does_not_read(self, generator: Generator) -> None:
        assert generate(generator, steps=1).prompt_words_unread == 0
        assert 100 < generate(generator, "rain " * 300, steps=1).prompt_words_unread < 300

    def test_refuses_what_is_longer_than_its_limit_and_names_that(self, generator: Generator) -> None:
        with pytest.raises(InputTooLarge, match=r"61 s.*at most 60 s"):
            generate(generator, seconds=61)

    def test_says_what_it_is(self, generator: Generator) -> None:
        assert generator.model == "toy"
        assert getattr(generator, "device", None) == "cpu"
        assert getattr(generator, "licence", "unknown") is None
        assert getattr(generator, "at_once", 1) >= 1


class TestABrokenCheckpoint:
    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (fill(float("nan")), "broken failed its self-check: .*not finite"),
            (cut_short, "cannot be loaded from broken"),
            (Path.unlink, "cannot be loaded from broken"),
        ],
        ids=["not numbers", "cut short", "missing"],
    )
    def test_is_refused_in_one_sentence(
        self, backend: Backend, checkpoint: Path, tmp_path: Path, damage: Damage, message: str
    ) -> None:
        broken = shutil.copytree(checkpoint, tmp_path / "broken")
        damage(broken / backend.network)
        with pytest.raises(ModelUnavailable, match=message) as raised:
            backend.load(broken)
        assert "\n" not in str(raised.value)

    def test_is_refused_where_it_is_another_model(self, backend: Backend, tmp_path: Path) -> None:
        (other,) = (each for each in BACKENDS.values() if each is not backend)
        with pytest.raises(ModelUnavailable, match="cannot be loaded from other"):
            backend.load(other.make(tmp_path / "other"))

    def test_is_refused_where_there_is_none(self, backend: Backend, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable, match=r"no model_index\.json"):
            backend.load(tmp_path)
        with pytest.raises(ModelUnavailable, match="there is no folder /nowhere"):
            backend.load(Path("/nowhere"))
