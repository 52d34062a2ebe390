import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import ffmpeg
import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
from PIL import Image
from scipy.signal import butter, resample_poly, sosfilt

from models import media
from models.audio import STEM_SAMPLE_RATE, Audio, write_audio
from models.errors import DamagedMedia, MediaToolFailed, MediaToolLimit, MissingOutput
from models.mixing import MixSettings
from models.reconstruction import (
    COMMENT,
    ReconstructionSettings,
    Reconstructor,
    StemFile,
    result_format,
)
from models.record import AUDIO_FORMATS, VIDEO_FORMATS, Options, Reconstruction, StemKind, VideoInput
from models.video_input import MediaLimits, SourceFile, probe
from tests.media_factory import frame_number, make_animation, make_image, make_video

AUDIO_FRAME = 1024 / 48_000  # seconds, AAC's; Opus's is shorter
RATE = STEM_SAMPLE_RATE

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Result:
    record: Reconstruction
    path: Path


Make = Callable[..., Result]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Puts stems, or a 1000 Hz tone where none are given, under a source."""

    def reconstruct(
        source: Path,
        *stems: StemFile,
        settings: ReconstructionSettings | None = None,
        **options: Any,
    ) -> Result:
        video_input = look(source, **options)
        stems = stems or (stem(tmp_path, tone(1000, seconds=video_input.result_seconds)),)
        output = tmp_path / "result"
        reconstructor = Reconstructor(settings or ReconstructionSettings())
        return Result(reconstructor.reconstruct(video_input, source, stems=stems, output=output), output)

    return reconstruct


def look(source: Path, **options: Any) -> VideoInput:
    return probe(
        SourceFile.of(source, name=source.name, key="source"), options=Options(**options), limits=MediaLimits()
    )


def tone(hertz: float, *, seconds: float = 1, amplitude: float = 0.25) -> Samples:
    wave = amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)
    return np.repeat(wave[None].astype(np.float32), 2, axis=0)


def clicks(*times: float, seconds: float) -> Samples:
    samples = np.zeros((2, round(seconds * RATE)), np.float32)
    for time in times:
        samples[:, round(time * RATE) :][:, :48] = 0.7 * np.cos(np.arange(48) * 0.8) * np.linspace(1, 0, 48)
    return samples


def noise(*, seconds: float, low: float = 100, high: float = 8000) -> Samples:
    white = np.random.default_rng(7).standard_normal((2, round(seconds * RATE)))
    band: Samples = sosfilt(butter(2, (low, high), "bandpass", fs=RATE, output="sos"), white).astype(np.float32)
    return band


def stem(folder: Path, samples: Samples, *, kind: StemKind = "music") -> StemFile:
    path = folder / f"{kind}.flac"
    write_audio(Audio(samples, RATE), path)
    return StemFile(kind, path)


def film_with(folder: Path, samples: Samples, *, starts: tuple[float, ...] = (0,)) -> Path:
    """A film of one second whose own sound is `samples`, in floating point, beginning at each of `starts`."""
    path = folder / "film.mkv"
    with av.open(str(make_video(folder / "silent.mp4"))) as source, av.open(str(path), "w") as film:
        picture = film.add_stream_from_template(source.streams.video[0])
        sound = film.add_stream("pcm_f32le", rate=RATE, layout="stereo")
        film.start_encoding()
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = picture
                film.mux(packet)
        for start in starts:
            spoken: av.Packet[Any] = av.Packet(samples.T.astype("<f4").tobytes())
            spoken.stream, spoken.time_base = sound, Fraction(1, 1000)
            spoken.pts = spoken.dts = round(start * 1000)
            film.mux(spoken)
    return path


def sound_of(path: Path) -> Samples:
    """What a player plays, from the picture's first frame on: shape (2, samples)."""
    with media.open_media(path) as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.name) == (48_000, "stereo")
        resampler = av.AudioResampler(format="fltp")
        frames = [frame for decoded in container.decode(stream) for frame in resampler.resample(decoded)]
    samples = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
    begins = 0 if "mp3" in container.format.name else round((frames[0].time or 0) * RATE)
    return np.pad(samples, ((0, 0), (max(0, begins), 0)))[:, max(0, -begins) :]


def amplitude(samples: Samples, hertz: float) -> float:
    """Of a tone, in the middle half of the left channel, away from the fades."""
    quarter = samples.shape[1] // 4
    part = samples[0, quarter : 3 * quarter]
    window = np.hanning(len(part))
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(part)) / RATE)
    return float(2 * abs(np.sum(part * window * wave)) / window.sum())


