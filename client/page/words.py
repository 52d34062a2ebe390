"""What went wrong, as people understand it: the service's own sentence, and what to do about it."""

import re
from typing import NamedTuple

import httpx

from client.errors import (
    ClientError,
    NoConnectionLeft,
    NotUnderstood,
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

_NOT_THERE = "Try again in a moment. “make serve” starts a service on this machine."
_TOO_MUCH = "The page has too much to do just now: it passes on as many files and runs as it can."

_NAME = re.compile(r"\S+\.\w+:")

_BY_KIND: tuple[tuple[type[Exception], str], ...] = (
    (ServiceBusy, "It has more to do than it can take. Try again in a few minutes: nothing is lost."),
    (NotUnderstood, "The page and the service may be of different versions."),
    (NoConnectionLeft, "Try again in a moment."),
    (ServiceUnreachable, _NOT_THERE),
    (httpx.RequestError, _NOT_THERE),
    (ServiceFailed, _AGAIN),
)
_BY_STATUS = {
    401: "The page needs an API key of the service (IMMERSIVAUDIO_API_KEY) where it was started.",
    403: "The page needs an API key of the service (IMMERSIVAUDIO_API_KEY) where it was started.",
    413: "Give a smaller file, or a part of it.",
    415: _OTHER_FILE,
}


class Trouble(NamedTuple):
    """A sentence, and what helps."""

    sentence: str
    advice: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.advice}".strip()


def trouble(error: Exception) -> Trouble:
    """The error in words. What nobody foresaw is told without its details, which are for the log."""
    if isinstance(error, RunFailed):
        return of_run(error.run)
    if not isinstance(error, ClientError | ValueError | httpx.RequestError):
        return Trouble(
            "Something broke in the page.", "Reload it; a run that has begun goes on, and its link still holds."
        )
    by_status = _BY_STATUS.get(getattr(error, "status", None) or 0, "")
    advice = next((advice for kind, advice in _BY_KIND if isinstance(error, kind)), by_status)
    told = _TOO_MUCH if isinstance(error, NoConnectionLeft) else printable(str(error))
    return Trouble(_sentence(told), advice)


def of_run(run: Run) -> Trouble:
    """Why a run has no result, and what helps. The run has failed or was cancelled."""
    if run.error is None:
        return Trouble("The run was cancelled.", "What it had made up to then is found again when you make it anew.")
    told = _sentence(printable(run.error.message))
    return Trouble(told, _OTHER_FILE if run.error.kind == "input" else _AGAIN)


def _sentence(text: str) -> str:
    """With a full stop, and a capital letter where it does not begin with a file's name."""
    text = text.strip() or "no reason was given"
    first = text[0] if _NAME.match(text) else text[0].upper()
    return first + text[1:] + ("" if text.endswith((".", "!", "?", "…")) else ".")
