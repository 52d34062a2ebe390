"""The service as `serve_config.yaml` has it, on a Ray cluster and a store of its own: nothing of an earlier run is found there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from client.local_service import LocalService, local_service

READY_SECONDS = 180


@contextmanager
def fresh_service(folder: Path) -> Iterator[LocalService]:
    """The service, ready, with everything that it writes below `folder`."""
    config = yaml.safe_load(Path("serve_config.yaml").read_text())
    config["applications"][0]["args"]["store"] = str(folder / "store")
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with local_service(folder / "config.yaml", log=folder / "serve.log") as here:
        here.wait_until_ready(timeout_seconds=READY_SECONDS)
        yield here
