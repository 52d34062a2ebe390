import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from models.audio import Samples
from models.audio_generation import AudioRequest, nothing_to_report
from models.errors import Cancelled
from models.sketch import SketchAudioSettings
from models.sketch.foley import LAYERS, FoleyGenerator
from models.sketch.foley_words import LAYERS_AT_MOST, plan

RATE = 48_000

Floats = NDArray[np.floating[Any]]

WORDS = {"air": "silence", "lapping": "lake", "cattle": "cow", "tableware": "cutlery", "hooves": "horse"}
"""A word for each layer whose name is not one."""


def generate(prompt: str, *, seconds: float = 20, seed: int = 1, negative: str = "") -> Samples:
    request = AudioRequest(prompt, seconds, seed, negative)
    generated = FoleyGenerator.load(SketchAudioSettings()).generate(request, on_step=nothing_to_report)
    assert generated.audio.sample_rate == RATE
    assert generated.steps is None
    assert generated.guidance is None
    return generated.audio.samples


def spectrum(samples: Samples) -> tuple[Floats, Floats]:
    pieces = samples.mean(axis=0)[: samples.shape[1] // 8192 * 8192].reshape(-1, 8192) * np.hanning(8192)
    return np.fft.rfftfreq(8192, 1 / RATE), np.square(np.abs(np.fft.rfft(pieces, axis=1))).mean(axis=0)


def share(samples: Samples, low: float, high: float) -> float:
    """Part of the energy between two frequencies."""
    frequencies, power = spectrum(samples)
    return float(power[(frequencies >= low) & (frequencies < high)].sum() / power.sum())


def centroid(samples: Samples) -> float:
    frequencies, power = spectrum(samples)
    return float((frequencies * power).sum() / power.sum())


def within(samples: Samples, low: float, high: float) -> Floats:
    sos = signal.butter(4, (low, high), btype="bandpass", fs=RATE, output="sos")
    return np.asarray(signal.sosfilt(sos, samples.mean(axis=0)))


def envelope(sound: Floats, *, rate: float) -> Floats:
    """RMS of the stretches of a sound, `rate` of them per second."""
    length = int(RATE / rate)
    pieces = sound[: len(sound) // length * length].reshape(-1, length)
    return np.asarray(np.sqrt(np.square(pieces).mean(axis=1)))


def strongest_period(levels: Floats, *, rate: float, shortest: float, longest: float) -> float:
    """Seconds of the slow change of level that stands out most."""
    power = np.abs(np.fft.rfft((levels - levels.mean()) * np.hanning(len(levels)), n=8 * len(levels))) ** 2
    frequencies = np.fft.rfftfreq(8 * len(levels), 1 / rate)
    power[(frequencies < 1 / longest) | (frequencies > 1 / shortest)] = 0
    return float(1 / frequencies[power.argmax()])


def decibels(samples: Samples | Floats) -> float:
    return float(20 * np.log10(np.sqrt(np.square(samples, dtype=np.float64).mean()) + 1e-12))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sea_comes_in_waves_of_broad_noise(seed: int) -> None:
    sea = generate("waves of the sea", seconds=60, seed=seed)
    levels = envelope(within(sea, 400, 8000), rate=5)
    assert 4 < strongest_period(levels, rate=5, shortest=1, longest=30) < 15
    assert np.quantile(levels, 0.95) > 3 * np.quantile(levels, 0.2)
    octaves = [share(sea, low, 2 * low) for low in (60, 120, 240, 480, 960, 1920, 3840)]
    assert sum(octaves) > 0.85
    assert max(octaves) < 0.4


def test_every_wave_of_a_sea_rumbles_before_it_hisses() -> None:
    sea = generate("sea", seconds=60)
    rumble, hiss = (envelope(within(sea, *band), rate=10) for band in ((40, 150), (3000, 10_000)))
    delays = np.arange(-40, 41)
    matches = [np.corrcoef(rumble[50:-50], hiss[50 + delay : len(hiss) - 50 + delay])[0, 1] for delay in delays]
    assert 0.3 < delays[int(np.argmax(matches))] / 10 < 3


def test_night_is_crickets_that_chirp_on_and_off_over_a_quiet_ground() -> None:
    night = generate("a calm summer night")
    frequencies, power = spectrum(night)
    assert 3000 < frequencies[frequencies > 1500][power[frequencies > 1500].argmax()] < 6000
    chirps = envelope(within(night, 3000, 6000), rate=50)
    assert np.quantile(chirps, 0.95) > 5 * np.quantile(chirps, 0.2)
    assert decibels(within(night, 100, 1500)) < decibels(within(night, 3000, 6000)) - 3


def test_rain_is_high_and_dense_and_wind_is_low_and_gusty() -> None:
    rain, wind = generate("rain"), generate("wind", seconds=60)
    assert centroid(rain) > 4 * centroid(wind)
    steady, gusty = (envelope(sound.mean(axis=0), rate=2) for sound in (rain, wind))
    assert steady.std() / steady.mean() < 0.2 < gusty.std() / gusty.mean()


def test_rain_on_a_roof_knocks_below_the_hiss() -> None:
    assert centroid(generate("rain on a tin roof")) < 0.8 * centroid(generate("rain"))


def test_fire_crackles() -> None:
    def peaky(sound: Floats) -> float:
        return float((sound**4).mean() / np.square(sound).mean() ** 2)

    fire, rain = within(generate("campfire"), 1500, 9000), within(generate("rain"), 1500, 9000)
    assert peaky(fire) > 30
    assert peaky(rain) < 10
    clicks, _ = signal.find_peaks(envelope(fire, rate=200), height=4 * envelope(fire, rate=200).mean(), distance=4)
    assert 1 < len(clicks) / 20 < 20


@pytest.mark.parametrize("prompt", ["footsteps", "walking on gravel"])
def test_footsteps_keep_a_walking_pace_that_is_not_a_machines(prompt: str) -> None:
    levels = envelope(generate(prompt, seconds=40).mean(axis=0), rate=100)
    steps, _ = signal.find_peaks(levels, height=0.25 * levels.max(), distance=30)
    assert 1.4 < len(steps) / 40 < 2.4
    assert np.diff(steps).std() > 0.5


def test_birds_sing_phrases_that_glide_between_2_and_7_khz() -> None:
    birds = generate("birds", seconds=40)
    assert share(birds, 1800, 8500) > 0.8
    frequencies, _, pictures = signal.stft(birds.mean(axis=0), RATE, nperseg=1024)
    loud = np.abs(pictures).max(axis=0) > 0.2 * np.abs(pictures).max()
    assert 0.05 < loud.mean() < 0.8
    assert frequencies[np.abs(pictures)[:, loud].argmax(axis=0)].std() > 300


def test_cars_pass_from_one_side_to_the_other() -> None:
    street = generate("cars on a road", seconds=60)
    left, right = (envelope(side, rate=2) for side in street)
    balance = 20 * np.log10(left / right)
    assert balance.max() > 2
    assert balance.min() < -2
    assert np.quantile(left + right, 0.95) > 1.8 * np.quantile(left + right, 0.1)
    assert share(street, 0, 2000) > 0.9


def test_a_crowd_babbles_at_the_rate_of_syllables() -> None:
    crowd, water = generate("people talking"), generate("waterfall")
    assert share(crowd, 100, 4000) > 0.9

    def syllables(sound: Samples) -> float:
        levels = envelope(within(sound, 300, 3000), rate=50)
        changes = np.abs(np.fft.rfft(levels / levels.mean() - 1)) / len(levels)
        frequencies = np.fft.rfftfreq(len(levels), 1 / 50)
        return float(np.sqrt(np.square(changes[(frequencies > 2) & (frequencies < 9)]).sum()))

    assert syllables(crowd) > 2 * syllables(water)


def test_thunder_rolls_low_after_a_crack() -> None:
    thunder = generate("thunder", seconds=40)
    assert share(thunder, 0, 400) > 0.7
    levels = envelope(thunder.mean(axis=0), rate=10)
    assert levels.max() > 8 * np.quantile(levels, 0.05)


@pytest.mark.parametrize("layer", LAYERS)
def test_every_layer_is_audible_unclipped_and_stereo_whatever_its_length(layer: str) -> None:
    for seconds in (0.1, 15):
        samples = generate(f"loud {WORDS.get(layer, layer)}", seconds=seconds)
        assert samples.shape == (2, round(seconds * RATE))
        assert samples.dtype == np.float32
        assert -60 < decibels(samples) < -10
        assert np.abs(samples).max() < 1
        assert not np.array_equal(samples[0], samples[1])
        assert np.abs(samples[:, [0, -1]]).max() < 1e-3


@pytest.mark.parametrize("seconds", [0.1, 1.23456, 10, 11.5])
def test_the_length_is_exact(seconds: float) -> None:
    assert generate("rain, wind and birds", seconds=seconds).shape == (2, round(seconds * RATE))


def test_the_same_seed_gives_the_same_samples_and_another_seed_others() -> None:
    prompt = "rain on a tin roof at night, a dog barks in the distance"
    first = generate(prompt, seconds=5, seed=7)
    assert np.array_equal(first, generate(prompt, seconds=5, seed=7))
    assert not np.allclose(first, generate(prompt, seconds=5, seed=8), atol=1e-3)


def test_another_prompt_gives_another_sound() -> None:
    prompts = ("sea", "night", "city street", "forest", "fire", "crowd")
    heard = [generate(prompt, seconds=6) for prompt in prompts]
    edges = np.geomspace(60, 12_000, 16)
    levels = [10 * np.log10([share(sound, *band) + 1e-6 for band in pairwise(edges)]) for sound in heard]
    for number, one in enumerate(levels):
        for other in levels[:number]:
            assert np.abs(one - other).mean() > 3


def test_nothing_repeats() -> None:
    rain = generate("rain", seconds=30).mean(axis=0)[:: RATE // 12_000].astype(np.float64)
    power = np.abs(np.fft.rfft(rain - rain.mean(), n=2 * len(rain))) ** 2
    likeness = np.fft.irfft(power)[: len(rain) // 2]
    assert np.abs(likeness[1200:]).max() / likeness[0] < 0.1


@pytest.mark.parametrize(
    "prompt", ["", "   ", "Realistic ambience and sound effects.", "¿Qué? 海 🎧", "no rain", "sounds of silence"]
)
def test_a_prompt_that_names_nothing_gives_quiet_air_not_silence(prompt: str) -> None:
    samples = generate(prompt, seconds=4)
    assert -50 < decibels(samples) < -25
    assert share(samples, 0, 1000) > 0.7


def test_what_the_negative_prompt_names_is_not_heard() -> None:
    def chirping(negative: str) -> float:
        return decibels(within(generate("a quiet lake at night", negative=negative), 3000, 6000))

    assert chirping("low quality, crickets") < chirping("low quality") - 10
    rain, left = (generate("rain", negative=negative) for negative in ("", "rain, wind, air, room, silence"))
    assert decibels(within(left, 2000, 9000)) < decibels(within(rain, 2000, 9000)) - 15
    assert decibels(left) > -50


def test_what_is_named_first_is_loudest_and_words_move_the_level() -> None:
    def levels(prompt: str) -> dict[str, float]:
        return {part.layer: part.level_db for part in plan(prompt)}

    assert levels("rain and wind")["rain"] > levels("wind and rain")["rain"]
    assert list(levels("birds, a stream and leaves")) == ["birds", "stream", "leaves"]
    assert levels("distant thunder")["thunder"] < levels("thunder")["thunder"] < levels("loud thunder")["thunder"]
    assert levels("a dog barking in the distance")["dog"] < levels("a dog barking")["dog"]
    assert levels("a soft summer rain")["rain"] < levels("a summer rain")["rain"]


@pytest.mark.parametrize(
    ("prompt", "layers"),
    [
        ("rain on a tin roof at night", {"rain", "roof", "crickets"}),
        ("A bright, calm scene with sky above water and sand.", {"surf", "wind"}),
        ("A calm scene with sky above water.", {"wind", "lapping"}),
        ("A dim scene with vegetation. The sounds of vegetation.", {"leaves", "birds"}),
        ("The sounds of person, car and traffic light", {"footsteps", "traffic"}),
        ("a hot dog, a teddy bear and a fire hydrant", set()),
        ("a bird's-eye view", set()),
        ("a forest with birds, but no wind and no thunder", {"leaves", "birds"}),
        ("a street without people or cars, with rain", {"rain"}),
        ("not a dog", set()),
        ("a forest at night", {"leaves", "crickets"}),
        ("a bird at night", {"birds", "crickets"}),
        ("waves in the water", {"surf"}),
        ("RAIN, Thunder!", {"rain", "thunder"}),
    ],
)
def test_words_become_layers(prompt: str, layers: set[str]) -> None:
    assert {part.layer for part in plan(prompt)} == layers


def test_every_layer_has_a_word_and_no_prompt_asks_for_too_many() -> None:
    for layer in LAYERS:
        assert [part.layer for part in plan(WORDS.get(layer, layer))] == [layer]
    assert len(plan(" ".join(LAYERS))) == LAYERS_AT_MOST


def test_a_scene_does_not_begin_like_the_one_before_that_has_the_same_sounds() -> None:
    asked = AudioRequest("birds and rain", 20, 1, later_prompts=((10, "birds and rain"),))
    made = FoleyGenerator().generate(asked, on_step=nothing_to_report).audio.samples
    first, second = within(made, 1500, 9000)[: 10 * RATE], within(made, 1500, 9000)[10 * RATE :]
    assert abs(np.corrcoef(envelope(first, rate=50), envelope(second, rate=50))[0, 1]) < 0.3
    assert abs(decibels(first) - decibels(second)) < 3


def test_steps_are_reported_to_the_last_and_a_cancel_stops_the_work() -> None:
    request = AudioRequest("rain, wind and birds", 40, 1)
    steps: list[tuple[int, int]] = []
    FoleyGenerator().generate(request, on_step=lambda step, of: steps.append((step, of)))
    assert [step for step, _ in steps] == list(range(1, len(steps) + 1))
    assert {of for _, of in steps} == {len(steps)}

    def cancel(step: int, _: int) -> None:
        if step == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        FoleyGenerator().generate(request, on_step=cancel)


def test_a_minute_takes_seconds() -> None:
    start = time.process_time()
    generate("people talk in a busy city street, cars, footsteps, birds, rain and wind", seconds=60)
    assert time.process_time() - start < 7.5


def test_the_generator_says_what_it_is() -> None:
    generator = FoleyGenerator.load(SketchAudioSettings())
    assert (generator.model, generator.device, generator.licence) == ("sketch/foley", "cpu", None)
