import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from models import work
from models.audio import (
    BLOCK,
    STEM_SAMPLE_RATE,
    Audio,
    Samples,
    folded,
    loop_surplus,
    read_audio,
    resample,
    write_audio,
    write_stem,
)
from models.errors import Cancelled


def tone(frequency: float, *, rate: int, seconds: float = 2) -> Samples:
    """A sine of half the full scale, shape (1, samples)."""
    time = np.arange(round(seconds * rate)) / rate
    wave: Samples = 0.5 * np.sin(2 * np.pi * frequency * time).astype(np.float32)
    return wave[np.newaxis]


def level_db(samples: Samples, *, rate: int, low: float, high: float) -> float:
    """Power of the sound between two frequencies (Hz), in dB below full scale; the ends are left out."""
    heard = samples[0, rate // 10 : -rate // 10]
    window = np.blackman(heard.size)
    spectrum = np.abs(np.fft.rfft(heard * window)) ** 2
    frequencies = np.fft.rfftfreq(heard.size, 1 / rate)
    power = 2 * spectrum[(frequencies >= low) & (frequencies < high)].sum() / heard.size / (window**2).sum()
    return float(10 * np.log10(power + 1e-20))


def stem_of(samples: Samples, rate: int, folder: Path, *, seconds: float, loop: bool = False) -> Audio:
    write_stem(Audio(samples, rate), folder / "stem.flac", seconds=seconds, loop=loop)
    return read_audio(folder / "stem.flac")


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.04, 1 / 3, 1.00001, 2.5])
@pytest.mark.parametrize("loop", [False, True])
def test_a_stem_is_exactly_as_long_as_asked(rate: int, seconds: float, loop: bool, tmp_path: Path) -> None:
    for length in (seconds, 0.7 * seconds, 2 * seconds):
        stem = stem_of(tone(440, rate=rate, seconds=length), rate, tmp_path, seconds=seconds, loop=loop)
        assert stem.samples.shape == (2, round(48000 * seconds))
        assert stem.sample_rate == STEM_SAMPLE_RATE


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 96000])
def test_a_stem_that_is_written_in_blocks_is_the_one_that_is_made_at_once(rate: int, tmp_path: Path) -> None:
    seconds = 2.3 * BLOCK / STEM_SAMPLE_RATE
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (2, round(seconds * rate))).astype(np.float32)
    whole = resample(noise, rate=rate, to=STEM_SAMPLE_RATE)[:, : round(seconds * STEM_SAMPLE_RATE)]
    stem = stem_of(noise, rate, tmp_path, seconds=seconds).samples
    assert np.abs(stem[:, : whole.shape[1]] - whole).max() <= 2**-22


def test_half_an_hour_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    def peak(minutes: int) -> int:
        sound = np.zeros((1, minutes * 60 * 8000), np.float32)
        tracemalloc.start()
        write_stem(Audio(sound, 8000), tmp_path / "stem.flac", seconds=minutes * 60)
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    assert peak(10) < 1.05 * peak(1) < 40_000_000


def test_a_stem_that_nobody_waits_for_is_not_written_to_its_end(tmp_path: Path) -> None:
    doing = work.Work()
    doing.cancelled.set()
    with work.going_on(doing), pytest.raises(Cancelled):
        stem_of(tone(440, rate=16000), 16000, tmp_path, seconds=2)


def test_a_short_sound_is_followed_by_silence(tmp_path: Path) -> None:
    stem = stem_of(tone(440, rate=16000, seconds=1), 16000, tmp_path, seconds=2).samples
    assert np.abs(stem[:, :47000]).max() > 0.4
    assert not stem[:, 48000:].any()


def test_one_channel_is_heard_on_both_sides_and_two_stay_two(tmp_path: Path) -> None:
    low, high = tone(300, rate=16000), tone(3000, rate=16000)
    left, right = stem_of(low, 16000, tmp_path, seconds=2).samples
    assert np.array_equal(left, right)
    left, right = stem_of(np.concatenate([low, high]), 16000, tmp_path, seconds=2).samples
    assert (
        level_db(left[None], rate=48000, low=200, high=400) > -10 > level_db(right[None], rate=48000, low=200, high=400)
    )


