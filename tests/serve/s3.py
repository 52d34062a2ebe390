"""An S3 API of the tests' own: moto's server, in a process of its own on a free loopback port."""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

START_SECONDS = 60
# moto wants an older python-dateutil than this environment has, so that it may stand in another one.
MOTO_SERVER = Path(os.environ.get("MOTO_SERVER", Path(sys.executable).with_name("moto_server")))


@contextmanager
def s3_server() -> Iterator[str]:
    """Address of an S3 API that is there until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [MOTO_SERVER, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait(server, address)
        yield address
    finally:
        server.terminate()
        server.wait()


def new_bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of a place in a new bucket, with what is needed to use it in the environment."""
    name = f"test-{uuid.uuid4().hex}"
    httpx.put(f"{endpoint}/{name}", timeout=60).raise_for_status()
    use_endpoint(endpoint, monkeypatch)
    return f"s3://{name}/some/prefix"


def use_endpoint(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


def unfinished(endpoint: str, url: str) -> int:
    """How many uploads in parts are open in the bucket: space that is paid for, and that no listing shows."""
    bucket = url.removeprefix("s3://").split("/")[0]
    return httpx.get(f"{endpoint}/{bucket}?uploads", timeout=60).raise_for_status().text.count("<Upload>")


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            httpx.get(address, timeout=5)
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("moto's server does not answer")