def heard_clicks(path: Path) -> list[float]:
    loud = np.abs(sound_of(path)).max(axis=0)
    times: list[float] = []
    for sample in np.flatnonzero(loud > 0.25 * loud.max()):
        if not times or sample / RATE - times[-1] > 0.05:
            times.append(float(sample) / RATE)
    return times


def true_peak(samples: Samples) -> float:
    return 20 * float(np.log10(np.abs(resample_poly(samples, 4, 1, axis=1)).max()))


def loudness(samples: Samples) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples.T.astype(np.float64)))


def packets(path: Path) -> list[str]:
    """Hashes of the picture's packets, in the file's order."""
    with av.open(str(path)) as container:
        return [hashlib.sha1(bytes(packet)).hexdigest() for packet in container.demux(video=0) if packet.size]


def frames(path: Path) -> dict[int, float]:
    """The number that each frame shows (see `media_factory`), and when, counted from the first frame."""
    shown = pictures(path)
    return {frame_number(image): time - shown[0][1] for image, time in shown}


def picture_seconds(path: Path) -> float:
    seconds = look(path).duration_seconds
    assert seconds is not None
    return seconds


def pictures(path: Path) -> list[tuple[Image.Image, float]]:
    """Every frame, and when it is shown on the file's own clock."""
    with av.open(str(path)) as container:
        shown: list[Any] = list(container.decode(video=0))
    return [(frame.to_image(), frame.time) for frame in shown]


def first_picture(path: Path) -> Image.Image:
    return pictures(path)[0][0]


def rotation(path: Path) -> int:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).rotation


# The picture


@pytest.mark.parametrize(
    ("source", "codec", "asked"),
    [
        ("film.mp4", "libx264", None),
        ("film.mov", "libx264", None),
        ("film.mkv", "libx264", None),
        ("film.webm", "libvpx", None),
        ("film.webm", "libvpx-vp9", None),
        ("film.avi", "mpeg4", None),
        ("film.wmv", "wmv2", None),
        ("film.mp4", "libx264", "mkv"),
        ("film.mkv", "libx264", "mp4"),
        ("film.mkv", "libx265", "mov"),
        ("film.webm", "libvpx-vp9", "mp4"),
        ("film.mkv", "libsvtav1", "webm"),
    ],
)
def test_the_packets_of_the_picture_are_copied_bit_for_bit(
    tmp_path: Path, make: Make, source: str, codec: str, asked: str | None
) -> None:
    quiet = {"libx265": {"x265-params": "log-level=none"}, "libsvtav1": {"preset": "12"}}
    film = make_video(tmp_path / source, codec=codec, sound=True, codec_options=quiet.get(codec))
    result = make(film, format=asked)
    assert result.record.picture == "copied"
    assert packets(result.path) == packets(film)
    assert frames(result.path) == pytest.approx(frames(film), abs=0.001)
    assert result.record.notes == ()


@pytest.mark.parametrize("source", ["film.ts", "film.mpg"])
def test_the_frames_of_a_transport_stream_keep_their_order_and_their_times(
    tmp_path: Path, make: Make, source: str
) -> None:
    film = make_video(tmp_path / source, sound=True)
    result = make(film)
    assert (result.record.format, result.record.picture) == ("mp4", "copied")
    assert frames(result.path) == pytest.approx(frames(film), abs=0.001)


@pytest.mark.parametrize(
    ("source", "asked", "codec"),
    [
        ("film.mp4", "webm", "vp9"),
        ("film.webm", "mov", "h264"),
        ("film.gif", None, "h264"),
        ("film.wmv", "mp4", "h264"),
    ],
)
def test_a_picture_that_the_container_cannot_hold_is_encoded_and_a_note_says_so(
    tmp_path: Path, make: Make, source: str, asked: str | None, codec: str
) -> None:
    film = make_video(tmp_path / source, rate=25, size=(96, 64))
    result = make(film, format=asked)
    assert (result.record.picture, result.record.video_codec) == ("encoded", codec)
    assert codec in result.record.notes[0]
    assert frames(result.path) == pytest.approx(frames(film), abs=0.001)


@pytest.mark.parametrize("asked", ["mp4", "mkv", "webm"])
def test_a_variable_frame_rate_stays_as_it_is(tmp_path: Path, make: Make, asked: str) -> None:
    film = make_video(tmp_path / "film.mkv", durations=[0.1, 0.2, 0.03, 0.5, 0.04, 0.4])
    result = make(film, format=asked)
    assert frames(result.path) == pytest.approx(frames(film), abs=0.002)
    assert result.record.duration_seconds == pytest.approx(1.27, abs=AUDIO_FRAME)


