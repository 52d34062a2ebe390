"""A still image as a picture that a film can be made of."""

from pathlib import Path

import ffmpeg
from PIL import Image

from models.containers import PictureCodec


def fitted(image: Image.Image, long_side: int) -> Image.Image:
    """The image with even sides, the longer at most `long_side`: scaled if it is larger, else short of a row or column."""
    scale = min(1.0, long_side / max(image.size))
    if scale < 1:
        width, height = (max(2, 2 * round(side * scale / 2)) for side in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS)
    width, height = (side - side % 2 for side in image.size)
    if min(width, height) < 2:
        return image.resize((max(2, width), max(2, height)))
    return image.crop((0, 0, width, height))


def shown(
    size: tuple[int, int], *, path: Path, frames: int, rate: int, codec: PictureCodec
) -> ffmpeg.nodes.OutputStream:
    """An mp4 at `path` that shows the image on stdin, RGB of this size, for `frames` frames at `rate` a second: one keyframe."""
    still = (
        ffmpeg.input("pipe:", format="rawvideo", pixel_format="rgb24", video_size=size, framerate=rate)
        .filter("loop", loop=frames - 1, size=1)
        .filter("scale", out_color_matrix="bt709", out_range="tv")
        .filter("format", "yuv420p")
    )
    bt709 = dict.fromkeys(("colorspace", "color_primaries", "color_trc"), "bt709")
    return ffmpeg.output(
        still, f"file:{path}", format="mp4", g=frames, color_range="tv", **bt709, **codec.still_options
    )
