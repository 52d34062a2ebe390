import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from models.errors import DamagedMedia, MissingOutput, ModelUnavailable
from models.frame_selection import FrameSelectionSettings, FrameSelector, input_size
from tests.media_factory import Photograph, panned, photograph
from tests.toys.vision import make_resnet18


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_resnet18(tmp_path_factory.mktemp("resnet18"))


@pytest.fixture(scope="module")
def selector(weights: Path) -> FrameSelector:
    """Small frames, so that a test takes no time."""
    return FrameSelector.load(FrameSelectionSettings(weights=weights, side=64, batch_size=2, device="cpu"))


def pictures(folder: Path, *colours: str | int, size: tuple[int, int] = (128, 72)) -> list[Path]:
    """One image per colour, or per seed of noise."""
    paths = [folder / f"{place}.png" for place in range(len(colours))]
    for path, colour in zip(paths, colours, strict=True):
        if isinstance(colour, str):
            Image.new("RGB", size, colour).save(path)
        else:
            noise = np.random.default_rng(colour).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
    return paths


def test_a_16_to_9_frame_has_the_papers_latent(weights: Path, tmp_path: Path) -> None:
    selector = FrameSelector.load(FrameSelectionSettings(weights=weights, device="cpu"))
    chosen = selector.select(pictures(tmp_path, "gray", size=(1280, 720)))
    assert (chosen.index, chosen.latent_shape) == (0, (512, 16, 29))


@pytest.mark.parametrize(
    ("frame", "seen"),
    [
        ((1280, 720), (910, 512)),
        ((3840, 2160), (910, 512)),
        ((720, 1280), (512, 910)),
        ((640, 480), (682, 512)),
        ((500, 500), (512, 512)),
        ((1, 1), (512, 512)),
        ((4000, 3), (2048, 512)),
    ],
    ids=str,
)
def test_the_short_side_is_given_and_the_long_one_bounded(frame: tuple[int, int], seen: tuple[int, int]) -> None:
    assert input_size(*frame, side=512) == seen


@pytest.mark.parametrize("size", [(128, 72), (72, 128), (100, 100), (7, 400), (1, 1)], ids=str)
def test_frames_of_any_shape_can_be_selected_from(
    selector: FrameSelector, tmp_path: Path, size: tuple[int, int]
) -> None:
    chosen = selector.select(pictures(tmp_path, 1, 2, "red", size=size))
    assert chosen.index in range(3)
    assert chosen.latent_shape[0] == 512
    assert (chosen.latent_shape[1] < chosen.latent_shape[2]) == (size[0] > size[1])


def test_a_scene_that_most_frames_show_wins(selector: FrameSelector, tmp_path: Path) -> None:
    scene = pictures(tmp_path, 5)[0]
    frames = []
    for place in range(6):  # the same scene in changing light
        frames.append(tmp_path / f"scene{place}.png")
        Image.open(scene).point(lambda level, dim=1 - place / 50: int(level * dim)).save(frames[-1])
    (tmp_path / "others").mkdir()
    others = pictures(tmp_path / "others", "white", 6, "black")
    for place, other in zip((0, 3, 8), others, strict=True):
        frames.insert(place, other)
    assert frames[selector.select(frames).index] not in others


