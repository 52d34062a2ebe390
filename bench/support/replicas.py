"""The processes of one Ray cluster's Serve replicas on this machine, and their logs: for benches that kill or weigh them."""

import json
import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

APPLICATION = "immersivaudio"


def replicas(temp_dir: Path) -> dict[str, list[int]]:
    """Ids of the replicas' processes, by deployment. `temp_dir`: the cluster's own; another cluster's replicas are not seen."""
    found = defaultdict(list)
    for pid, title in _processes():
        parts = title.removeprefix("ray::").split(":")
        if parts[:2] == ["ServeReplica", APPLICATION] and str(temp_dir) in _title(_parent(pid)):
            found[parts[2].partition(".")[0]].append(pid)  # what it is doing just now follows its name
    return dict(found)


def kill(pid: int) -> None:
    """SIGKILL, as the kernel's out-of-memory killer or a power cut would."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def session(leader: int) -> list[int]:
    """Ids of the processes of a session that aren't zombies."""
    return [pid for pid, title in _processes() if title and _session_of(pid) == leader]


def log_lines(temp_dir: Path) -> Iterator[dict[str, object]]:
    """What the replicas logged, as JSON, dead ones too, in no order."""
    for path in temp_dir.glob(f"session_2*/logs/serve/replica_{APPLICATION}_*.log"):
        for line in path.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                yield json.loads(line)


def _processes() -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            yield int(entry.name), _title(int(entry.name))


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _parent(pid: int) -> int:
    try:
        # The name, in parentheses, may hold anything; state and parent follow it.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
