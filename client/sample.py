"""The sample: a silent video of two scenes, made of the photographs that ship with scikit-learn.

The camera moves slowly over a pavilion above a lake, then, after a hard cut, away from a flower.
"""

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 960, 540  # pixels
FRAME_RATE = 25
SCENE_SECONDS = 6


class _View(NamedTuple):
    """What the camera sees of a photograph, each as a fraction of it: the centre, and the width."""

    x: float
    y: float
    width: float


# Photograph, first view, last view. At 16:9 on a 3:2 photograph, a width up to 1 fits.
_SCENES = (
    ("china.jpg", _View(0.44, 0.55, 0.80), _View(0.51, 0.50, 0.70)),
    ("flower.jpg", _View(0.54, 0.50, 0.68), _View(0.48, 0.52, 0.84)),
)


def build_sample(path: Path) -> None:
    """Write the sample: 12 s, 960×540, 25 fps, H.264 in the container that the path's ending names, no sound.

    Raises FileNotFoundError when scikit-learn isn't installed.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FRAME_RATE, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index, picture in enumerate(_pictures()):
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _pictures() -> Iterator["Image"]:
    from PIL import Image

    count = SCENE_SECONDS * FRAME_RATE
    for name, first, last in _SCENES:
        with Image.open(_photographs() / name) as photograph:
            photograph.load()
        for index in range(count):
            # Smoothstep: the camera starts and stops without a jerk.
            part = index / (count - 1)
            eased = part * part * (3 - 2 * part)
            view = _View(*(a + (b - a) * eased for a, b in zip(first, last, strict=True)))
            # The box is fractional, so that the slow movement doesn't jump from pixel to pixel.
            yield photograph.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=_box(photograph.size, view))


def _box(size: tuple[int, int], view: _View) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the view, in pixels of the photograph, at the sample's aspect ratio."""
    width = view.width * size[0]
    height = width * HEIGHT / WIDTH
    left, top = view.x * size[0] - width / 2, view.y * size[1] - height / 2
    return left, top, left + width, top + height


def _photographs() -> Path:
    # Importing scikit-learn takes seconds, and only its folder is wanted.
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise FileNotFoundError("the sample is made of photographs that ship with scikit-learn, which isn't installed")
    return Path(found.origin).parent / "datasets" / "images"
