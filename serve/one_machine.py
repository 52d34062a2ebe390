"""The service on this machine, on a Ray cluster of its own: `python -m serve.one_machine run CONFIG`, what `make serve` starts.

Ray's `serve`, with what a laptop has no use for left out: the dashboard, which is a dozen processes, and copies of what all workers
import (`serve/forked.py`; on Linux).
"""

import shlex
import sys
from pathlib import Path
from typing import Any

FORKED = Path(__file__).with_name("forked.py")


def main() -> None:
    """What `serve` does."""
    sys.modules["pandas"] = None  # type: ignore[assignment]  # as in `serve/forked.py`
    import ray
    from ray.serve.scripts import cli

    del sys.modules["pandas"]
    ray.init(address="local", namespace="serve", include_dashboard=False, runtime_env=runtime_env())
    cli()


def runtime_env() -> dict[str, Any]:
    """How Ray starts workers here. Elsewhere than on Linux, a process that has imported so much must not be forked."""
    return {"py_executable": shlex.join([sys.executable, "-I", "-S", str(FORKED)])} if sys.platform == "linux" else {}


if __name__ == "__main__":
    main()
