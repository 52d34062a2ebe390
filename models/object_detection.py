"""`object_detection`: what is seen in each frame, by YOLOv9 (arXiv:2402.13616) through ultralytics.

ultralytics is AGPL-3.0, its weights included. On its own it looks for the network when imported, reports usage, installs
packages, keeps settings in the user's home and runs whatever a checkpoint holds; `import_ultralytics` is the one door to it and
turns all of that off.
"""

import functools
import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from PIL import Image
from pydantic import Field

from models import work
from models.device import Device, torch_device
from models.errors import ModelUnavailable
from models.picture import read_picture
from models.record import Box, DetectedObject, FrameObjects
from models.schema import ModuleSettings
from models.weights import OneFile, Published, digest, find

PUBLISHED = ("yolov9t.pt", "yolov9s.pt", "yolov9m.pt", "yolov9c.pt", "yolov9e.pt")
"""Weights trained on COCO (80 labels) that ultralytics publishes; 2, 7, 20, 26 and 58 million parameters."""
RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
"""Where: the release that the pinned version of ultralytics takes them from."""

_WITHOUT_HABITS = {
    "YOLO_OFFLINE": "1",  # no look-ups, no usage reports
    "YOLO_AUTOINSTALL": "0",
    "ULTRALYTICS_SKIP_REQUIREMENTS_CHECKS": "1",
    "ULTRALYTICS_SAFE_LOAD": "1",  # a checkpoint is a pickle; only tensors and known layers come out of it
    "YOLO_VERBOSE": "0",
}


class ObjectDetectionSettings(ModuleSettings):
    """YOLOv9, any size."""

    kind: Literal["yolov9"] = "yolov9"
    weights: str = Field("yolov9c.pt", min_length=1)
    """A published name (yolov9t.pt, yolov9s.pt, yolov9m.pt, yolov9c.pt, yolov9e.pt), fetched once, or the path of an own
    checkpoint, which is never fetched. c is about a second per frame on one CPU core; e finds a little more, at twice that."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Of the file, in hex: another file is not opened. Ultralytics publishes none; `weights.json` and every record have that of
    the file that was fetched."""
    confidence: float = Field(0.25, ge=0.01, le=1)
    """Lowest score of an object that counts."""
    image_size: int = Field(640, ge=64, le=2048, multiple_of=32)
    """Long side of the picture as the model sees it, pixels."""
    batch_size: int = Field(8, ge=1, le=256)
    """Frames per call of the model."""
    device: Device = "auto"

    tuning: ClassVar = frozenset({"batch_size", "sha256"})

    def published(self) -> tuple[Published, ...]:
        """The file of that name, unless it is a path."""
        if self.weights not in PUBLISHED:
            return ()
        return (OneFile(f"ultralytics/{self.weights}", f"{RELEASE}/{self.weights}", self.sha256),)


