"""How many audio replicas are asked for, and what replicas say of the work that they have."""

import asyncio
import pickle
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ray.serve.config import AutoscalingConfig

from models.audio_generation import AudioRequest, GeneratedAudio, OnStep
from models.audio_generation.ace_step import AceStepGenerator, AceStepSettings
from models.audio_generation.audioldm2 import AudioLDM2Generator, AudioLDM2Settings
from models.errors import Cancelled, ModuleFailed
from serve.audio_server import MusicGenerator
from serve.autoscaling import SURE_SECONDS, Backlog, Drain, Report, replicas_wanted
from serve.settings import AppSettings
from tests.serve.test_audio_server import Endless, EndlessMany, server, sound, task, until
from tests.toys.ace_step import make_ace_step
from tests.toys.audioldm2 import make_audioldm2

ROOT = Path(__file__).parents[2]
SECONDS = 100.0
PACE = 2.0
IN_TIME = SECONDS * PACE
"""Windows that one replica makes within the time to drain."""


def busy(windows: float, *, requests: float = 32, pace: float = PACE, rate: float = PACE) -> Report:
    return Report(windows=windows, requests=requests, windows_per_request=10, pace=pace, rate=rate)


def idle(*, rate: float = 0.0) -> Report:
    return Report(windows_per_request=10, pace=PACE, rate=rate)


def wanted(*reports: Report, queued: float = 0, target: int | None = None) -> int:
    """With so many requests at the handles, besides those that replicas have."""
    requests = sum(report.requests for report in reports) + queued
    given = len(reports) if target is None else target
    return replicas_wanted(reports, requests=requests, target=given, seconds_to_drain=SECONDS)


def test_a_burst_asks_at_once_for_as_many_replicas_as_make_it_in_time() -> None:
    assert wanted(busy(320), queued=168) == 10  # 320 + 168 · 10 windows, 200 a replica


def test_what_one_replica_makes_in_time_asks_for_no_other() -> None:
    assert wanted(busy(0.9 * IN_TIME)) == 1
    assert wanted(busy(1.1 * IN_TIME)) == 2


def test_where_nothing_waits_no_replica_is_wanted_and_serve_keeps_the_fewest_allowed() -> None:
    assert wanted(idle()) == 0
    assert wanted(idle(rate=0.01), idle()) == 0


def test_one_long_film_asks_for_one_replica_however_many_windows_it_has() -> None:
    assert wanted(busy(10_000, requests=1)) == 1
    assert wanted(busy(10_000, requests=3)) == 3


def test_many_short_requests_are_no_reason_for_another_replica() -> None:
    assert wanted(Report(windows=64, requests=32, windows_per_request=2, pace=PACE, rate=PACE), queued=20) == 1


def test_what_waits_at_the_handles_counts_as_much_as_requests_did_lately() -> None:
    long = Report(windows=100, requests=4, windows_per_request=100, pace=PACE, rate=PACE)
    short = Report(windows=100, requests=4, windows_per_request=1, pace=PACE, rate=PACE)
    assert wanted(long, queued=8) == 5
    assert wanted(short, queued=8) == 1


def test_a_slower_model_gets_more_replicas_for_the_same_work() -> None:
    assert [wanted(busy(400, pace=pace)) for pace in (8, 4, 2, 1)] == [1, 1, 2, 4]


def test_one_replica_whose_report_is_missing_is_known_by_its_requests() -> None:
    """Three run, and two have reported. The handles know of 96 requests."""
    reports = [busy(300), busy(300)]
    told = replicas_wanted(reports, requests=96, target=3, seconds_to_drain=SECONDS)
    assert told == 5  # 600 + 32 · 10


def test_replicas_that_never_had_anything_to_make_need_not_stay() -> None:
    """After an upgrade on the spot nobody knows a pace, and nothing waits."""
    assert wanted(Report(), Report(), Report()) == 0
    assert wanted(Report(requests=1, windows=1, windows_per_request=1), Report(), Report()) == 1
    assert wanted(Report(), Report(), queued=1, target=8) == 1