def test_how_frames_are_batched_does_not_matter(weights: Path, tmp_path: Path) -> None:
    frames = pictures(tmp_path, 1, 2, "red", 3, "white")
    selectors = [
        FrameSelector.load(FrameSelectionSettings(weights=weights, side=64, batch_size=size, device="cpu"))
        for size in (1, 2, 16)
    ]
    single, pairs, whole = (selector.select(frames) for selector in selectors)
    assert single == pairs == whole
    read = [Image.open(path) for path in frames]
    one_by_one = np.concatenate([selectors[0]._latents([picture], (113, 64)) for picture in read])
    np.testing.assert_allclose(selectors[0]._latents(read, (113, 64)), one_by_one, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("frames", [("red",), ("red", "blue"), ("red", "red", "red")], ids=len)
def test_one_two_or_identical_frames_give_one_of_them(
    selector: FrameSelector, tmp_path: Path, frames: tuple[str, ...]
) -> None:
    paths = pictures(tmp_path, *frames)
    chosen = [selector.select(paths).index for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert chosen[0] in range(len(frames))


def test_a_frame_of_another_shape_is_fitted_to_the_first(selector: FrameSelector, tmp_path: Path) -> None:
    first, second = pictures(tmp_path, 1, 2)
    Image.open(second).resize((50, 90)).save(second)
    (alone, both) = (selector.select([first]), selector.select([first, second]))
    assert both.latent_shape == alone.latent_shape


def test_each_scene_has_a_frame_of_its_own(selector: FrameSelector, tmp_path: Path) -> None:
    shots: dict[Photograph, int] = {"china": 4, "bus": 3, "flower": 6}
    frames = []
    for name, count in shots.items():
        for place, picture in enumerate(panned(photograph(name), frames=count, share=0.1)):
            frames.append(tmp_path / f"{name}{place}.png")
            Image.fromarray(picture).save(frames[-1])
    for scenes in ("auto", 3):
        chosen = selector.select(frames, scenes=scenes)
        assert [scene.first for scene in chosen.scenes] == [0, 4, 7]
        assert chosen.index == chosen.scenes[0].index
        alone = [selector.select(frames[first:end]).index for first, end in ((0, 4), (4, 7), (7, 13))]
        assert [scene.index - scene.first for scene in chosen.scenes] == alone
    whole = selector.select(frames)
    assert whole.scenes == selector.select(frames, scenes=1).scenes
    assert [scene.first for scene in whole.scenes] == [0]


def test_no_frames_are_refused(selector: FrameSelector) -> None:
    with pytest.raises(MissingOutput, match="no frame"):
        selector.select([])


def test_a_frame_that_is_no_picture_is_damaged_media(selector: FrameSelector, tmp_path: Path) -> None:
    (tmp_path / "frame.jpg").write_text("<html>")
    with pytest.raises(DamagedMedia, match=r"frame\.jpg"):
        selector.select([tmp_path / "frame.jpg"])


def test_the_record_can_tell_which_weights_were_used(selector: FrameSelector) -> None:
    assert selector.model.startswith("resnet18 toy_resnet18.pth sha256:")
    assert (selector.device, selector.licence) == ("cpu", None)


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", "another model", "a list"])
def test_weights_that_are_not_a_resnet18s_are_refused(tmp_path: Path, content: bytes | str | None) -> None:
    import torch

    path = tmp_path / "own.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save({"conv1.weight": torch.zeros(1)} if content == "another model" else [1, 2], path)
    with pytest.raises(ModelUnavailable, match=r"own\.pth"):
        FrameSelector.load(FrameSelectionSettings(weights=path))


def test_published_weights_that_cannot_be_fetched_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("no network")

    monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("httpx.stream", no_network)
    with pytest.raises(ModelUnavailable, match=r"resnet18-.*\.pth cannot be fetched: no network"):
        FrameSelector.load(FrameSelectionSettings())


def test_a_file_that_is_not_the_published_one_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path
) -> None:
    monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", str(tmp_path))
    (tmp_path / "torchvision").mkdir()
    shutil.copy(weights, tmp_path / "torchvision" / "resnet18-f37072fd.pth")
    with pytest.raises(ModelUnavailable, match=r"came damaged: .* that of what was published is f37072fd"):
        FrameSelector.load(FrameSelectionSettings())


def test_the_published_file_is_loaded_and_named_by_its_training(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr("models.frame_selection.find", lambda published: weights)
    assert FrameSelector.load(FrameSelectionSettings(device="cpu")).model == "resnet18 IMAGENET1K_V1"
