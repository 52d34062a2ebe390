"""A sound of several scenes, by every generator: each scene has its own sound, and knows nothing of the others."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.audio import Samples
from models.audio_generation import AudioRequest, GeneratedAudio, nothing_to_report
from models.audio_generation.ace_step import AceStepGenerator, AceStepSettings
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.audio_generation.scenes import HARD_SECONDS
from models.audio_step import Generator
from models.errors import Cancelled
from models.sketch.foley import FoleyGenerator
from models.sketch.music import MusicGenerator
from tests.toys.ace_step import make_ace_step
from tests.toys.audioldm2 import make_audioldm2

SECONDS = 12
BORDERS = (3.0, 7.5)


@dataclass(frozen=True)
class Backend:
    """One generator."""

    load: Callable[[Path], Generator]
    prompts: tuple[str, str, str, str]
    """Of three scenes, in which nothing happens suddenly, and another for one of them."""
    rounding: float = 0
    """Of the sound's standard deviation: what a scene's company may change of it."""


def load_audioldm2(folder: Path) -> Generator:
    return AudioLDM2Generator.load(
        AudioLDM2Settings(checkpoint=str(make_audioldm2(folder / "toy")), device="cpu", steps=2, windows=4)
    )


def load_ace_step(folder: Path) -> Generator:
    return AceStepGenerator.load(AceStepSettings(checkpoint=str(make_ace_step(folder / "toy")), device="cpu", steps=2))


TOYS = ("rain", "calm sea", "dogs", "music")
BACKENDS = {
    "audioldm2": Backend(load_audioldm2, TOYS, rounding=1e-3),
    "ace-step": Backend(load_ace_step, TOYS),
    "foley": Backend(lambda _: FoleyGenerator(), ("underwater", "a waterfall", "an engine", "rain")),
    "music": Backend(lambda _: MusicGenerator(), ("sad strings", "cheerful flute", "ambient", "epic")),
}


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.fixture(scope="module")
def generator(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return backend.load(tmp_path_factory.mktemp("weights"))


def generate(generator: Generator, *prompts: str, **request: Any) -> GeneratedAudio:
    later = tuple(zip(BORDERS, prompts[1:], strict=False))
    asked = AudioRequest(prompts[0], **{"seconds": SECONDS, "seed": 7, "later_prompts": later, **request})
    return generator.generate(asked, on_step=nothing_to_report)


def samples(generator: Generator, *prompts: str, **request: Any) -> Samples:
    return generate(generator, *prompts, **request).audio.samples


def changed(one: Samples, other: Samples, backend: Backend) -> NDArray[np.float64]:
    """When the sounds differ: seconds of every sample that does."""
    differ = np.abs(one - other).max(axis=0) > backend.rounding * one.std()
    return np.flatnonzero(differ) * SECONDS / one.shape[1]


def test_is_heard_from_the_crossing_on(generator: Generator, backend: Backend) -> None:
    first, second, third, _ = backend.prompts
    plain, made = samples(generator, first, first, first), samples(generator, first, second, third)
    seconds = changed(plain, made, backend)
    assert seconds.min() >= BORDERS[0] - 0.5
    change = np.abs(made - plain).mean(axis=0)
    for start in (3.5, 5, 8, 10):
        rate = made.shape[1] // SECONDS
        assert change[round(start * rate) :][:rate].mean() > 0.001 * plain.std()


@pytest.mark.parametrize("crossing", [0, 0.2, 1, 1.5])
def test_a_scene_rewritten_changes_up_to_the_middle_of_its_crossings_and_nothing_else(
    generator: Generator, backend: Backend, crossing: float
) -> None:
    first, second, third, other = backend.prompts
    made = samples(generator, first, second, third, crossing_seconds=crossing)
    edited = samples(generator, first, other, third, crossing_seconds=crossing)
    seconds = changed(made, edited, backend)
    half = max(crossing, HARD_SECONDS) / 2
    near = 0.1 * crossing + 0.01  # within the first of a fade, little is heard
    assert BORDERS[0] - half <= seconds.min() < BORDERS[0] - half + near
    assert BORDERS[1] + half - near < seconds.max() <= BORDERS[1] + half


def test_another_take_of_a_scene_changes_that_scene_and_its_crossings_and_nothing_else(
    generator: Generator, backend: Backend
) -> None:
    first, second, third, _ = backend.prompts
    made = samples(generator, first, second, third)
    again = samples(generator, first, second, third, later_takes=(1, 0))
    seconds = changed(made, again, backend)
    assert BORDERS[0] - 0.5 <= seconds.min() < BORDERS[0] - 0.4
    assert BORDERS[1] + 0.4 < seconds.max() <= BORDERS[1] + 0.5
    assert another(made, again, seconds=(BORDERS[0] + 0.5, BORDERS[1] - 0.5))
    assert not changed(again, samples(generator, first, second, third, later_takes=(1, 0)), backend).size


def test_takes_of_several_scenes_know_nothing_of_each_other(generator: Generator, backend: Backend) -> None:
    first, second, third, _ = backend.prompts
    made = samples(generator, first, second, third, take=1, later_takes=(1, 2))
    again = samples(generator, first, second, third, take=2, later_takes=(1, 2))
    seconds = changed(made, again, backend)
    assert seconds.max() <= BORDERS[0] + 0.5
    assert another(made, again, seconds=(0, BORDERS[0] - 0.5))


@pytest.mark.parametrize("loop", [False, True])
def test_a_take_of_one_prompt_is_another_sound_in_every_candidate(
    generator: Generator, backend: Backend, loop: bool
) -> None:
    asked = {"loop": loop, "candidates": 2, "keep_candidates": True}
    takes = [generate(generator, backend.prompts[0], take=take, **asked) for take in (0, 1, 2)]
    kept = [one.audio for made in takes for one in made.candidates if one.audio] or [made.audio for made in takes]
    assert all(another(one.samples, other.samples, seconds=(0, SECONDS)) for one, other in combinations(kept, 2))


def another(one: Samples, other: Samples, *, seconds: tuple[float, float]) -> bool:
    """Whether what is heard in this time differs by as much as with another seed, which in a toy is a fifth."""
    rate = one.shape[1] / SECONDS
    one, other = (sound[:, round(seconds[0] * rate) : round(seconds[1] * rate)] for sound in (one, other))
    return bool((one - other).std() > 0.15 * one.std())


@pytest.mark.parametrize("crossing", [0, 1])
@pytest.mark.parametrize("loop", [False, True])
def test_no_border_clicks(generator: Generator, backend: Backend, crossing: float, loop: bool) -> None:
    """Nor does the joint of a loop, which is one more border."""
    made = samples(generator, *backend.prompts[:3], crossing_seconds=crossing, loop=loop)
    turned = np.concatenate([made, made], axis=1) if loop else made
    rate = made.shape[1] / SECONDS
    jumps = np.abs(np.diff(turned)).max(axis=0)
    inside = np.ones(len(jumps), bool)
    half = max(crossing, HARD_SECONDS) / 2 + 0.01
    crossings = [slice(round((at - half) * rate), round((at + half) * rate)) for at in (*BORDERS, *[SECONDS] * loop)]
    for each in crossings:
        inside[each] = False
    for each in crossings:
        assert jumps[each].max() <= 1.1 * jumps[inside].max()


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("seconds", [0.4, 7.77777])
def test_scenes_of_any_length_make_a_sound_of_exactly_the_length(
    generator: Generator, backend: Backend, seconds: float, loop: bool
) -> None:
    first, second, third, other = backend.prompts
    later = ((0.11, second), (0.11001, third), (1 / 3, other), (0.35, first), (7.7, second))
    made = samples(generator, first, seconds=seconds, later_prompts=later, loop=loop, steps=1)
    assert made.shape == samples(generator, first, seconds=seconds, later_prompts=(), loop=loop, steps=1).shape
    assert made.dtype == np.float32
    assert np.abs(made).max() <= 1
    assert all(part.std() > 1e-4 for part in np.array_split(made, 4, axis=1))


def test_the_last_scene_of_a_loop_goes_over_into_the_first(generator: Generator, backend: Backend) -> None:
    first, second, third, other = backend.prompts
    made = generate(generator, first, second, third, loop=True)
    edited = generate(generator, other, second, third, loop=True)
    assert made.loops
    seconds = changed(made.audio.samples, edited.audio.samples, backend)
    assert np.all((seconds <= 3.5) | (seconds >= 11.5))
    assert seconds[seconds < 6].max() > 3.3
    assert seconds[seconds > 6].min() < 11.7


def test_steps_are_told_over_all_scenes_and_a_cancel_in_a_later_one_stops_it(
    generator: Generator, backend: Backend
) -> None:
    later = tuple(zip(BORDERS, backend.prompts[1:], strict=False))
    asked = AudioRequest(backend.prompts[0], SECONDS, seed=7, later_prompts=later, steps=8)
    told: list[tuple[int, int]] = []
    undisturbed = generator.generate(asked, on_step=lambda *far: told.append(far)).audio.samples
    steps = told[0][1]
    assert told == [(step, steps) for step in range(1, steps + 1)]

    def cancel(step: int, steps: int) -> None:
        told.append((step, steps))
        if step == steps - 1:
            raise Cancelled("enough")

    told.clear()
    with pytest.raises(Cancelled, match="enough"):
        generator.generate(asked, on_step=cancel)
    assert len(told) == steps - 1
    again = generator.generate(asked, on_step=nothing_to_report).audio.samples
    assert not changed(undisturbed, again, backend).size


@pytest.mark.parametrize("name", ["foley", "music"])
def test_a_sketch_sounds_another_at_its_borders_and_nowhere_else(name: str) -> None:
    backend = BACKENDS[name]
    later = tuple(zip((10.0, 20.0), backend.prompts[1:], strict=False))
    made = samples(backend.load(Path()), backend.prompts[0], seconds=30, later_prompts=later)
    heard = [colour(made[:, round(at * 48_000) :][:, :192_000]) for at in (0.7, 5.2, 10.7, 15.2, 20.7, 25.2)]
    steps = [np.abs(after - before).mean() for before, after in pairwise(heard)]
    assert min(steps[1::2]) > 1.5 * max(steps[::2])


def colour(sound: Samples) -> NDArray[np.float64]:
    """How loud each octave is, in dB."""
    power = np.square(np.abs(np.fft.rfft(sound.astype(np.float64)))).mean(axis=0)
    hertz = np.fft.rfftfreq(sound.shape[1], 1 / 48_000)
    octaves = [(hertz >= low) & (hertz < 2 * low) for low in (60, 120, 240, 480, 960, 1920, 3840, 7680)]
    return np.asarray([10 * np.log10(power[octave].sum() + 1e-9) for octave in octaves])