@pytest.mark.parametrize("target", [0, 1, 3])
def test_without_any_report_all_stays_as_it_is(target: int) -> None:
    assert replicas_wanted([], requests=50, target=target, seconds_to_drain=SECONDS) == target


def test_before_anything_was_made_all_stays_as_it_is() -> None:
    assert wanted(busy(900, pace=0, rate=0), queued=100) == 1


def test_a_replica_that_has_just_come_does_not_slow_the_others_down() -> None:
    assert wanted(busy(390), Report(windows=5, requests=2, windows_per_request=10), target=2) == 2


def test_work_about_a_border_does_not_make_replicas_come_and_go() -> None:
    target, seen = 1, []
    for windows in (190, 215, 195, 215, 160, 195, 150, 215):
        target = wanted(*[busy(windows / target, rate=0.7)] * target)
        seen.append(target)
    assert seen == [1, 2, 2, 2, 2, 2, 2, 2]
    assert wanted(busy(60, rate=0.7), busy(60, rate=0.7)) == 1


def test_a_steady_load_keeps_the_replicas_that_it_needs_though_nothing_waits() -> None:
    """Three are busy for two thirds of their time, so there is hardly anything in line: with one less there soon would be."""
    steady = [busy(3, requests=1, rate=PACE * 2 / 3)] * 3
    assert wanted(*steady) == 3
    assert wanted(*[busy(3, requests=1, rate=PACE * 0.2)] * 3) == 1


def test_a_busy_replica_alone_is_no_reason_for_another() -> None:
    assert wanted(busy(20, requests=5, rate=PACE)) == 1


def test_replicas_that_find_no_gpu_change_nothing_of_what_is_wanted() -> None:
    """One runs, and seven wait for a GPU: the work decides, not how many there are."""
    assert [wanted(busy(windows), queued=0, target=8) for windows in (1600, 1000, 130)] == [8, 8, 2]


def test_what_handles_still_count_though_it_is_done_asks_for_nothing_new() -> None:
    """What a handle says is up to half a minute old."""
    before = wanted(busy(320), queued=68)
    after = replicas_wanted([idle(), idle()], requests=100, target=before, seconds_to_drain=SECONDS)
    assert after <= before


def context(metrics: dict[str, dict[str, list[float]]], *, target: int = 1, requests: float = 32) -> Any:
    raw = {
        name: {replica: [SimpleNamespace(value=value) for value in values] for replica, values in told.items()}
        for name, told in metrics.items()
    }
    return SimpleNamespace(raw_metrics=raw, total_num_requests=requests, target_num_replicas=target)


REPORTED = {"requests": 32, "windows_per_request": 10, "pace": PACE, "rate": PACE}


def test_the_last_thing_that_a_replica_said_counts() -> None:
    told = {"windows": {"a": [5.0, 900.0, 320.0]}, **{name: {"a": [0.0, value]} for name, value in REPORTED.items()}}
    assert Drain(seconds_to_drain=SECONDS)(context(told)) == (2, {})


def test_a_replica_that_has_said_only_a_part_is_left_out() -> None:
    told: dict[str, dict[str, list[float]]] = {"windows": {"a": [320.0], "b": [9000.0], "c": []}}
    told |= {name: {"a": [value], "c": [value]} for name, value in REPORTED.items()}
    assert Drain(seconds_to_drain=SECONDS)(context(told)) == (2, {})
    assert Drain(seconds_to_drain=SECONDS)(context({}, target=3)) == (3, {})
    assert Drain(seconds_to_drain=SECONDS)(context({}, target=3, requests=0)) == (0, {})


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan")])
def test_a_time_to_drain_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="seconds_to_drain has to be a number of seconds above 0"):
        Drain(seconds_to_drain=seconds)


