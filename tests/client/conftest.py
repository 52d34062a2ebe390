"""Every client test talks to a fake service as new, and waits for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.calls import Call, awaited, blocking
from tests.client.fake import Fake, serving


@pytest.fixture(scope="session")
def only_fake() -> Iterator[Fake]:
    with serving(Fake()) as service:
        yield service


@pytest.fixture
def fake(only_fake: Fake) -> Fake:
    vars(only_fake).update(vars(Fake(url=only_fake.url)))
    return only_fake


@pytest.fixture(params=[blocking, awaited])
def call(request: pytest.FixtureRequest) -> Call:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "sea.mp4"
    path.write_bytes(b"pictures")
    return path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.flow.PAUSES", (0.0,) * 8)
    monkeypatch.setattr("client.protocol.BUSY_PAUSE_SECONDS", (0.0, 60.0))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "IMMERSIVAUDIO_API_KEY",
        "IMMERSIVAUDIO_SERVER",
        "FORCE_COLOR",
        "NO_COLOR",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
