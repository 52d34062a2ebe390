"""Audio replicas come and go on a real cluster, and every run ends as if there had been one all the time."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.support.replicas import log_lines
from client import ImmersivaudioClient, Options, Run
from tests.serve.conftest import READY_SECONDS, Deploy
from tests.toys.audioldm2 import make_audioldm2

pytestmark = pytest.mark.timeout(600)  # of which the story takes most, before the first test

BURST, LATER = 10, 2
USUAL = 200  # steps of a toy, for seconds of work
LONG = (4, 16, 64)  # seconds of sound: they take longer than to tell a replica to go, the first ones on most machines
LONG_STEPS = 500
SCALING = {
    "max_ongoing_requests": 1,
    "graceful_shutdown_timeout_s": 120,
    "autoscaling_config": {
        "min_replicas": 1,
        "max_replicas": 3,
        "upscale_delay_s": 1,
        "downscale_delay_s": 1,
        "metrics_interval_s": 0.5,  # the only way to a report every half second
        "look_back_period_s": 2,
        "aggregation_function": "max",
        "policy": {"policy_function": "serve.autoscaling:Drain", "policy_kwargs": {"seconds_to_drain": 3}},
    },
    # Two find room on the cluster's one GPU. A third waits for another that never comes.
    "ray_actor_options": {"num_cpus": 0.1, "num_gpus": 0.4},
}


@dataclass
class Story:
    """What could be seen from outside, and what became of the runs."""

    address: str
    logs: Path
    applications: set[str] = field(default_factory=set)
    running: list[int] = field(default_factory=list)
    asked_for: int = 0
    ready: list[int] = field(default_factory=list)
    """What `/readyz` said while a replica waited for a GPU."""
    runs: list[Run] = field(default_factory=list)
    metrics: str = ""
    """What was counted while there was much to do."""
    told_to_go: Run | None = None
    """The run that its replica had in hand."""

    def until(self, ready: Callable[[], bool]) -> None:
        """Look on until then."""
        from ray import serve as rs

        deadline = time.monotonic() + READY_SECONDS
        while True:
            application = rs.status().applications["immersivaudio"]
            states: dict[Any, int] = application.deployments["MusicGenerator"].replica_states
            there = Counter(states)
            self.applications.add(application.status)
            self.running.append(there["RUNNING"])
            self.asked_for = max(self.asked_for, there["RUNNING"] + there["STARTING"])
            if there["STARTING"]:
                self.ready.append(httpx.get(f"{self.address}/readyz", timeout=60).status_code)
            if ready():
                return
            assert time.monotonic() < deadline, (self, there)
            time.sleep(0.2)

    def replica_of(self, run_id: str) -> Any:
        """Which one makes the run's music; None before it has begun."""
        begun = (line for line in log_lines(self.logs) if line.get("message") == "module begins")
        made_by = (line["replica"] for line in begun if (line["run_id"], line["part"]) == (run_id, "music"))
        return next(made_by, None)


def waiting(metrics: str) -> dict[str, float]:
    """Windows of sound, by the label that names the deployment."""
    told = [line for line in metrics.splitlines() if line.startswith("immersivaudio_windows_waiting{")]
    found = {line.partition("{")[2].partition("}")[0]: float(line.rpartition(" ")[2]) for line in told}
    return {'deployment="MusicGenerator"': 0.0, **found}


@dataclass
class Users:
    """Who sends texts."""

    service: ImmersivaudioClient
    seeds: Iterator[int] = field(default_factory=itertools.count)

    def submit(self, count: int, **more: Any) -> list[str]:
        """So many that nothing is known of yet; their ids."""
        asked = (Options(seed=next(self.seeds), sounds=False, **({"seconds": 2} | more)) for _ in range(count))
        return [self.service.submit_text("rain on the sea", options).id for options in asked]

    def submit_long(self, count: int, seconds: int) -> list[str]:
        """The same, for more work each."""
        return self.submit(count, steps=LONG_STEPS, seconds=seconds)

    def at_work(self, run_id: str) -> bool:
        """Whether the run goes on."""
        return self.service.run(run_id).ended_at is None


