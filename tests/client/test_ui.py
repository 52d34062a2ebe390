"""Starting the page: what is refused at once, in which words; and the public link."""

import gc
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import httpx
import pytest

from client.errors import ClientError
from client.ui import USERS, BadUsers, PageNotStarted, start, users
from tests.client.command import COMMAND, immersivaudio

SERVICE = "http://127.0.0.1:9"
LINK = "https://0123456789abcdef.gradio.live"


# Gradio leaves sockets behind with which it has looked for a free port.
pytestmark = pytest.mark.filterwarnings("ignore:.*socket:pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def no_leftovers() -> Iterator[None]:
    yield
    gc.collect()


@contextmanager
def started(*, share: bool = False) -> Iterator[str]:
    """Address of a page in this process. Gradio looks for an event loop: without one that runs, it makes one that nobody closes."""
    page: gr.Blocks = start(SERVICE, share=share, wait=False)
    try:
        yield f"http://127.0.0.1:{page.server_port}"
    finally:
        page.close(verbose=False)


def relay(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
    """Stands in for Gradio's, which is asked for a link."""

    def tunnel(**asked: object) -> str:
        if error:
            raise error
        return LINK

    monkeypatch.setattr("gradio.networking.setup_tunnel", tunnel)


@pytest.mark.parametrize(
    ("server", "flag", "words"),
    [
        ("127.0.0.1:8177", "--server", "is not the address of a service"),
        ("ftp://here", "--server", "write it like http://"),
    ],
)
def test_an_address_that_cannot_be_one_is_refused_before_the_page_starts(server: str, flag: str, words: str) -> None:
    told = immersivaudio("ui", "--server", server)
    assert told.exit_code == 2
    assert flag in told.output
    assert words in told.output
    assert "The page is at" not in told.output


def test_a_key_that_cannot_be_one_is_refused_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMMERSIVAUDIO_API_KEY", "not a key")
    told = immersivaudio("ui", "--server", SERVICE)
    assert told.exit_code == 2
    assert "IMMERSIVAUDIO_API_KEY" in told.output
    assert "visible ASCII" in told.output
    assert "not a key" not in told.output


@pytest.mark.parametrize("given", ["ann", "ann:", ":secret", "ann:secret,bob", "ann:se,cret"])
def test_users_that_cannot_be_read_are_refused_without_a_word_of_them(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USERS, given)
    told = immersivaudio("ui", "--server", SERVICE)
    assert told.exit_code == 2
    assert re.search(f"{USERS}.*separated by commas", told.output, re.DOTALL)
    assert "secret" not in told.output
    with pytest.raises(BadUsers):
        users(given)


def test_users_are_separated_by_commas_alone() -> None:
    assert users("") == []
    assert users("ann:correct horse, bob:a:b ,") == [("ann", "correct horse"), ("bob", "a:b")]


def test_a_port_that_is_taken_is_told_in_a_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        command = [*COMMAND, "ui", "--server", SERVICE, "--port", str(taken.getsockname()[1])]
        told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 1
    assert re.match(r"immersivaudio: the page cannot be served: .*port", told.stderr)


async def test_a_page_with_a_link_says_what_that_means(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relay(monkeypatch)
    with started(share=True) as url:
        assert httpx.get(url).status_code == 200
    told = capsys.readouterr().out
    assert LINK in told
    assert "The page is public now" in told
    assert "Nobody has to sign in" in told


async def test_without_a_relay_no_page_is_left_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relay(monkeypatch, RuntimeError("Could not get share link from Gradio API Server."))
    closed: list[str] = []
    close = gr.Blocks.close

    def seen(self: gr.Blocks, verbose: bool = True) -> None:
        closed.append(self.local_url)
        close(self, verbose=verbose)

    monkeypatch.setattr(gr.Blocks, "close", seen)
    with pytest.raises(PageNotStarted, match="no public link just now") as raised:
        start(SERVICE, share=True, wait=False)
    assert isinstance(raised.value, ClientError)
    told = capsys.readouterr().out
    assert "public now" not in told
    assert "The page is at" not in told
    [address] = closed
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
