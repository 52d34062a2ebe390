import gc
import hashlib
import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image, ImageCms
from pydantic import ValidationError

from models import media
from models.audio import STEM_SAMPLE_RATE, Audio, write_audio
from models.errors import DamagedMedia, InputTooLarge, InvalidInput, UnsupportedMedia
from models.file_signatures import description
from models.frame_extraction import FrameExtractionSettings, FrameExtractor
from models.reconstruction import ReconstructionSettings, Reconstructor, StemFile
from models.record import Options, VideoInput
from models.video_input import MediaLimits, SourceFile, display_name, file_token, probe
from tests.media_factory import (
    Trap,
    corrupt,
    cut,
    frame_number,
    hostile_files,
    make_animation,
    make_heic,
    make_image,
    make_sound,
    make_video,
    numbered_picture,
)

VIDEO_ENDINGS = {
    ".mp4": "mp4", ".mov": "mov", ".mkv": "mkv", ".webm": "webm", ".avi": "avi", ".ts": "ts", ".mpg": "mpg", ".flv": "flv",
    ".wmv": "wmv", ".ogv": "ogg",
}  # fmt: skip


def look_at(path: Path, *, name: str | None = None, **limits: Any) -> VideoInput:
    source = SourceFile.of(path, name=name or path.name, key="videos/x/source")
    return probe(source, options=Options(), limits=MediaLimits(**limits))


def refusal(path: Path, error: type[InvalidInput], **limits: Any) -> str:
    """The message with which a file is refused, by exactly this class of error."""
    with pytest.raises(InvalidInput) as raised:
        look_at(path, **limits)
    assert type(raised.value) is error
    return str(raised.value)


