import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from models.audio import Samples
from models.audio_generation import AudioRequest
from models.audio_generation.scenes import HARD_SECONDS, Scene, crossed, in_turn, scenes
from models.record import Mood

RATE = 1000
Timeline = list[tuple[float, str]]


def lay(
    timeline: Timeline, seconds: float = 10, *, crossing: float = 1, loop: bool = False, rate: int = RATE
) -> list[Scene]:
    (_, prompt), *later = timeline
    asked = AudioRequest(prompt, seconds, seed=0, later_prompts=tuple(later), crossing_seconds=crossing, loop=loop)
    return scenes(asked, samples=round(seconds * rate), rate=rate)


class TestScenes:
    def test_one_is_all_there_is(self) -> None:
        assert lay([(0, "rain")]) == [Scene("rain", 0, 10_000, 0, 0)]
        assert lay([(0, "rain")], loop=True) == [Scene("rain", 0, 10_000, 0, 0, circular=True)]

    def test_share_half_the_crossing_on_either_side_of_the_border(self) -> None:
        rain, sea = lay([(0, "rain"), (4, "sea")])
        assert [rain, sea] == [Scene("rain", 0, 4500, 0, 1000), Scene("sea", 3500, 10_000, 1000, 0)]
        assert (rain.border, sea.border) == (0, 4000)

    @pytest.mark.parametrize("loop", [False, True])
    def test_that_change_at_once_share_a_few_milliseconds(self, loop: bool) -> None:
        parts = lay([(0, "rain"), (4, "sea")], crossing=0, loop=loop, rate=48_000)
        assert parts[0].fall == parts[1].rise == round(HARD_SECONDS * 48_000)
        assert parts[1].fall == parts[0].rise == (parts[0].fall if loop else 0)

    def test_have_their_own_mood_each_also_where_others_are_left_out(self) -> None:
        calm, wild = Mood(valence=0.5, arousal=-1), Mood(valence=-0.5, arousal=1)
        asked = AudioRequest(
            "a", 10, 0, later_prompts=((4, "b"), (4, "c"), (6, "d")), mood=calm, later_moods=(calm, wild, None)
        )
        parts = scenes(asked, samples=10_000, rate=RATE)
        assert [(scene.prompt, scene.mood) for scene in parts] == [("a", calm), ("c", wild), ("d", None)]

    def test_have_the_seed_itself_in_take_0_and_one_of_its_own_in_every_other(self) -> None:
        def seeds(seed: int, *takes: int) -> list[int]:
            later = tuple((number, "rain") for number in range(1, len(takes)))
            asked = AudioRequest("rain", 10, seed, later_prompts=later, take=takes[0], later_takes=takes[1:])
            return [scene.seed for scene in scenes(asked, samples=10_000, rate=RATE)]

        assert seeds(7, 0, 0, 0) == [7, 7, 7]
        _, one, two, _ = made = seeds(7, 0, 1, 2, 1)
        assert made == [7, one, two, one]
        others = seeds(8, *range(10))  # the other stem's seed is the next one
        assert len({7, one, two, *others}) == 13

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
        parts = lay([(0, "a"), (3, "b"), (7, "c")], loop=loop, rate=10_000)
        shared = rng.normal(0, 0.1, (2, 100_000))
        made = []
        for scene in parts:
            own = rng.normal(0, 0.1, (2, scene.end - scene.start))
            common = shared[:, np.arange(scene.start, scene.end) % 100_000]
            made.append((scene, (np.sqrt(alike) * common + np.sqrt(1 - alike) * own).astype(np.float32)))
        loudness = crossed(made, samples=100_000).reshape(2, -1, 2000).std(axis=2)
        assert np.abs(loudness / 0.1 - 1).max() < 0.1

    def test_leaves_everything_else_as_it_is(self) -> None:
        parts = lay([(0, "a"), (4, "b")])
        whole = crossed(zip(parts, (level(parts[0], 0.2), level(parts[1], -0.3)), strict=True), samples=10_000)
        assert np.all(whole[:, :3500] == np.float32(0.2))
        assert np.all(whole[:, 4500:] == np.float32(-0.3))
        assert np.abs(np.diff(whole)).max() < 0.002

    def test_leads_a_loop_from_its_last_scene_into_its_first(self) -> None:
        parts = lay([(0, "a"), (4, "b")], loop=True)
        whole = crossed(zip(parts, (level(parts[0], 0.2), level(parts[1], -0.3)), strict=True), samples=10_000)
        assert np.all(whole[:, 500:3500] == np.float32(0.2))
        assert np.all(whole[:, 4500:9500] == np.float32(-0.3))
        assert np.abs(np.diff(np.concatenate([whole, whole], axis=1))).max() < 0.002

    def test_holds_one_scene_at_a_time_beside_the_whole(self) -> None:
        samples = 1_000_000
        parts = lay([(10 * number, "a") for number in range(10)], 100, rate=10_000)

        def made() -> Iterator[tuple[Scene, Samples]]:
            return in_turn(parts, lambda _, length: np.ones((1, length), np.float32), rate=10_000)

        tracemalloc.start()
        crossed(made(), samples=samples)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.3 * samples * 4


def level(scene: Scene, value: float) -> Samples:
    return np.full((2, scene.end - scene.start), value, np.float32)
