"""A Ray cluster of several nodes on this machine that share no folder: each has its own working place, scratch and Ray folder, and
sees of the others what goes over sockets. Where the kernel allows it, a node cannot even open what lies in the others' folders.

What they have in common on this machine: its clock, its loopback, and the code, which is installed.
"""

import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from bench.support.replicas import kill, session
from client.local_service import signals_as_exceptions

START_SECONDS = 60.0
DEPLOY_ATTEMPTS = (
    3  # on a machine with more to do than cores, Ray's own few seconds until it is answered may not be enough
)
# Hides the folder that all nodes' folders lie in from everybody but this node, and shows it its own one there.
WALL = """
set -e
cd "$1"
mount -t tmpfs none "$2"
mkdir "$1"
mount --no-canonicalize --bind . "$1"
cd "$1"
shift 2
exec "$@"
"""
# As whoever looks after machines would: Ray gives a node up that could not join within 30 seconds.
AGAIN = 'until "$@"; do sleep 1; done'
DEPLOY = """
import sys, ray, yaml
from ray import serve as rs
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema
ray.init(address=sys.argv[1], namespace="serve", log_to_driver=False, configure_logging=False)
schema = ServeDeploySchema.model_validate(yaml.safe_load(open(sys.argv[2])))
rs.start(proxy_location=schema.proxy_location, http_options=schema.http_options.model_dump())
_get_global_client().deploy_apps(schema)
"""
"""What `serve deploy` does through the dashboard, which this cluster does without: a dozen processes less."""


@dataclass(frozen=True)
class Node:
    """One node: all processes of one session."""

    name: str
    kind: str
    """The custom resource that it has; "head" for the head, which has none, and no CPU for work."""
    folder: Path
    leader: "subprocess.Popen[bytes]"

    @property
    def ray(self) -> Path:
        """Ray's own folder."""
        return self.folder / "ray"


class Nodes:
    """The cluster. `nodes` are those that are alive, the head first."""

    def __init__(self, folder: Path, *, port: int, environment: Mapping[str, str]) -> None:
        self.nodes: list[Node] = []
        self._folder = folder
        self._port = port
        self._environment = dict(environment)
        self._started = 0

    @property
    def address(self) -> str:
        """Of the head's control store."""
        return f"127.0.0.1:{self._port}"

    def start_head(self, *, cpus: int = 0) -> Node:
        """The head, when others may join it. It has no CPU for work unless it is given some. Raises TimeoutError."""
        told = ["--head", f"--port={self._port}", f"--num-cpus={cpus}", "--include-dashboard=false"]
        head = self._start("head", told)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return head
            time.sleep(0.1)
        raise TimeoutError(f"the head did not answer after {START_SECONDS:g} s")

    def start(self, kind: str) -> Node:
        """A node with the custom resource `kind`. Returns at once: it joins a few seconds later."""
        return self._start(kind, [f"--address={self.address}", "--num-cpus=4", f'--resources={{"{kind}": 1}}'])

    def _start(self, kind: str, arguments: list[str]) -> Node:
        self._started += 1
        name = f"{self._started}-{kind}"
        folder = self._folder / name
        (folder / "scratch").mkdir(parents=True)
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        command += [*arguments, f"--temp-dir={folder / 'ray'}", "--node-ip-address=127.0.0.1", *_ports()]
        command += ["--object-store-memory=80000000"]
        if kind != "head" and can_wall():
            command = ["unshare", "--mount", "sh", "-c", WALL, "sh", str(folder), str(self._folder), *command]
        if kind != "head":
            command = ["sh", "-c", AGAIN, "sh", *command]
        with (folder / "ray.log").open("wb") as log:
            leader = subprocess.Popen(
                command,
                cwd=folder,
                env=os.environ | self._environment | {"TMPDIR": str(folder / "scratch")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        node = Node(name, kind, folder, leader)
        self.nodes.append(node)
        return node

    def kill(self, node: Node) -> None:
        """SIGKILL to everything that runs on it."""
        while there := session(node.leader.pid):
            for pid in there:
                kill(pid)
            time.sleep(0.05)
        node.leader.wait()
        self.nodes.remove(node)

    def deploy(self, config: Mapping[str, Any]) -> None:
        """Make Serve run this. Returns when it has been told so, which is before it has done so."""
        file = self._folder / "config.yaml"
        file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
        environment = os.environ | self._environment
        command = [sys.executable, "-c", DEPLOY, self.address, str(file)]
        for _ in range(DEPLOY_ATTEMPTS):
            told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if told.returncode == 0:
                return
        raise RuntimeError(told.stderr)

    def stop(self) -> None:
        """End every process that was started."""
        for node in [*self.nodes]:
            self.kill(node)


@contextmanager
def nodes(environment: Mapping[str, str]) -> Iterator[Nodes]:
    """A cluster without a node yet. Everything that it has written is deleted at the end."""
    # Unix sockets lie below this folder, and their paths end at 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="iv-", dir="/tmp"))
    own = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.access:at_the_proxy",
    }
    cluster = Nodes(folder, port=free_ports(1)[0], environment={**own, **environment})
    with signals_as_exceptions():
        try:
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(folder, ignore_errors=True)


def wait_until_ready(url: str, *, seconds: float) -> None:
    """Return when the service there takes requests. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"the service was not ready after {seconds:g} s")


def files_of_others(cluster: Nodes) -> set[Path]:
    """What processes of a node have open just now in the folder of another one: nothing, as it should be."""
    found: set[Path] = set()
    for node in cluster.nodes:
        others = [other.folder for other in cluster.nodes if other is not node]
        for pid in session(node.leader.pid):
            found |= {path for path in _open_files(pid) if any(path.is_relative_to(other) for other in others)}
    return found


@functools.cache
def can_wall() -> bool:
    """Whether a process may have mounts of its own here."""
    if not shutil.which("unshare"):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _ports() -> list[str]:
    """Those for which Ray's defaults are fixed numbers: several nodes are on this machine, and perhaps other clusters."""
    names = (
        "dashboard-agent-listen-port",
        "dashboard-agent-grpc-port",
        "metrics-export-port",
        "runtime-env-agent-port",
    )
    ports = free_ports(len(names))
    return [f"--{name}={port}" for name, port in zip(names, ports, strict=True)] + [
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]


def _open_files(pid: int) -> Iterator[Path]:
    with suppress(OSError):  # it has ended
        for entry in (Path(f"/proc/{pid}/cwd"), *Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(OSError):
                yield entry.readlink()
