import tracemalloc

import numpy as np
import pytest

from models.audio_generation.scenes import Scene, crossed, scenes

RATE = 1000
Timeline = list[tuple[float, str]]


def lay(timeline: Timeline, seconds: float = 10, *, crossing: float = 1, loop: bool = False) -> list[Scene]:
    return scenes(timeline, samples=round(seconds * RATE), rate=RATE, crossing=crossing, loop=loop)


class TestScenes:
    def test_one_is_all_there_is(self) -> None:
        assert lay([(0, "rain")]) == [Scene("rain", 0, 10_000, 0, 0)]
        assert lay([(0, "rain")], loop=True) == [Scene("rain", 0, 10_000, 0, 0, circular=True)]

    def test_share_half_the_crossing_on_either_side_of_the_border(self) -> None:
        assert lay([(0, "rain"), (4, "sea")]) == [Scene("rain", 0, 4500, 0, 1000), Scene("sea", 3500, 10_000, 1000, 0)]

    def test_of_a_loop_cross_round_its_end(self) -> None:
        first, last = lay([(0, "rain"), (4, "sea")], loop=True)
        assert (first.start, first.rise, last.end, last.fall) == (-500, 1000, 10_500, 1000)

    def test_that_are_short_cross_within_their_halves(self) -> None:
        _, middle, _ = lay([(0, "rain"), (4, "thunder"), (4.2, "rain")])
        assert middle.end - middle.start - middle.rise - middle.fall >= 0
        assert middle.start < 4000
        assert middle.end > 4200

    def test_that_no_sample_falls_into_are_left_out(self) -> None:
        assert [scene.prompt for scene in lay([(0, "rain"), (4, "thunder"), (4, "sea"), (12, "never")])] == [
            "rain",
            "sea",
        ]

    @pytest.mark.parametrize("loop", [False, True])
    def test_cover_every_sample(self, loop: bool) -> None:
        parts = lay([(0, "a"), (0.3, "b"), (0.31, "c"), (5, "d"), (9.999, "e")], loop=loop)
        heard = np.zeros(10_000, int)
        for scene in parts:
            heard[np.arange(scene.start, scene.end) % 10_000] += 1
        assert heard.min() == 1
        assert heard.max() <= 2


class TestCrossing:
    @pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
    @pytest.mark.parametrize("loop", [False, True])
    def test_keeps_the_loudness_of_sounds_that_are_alike_and_of_those_that_are_not(
        self, alike: float, loop: bool
    ) -> None:
        rng = np.random.default_rng(0)
        timeline: Timeline = [(0, "a"), (3, "b"), (7, "c")]
        parts = scenes(timeline, samples=100_000, rate=10_000, crossing=1, loop=loop)
        shared = rng.normal(0, 0.1, 100_000)
        made = []
        for scene in parts:
            own = rng.normal(0, 0.1, scene.end - scene.start)
            common = shared[np.arange(scene.start, scene.end) % 100_000]
            made.append((scene, (np.sqrt(alike) * common + np.sqrt(1 - alike) * own).astype(np.float32)))
        loudness = crossed(made, samples=100_000).reshape(-1, 2000).std(axis=1)
        assert np.abs(loudness / 0.1 - 1).max() < 0.1

    def test_leaves_everything_else_as_it_is(self) -> None:
        parts = lay([(0, "a"), (4, "b")])
        sounds = [
            np.full(scene.end - scene.start, level, np.float32) for scene, level in zip(parts, (0.2, -0.3), strict=True)
        ]
        whole = crossed(list(zip(parts, sounds, strict=True)), samples=10_000)
        assert np.all(whole[:3500] == np.float32(0.2))
        assert np.all(whole[4500:] == np.float32(-0.3))
        assert np.abs(np.diff(whole)).max() < 0.002

    def test_takes_no_memory_beside_the_sound_that_grows_with_it(self) -> None:
        samples = 1_000_000
        parts = scenes([(0, "a"), (30, "b")], samples=samples, rate=10_000, crossing=1, loop=False)
        made = [(scene, np.zeros(scene.end - scene.start, np.float32)) for scene in parts]
        tracemalloc.start()
        crossed(made, samples=samples)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.2 * samples * 4

    def test_never_exceeds_full_scale(self) -> None:
        parts = lay([(0, "a"), (4, "b")])
        rng = np.random.default_rng(0)
        made = [(scene, np.sign(rng.normal(size=scene.end - scene.start)).astype(np.float32)) for scene in parts]
        assert np.abs(crossed(made, samples=10_000)).max() <= 1
