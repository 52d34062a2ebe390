"""What the service adds to its modules: a run's wall time without theirs. Sketch profile, real HTTP, a Ray cluster of its own.

    python -m bench.overhead [--runs 20]

Three differences, each as median and worst of all runs:
    wall - sum       accepted to finished, minus the sum of all modules' times (those that run side by side count twice)
    wall - path      accepted to finished, minus the modules on the longest path through the graph: nothing is hidden by running
                     side by side
    client - path    the same from the client's side: from the first byte sent to the last event received, so with upload, MD5 and
                     the look at the file
A module's time is taken where it is called, so it holds the hop to its replica.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from client import ImmersivaudioClient
from client.local_service import local_service
from client.sample import build_sample
from models.record import MODULES, Module, Options, Run, StemKind
from models.steps import READS

WARM_UP = 2


def longest_path(run: Run) -> float:
    """Seconds of the modules on the longest path through the graph."""
    took: dict[tuple[Module, StemKind | None], float] = {(t.module, t.part): t.seconds for t in run.timings}
    ends: dict[Module, float] = {"video_input": 0.0}
    for module in MODULES[1:]:
        begins = max((ends[read] for read in READS[module]), default=0.0)
        ends[module] = begins + max(seconds for (name, _), seconds in took.items() if name == module)
    return ends["reconstruction"]


def measure(service: ImmersivaudioClient, video: Path, seed: int) -> tuple[float, float, float]:
    """(wall - sum, wall - path, client - path) of one run, seconds."""
    began = time.perf_counter()
    run = service.submit(video, Options(seed=seed))
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
        with local_service(Path("serve_config.yaml"), log=Path(folder) / "serve.log") as here:
            here.wait_until_ready(timeout_seconds=180)
            with ImmersivaudioClient(here.url) as service:
                taken = [measure(service, video, seed) for seed in range(runs + WARM_UP)][WARM_UP:]
    print(f"{runs} runs of a 12 s video, after {WARM_UP} to warm up; milliseconds")
    print(f"{'':16}{'p50':>8}{'worst':>8}")
    for name, values in zip(("wall - sum", "wall - path", "client - path"), zip(*taken, strict=True), strict=True):
        print(f"{name:16}{statistics.median(values) * 1000:8.0f}{max(values) * 1000:8.0f}")


if __name__ == "__main__":
    main()
