"""What is heard of stems and own sound, and how loud it is, measured by other tools than those that set it."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import pytest
import soundfile
from scipy.signal import butter, resample_poly, sosfilt

from models import media
from models.audio import STEM_SAMPLE_RATE, Audio, Samples, read_audio, write_audio
from models.ducking import DuckingSettings, listen
from models.errors import MediaToolFailed
from models.levels import Levels, Meter, chunks, integrated
from models.mixing import OWN_SOUND_SILENT, Mix, Mixer, MixSettings, OwnSound, StemFile
from models.record import Options, StemKind

RATE = STEM_SAMPLE_RATE
LEFT_ALONE: dict[str, Any] = {"loudness_lufs": None, "fade_in_seconds": 0, "fade_out_seconds": 0}

MixOf = Callable[..., tuple[Mix, Samples]]
Curve = Callable[..., tuple[Mix, Samples]]


@pytest.fixture
def mix(tmp_path: Path) -> MixOf:
    """Mixes stems, given by kind, with own sound; they are as long as the first stem."""

    def mixed(
        stems: dict[StemKind, Samples],
        own: Samples | None = None,
        *,
        starts: float = 0,
        loops: bool = False,
        settings: MixSettings | None = None,
        **options: Any,
    ) -> tuple[Mix, Samples]:
        files = [StemFile(kind, written(tmp_path / f"{kind}.flac", samples), loops) for kind, samples in stems.items()]
        seconds = next(iter(stems.values())).shape[1] / RATE
        mixer = Mixer(settings or MixSettings(), options=Options(**options), seconds=seconds, folder=tmp_path)
        sound = None
        if own is not None:
            soundfile.write(tmp_path / "source.wav", own.T, RATE, subtype="FLOAT")
            sound = OwnSound(tmp_path / "source.wav", 0, len(own), starts)
        made = mixer.mix(files, own=sound, lossy=False, timeout_seconds=60)
        return made, np.float32(10 ** (made.gain_db / 20)) * read_audio(made.path).samples

    return mixed


@pytest.fixture
def curve(mix: MixOf) -> Curve:
    """The gain in dB, at every sample, of what is generated under an own sound: the mix with it, less the mix without it."""

    def gain(own: Samples, **options: Any) -> tuple[Mix, Samples]:
        constant = np.full((2, own.shape[1]), 0.25, np.float32)
        options = {**LEFT_ALONE, **options}
        made, with_it = mix({"music": constant}, own, **options)
        without = mix({"music": 0 * constant}, own, **options)[1]
        decibels: Samples = 20 * np.log10(np.maximum((with_it - without)[0] / 0.125, 1e-6))
        return made, decibels

    return gain


def written(path: Path, samples: Samples) -> Path:
    write_audio(Audio(samples, RATE), path)
    return path


def silence(seconds: float) -> Samples:
    return np.zeros((2, round(seconds * RATE)), np.float32)


def tone(hertz: float, *, seconds: float, amplitude: float = 0.25) -> Samples:
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(wave[None].astype(np.float32), 2, axis=0)


def noise(*, seconds: float, dbfs: float = -20, low: float = 100, high: float = 8000, alike: bool = False) -> Samples:
    white = np.random.default_rng(7).standard_normal((2, round(seconds * RATE)))
    band = sosfilt(butter(2, (low, high), "bandpass", fs=RATE, output="sos"), white[[0, 0]] if alike else white)
    scaled: Samples = (band * 10 ** (dbfs / 20) / band.std()).astype(np.float32)
    return scaled


def speech(*, seconds: float) -> Samples:
    """Syllables of noise and a voice, four a second, in phrases with pauses."""
    times = np.arange(round(seconds * RATE)) / RATE
    envelope = np.maximum(np.sin(2 * np.pi * 2 * times), 0) ** 2 * (times % 3 < 2.2)
    voice = sum(np.sin(2 * np.pi * 130 * k * times) / k for k in range(1, 20))
    spoken: Samples = (0.15 * envelope * (voice + noise(seconds=seconds, dbfs=-12, alike=True)[0])).astype(np.float32)
    return np.stack([spoken, spoken])


def music(*, seconds: float) -> Samples:
    """Drum-like hits over a chord: peaks far above the rest."""
    samples = tone(220, seconds=seconds, amplitude=0.08) + tone(277, seconds=seconds, amplitude=0.08)
    for at in range(0, samples.shape[1] - RATE // 2, RATE // 2):
        decay = np.exp(-np.arange(RATE // 4) / 1500)
        samples[:, at : at + RATE // 4] += noise(seconds=0.25, dbfs=-3, low=50, high=3000) * decay
    return np.clip(samples, -1, 1)


def clicks(*times: float, seconds: float) -> Samples:
    samples = silence(seconds)
    for time in times:
        samples[:, round(time * RATE) :][:, :48] = 0.7 * np.cos(np.arange(48) * 0.8) * np.linspace(1, 0, 48)
    return samples


def within(samples: Samples, begin: float, end: float) -> Samples:
    """What sounds between two times; silence elsewhere."""
    part = 0 * samples
    part[:, round(begin * RATE) : round(end * RATE)] = samples[:, round(begin * RATE) : round(end * RATE)]
    return part


def true_peak(samples: Samples, *, oversampled: int = 8) -> float:
    return 20 * float(np.log10(np.abs(resample_poly(samples.astype(np.float64), oversampled, 1, axis=1)).max()))


def loudness(samples: Samples) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples.T.astype(np.float64)))


def measured(path: Path) -> Levels:
    meter = Meter()
    with soundfile.SoundFile(path) as file:
        for _, piece in chunks(file):
            meter.add(piece)
    return meter.levels()


def at(seconds: float) -> int:
    return round(seconds * RATE)


# Ducking


@pytest.mark.parametrize("decibels", [3, 12, 30])
def test_what_is_generated_is_lowered_by_the_decibels_asked_for_while_own_sound_is_heard(
    curve: Curve, decibels: float
) -> None:
    own = within(tone(440, seconds=5), 2, 3)
    made, gain = curve(own, duck_db=decibels)
    assert gain[at(2.0) : at(3.3)] == pytest.approx(-decibels, abs=0.1)
    assert gain[: at(1.88)] == pytest.approx(0, abs=0.01)
    assert gain[at(4.15) :] == pytest.approx(0, abs=0.01)
    assert made.original_used


@pytest.mark.parametrize(("attack", "release"), [(0.01, 0.05), (0.1, 0.8), (1.5, 1.0)])
def test_it_is_down_when_own_sound_begins_and_back_as_long_after_it_as_asked(
    curve: Curve, attack: float, release: float
) -> None:
    own = within(tone(440, seconds=6), 2, 3)
    settings = MixSettings(ducking=DuckingSettings(hold_seconds=0.3))
    _, gain = curve(own, duck_attack_seconds=attack, duck_release_seconds=release, settings=settings)
    falls = np.flatnonzero(gain < -0.1)[0] / RATE
    assert falls == pytest.approx(2 - attack, abs=0.03 + attack / 50)
    assert gain[at(2 - attack / 2)] == pytest.approx(-6, abs=0.1 + 0.012 / attack * 6)
    assert gain[at(2.0)] == pytest.approx(-12, abs=0.1)
    rises = np.flatnonzero(gain < -11.9)[-1] / RATE
    assert rises == pytest.approx(3.3, abs=0.03)
    assert gain[at(3.3 + release / 2)] == pytest.approx(-6, abs=0.1 + 0.022 / release * 6)
    assert gain[at(3.33 + release)] == pytest.approx(0, abs=0.1)


def test_the_gain_never_jumps(curve: Curve) -> None:
    _, gain = curve(within(tone(440, seconds=4), 1, 2), duck_attack_seconds=0.01, duck_release_seconds=0.01, duck_db=40)
    assert np.abs(np.diff(gain)).max() < 0.2


def test_pauses_between_words_are_not_filled(curve: Curve) -> None:
    own = tone(440, seconds=6)
    own[:, (np.arange(own.shape[1]) / RATE) % 0.5 > 0.3] = 0
    own[:, : at(1)] = own[:, at(5) :] = 0
    _, gain = curve(own)
    assert gain[at(1.0) : at(4.8)] == pytest.approx(-12, abs=0.1)


def test_a_long_pause_is_filled(curve: Curve) -> None:
    own = within(tone(440, seconds=6), 1, 2) + within(tone(440, seconds=6), 5, 5.5)
    assert curve(own)[1][at(3.5) : at(4.5)] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("dbfs", [-50, -38])
def test_hiss_lowers_nothing_but_what_is_said_in_it_does(curve: Curve, dbfs: float) -> None:
    hiss = noise(seconds=6, dbfs=dbfs)
    made, gain = curve(hiss)
    assert (made.ducked_seconds, made.original_used) == (0, True)
    assert gain == pytest.approx(0, abs=0.01)
    _, gain = curve(hiss + within(speech(seconds=6), 3, 4))
    assert gain[: at(2.8)] == pytest.approx(0, abs=0.01)
    assert gain[at(3.15) : at(4)] == pytest.approx(-12, abs=0.1)


def test_rumble_lowers_nothing(curve: Curve) -> None:
    made, gain = curve(tone(20, seconds=3, amplitude=0.05) + noise(seconds=3, dbfs=-55))
    assert made.ducked_seconds == 0
    assert gain == pytest.approx(0, abs=0.01)


def test_a_click_lowers_nothing_but_a_short_sound_does(curve: Curve) -> None:
    made, gain = curve(within(tone(440, seconds=3), 1, 1.03))
    assert made.ducked_seconds == 0
    assert gain[at(1.05) :] == pytest.approx(0, abs=0.01)
    assert curve(within(tone(440, seconds=3), 1, 1.1))[1][at(1) : at(1.1)] == pytest.approx(-12, abs=0.1)


def test_sound_that_never_ends_is_made_room_for_all_the_time(curve: Curve) -> None:
    made, gain = curve(noise(seconds=3, dbfs=-20))
    assert gain == pytest.approx(-12, abs=0.1)
    assert made.ducked_seconds == pytest.approx(3)


def test_a_faint_word_is_heard_over_nothing(curve: Curve) -> None:
    _, gain = curve(within(tone(440, seconds=4, amplitude=0.012), 1, 2))
    assert gain[at(1) : at(2)] == pytest.approx(-12, abs=0.1)


def test_the_record_says_how_long_it_was_below_half_of_the_way_down(curve: Curve) -> None:
    made, gain = curve(within(tone(440, seconds=5), 1, 2), duck_db=20)
    assert made.ducked_seconds == pytest.approx(np.count_nonzero(gain < -10) / RATE, abs=0.01)
    assert made.ducked_seconds == pytest.approx(1 + 0.05 + 0.3 + 0.4, abs=0.03)


@pytest.mark.parametrize("seconds", [3.0, 2.9137])
def test_under_a_loop_the_gain_goes_round_the_joint(curve: Curve, seconds: float) -> None:
    late = within(tone(440, seconds=seconds), seconds - 0.5, seconds - 0.1)
    _, gain = curve(late, loops=True)
    assert gain[[0, -1]] == pytest.approx(-12, abs=0.1)
    assert gain[at(0.55)] == pytest.approx(gain[at(0.45)] + 1.5, abs=0.1)
    early = within(tone(440, seconds=seconds), 0.02, 0.5)
    _, gain = curve(early, loops=True, duck_attack_seconds=0.5)
    assert gain[0] == pytest.approx(gain[-1], abs=0.01)
    assert -12 < gain[-1] < -11
    assert curve(late)[1][0] == pytest.approx(0, abs=0.01)


# What becomes of the own sound


def test_kept_own_sound_lowers_nothing(curve: Curve) -> None:
    made, gain = curve(within(tone(440, seconds=3), 1, 2), original_mode="keep")
    assert (made.ducked_seconds, made.original_used) == (0, True)
    assert gain == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("rate", [0.25, 0.5, 1])
def test_ducking_leaves_the_own_sound_as_it_is(mix: MixOf, rate: float) -> None:
    own = within(noise(seconds=3), 1, 2)
    _, heard = mix({"music": silence(3)}, own, **LEFT_ALONE, original=rate)
    assert heard == pytest.approx(rate * own, abs=1e-4)


def test_replaced_own_sound_is_not_even_decoded(mix: MixOf, monkeypatch: pytest.MonkeyPatch) -> None:
    stem, own = noise(seconds=2), within(tone(440, seconds=2), 0.5, 1)
    alone = mix({"music": stem}, **LEFT_ALONE)[1]
    read: list[str] = []
    run = media.run

    def remember(graph: Any, **named: Any) -> tuple[bytes, str]:
        read.extend(graph.compile())
        return run(graph, **named)

    monkeypatch.setattr(media, "run", remember)
    made, heard = mix({"music": stem}, own, **LEFT_ALONE, original_mode="replace", original=1)
    assert not any("source.wav" in argument for argument in read)
    assert (made.own, made.own_peak_dbfs, made.original_used, made.ducked_seconds) == (None, None, False, 0)
    assert np.array_equal(heard, alone)


def test_at_a_rate_of_zero_the_own_sound_is_not_in_the_mix_but_a_stem_all_the_same(mix: MixOf) -> None:
    stem, own = noise(seconds=2), within(tone(440, seconds=2), 0.5, 1)
    made, heard = mix({"music": stem}, own, **LEFT_ALONE, original=0)
    assert (made.original_used, made.ducked_seconds, made.notes) == (False, 0, ())
    assert heard == pytest.approx(stem, abs=1e-4)
    assert made.own is not None
    assert read_audio(made.own).samples == pytest.approx(own, abs=1e-4)


@pytest.mark.parametrize("mode", ["keep", "duck"])
def test_the_own_sounds_stem_begins_with_the_picture_is_as_long_as_the_mix_and_as_loud_as_it_was(
    mix: MixOf, mode: str
) -> None:
    own = tone(440, seconds=5, amplitude=1.4)
    own[:, : at(0.75)] *= 0.01
    made, heard = mix({"music": noise(seconds=3)}, own, starts=0.5, original_mode=mode, original=0.3)
    assert made.own is not None
    stem = read_audio(made.own).samples
    assert stem.shape == heard.shape == (2, 3 * RATE)
    assert np.abs(stem - own[:, at(0.5) :][:, : 3 * RATE]).max() < 1e-4
    assert made.own_peak_dbfs == pytest.approx(20 * np.log10(1.4), abs=0.01)
    short, _ = mix({"music": noise(seconds=3)}, own[:, : at(1)])
    assert short.own is not None
    assert soundfile.info(short.own).frames == 3 * RATE


@pytest.mark.parametrize("kind", ["nothing", "faint", "offset", "rumble", "one sample"])
def test_own_sound_that_nobody_hears_counts_as_none_and_a_note_says_so(mix: MixOf, kind: str) -> None:
    own = {
        "nothing": silence(2),
        "faint": noise(seconds=2, dbfs=-75),
        "offset": silence(2) + np.float32(0.02),
        "rumble": tone(5, seconds=2, amplitude=0.01),
        "one sample": np.float32(0.003) * (np.arange(2 * RATE) == RATE) * np.ones((2, 1), np.float32),
    }[kind]
    made, heard = mix({"music": noise(seconds=2)}, own, **LEFT_ALONE, original=0.9)
    assert (made.own, made.original_used, made.notes) == (None, False, (OWN_SOUND_SILENT,))
    assert heard == pytest.approx(noise(seconds=2), abs=1e-4)


def test_own_sound_that_is_quiet_but_audible_stays(mix: MixOf) -> None:
    made, _ = mix({"music": noise(seconds=2)}, noise(seconds=2, dbfs=-58))
    assert (made.original_used, made.notes) == (True, ())


def test_a_stem_that_cannot_be_read_is_an_error_also_beside_own_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "source.wav", tone(440, seconds=1).T, RATE)
    own = OwnSound(tmp_path / "source.wav", 0, 2, 0)
    mixer = Mixer(MixSettings(), options=Options(), seconds=1, folder=tmp_path)
    with pytest.raises(MediaToolFailed, match=r"missing\.flac"):
        mixer.mix([StemFile("music", tmp_path / "missing.flac")], own=own, lossy=False, timeout_seconds=60)


# Length and fades


@pytest.mark.parametrize("seconds", [1 / RATE, 0.04, 0.5, 1, 1.00001, 4.1, 9.99, 12.34567])
@pytest.mark.parametrize("width", [0, 1])
def test_the_mix_is_exact_to_the_sample(mix: MixOf, seconds: float, width: float) -> None:
    stem = noise(seconds=seconds, dbfs=-6)
    made, heard = mix({"music": stem[:, : at(seconds / 2) + 1], "sounds": stem}, stem, stereo_width=width)
    assert heard.shape[1] == at(seconds / 2) + 1
    made, heard = mix({"sounds": stem, "music": stem[:, : at(seconds / 2) + 1]}, stem[:, :-1], stereo_width=width)
    assert heard.shape[1] == at(seconds)
    assert made.own is None or soundfile.info(made.own).frames == at(seconds)


def test_fades_are_as_long_as_asked(mix: MixOf) -> None:
    constant = np.full((2, 4 * RATE), 0.25, np.float32)
    _, heard = mix({"music": constant}, loudness_lufs=None, fade_in_seconds=1, fade_out_seconds=2)
    assert heard[0, [0, at(0.5), at(1.01), at(1.99), at(3), -1]] == pytest.approx(
        [0, 0.125, 0.25, 0.25, 0.125, 0], abs=0.002
    )
    _, heard = mix({"music": constant}, **LEFT_ALONE)
    assert heard == pytest.approx(0.25, abs=1e-4)


def test_a_fade_leaves_half_of_a_short_clip_to_the_other(mix: MixOf) -> None:
    constant = np.full((2, RATE), 0.25, np.float32)
    _, heard = mix({"music": constant}, loudness_lufs=None, fade_in_seconds=10, fade_out_seconds=30)
    assert heard[0, [0, at(0.25), at(0.5), at(0.75), -1]] == pytest.approx([0, 0.125, 0.25, 0.125, 0], abs=0.002)


def test_a_loop_is_not_faded_whatever_is_asked(mix: MixOf) -> None:
    constant = np.full((2, RATE), 0.25, np.float32)
    _, heard = mix({"music": constant}, loops=True, loudness_lufs=None, fade_in_seconds=1, fade_out_seconds=1)
    assert heard == pytest.approx(0.25, abs=1e-4)


# Width


@pytest.mark.parametrize("alike", [True, False])
def test_wider_sounds_are_the_same_in_mono(mix: MixOf, alike: bool) -> None:
    sounds = noise(seconds=3, alike=alike)
    narrow = mix({"sounds": sounds}, **LEFT_ALONE)[1]
    wide = mix({"sounds": sounds}, **LEFT_ALONE, stereo_width=1)[1]
    assert wide.sum(axis=0) == pytest.approx(narrow.sum(axis=0), abs=1e-6)
    assert correlation(wide) < correlation(narrow) - 0.1
    assert correlation(wide) > -0.3
    half = mix({"sounds": sounds}, **LEFT_ALONE, stereo_width=0.5)[1]
    assert correlation(wide) < correlation(half) < correlation(narrow)


def correlation(samples: Samples) -> float:
    return float(np.corrcoef(samples)[0, 1])


def test_width_leaves_music_and_low_sounds_alone(mix: MixOf) -> None:
    low = tone(50, seconds=2)
    wide = mix({"sounds": low}, **LEFT_ALONE, stereo_width=1)[1]
    assert np.abs(wide[0] - wide[1])[at(0.1) :].max() < 0.08 * np.abs(low).max()
    stem = noise(seconds=2)
    _, heard = mix({"music": stem}, **LEFT_ALONE, stereo_width=1)
    assert heard == pytest.approx(stem, abs=1e-4)


@pytest.mark.parametrize("seconds", [0.1, 0.7331, 2])
def test_a_wider_loop_is_still_a_loop(mix: MixOf, seconds: float) -> None:
    """The same loop, turned by half: what stands at the joint of one is in the middle of the other."""
    loop, half = noise(seconds=seconds), at(seconds / 2)
    _, wide = mix({"sounds": loop}, **LEFT_ALONE, loops=True, stereo_width=1)
    _, turned = mix({"sounds": np.roll(loop, half, axis=1)}, **LEFT_ALONE, loops=True, stereo_width=1)
    assert np.roll(wide, half, axis=1) == pytest.approx(turned, abs=1e-5)
    assert np.abs(wide - loop).max() > 0.05


# Loudness

MATERIAL: dict[str, Callable[[], Samples]] = {
    "speech": lambda: speech(seconds=8),
    "music": lambda: music(seconds=8),
    "quiet": lambda: noise(seconds=8, dbfs=-42),
    "loud": lambda: np.clip(noise(seconds=8, dbfs=-4), -1, 1),
    "bright": lambda: np.clip(noise(seconds=8, dbfs=-9, low=4000, high=20_000), -1, 1),
    "bass": lambda: 0.9 * np.clip(3 * tone(55, seconds=8, amplitude=1), -1, 1),
    "swelling": lambda: music(seconds=8) * np.linspace(0.05, 1, 8 * RATE, dtype=np.float32),
}


@pytest.mark.parametrize(
    ("material", "target"), [*((name, -14) for name in MATERIAL), ("speech", -23), ("music", -9), ("loud", -9)]
)
def test_it_is_as_loud_as_asked_and_no_true_peak_is_above_the_ceiling(mix: MixOf, material: str, target: float) -> None:
    made, heard = mix({"music": MATERIAL[material]()}, loudness_lufs=target)
    assert true_peak(heard) <= -1
    assert true_peak(heard, oversampled=4) <= -1
    assert made.true_peak_dbtp == pytest.approx(true_peak(heard), abs=0.15)
    assert made.integrated_lufs == pytest.approx(loudness(heard), abs=0.1)
    if not made.notes:
        assert loudness(heard) == pytest.approx(target, abs=0.2)
    assert bool(made.notes) == (loudness(heard) < target - 0.25)
    assert target == -9 or not made.notes


def test_clicks_over_silence_stay_quieter_than_asked_and_a_note_says_so(mix: MixOf) -> None:
    made, heard = mix({"music": clicks(0.5, 1.5, 2.5, 3.5, seconds=4)})
    assert "quieter" in made.notes[0]
    assert -1.5 < true_peak(heard) <= -1


def test_off_means_that_the_level_stays_as_it_is(mix: MixOf) -> None:
    stem = music(seconds=4)[:, : 4 * RATE] * np.float32(0.5)
    made, heard = mix({"music": stem}, **LEFT_ALONE)
    assert made.gain_db == 0
    assert heard == pytest.approx(stem, abs=1e-4)
    assert made.integrated_lufs == pytest.approx(loudness(heard), abs=0.1)


@pytest.mark.parametrize("target", [-14, None])
def test_nothing_clips_with_everything_turned_up(mix: MixOf, target: float | None) -> None:
    loud, own = np.clip(noise(seconds=4, dbfs=-3), -1, 1), noise(seconds=4, dbfs=3, low=300)
    made, heard = mix(
        {"music": loud, "sounds": loud},
        own,
        loudness_lufs=target,
        music_volume_db=12,
        sound_volume_db=12,
        stereo_width=1,
    )
    assert true_peak(heard) <= -1
    assert np.count_nonzero(np.abs(heard) > 0.999 * np.abs(heard).max()) < 200  # none of its tops is flat
    assert made.true_peak_dbtp is not None


def test_the_limiter_does_not_touch_what_is_far_from_a_peak(mix: MixOf) -> None:
    stem = tone(1000, seconds=4, amplitude=0.2) + clicks(2, seconds=4)
    _, heard = mix({"music": stem}, **LEFT_ALONE, music_volume_db=6)
    raised = stem * np.float32(10 ** (6 / 20))
    assert heard[:, : at(1.9)] == pytest.approx(raised[:, : at(1.9)], abs=1e-3)
    assert heard[:, at(2.2) :] == pytest.approx(raised[:, at(2.2) :], abs=1e-3)
    assert np.abs(heard).max() < 0.9 < np.abs(raised).max()


@pytest.mark.parametrize("material", list(MATERIAL))
def test_levels_are_those_that_other_meters_show(tmp_path: Path, material: str) -> None:
    samples = MATERIAL[material]()[:, : at(7.777)]
    levels = measured(written(tmp_path / "sound.flac", samples))
    assert integrated(levels.tenths()) == pytest.approx(loudness(samples), abs=0.1)
    assert 20 * np.log10(levels.peak) == pytest.approx(true_peak(samples, oversampled=4), abs=0.1)


@pytest.mark.parametrize("seconds", [0.01, 0.39])
def test_what_is_too_short_to_measure_has_no_loudness(mix: MixOf, seconds: float) -> None:
    made, heard = mix({"music": noise(seconds=seconds)}, fade_in_seconds=0, fade_out_seconds=0)
    assert made.integrated_lufs is None
    assert heard == pytest.approx(noise(seconds=seconds), abs=1e-4)


# Cost


@pytest.mark.parametrize("read", [measured, lambda path: listen(path, rumble_hertz=80)], ids=["measure", "listen"])
def test_memory_does_not_grow_with_the_sound_but_by_some_bytes_a_millisecond(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    peaks = []
    for minutes in (1, 8):
        path = tmp_path / f"{minutes}.flac"
        with soundfile.SoundFile(path, "w", RATE, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(np.zeros((60 * RATE, 2), np.int16))
        tracemalloc.start()
        read(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 7 * 60_000 * 12  # bytes; the sound itself is 384 a millisecond


def test_a_mix_that_is_larger_than_a_wav_header_can_say_is_read_all_the_same(
    mix: MixOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = media.run

    def as_if_long(graph: Any, **named: Any) -> tuple[bytes, str]:
        compiled = graph.compile
        graph.compile = lambda **options: ["always" if part == "auto" else part for part in compiled(**options)]
        return run(graph, **named)

    monkeypatch.setattr(media, "run", as_if_long)
    made, heard = mix({"music": np.clip(noise(seconds=3, dbfs=-6), -1, 1)}, within(tone(440, seconds=3), 1, 2))
    assert loudness(heard) == pytest.approx(-14, abs=0.2)
    assert made.ducked_seconds > 1