def png_claiming(path: Path, *, width: int, height: int) -> Path:
    """A PNG whose header, with a right checksum, claims a size that its few bytes can't fill."""
    data = bytearray(make_image(path).read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return path


def test_the_token_is_the_md5_of_the_bytes(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=5)
    assert file_token(video) == look_at(video).token == hashlib.md5(video.read_bytes()).hexdigest()


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(("ending", "container"), VIDEO_ENDINGS.items())
def test_every_container_is_read(tmp_path: Path, ending: str, container: str, sound: bool) -> None:
    seen = look_at(make_video(tmp_path / f"clip{ending}", frames=50, rate=25, sound=sound, sound_seconds=3))
    assert (seen.media, seen.container, seen.width, seen.height) == ("video", container, 64, 48)
    assert seen.duration_seconds == pytest.approx(2, abs=0.03)
    assert seen.frame_rate == pytest.approx(25, abs=0.1)
    assert seen.has_audio is sound
    assert [stream.kind for stream in seen.streams] == ["video", "audio"][: 1 + sound]


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(
    ("video", "seconds", "start"),
    [
        pytest.param({"durations": [0.04, 0.2, 0.5, 0.04, 1.2]}, 1.98, 0, id="variable rate"),
        pytest.param({"frames": 1}, 0.04, 0, id="one frame"),
        pytest.param({"durations": [7]}, 7, 0, id="one long frame"),
        pytest.param({"frames": 50, "start": 1.4, "gop": 1000}, 2, 1.4, id="starts late"),
        pytest.param({"frames": 50, "sound": True, "sound_seconds": 5}, 2, 0, id="sound lasts longer"),
        pytest.param({"frames": 50, "sound": True, "sound_seconds": 1}, 2, 0, id="sound ends earlier"),
    ],
)
def test_the_duration_is_that_of_the_picture(
    tmp_path: Path, ending: str, video: dict[str, Any], seconds: float, start: float
) -> None:
    seen = look_at(make_video(tmp_path / f"clip{ending}", **video))
    assert seen.duration_seconds == pytest.approx(seconds, abs=0.002)
    assert seen.start_seconds == pytest.approx(start, abs=0.021)


def test_a_transport_stream_starts_where_its_clock_says(tmp_path: Path) -> None:
    seen = look_at(make_video(tmp_path / "clip.ts", frames=75, start=95, sound=True, sound_seconds=4))
    assert (seen.duration_seconds, seen.start_seconds) == (3, 95)


def test_an_edit_list_shortens_the_video(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", frames=75, gop=1000)
    edited = tmp_path / "edited.mp4"
    media.run(media.source(whole, ss=1).output(str(edited), c="copy"), timeout_seconds=20)
    assert look_at(edited).duration_seconds == pytest.approx(2, abs=0.05)


def test_a_fragmented_file_without_an_index_is_measured(tmp_path: Path) -> None:
    fragments = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    seen = look_at(make_video(tmp_path / "clip.mp4", frames=100, muxer_options=fragments))
    assert seen.duration_seconds == 4
    live = look_at(make_video(tmp_path / "clip.webm", frames=100, muxer_options={"live": "1"}))
    assert live.duration_seconds == 4


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_width_and_height_are_as_displayed(tmp_path: Path, rotation: int) -> None:
    turned = look_at(make_video(tmp_path / "turned.mp4", size=(96, 48), rotation=rotation))
    assert (turned.width, turned.height) == (96, 48)
    wide = look_at(make_video(tmp_path / "wide.mkv", size=(48, 96), rotation=rotation, aspect=(2, 1)))
    assert (wide.width, wide.height) == ((96, 96) if rotation == 180 else (48, 192))


def test_the_orientation_that_the_frames_themselves_carry_is_applied(tmp_path: Path) -> None:
    """Motion JPEG out of a camera: each frame has EXIF data."""
    still, video = make_image(tmp_path / "frame.jpg", orientation=6), tmp_path / "camera.mov"
    with av.open(str(video), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(3):
            packet = av.Packet(still.read_bytes())
            packet.pts = packet.dts = number
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 10), stream, True
            container.mux(packet)
    seen = look_at(video)
    assert (seen.width, seen.height) == (48, 64)
    assert seen.duration_seconds == pytest.approx(0.3)


def test_streams_tell_codec_language_and_title(tmp_path: Path) -> None:
    tags = {"language": "ita", "title": "Prima\nscena"}
    picture, sound = look_at(make_video(tmp_path / "clip.mkv", sound=True, tags=tags)).streams
    assert (picture.codec, picture.language, picture.title) == ("h264", "ita", "Primascena")
    assert (sound.codec, sound.language, sound.title) == ("aac", None, None)


def test_a_broken_own_sound_counts_as_none(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=50, sound=True)
    corrupt(video, kind="audio")
    seen = look_at(video)
    assert seen.duration_seconds == 2
    assert not seen.has_audio


def test_a_damaged_middle_is_not_looked_at(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=500)
    corrupt(video, kind="video", begin=1, end=15)
    assert look_at(video).duration_seconds == 20


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif", ".avif", ".heic"])
def test_still_images_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"still{ending}"
    seen = look_at(make_heic(path, size=(63, 47)) if ending == ".heic" else make_image(path, size=(63, 47)))
    assert (seen.media, seen.width, seen.height) == ("image", 63, 47)
    assert seen.container == {".jpg": "jpeg"}.get(ending, ending[1:])
    assert (seen.duration_seconds, seen.frame_rate, seen.has_audio, seen.streams) == (None, None, False, ())


def test_an_images_orientation_is_applied(tmp_path: Path) -> None:
    for orientation, size in {1: (64, 48), 3: (64, 48), 6: (48, 64), 8: (48, 64)}.items():
        for image in (
            make_image(tmp_path / "phone.jpg", orientation=orientation),
            make_heic(tmp_path / "phone.heic", orientation=orientation),
        ):
            seen = look_at(image)
            assert (seen.width, seen.height) == size


def test_several_pictures_in_one_still_are_no_video(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    for name in ("scan.tiff", "stereo.mpo"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
        assert look_at(tmp_path / name).media == "image"
    assert look_at(make_heic(tmp_path / "live.heic", numbers=(1, 2, 3))).media == "image"


@pytest.mark.parametrize(
    ("ending", "container"), {".gif": "gif", ".png": "apng", ".webp": "webp", ".avif": "avif"}.items()
)
def test_animations_are_videos(tmp_path: Path, ending: str, container: str) -> None:
    seen = look_at(make_animation(tmp_path / f"moving{ending}", frames=7, milliseconds=100))
    assert (seen.media, seen.container, seen.width, seen.height) == ("video", container, 64, 48)
    assert seen.duration_seconds == pytest.approx(0.7, abs=0.001)
    assert seen.frame_rate == pytest.approx(10, abs=0.1)
    assert [stream.kind for stream in seen.streams] == ["video"]
    assert (seen.has_audio, seen.start_seconds) == (False, 0)


def test_an_animated_png_with_a_colour_profile_is_a_video(tmp_path: Path) -> None:
    """FFmpeg looks only so far for what tells that it moves, and the profile stands in front of that."""
    path, frames = tmp_path / "moving.png", [Image.fromarray(numbered_picture(number)) for number in range(20)]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile += np.random.default_rng(0).bytes(5000)  # nothing that becomes short when it is packed
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, loop=0, icc_profile=profile)
    assert path.read_bytes().index(b"acTL") > 2600
    seen = look_at(path)
    assert (seen.media, seen.container, seen.width, seen.height) == ("video", "apng", 64, 48)
    assert seen.duration_seconds == pytest.approx(2)
    taken = FrameExtractor(FrameExtractionSettings()).extract(path, tmp_path / "frames", k=30)
    assert [frame_number(frame.path) for frame in taken] == [round(frame.seconds * 10) for frame in taken]
    assert len({frame.seconds for frame in taken}) == 9
    gc.collect()  # what a library has freed before is found here
    sound = np.full((2, 2 * STEM_SAMPLE_RATE), 0.1, np.float32)
    write_audio(Audio(sound, STEM_SAMPLE_RATE), tmp_path / "music.wav")
    stem = StemFile("music", tmp_path / "music.wav")
    Reconstructor(ReconstructionSettings()).reconstruct(seen, path, stems=[stem], output=tmp_path / "result.mp4")
    with av.open(str(tmp_path / "result.mp4")) as result:
        assert [frame_number(frame.to_image()) for frame in result.decode(video=0)] == list(range(20))


@pytest.mark.parametrize("ending", [".webp", ".avif"])
def test_an_animation_of_one_frame_is_a_still(tmp_path: Path, ending: str) -> None:
    assert look_at(make_animation(tmp_path / f"still{ending}", frames=1)).media == "image"


def test_the_limits_of_videos_are_those_of_animations(tmp_path: Path) -> None:
    for ending in (".webp", ".avif"):
        moving = make_animation(tmp_path / f"moving{ending}", frames=10)
        assert "it lasts 1.0 s; at most 0.9 s" in refusal(moving, InputTooLarge, max_seconds=0.9)
        assert "64 x 48 pixels; at most 3000 pixels" in refusal(moving, InputTooLarge, max_pixels=3000)
    assert "64 x 48" in refusal(make_heic(tmp_path / "still.heic"), InputTooLarge, max_pixels=3000)


def test_a_file_that_would_be_read_whole_may_not_be_huge(tmp_path: Path) -> None:
    still = make_image(tmp_path / "still.webp")
    os.truncate(still, 300 * 2**20)
    assert "at most 268435456 are allowed" in refusal(still, InputTooLarge)


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    video, image = make_video(tmp_path / "clip.mp4"), make_image(tmp_path / "still.png")
    for name in ("holiday.jpg", "notes.txt", "list.m3u8", "frame%03d.png", "a*?[b].jpg", "-i", "none"):
        path = tmp_path / "named" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(video.read_bytes())
        assert (look_at(path).media, look_at(path).container) == ("video", "mp4")
        path.write_bytes(image.read_bytes())
        assert (look_at(path).media, look_at(path).container) == ("image", "png")


@pytest.mark.parametrize(
    ("content", "is_called"),
    [
        (b"", "empty"),
        (b"Dear diary,\n today I saw a film", "text"),
        ("Liebes Tagebuch: schön!".encode(), "text"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "an HTML page"),
        (b"\n<!-- saved --><html></html>", "an HTML page"),
        (b"%PDF-1.7\n\0\0\x01binary", "in no format that is read here"),
        (b"\0" * 5000, "in no format that is read here"),
        (bytes(range(256)) * 20, "in no format that is read here"),
    ],
)
def test_what_is_no_video_and_no_image_is_named(tmp_path: Path, content: bytes, is_called: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    message = refusal(path, UnsupportedMedia)
    assert message.startswith(f"clip.mp4: it is {is_called}; ")
    assert "mp4, mov, mkv" in message
    assert "jpeg, png" in message


@pytest.mark.parametrize(("brand", "kind"), {b"heic": "a HEIC", b"avif": "an AVIF"}.items())
def test_an_image_of_which_only_the_beginning_is_there_is_damaged(tmp_path: Path, brand: bytes, kind: str) -> None:
    path = tmp_path / "photo"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + brand)
    assert f"begins like {kind} image" in refusal(path, DamagedMedia)


@pytest.mark.parametrize("ending", [".mp3", ".m4a", ".flac", ".wav"])
def test_sound_alone_is_refused_also_with_cover_art(tmp_path: Path, ending: str) -> None:
    sound = make_sound(tmp_path / f"song{ending}", cover=ending in {".mp3", ".m4a"})
    assert "it has sound but no picture" in refusal(sound, UnsupportedMedia)


@pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".webm", ".avi"])
def test_a_video_cut_short_is_damaged(tmp_path: Path, ending: str, part: float) -> None:
    muxer_options = {"movflags": "faststart"} if ending == ".mp4" else None
    short = cut(make_video(tmp_path / f"clip{ending}", frames=200, muxer_options=muxer_options), part=part)
    assert f"cut short: {short.stat().st_size} of " in refusal(short, DamagedMedia)


def test_a_recording_that_broke_off_before_its_index_was_written_is_damaged(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=100)
    data = video.read_bytes()
    video.write_bytes(data[: data.rindex(b"moov") - 4])
    assert "what is needed to show it is missing" in refusal(video, DamagedMedia)


def test_a_video_whose_picture_does_not_decode_is_damaged(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=50)
    corrupt(video, kind="video")
    assert "no frame of its picture can be decoded" in refusal(video, DamagedMedia)


def test_bytes_appended_to_a_video_do_no_harm(tmp_path: Path) -> None:
    for ending in (".mp4", ".mkv", ".avi"):
        video = make_video(tmp_path / f"clip{ending}", frames=50)
        video.write_bytes(video.read_bytes() + b"\xff\xd9junk" * 9)
        assert look_at(video).duration_seconds == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff", ".gif"])
@pytest.mark.parametrize("part", [0.02, 0.7])
def test_an_image_cut_short_is_damaged(tmp_path: Path, ending: str, part: float) -> None:
    picture = tmp_path / f"still{ending}"
    Image.effect_noise((200, 200), 80).convert("RGB").save(picture)
    refusal(cut(picture, part=part), DamagedMedia)


@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_a_moving_or_a_phones_image_cut_short_is_damaged(tmp_path: Path, part: float) -> None:
    for whole in (make_animation(tmp_path / "moving.webp", frames=9), make_heic(tmp_path / "photo.heic")):
        refusal(cut(whole, part=part), DamagedMedia)


def test_absurd_dimensions_are_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    for width, height in ((100_000, 100_000), (12_000, 9_000), (2**31 - 1, 1), (20_000, 16)):
        message = refusal(png_claiming(tmp_path / "huge.png", width=width, height=height), InputTooLarge)
        assert "67108864" in message
    wide = make_video(tmp_path / "wide.mkv", size=(20_000, 16), codec="mjpeg", frames=2)
    assert "its picture is 20000 x 16 pixels; at most 67108864 pixels and 16384 on a side" in refusal(
        wide, InputTooLarge
    )
    stretched = make_video(tmp_path / "stretched.mkv", size=(96, 48), aspect=(2, 1))
    assert "192 x 48" in refusal(stretched, InputTooLarge, max_side=150)


def test_limits_are_settings_and_messages_state_them(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=50, sound=True)
    assert "it lasts 2.0 s; at most 1.5 s are allowed" in refusal(video, InputTooLarge, max_seconds=1.5)
    assert "64 x 48 pixels; at most 3000 pixels" in refusal(video, InputTooLarge, max_pixels=3000)
    assert "and 63 on a side" in refusal(video, InputTooLarge, max_side=63)
    assert "it has 2 streams; at most 1" in refusal(video, InputTooLarge, max_streams=1)
    assert "64 x 48" in refusal(make_image(tmp_path / "still.jpg"), InputTooLarge, max_pixels=3000)
    with pytest.raises(ValidationError, match="max_seconds"):
        MediaLimits(max_seconds=0)


def test_an_image_may_be_shown_for_as_long_as_a_video_may_last(tmp_path: Path) -> None:
    image = make_image(tmp_path / "still.jpg")
    assert look_at(image, max_seconds=10).options.seconds == 10
    told = "still.jpg: seconds = 10 is asked for; at most 9.5 s are allowed"
    assert refusal(image, InputTooLarge, max_seconds=9.5) == told
    assert look_at(make_video(tmp_path / "clip.mp4", frames=50), max_seconds=9.5).media == "video"


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Trap]:
    trap = Trap(tmp_path)
    yield trap
    trap.close()