CONTROLLER = """
import pickle, sys
from types import SimpleNamespace
sys.modules["serve"] = sys.modules["models"] = None
policy, kwargs, raw = pickle.load(sys.stdin.buffer)
raw = {name: {replica: [SimpleNamespace(value=value)] for replica, value in told.items()} for name, told in raw.items()}
print(pickle.loads(policy)(**kwargs)(SimpleNamespace(raw_metrics=raw, total_num_requests=50, target_num_replicas=1))[0])
"""


@pytest.mark.parametrize("name", ["MusicGenerator", "SoundGenerator"])
def test_the_files_policy_works_in_a_controller_that_does_not_have_our_package(name: str) -> None:
    config = yaml.safe_load((ROOT / "serve_config.gpu.yaml").read_text())
    (entry,) = (item for item in config["applications"][0]["deployments"] if item["name"] == name)
    scaling = AutoscalingConfig.model_validate(entry["autoscaling_config"])
    assert scaling.downscale_delay_s > scaling.upscale_delay_s
    policy, kwargs = scaling.policy.get_serialized_policy_def(), scaling.policy.policy_kwargs
    waiting = PACE * kwargs["seconds_to_drain"] * 2.5
    raw = {"windows": {"a": waiting}} | {key: {"a": value} for key, value in (REPORTED | {"requests": 50}).items()}
    given = pickle.dumps((policy, kwargs, raw))
    told = subprocess.run([sys.executable, "-c", CONTROLLER], input=given, capture_output=True, check=False)
    assert told.stdout.decode().strip() == "3", told.stderr.decode()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def work(backlog: Backlog, clock: Clock, *, windows: float, seconds: float, requests: int = 1) -> None:
    """So many requests side by side, and a report every second."""
    names = [str(number) for number in range(requests)]
    with ExitStack() as held:
        for name in names:
            held.enter_context(backlog.holding(name, windows))
        backlog.report()
        for step in range(1, round(seconds) + 1):
            clock.now += 1
            for name in names:
                backlog.step(name, step, round(seconds))
            backlog.report()


def test_what_is_left_falls_with_every_step_and_is_gone_with_the_request() -> None:
    backlog = Backlog(enough=0)
    with backlog.holding("a", 8), backlog.holding("b", 2):
        assert backlog.windows == 10
        backlog.step("a", 5, 20)
        assert backlog.windows == pytest.approx(8)
        assert backlog.report()["requests"] == 2
    assert backlog.windows == 0
    backlog.step("a", 6, 20)
    assert backlog.windows == 0


@pytest.mark.parametrize("error", [ModuleFailed("broken"), Cancelled("nobody waits")])
def test_what_failed_or_was_cancelled_is_neither_left_nor_made(error: Exception) -> None:
    clock = Clock()
    backlog = Backlog(enough=0, clock=clock)

    def fail() -> None:
        with backlog.holding("a", 100):
            clock.now += 10
            backlog.step("a", 1, 10)
            raise error

    with pytest.raises(type(error)):
        fail()
    told = Report(**backlog.report())
    assert (told.windows, told.requests) == (0, 0)
    assert told.pace == pytest.approx(1)  # ten windows in ten seconds, and not a hundred


def test_a_pace_is_what_is_made_while_there_is_work_and_a_rate_counts_the_pauses() -> None:
    clock = Clock()
    backlog = Backlog(enough=0, clock=clock)
    work(backlog, clock, windows=30, seconds=10)
    clock.now += 10
    told = Report(**backlog.report())
    assert told.pace == pytest.approx(3)
    assert told.rate == pytest.approx(1.5, rel=0.1)
    clock.now += 3600
    assert Report(**backlog.report()).pace == pytest.approx(3)
    assert Report(**backlog.report()).rate == pytest.approx(0, abs=1e-6)


def test_no_pace_is_told_before_it_is_sure() -> None:
    clock = Clock()
    backlog = Backlog(enough=0, clock=clock)
    work(backlog, clock, windows=3, seconds=SURE_SECONDS - 1)
    assert backlog.report()["pace"] == 0
    work(backlog, clock, windows=3, seconds=2)
    assert backlog.report()["pace"] > 0


