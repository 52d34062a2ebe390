"""Pictures from disk, as every vision model wants them."""

from pathlib import Path

from PIL import Image

from models.errors import DamagedMedia, InputTooLarge
from models.file_signatures import HEAD_BYTES, is_avif, is_heic, is_webp

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")
"""What Pillow may read here; it has readers that start other programs."""

WHOLE_FILE_BYTES = 256 * 2**20
"""Largest file of a format that Pillow's readers take into memory as a whole."""

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


def open_image(path: Path) -> Image.Image:
    """Open an image file with Pillow. Raises as `PIL.Image.open` does, and InputTooLarge for a file that does not fit in memory."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    size = path.stat().st_size
    if size > WHOLE_FILE_BYTES and (is_webp(head) or is_avif(head) or is_heic(head)):
        raise InputTooLarge(f"it is an image of {size} bytes; at most {WHOLE_FILE_BYTES} are allowed in its format")
    return Image.open(path, formats=(*IMAGE_FORMATS, _heif()) if is_heic(head) else IMAGE_FORMATS)


def over_black(image: Image.Image) -> Image.Image:
    """The image as RGB, transparency over black."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown).convert("RGB")


def _heif() -> str:
    """The name of Pillow's reader of HEIC, which is not Pillow's own."""
    from pillow_heif import HeifImageFile, register_heif_opener

    # The picture alone: not what else the file has. Of a picture with more than 8 bits, the upper 8. It comes upright.
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return HeifImageFile.format


def read_picture(path: Path) -> Image.Image:
    """An image file as RGB, upright: rotated as its EXIF data say, transparency over black, the first of several images.

    Raises DamagedMedia when the file is not an image, or one that is cut short.
    """
    try:
        with open_image(path) as opened:
            opened.load()
            # Not `ImageOps.exif_transpose`: it writes all of the EXIF data anew, and stumbles over tags that nobody asked for.
            turn = _UPRIGHT.get(opened.getexif().get(ORIENTATION, 1))
            upright: Image.Image = opened if turn is None else opened.transpose(turn)
            if upright.mode.startswith("I;16"):
                upright = upright.convert("I").point(lambda value: value / 256)  # Pillow's conversion cuts off at 255
            return over_black(upright)
    except (FileNotFoundError, MemoryError, InputTooLarge):
        raise
    except Exception as error:  # Pillow's readers stumble over a stranger's bytes in any way there is
        reason = str(error).replace(str(path), path.name)  # some name the file as it is called on this machine
        raise DamagedMedia(f"{path.name} cannot be read as a picture: {reason}") from error
