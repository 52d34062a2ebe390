import io
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from models import media
from models.errors import DamagedMedia, UnsupportedMedia
from models.frame_extraction import FrameExtractionSettings, FrameExtractor, TimedFrame, frame_count
from models.picture_track import open_picture
from tests.media_factory import corrupt, frame_number, make_animation, make_sound, make_video


def extract(video: Path, *, k: float = 10, for_scenes: bool = False, **settings: int) -> list[TimedFrame]:
    folder = video.with_name(f"{video.stem}-frames")
    shutil.rmtree(folder, ignore_errors=True)
    return FrameExtractor(FrameExtractionSettings(**settings)).extract(video, folder, k=k, for_scenes=for_scenes)


def size_of(frame: TimedFrame) -> tuple[int, int]:
    with Image.open(frame.path) as image:
        assert image.format == "JPEG"
        return image.size


def assert_spread(frames: list[TimedFrame], *, seconds: float, count: int) -> None:
    """One frame out of each of `count` equal parts of the video, in order."""
    part = seconds / count
    for i, frame in enumerate(frames):
        assert i * part - 1e-6 <= frame.seconds < (i + 1) * part
    assert len(frames) == count


def assert_true(frames: list[TimedFrame], *, starts: list[float]) -> None:
    """Every picture is the one that is shown at the time which is reported for it. starts: when each frame is shown."""
    shown = [starts[frame_number(frame.path)] for frame in frames]
    assert shown == pytest.approx([frame.seconds for frame in frames], abs=0.002)


@pytest.mark.parametrize(
    ("seconds", "k", "count"),
    [(0.0, 10, 1), (0.04, 10, 1), (1, 10, 1), (1.3, 10, 1), (10, 10, 10), (9.99, 10, 9), (100, 10, 20), (120, 10, 20),
     (240, 10, 23), (400, 10, 26), (600, 10, 27), (999.9999999999, 10, 30), (1000, 10, 30), (1000, 0.7, 2),
     (1000, 1 / 3, 1), (3600, 10, 35), (10_000, 10, 40), (100, 0.01, 1), (14_400, 200, 831)],
)  # fmt: skip
def test_the_number_of_frames_is_the_papers_formula_rounded_down(seconds: float, k: float, count: int) -> None:
    assert frame_count(seconds, k=k) == count


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [(0.04, 25), (0.5, 10), (1, 10), (5, 10), (9.99, 100), (61, 4), (120, 2), (240, 1), (400, 1), (600, 1)],
)
@pytest.mark.parametrize("gop", [5, 10_000])
def test_every_length_yields_exactly_the_frames_promised(tmp_path: Path, seconds: float, rate: int, gop: int) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=round(seconds * rate), rate=rate, gop=gop)
    frames = extract(video)
    assert [frame.path.name for frame in frames] == [f"{i:04}.jpg" for i in range(1, len(frames) + 1)]
    assert_spread(frames, seconds=seconds, count=frame_count(seconds, k=10))
    assert_true(frames, starts=[i / rate for i in range(round(seconds * rate))])


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".flv", ".wmv", ".gif", ".png"])
@pytest.mark.parametrize("k", [10, 45])
def test_every_container_gives_different_frames_at_true_times(tmp_path: Path, ending: str, k: float) -> None:
    video = make_video(tmp_path / f"clip{ending}", frames=100, rate=25, gop=30)
    frames = extract(video, k=k)
    assert_spread(frames, seconds=4, count=frame_count(4, k=k))
    assert_true(frames, starts=[i / 25 for i in range(100)])
    assert len({frame_number(frame.path) for frame in frames}) == len(frames)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts", ".flv"])
def test_times_count_from_the_first_frame_wherever_the_clock_starts(tmp_path: Path, ending: str) -> None:
    video = make_video(tmp_path / f"late{ending}", frames=100, rate=25, start=61.4, sound=True, sound_seconds=6)
    frames = extract(video, k=20)
    assert_spread(frames, seconds=4, count=12)
    assert_true(frames, starts=[i / 25 for i in range(100)])


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize(
    "durations",
    [
        pytest.param([0.04] * 20 + [5] + [0.04] * 20 + [8], id="stands still in the middle and at the end"),
        pytest.param([8] + [0.04] * 40, id="stands still at the beginning"),
        pytest.param([0.5, 0.1, 0.9, 0.04, 2.0, 0.3, 1.1] * 6, id="never the same"),
    ],
)
def test_frames_are_different_at_a_variable_rate_as_long_as_there_are_enough(
    tmp_path: Path, ending: str, durations: list[float]
) -> None:
    video = make_video(tmp_path / f"clip{ending}", durations=durations, gop=17)
    starts = [sum(durations[:i]) for i in range(len(durations))]
    for k in (10, 25):
        frames = extract(video, k=k)
        assert len(frames) == frame_count(sum(durations), k=k) <= len(durations)
        assert_true(frames, starts=starts)
        times = [frame.seconds for frame in frames]
        assert times == sorted(set(times))


def test_a_video_that_has_fewer_frames_than_asked_for_repeats_them_in_order(tmp_path: Path) -> None:
    video = make_video(tmp_path / "slides.mp4", durations=[2, 2, 2])
    frames = extract(video, k=10)
    assert [frame_number(frame.path) for frame in frames] == [0, 0, 1, 1, 1, 2, 2]
    assert_true(frames, starts=[0, 2, 4])
    assert len(extract(make_video(tmp_path / "one.mp4", durations=[30]), k=100)) == 147


