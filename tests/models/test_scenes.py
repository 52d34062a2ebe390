import itertools
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from models.record import MOST_SCENES
from models.scenes import distances_between, divide, medoid

Latents = npt.NDArray[np.float32]
SIZE = 200


def place(seed: int) -> Latents:
    """What a picture of some place looks like as a latent: float32, shape (SIZE,)."""
    latent: Latents = np.random.default_rng(seed).exponential(size=SIZE).astype(np.float32)
    return latent


def still(seed: int, frames: int, *, noise: float = 0.02) -> Latents:
    random = np.random.default_rng(seed + 1000)
    return (place(seed) + random.normal(0, noise, (frames, SIZE))).astype(np.float32)


def pan(seed: int, frames: int, *, speed: float = 0.05) -> Latents:
    """Steadily from one place to a place behind it, and so on: `speed` is the part of the way that a frame makes."""
    places = np.stack([place(1000 * seed + number) for number in range(int(frames * speed) + 2)])
    at = np.arange(frames) * speed
    left = at.astype(int)
    part = (at - left)[:, None]
    latents: Latents = (places[left] * np.cos(part * np.pi / 2) + places[left + 1] * np.sin(part * np.pi / 2)).astype(
        np.float32
    )
    return latents


def firsts(parts: Sequence[Latents] | Latents, scenes: "int | str" = "auto") -> list[int]:
    """Where the scenes of a video begin that consists of some parts."""
    latents = parts if isinstance(parts, np.ndarray) else np.concatenate(parts)
    return [scene.first for scene in divide(latents, scenes)]  # type: ignore[arg-type]


def begins(parts: Sequence[Latents]) -> list[int]:
    return [0, *itertools.accumulate(len(part) for part in parts[:-1])]


def cost(latents: Latents, starts: Sequence[int]) -> float:
    """Sum of the distances to the scenes' best medoids, by trying all."""
    ends = [*starts[1:], len(latents)]
    return sum(
        min(sum(float(np.linalg.norm(row - other)) for other in latents[first:end]) for row in latents[first:end])
        for first, end in zip(starts, ends, strict=True)
    )


@pytest.mark.parametrize("frames", [1, 2, 5, 9])
@pytest.mark.parametrize("scenes", [1, 2, 3, 4])
def test_no_other_division_into_as_many_scenes_is_better(frames: int, scenes: int) -> None:
    latents = np.random.default_rng(frames).normal(size=(frames, 4)).astype(np.float32)
    chosen = divide(latents, scenes)
    count = min(frames, scenes)
    assert len(chosen) == count
    best = min(cost(latents, (0, *rest)) for rest in itertools.combinations(range(1, frames), count - 1))
    assert cost(latents, [scene.first for scene in chosen]) == pytest.approx(best, rel=1e-5)


def test_one_scene_is_the_medoid_of_all_frames_and_each_of_several_of_its_own() -> None:
    parts = [pan(1, 9), pan(2, 14), pan(3, 6)]
    latents = np.concatenate(parts)
    (whole,) = divide(latents, 1)
    assert (whole.first, whole.index) == (0, medoid(distances_between(latents)))
    scenes = divide(latents, "auto")
    assert [scene.first for scene in scenes] == [0, 9, 23]
    assert [scene.index - scene.first for scene in scenes] == [medoid(distances_between(part)) for part in parts]


@pytest.mark.parametrize("speed", [0, 0.02, 0.1, 0.2])
@pytest.mark.parametrize(
    "lengths", [(3, 6, 2), (2, 2, 2, 2, 2, 2), (3,) * 9, (40, 5, 12, 30), (60, 60), (2, 2), (4, 200, 4)], ids=str
)
def test_cuts_between_different_pictures_are_found_however_long_they_last(
    lengths: tuple[int, ...], speed: float
) -> None:
    parts = [pan(seed, frames, speed=speed) for seed, frames in enumerate(lengths)]
    assert firsts(parts) == begins(parts)
    assert firsts(parts, len(parts)) == begins(parts)


STILL_OR_MOVING = {
    "at rest": still(1, 30),
    "nothing but one picture": still(1, 30, noise=0),
    "black": np.zeros((30, SIZE), np.float32),
    "nothing is like it was": np.stack([place(seed) for seed in range(30)]),
    "water": still(1, 60, noise=0.3),
    "a slow pan": pan(1, 60, speed=0.02),
    "a quick pan": pan(1, 40, speed=0.3),
    "a pan that begins and ends slowly": pan(1, 1000)[(300 * (np.cos(np.linspace(np.pi, 0, 40)) + 1)).astype(int)],
    "one frame": still(1, 1),
    "two frames": pan(1, 2),
}


