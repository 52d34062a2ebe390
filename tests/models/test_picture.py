"""Pictures as the vision modules get them."""

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import DamagedMedia
from models.picture import read_picture
from models.record import Options
from models.video_input import MediaLimits, SourceFile, probe
from tests import media_factory


def _exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of raw entries: (tag, type, count, four bytes of value)."""
    body = b"".join(struct.pack(">HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + body + b"\0\0\0\0"


ROTATED = (0x0112, 3, 1, struct.pack(">HH", 6, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_and_as_large_as_it_was_said_to_be(tmp_path: Path, orientation: int) -> None:
    image = media_factory.make_image(tmp_path / "a.jpg", orientation=orientation, size=(80, 40))
    seen = probe(SourceFile.of(image, name="a.jpg", key="a"), options=Options(), limits=MediaLimits())
    upright = read_picture(image)
    assert upright.size == (seen.width, seen.height)
    assert upright.size == ((40, 80) if orientation >= 5 else (80, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phones_picture_is_as_upright_as_a_cameras(tmp_path: Path, orientation: int) -> None:
    camera = media_factory.make_image(tmp_path / "a.png", orientation=orientation, size=(80, 40), number=3)
    phone = media_factory.make_heic(tmp_path / "a.heic", orientation=orientation, size=(80, 40), numbers=(3,))
    there, here = np.asarray(read_picture(camera), np.int16), np.asarray(read_picture(phone), np.int16)
    assert there.shape == here.shape == ((80, 40, 3) if orientation >= 5 else (40, 80, 3))
    assert np.abs(there - here).mean() < 3


def test_of_several_pictures_in_a_heic_the_first_is_read(tmp_path: Path) -> None:
    live = media_factory.make_heic(tmp_path / "live.heic", numbers=(7, 8, 9))
    assert media_factory.frame_number(read_picture(live)) == 7


def test_a_heic_of_ten_bits_has_the_brightness_of_one_of_eight(tmp_path: Path) -> None:
    import pillow_heif

    ramp = np.repeat(np.linspace(0, 65472, 64)[None, :, None], 48, axis=0).repeat(3, axis=2).astype(np.uint16)
    pillow_heif.from_bytes("RGB;16", (64, 48), ramp.tobytes()).save(tmp_path / "a.heic", quality=95)
    assert pillow_heif.open_heif(tmp_path / "a.heic", convert_hdr_to_8bit=False).info["bit_depth"] == 10
    seen = np.asarray(read_picture(tmp_path / "a.heic"), np.int16)
    assert np.abs(seen[24, :, 1] - np.linspace(0, 255, 64)).max() < 4


def test_nothing_that_reads_heic_is_loaded_until_there_is_one() -> None:
    program = "import sys, models.video_input, models.picture; sys.exit('pillow_heif' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "strange",
    [
        (0x011A, 7, 4, b"\1\2\3\4"),  # XResolution of no type
        (0x0111, 2, 4, b"abc\0"),  # StripOffsets in letters
        (0x9003, 11, 1, struct.pack(">f", 1.5)),  # a date that is a float
        (0x011A, 9, 1, struct.pack(">i", -72)),  # a negative resolution
    ],
)
def test_tags_that_nobody_asked_for_do_not_matter(tmp_path: Path, strange: tuple[int, int, int, bytes]) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(media_factory.numbered_picture(3, size=(80, 40))).save(path, exif=_exif(ROTATED, strange))
    probe(SourceFile.of(path, name="a.jpg", key="a"), options=Options(), limits=MediaLimits())
    assert read_picture(path).size == (40, 80)


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 255, 255, 0)).save(tmp_path / "a.png")
    assert np.asarray(read_picture(tmp_path / "a.png")).max() == 0


def test_formats_that_are_not_accepted_are_not_read_either(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(DamagedMedia, match=r"a\.jpg"):
        read_picture(tmp_path / "a.jpg")


def test_what_is_said_of_a_file_does_not_say_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(DamagedMedia, match="cannot be read") as refused:
        read_picture(tmp_path / "a.jpg")
    assert str(tmp_path) not in str(refused.value)
