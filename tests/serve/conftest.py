"""The sketch service in this process, for a module's tests; and one real Ray cluster for the whole session, and a way to deploy
the project's own YAML files on it.
"""

import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
READY_SECONDS = 280  # four processes that import torch side by side

Deploy = Callable[..., str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the service of `http` keeps everything."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
async def http(store: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the whole sketch service in this process."""
    from serve.settings import AppSettings
    from tests.serve.local import local_http

    async with local_http(AppSettings(store=str(store))) as client:
        yield client


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[Path]:
    """What Ray writes."""
    folder = tempfile.mkdtemp(prefix="iv", dir="/tmp")  # short: Ray's sockets are in it
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster(ray_folder: Path) -> Iterator[str]:
    """Address of a Serve proxy on a Ray cluster of this session's own, with four CPUs and one GPU that it only pretends to have."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else Ray writes a token into the home
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] = "serve.access:at_the_proxy"
    import ray
    from ray import serve as rs

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        object_store_memory=200_000_000,
        _temp_dir=str(ray_folder),
    )
    rs.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
    yield f"http://127.0.0.1:{port}"
    rs.shutdown()
    ray.shutdown()


@pytest.fixture(scope="session")
def deploy(cluster: str) -> Deploy:
    """deploy(file, **args) deploys a YAML file of the project with `args` changed; it returns the service's address when ready.

    without: names of deployments whose entries are left out.
    environment: variables of its replicas, besides the file's.
    changed: by a deployment's name, what its entry says in the place of the file.
    """
    from ray import serve as rs
    from ray.serve.context import _get_global_client  # what `serve run FILE` calls; there is no public way in
    from ray.serve.schema import ServeDeploySchema

    def _deploy(
        file: str,
        *,
        without: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        changed: dict[str, dict[str, Any]] | None = None,
        **args: Any,
    ) -> str:
        config = yaml.safe_load((ROOT / file).read_text())
        application = config["applications"][0]
        application["args"] |= args
        application.setdefault("runtime_env", {}).setdefault("env_vars", {}).update(environment or {})
        entries = [item for item in application["deployments"] if item["name"] not in without]
        application["deployments"] = [item | (changed or {}).get(item["name"], {}) for item in entries]
        del config["http_options"]  # the session's proxy stands already
        if "immersivaudio" in rs.status().applications:
            rs.delete("immersivaudio")
        client = _get_global_client()
        assert client is not None
        client.deploy_apps(ServeDeploySchema.model_validate(config))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            app = rs.status().applications.get("immersivaudio")
            if app is not None and app.status in ("RUNNING", "DEPLOY_FAILED", "UNHEALTHY"):
                told = [app.message, *(deployment.message for deployment in app.deployments.values())]
                assert app.status == "RUNNING", "\n".join(told)
                return cluster
            time.sleep(0.2)
        raise AssertionError(f"not ready after {READY_SECONDS} s: {rs.status()}")

    return _deploy
