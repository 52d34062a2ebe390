"""The service on this machine, on a Ray cluster of its own: `python -m serve.one_machine run CONFIG`, what `make serve` starts.

Ray's `serve`, with what a laptop has no use for left out: the dashboard, which is a dozen processes; the autoscaler, which has no
machine to add; the report of Ray's usage; and copies of what all workers import (`serve/forked.py`, on Linux).
"""

import multiprocessing
import os
import shlex
import signal
import sys
from multiprocessing.context import ForkProcess
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
    look = _look_at(Path(sys.argv[-1])) if sys.argv[1:2] == ["run"] and not sys.argv[-1].startswith("-") else None
    import ray
    from ray._private.node import Node
    from ray.serve.scripts import cli

    del sys.modules["pandas"]
    if look:
        look.join()
        if look.exitcode:
            sys.exit(look.exitcode)
    # There is no public way to leave them out.
    Node.start_monitor = Node.start_api_server = _nothing  # type: ignore[assignment]
    ray.init(address="local", namespace="serve", include_dashboard=False, runtime_env=runtime_env())
    # Ray's own would end its processes first, this one last. And what a shell starts in the background has SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    cli()


def _look_at(config: Path) -> ForkProcess:
    """Ends with code 2, and a sentence, when the service would refuse the file. One that builds something else is Ray's to judge.

    A process of its own: what it imports would stay in this one's memory. It is begun before this one has threads.
    """
    look = multiprocessing.get_context("fork").Process(target=_refuse, args=(config,))
    look.start()
    return look


def _refuse(config: Path) -> None:
    from serve.config import BadConfig, NotOurs, applications

    try:
        applications(config, manifests=False)
    except NotOurs:
        pass
    except BadConfig as error:
        print(f"immersivaudio: {config}: {error}", file=sys.stderr)
        sys.exit(2)


def _nothing(node: Any, **_: Any) -> None:
    """In the place of a process of Ray's."""
    node._webui_url = ""


def runtime_env() -> dict[str, Any]:
    """How Ray starts workers here. Elsewhere than on Linux, a process that has imported so much must not be forked."""
    return {"py_executable": shlex.join([sys.executable, "-I", "-S", str(FORKED)])} if sys.platform == "linux" else {}


if __name__ == "__main__":
    main()
