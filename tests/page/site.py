"""The page over the whole service, both on 127.0.0.1: the real deployments' classes in this process, without Ray."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from client.client import ImmersivaudioClient
from models.audio_generation import OnStep
from models.sketch.music import MusicGenerator
from serve.settings import AppSettings
from tests.client.command import obey_ctrl_c
from tests.serve.local import local_http

_UI = [sys.executable, "-c", "from client.cli import main; main()", "ui"]


@dataclass
class Site:
    """A page, and the service behind it."""

    url: str
    """Of the page."""
    service: ImmersivaudioClient
    going_on: threading.Event = field(default_factory=threading.Event)
    """While it is cleared, music is made for as long as that lasts."""

    def link(self, run_id: str) -> str:
        return f"{self.url}/?run={run_id}"


@contextmanager
def site(settings: AppSettings, *, users: str = "") -> Iterator[Site]:
    with serving(settings) as at, page(at, users=users) as url, ImmersivaudioClient(at) as service:
        found = Site(url, service)
        found.going_on.set()
        with held_up(found.going_on):
            yield found


@contextmanager
def page(service: str, *, users: str = "", host: str = "127.0.0.1", at: str | None = None) -> Iterator[str]:
    """Address of a page over the service at that address, be it there or not: a process of its own, as people start it.

    at: the address that another had before it.
    """
    again = ["--port", at.rpartition(":")[2]] if at else []
    process, port = _started([*_UI, "--server", service, "--host", host, *again], users)
    with process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _started(command: list[str], users: str) -> tuple[subprocess.Popen[str], int]:
    """The page's process, and its port. Another one may take that before it does: then it is started again."""
    environ = os.environ | {"IMMERSIVAUDIO_UI_USERS": users, "PYTHONWARNINGS": "ignore"}
    for _ in range(3):
        process = subprocess.Popen(
            command,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=obey_ctrl_c,  # noqa: PLW1509 (the child runs nothing else before exec)
        )
        assert process.stdout
        told = process.stdout.readline()
        if found := re.match(r"The page is at http://[^/:]+:(\d+)", told):
            return process, int(found[1])
        process.kill()
        process.communicate()
    raise AssertionError(f"the page did not start: {told}")


@contextmanager
def nobody() -> Iterator[socket.socket]:
    """An address of this machine that is taken, and where nobody answers, unless `serving` is given it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken


def address(at: socket.socket) -> str:
    return f"http://127.0.0.1:{at.getsockname()[1]}"


@contextmanager
def serving(settings: AppSettings, *, at: socket.socket | None = None) -> Iterator[str]:
    """Address of the service, in a thread with a loop of its own."""
    with nobody() as own:
        place = at or own
        server: list[uvicorn.Server] = []
        ready = threading.Event()

        async def run() -> None:
            async with local_http(settings) as http:
                transport: Any = http._transport
                server.append(uvicorn.Server(uvicorn.Config(transport.app, log_level="error")))
                ready.set()
                await server[0].serve(sockets=[place])

        thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
        thread.start()
        assert ready.wait(60)
        while not server[0].started:
            ready.wait(0.02)
            assert thread.is_alive()
        try:
            yield address(place)
        finally:
            server[0].should_exit = server[0].force_exit = True
            thread.join(30)


@contextmanager
def held_up(going_on: threading.Event) -> Iterator[None]:
    """Music's first steps last until the event is set. Who cancels meanwhile is heard."""
    made = MusicGenerator.generate

    def generate(self: MusicGenerator, request: Any, *, on_step: OnStep) -> Any:
        def slowly(step: int, steps: int) -> None:
            on_step(step, steps)
            while not going_on.wait(0.05):
                on_step(step, steps)

        return made(self, request, on_step=slowly)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MusicGenerator, "generate", generate)
        yield


def settings(folder: Path, **given: Any) -> AppSettings:
    return AppSettings(store=str(folder / "store"), **given)
