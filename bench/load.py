"""The service under load. Real HTTP, a Ray cluster of its own, the sketch profile, and music by AudioLDM2 on a model of a GPU.

    python -m bench.load [--seconds 60] [--film 6]        about 7 minutes
    python -m bench.load --replicas [--seconds 60]        about 7 minutes

First the capacity: 24 clients, each of which sends its next run when the one before has ended. Then runs arrive by themselves (a
Poisson process, open loop), at 25 to 150 % of it; the service is empty again before the next load begins. Films and seeds differ,
so nothing comes from the cache. The music is made by the real engine at toy size, whose UNet waits as long as a device would take
(see `bench/support/device.py`) and leaves the CPUs to the rest.

    offered, served     runs per second: sent, and finished while runs were being sent
    first event         milliseconds from the first byte sent to the first event received, so with upload and the look at the file
    result              seconds from the first byte sent to the last event of a finished run
    refused             429: as many runs wait as may
    lost                accepted, and not finished
    left                accepted and not finished when the last was sent

--replicas: the capacity with one replica of the music, and with two, at three times the steps: so that the device is short, and not
the CPUs that all the rest shares.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.support.arrivals import Films, Served, client, closed, poisson
from bench.support.audioldm2 import checkpoint
from bench.support.device import CALL_SECONDS, ROW_SECONDS
from client.local_service import LocalService, local_service

SHARES = (0.25, 0.5, 0.75, 1.0, 1.5)
CLIENTS, CLIENTS_OF_REPLICAS = 24, 16
STEPS, STEPS_OF_REPLICAS = 40, 120
WINDOWS = 8  # in a call, at most
TRACKS = 16  # that a replica works on at once
READY_SECONDS = 240


@dataclass(frozen=True)
class Load:
    """What came of one load."""

    name: str
    seconds: float
    """For which runs were sent."""
    began: float
    """On the monotonic clock."""
    runs: Sequence[Served]
    cpu: float
    """Of one CPU, that the client took."""

    @property
    def accepted(self) -> list[Served]:
        return [run for run in self.runs if not run.refused]

    @property
    def finished(self) -> list[Served]:
        return [run for run in self.runs if run.result is not None]

    @property
    def lost(self) -> int:
        return len(self.accepted) - len(self.finished)

    def finished_between(self, begin: float, end: float) -> int:
        """How many finished, between two shares of the time in which runs were sent."""
        ends = (run.sent + (run.result or 0) - self.began for run in self.finished)
        return sum(begin * self.seconds <= at < end * self.seconds for at in ends)

    @property
    def served(self) -> float:
        """Runs per second."""
        return self.finished_between(0, 1) / self.seconds

    @property
    def capacity(self) -> float:
        """Runs per second, of a closed loop: without its beginning, in which nothing can have finished yet."""
        return self.finished_between(0.25, 1) / (0.75 * self.seconds)

    def quantiles(self, what: str) -> tuple[float, float, float]:
        """p50, p95 and p99, seconds; of fewer than a hundred runs the last is close to the worst."""
        p50, p95, p99 = np.quantile([getattr(run, what) for run in self.finished] or [np.nan], (0.5, 0.95, 0.99))
        return float(p50), float(p95), float(p99)


@contextmanager
def service(folder: Path, *, replicas: int = 1, steps: int = STEPS) -> Iterator[LocalService]:
    """The sketch service with that many replicas of AudioLDM2 for the music, on the modelled device."""
    checkpoint_folder = folder / "audioldm2"
    if not checkpoint_folder.is_dir():
        checkpoint(checkpoint_folder, size="toy")
    config = configured(checkpoint_folder, store=folder / f"store{replicas}", replicas=replicas, steps=steps)
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with local_service(folder / "config.yaml", log=folder / "serve.log") as here:
        here.wait_until_ready(timeout_seconds=READY_SECONDS)
        yield here


def configured(checkpoint_folder: Path, *, store: Path, replicas: int, steps: int) -> dict[str, Any]:
    """`serve_config.yaml`, changed."""
    config: dict[str, Any] = yaml.safe_load(Path("serve_config.yaml").read_text())
    application = config["applications"][0]
    application["import_path"] = "bench.support.device:build"
    application["args"] |= {"store": str(store), "music": music(checkpoint_folder, steps=steps)}
    for deployment in application["deployments"]:
        if deployment["name"] == "MusicGenerator":
            deployment |= {"num_replicas": replicas, "max_ongoing_requests": TRACKS}
    return config


def music(checkpoint_folder: Path, *, steps: int = STEPS) -> dict[str, Any]:
    """The settings of AudioLDM2."""
    sizes = {"steps": steps, "windows": WINDOWS, "at_once": TRACKS}
    return {"kind": "audioldm2", "checkpoint": str(checkpoint_folder), "device": "cpu", "compiled": False, **sizes}


async def measure_capacity(url: str, films: Films, *, seconds: float, clients: int = CLIENTS) -> Load:
    """A closed loop."""
    async with client(url) as http:
        await closed(http, films, clients=2, seconds=0.1)  # what is imported and asked for once
        began, cpu = time.monotonic(), time.process_time()
        runs = await closed(http, films, clients=clients, seconds=seconds)
    return Load("closed", seconds, began, runs, (time.process_time() - cpu) / (time.monotonic() - began))


async def measure(url: str, films: Films, *, share: float, capacity: float, seconds: float) -> Load:
    """An open loop."""
    async with client(url) as http:
        began, cpu = time.monotonic(), time.process_time()
        runs = await poisson(http, films, per_second=share * capacity, seconds=seconds)
    return Load(f"{share:.0%}", seconds, began, runs, (time.process_time() - cpu) / (time.monotonic() - began))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicas", action="store_true", help="two replicas of the music beside one")
    parser.add_argument("--seconds", type=float, default=60, help="for which runs are sent, of each load")
    parser.add_argument("--film", type=float, default=6, help="seconds of the films")
    given = parser.parse_args()
    steps = STEPS_OF_REPLICAS if given.replicas else STEPS
    print(
        f"{os.cpu_count()} CPUs; films of {given.film:g} s; a call of the device takes {1000 * CALL_SECONDS:g} ms and ",
        end="",
    )
    print(f"{1000 * ROW_SECONDS:g} ms a row, at most {2 * WINDOWS} rows; {steps} steps, {TRACKS} tracks at once")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = Films.make(folder, seconds=given.film)
        return (_replicas if given.replicas else _loads)(folder, films, given.seconds)


def _loads(folder: Path, films: Films, seconds: float) -> int:
    with service(folder) as here:
        loads = [asyncio.run(measure_capacity(here.url, films, seconds=seconds))]
        print(f"capacity {loads[0].capacity:.2f} runs/s\n\n{HEAD}\n{_row(loads[0])}", flush=True)
        for share in SHARES:
            coming = measure(here.url, films, share=share, capacity=loads[0].capacity, seconds=seconds)
            loads.append(asyncio.run(coming))
            print(_row(loads[-1]), flush=True)
    return 0 if sum(load.lost for load in loads) == 0 else 1


def _replicas(folder: Path, films: Films, seconds: float) -> int:
    capacities, lost = [], 0
    print(HEAD)
    for count in (1, 2):
        with service(folder, replicas=count, steps=STEPS_OF_REPLICAS) as here:
            loop = measure_capacity(here.url, films, seconds=2 * seconds, clients=CLIENTS_OF_REPLICAS)
            load = asyncio.run(loop)
        capacities.append(load.capacity)
        lost += load.lost
        print(_row(load), flush=True)
    print(f"\ntwo replicas of the music do {capacities[1] / capacities[0]:.2f} times as much as one", end="")
    print(f": {capacities[1]:.2f} beside {capacities[0]:.2f} runs/s")
    return 0 if lost == 0 else 1


HEAD = (
    f"{'load':>7}{'offered':>9}{'served':>8}{'first event ms':>23}{'result s':>22}{'runs':>6}{'refused':>8}{'lost':>5}{'left':>5}"
    f"{'client':>8}\n{'':24}" + 2 * f"  {'p50':>7}{'p95':>7}{'p99':>7}" + f"{'CPU':>32}"
)


def _row(load: Load) -> str:
    first = "".join(f"{1000 * value:7.0f}" for value in load.quantiles("first"))
    result = "".join(f"{value:7.2f}" for value in load.quantiles("result"))
    left = len(load.finished) - load.finished_between(0, 1)
    counts = f"{len(load.runs):6}{len(load.runs) - len(load.accepted):8}{load.lost:5}{left:5}"
    offered = len(load.runs) / load.seconds
    return f"{load.name:>7}{offered:9.2f}{load.served:8.2f}  {first}  {result}{counts}{load.cpu:8.0%}"


if __name__ == "__main__":
    raise SystemExit(main())
