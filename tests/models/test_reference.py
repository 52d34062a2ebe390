"""A reference is the beginning of any file's sound, or is refused with a sentence."""

import contextlib
import time
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.audio import Samples, read_audio
from models.errors import DamagedMedia, InvalidInput, UnsupportedMedia
from models.record import Reference
from models.reference import read_reference
from models.video_input import SourceFile
from tests.media_factory import hostile_files, make_image, make_sound, make_video

TOKEN = "7" * 32


def listen(path: Path, *, name: str | None = None) -> tuple[Reference, Samples]:
    to = path.with_name("kept.flac")
    source = SourceFile(path, name or path.name, "incoming/x", TOKEN)
    reference = read_reference(source, to=to, key="videos/x/references/y.flac")
    kept = read_audio(to)
    assert kept.sample_rate == 48_000
    assert kept.seconds == reference.seconds
    return reference, kept.samples


def refusal(path: Path, *, kind: type[InvalidInput] = InvalidInput) -> str:
    with pytest.raises(kind) as raised:
        listen(path)
    assert not path.with_name("kept.flac").exists()
    told = str(raised.value)
    assert told.startswith(f"the reference {path.name}: ")
    assert str(path.parent) not in told
    return told


def write_wav(path: Path, samples: Samples, *, rate: int = 48_000, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples.T, rate, subtype=subtype)
    return path


def tone(*, seconds: float, rate: int = 48_000, level: float = 0.3) -> Samples:
    wave_: Samples = (level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
    return wave_[np.newaxis]


def hertz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1])))
    return float(spectrum.argmax() * 48_000 / samples.shape[1])


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.flac", "a.wav"])
@pytest.mark.parametrize("cover", [False, True])
def test_any_sound_file_is_listened_to(tmp_path: Path, name: str, cover: bool) -> None:
    reference, samples = listen(make_sound(tmp_path / name, seconds=2, cover=cover and name in ("a.mp3", "a.m4a")))
    assert (reference.token, reference.name, reference.path) == (TOKEN, name, "videos/x/references/y.flac")
    assert reference.seconds == pytest.approx(2, abs=0.06)
    assert len(samples) == 1
    assert hertz(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.avi", "a.ts"])
def test_of_a_video_the_sound_is_taken(tmp_path: Path, name: str) -> None:
    _, samples = listen(make_video(tmp_path / name, frames=50, sound=True))
    assert hertz(samples) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 44_101, 96_000, 192_000])
def test_every_rate_becomes_48_khz_at_the_same_pitch_and_level(tmp_path: Path, rate: int) -> None:
    reference, samples = listen(write_wav(tmp_path / "a.wav", tone(seconds=1, rate=rate), rate=rate))
    assert reference.seconds == pytest.approx(1, abs=0.01)
    assert hertz(samples) == pytest.approx(440, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.01)


def test_all_channels_are_heard_as_one(tmp_path: Path) -> None:
    left = np.concatenate([tone(seconds=1), 0 * tone(seconds=1)])
    _, samples = listen(write_wav(tmp_path / "a.wav", left))
    assert np.abs(samples).max() == pytest.approx(0.15, abs=0.005)


@pytest.mark.parametrize(
    ("name", "channels"),
    [*(("a.wav", count) for count in (1, 2, 3, 6, 7, 8, 9, 16, 64)), *(("a.flac", count) for count in (1, 3, 7, 8))],
)
def test_any_number_of_channels_is_heard(tmp_path: Path, name: str, channels: int) -> None:
    many = np.repeat(tone(seconds=1), channels, axis=0)
    _, samples = listen(write_wav(tmp_path / name, many))
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.005)


def test_of_a_long_sound_the_first_half_minute_is_kept_and_the_rest_not_even_decoded(tmp_path: Path) -> None:
    hours = np.zeros((1, 3600 * 8000), np.float32)
    hours[:, : 40 * 8000] = tone(seconds=40, rate=8000)
    long = write_wav(tmp_path / "a.flac", hours, rate=8000)
    began = time.monotonic()
    tracemalloc.start()
    reference, samples = listen(long)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    assert (reference.seconds, samples.shape) == (30, (1, 30 * 48_000))
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("level", [0.0, 0.0009])
def test_silence_is_refused(tmp_path: Path, level: float) -> None:
    told = refusal(write_wav(tmp_path / "a.wav", tone(seconds=1, level=level)), kind=UnsupportedMedia)
    assert told == "the reference a.wav: its first 1 s are silent"
    listen(write_wav(tmp_path / "b.wav", tone(seconds=1, level=0.0012)))


def test_less_than_a_tenth_of_a_second_is_refused(tmp_path: Path) -> None:
    told = refusal(write_wav(tmp_path / "a.wav", tone(seconds=0.05)), kind=DamagedMedia)
    assert "less than 0.1 s of it can be heard" in told


def test_what_has_no_sound_is_refused_in_words(tmp_path: Path) -> None:
    files = {"notes.txt": b"bring drums\n", "empty.wav": b"", "page.html": b"<html><body></body></html>"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert "seems to be text" in refusal(tmp_path / "notes.txt")
    assert "seems to be empty" in refusal(tmp_path / "empty.wav")
    assert "seems to be an HTML page" in refusal(tmp_path / "page.html")
    assert "seems to be a JPEG image" in refusal(make_image(tmp_path / "a.jpg"))
    assert "there is no sound in it" in refusal(make_video(tmp_path / "a.mp4"))


def test_a_file_that_broke_off_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = make_sound(tmp_path / "a.mp3", seconds=4).read_bytes()
    (tmp_path / "b.mp3").write_bytes(whole[: len(whole) // 2] + b"\0\xff" * 500)
    assert listen(tmp_path / "b.mp3")[0].seconds == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_is_heard_or_refused_and_nothing_else(tmp_path: Path, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    name = ("a.mp3", "a.m4a", "a.flac", "a.wav")[seed % 4]
    content = bytearray(make_sound(tmp_path / name).read_bytes())
    for at in drawn.integers(0, len(content), 40 if seed < 10 else 4000).tolist():
        content[at] = int(drawn.integers(256))
    (tmp_path / "b").write_bytes(content)
    with contextlib.suppress(InvalidInput):
        listen(tmp_path / "b")


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = tone(seconds=1)
    broken[0, 500] = np.nan
    assert "no sound" in refusal(write_wav(tmp_path / "a.wav", broken, subtype="FLOAT"), kind=DamagedMedia)
    loud = 1e30 * tone(seconds=1)
    _, samples = listen(write_wav(tmp_path / "b.wav", loud, subtype="FLOAT"))
    assert np.abs(samples).max() <= 1


@pytest.mark.parametrize("rate", [1, 900, 2_000_000_000])
def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path, rate: int) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"\x00\x10" * 100_000)
    assert f"{rate} samples a second" in refusal(tmp_path / "a.wav", kind=UnsupportedMedia)


def test_a_sound_that_takes_too_long_to_decode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.reference._DECODING_SECONDS", 0)
    assert "within 0 s" in refusal(make_sound(tmp_path / "a.mp3"), kind=DamagedMedia)


def test_what_a_hostile_file_names_is_not_touched(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    write_wav(secret, tone(seconds=1))
    for path in hostile_files(tmp_path, target=str(secret)).values():
        assert str(secret) not in refusal(path)


def test_a_name_is_cleaned_for_people_to_read(tmp_path: Path) -> None:
    assert listen(make_sound(tmp_path / "a.wav"), name="../my\nsound.wav")[0].name == "mysound.wav"
