"""Animated WebP and AVIF, as everything behind `video_input` sees them."""

import random
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from models import animations, media, work
from models.animations import animation, readable
from models.cuts import refined
from models.errors import Cancelled, DamagedMedia, InputTooLarge, InvalidInput
from models.frame_extraction import FrameExtractionSettings, FrameExtractor
from models.picture import over_black
from models.picture_track import open_picture
from models.record import Options
from models.video_input import MediaLimits, SourceFile, probe
from tests.media_factory import frame_number, make_animation, make_heic, make_image, make_video

UNEVEN = [40, 200, 500, 40, 1200]


def nothing_is_too_large(width: int, height: int) -> None:
    assert width * height


def shown(path: Path) -> list[tuple[float, float, int]]:
    """When each frame is shown, for how long, and its number."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        spans = [(packet.pts, packet.duration) for packet in container.demux(stream) if packet.size]
        container.seek(0)
        numbers = [frame_number(frame.to_image()) for frame in container.decode(stream)]
        base = float(stream.time_base or 0)
    return [((at or 0) * base, (of or 0) * base, number) for (at, of), number in zip(spans, numbers, strict=True)]


@pytest.mark.parametrize("ending", [".webp", ".avif"])
def test_every_frame_is_shown_for_as_long_as_in_the_animation(tmp_path: Path, ending: str) -> None:
    with readable(make_animation(tmp_path / f"moving{ending}", milliseconds=UNEVEN)) as video:
        spans = shown(video)
    assert [span[1] for span in spans] == pytest.approx([of / 1000 for of in UNEVEN])
    assert [span[0] for span in spans] == pytest.approx([0, 0.04, 0.24, 0.74, 0.78])
    assert [span[2] for span in spans] == [0, 1, 2, 3, 4]
    assert not video.exists()


def test_what_was_seen_before_is_what_is_read_later(tmp_path: Path) -> None:
    moving = make_animation(tmp_path / "moving.webp", milliseconds=[*UNEVEN[:3], 0, 10])
    seen = probe(SourceFile.of(moving, name="a", key="a"), options=Options(), limits=MediaLimits())
    assert seen.duration_seconds == pytest.approx(0.94)  # what flashes by is shown for a tenth, as in a browser
    with open_picture(moving) as track:
        assert track.seconds == pytest.approx(0.94)
        assert track.size == (seen.width, seen.height)


def test_no_colour_is_lost(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 31, 17, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=50, lossless=True)
    with readable(tmp_path / "a.webp") as video, av.open(str(video)) as container:
        assert np.array_equal(
            np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]), noise
        )


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    clear = [Image.new("RGBA", (8, 8), (255, 255, 255, alpha)) for alpha in (0, 255)]
    clear[0].save(tmp_path / "a.webp", save_all=True, append_images=clear[1:], duration=50, lossless=True)
    with readable(tmp_path / "a.webp") as video, av.open(str(video)) as container:
        assert [int(frame.to_ndarray(format="rgb24").max()) for frame in container.decode(video=0)] == [0, 255]


@pytest.mark.parametrize("ending", [".webp", ".avif"])
def test_frames_are_taken_out_of_it(tmp_path: Path, ending: str) -> None:
    moving = make_animation(tmp_path / f"moving{ending}", frames=40, milliseconds=100)
    taken = FrameExtractor(FrameExtractionSettings()).extract(moving, tmp_path / "frames", k=10)
    assert len(taken) == 6
    for frame in taken:
        assert frame_number(frame.path) == round(frame.seconds * 10)


def test_ffmpeg_reads_it(tmp_path: Path) -> None:
    moving, copy = make_animation(tmp_path / "moving.webp", frames=12), tmp_path / "copy.mp4"
    with readable(moving) as video:
        media.run(media.source(video).output(str(copy), pix_fmt="yuv420p"), timeout_seconds=60)
    assert [number for _, _, number in shown(copy)] == list(range(12))


def test_every_other_file_is_read_where_it_lies(tmp_path: Path) -> None:
    others = [
        make_video(tmp_path / "clip.mp4", frames=2), make_animation(tmp_path / "moving.gif"),
        make_image(tmp_path / "still.webp"), make_image(tmp_path / "still.avif"), make_heic(tmp_path / "still.heic"),
    ]  # fmt: skip
    (tmp_path / "empty").touch()
    for path in (*others, tmp_path / "empty"):
        with readable(path) as there:
            assert there == path


def test_what_would_take_too_long_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moving = make_animation(tmp_path / "moving.webp", frames=10)
    for limit, value in (("MAX_FRAMES", 9), ("MAX_PIXELS", 64 * 48 * 10 - 1)):
        with monkeypatch.context() as patched:
            patched.setattr(animations, limit, value)
            patched.setattr(animations, "over_black", lambda image: pytest.fail("it was decoded"))
            with pytest.raises(InputTooLarge, match="an animation of 10 frames"):
                animation(moving, check_size=nothing_is_too_large)
            with pytest.raises(InputTooLarge), readable(moving):
                pass


@pytest.mark.parametrize("ending", [".webp", ".avif"])
def test_a_file_of_too_many_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    moving = make_animation(tmp_path / f"moving{ending}")
    size = moving.stat().st_size
    monkeypatch.setattr(animations, "MAX_BYTES", size)
    with readable(moving) as video:
        assert video.exists()
    monkeypatch.setattr(animations, "MAX_BYTES", size - 1)
    with pytest.raises(
        InputTooLarge, match=f"an animation of {size} bytes; at most {size - 1} are allowed: as a video"
    ):
        animation(moving, check_size=nothing_is_too_large)
    with pytest.raises(InputTooLarge), readable(moving):
        pass


@pytest.mark.parametrize("ending", [".webp", ".avif"])
def test_a_copy_that_takes_too_long_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    moving = make_animation(tmp_path / f"moving{ending}", frames=60)

    copied = []

    def slow(image: Image.Image) -> Image.Image:
        copied.append(image)
        time.sleep(0.1)
        return over_black(image)

    monkeypatch.setattr(animations, "COPY_SECONDS", 0.2)
    monkeypatch.setattr(animations, "over_black", slow)
    with pytest.raises(InputTooLarge, match="takes too long to be decoded: as a video"), readable(moving):
        pass
    assert 0 < len(copied) < 30


def test_a_look_that_takes_too_long_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of AVIF, a look decodes every frame."""
    moving = make_animation(tmp_path / "moving.avif", frames=10)
    monkeypatch.setattr(animations, "LOOK_SECONDS", 0)
    with pytest.raises(InputTooLarge, match=r"^clip\.avif: .*takes too long to be decoded"):
        probe(SourceFile.of(moving, name="clip.avif", key="a"), options=Options(), limits=MediaLimits())


