"""Runs the command line: within the test, or as a process of its own, as a shell would."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from client.cli import main
from tests.client.fake import Fake

COMMAND = [sys.executable, "-c", "from client.cli import main; main()"]
ROOT = Path(__file__).parents[2]


def immersivaudio(*arguments: str | Path, fake: Fake | None = None, stdin: bytes | None = None) -> Result:
    environment = {"IMMERSIVAUDIO_SERVER": fake.url if fake else "http://127.0.0.1:9", "COLUMNS": "200"}
    return CliRunner().invoke(main, [str(word) for word in arguments], input=stdin, env=environment)


def start(*arguments: str | Path, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=obey_ctrl_c,  # noqa: PLW1509 (the child runs nothing else before exec)
    )


def obey_ctrl_c() -> None:
    """For `preexec_fn`. A shell starts background jobs with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def read_to_end(descriptor: int) -> str:
    read = b""
    while select.select([descriptor], [], [], 30)[0]:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not chunk:
            break
        read += chunk
    os.close(descriptor)
    return read.decode()
