import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.errors import DamagedMedia, MissingOutput
from models.frame_description import Description, Shot
from models.record import DetectedObject, FrameObjects
from models.sketch.scene import SceneDescriber, SceneDetector, SceneSelector, SketchSceneSettings

WIDTH, HEIGHT = 480, 270

Pixels = NDArray[np.float64]
Colour = tuple[int, int, int]


def plain(colour: Colour, *, height: int = HEIGHT) -> Pixels:
    return np.tile(np.array(colour, dtype=np.float64), (height, WIDTH, 1))


def fade(top: Colour, bottom: Colour, *, height: int = HEIGHT) -> Pixels:
    part = np.linspace(0, 1, height)[:, None, None]
    return np.asarray(plain(top, height=height) * (1 - part) + plain(bottom, height=height) * part)


def noise(picture: Pixels, *, strength: float, grain: int = 1, seed: int = 0) -> Pixels:
    """The picture with random spots of `grain` pixels, all channels alike."""
    rows, columns = -(-picture.shape[0] // grain), -(-picture.shape[1] // grain)
    spots = np.random.default_rng(seed).normal(0, strength, (rows, columns))
    spread = np.kron(spots, np.ones((grain, grain)))[: picture.shape[0], : picture.shape[1], None]
    return np.asarray(picture + spread)


def sky(height: int) -> Pixels:
    return fade((70, 130, 220), (175, 205, 240), height=height)


def sea(height: int) -> Pixels:
    rows, columns = np.mgrid[0:height, 0:WIDTH]
    ripples = 14 * np.sin(rows * 0.9 + 0.4 * np.sin(columns * 0.02)) + 8 * np.sin(rows * 0.31 + columns * 0.015)
    return noise(plain((30, 90, 140), height=height) + ripples[..., None], strength=5)


def seaside() -> Pixels:
    return np.vstack((sky(130), sea(140)))


def beach() -> Pixels:
    return np.vstack((sky(110), sea(70), noise(plain((222, 190, 140), height=90), strength=6)))


def lawn() -> Pixels:
    return noise(plain((70, 130, 45)), strength=28, grain=3)


def country_road() -> Pixels:
    return np.vstack((sky(120), noise(plain((100, 100, 102), height=150), strength=9)))


def snowfield() -> Pixels:
    return np.vstack(
        (fade((40, 100, 200), (130, 175, 230), height=120), noise(plain((243, 245, 249), height=150), strength=3))
    )


def town_at_night() -> Pixels:
    picture = noise(plain((14, 13, 15)), strength=3)
    for column in range(20, WIDTH, 60):
        picture[170:184, column : column + 14] = (255, 215, 140)
    return picture


def bonfire() -> Pixels:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    heat = np.exp(-(((columns - 240) / 50) ** 2) - (((rows - 170) / 65) ** 2))
    glow = np.stack((380 * heat, 330 * heat**1.8, 330 * heat**5), axis=-1)
    return noise(plain((14, 9, 7)) + glow, strength=3)


def houses() -> Pixels:
    picture = np.vstack((sky(90), noise(plain((170, 120, 100), height=180), strength=4)))
    for row in range(100, 260, 22):
        for column in range(6, WIDTH, 24):
            picture[row : row + 13, column : column + 12] = (50, 55, 65)
    return picture


def evening() -> Pixels:
    return np.vstack(
        (fade((120, 110, 170), (250, 150, 70), height=150), noise(plain((25, 22, 20), height=120), strength=6))
    )


def crowd() -> Pixels:
    image = Image.fromarray(plain((90, 90, 95)).astype(np.uint8))
    draw, random = ImageDraw.Draw(image), np.random.default_rng(4)
    for row in range(0, HEIGHT, 22):
        for column in range(0, WIDTH, 18):
            shirt = ((190, 40, 50), (40, 60, 160), (230, 230, 235), (30, 30, 35), (150, 90, 160))[random.integers(5)]
            left, top = column + random.integers(-4, 5), row + random.integers(-5, 6)
            draw.ellipse((left, top + 8, left + 15, top + 26), fill=shirt)
            draw.ellipse((left + 3, top, left + 12, top + 11), fill=(214, 160, 130))
    return np.asarray(image, dtype=np.float64)


def parlour() -> Pixels:
    picture = noise(plain((190, 150, 110)), strength=5)
    for number in range(14):
        left, top = (number * 97) % 430, (number * 61) % 220
        picture[top : top + 40, left : left + 45] = ((120, 70, 40), (225, 190, 150), (80, 50, 35))[number % 3]
    return picture


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def to_file(pixels: Pixels, name: str = "picture") -> Path:
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        return path

    return to_file


def photo(name: str) -> Path:
    import sklearn.datasets

    return Path(sklearn.datasets.__file__).parent / "images" / name


def detect(*images: Path, confidence: float = 0.25) -> list[FrameObjects]:
    return SceneDetector.load(SketchSceneSettings(confidence=confidence)).detect(images)


def tags(image: Path) -> dict[str, DetectedObject]:
    return {found.label: found for found in detect(image)[0].objects}


def describe(frame: Path, *others: Path) -> Description:
    (description,) = SceneDescriber.load(SketchSceneSettings()).describe([Shot(frame, others)])
    return description


def mood(frame: Path, *others: Path) -> tuple[float, float]:
    measured = describe(frame, *others).mood
    assert measured is not None
    return measured.valence, measured.arousal


@pytest.mark.parametrize(
    ("picture", "labels"),
    [
        (seaside, {"sky", "water"}),
        (beach, {"sky", "water", "sand"}),
        (lawn, {"vegetation"}),
        (country_road, {"sky", "road"}),
        (snowfield, {"sky", "snow"}),
        (town_at_night, {"night", "lights"}),
        (bonfire, {"fire", "night"}),
        (houses, {"sky", "buildings"}),
        (evening, {"sky", "sunset"}),
        (crowd, {"crowd"}),
        (parlour, {"indoor"}),
    ],
)
def test_a_scene_gets_its_tags_and_no_others(picture: Callable[[], Pixels], labels: set[str], save: Save) -> None:
    assert tags(save(picture())).keys() == labels


@pytest.mark.parametrize("colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (120, 40, 130)])
def test_a_plain_surface_gets_no_tags(colour: Colour, save: Save) -> None:
    assert tags(save(plain(colour))) == {}


def test_a_photograph_of_a_pagoda_shows_sky_vegetation_and_a_building() -> None:
    found = tags(photo("china.jpg"))
    assert found.keys() == {"sky", "vegetation", "buildings"}
    assert found["sky"].box.y0 == 0
    assert found["sky"].score > 0.8
    pagoda = found["buildings"].box
    assert pagoda.x0 < 240 < pagoda.x1 < 420
    assert pagoda.y1 - pagoda.y0 > 150


def test_a_photograph_of_a_flower_shows_vegetation() -> None:
    assert tags(photo("flower.jpg")).keys() == {"vegetation"}


def test_boxes_lie_where_the_region_lies_in_pixels_of_the_picture(save: Save) -> None:
    found = tags(save(seaside()))
    above, below = found["sky"].box, found["water"].box
    assert (above.x0, above.y0, above.x1) == (0, 0, WIDTH)
    assert above.y1 == pytest.approx(130, abs=20)
    assert below.y0 == pytest.approx(130, abs=20)
    assert below.y1 == HEIGHT


def test_frames_are_numbered_and_sorted_by_score_and_know_their_size(save: Save) -> None:
    first, second = detect(save(beach(), "one"), save(lawn()[:200], "two"))
    assert (first.frame, first.width, first.height) == (0, WIDTH, HEIGHT)
    assert (second.frame, second.width, second.height) == (1, WIDTH, 200)
    scores = [found.score for found in first.objects]
    assert scores == sorted(scores, reverse=True)
    assert detect() == []


def test_a_higher_confidence_leaves_fewer_tags(save: Save) -> None:
    detector = SceneDetector.load(SketchSceneSettings(confidence=0.9))
    assert detector.confidence == 0.9
    few, many = detector.detect([photo("china.jpg")])[0].objects, detect(photo("china.jpg"))[0].objects
    assert 0 < len(few) < len(many)
    assert min(found.score for found in few) >= 0.9


def test_a_rotated_photograph_is_looked_at_upright(tmp_path: Path) -> None:
    image = Image.fromarray(np.clip(seaside(), 0, 255).astype(np.uint8)).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    image.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    (frame,) = detect(tmp_path / "turned.jpg")
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
    assert {found.label for found in frame.objects} == {"sky", "water"}


@pytest.mark.parametrize("size", [(1, 1), (2, 400), (400, 2), (33, 17)])
def test_any_size_of_picture_can_be_looked_at(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.new("RGB", size, (90, 140, 220)).save(path)
    (frame,) = detect(path)
    assert (frame.width, frame.height) == size
    assert all(0 <= found.box.x0 < found.box.x1 <= size[0] for found in frame.objects)
    assert describe(path, path).text


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "frame 3.png"
    path.write_text("not a picture")
    with pytest.raises(DamagedMedia, match=r"frame 3\.png"):
        detect(path)


def test_the_frame_most_like_the_others_is_selected(save: Save) -> None:
    images = [
        save(lawn(), "a"),
        save(noise(seaside(), strength=4, seed=1), "b"),
        save(noise(seaside(), strength=4, seed=2), "c"),
        save(town_at_night(), "d"),
        save(noise(seaside(), strength=4, seed=3), "e"),
    ]
    selection = SceneSelector.load(SketchSceneSettings()).select(images)
    assert selection.index in {1, 2, 4}
    assert selection.latent_shape == (5, 9, 16)


def test_each_scene_has_a_frame_of_its_own(save: Save) -> None:
    shots = (seaside, lawn, town_at_night)
    images = [
        save(noise(shot(), strength=4, seed=seed), f"{place}-{seed}")
        for place, shot in enumerate(shots)
        for seed in range(3)
    ]
    selector = SceneSelector.load(SketchSceneSettings())
    for scenes in ("auto", 3):
        selection = selector.select(images, scenes=scenes)
        assert [scene.first for scene in selection.scenes] == [0, 3, 6]
        assert all(scene.index in range(scene.first, scene.first + 3) for scene in selection.scenes)
        assert selection.index == selection.scenes[0].index
    assert [scene.first for scene in selector.select(images).scenes] == [0]
    assert selector.select(images[:3], scenes="auto").scenes == selector.select(images[:3]).scenes


def test_one_frame_is_its_own_medoid_and_none_is_refused(save: Save) -> None:
    selector = SceneSelector.load(SketchSceneSettings())
    assert selector.select([save(lawn())]).index == 0
    with pytest.raises(MissingOutput, match="no frame"):
        selector.select([])


PICTURES = (
    seaside, beach, lawn, country_road, snowfield, town_at_night, bonfire, houses, evening, crowd, parlour,
    lambda: plain((0, 0, 0)), lambda: plain((128, 128, 128)), lambda: plain((255, 255, 255)),
)  # fmt: skip


@pytest.mark.parametrize("picture", PICTURES)
def test_a_description_is_one_whole_sentence(picture: Callable[[], Pixels], save: Save) -> None:
    text = describe(save(picture())).text
    assert re.fullmatch(r"An? [a-z][a-z, ]*[a-z]\.", text)
    assert re.match(r"An [aeiou]|A [^aeiou]", text)
    assert "  " not in text
    assert " ," not in text
    assert text.count(" scene") == 1
    assert text.removesuffix(".").split()[-1] not in {"a", "and", "with", "above"}


def test_a_description_names_what_is_above_what(save: Save) -> None:
    assert describe(save(beach())).text.endswith("scene with sky above water and sand.")
    assert describe(save(lawn())).text.endswith("scene with vegetation.")
    assert describe(save(evening())).text.endswith("scene with a sunset sky.")
    assert "night scene with lights." in describe(save(town_at_night())).text
    assert describe(save(parlour())).text == "A bright, warm indoor scene."
    assert describe(save(plain((128, 128, 128)))).text == "A colourless, calm scene."
    assert describe(photo("china.jpg")).text.endswith("sky above vegetation and buildings.")


def test_shots_are_described_in_their_order(save: Save) -> None:
    shots = [Shot(save(lawn(), "one")), Shot(save(seaside(), "two"))]
    first, second = SceneDescriber.load(SketchSceneSettings()).describe(shots)
    assert "vegetation" in first.text
    assert "water" in second.text


def test_a_brighter_or_a_warmer_picture_is_more_pleasant(save: Save) -> None:
    picture = noise(plain((125, 118, 112)), strength=20, grain=4)
    dark, bright = save(picture * 0.4, "dark"), save(picture * 1.5, "bright")
    cool, warm = save(picture * (0.8, 0.9, 1.4), "cool"), save(picture * (1.4, 0.9, 0.6), "warm")
    assert mood(bright)[0] > mood(dark)[0] + 0.2
    assert mood(warm)[0] > mood(cool)[0] + 0.1
    assert "dark" in describe(dark).text
    assert "warm" in describe(warm).text


def test_motion_arouses(save: Save) -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]

    def spot(at: int) -> Path:
        light = 120 * np.exp(-(((columns - at) / 60) ** 2) - (((rows - 130) / 60) ** 2))
        return save(noise(plain((90, 90, 100)) + light[..., None], strength=4, seed=at), f"at {at}")

    still = mood(spot(200), spot(201), spot(202))[1]
    slow = mood(spot(200), spot(225), spot(175))[1]
    fast = mood(spot(200), spot(420), spot(20))[1]
    assert still < slow - 0.1
    assert slow < fast - 0.1
    assert "calm" in describe(spot(200), spot(201)).text
    assert "lively" in describe(spot(200), spot(420), spot(20)).text


def test_a_cut_is_no_motion(save: Save) -> None:
    still = [save(noise(seaside(), strength=3, seed=seed), f"{seed}") for seed in range(3)]
    elsewhere = [save(lawn(), "lawn"), save(town_at_night(), "town")]
    assert mood(still[0], *still[1:], *elsewhere)[1] == pytest.approx(mood(still[0], *still[1:])[1], abs=0.02)


def test_the_scene_models_say_what_they_are() -> None:
    for kind in (SceneDetector, SceneSelector, SceneDescriber):
        loaded = kind.load(SketchSceneSettings())
        assert (loaded.model, loaded.device, loaded.licence) == ("sketch/scene", "cpu", None)
    assert SceneDescriber.load(SketchSceneSettings()).question is None
