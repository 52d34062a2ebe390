"""What the service adds to its modules: a run's wall time without theirs. Sketch profile, real HTTP, a Ray cluster of its own.

    python -m bench.overhead [--runs 20]

Each as median and worst of all runs:
    wall - sum       accepted to finished, minus the sum of all modules' times (those that run side by side count twice)
    wall - path      accepted to finished, minus the modules on the longest path through the graph: nothing is hidden by running
                     side by side
    client - path    the same from the client's side: from the first byte sent to the last event received, so with upload, MD5 and
                     the look at the file
    first event      from the last byte of the upload that was sent, to the first event that is received
    from the store   the same video with the same options once more: from the last byte sent to the last event received
A module's time is taken where it is called, so it holds the hop to its replica.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench.support.service import fresh_service
from client import ImmersivaudioClient
from client.sample import build_sample
from models.dependencies import READS
from models.record import MODULES, Module, Options, Run, StemKind

WARM_UP = 2


def longest_path(run: Run) -> float:
    """Seconds of the modules on the longest path through the graph."""
    took: dict[tuple[Module, StemKind | None], float] = {(t.module, t.part): t.seconds for t in run.timings}
    ends: dict[Module, float] = {"video_input": 0.0}
    for module in MODULES[1:]:
        begins = max((ends[read] for read in READS[module]), default=0.0)
        ends[module] = begins + max(seconds for (name, _), seconds in took.items() if name == module)
    return ends["reconstruction"]


class TimedFile(io.BytesIO):
    """A file that knows when it was last read from."""

    last_read = 0.0

    def read(self, size: int | None = -1) -> bytes:
        self.last_read = time.perf_counter()
        return super().read(size)


def followed(http: httpx.Client, video: Path, seed: int) -> tuple[float, float]:
    """Seconds from the end of the upload to the first event, and to the last."""
    file = TimedFile(video.read_bytes())
    with http.stream(
        "POST",
        "/v1/runs",
        params={"follow": True},
        files={"file": ("sample.mp4", file)},
        data={"options": f'{{"seed": {seed}}}'},
        headers={"accept": "application/x-ndjson"},
    ) as answer:
        times = [time.perf_counter() for _ in answer.iter_lines()]
    return times[0] - file.last_read, times[-1] - file.last_read


def measure(service: ImmersivaudioClient, video: Path, seed: int) -> tuple[float, float, float]:
    """(wall - sum, wall - path, client - path) of one run, seconds. Its frames are others than those of any other run."""
    began = time.perf_counter()
    run = service.submit(video, Options(seed=seed, k=10 + seed / 1000))
    for _ in service.events(run.id):
        pass
    seen = time.perf_counter() - began
    run = service.run(run.id)
    assert run.status == "finished", run.error
    assert run.ended_at is not None
    wall, path = run.ended_at - run.created_at, longest_path(run)
    return wall - sum(timing.seconds for timing in run.timings), wall - path, seen - path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "sample.mp4"
        build_sample(video)
        with (
            fresh_service(Path(folder)) as here,
            ImmersivaudioClient(here.url) as service,
            httpx.Client(base_url=here.url, timeout=60) as http,
        ):
            taken = [measure(service, video, seed) for seed in range(runs + WARM_UP)][WARM_UP:]
            first = [followed(http, video, seed)[0] for seed in range(runs)]
            again = [followed(http, video, seed)[1] for seed in range(runs)]
    print(f"{runs} runs of a 12 s video, after {WARM_UP} to warm up; milliseconds")
    print(f"{'':16}{'p50':>8}{'worst':>8}")
    for name, values in zip(("wall - sum", "wall - path", "client - path"), zip(*taken, strict=True), strict=True):
        _row(name, values)
    _row("first event", first)
    _row("from the store", again)


def _row(name: str, values: Sequence[float]) -> None:
    print(f"{name:16}{statistics.median(values) * 1000:8.0f}{max(values) * 1000:8.0f}")


if __name__ == "__main__":
    main()