def test_an_odd_size_is_made_even_where_the_picture_is_encoded(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.gif", size=(65, 49))
    assert first_picture(make(film).path).size == (64, 48)


@pytest.mark.parametrize(("asked", "turn"), [("mp4", 90), ("mov", 90), ("mkv", 90), ("mkv", 180), ("webm", 90)])
def test_a_film_taken_upright_is_still_shown_upright(tmp_path: Path, make: Make, asked: str, turn: int) -> None:
    film = make_video(tmp_path / "film.mp4", rotation=turn)
    result = make(film, format=asked)
    if asked in {"mp4", "mov"}:
        assert result.record.picture == "copied"
    upright = [image.rotate(rotation(result.path), expand=True) for image, _ in pictures(result.path)]
    assert upright[0].size == (64, 48)
    assert [frame_number(image) for image in upright] == list(range(25))


def test_frames_that_the_source_hides_stay_hidden(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50, gop=25)
    trimmed = tmp_path / "trimmed.mp4"
    cut = ffmpeg.output(media.source(film, ss=0.4)["v:0"], f"file:{trimmed}", vcodec="copy")
    media.run(cut, timeout_seconds=30)
    assert look(trimmed).duration_seconds == pytest.approx(1.6, abs=0.01)
    copied = make(trimmed)
    assert (copied.record.picture, packets(copied.path)) == ("copied", packets(trimmed))
    assert list(frames(copied.path)) == list(range(10, 50))
    encoded = make(trimmed, format="mkv")
    assert encoded.record.picture == "encoded"
    assert list(frames(encoded.path)) == list(range(10, 50))
    assert encoded.record.duration_seconds == pytest.approx(1.6, abs=AUDIO_FRAME)


def test_title_and_chapters_stay_and_the_file_says_that_its_sound_was_generated(tmp_path: Path, make: Make) -> None:
    plain = make_video(tmp_path / "plain.mp4", frames=50, start=1.48)
    marks = tmp_path / "marks.mkv"
    with av.open(str(plain)) as source, av.open(str(marks), "w") as film:
        film.metadata.update({"title": "Waves", "comment": "Seen at dawn"})
        starts = look(plain).start_seconds
        times = [(starts, starts + 1), (starts + 1, starts + 2)]
        film.set_chapters(
            [
                {"id": i, "start": round(a * 1000), "end": round(b * 1000), "time_base": Fraction(1, 1000),
                 "metadata": {"title": f"part {i}"}}
                for i, (a, b) in enumerate(times)
            ]
        )  # fmt: skip
        stream = film.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                film.mux(packet)
    with av.open(str(make(marks, format="mp4").path)) as container:
        assert container.metadata["title"] == "Waves"
        assert container.metadata["comment"] == f"Seen at dawn\n{COMMENT}"
        assert container.streams.audio[0].metadata["handler_name"] == "Immersivaudio"
        chapters = {
            mark["metadata"]["title"]: float(mark["start"] * Fraction(mark["time_base"] or 0))
            for mark in container.chapters()
        }
    assert chapters == pytest.approx({"part 0": 0, "part 1": 1}, abs=0.001)


@pytest.mark.parametrize("asked", ["mp4", "mov", "m4a"])
def test_a_player_can_begin_before_it_has_the_whole_file(tmp_path: Path, make: Make, asked: str) -> None:
    data = make(make_video(tmp_path / "film.mp4"), format=asked).path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("source", "codec", "expected"),
    [
        ("film.mp4", None, "mp4"),
        ("film.mov", None, "mov"),
        ("film.mkv", None, "mkv"),
        ("film.webm", None, "webm"),
        ("film.avi", None, "mp4"),
        ("film.ts", None, "mp4"),
        ("film.flv", None, "mp4"),
        ("film.flv", "flv1", "mkv"),
        ("film.wmv", None, "mkv"),
        ("film.gif", None, "mp4"),
    ],
)
def test_without_a_wish_the_format_is_one_that_holds_the_packets(
    tmp_path: Path, source: str, codec: str | None, expected: str
) -> None:
    video_input = look(make_video(tmp_path / source, codec=codec, frames=5))
    assert result_format(video_input) == expected