@pytest.mark.parametrize("kind", ["file", "address"])
def test_what_a_hostile_file_names_is_not_touched(tmp_path: Path, trap: Trap, kind: str) -> None:
    for path in hostile_files(tmp_path, target=trap.targets[kind]).values():
        message = refusal(path, UnsupportedMedia)
        assert trap.targets[kind] not in message
    assert not trap.sprung()


def test_the_trap_would_have_noticed(trap: Trap) -> None:
    host, _, port = trap.targets["address"].removeprefix("http://").removesuffix("/secret.mp4").partition(":")
    with socket.create_connection((host, int(port))):
        assert trap.sprung()
    with Path(trap.targets["file"]).open("rb"):
        assert trap.opened.wait(5)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("holiday in Rome.mp4", "holiday in Rome.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\clip.mov", "clip.mov"),
        ("a \"quoted\" 'name'; $(rm -rf).mp4", "a \"quoted\" 'name'; $(rm -rf).mp4"),
        ("two\nlines\r\0.mp4", "twolines.mp4"),
        ("gnp.\u202eexe.mp4", "gnp.exe.mp4"),
        ("夏の海 🌊👩‍🚀.mp4", "夏の海 🌊👩‍🚀.mp4"),
        ("half \ud83d.mp4", "half .mp4"),
        ("x" * 300 + ".mp4", "x" * 255),
        ("", "unnamed"),
        ("   ", "unnamed"),
        ("..", "unnamed"),
        ("folder/", "folder"),
        ("\x1b\x07", "unnamed"),
    ],
)
def test_names_are_cleaned_for_people_to_read(name: str, shown: str) -> None:
    assert display_name(name) == shown


def test_the_cleaned_name_is_recorded_and_leads_every_message(tmp_path: Path) -> None:
    assert look_at(make_image(tmp_path / "still.png"), name="../my\npicture.png").name == "mypicture.png"
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(UnsupportedMedia, match=r"^mypicture\.png: it is empty"):
        look_at(empty, name="../my\npicture.png")


def test_bytes_of_a_strangers_choice_are_described_at_once() -> None:
    began = time.monotonic()
    assert description(b"<!---->" * 500 + b"x") == "text"
    assert description(b"<!-- a --> <!----><html>") == "an HTML page"
    assert time.monotonic() - began < 10  # what backtracks would take hours