def test_far_behind_a_keyframe_the_nearest_keyframe_of_the_part_is_taken(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=500, rate=10, gop=20)
    by_keyframes = extract(video, k=3, exact_within=0)
    assert all(frame_number(frame.path) % 20 == 0 for frame in by_keyframes)
    assert_spread(by_keyframes, seconds=50, count=5)
    exact = extract(video, k=3, exact_within=20)
    assert [frame.seconds for frame in exact] == [5, 15, 25, 35, 45]


def test_where_keyframes_are_rare_decoding_is_bounded_and_frames_still_advance(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=600, rate=10, gop=10_000)
    frames = extract(video, k=3, max_decoded=30)
    assert len(frames) == 5
    numbers = [frame_number(frame.path) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] <= 5 * 30
    assert_true(frames, starts=[i / 10 for i in range(600)])


def test_frames_are_upright_and_have_square_pixels(tmp_path: Path) -> None:
    for rotation in (90, 180, 270):
        video = make_video(tmp_path / f"{rotation}.mp4", frames=50, size=(96, 48), rotation=rotation)
        for frame in extract(video, k=20):
            assert size_of(frame) == (96, 48)
            assert frame_number(frame.path) == round(frame.seconds * 25)
    wide = make_video(tmp_path / "wide.mp4", frames=50, size=(64, 48), aspect=(4, 3))
    assert size_of(extract(wide)[0]) == (85, 48)


@pytest.mark.parametrize("size", [(63, 47), (2, 2), (16, 300)])
def test_odd_and_tiny_sizes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    video = make_video(tmp_path / "odd.mkv", frames=10, size=size)
    assert size_of(extract(video)[0]) == size


def test_large_pictures_are_scaled_to_the_long_side(tmp_path: Path) -> None:
    portrait = make_video(tmp_path / "large.mp4", frames=2, size=(720, 1600))
    assert size_of(extract(portrait)[0]) == (576, 1280)
    assert size_of(extract(portrait, long_side=100)[0]) == (45, 100)


def test_the_number_of_frames_is_capped(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=100)
    assert_spread(extract(video, k=200, max_frames=7), seconds=4, count=7)


def test_scenes_of_a_long_video_have_enough_frames_and_short_ones_stay_as_they_are(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=601, rate=5)
    assert_spread(extract(video), seconds=120.2, count=20)
    assert_spread(extract(video, for_scenes=True), seconds=120.2, count=81)
    assert_spread(extract(video, for_scenes=True, scene_frame_seconds=2), seconds=120.2, count=61)
    assert_spread(extract(video, for_scenes=True, scene_frame_seconds=2, max_frames=30), seconds=120.2, count=30)
    assert_spread(extract(video, k=40, for_scenes=True), seconds=120.2, count=83)
    short = make_video(tmp_path / "short.mp4", frames=100)
    assert [frame.seconds for frame in extract(short, for_scenes=True)] == [frame.seconds for frame in extract(short)]


def test_a_spot_that_cannot_be_decoded_gives_the_nearest_frame_that_can(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=300, rate=10, gop=10)
    corrupt(video, kind="video", begin=8, end=20)
    frames = extract(video)
    assert len(frames) == frame_count(30, k=10)
    times = [frame.seconds for frame in frames]
    assert times == sorted(times)
    whole = [frame for frame in frames if not 7.9 < frame.seconds < 20.1]
    assert_true(whole, starts=[i / 10 for i in range(300)])
    assert max(times) > 25


def test_a_video_of_which_nothing_can_be_decoded_is_damaged(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=50)
    corrupt(video, kind="video", begin=0, end=9)
    with pytest.raises(DamagedMedia, match="no frame"):
        extract(video)


def test_what_is_not_a_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    for path in (text, make_sound(tmp_path / "song.mp3", cover=True)):
        with pytest.raises(UnsupportedMedia):
            extract(path)


def test_an_animation_is_read_from_its_beginning(tmp_path: Path) -> None:
    video = make_animation(tmp_path / "moving.png", frames=20, milliseconds=100)
    frames = extract(video, k=30)
    assert_true(frames, starts=[i / 10 for i in range(20)])
    assert_spread(frames, seconds=2, count=9)


def test_the_video_is_not_read_where_nothing_is_taken(tmp_path: Path) -> None:
    """Frames of a long video are found although most of it cannot be decoded: so it isn't."""
    video = make_video(tmp_path / "long.mp4", frames=1200, rate=2, gop=10)
    with open_picture(video) as track:
        assert track.seconds == 600
    before = [frame.path.read_bytes() for frame in extract(video, k=1)]
    for begin, end in ((20, 140), (160, 440), (460, 590)):
        corrupt(video, kind="video", begin=begin, end=end)
    assert [frame.path.read_bytes() for frame in extract(video, k=1)] == before


def test_frames_that_outgrow_the_first_one_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_PIXELS", 10_000)
    path = tmp_path / "grows.mkv"
    with av.open(str(path), "w", format="matroska") as container:
        stream: Any = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for second in range(12):
            picture = io.BytesIO()
            Image.new("RGB", (64, 48) if second == 0 else (400, 300), "red").save(picture, "JPEG")
            packet = av.Packet(picture.getvalue())
            packet.pts = packet.dts = second * 1000
            packet.time_base, packet.duration, packet.stream = Fraction(1, 1000), 1000, stream
            container.mux(packet)
    assert {size_of(frame) for frame in extract(path, k=3)} == {(64, 48)}
