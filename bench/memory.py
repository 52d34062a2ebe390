"""What the whole service takes of a laptop's memory while nobody asks it anything: every process that `make serve` starts.

    python -m bench.memory [--settle 30] [--each]      about a minute

The sketch profile as `serve_config.yaml` has it. PSS (proportional set size): what a process has for itself, and its part of pages
that several share, so that the processes add up to what the machine is without. Read from /proc, so on Linux alone.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.support.replicas import session
from bench.support.service import fresh_service

LIMIT = 1.2e9  # bytes
KINDS = (
    ("ray::ServeReplica:", "replicas"),
    ("ray::ProxyActor", "Serve's proxy"),
    ("ray::ServeController", "Serve's controller"),
    ("ray::", "Ray's other workers"),
    ("gcs_server", "Ray's control store"),
    ("/raylet/raylet", "Ray's raylet"),
    ("ray::DashboardAgent", "Ray's metrics agent"),
    ("ray::RuntimeEnvAgent", "Ray's runtime environments"),
    ("monitor.py", "Ray's monitors"),
    ("dashboard", "Ray's dashboard"),
    ("forked.py", "what workers are copies of"),
)
"""By what stands in the command line; the longest that does."""
OTHER = "who started it"


@dataclass(frozen=True)
class Weighed:
    """One process, bytes."""

    title: str
    pss: int
    rss: int


def weigh(pids: Iterable[int]) -> list[Weighed]:
    """The processes that are still there."""
    found = []
    for pid in pids:
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue
        sizes = {name: 1024 * int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
        found.append(Weighed(title, sizes["Pss"], sizes["Rss"]))
    return found


def kind(title: str) -> str:
    """What a process is, by its command line."""
    matching = [(len(part), name) for part, name in KINDS if part in title]
    return max(matching)[1] if matching else OTHER


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settle", type=float, default=30, help="seconds after the service is ready")
    parser.add_argument("--each", action="store_true", help="every process on a line of its own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, fresh_service(Path(name)) as here:
        time.sleep(given.settle)
        weighed = weigh(session(here.leader))
    print(f"idle for {given.settle:g} s; MB\n{'':34}{'processes':>10}{'PSS':>8}{'RSS':>8}")
    groups = defaultdict(list)
    for process in weighed:
        groups[process.title[:32] if given.each else kind(process.title)].append(process)
    for group, processes in sorted(groups.items(), key=lambda item: -sum(process.pss for process in item[1])):
        _row(group, processes)
    _row("all", weighed)
    total = sum(process.pss for process in weighed)
    print(f"\nat most {LIMIT / 1e6:.0f} MB are aimed at: {'reached' if total <= LIMIT else 'not reached'}")
    return 0 if total <= LIMIT else 1


def _row(name: str, processes: list[Weighed]) -> None:
    pss, rss = (sum(getattr(process, what) for process in processes) / 1e6 for what in ("pss", "rss"))
    print(f"{name:34}{len(processes):10}{pss:8.0f}{rss:8.0f}")


if __name__ == "__main__":
    raise SystemExit(main())
