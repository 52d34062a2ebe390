"""A run as it happens: `LineView` writes a line per event, `NoView` nothing, and `LiveView` draws a table.

All write to one console, which is stderr: stdout belongs to the result.
"""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client.findings import busy, draft_note, findings, how_far, line, printable, retried, size, state
from client.live_view import LiveView
from client.protocol import next_state
from models.record import Event, ModuleInfo, Progress, Run

SECONDS_BETWEEN_LINES = 10
"""Of an upload, or of a module, that takes long."""


class View(Protocol):
    """Shows one run. A context manager, so that a terminal is left as it was found."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def sending(self, name: str) -> None:
        """The upload begins."""

    def sent(self, done: int, total: int) -> None:
        """So many bytes of the upload have arrived."""

    def busy(self, seconds: float) -> None:
        """The service is busy, and asked again after so many seconds."""

    def see(self, run_id: str, message: Event | Progress) -> None:
        """The next thing that the run's stream says."""


def view_for(console: Console) -> View:
    """The live table where it can be drawn, else plain lines."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else LineView(console)


def modules_table(loaded: Iterable[ModuleInfo]) -> Table:
    """What stands behind each module."""
    table = Table("module", "part", "model", "device", "profile", "licence of the weights", box=None, pad_edge=False)
    for info in loaded:
        part = " ".join(filter(None, (info.part, "(draft)" if info.draft else "")))
        cells = (info.module, part, info.model, info.device, info.profile, info.licence or "")
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


class NoView:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def sending(self, name: str) -> None:
        """Nothing."""

    def sent(self, done: int, total: int) -> None:
        """Nothing."""

    def busy(self, seconds: float) -> None:
        """Nothing."""

    def see(self, run_id: str, message: Event | Progress) -> None:
        """Nothing."""


class LineView(NoView):
    """One line per event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: Run | None = None
        self._said_at = 0.0

    def sending(self, name: str) -> None:
        """Says so."""
        self._say(f"sending {printable(name)}")

    def sent(self, done: int, total: int) -> None:
        """A line now and then."""
        if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
            self._say(f"sent {size(done)} of {size(total)}")

    def busy(self, seconds: float) -> None:
        """Says so."""
        self._say(busy(seconds))

    def see(self, run_id: str, message: Event | Progress) -> None:
        """A line; of progress, one now and then."""
        if isinstance(message, Progress):
            if time.monotonic() - self._said_at >= SECONDS_BETWEEN_LINES:
                self._say(
                    f"{message.module}: {f'{message.part}: ' if message.part else ''}{', '.join(how_far(message))}"
                )
            return
        run = self._run = next_state(self._run, run_id, message)
        match message.type:
            case "accepted":
                self._accepted(run)
            case "started":
                self._say("taken over by another worker" if run.resumptions else "started")
            case "module_done":
                # Of stems, which join those that are there, only the new one is news.
                new = {name: output for name, output in message.output if output is not None}
                self._say(line(run.record.model_copy(update=new), message.module, seconds=message.seconds))
            case "module_retried":
                self._say(f"{message.module}: {retried(message)}")
            case "finished" | "failed" | "cancelled":
                self._say(state(run))
                if run.status == "finished" and (note := draft_note(run.record)):
                    self._say(note)

    def _accepted(self, run: Run) -> None:
        of = f", a rerun of {printable(run.rerun_of)}" if run.rerun_of else ""
        self._say(f"accepted as {printable(run.id)}{of}")
        for module in run.record.modules:
            if findings(run.record, module):
                self._say(line(run.record, module))

    def _say(self, text: str) -> None:
        self._said_at = time.monotonic()
        self._console.print(Text(text), soft_wrap=True)