def test_a_48_khz_stereo_sound_is_left_as_it_is(tmp_path: Path) -> None:
    sound = np.concatenate([tone(300, rate=48000), tone(3000, rate=48000)])
    assert np.abs(stem_of(sound, 48000, tmp_path, seconds=2).samples - sound).max() <= 2**-23


@pytest.mark.parametrize(
    ("rate", "seconds", "highest"),
    [(16000, 2.0, 7000), (16000, 2.000033, 7000), (44100, 2.00002, 18_000), (48000, 2.0, 20_000)],
)
def test_a_loop_goes_on_at_its_end_as_if_it_had_always_been_going_on(
    rate: int, seconds: float, highest: int, tmp_path: Path
) -> None:
    """Of sines with whole periods in the turn, every sample is known, whatever fraction of one the model's rate cannot hold."""
    drawn = np.random.default_rng(1)
    waves = list(zip(drawn.integers(1, highest * 2, 40).tolist(), drawn.uniform(0, 6, 40).tolist(), strict=True))

    def turn(samples: int) -> Samples:
        along = 2 * np.pi * np.arange(samples) / samples
        made: Samples = sum(0.02 * np.sin(count * along + phase) for count, phase in waves)
        return made[np.newaxis].astype(np.float32)

    stem = stem_of(turn(math.ceil(rate * seconds)), rate, tmp_path, seconds=seconds, loop=True).samples
    assert np.abs(stem[:1] - turn(stem.shape[1])).max() < 2e-4


@pytest.mark.parametrize("seconds", [0.1, 3, 20])
def test_a_surplus_is_folded_over_the_beginning_without_a_jump_or_a_dip(seconds: float) -> None:
    length, surplus = round(seconds * 48000), round(loop_surplus(seconds) * 48000)
    assert surplus <= min(48000, length / 4)
    noise = np.random.default_rng(1).standard_normal((2, length + surplus)).astype(np.float32)
    slow = np.sin(np.arange(length + surplus) / 200).astype(np.float32) + 0 * noise
    before = slow.copy()
    loop = folded(slow, length)
    assert loop.shape == (2, length)
    assert np.abs(loop[:, 0] - loop[:, -1]).max() < 0.006
    assert np.array_equal(loop[:, surplus:], before[:, surplus:length])
    levels = folded(noise, length)[:, :surplus].std()
    assert levels == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("frequency", [100, 1000, 5000, 7400])
def test_a_tone_keeps_its_level_and_place(frequency: float) -> None:
    made = resample(tone(frequency, rate=16000), rate=16000, to=48000)
    assert level_db(made, rate=48000, low=frequency - 20, high=frequency + 20) == pytest.approx(-9.03, abs=0.3)
    assert np.abs(made[0, 4800:-4800] - tone(frequency, rate=48000)[0, 4800:-4800]).max() < 0.02


@pytest.mark.parametrize("frequency", [1000, 6000, 7000, 7500])
def test_nothing_is_added_above_what_the_source_can_hold(frequency: float) -> None:
    made = resample(tone(frequency, rate=16000), rate=16000, to=48000)
    assert level_db(made, rate=48000, low=8100, high=24000) < -85


@pytest.mark.parametrize("frequency", [25000, 30000, 40000])
def test_nothing_is_folded_down_from_above_what_the_stem_can_hold(frequency: float) -> None:
    made = resample(tone(frequency, rate=96000), rate=96000, to=48000)
    assert level_db(made, rate=48000, low=0, high=24001) < -80


def test_full_scale_stays_within_full_scale(tmp_path: Path) -> None:
    square = np.sign(tone(440, rate=16000)).astype(np.float32)
    for loop in (False, True):
        assert np.abs(stem_of(square, 16000, tmp_path, seconds=2.00001, loop=loop).samples).max() <= 1


@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_what_is_written_is_read_again(tmp_path: Path, ending: str) -> None:
    sound = Audio(np.concatenate([tone(300, rate=48000), tone(3000, rate=48000)]), 48000)
    write_audio(sound, tmp_path / f"stem.{ending}")
    again = read_audio(tmp_path / f"stem.{ending}")
    assert again.sample_rate == 48000
    assert again.seconds == sound.seconds
    assert np.abs(again.samples - sound.samples).max() <= 2**-23