@pytest.mark.parametrize("ending", [".webp", ".avif"])
def test_a_step_copies_an_animation_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    moving = make_animation(tmp_path / f"moving{ending}", frames=40)
    decoded: list[Image.Image] = []

    def seen(image: Image.Image) -> Image.Image:
        decoded.append(image)
        return over_black(image)

    monkeypatch.setattr(animations, "over_black", seen)
    FrameExtractor(FrameExtractionSettings()).extract(moving, tmp_path / "frames", k=10)
    assert len(decoded) == 40
    decoded.clear()
    refined(moving, [(0.5, 1), (2, 3)])
    assert len(decoded) == 40


def test_an_animation_in_which_a_frame_is_broken_is_damaged(tmp_path: Path) -> None:
    moving = make_animation(tmp_path / "moving.webp", frames=5)
    data = bytearray(moving.read_bytes())
    at = data.rindex(b"ANMF") + 24
    data[at + 8 : at + 40] = b"\xff" * 32
    moving.write_bytes(data)
    with pytest.raises(DamagedMedia, match="cannot be decoded to its end"), readable(moving):
        pass


def test_nobody_waits_for_a_copy_that_is_not_wanted_any_more(tmp_path: Path) -> None:
    moving, cancelled = make_animation(tmp_path / "moving.webp"), threading.Event()
    cancelled.set()
    with work.going_on(work.Work(cancelled)), pytest.raises(Cancelled), readable(moving):
        pass


@pytest.mark.parametrize("ending", [".webp", ".avif", ".heic"])
def test_damage_of_any_kind_is_damage(tmp_path: Path, ending: str) -> None:
    make = make_heic if ending == ".heic" else make_animation
    whole, path, chance = make(tmp_path / f"whole{ending}").read_bytes(), tmp_path / "damaged", random.Random(1)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 3, 10))):
            data[chance.randrange(min(len(data), 600))] = chance.choice((0, 0xFF, chance.randrange(256)))
        path.write_bytes(data if chance.random() < 0.7 else data[: chance.randrange(len(data))])
        try:
            seen = probe(SourceFile.of(path, name="x", key="x"), options=Options(), limits=MediaLimits())
            if seen.media == "video":
                FrameExtractor(FrameExtractionSettings()).extract(path, tmp_path / "frames", k=5)
        except InvalidInput:
            refused += 1
    assert refused > 30
