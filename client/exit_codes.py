"""How the command line ends: with one sentence on stderr, and the code that belongs to it (they stand in `cli.py`)."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from client.errors import ClientError, RequestRefused, RunFailed, ServiceBusy, ServiceUnreachable
from client.findings import printable

API_KEY = "IMMERSIVAUDIO_API_KEY"
"""The environment variable. There is no flag: every user of a machine sees the arguments of every process."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """Ends the program with one sentence and the code that belongs to it."""
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # What is still buffered must not be written when the interpreter closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None
    except (ClientError, OSError) as error:
        complain(error)
        raise typer.Exit(exit_code(error)) from None


def exit_code(error: Exception) -> int:
    """The code that belongs to this error."""
    match error:
        case RunFailed():
            return 2 if error.run.error and error.run.error.kind == "input" else 1
        case ServiceUnreachable() | ServiceBusy():
            return 3
        case RequestRefused():
            return 2
    return 1


def complain(error: Exception) -> None:
    """What went wrong, and what may help."""
    hint = ""
    if isinstance(error, ServiceUnreachable):
        hint = ": is it running, and is --server right?"
    elif isinstance(error, ClientError) and error.status == 401:
        hint = f": is {API_KEY} set, and right?"
    say(f"{error}{hint}")


def say(sentence: str) -> None:
    """A sentence of the program itself."""
    print(f"immersivaudio: {printable(sentence)}", file=sys.stderr)
