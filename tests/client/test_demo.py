"""`make demo`: what it starts it stops, whatever happens. The service is a stand-in, except in the last test."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from client.local_service import LocalService, local_service

ROOT = Path(__file__).parents[2]
PROGRAM = """
import functools, signal, sys
import client.demo as demo, client.local_service as local
local.STOPPING = ((signal.SIGINT, 3.0), (signal.SIGTERM, 0.5), (signal.SIGKILL, 5.0))
demo.READY_SECONDS = float(sys.argv[1])
demo.local_service = functools.partial(local.local_service, command=(sys.executable, "-m", "tests.client.stand_in"))
demo.build_sample = lambda path: path.write_bytes(b"pictures")
sys.exit(demo.main())
"""


class Demo:
    """The demo in a folder of its own."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.log = folder / "out" / "serve.log"
        (folder / "serve_config.yaml").write_text(yaml.safe_dump({"http_options": {"port": free_port()}} | config))

    def start(self, *, ready_seconds: float = 60, **named: Any) -> "subprocess.Popen[str]":
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(ready_seconds)], cwd=self.folder, env=environment, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **named,
        )  # fmt: skip

    def said(self, word: str) -> list[str]:
        """What the stand-in printed behind this word, once it has."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines() if self.log.exists() else []:
                if line.startswith(word + " "):
                    return line.split()[1:]
            time.sleep(0.02)
        raise AssertionError(f"the stand-in never printed {word}")

    def leftovers(self) -> list[str]:
        scratch = Path(self.said("environment")[1])
        alive = [pid for pid in self.said("pids") if is_alive(int(pid))]
        return alive + ([str(scratch)] if scratch.exists() else [])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ends(demo: Demo, child: "subprocess.Popen[str]") -> tuple[int, str]:
    _, told = child.communicate(timeout=60)
    return child.returncode, told


def test_it_leaves_the_result_and_nobody_running(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    code, told = ends(demo, demo.start())
    assert code == 0, told
    assert (tmp_path / "out" / "demo.mp4").read_bytes() == b"the result"
    assert demo.leftovers() == []
    for words in ("the service is ready", "object_detection: water", "out/demo.mp4 is there, ", "Next: "):
        assert words in told


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=str,
)
def test_a_signal_in_the_middle_leaves_nobody_running(tmp_path: Path, number: signal.Signals, code: int) -> None:
    demo = Demo(tmp_path, behaviour="slow")
    child = demo.start()
    assert child.stderr
    for line in child.stderr:
        if line.startswith("accepted"):
            break
    child.send_signal(number)
    assert ends(demo, child)[0] == code
    assert demo.leftovers() == []


def test_a_signal_while_the_service_starts_leaves_nobody_running(tmp_path: Path) -> None:
    demo = Demo(tmp_path, behaviour="never_ready")
    child = demo.start()
    demo.said("SIGINT")
    child.send_signal(signal.SIGINT)
    assert ends(demo, child)[0] == 130
    assert demo.leftovers() == []


def test_an_impatient_second_ctrl_c_leaves_nobody_running_either(tmp_path: Path) -> None:
    demo = Demo(tmp_path, behaviour="never_ready")
    child = demo.start()
    demo.said("SIGINT")
    for _ in range(3):
        child.send_signal(signal.SIGINT)
        time.sleep(0.3)
    child.communicate(timeout=60)
    assert demo.leftovers() == []


def test_a_service_that_dies_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    demo = Demo(tmp_path, behaviour="dies")
    code, told = ends(demo, demo.start())
    assert code == 1
    assert "demo: the service ended while it started (exit code 1). The end of out/serve.log:" in told
    assert "no such module" in told
    assert "Traceback" not in told
    assert demo.leftovers() == []


def test_a_service_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    demo = Demo(tmp_path, behaviour="never_ready")
    code, told = ends(demo, demo.start(ready_seconds=5))
    assert (code, "demo: the service was not ready after 5 s" in told) == (1, True)
    assert demo.leftovers() == []


def test_where_the_port_is_taken_it_takes_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        demo = Demo(tmp_path, http_options={"host": "127.0.0.1", "port": taken.getsockname()[1]})
        config = (tmp_path / "serve_config.yaml").read_text()
        code, told = ends(demo, demo.start())
    assert code == 0, told
    assert (tmp_path / "serve_config.yaml").read_text() == config


def test_the_service_can_be_interrupted_though_the_demo_runs_in_the_background(tmp_path: Path) -> None:
    demo = Demo(tmp_path)
    # As a shell without job control starts a job behind an ampersand.
    ignoring: Callable[[], Any] = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731
    code, told = ends(demo, demo.start(preexec_fn=ignoring))
    assert (code, demo.said("SIGINT")) == (0, ["True"]), told


def ray_processes(scratch: str) -> Iterator[str]:
    """Every process whose environment names this folder, whatever its session."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and scratch.encode() in (entry / "environ").read_bytes():
                yield f"{entry.name} {(entry / 'cmdline').read_text()[:60]}"
        except OSError:
            continue


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="leftovers are looked for in /proc")
def test_a_whole_ray_cluster_is_gone_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    application = {"name": "toy", "route_prefix": "/", "import_path": "tests.client.toy_app:build"}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"http_options": {"port": free_port()}, "applications": [application]}))
    with local_service(config, log=tmp_path / "serve.log") as service:
        scratch = ray_scratch(service)
        service.wait_until_ready(timeout_seconds=200)
        assert httpx.get(f"{service.url}/readyz").json() == "ready"
        assert len(list(ray_processes(scratch))) > 5
    assert list(ray_processes(scratch)) == []
    assert not Path(scratch).exists()
    assert list(home.iterdir()) == []


def ray_scratch(service: LocalService) -> str:
    assert service._child
    environment = Path(f"/proc/{service._child.pid}/environ").read_bytes().split(b"\0")
    return next(entry for entry in environment if entry.startswith(b"RAY_TMPDIR=")).decode().removeprefix("RAY_TMPDIR=")
