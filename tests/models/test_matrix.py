"""Containers, codecs, rates and lengths, in pairs: what must hold of every result, whatever came in.

Every frame shows its own number, and clicks sound with some of them: of the source's own sound with one near the beginning and
one near the end, of a generated stem with two others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest

from models import media
from models.reconstruction import ReconstructionSettings, Reconstructor
from models.record import Reconstruction
from tests.media_factory import frame_number, make_video
from tests.models.test_reconstruction import (
    AUDIO_FRAME,
    RATE,
    Samples,
    clicks,
    heard_clicks,
    look,
    loudness,
    noise,
    packets,
    picture_seconds,
    pictures,
    sound_of,
    stem,
    true_peak,
)

FILM, TV, FAST = Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(60_000, 1001)
SYNC = 0.01  # seconds
CLICK_FRAMES = 12  # fewer have no room for four clicks
CODEC_OPTIONS = {"libx265": {"x265-params": "log-level=none"}, "libsvtav1": {"preset": "12"}}


@dataclass(frozen=True)
class Case:
    source: str
    codec: str
    sound: str | None
    """Codec of the source's own sound."""
    rate: int | Fraction
    frames: int
    asked: str | None
    picture: str = "copied"
    track: str = "copied"
    """What becomes of the own sound as a track of its own."""
    start: float = 0
    varies: bool = False
    """Whether frames are shown for different times."""

    @property
    def durations(self) -> list[float] | None:
        return [(0.02, 0.06, 0.04, 0.1)[number % 4] for number in range(self.frames)] if self.varies else None

    @property
    def times(self) -> Sequence[float]:
        """When each frame begins, and last when the picture ends."""
        shown = self.durations or [float(1 / Fraction(self.rate))] * self.frames
        return [0.0, *np.cumsum(shown)]

    def __str__(self) -> str:
        return f"{self.source}-{self.codec}-{self.sound}-{float(self.rate):.5g}x{self.frames}-{self.asked}"


CASES = [
    Case("mp4", "libx264", "aac", 25, 1, "mp4"),
    Case("mp4", "libx264", None, 25, 1, "mkv"),
    Case("mp4", "libx264", "aac", FILM, 24, None),
    Case("mp4", "libx264", "aac", 60, 3660, None),
    Case("mp4", "libx264", "ac3", TV, 299, "mkv"),
    Case("mov", "libx264", "pcm_s16le", TV, 30, None),
    Case("mov", "prores_ks", "pcm_s24le", 25, 12, "mov"),
    Case("mov", "libx264", "aac", FAST, 60, "mp4"),
    Case("mkv", "libx264", "aac", FAST, 599, "mp4", start=1.337),
    Case("mkv", "libx265", "libopus", 25, 25, "mov", track="encoded"),
    Case("mkv", "ffv1", "flac", 50, 25, "mkv", start=0.5),
    Case("mkv", "libx264", "wavpack", 25, 30, "mp4", track="encoded", varies=True),
    Case("webm", "libvpx", "libopus", 25, 250, None),
    Case("webm", "libvpx-vp9", "libopus", 60, 30, "webm"),
    Case("webm", "libsvtav1", "libopus", 30, 15, "mp4"),
    Case("webm", "libvpx", "libopus", 25, 1, None),
    Case("avi", "mpeg4", "pcm_s16le", 25, 1525, None, track="encoded"),
    Case("avi", "mpeg4", None, TV, 30, "mkv"),
    Case("ts", "libx264", "aac", 50, 50, None, start=1.337),
    Case("ts", "mpeg2video", "mp2", TV, 299, "mkv", start=100.5),
    Case("flv", "libx264", "aac", 30, 30, None),
    Case("flv", "flv1", "libmp3lame", 25, 25, None),
    Case("wmv", "wmv2", "wmav2", 25, 25, "mkv", track="encoded"),
    Case("wmv", "wmv2", "libmp3lame", FILM, 24, "mp4", picture="encoded"),
    Case("gif", "gif", None, 25, 25, None, picture="encoded"),
    Case("png", "apng", None, 10, 12, None, picture="encoded"),
    Case("ogv", "libvpx", "libopus", 30, 30, "webm"),
    Case("mpg", "mpeg2video", "mp2", 25, 25, None),
    Case("mp4", "libx264", None, 50, 50, "webm", picture="encoded"),
]  # fmt: skip


def click_frames(count: int) -> tuple[list[int], list[int]]:
    """The frames that the own sound clicks with, and those of the generated stem."""
    if count < CLICK_FRAMES:
        return [], []
    if count > 50:
        return [4, count - 5], [12, count - 13]
    return [round(count * 0.17), round(count * 0.83)], [round(count * 0.35), round(count * 0.65)]


def film_of(case: Case, folder: Path) -> Path:
    own, _ = click_frames(case.frames)
    times = case.times
    sound = clicks(*(times[number] for number in own), seconds=times[-1]) if case.sound else None
    return make_video(
        folder / f"film.{case.source}", codec=case.codec, rate=case.rate, frames=case.frames, start=case.start,
        durations=case.durations, own=sound, sound_codec=case.sound, codec_options=CODEC_OPTIONS.get(case.codec),
    )  # fmt: skip


def trimmed(film: Path, *, seconds: float) -> Path:
    """The film without its beginning, as phones and editors cut it: nothing is encoded, an edit list hides what was cut off."""
    path = film.with_name(f"trimmed{film.suffix}")
    media.run(ffmpeg.output(media.source(film, ss=seconds), f"file:{path}", c="copy"), timeout_seconds=30)
    return path


