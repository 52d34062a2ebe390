from pathlib import Path

import numpy as np
import pytest

from models.audio import STEM_SAMPLE_RATE, Audio, Samples, read_audio, resample, to_stem, write_audio


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


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("seconds", [0.04, 1 / 3, 1.00001, 2.5])
def test_a_stem_is_exactly_as_long_as_asked(rate: int, seconds: float) -> None:
    for length in (seconds, 0.7 * seconds, 2 * seconds):
        stem = to_stem(Audio(tone(440, rate=rate, seconds=length), rate), seconds=seconds)
        assert stem.samples.shape == (2, round(48000 * seconds))
        assert stem.samples.dtype == np.float32
        assert stem.sample_rate == STEM_SAMPLE_RATE


def test_a_short_sound_is_followed_by_silence() -> None:
    stem = to_stem(Audio(tone(440, rate=16000, seconds=1), 16000), seconds=2).samples
    assert np.abs(stem[:, :47000]).max() > 0.4
    assert not stem[:, 48000:].any()


def test_one_channel_is_heard_on_both_sides_and_two_stay_two() -> None:
    low, high = tone(300, rate=16000), tone(3000, rate=16000)
    left, right = to_stem(Audio(low, 16000), seconds=2).samples
    assert np.array_equal(left, right)
    left, right = to_stem(Audio(np.concatenate([low, high]), 16000), seconds=2).samples
    assert (
        level_db(left[None], rate=48000, low=200, high=400) > -10 > level_db(right[None], rate=48000, low=200, high=400)
    )


def test_a_48_khz_stereo_sound_is_left_as_it_is() -> None:
    sound = np.concatenate([tone(300, rate=48000), tone(3000, rate=48000)])
    assert np.array_equal(to_stem(Audio(sound, 48000), seconds=2).samples, sound)


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


def test_full_scale_stays_within_full_scale() -> None:
    square = np.sign(tone(440, rate=16000)).astype(np.float32)
    assert np.abs(to_stem(Audio(square, 16000), seconds=2).samples).max() <= 1


@pytest.mark.parametrize("ending", ["flac", "wav"])
def test_what_is_written_is_read_again(tmp_path: Path, ending: str) -> None:
    sound = Audio(np.concatenate([tone(300, rate=48000), tone(3000, rate=48000)]), 48000)
    write_audio(sound, tmp_path / f"stem.{ending}")
    again = read_audio(tmp_path / f"stem.{ending}")
    assert again.sample_rate == 48000
    assert again.seconds == sound.seconds
    assert np.abs(again.samples - sound.samples).max() <= 2**-23