@pytest.mark.parametrize("asked", [*VIDEO_FORMATS, *AUDIO_FORMATS])
def test_the_format_asked_for_is_the_format_made(tmp_path: Path, make: Make, asked: str) -> None:
    result = make(make_video(tmp_path / "film.mp4", sound=True), format=asked)
    assert result.record.format == result_format(look(tmp_path / "film.mp4", format=asked)) == asked
    with media.open_media(result.path) as container:
        names = {"mkv": "matroska", "webm": "webm"}
        assert names.get(asked, asked) in container.format.name
        shown = [*container.streams.video[:1], *container.streams.audio[:1]]
        codecs = {stream.type: stream.codec_context.codec.canonical_name for stream in shown}
    assert codecs == {"audio": result.record.audio_codec} | (
        {"video": result.record.video_codec} if asked in VIDEO_FORMATS else {}
    )
    assert (result.record.sample_rate, result.record.channels) == (48_000, 2)
    assert sound_of(result.path).shape[1] == pytest.approx(RATE, abs=1024)
    assert amplitude(sound_of(result.path), 1000) > 0.05


# Length and time


@pytest.mark.parametrize(
    ("asked", "count", "rate"),
    [
        ("mp4", 1, 25), ("mp4", 12, 24), ("mp4", 25, 25), ("mp4", 999, 100),
        ("mkv", 1, 25), ("mkv", 999, 100), ("webm", 1, 25), ("webm", 12, 24), ("wav", 1, 25), ("wav", 999, 100),
    ],
)  # fmt: skip
def test_the_result_is_as_long_as_the_picture(tmp_path: Path, make: Make, asked: str, count: int, rate: int) -> None:
    film = make_video(tmp_path / "film.mp4", frames=count, rate=rate, gop=100)
    result = make(film, format=asked)
    assert result.record.duration_seconds == pytest.approx(count / rate, abs=AUDIO_FRAME)
    with media.open_media(result.path) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(count / rate, abs=AUDIO_FRAME)
    assert sound_of(result.path).shape[1] / RATE == pytest.approx(count / rate, abs=AUDIO_FRAME)
    if asked != "wav":
        assert picture_seconds(result.path) == pytest.approx(count / rate, abs=0.002)


@pytest.mark.parametrize("sound_seconds", [0.3, 5])
def test_own_sound_that_is_shorter_or_longer_does_not_change_the_length(
    tmp_path: Path, make: Make, sound_seconds: float
) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50, sound=True, sound_seconds=sound_seconds)
    result = make(film)
    assert result.record.original_used
    assert result.record.duration_seconds == pytest.approx(2, abs=AUDIO_FRAME)
    assert amplitude(sound_of(result.path), 1000) > 0.05


@pytest.mark.parametrize(
    ("source", "start", "asked"),
    [
        ("film.mp4", 0.0, "mp4"), ("film.mp4", 0.0, "webm"), ("film.mkv", 1.337, "mp4"), ("film.mkv", 1.337, "mkv"),
        ("film.ts", 1.337, "mov"), ("film.ts", 1.337, "mkv"),
    ],
)  # fmt: skip
def test_a_click_is_heard_with_its_frame_at_the_start_and_at_the_end(
    tmp_path: Path, make: Make, source: str, start: float, asked: str
) -> None:
    """A stem's clicks with frames 3 and 72, the film's own with frames 10 and 65, however early its sound begins."""
    silent = make_video(tmp_path / f"silent_{source}", frames=75, rate=25, start=start)
    lead = 0.3 if start else 0.0
    own = stem(tmp_path, clicks(lead + 0.4, lead + 2.6, seconds=3.6), kind="sounds")
    first = look(silent).start_seconds
    film = tmp_path / source
    both = ffmpeg.output(
        media.source(silent)["v:0"], media.source(own.path, itsoffset=first - lead)["a:0"], f"file:{film}",
        vcodec="copy", acodec="aac", copypriorss=1,
    )  # fmt: skip
    media.run(both.global_args("-copyts"), timeout_seconds=30)
    made = make(film, stem(tmp_path, clicks(0.12, 2.88, seconds=3)), format=asked)
    shown = {frame_number(image): time for image, time in pictures(made.path)}
    assert heard_clicks(made.path) == pytest.approx([shown[number] for number in (3, 10, 65, 72)], abs=0.01)


# The mix


