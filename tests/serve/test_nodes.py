"""The service on nodes that share no folder, one of which is killed in mid-run. The long form is `bench/nodes.py`."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.chaos import begun_after_done, plays, submit
from bench.nodes import KINDS, Strangers, pinned_service
from bench.support.nodes import Node
from bench.support.replicas import replicas
from bench.support.upgrades import Followers
from client import ImmersivaudioClient, Run
from serve.modules import files_of

RUNS = 4


@dataclass(frozen=True)
class Survivors:
    """What became of the runs."""

    service: ImmersivaudioClient
    runs: list[Run]
    heard: int
    placed: dict[str, set[str]]
    """Deployments, by the kind of the nodes that they were on before one was killed."""
    killed: Node
    living: list[Node]
    everybody: list[Path]
    strangers: Strangers


@pytest.fixture(scope="module")
def survivors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Survivors]:
    """Runs whose pipeline was killed with its whole node; there is another of the same kind."""
    with pinned_service("cpu_worker", "cpu_worker", "gpu_vision", "gpu_audio") as (cluster, url):
        everybody = [*cluster.nodes]
        placed: dict[str, set[str]] = {}
        for node in everybody:
            placed.setdefault(node.kind, set()).update(replicas(node.ray))
        strangers = Strangers(cluster)
        with strangers.looking(), ImmersivaudioClient(url) as service:
            followers, ids = Followers(url), submit(service, tmp_path_factory.mktemp("sample"), RUNS)
            followers.follow(ids)
            while service.run(ids[0]).record.prompt_enhancement is None:
                time.sleep(0.1)
            killed = next(node for node in everybody if "Pipeline" in replicas(node.ray))
            cluster.kill(killed)
            runs, heard = followers.told()
            folders = [node.ray for node in everybody]
            yield Survivors(service, runs, heard, placed, killed, cluster.nodes, folders, strangers)


@pytest.mark.timeout(600)
def test_deployments_are_on_nodes_of_their_kind(survivors: Survivors) -> None:
    assert survivors.placed == {"head": set(), **{kind: set(names) for kind, names in KINDS.items()}}


def test_the_runs_of_a_node_that_was_killed_finish_elsewhere(survivors: Survivors, tmp_path: Path) -> None:
    assert [(run.status, run.error) for run in survivors.runs] == [("finished", None)] * RUNS
    assert sum(run.resumptions for run in survivors.runs) > 0
    for run in survivors.runs:
        survivors.service.download(run.id, "video", tmp_path / "result.mp4")
        assert plays(tmp_path / "result.mp4", 12)


def test_who_follows_a_run_does_not_notice_that_the_node_of_the_ingress_is_gone(survivors: Survivors) -> None:
    assert survivors.heard == RUNS


def test_nothing_that_was_done_on_any_node_is_done_again(survivors: Survivors) -> None:
    assert begun_after_done(survivors.service, survivors.runs, *survivors.everybody) == 0


def test_nodes_share_nothing_but_the_bucket(survivors: Survivors) -> None:
    assert survivors.strangers.looks > 0
    assert survivors.strangers.found == set()
    names = {Path(key).name for run in survivors.runs for key in files_of(run.record)}
    assert {"result.mp4"} <= names
    for node in (*survivors.living, survivors.killed):
        assert {path.name for path in node.folder.iterdir()} == {"ray", "ray.log", "scratch"}
    for node in survivors.living:
        assert [path for path in node.folder.rglob("*") if path.name in names] == []
