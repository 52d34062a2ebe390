"""Fixtures: places for a store. A test module names this one in `pytest_plugins`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve.s3 import MOTO_SERVER, new_bucket, s3_server


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of an S3 API."""
    if not MOTO_SERVER.exists():
        pytest.skip("moto's server is not installed here, nor named by $MOTO_SERVER")
    with s3_server() as address:
        yield address


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store is: each test runs on a folder, and in a bucket."""
    if request.param == "folder":
        return f"file://{tmp_path}/store"
    return new_bucket(request.getfixturevalue("s3_endpoint"), monkeypatch)


@contextmanager
def mounted(place: Path) -> Iterator[Path]:
    """A disk of 8 MiB. The test is skipped where none can be mounted."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB."""
    with mounted(tmp_path / "disk") as place:
        yield place
