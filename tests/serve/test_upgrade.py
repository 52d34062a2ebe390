"""New versions take the place of old ones while runs are in flight. The long form is `bench/chaos.py --upgrades`."""

import functools
import itertools
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml

from bench.chaos import begun_after_done, padded, plays, submit
from bench.support.upgrades import Followers, Newcomers, slow_upload, upgrade, version
from client import ImmersivaudioClient, Options, Run
from tests import media_factory
from tests.serve.conftest import ROOT, Deploy

USERS = 3
# Users' runs are short, and may all end before their Pipeline goes, or begin after it. So there are some that take longer.
LONG_RUNS, LONG_SECONDS = 3, 500.0
UPGRADES = 3  # at most: until one has met a run in the middle
UPLOAD_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Upgraded:
    """What became of everybody while the service was replaced."""

    address: str
    sample: Path
    runs: list[Run]
    heard: int
    newcomers: Newcomers
    uploaded: Run


@pytest.fixture(scope="module")
def upgraded(deploy: Deploy, ray_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Upgraded:
    """Users who send one run after another, newcomers and an upload, through an upgrade to other settings, or several."""
    folder = tmp_path_factory.mktemp("upgrade")
    address = deploy("serve_config.yaml", store=str(folder / "store"))
    config: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["applications"][0]["args"]["store"] = str(folder / "store")
    del config["http_options"]
    newcomers = Newcomers(address, media_factory.make_image(folder / "a.png", size=(64, 36)).read_bytes())
    sent: list[str] = []
    with ImmersivaudioClient(address) as service:
        followers, seeds = Followers(address), itertools.count(1)
        followers.follow(submit(service, folder, 1))
        going_on = threading.Event()
        going_on.set()
        content = padded((folder / "sample.mp4").read_bytes(), UPLOAD_BYTES)

        def send_again_and_again() -> None:
            while going_on.is_set():
                ids = submit(service, folder, 1, seed=next(seeds))
                followers.follow(ids)
                service.wait(ids[0])

        def send_long_ones() -> list[str]:
            asked = (Options(seed=next(seeds), seconds=LONG_SECONDS) for _ in range(LONG_RUNS))
            ids = [service.submit_text("rain on the sea", options).id for options in asked]
            followers.follow(ids)
            while any(service.run(run_id).status == "accepted" for run_id in ids):
                time.sleep(0.1)
            return ids

        others = [
            *(threading.Thread(target=send_again_and_again, daemon=True) for _ in range(USERS)),
            threading.Thread(target=newcomers.go_on, daemon=True),
            threading.Thread(
                target=lambda: sent.append(slow_upload(address, content, going_on.is_set)[0]), daemon=True
            ),
        ]
        for thread in others:
            thread.start()
        try:
            for number in range(1, 2 * UPGRADES, 2):  # odd ones: other settings each time
                long = send_long_ones()
                upgrade(functools.partial(_deploy, version(config, number)), ray_folder)
                if any(service.run(run_id).resumptions for run_id in long):
                    break
        finally:
            going_on.clear()
            newcomers.stop.set()
        for thread in others:
            thread.join()
        runs, heard = followers.told()
        return Upgraded(address, folder / "0.mp4", runs, heard, newcomers, service.wait(sent[0]))


def _deploy(config: dict[str, Any]) -> None:
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    client = _get_global_client()
    assert client is not None
    client.deploy_apps(ServeDeploySchema.model_validate(config))


@pytest.mark.timeout(900)
def test_runs_go_on_in_the_new_version_and_nothing_is_lost(upgraded: Upgraded, tmp_path: Path) -> None:
    assert {(run.status, run.error) for run in upgraded.runs} == {("finished", None)}
    assert sum(run.resumptions for run in upgraded.runs) > 0
    with ImmersivaudioClient(upgraded.address) as service:
        for run in upgraded.runs:
            if run.record.video_input.media == "video":
                service.download(run.id, "video", tmp_path / "result.mp4")
                assert plays(tmp_path / "result.mp4", 12)
            else:
                service.download(run.id, "audio", tmp_path / "result.wav")
                assert soundfile.info(tmp_path / "result.wav").duration == LONG_SECONDS


def test_nothing_that_the_old_version_had_done_is_done_again(upgraded: Upgraded, ray_folder: Path) -> None:
    with ImmersivaudioClient(upgraded.address) as service:
        assert begun_after_done(service, upgraded.runs, ray_folder) == 0


def test_who_follows_a_run_hears_everything_once(upgraded: Upgraded) -> None:
    assert upgraded.heard == len(upgraded.runs)


def test_newcomers_are_never_refused(upgraded: Upgraded) -> None:
    assert set(upgraded.newcomers.seen.answers) == {"202"}


def test_an_upload_that_was_under_way_arrives(upgraded: Upgraded) -> None:
    assert upgraded.uploaded.status == "finished"
    assert upgraded.uploaded.record.video_input.duration_seconds == pytest.approx(12)


def test_what_the_old_settings_made_is_not_taken_for_what_the_new_ones_make(upgraded: Upgraded) -> None:
    first = upgraded.runs[0].record.video_input.options
    with ImmersivaudioClient(upgraded.address) as service:
        run = service.wait(service.submit(upgraded.sample, Options(seed=first.seed, k=first.k)).id)
    assert run.record.frame_extraction is not None
    assert run.record.frame_extraction.origin == "computed"