def see_from_outside(story: Story, users: Users, runs: list[str]) -> None:
    """Wait until Ray has passed on what waits: it does so every ten seconds. Where all has ended by then, more is sent."""

    def seen() -> bool:
        if not any(map(users.at_work, runs)):
            runs.extend(users.submit(BURST))
        story.metrics = httpx.get(f"{story.address}/metrics", timeout=60).text
        return waiting(story.metrics)['deployment="MusicGenerator"'] > 0

    story.until(seen)


def leave_one(story: Story, users: Users, long: list[str], *, first: str, seconds: int) -> str:
    """Wait until both replicas have a long run in hand, and cancel all but the one that `first` has not; its id."""
    by_replica: dict[Any, str] = {}

    def each_has_one() -> bool:
        begun = {run_id: story.replica_of(run_id) for run_id in long}
        by_replica.clear()
        by_replica.update({there: run_id for run_id, there in begun.items() if there and users.at_work(run_id)})
        if len(by_replica) < 2 and all(begun.values()):  # one took two, one after another
            long.extend(users.submit_long(1, seconds))
        return len(by_replica) == 2

    story.until(each_has_one)
    assert first in by_replica, (
        f"{first}, which was there at first, is not one of the two with a long run: {by_replica}"
    )
    left = next(run_id for replica, run_id in by_replica.items() if replica != first)
    for run_id in {*long} - {left}:
        users.service.cancel(run_id)
    return left


@pytest.fixture(scope="module")
def story(deploy: Deploy, ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A burst brings replicas. Then one run is left, on the newest of them, which is told to go; and some more come in."""
    folder = tmp_path_factory.mktemp("autoscaling")
    checkpoint = str(make_audioldm2(folder / "toy"))
    music = {"kind": "audioldm2", "checkpoint": checkpoint, "device": "cpu", "steps": USUAL}
    address = deploy("serve_config.yaml", store=str(folder / "store"), music=music, changed={"MusicGenerator": SCALING})
    story = Story(address, ray_folder)
    with ImmersivaudioClient(address) as service:
        users = Users(service)
        runs: list[str] = []
        for seconds in LONG:
            burst = users.submit(BURST)
            story.until(lambda: story.running[-1] == 2)
            long = users.submit_long(2, seconds)
            if not runs:
                see_from_outside(story, users, burst)
            left = leave_one(story, users, long, first=story.replica_of(burst[0]), seconds=seconds)
            runs += [*burst, left]
            story.until(lambda: story.running[-1] == 1)
            story.told_to_go = service.run(left)
            if story.told_to_go.ended_at is None:
                break
        runs += users.submit(LATER)
        story.until(lambda: not any(map(users.at_work, runs)))
        story.runs = [service.run(run_id) for run_id in runs]
        story.until(lambda: story.running[-1] == 1)
    return story


def test_a_burst_brings_as_many_replicas_as_find_a_gpu(story: Story) -> None:
    assert story.running[0] == 1
    assert max(story.running) == 2
    assert story.asked_for == 3


def test_the_service_goes_on_while_a_replica_waits_for_a_gpu_that_is_not_there(story: Story) -> None:
    assert story.applications == {"RUNNING"}
    # one answer may come too late on a busy machine
    assert story.ready.count(200) > 0.8 * len(story.ready) > 0


def test_a_replica_that_is_told_to_go_finishes_what_it_has_in_hand(story: Story) -> None:
    assert story.told_to_go is not None
    assert story.told_to_go.ended_at is None
    assert story.told_to_go.id in {run.id for run in story.runs}


def test_how_much_sound_waits_can_be_seen_from_outside(story: Story) -> None:
    told = waiting(story.metrics)
    assert told['deployment="MusicGenerator"'] > 0
    assert told['deployment="SoundGenerator"'] == 0


def test_no_run_is_lost_or_begun_again_when_replicas_come_and_go(story: Story) -> None:
    ended = [(run.status, run.retries, run.resumptions, run.error) for run in story.runs]
    assert {*ended} == {("finished", 0, 0, None)}


def test_what_a_model_says_of_its_work_is_in_the_replicas_log(story: Story) -> None:
    said = [str(line.get("message")) for line in log_lines(story.logs)]
    assert any("2 s of sound on cpu: about" in message for message in said)
