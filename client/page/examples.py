"""The page's examples, for people who have no file at hand: silent films and pictures.

`python -m client.page.examples` draws them anew, which needs the service's libraries; offering them needs none.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from client.page.drawing import Array
    from client.page.scenery import Moving

FOLDER = Path(__file__).parent / "static" / "examples"
FRAME_RATE = 25
FILM, PICTURE, THUMBNAIL = (640, 360), (1280, 720), (320, 180)  # pixels


class Example(TypedDict):
    """One of them, as `<iv-intake examples="…">` reads it."""

    name: str
    url: str
    picture: str
    """Address of a small picture of it."""


def _example(name: str, file: str) -> Example:
    root = "studio/static/examples"  # relative: the page may stand under a path
    return {"name": name, "url": f"{root}/{file}", "picture": f"{root}/{file.partition('.')[0]}-small.jpg"}


EXAMPLES: dict[Literal["video", "image"], list[Example]] = {
    "video": [_example("Sea at dusk", "sea.mp4"), _example("Hills, then the sea", "two-scenes.mp4")],
    "image": [_example("A fire by night", "fire.jpg"), _example("Morning over hills", "hills.jpg")],
}


def draw(folder: Path = FOLDER) -> None:
    """Write all of them: films of 640×360 in H.264 without sound, pictures of 1280×720."""
    from client.page.scenery import Fire, Hills, Sea

    folder.mkdir(parents=True, exist_ok=True)
    hills, sea, fire = Hills(*PICTURE).at(2.4), Sea(*PICTURE).at(1.0), Fire(*PICTURE).picture()
    both = hills.copy()
    both[:, PICTURE[0] // 2 :] = sea[:, PICTURE[0] // 2 :]
    _film(folder / "sea.mp4", [Sea(*FILM)], seconds=8)
    _film(folder / "two-scenes.mp4", [Hills(*FILM), Sea(*FILM)], seconds=5)
    _picture(folder / "fire.jpg", fire)
    _picture(folder / "hills.jpg", hills)
    for name, picture in {"sea": sea, "two-scenes": both, "fire": fire, "hills": hills}.items():
        _picture(folder / f"{name}-small.jpg", picture, size=THUMBNAIL)


def _film(path: Path, scenes: "list[Moving]", *, seconds: int) -> None:
    """One scene after the other, each for so many seconds."""
    import av

    from client.page.drawing import pixels

    with av.open(path, "w", options={"movflags": "+faststart"}) as container:
        options = {"preset": "veryslow", "crf": "27", "aq-mode": "3"}
        stream = container.add_stream("libx264", rate=FRAME_RATE, options=options)
        (stream.width, stream.height), stream.pix_fmt = FILM, "yuv420p"
        for index, picture in enumerate(_pictures(scenes, seconds)):
            frame = av.VideoFrame.from_ndarray(pixels(picture), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAME_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _pictures(scenes: "list[Moving]", seconds: int) -> "Iterator[Array]":
    for scene in scenes:
        for index in range(seconds * FRAME_RATE):
            yield scene.at(index / FRAME_RATE)


def _picture(path: Path, picture: "Array", *, size: tuple[int, int] | None = None) -> None:
    from PIL import Image

    from client.page.drawing import pixels

    image = Image.fromarray(pixels(picture))
    if size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    image.save(path, quality=84, optimize=True, progressive=True)


if __name__ == "__main__":
    draw()
