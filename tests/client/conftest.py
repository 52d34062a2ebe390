"""Every client test talks to a fake service as new, and waits for nothing."""

from collections.abc import Iterator

import pytest

from tests.client.fake import Fake, serving


@pytest.fixture(scope="session")
def only_fake() -> Iterator[Fake]:
    with serving(Fake()) as service:
        yield service


@pytest.fixture
def fake(only_fake: Fake) -> Fake:
    vars(only_fake).update(vars(Fake(url=only_fake.url)))
    return only_fake


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.protocol.PAUSES", (0.0,) * 8)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "IMMERSIVAUDIO_SERVER",
        "FORCE_COLOR",
        "NO_COLOR",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