@pytest.mark.parametrize("what", STILL_OR_MOVING)
def test_what_never_or_always_changes_is_one_scene(what: str) -> None:
    assert firsts(STILL_OR_MOVING[what]) == [0]


@pytest.mark.parametrize(
    "shots", ["ABABABABABAB", "AABBAABBAABB", "AABABBABAAABABB", "AAAAABAAAAAA", "AAAABBAAAA", "BAAAAAA", "AAAAAAB"]
)
def test_cuts_there_and_back_and_single_shots_are_no_scenes(shots: str) -> None:
    by_letter = {letter: iter(pan(seed, len(shots), speed=0.02)) for seed, letter in enumerate("AB")}
    assert firsts(np.stack([next(by_letter[letter]) for letter in shots])) == [0]


def test_a_place_that_is_come_back_to_later_is_a_scene_of_its_own() -> None:
    parts = [pan(1, 8, speed=0.02), pan(2, 6, speed=0.02), pan(1, 9, speed=0.02)]
    assert firsts(parts) == begins(parts)


def test_a_flash_does_not_hide_a_cut() -> None:
    parts = [pan(1, 9), pan(2, 9)]
    latents = np.concatenate(parts)
    latents[4] = 5
    latents[13] = 0
    assert firsts(latents) == [0, 9]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_frame_in_the_middle_of_a_dissolve_does_not_hide_it(share: float) -> None:
    one, other = pan(1, 8), pan(2, 8)
    between = one[-1:] * (1 - share) + other[:1] * share
    assert firsts([one, between, other]) in ([0, 8], [0, 9])


def test_a_change_of_place_is_found_where_the_picture_is_never_at_rest() -> None:
    parts = [still(1, 12, noise=0.3), still(2, 20, noise=0.3)]
    assert firsts(parts) == begins(parts)


def test_a_number_of_scenes_takes_the_cuts_first() -> None:
    parts = [pan(1, 5, speed=0.02), pan(2, 40, speed=0.3), pan(3, 2, speed=0.02)]
    assert firsts(parts) == firsts(parts, 3) == begins(parts)
    assert set(begins(parts)) < set(firsts(parts, 5))
    assert len(firsts(parts, 5)) == 5
    assert set(firsts(parts, 2)) < set(begins(parts))
    assert len(firsts(parts, 2)) == 2


def test_what_is_the_same_picture_is_not_divided() -> None:
    assert firsts(still(1, 9, noise=0), 3) == [0]
    assert firsts([still(1, 5, noise=0), still(2, 5, noise=0)], 4) == [0, 5]
    assert len(firsts(pan(1, 3), 7)) == 3


def test_scenes_are_not_more_than_a_user_may_edit() -> None:
    parts = [still(seed, 4) for seed in range(MOST_SCENES + 20)]
    found = firsts(parts)
    assert len(found) == MOST_SCENES
    assert set(found) < set(begins(parts))


@pytest.mark.parametrize("scenes", [1, 50, "auto"])
def test_a_thousand_frames_take_no_time(scenes: "int | str") -> None:
    latents = np.random.default_rng(0).normal(size=(1000, 720)).astype(np.float32)
    started = time.process_time()
    divide(latents, scenes)  # type: ignore[arg-type]
    assert time.process_time() - started < 10  # about 1 s; cubes of Python objects would take minutes


@pytest.mark.parametrize(("count", "length"), [(1, 5), (2, 5), (3, 1), (14, 40), (60, 7)])
def test_the_medoid_is_the_row_nearest_to_all_others(count: int, length: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, length)).astype(np.float32)
    sums = [sum(np.linalg.norm(np.float64(row) - other) for other in rows) for row in rows]
    assert sums[divide(rows, 1)[0].index] == pytest.approx(min(sums))


def test_the_medoid_is_right_where_rows_differ_by_little_of_their_length() -> None:
    places = np.array([0, 1, 2, 3, 9, 10, 4], dtype=np.float32)
    rows = np.full((len(places), 1000), 1000, dtype=np.float32)
    rows[:, 0] += places / 8
    assert divide(rows, 1)[0].index == 3


def test_the_medoid_of_latents_as_long_as_the_papers_is_right() -> None:
    rows = np.random.default_rng(0).exponential(size=(6, 512 * 16 * 29)).astype(np.float32)
    sums = np.zeros(6)
    for one, other in itertools.permutations(range(6), 2):
        sums[one] += np.linalg.norm(np.float64(rows[one]) - rows[other])
    assert divide(rows, 1)[0].index == sums.argmin()
