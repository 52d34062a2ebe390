import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.errors import DamagedMedia, ModelUnavailable
from models.object_detection import ObjectDetectionSettings, ObjectDetector
from tests.toys.vision import make_yolov9

SIZES = [(640, 360), (64, 48), (200, 300), (1280, 720), (31, 500)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_yolov9(tmp_path_factory.mktemp("yolov9"))


@pytest.fixture(scope="module")
def detector(weights: Path) -> ObjectDetector:
    return ObjectDetector.load(ObjectDetectionSettings(weights=str(weights), batch_size=2, device="cpu"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{place}.png" for place in range(len(SIZES))]
    for path, size in zip(paths, SIZES, strict=True):
        Image.radial_gradient("L").resize(size).convert("RGB").save(path)
    return paths


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every name that somebody wants to look up on the network, which this takes away."""
    asked: list[Any] = []

    def no_network(host: Any, *_: Any, **__: Any) -> None:
        asked.append(host)
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    return asked


def test_objects_come_best_first_with_boxes_inside_the_frame(detector: ObjectDetector, images: list[Path]) -> None:
    for frame, size in zip(detector.detect(images), SIZES, strict=True):
        assert (frame.width, frame.height) == size
        assert {found.label for found in frame.objects} == {"person", "dog"}
        scores = [found.score for found in frame.objects]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= detector.confidence
        for found in frame.objects:
            assert 0 <= found.box.x0 < found.box.x1 <= frame.width
            assert 0 <= found.box.y0 < found.box.y1 <= frame.height


def test_a_batch_finds_what_single_images_find_in_their_order(detector: ObjectDetector, images: list[Path]) -> None:
    together = detector.detect(images)
    assert [frame.frame for frame in together] == list(range(len(images)))
    for path, frame in zip(images, together, strict=True):
        (alone,) = detector.detect([path])
        assert (alone.width, alone.height) == (frame.width, frame.height)
        assert {found.label for found in alone.objects} == {found.label for found in frame.objects}


def test_no_images_give_no_frames(detector: ObjectDetector) -> None:
    assert detector.detect([]) == []


def test_objects_below_the_confidence_are_left_out(weights: Path, images: list[Path]) -> None:
    strict = ObjectDetector.load(ObjectDetectionSettings(weights=str(weights), confidence=0.45, device="cpu"))
    assert {found.label for found in strict.detect(images[:1])[0].objects} == {"person"}


def test_the_network_sees_red_as_red(detector: ObjectDetector, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    seen: list[Any] = []
    watch = detector._network.predictor.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    detector.detect([tmp_path / "red.png"])
    watch.remove()
    red, green, blue = (float(channel.max()) for channel in seen[0][0])
    assert red == pytest.approx(1)
    assert max(green, blue) < 0.5  # the grey margin that fills the frame up is darker than that


def test_the_record_can_tell_which_weights_were_used(detector: ObjectDetector, weights: Path) -> None:
    assert detector.model.startswith("toy_yolov9t.pt sha256:")
    assert (detector.device, detector.licence) == ("cpu", "AGPL-3.0")


def test_a_picture_is_seen_upright(detector: ObjectDetector, tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: shown turned by a quarter
    Image.new("RGB", (120, 80)).save(tmp_path / "phone.jpg", exif=turned)
    (frame,) = detector.detect([tmp_path / "phone.jpg"])
    assert (frame.width, frame.height) == (80, 120)


def test_a_transparent_picture_works(detector: ObjectDetector, tmp_path: Path) -> None:
    Image.new("RGBA", (90, 60), (255, 0, 0, 0)).save(tmp_path / "logo.png")
    assert len(detector.detect([tmp_path / "logo.png"])) == 1


def test_a_picture_that_is_cut_short_is_damaged_media(
    detector: ObjectDetector, images: list[Path], tmp_path: Path
) -> None:
    whole = images[0].read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedMedia, match=r"half\.png"):
        detector.detect([tmp_path / "half.png"])


def test_a_file_that_is_no_picture_is_damaged_media(detector: ObjectDetector, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(DamagedMedia, match=r"page\.jpg"):
        detector.detect([tmp_path / "page.jpg"])


def test_a_path_that_is_missing_is_refused_and_never_fetched(tmp_path: Path, lookups: list[Any]) -> None:
    with pytest.raises(ModelUnavailable, match="no YOLOv9 checkpoint at"):
        ObjectDetector.load(ObjectDetectionSettings(weights=str(tmp_path / "models" / "yolov9e.pt")))
    assert lookups == []
    assert list(tmp_path.iterdir()) == []


def test_published_weights_that_cannot_be_fetched_are_refused(
    tmp_path: Path, lookups: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"/v8\.4\.0/yolov9t\.pt cannot be fetched"):
        ObjectDetector.load(ObjectDetectionSettings(weights="yolov9t.pt"))
    assert len(lookups) > 0
    assert list((tmp_path / "ultralytics").iterdir()) == []


def test_published_weights_that_are_there_are_not_fetched_again(
    weights: Path, tmp_path: Path, lookups: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ultralytics").mkdir()
    (tmp_path / "ultralytics" / "yolov9t.pt").write_bytes(weights.read_bytes())
    monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path))
    detector = ObjectDetector.load(ObjectDetectionSettings(weights="yolov9t.pt", device="cpu"))
    assert detector.model.startswith("yolov9t.pt sha256:")
    assert lookups == []


def test_another_file_than_the_pinned_one_is_not_opened(weights: Path) -> None:
    settings = ObjectDetectionSettings(weights=str(weights), sha256="0" * 64, device="cpu")
    with pytest.raises(
        ModelUnavailable, match=r"is not the file that is asked for: its SHA-256 is [0-9a-f]{64}, not 0{64}"
    ):
        ObjectDetector.load(settings)


class _Hostile:
    """Once unpickled, makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    import torch

    torch.save({"model": _Hostile(tmp_path / "broken_in")}, tmp_path / "own.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Hostile(tmp_path / "broken_in")))
    for name in ("own.pt", "plain.pt"):
        with pytest.raises(ModelUnavailable, match=name):
            ObjectDetector.load(ObjectDetectionSettings(weights=str(tmp_path / name)))
    assert not (tmp_path / "broken_in").exists()


WATCHED = """
import json, os, sys
from pathlib import Path

events = []
sys.addaudithook(lambda event, arguments: events.append(event))

from models.object_detection import ObjectDetectionSettings, ObjectDetector
import torch

torch.set_num_threads(3)
detector = ObjectDetector.load(ObjectDetectionSettings(weights=sys.argv[1], device="cpu"))
objects = detector.detect([Path(sys.argv[2])] * 2)[1].objects
reached = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"} & set(events)
print(json.dumps({
    "found": len(objects), "network": sorted(reached), "threads": torch.get_num_threads(),
    "left_in_environment": sorted({"OMP_NUM_THREADS", "YOLO_CONFIG_DIR"} & set(os.environ)),
}))
"""


def test_detecting_reaches_no_network_and_leaves_home_threads_and_environment_alone(
    weights: Path, images: list[Path], tmp_path: Path
) -> None:
    """In a process of its own: ultralytics keeps still when it sees that pytest is running."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    ours = ("OMP_NUM_THREADS", "YOLO_", "ULTRALYTICS_", "XDG_", "MPL", "PYTEST", "TORCH_HOME", "IMMERSIVAUDIO_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment |= {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(weights), str(images[0])],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.pop("found") > 0
    assert told == {"network": [], "threads": 3, "left_in_environment": []}
    assert sorted(home.rglob("*")) == []
    assert sorted(folder.rglob("*")) == []
