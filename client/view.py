"""A run on a terminal, as it happens: `LiveView` redraws a table, `LineView` writes a line per event, `NoView` nothing.

All write to one console, which is stderr: stdout belongs to the result.
"""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from client.findings import draft_note, findings, models, printable, seconds_taken
from client.protocol import next_state
from models.record import Event, Module, Progress, Record, Run, StemKind

AFTER: dict[Module, tuple[Module, ...]] = {
    "video_input": (),
    "frame_extraction": ("video_input",),
    "object_detection": ("frame_extraction",),
    "frame_selection": ("frame_extraction",),
    "frame_description": ("frame_selection",),
    "prompt_enhancement": ("object_detection", "frame_description"),
    "audio_generation": ("prompt_enhancement",),
    "reconstruction": ("audio_generation",),
}
"""What a module waits for. The log says when one is done; that it is at work follows from this."""


class View(Protocol):
    """Shows one run. A context manager, so that a terminal is left as it was found."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def sending(self, name: str) -> None:
        """The upload begins."""

    def see(self, run_id: str, message: Event | Progress) -> None:
        """The next thing that the run's stream says."""


def view_for(console: Console) -> View:
    """The live table where it can be drawn, else plain lines."""
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else LineView(console)


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

    def see(self, run_id: str, message: Event | Progress) -> None:
        """Nothing."""


class LineView(NoView):
    """One line per event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._run: Run | None = None

    def sending(self, name: str) -> None:
        """Says so."""
        self._line(f"sending {printable(name)}")

    def see(self, run_id: str, message: Event | Progress) -> None:
        """A line, unless it is progress."""
        if isinstance(message, Progress):
            return
        run = self._run = next_state(self._run, run_id, message)
        match message.type:
            case "accepted":
                self._line(f"accepted as {printable(run_id)}")
                self._line(_line(run.record, "video_input"))
            case "started":
                self._line("started")
            case "module_done":
                # Of stems, which join those that are there, only the new one is news.
                new = {name: output for name, output in message.output if output is not None}
                self._line(_line(run.record.model_copy(update=new), message.module, seconds=message.seconds))
            case "finished":
                self._line(f"finished after {message.at - run.created_at:.1f} s")
                if note := draft_note(run.record):
                    self._line(note)
            case "failed":
                self._line(f"failed in {message.module}: {printable(message.message)}")

    def _line(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


def _line(record: Record, module: Module, *, seconds: float | None = None) -> str:
    """What a module found, on one line."""
    by = [*models(record, module), *([f"{seconds:.1f} s"] if seconds is not None else [])]
    return f"{module}: {'; '.join(findings(record, module))}" + (f" ({', '.join(by)})" if by else "")


class LiveView:
    """A table of the modules that fills as the run goes on."""

    def __init__(self, console: Console) -> None:
        self._run: Run | None = None
        self._sending = ""
        self._progress: dict[tuple[Module, StemKind | None], Progress] = {}
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

    def see(self, run_id: str, message: Event | Progress) -> None:
        """Takes it into the table."""
        if isinstance(message, Progress):
            self._progress[message.module, message.part] = message
        else:
            self._run = next_state(self._run, run_id, message)

    def _render(self) -> RenderableType:
        run = self._run
        if run is None:
            return self._spinner_with(f"sending {self._sending}") if self._sending else Text()
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
        time_taken = f"{took:.1f} s" if took is not None else ""
        if run.record.done(module):
            return Text("✓", style="green"), Text(module), Group(*found), time_taken
        if run.error and run.error.module == module:
            words = Text(printable(run.error.message), style="red")
            return Text("✗", style="red"), Text(module, style="red"), Group(*found, words), time_taken
        if run.status in {"finished", "failed"} or not self._at_work(run, module):
            return Text("·", style="dim"), Text(module, style="dim"), Group(*found), time_taken
        now = time.monotonic()
        elapsed = now - self._since.setdefault(module, now)
        return (
            self._spinner,
            Text(module, style="bold"),
            Group(*found, *self._bars(run, module)),
            f"{elapsed:.0f} s",
        )

    def _at_work(self, run: Run, module: Module) -> bool:
        skipped = set(AFTER) - set(run.record.modules)
        return all(self._passed(run, before, skipped) for before in AFTER[module])

    def _passed(self, run: Run, module: Module, skipped: set[Module]) -> bool:
        if module in skipped:
            return all(self._passed(run, before, skipped) for before in AFTER[module])
        return run.record.done(module)

    def _bars(self, run: Run, module: Module) -> list[RenderableType]:
        made = run.record.audio_generation
        ready = {stem.kind for stem in made.stems} if made else set()
        bars: list[RenderableType] = []
        for (of, part), progress in self._progress.items():
            if of == module and part not in ready:
                bar = Table.grid(padding=(0, 1))
                bar.add_row(
                    Text(part or ""),
                    ProgressBar(total=progress.steps, completed=progress.step, width=24),
                    Text(f"step {progress.step} of {progress.steps}"),
                )
                bars.append(bar)
        return bars

    def _closing(self, run: Run) -> list[RenderableType]:
        if run.status != "finished" or run.ended_at is None:
            return []
        lines = [Text(f"Finished after {run.ended_at - run.created_at:.1f} s.", style="bold")]
        if note := draft_note(run.record):
            lines.append(Text(note, style="yellow"))
        return list(lines)

    def _spinner_with(self, text: str) -> RenderableType:
        row = Table.grid(padding=(0, 2))
        row.add_row(self._spinner, Text(text))
        return row