@pytest.mark.parametrize(
    ("rate", "own", "generated"), [(0, 0, 0.25), (0.5, 0.125, 0.125), (0.75, 0.1875, 0.0625), (1, 0.25, 0)]
)
def test_the_rate_weighs_own_and_generated_sound_by_amplitude(
    tmp_path: Path, make: Make, rate: float, own: float, generated: float
) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50, sound=True)
    result = make(film, format="wav", original=rate, original_mode="keep", loudness_lufs=None)
    heard = sound_of(result.path)
    assert amplitude(heard, 440) == pytest.approx(own, rel=0.03, abs=0.001)
    assert amplitude(heard, 1000) == pytest.approx(generated, rel=0.03, abs=0.001)
    assert result.record.original_used == (rate > 0)


def test_own_sound_on_one_channel_is_heard_on_both_as_loud_as_it_was(tmp_path: Path, make: Make) -> None:
    silent = make_video(tmp_path / "silent.mkv", frames=50)
    own = stem(tmp_path, tone(440, seconds=2), kind="sounds")
    film = tmp_path / "film.mkv"
    both = ffmpeg.output(
        media.source(silent)["v:0"], media.source(own.path)["a:0"].filter("pan", args="mono|c0=c0"), f"file:{film}",
        vcodec="copy", acodec="flac", ar=22_050,
    )  # fmt: skip
    media.run(both, timeout_seconds=30)
    heard = sound_of(make(film, format="wav", original=1, loudness_lufs=None).path)
    assert amplitude(heard, 440) == pytest.approx(0.25, rel=0.02)
    assert np.array_equal(heard[0], heard[1])


def test_without_own_sound_the_rate_has_no_effect(tmp_path: Path, make: Make) -> None:
    result = make(make_video(tmp_path / "film.mp4"), format="wav", original=1, loudness_lufs=None)
    assert amplitude(sound_of(result.path), 1000) == pytest.approx(0.25, rel=0.02)
    assert not result.record.original_used


def test_music_and_sounds_have_their_own_volumes(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50)
    stems = stem(tmp_path, tone(1000, seconds=2)), stem(tmp_path, tone(3000, seconds=2), kind="sounds")
    options = {"music_volume_db": -6, "sound_volume_db": 3, "loudness_lufs": None}
    heard = sound_of(make(film, *stems, format="wav", **options).path)
    assert amplitude(heard, 1000) == pytest.approx(0.25 * 10 ** (-6 / 20), rel=0.02)
    assert amplitude(heard, 3000) == pytest.approx(0.25 * 10 ** (3 / 20), rel=0.02)


