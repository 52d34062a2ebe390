"""A run on a terminal that can be drawn on: a table of the modules that fills as the run goes on."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from client.findings import (
    busy,
    draft_note,
    findings,
    how_far,
    models,
    origin,
    printable,
    retried,
    seconds_taken,
    size,
)
from client.protocol import next_state
from client.working import at_work
from models.record import Event, Module, ModuleRetried, Progress, Run, Started, StemKind


class LiveView:
    """A table of the modules that fills as the run goes on."""

    def __init__(self, console: Console) -> None:
        self._run: Run | None = None
        self._sending = ""
        self._sent: tuple[int, int] | None = None
        self._busy = ""
        self._progress: dict[tuple[Module, StemKind | None], Progress] = {}
        self._retried: dict[tuple[Module, StemKind | None], str] = {}
        self._since: dict[Module, float] = {}
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=10,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def sending(self, name: str) -> None:
        """Shows that it goes up."""
        self._sending = printable(name)

    def sent(self, done: int, total: int) -> None:
        """Shows how much of it has arrived."""
        self._sent = (done, total)

    def busy(self, seconds: float) -> None:
        """Says so, until the run is there."""
        self._busy = busy(seconds)

    def see(self, run_id: str, message: Event | Progress) -> None:
        """Takes it into the table."""
        if isinstance(message, Progress):
            self._progress[message.module, message.part] = message
            return
        self._run = next_state(self._run, run_id, message)
        if isinstance(message, ModuleRetried):
            self._retried[message.module, message.part] = retried(message)
            self._progress.pop((message.module, message.part), None)
        elif isinstance(message, Started):
            # Whoever takes over begins anew with what was in hand.
            self._progress.clear()

    def _render(self) -> RenderableType:
        run = self._run
        if run is None:
            return self._before_the_run()
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1, overflow="fold")
        table.add_column(no_wrap=True, justify="right")
        if wide := self._live.console.width >= 80:
            table.add_column(max_width=30, overflow="fold", style="dim")
        for module in run.record.modules:
            by = [Text("\n".join(models(run.record, module)))] if wide else []
            table.add_row(*self._row(run, module), *by)
        return Group(table, *self._closing(run))

    def _row(self, run: Run, module: Module) -> tuple[RenderableType, ...]:
        found: list[RenderableType] = [Text(line) for line in findings(run.record, module)]
        took = seconds_taken(run, module)
        time_taken = origin(run.record, module) or (f"{took:.1f} s" if took is not None else "")
        if run.record.done(module):
            return Text("✓", style="green"), Text(module), Group(*found), time_taken
        if run.error and run.error.module == module:
            words = Text(printable(run.error.message), style="red")
            return Text("✗", style="red"), Text(module, style="red"), Group(*found, words), time_taken
        if not at_work(run, module):
            return Text("·", style="dim"), Text(module, style="dim"), Group(*found), time_taken
        now = time.monotonic()
        elapsed = now - self._since.setdefault(module, now)
        return (
            self._spinner,
            Text(module, style="bold"),
            Group(*found, *self._bars(run, module)),
            f"{elapsed:.0f} s",
        )

    def _bars(self, run: Run, module: Module) -> list[RenderableType]:
        made = run.record.audio_generation
        ready = {stem.kind for stem in made.stems} if made else set()
        bars: list[RenderableType] = [
            Text(words, style="yellow")
            for (of, part), words in self._retried.items()
            if of == module and part not in ready
        ]
        for (of, part), progress in self._progress.items():
            if of == module and part not in ready:
                bar = Table.grid(padding=(0, 1))
                step, *left = how_far(progress)
                bar.add_row(
                    Text(part or ""),
                    ProgressBar(total=progress.steps, completed=progress.step, width=24),
                    Text(step),
                )
                for words in left:
                    bar.add_row("", Text(words, style="dim"))
                bars.append(bar)
        return bars

    def _closing(self, run: Run) -> list[RenderableType]:
        lines = []
        if run.resumptions and run.ended_at is None:
            lines.append(Text("Taken over by another worker.", style="yellow"))
        if run.ended_at is not None and run.status != "failed":
            lines.append(Text(f"{run.status.capitalize()} after {run.ended_at - run.created_at:.1f} s.", style="bold"))
        lines.append(Text(f"Run {printable(run.id)}", style="dim"))
        if run.status == "finished" and (note := draft_note(run.record)):
            lines.append(Text(note, style="yellow"))
        return list(lines)

    def _before_the_run(self) -> RenderableType:
        row = Table.grid(padding=(0, 2))
        if self._busy:
            row.add_row(self._spinner, Text(self._busy))
        elif self._sent:
            done, total = self._sent
            bar = ProgressBar(total=total, completed=done, width=24)
            row.add_row(self._spinner, Text(f"sending {self._sending}"), bar, Text(f"{size(done)} of {size(total)}"))
        elif self._sending:
            row.add_row(self._spinner, Text(f"sending {self._sending}"))
        return row
