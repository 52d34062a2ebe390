"""The service as `make serve` starts it: what it weighs, and that workers that are copies of one process are like others."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bench.memory import LIMIT, weigh
from bench.support.replicas import kill, replicas, session
from bench.support.service import fresh_service
from client import ImmersivaudioClient, Options
from client.local_service import LocalService
from tests import media_factory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are copies on Linux alone")

SETTLE_SECONDS = 60  # what only the start needed is given back


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalService]:
    with fresh_service(tmp_path_factory.mktemp("service")) as here:
        yield here


def server_of(here: LocalService) -> int:
    """The process that workers are copies of."""
    for pid in session(here.leader):
        with suppress(OSError):  # it has ended meanwhile
            if b"forked.py\0--server" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    raise AssertionError("there is none")


@pytest.mark.timeout(600)
def test_idle_it_takes_no_more_memory_than_is_promised(here: LocalService) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while (weight := sum(process.pss for process in weigh(session(here.leader)))) > LIMIT:
        assert time.monotonic() < deadline, weight
        time.sleep(2)


def test_no_replica_has_what_the_sketches_do_not_need(here: LocalService) -> None:
    there = replicas(here.scratch)
    assert len(there) == 9
    for name, (pid, *_) in there.items():
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "/torch/" not in mapped, name
        # scikit-learn, which finds the medoid, takes it along where it is installed
        assert name == "FrameSelector" or "/pandas/" not in mapped, name


@pytest.mark.timeout(600)
def test_a_worker_that_dies_takes_no_other_with_it_and_is_replaced(here: LocalService, tmp_path: Path) -> None:
    before = replicas(here.scratch)
    kill(before["MusicGenerator"][0])
    video = media_factory.make_video(tmp_path / "film.mp4", frames=50)
    with ImmersivaudioClient(here.url) as service:
        run = service.submit(video, Options(seed=1))
        for _ in service.events(run.id):
            pass
        assert service.run(run.id).status == "finished"
    after = replicas(here.scratch)
    assert after["MusicGenerator"] != before["MusicGenerator"]
    assert {name: pids for name, pids in after.items() if name != "MusicGenerator"} == {
        name: pids for name, pids in before.items() if name != "MusicGenerator"
    }


@pytest.mark.timeout(600)
def test_where_the_process_that_is_copied_has_died_another_takes_its_place(here: LocalService) -> None:
    died, working = server_of(here), replicas(here.scratch)["Reconstructor"][0]
    os.kill(died, signal.SIGKILL)
    kill(working)
    deadline = time.monotonic() + 200
    # Replicas are known by who started them: what is found now is a copy of another process.
    while not replicas(here.scratch).get("Reconstructor") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert replicas(here.scratch)["Reconstructor"] != [working]
    assert server_of(here) != died


@pytest.mark.timeout(600)
def test_on_sigterm_it_ends_every_process_in_order(tmp_path: Path) -> None:
    with fresh_service(tmp_path) as own:
        os.kill(own.leader, signal.SIGTERM)
        deadline = time.monotonic() + 200
        while session(own.leader):
            assert time.monotonic() < deadline, session(own.leader)
            time.sleep(0.2)
    log = (tmp_path / "serve.log").read_text()
    assert "shutting down" in log  # Serve, which ends replicas in order
    assert "Traceback" not in log
    assert "***" not in log  # what Ray's own handler prints of the stack