def test_the_sound_rises_at_the_start_and_dies_away_at_the_end(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50)
    loud = np.abs(sound_of(make(film, format="wav").path))
    middle = loud[:, RATE // 2 : RATE].max()
    assert loud[:, :48].max() < 0.1 * middle
    assert loud[:, -480:].max() < 0.1 * middle
    assert loud[:, RATE // 20 :][:, :480].max() > 0.9 * middle


def test_own_sound_that_breaks_off_midway_is_left_out_and_the_rest_works(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mkv", frames=50, sound=True)
    data = bytearray(film.read_bytes())
    with av.open(str(film)) as container:
        packets_of_sound: list[Any] = list(container.demux(audio=0))
        spoilt = [packet for packet in packets_of_sound if packet.size and packet.pts * packet.time_base > 1]
    for packet in spoilt:
        at = data.index(bytes(packet))
        data[at : at + packet.size] = b"\xff" * packet.size
    film.write_bytes(data)
    assert look(film).has_audio
    result = make(film, loudness_lufs=None)
    assert not result.record.original_used
    assert "own sound" in result.record.notes[0]
    assert packets(result.path) == packets(film)
    assert amplitude(sound_of(result.path), 1000) == pytest.approx(0.25, rel=0.05)


def test_own_sound_that_nothing_can_decode_is_left_out_and_a_note_says_so(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", sound=True)
    video_input = look(film).model_copy(update={"has_audio": False})
    made = Reconstructor(ReconstructionSettings()).reconstruct(
        video_input, film, stems=[stem(tmp_path, tone(1000))], output=tmp_path / "result"
    )
    assert not made.original_used
    assert "own sound" in made.notes[0]


def test_a_hole_of_an_hour_in_the_own_sound_takes_no_memory(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = tmp_path / "peaks"
    measured = tmp_path / "ffmpeg"
    measured.write_text(
        f"#!{sys.executable} -I\nimport resource, subprocess, sys\n"
        f"code = subprocess.call([{media.ffmpeg_binary()!r}, *sys.argv[1:]])\n"
        f"print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=open({str(peaks)!r}, 'a'))\nsys.exit(code)\n"
    )
    measured.chmod(0o755)
    film = film_with(tmp_path, tone(440, seconds=0.5), starts=(0, 3600))
    monkeypatch.setattr(media, "ffmpeg_binary", lambda: str(measured))
    result = make(film, stem(tmp_path, np.zeros((2, RATE), np.float32)), format="wav", original=1, loudness_lufs=None)
    assert max(map(int, peaks.read_text().split())) < 1_000_000  # KiB; it was 3 million
    assert result.record.notes == ()
    assert result.record.original_used
    assert amplitude(sound_of(result.path)[:, : RATE // 2], 440) == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 32_767])
def test_own_sound_with_samples_that_are_no_sound_is_left_out(tmp_path: Path, make: Make, value: float) -> None:
    samples = tone(440)
    samples[0, RATE // 2] = value
    result = make(film_with(tmp_path, samples), loudness_lufs=None)
    assert not result.record.original_used
    assert "own sound" in result.record.notes[0]
    assert amplitude(sound_of(result.path), 1000) == pytest.approx(0.25, rel=0.05)
    assert np.abs(sound_of(result.path)).max() < 0.3


def test_own_sound_somewhat_above_full_scale_is_kept(tmp_path: Path, make: Make) -> None:
    result = make(film_with(tmp_path, tone(440, amplitude=1.5)))
    assert result.record.original_used
    assert all("stem" in note for note in result.record.notes)


# Loudness


def hits(*, seconds: float) -> Samples:
    """Drum-like hits over a chord: peaks far above the rest."""
    samples = tone(220, seconds=seconds, amplitude=0.08) + tone(277, seconds=seconds, amplitude=0.08)
    for at in range(0, samples.shape[1] - RATE // 2, RATE // 2):
        decay = np.exp(-np.arange(RATE // 4) / 1500)
        samples[:, at : at + RATE // 4] += noise(seconds=0.25, low=50, high=3000) * decay * 0.9
    return samples.astype(np.float32)


@pytest.mark.parametrize(
    ("material", "asked", "target"),
    [
        ("quiet noise", "wav", -14), ("loud noise", "wav", -14), ("hits", "wav", -14), ("hits", "wav", -23),
        ("quiet noise", "mp4", -14), ("loud noise", "mp4", -14), ("hits", "mp4", -14), ("hits", "webm", -14),
    ],
)  # fmt: skip
def test_the_mix_is_as_loud_as_asked_and_its_true_peak_stays_below_the_ceiling(
    tmp_path: Path, make: Make, asked: str, target: float, material: str
) -> None:
    samples = {
        "quiet noise": 0.01 * noise(seconds=6),
        "loud noise": np.clip(0.5 * noise(seconds=6), -1, 1),
        "hits": hits(seconds=6),
    }[material]
    film = make_video(tmp_path / "film.mp4", frames=60, rate=10)
    result = make(film, stem(tmp_path, samples), format=asked, loudness_lufs=target)
    heard = sound_of(result.path)
    assert loudness(heard) == pytest.approx(target, abs=0.5)
    assert true_peak(heard) <= -1 + (0.05 if asked == "wav" else 0.5)
    assert result.record.integrated_lufs == pytest.approx(target, abs=0.3)
    assert result.record.true_peak_dbtp is not None
    assert result.record.true_peak_dbtp <= -1


def test_a_mix_whose_peaks_stand_too_high_stays_quieter_and_a_note_says_so(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=20, rate=5)
    ticks = stem(tmp_path, clicks(0.5, 1.5, 2.5, 3.5, seconds=4))
    result = make(film, ticks, format="wav")
    assert "quieter" in result.record.notes[0]
    assert true_peak(sound_of(result.path)) <= -0.95


def test_without_a_target_the_level_is_left_alone_but_nothing_clips(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50)
    loud = tone(1000, seconds=2, amplitude=0.9)
    hot = stem(tmp_path, loud), stem(tmp_path, loud, kind="sounds")
    assert true_peak(sound_of(make(film, *hot, format="wav", loudness_lufs=None).path)) <= -0.95


@pytest.mark.parametrize("asked", ["mp4", "wav"])
def test_silence_stays_silence(tmp_path: Path, make: Make, asked: str) -> None:
    film = make_video(tmp_path / "film.mp4")
    result = make(film, stem(tmp_path, np.zeros((2, RATE), np.float32)), format=asked)
    assert np.abs(sound_of(result.path)).max() < 1e-4
    assert (result.record.integrated_lufs, result.record.true_peak_dbtp) == (None, None)


@pytest.mark.parametrize("count", [1, 5])
def test_a_clip_too_short_to_measure_keeps_its_level(tmp_path: Path, make: Make, count: int) -> None:
    film = make_video(tmp_path / "film.mp4", frames=count, rate=25)
    result = make(film, format="wav")
    assert result.record.integrated_lufs is None
    assert np.abs(sound_of(result.path)).max() == pytest.approx(0.25, abs=0.05)


def test_noise_is_not_lifted_out_of_near_silence(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=50)
    faint = stem(tmp_path, 1e-3 * noise(seconds=2))
    settings = ReconstructionSettings(mix=MixSettings(max_gain_db=6))
    result = make(film, faint, format="wav", settings=settings)
    assert loudness(sound_of(result.path)) == pytest.approx(loudness(1e-3 * noise(seconds=2)) + 6, abs=1)


# A still image


@pytest.mark.parametrize(("asked", "seconds"), [(None, 1.0), ("mkv", 0.1), ("webm", 2.5), ("mov", 21.3)])
def test_an_image_becomes_a_video_as_long_as_asked(
    tmp_path: Path, make: Make, asked: str | None, seconds: float
) -> None:
    image = make_image(tmp_path / "photo.png", size=(160, 96), number=77)
    result = make(image, format=asked, seconds=seconds)
    assert result.record.format == (asked or "mp4")
    assert (result.record.picture, result.record.notes) == ("encoded", ())
    assert result.record.duration_seconds == pytest.approx(seconds, abs=AUDIO_FRAME)
    assert picture_seconds(result.path) == pytest.approx(seconds, abs=0.021)
    with av.open(str(result.path)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    shown = pictures(result.path)
    assert {frame_number(image) for image, _ in shown} == {77}
    assert np.diff([time for _, time in shown]) == pytest.approx(0.04, abs=0.0011)


@pytest.mark.parametrize("still", [(25, 0.1, 2), (1, 10.4, 10), (1, 0.3, 1), (3, 1.6, 5), (25, 2.5, 62)])
@pytest.mark.parametrize("asked", ["mp4", "mkv", "webm"])
def test_picture_sound_and_record_of_a_still_are_equally_long(
    tmp_path: Path, make: Make, asked: str, still: tuple[int, float, int]
) -> None:
    rate, seconds, count = still
    settings, expected = ReconstructionSettings(image_frame_rate=rate), count / rate
    asked_for = stem(tmp_path, tone(1000, seconds=seconds + 1))
    result = make(make_image(tmp_path / "photo.png"), asked_for, format=asked, seconds=seconds, settings=settings)
    assert result.record.duration_seconds == pytest.approx(expected, abs=AUDIO_FRAME)
    assert len(pictures(result.path)) == count
    sound = sound_of(result.path)
    assert sound.shape[1] / RATE == pytest.approx(expected, abs=AUDIO_FRAME)
    faded = np.abs(sound[:, : round(expected * RATE)])
    assert faded[:, -96:].max() < 0.15 * faded.max()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((65, 49), (64, 48)), ((1, 1), (2, 2)), ((1, 300), (2, 300)), ((301, 101), (200, 68)), ((5000, 3), (200, 2))],
)
def test_an_image_of_any_size_gets_even_sides_within_the_limit(
    tmp_path: Path, make: Make, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    limit = 300 if size == (1, 300) else 200
    image = make_image(tmp_path / "photo.png", size=size)
    result = make(image, seconds=0.2, settings=ReconstructionSettings(image_long_side=limit))
    assert first_picture(result.path).size == expected


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("RGB", "mp4"), ("RGB", "webm"), ("RGBA", "mp4"), ("LA", "mp4"), ("P", "mp4"), ("CMYK", "mp4"), ("L", "mp4"),
        ("I;16", "mp4"),
    ],
)  # fmt: skip
def test_an_image_keeps_its_colours_whatever_its_kind(tmp_path: Path, make: Make, mode: str, asked: str) -> None:
    grey = mode in {"LA", "L", "I;16"}
    colour = (90, 90, 90) if grey else (200, 60, 30)
    picture = Image.new("RGB", (320, 240), colour)
    if mode == "I;16":
        picture = Image.fromarray(np.full((240, 320), 90 * 257, np.uint16))
    path = tmp_path / ("photo.jpg" if mode == "CMYK" else "photo.png")
    (picture if mode == "I;16" else picture.convert(mode)).save(path)
    shown = np.asarray(first_picture(make(path, seconds=0.2, format=asked).path))
    assert np.abs(shown[120, 160].astype(int) - colour).max() <= 10


def test_what_is_transparent_becomes_black(tmp_path: Path, make: Make) -> None:
    picture = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    picture.paste((255, 255, 255, 255), (0, 0, 32, 64))
    picture.save(tmp_path / "logo.png")
    shown = np.asarray(first_picture(make(tmp_path / "logo.png", seconds=0.2).path))
    assert shown[32, 8].min() > 240
    assert shown[32, 56].max() < 15


def test_a_photograph_taken_upright_is_shown_upright(tmp_path: Path, make: Make) -> None:
    image = make_image(tmp_path / "photo.jpg", size=(96, 64), orientation=6)
    assert first_picture(make(image, seconds=0.2).path).size == (64, 96)


def test_the_sound_of_an_image_can_be_had_alone(tmp_path: Path, make: Make) -> None:
    result = make(make_image(tmp_path / "photo.png"), format="flac", seconds=1.5)
    assert (result.record.picture, result.record.video_codec) == ("none", None)
    assert sound_of(result.path).shape[1] == 1.5 * RATE


@pytest.mark.parametrize("name", ["cat.gif", "cat.png", "cat.webp", "cat.avif"])
def test_an_animation_shows_all_its_frames(tmp_path: Path, make: Make, name: str) -> None:
    animation = make_animation(tmp_path / name, frames=6, milliseconds=150)
    result = make(animation)
    assert frames(result.path) == pytest.approx({number: number * 0.15 for number in range(6)}, abs=0.002)
    assert result.record.duration_seconds == pytest.approx(0.9, abs=AUDIO_FRAME)


def test_an_image_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    image = make_image(tmp_path / "photo.png", size=(640, 480))
    video_input = look(image, seconds=0.5)
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DamagedMedia):
        Reconstructor(ReconstructionSettings()).reconstruct(
            video_input, image, stems=[stem(tmp_path, tone(1000))], output=tmp_path / "result"
        )


# Files


def test_a_result_that_fails_leaves_nothing_behind_and_an_older_one_untouched(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4")
    (tmp_path / "result").write_bytes(b"an older result")
    missing = StemFile("music", tmp_path / "missing.flac")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MediaToolFailed, match=r"missing\.flac"):
        make(film, missing)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "result").read_bytes() == b"an older result"


def test_a_result_beyond_the_limit_is_given_up(tmp_path: Path, make: Make) -> None:
    film = make_video(tmp_path / "film.mp4", frames=25)
    with pytest.raises(MediaToolFailed, match="larger than 65536 bytes"):
        make(film, format="wav", settings=ReconstructionSettings(max_output_bytes=65_536))
    assert not (tmp_path / "result").exists()


@pytest.mark.parametrize("limit", [{"max_output_bytes": 65_536}, {"timeout_seconds": 1e-3, "timeout_per_second": 1e-9}])
def test_a_limit_does_not_start_an_encoding(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, limit: dict[str, Any]
) -> None:
    film = make_video(tmp_path / "film.mp4", frames=200, size=(320, 240), codec_options={"qp": "0"}, sound=True)
    started: list[list[str]] = []
    run = media.run

    def remember(graph: Any, **named: Any) -> tuple[bytes, str]:
        started.append(graph.compile())
        return run(graph, **named)

    monkeypatch.setattr(media, "run", remember)
    with pytest.raises(MediaToolLimit, match=r"larger than|stopped after"):
        make(film, settings=ReconstructionSettings(**limit))
    assert not any("libx264" in arguments for arguments in started)
    assert not (tmp_path / "result").exists()


def test_without_any_stem_there_is_nothing_to_do(tmp_path: Path) -> None:
    film = make_video(tmp_path / "film.mp4")
    with pytest.raises(MissingOutput):
        Reconstructor(ReconstructionSettings()).reconstruct(look(film), film, stems=[], output=tmp_path / "result")


@pytest.mark.parametrize("name", ["it's [0:v]; $(id) %03d möwe 🐦.mp4", "http:film.mp4", "-y.mp4"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    film = make_video(tmp_path / "film.mp4").rename(tmp_path / name)
    output = tmp_path / f"out {name}"
    made = Reconstructor(ReconstructionSettings()).reconstruct(
        look(film), film, stems=[stem(tmp_path, tone(1000))], output=output
    )
    assert made.path == output.name
    assert packets(output) == packets(film)