class ObjectDetector:
    """A loaded YOLOv9. Half precision on a GPU."""

    licence: str | None = "AGPL-3.0"

    def __init__(self, network: Any, settings: ObjectDetectionSettings, *, model: str, device: str) -> None:
        self.model = model
        self.device = device
        self.confidence = settings.confidence
        self._network = network
        self._settings = settings

    @classmethod
    def load(cls, settings: ObjectDetectionSettings) -> Self:
        """Load the weights and run them once. Raises ModelUnavailable when they cannot be had or do not work."""
        weights = _find_weights(settings)  # first: a path that is wrong is known before seconds of imports
        sha256 = digest(weights)
        if settings.sha256 not in (None, sha256):
            raise ModelUnavailable(
                f"{weights} is not the file that is asked for: its SHA-256 is {sha256}, not {settings.sha256}"
            )
        device = torch_device(settings.device)
        ultralytics = import_ultralytics()
        import torch

        threads = torch.get_num_threads()
        try:
            network = ultralytics.YOLO(str(weights), task="detect", verbose=False)
            model = f"{weights.name} sha256:{sha256[:12]}"
            detector = cls(network, settings, model=model, device=device)
            detector._predict([Image.new("RGB", (settings.image_size, settings.image_size))])
        except Exception as error:
            raise ModelUnavailable(f"{weights} is no YOLOv9 checkpoint that can be run: {error}") from error
        finally:
            torch.set_num_threads(threads)  # the first prediction sets it for the whole process
        if network.task != "detect":
            raise ModelUnavailable(
                f"{weights} was trained to {network.task}; object_detection needs one trained to detect"
            )
        return detector

    def detect(self, images: Sequence[Path]) -> list[FrameObjects]:
        """What is in each image, in the images' order; `frame` is the position in `images`.

        Boxes are in the pixels of the image, upright as a viewer shows it, and lie within it. Raises DamagedMedia.
        """
        found: list[FrameObjects] = []
        batch = work.batch_size(self._settings.batch_size)
        for start in range(0, len(images), batch):
            work.step(start, len(images))
            pictures = [read_picture(path) for path in images[start : start + batch]]
            for picture, result in zip(pictures, self._predict(pictures), strict=True):
                found.append(_frame_objects(len(found), picture.size, result))
        return found

    def _predict(self, pictures: Sequence[Image.Image]) -> list[Any]:
        # ultralytics takes arrays as BGR, and a list of them as one batch.
        frames = [np.ascontiguousarray(np.asarray(picture)[..., ::-1]) for picture in pictures]
        precision = {"quantize": 16} if self.device != "cpu" else {}
        return list(
            self._network.predict(
                frames,
                conf=self.confidence,
                imgsz=self._settings.image_size,
                device=self.device,
                verbose=False,
                **precision,
            )
        )


@functools.cache
def import_ultralytics() -> Any:
    """The ultralytics package with its habits off: no network but for weights asked for, no reports, no installs, no file at home.

    torch is imported first and OMP_NUM_THREADS put back, because ultralytics sets it to 1 for the whole process and its children;
    and so is `PIL.Image.open`, in whose place it puts a function that wants to install a package for files that are no pictures.
    """
    import torch  # noqa: F401

    opener = Image.open
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "YOLO_CONFIG_DIR")}
    # It writes a settings file when imported and at every change of a setting: both happen here, and then the file goes.
    with tempfile.TemporaryDirectory(prefix="ultralytics-") as folder:
        os.environ.update(_WITHOUT_HABITS, YOLO_CONFIG_DIR=folder)
        import ultralytics
        from ultralytics.nn import tasks

        ultralytics.settings.update({"sync": False})
        tasks.SAFE_LOAD = True  # also if somebody imported the package before
    Image.open = opener
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    return ultralytics


def _find_weights(settings: ObjectDetectionSettings) -> Path:
    if settings.weights not in PUBLISHED:
        path = Path(settings.weights).expanduser()
        # Given a path that is not there, or with an apostrophe, ultralytics would go and look for it on the network.
        if not path.is_file() or "'" in str(path):
            raise ModelUnavailable(
                f"there is no YOLOv9 checkpoint at {path}; "
                f"weights is the path of one (without apostrophes) or one of {', '.join(PUBLISHED)}"
            )
        return path.absolute()  # not resolved: in a cache of links only the link has the name
    (published,) = settings.published()
    return find(published)


def _frame_objects(frame: int, size: tuple[int, int], result: Any) -> FrameObjects:
    width, height = size
    rows: Iterable[tuple[list[float], float, float]] = zip(
        result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), result.boxes.cls.tolist(), strict=True
    )
    objects = [
        DetectedObject(
            label=str(result.names[int(label)]),
            score=min(score, 1),
            box=Box(
                x0=min(max(x0, 0), width),
                y0=min(max(y0, 0), height),
                x1=min(max(x1, 0), width),
                y1=min(max(y1, 0), height),
            ),
        )
        for (x0, y0, x1, y1), score, label in rows
    ]
    objects.sort(key=lambda found: found.score, reverse=True)
    return FrameObjects(frame=frame, width=width, height=height, objects=tuple(objects))
