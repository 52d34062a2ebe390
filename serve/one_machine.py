"""The service on this machine, on a Ray cluster of its own: `python -m serve.one_machine run CONFIG`, what `make serve` starts.

Ray's `serve`, with what a laptop has no use for left out: the dashboard, which is a dozen processes; the autoscaler, which has no
machine to add; the report of Ray's usage; and copies of what all workers import (`serve/forked.py`, on Linux).
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

FORKED = Path(__file__).with_name("forked.py")


def main() -> None:
    """What `serve` does."""
    sys.modules["pandas"] = None  # type: ignore[assignment]  # as in `serve/forked.py`
    # glibc would give every few threads a heap of their own, and each process has dozens of them.
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    # A worker that nobody needs any more is ended, and none is kept for later: what is to run here runs from the start on.
    os.environ.setdefault("RAY_num_workers_soft_limit", "0")
    import ray
    from ray._private.node import Node
    from ray.serve.scripts import cli

    del sys.modules["pandas"]
    # There is no public way to leave them out.
    Node.start_monitor = Node.start_api_server = _nothing  # type: ignore[assignment]
    ray.init(address="local", namespace="serve", include_dashboard=False, runtime_env=runtime_env())
    cli()


def _nothing(node: Any, **_: Any) -> None:
    """In the place of a process of Ray's."""
    node._webui_url = ""


def runtime_env() -> dict[str, Any]:
    """How Ray starts workers here. Elsewhere than on Linux, a process that has imported so much must not be forked."""
    return {"py_executable": shlex.join([sys.executable, "-I", "-S", str(FORKED)])} if sys.platform == "linux" else {}


if __name__ == "__main__":
    main()