def made_of(case: Case, folder: Path, film: Path, samples: Samples, **options: object) -> tuple[Reconstruction, Path]:
    video_input = look(film, format=case.asked, original_mode="keep", **options)
    record = Reconstructor(ReconstructionSettings()).reconstruct(
        video_input, film, stems=[stem(folder, samples)], output=folder / "result"
    )
    return record, folder / "result"


def clicks_of_track(path: Path, number: int) -> list[float]:
    """When clicks begin in one of the sound tracks; none where there is no such track."""
    with av.open(str(path)) as container:
        if len(container.streams.audio) <= number:
            return []
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        parts = [part for frame in container.decode(audio=number) for part in resampler.resample(frame)]
    times = np.concatenate([(part.time or 0) + np.arange(part.samples) / RATE for part in parts])
    loud = np.abs(np.concatenate([part.to_ndarray()[0] for part in parts]))
    begins = times[loud > max(0.01, 0.25 * loud.max())]
    return [float(time) for time, pause in zip(begins, np.diff(begins, prepend=-1), strict=True) if pause > 0.05]


def decoded(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_length_packets_sync_and_tracks_are_right(tmp_path: Path, case: Case) -> None:
    film = film_of(case, tmp_path)
    own, generated = click_frames(case.frames)
    seconds = case.times[-1]
    samples = clicks(*(case.times[number] for number in generated), seconds=seconds)
    unfaded = {"loudness_lufs": None, "fade_in_seconds": 0, "fade_out_seconds": 0}
    record, result = made_of(case, tmp_path, film, samples, **unfaded)

    assert record.duration_seconds == pytest.approx(seconds, abs=AUDIO_FRAME)
    heard = sound_of(result)
    assert heard.shape[1] / RATE == pytest.approx(seconds, abs=AUDIO_FRAME)
    assert np.abs(heard).max() <= 1
    assert picture_seconds(result) == pytest.approx(seconds, abs=0.002)

    assert record.picture == case.picture
    if case.picture == "copied":
        # Transport streams frame the same units in another way.
        same = decoded if case.source in ("ts", "mpg") else packets
        assert same(result) == same(film)
    # As a track of its own, the own sound stays in step, too.
    assert clicks_of_track(result, 1) == pytest.approx([case.times[number] for number in own if case.sound], abs=SYNC)
    assert [track.result for track in record.tracks] == ([case.track] if case.sound else [])

    shown = {frame_number(image): time for image, time in pictures(result)}
    assert len(shown) == case.frames
    clicking = sorted([*generated, *(own if case.sound else [])])
    assert heard_clicks(result) == pytest.approx([shown[number] for number in clicking], abs=SYNC)


@pytest.mark.parametrize(("asked", "kept"), [("mkv", "encoded"), ("mp4", "copied")])
@pytest.mark.parametrize("cut", [0.05, 0.5, 1.3])
def test_what_an_edit_list_hides_stays_hidden(tmp_path: Path, cut: float, asked: str, kept: str) -> None:
    case = Case("mp4", "libx264", "aac", 30, 90, asked)
    whole = make_video(
        tmp_path / "whole.mp4", rate=30, frames=90, gop=90, own=clicks(0.2, 1.6, 2.4, seconds=case.times[-1])
    )
    film = trimmed(whole, seconds=cut)
    numbers = [frame_number(image) for image, _ in pictures(film)]
    hidden = 90 - len(numbers)
    assert numbers == list(range(hidden, 90))
    assert hidden / 30 == pytest.approx(cut, abs=1 / 30)
    own = clicks_of_track(film, 0)
    seconds = len(numbers) / 30
    unfaded = {"loudness_lufs": None, "fade_in_seconds": 0, "fade_out_seconds": 0}
    record, result = made_of(case, tmp_path, film, clicks(0, 1, seconds=seconds), **unfaded)

    shown = pictures(result)
    assert [frame_number(image) for image, _ in shown] == numbers
    assert [time for _, time in shown] == pytest.approx([number / 30 for number in range(len(numbers))], abs=0.002)
    assert picture_seconds(result) == pytest.approx(seconds, abs=0.002)
    assert record.duration_seconds == pytest.approx(seconds, abs=AUDIO_FRAME)
    assert heard_clicks(result) == pytest.approx(sorted([0, 1, *own]), abs=SYNC)

    assert record.picture == kept  # Matroska has no edit lists
    assert any("the picture was encoded" in note for note in record.notes) == (kept == "encoded")
    assert [track.result for track in record.tracks] == [kept]
    assert any("hide" in (track.reason or "") for track in record.tracks) == (kept == "encoded")
    assert clicks_of_track(result, 1) == pytest.approx(own, abs=SYNC)


@pytest.mark.parametrize(
    ("case", "target"),
    [
        (Case("mp4", "libx264", "aac", 25, 25, "mp4"), -14),
        (Case("mkv", "libx264", None, 25, 250, "mkv"), -14),
        (Case("webm", "libvpx", "libopus", 10, 100, "webm"), -16),
        (Case("avi", "mpeg4", "pcm_s16le", 10, 610, "mov"), -23),
    ],
    ids=str,
)
def test_loudness_and_true_peak_are_as_asked(tmp_path: Path, case: Case, target: float) -> None:
    film = film_of(case, tmp_path)
    record, result = made_of(case, tmp_path, film, 0.2 * noise(seconds=case.times[-1]), loudness_lufs=target)
    heard = sound_of(result)
    assert loudness(heard) == pytest.approx(target, abs=0.5)
    assert true_peak(heard) <= -1 + 0.5
    assert record.integrated_lufs == pytest.approx(target, abs=0.5)
    assert np.abs(heard).max() <= 1
