"""Runs while the nodes that they are worked on at die. Sketch profile, real HTTP, a Ray cluster of nodes that share no folder.

    python -m bench.nodes [--runs 10] [--pause 4] [--join 5]

A head without CPU for work and a node or two of each kind (custom resources `cpu_worker`, `gpu_vision`, `gpu_audio`), with the
deployments pinned to their kinds; the store is a bucket of an S3 API (moto's server, on this machine). For each kind: so many
runs are submitted, then every process of one of its nodes is killed, and another node of the kind joins some seconds later.
Looked at afterwards: how every run ended, whether its result plays and is as long as its picture, whether a module began once
more after it had finished, what is left on the nodes, and whether a node ever had a file of another one open.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.chaos import nothing_lost, submit
from bench.support.nodes import Node, Nodes, can_wall, files_of_others, free_ports, nodes, wait_until_ready
from bench.support.replicas import replicas
from bench.support.upgrades import Followers
from client import ImmersivaudioClient
from models.record import Event, ModuleDone, Progress, Started
from tests.serve.s3 import s3_server

KINDS: Mapping[str, tuple[str, ...]] = {
    "cpu_worker": ("Ingress", "Pipeline", "FrameExtractor", "Reconstructor"),
    "gpu_vision": ("ObjectDetector", "FrameSelector", "FrameDescriber"),
    "gpu_audio": ("MusicGenerator", "SoundGenerator"),
}
# What tells, in a run's log, that a node of the kind works.
MODULES = {
    "gpu_vision": ("object_detection", "frame_selection", "frame_description"),
    "gpu_audio": ("audio_generation",),
}
READY_SECONDS = 240.0
WHOLE_SECONDS = 180.0  # until another node has taken the place of a killed one


@dataclass
class Strangers:
    """Looks again and again for files that a process of one node has open in the folder of another."""

    cluster: Nodes
    looks: int = 0
    found: set[Path] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def looking(self) -> Iterator[None]:
        """As long as the block lasts."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.5):
            self.found |= files_of_others(self.cluster)
            self.looks += 1


@dataclass(frozen=True)
class Death:
    """One node that was killed."""

    kind: str
    replicas: int
    at: float
    """Unix time, seconds."""
    whole: float
    """Seconds until every deployment of its kind had a replica again, and another node was there."""


def pinned(store: str, *, port: int) -> dict[str, Any]:
    """`serve_config.yaml`, with every deployment on nodes of its kind."""
    config: dict[str, Any] = yaml.safe_load(Path("serve_config.yaml").read_text())
    config["http_options"]["port"] = port
    application = config["applications"][0]
    application["args"]["store"] = store
    for deployment in application["deployments"]:
        kind = next(kind for kind, names in KINDS.items() if deployment["name"] in names)
        deployment["ray_actor_options"]["resources"] = {kind: 0.001}
    return config


@contextmanager
def pinned_service(*kinds: str) -> Iterator[tuple[Nodes, str]]:
    """The service on nodes of these kinds, ready: the cluster, and the service's address."""
    with s3_server() as endpoint:
        httpx.put(f"{endpoint}/nodes").raise_for_status()
        bucket = {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ALLOW_HTTP": "true",
        }
        with nodes(bucket) as cluster:
            cluster.start_head()
            for kind in kinds:
                cluster.start(kind)
            port = free_ports(1)[0]
            cluster.deploy(pinned("s3://nodes/some/prefix", port=port))
            wait_until_ready(f"http://127.0.0.1:{port}", seconds=READY_SECONDS)
            yield cluster, f"http://127.0.0.1:{port}"


def busiest(cluster: Nodes, kind: str) -> Node:
    """Of the nodes of this kind, the one with the most replicas."""
    return max((node for node in cluster.nodes if node.kind == kind), key=lambda node: len(replicas(node.ray)))


def stands(cluster: Nodes, kind: str) -> bool:
    """Whether every deployment of this kind has a replica."""
    there = {name for node in cluster.nodes if node.kind == kind for name in replicas(node.ray)}
    return there >= set(KINDS[kind])


def kill_and_replace(cluster: Nodes, kind: str, *, join: float) -> Death:
    """Kill a node of this kind, start another so many seconds later, and wait until the service is whole. Raises TimeoutError."""
    node = busiest(cluster, kind)
    died, at, began = len(replicas(node.ray)), time.time(), time.monotonic()
    cluster.kill(node)
    time.sleep(join)
    another = cluster.start(kind)
    while time.monotonic() - began < WHOLE_SECONDS:
        if stands(cluster, kind) and any(another.ray.glob("session_2*/sockets/raylet*")):
            return Death(kind, died, at, time.monotonic() - began)
        time.sleep(0.2)
    raise TimeoutError(f"no other {kind} node had taken the killed one's place after {WHOLE_SECONDS:g} s")


def went_on(death: Death, logs: Mapping[str, list[Event]]) -> float:
    """Seconds until a run's log told of the kind's work again: of a run taken over, or of a module that was done."""

    def tells(event: Event) -> bool:
        if death.kind == "cpu_worker":
            return isinstance(event, Started) and event.seq > 2
        return isinstance(event, ModuleDone) and event.module in MODULES[death.kind]

    times = (event.at for log in logs.values() for event in log if event.at > death.at and tells(event))
    return min(times, default=float("inf")) - death.at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="before each kind of node is killed")
    parser.add_argument("--pause", type=float, default=4.0, help="seconds from the last of these to the kill")
    parser.add_argument("--join", type=float, default=5.0, help="seconds from the kill until another node starts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, pinned_service(*KINDS, "gpu_audio") as (cluster, url):
        strangers = Strangers(cluster)
        with strangers.looking():
            return _bench(cluster, url, strangers, Path(name), given)


def _bench(cluster: Nodes, url: str, strangers: Strangers, folder: Path, given: argparse.Namespace) -> int:
    deaths, folders, began = [], {node.ray for node in cluster.nodes}, time.monotonic()
    with ImmersivaudioClient(url) as service:
        followers = Followers(url)
        for number, kind in enumerate(KINDS):
            followers.follow(submit(service, folder, given.runs, seed=number * given.runs))
            time.sleep(given.pause)
            deaths.append(kill_and_replace(cluster, kind, join=given.join))
            folders |= {node.ray for node in cluster.nodes}
        runs, heard = followers.told()
        took = time.monotonic() - began
        walls = "the kernel keeps nodes out of each other's folders" if can_wall() else "no walls here"
        print(
            f"{len(runs)} runs of a 12 s video in {took:.0f} s, on a head and 4 nodes; the store is a bucket; {walls}"
        )
        fine = nothing_lost(service, runs, heard, folder, *folders)
        logs = {run.id: [event for event in service.events(run.id) if not isinstance(event, Progress)] for run in runs}
    left = [path for node in cluster.nodes for path in (node.folder / "scratch").rglob("*") if path.is_file()]
    print("killed        replicas  work went on  whole again, seconds")
    for death in deaths:
        print(f"{death.kind:12} {death.replicas:9} {went_on(death, logs):13.1f} {death.whole:12.1f}")
    print(
        f"files left in scratch {len(left)}; of another node's, open in {strangers.looks} looks {len(strangers.found)}"
    )
    return 0 if fine and not left and not strangers.found else 1


if __name__ == "__main__":
    raise SystemExit(main())
