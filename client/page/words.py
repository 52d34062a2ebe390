"""What went wrong, as people understand it: the service's own sentence, and what to do about it."""

from typing import NamedTuple

import httpx

from client.errors import (
    ClientError,
    NotUnderstood,
    RequestRefused,
    RunFailed,
    ServiceBusy,
    ServiceFailed,
    ServiceUnreachable,
)
from client.findings import printable
from models.record import Run

_AGAIN = (
    "Trying again helps if that was a passing trouble; else ask whoever runs the service, whose log has the details."
)
_OTHER_FILE = "Give another file, or export this one anew, as an MP4 for example."


class Trouble(NamedTuple):
    """A sentence, and what helps."""

    sentence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.advice}".strip()


def trouble(error: Exception) -> Trouble:
    """The error in words. What nobody foresaw is told without its details, which are for the log."""
    told = _sentence(printable(str(error)))
    match error:
        case RunFailed():
            return of_run(error.run)
        case ServiceBusy():
            return Trouble(told, "It has more to do than it can take. Try again in a few minutes: nothing is lost.")
        case NotUnderstood():
            return Trouble(told, "The page and the service may be of different versions.")
        case ServiceUnreachable() | httpx.RequestError():
            return Trouble(told, "This page goes on trying. `make serve` starts a service on this machine.")
        case ClientError(status=401 | 403):
            return Trouble(
                told, "The page needs an API key of the service (IMMERSIVAUDIO_API_KEY) where it was started."
            )
        case ClientError(status=413):
            return Trouble(told, "Give a smaller file, or a part of it.")
        case ClientError(status=415):
            return Trouble(told, _OTHER_FILE)
        case ServiceFailed():
            return Trouble(told, _AGAIN)
        case RequestRefused() | ValueError():
            return Trouble(told, "")
    return Trouble("Something broke in the page.", "Reload it; a run that has begun goes on, and its link still holds.")


def of_run(run: Run) -> Trouble:
    """Why a run has no result, and what helps. The run has failed or was cancelled."""
    if run.error is None:
        return Trouble("The run was cancelled.", "What it had made up to then is found again when you make it anew.")
    told = _sentence(printable(run.error.message))
    return Trouble(told, _OTHER_FILE if run.error.kind == "input" else _AGAIN)


def _sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    text = text.strip() or "no reason was given"
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")
