"""The examples as they are shipped: small, silent, and of something that a sound can be made for."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from client.page.examples import EXAMPLES, FOLDER
from client.page.scenery import Fire, Hills, Sea
from models.sketch.scene import SceneDetector, SketchSceneSettings

DETECTOR = SceneDetector.load(SketchSceneSettings())


def labels(path: Path) -> set[str]:
    (found,) = DETECTOR.detect([path])
    return {thing.label for thing in found.objects}


def frames_of(film: Path, folder: Path, every: int = 40) -> list[Path]:
    paths = []
    with av.open(film) as container:
        assert not container.streams.audio
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == 0:
                paths.append(folder / f"{index}.png")
                frame.to_image().save(paths[-1])
    return paths


def test_what_is_offered_is_there_and_small() -> None:
    offered = [example for kind in EXAMPLES.values() for example in kind]
    for example in offered:
        for address, most in ((example["url"], 400_000), (example["picture"], 20_000)):
            assert address.startswith("studio/static/examples/")
            assert 0 < (FOLDER / Path(address).name).stat().st_size <= most


def test_the_sea_is_seen_as_a_sea_in_every_frame(tmp_path: Path) -> None:
    frames = frames_of(FOLDER / "sea.mp4", tmp_path)
    assert len(frames) == 5
    assert all({"sky", "water", "sunset"} <= labels(frame) for frame in frames)


def test_the_film_of_two_scenes_has_two(tmp_path: Path) -> None:
    seen = [labels(frame) for frame in frames_of(FOLDER / "two-scenes.mp4", tmp_path)]
    assert [("vegetation" in found, "water" in found) for found in seen] == [(True, False)] * 4 + [(False, True)] * 3


def test_the_pictures_are_seen_as_what_they_are() -> None:
    assert {"fire", "night"} <= labels(FOLDER / "fire.jpg")
    assert {"vegetation", "sky"} <= labels(FOLDER / "hills.jpg")


@pytest.mark.parametrize("scene", [Sea, Hills])
def test_a_scene_moves_and_is_drawn_alike_each_time(scene: type[Sea] | type[Hills]) -> None:
    small = scene(160, 90)
    first, later = small.at(0), small.at(1)
    assert first.shape == (90, 160, 3)
    assert np.abs(first - later).mean() > 0.002
    assert np.array_equal(first, scene(160, 90).at(0))


def test_the_fire_is_bright_in_the_middle_of_the_night() -> None:
    picture = Fire(320, 180).picture()
    assert picture.mean() < 0.2
    assert picture[120:140, 150:170].mean() > 0.6
    with Image.open(FOLDER / "fire.jpg") as image:
        assert image.size == (1280, 720)
