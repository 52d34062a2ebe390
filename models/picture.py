"""Pictures from disk, as every vision model wants them."""

from pathlib import Path

from PIL import Image, ImageOps

from models.errors import DamagedMedia


def read_picture(path: Path) -> Image.Image:
    """An image file as RGB, upright: rotated as its EXIF data say, transparency over black, the first of several images.

    Raises DamagedMedia when the file is not an image, or one that is cut short.
    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode.startswith("I;16"):
                upright = upright.convert("I").point(lambda value: value / 256)  # Pillow's conversion cuts off at 255
            if upright.has_transparency_data:
                shown = upright.convert("RGBA")
                return Image.alpha_composite(Image.new("RGBA", shown.size, "black"), shown).convert("RGB")
            return upright.convert("RGB")
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's three ways to say so
        raise DamagedMedia(f"{path.name} cannot be read as a picture: {error}") from error
