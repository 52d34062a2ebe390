"""Pictures from disk, as every vision model wants them."""

from pathlib import Path

from PIL import Image

from models.errors import DamagedMedia

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""What Pillow may read here; it has readers that start other programs."""

ORIENTATION = 0x0112  # EXIF
QUARTER_TURNS = (5, 6, 7, 8)
"""Orientations in which width and height change places."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(path: Path) -> Image.Image:
    """An image file as RGB, upright: rotated as its EXIF data say, transparency over black, the first of several images.

    Raises DamagedMedia when the file is not an image, or one that is cut short.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as opened:
            opened.load()
            # Not `ImageOps.exif_transpose`: it writes all of the EXIF data anew, and stumbles over tags that nobody asked for.
            turn = _UPRIGHT.get(opened.getexif().get(ORIENTATION, 1))
            upright: Image.Image = opened if turn is None else opened.transpose(turn)
            if upright.mode.startswith("I;16"):
                upright = upright.convert("I").point(lambda value: value / 256)  # Pillow's conversion cuts off at 255
            if upright.has_transparency_data:
                shown = upright.convert("RGBA")
                return Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown).convert("RGB")
            return upright.convert("RGB")
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers stumble over a stranger's bytes in any way there is
        reason = str(error).replace(str(path), path.name)  # some name the file as it is called on this machine
        raise DamagedMedia(f"{path.name} cannot be read as a picture: {reason}") from error