def test_a_gpu_with_little_to_do_is_not_taken_for_a_slow_one() -> None:
    """Sixteen windows at once take as long as one. It makes one at a time for an hour, and is known by what it made before."""
    clock = Clock()
    backlog = Backlog(enough=16, clock=clock)
    work(backlog, clock, windows=10, seconds=20, requests=8)
    assert backlog.report()["pace"] == pytest.approx(4)
    for _ in range(60):
        work(backlog, clock, windows=10, seconds=60)
    assert backlog.report()["pace"] == pytest.approx(4)


def test_a_gpu_that_never_had_enough_to_do_is_at_least_as_fast_as_it_was() -> None:
    clock = Clock()
    backlog = Backlog(enough=16, clock=clock)
    work(backlog, clock, windows=10, seconds=20)
    assert backlog.report()["pace"] == pytest.approx(0.5)


def test_a_model_that_becomes_slower_under_full_load_is_noticed_within_minutes() -> None:
    clock = Clock()
    backlog = Backlog(enough=16, clock=clock)
    work(backlog, clock, windows=100, seconds=100, requests=4)
    work(backlog, clock, windows=100, seconds=400, requests=4)
    assert backlog.report()["pace"] == pytest.approx(1, rel=0.05)


def test_steps_that_come_seldom_make_no_other_pace_than_steps_that_come_often() -> None:
    """A model that says something twice a minute, and is asked every second."""
    clock = Clock()
    backlog = Backlog(enough=0, clock=clock)
    with backlog.holding("a", 60):
        for second in range(1, 241):
            clock.now = second
            if second % 30 == 0:
                backlog.step("a", second // 30, 10)
            backlog.report()
        assert backlog.report()["pace"] == pytest.approx(0.2, rel=0.3)


def test_the_size_of_a_request_is_that_of_the_last_few() -> None:
    backlog = Backlog(enough=0)
    for size in [1000.0] * 10 + [4.0, 8.0] * 16:
        with backlog.holding("a", size):
            pass
    assert backlog.report()["windows_per_request"] == 6


def test_nothing_is_lost_when_threads_tell_of_their_steps_while_others_ask() -> None:
    clock = Clock()
    backlog = Backlog(enough=0, clock=clock)
    go = threading.Barrier(8)

    def one(name: str) -> None:
        go.wait()
        for _ in range(50):
            with backlog.holding(name, 10):
                for step in range(10):
                    backlog.step(name, step, 10)
                    backlog.report()

    threads = [threading.Thread(target=one, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert backlog.windows == 0
    assert backlog.report()["requests"] == 0
    clock.now += 1
    assert backlog.report()["rate"] == pytest.approx(8 * 50 * 10, rel=0.01)


class Sized(Endless):
    """Says how much work a request is, and stops half-way until it is let go."""

    windows_at_once = 4

    def windows(self, request: AudioRequest) -> float:
        return 3 * request.seconds

    def generate(self, request: AudioRequest, *, on_step: OnStep) -> GeneratedAudio:
        on_step(1, 2)
        self.at_work.add(request.seed)
        while request.seed not in self.let_go:
            time.sleep(0.01)
        on_step(2, 2)
        return sound()


async def test_a_replica_counts_what_is_begun_by_what_is_left_and_what_waits_as_a_whole(tmp_path: Path) -> None:
    model = Sized()
    audio = server(tmp_path, model)
    running = [asyncio.create_task(audio.run(task(seed, seconds=10))) for seed in range(3)]
    await until(lambda: model.at_work)
    told = Report(**audio.record_autoscaling_stats())
    assert (told.windows, told.requests, told.windows_per_request) == (75, 3, 30)
    running[2].cancel()
    await until(lambda: audio.record_autoscaling_stats()["windows"] == 45)
    model.let_go |= {0, 1}
    await asyncio.gather(*running[:2])
    told = Report(**audio.record_autoscaling_stats())
    assert (told.windows, told.requests) == (0, 0)


async def test_a_model_that_does_not_measure_its_requests_is_measured_by_the_length_of_the_sound(
    tmp_path: Path,
) -> None:
    model = EndlessMany()
    audio = server(tmp_path, model)
    running = [asyncio.create_task(audio.run(task(seed, seconds=20.48))) for seed in range(2)]
    await until(lambda: len(model.at_work) == 2)
    told = audio.record_autoscaling_stats()
    assert told["requests"] == 2
    assert told["windows"] == pytest.approx(4, abs=0.1)
    model.let_go |= model.at_work
    await asyncio.gather(*running)


async def test_the_sketches_report_as_well(tmp_path: Path) -> None:
    audio = MusicGenerator(AppSettings(store=str(tmp_path / "store")))
    await audio.run(task(seconds=30))
    told = Report(**audio.record_autoscaling_stats())
    assert told.windows == 0
    assert told.windows_per_request == pytest.approx(30 / 10.24)
    assert told.rate > 0


@pytest.fixture(scope="module")
def audioldm2(tmp_path_factory: pytest.TempPathFactory) -> AudioLDM2Generator:
    checkpoint = str(make_audioldm2(tmp_path_factory.mktemp("toys") / "audioldm2"))
    return AudioLDM2Generator.load(AudioLDM2Settings(checkpoint=checkpoint, device="cpu", steps=4, windows=3))


WINDOW = 2.56
"""Seconds of the toy's; the next begins three quarters of it later."""


@pytest.mark.parametrize(
    ("asked", "windows"),
    [
        ({}, 1),
        ({"seconds": 10 * 0.75 * WINDOW + 0.25 * WINDOW}, 10),
        ({"candidates": 3}, 3),
        ({"later_prompts": ((1.0, "the sea"),), "seconds": 2}, 2),
        ({"steps": 24}, 3),  # of 24 steps 48 rows and 10 for the sound, of 4 steps 8 and 10: 58 / 18
        ({"guidance": 1.0}, 14 / 18),
    ],
)
def test_audioldm2_measures_a_request_by_its_windows_steps_and_candidates(
    audioldm2: AudioLDM2Generator, asked: dict[str, Any], windows: float
) -> None:
    request = AudioRequest(**{"prompt": "rain", "seconds": WINDOW, "seed": 0, **asked})
    assert audioldm2.windows(request) == pytest.approx(windows, rel=0.1)
    assert audioldm2.windows_at_once == 3


@pytest.mark.parametrize("asked", [{"seconds": 9}, {"seconds": 30, "later_prompts": ((8.0, "sea"),), "candidates": 2}])
def test_audioldm2s_windows_are_in_proportion_to_the_work_that_its_engine_does(
    audioldm2: AudioLDM2Generator, asked: dict[str, Any]
) -> None:
    """The engine counts UNet rows; 18 make a window of 4 steps."""
    told: list[int] = []
    run = audioldm2._engine.run

    def spy(tracks: Any, *, on_step: OnStep) -> None:
        told.append(sum(track.cost for track in tracks))
        run(tracks, on_step=on_step)

    request = AudioRequest(**{"prompt": "rain", "seed": 0, **asked})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audioldm2._engine, "run", spy)
        audioldm2.generate(request, on_step=lambda *_: None)
    assert audioldm2.windows(request) == pytest.approx(told[0] / 18, rel=0.15)


def test_ace_step_measures_a_request_by_its_length_steps_and_kept_candidates(tmp_path: Path) -> None:
    checkpoint = str(make_ace_step(tmp_path / "ace-step"))
    model = AceStepGenerator.load(AceStepSettings(checkpoint=checkpoint, device="cpu", steps=2))

    def measured(**asked: Any) -> float:
        return model.windows(AudioRequest(**{"prompt": "a piano", "seconds": 102.4, "seed": 0, **asked}))

    assert measured() == pytest.approx(10)
    assert measured(steps=6) == pytest.approx(30)
    assert measured(candidates=4) == pytest.approx(10)
    assert measured(candidates=4, keep_candidates=True) == pytest.approx(40)
    assert measured(seconds=1) == pytest.approx(10 / 10.24)  # it makes no less than ten seconds
