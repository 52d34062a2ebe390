"""A run as a strip of its modules, which fills as events arrive: HTML for `<iv-run>`, section by section.

Names, descriptions and messages come from files and models that nobody here wrote: all of it is escaped.
"""

import re
from collections.abc import Iterable
from html import escape
from typing import TypedDict

from client.findings import draft_note, findings, how_far, models, origin, printable, retried, seconds_taken
from client.page.frames import thumbnails
from client.page.scenes import scene_lines
from client.page.words import Trouble, of_run
from client.protocol import next_state
from client.working import at_work
from models.record import Event, Module, ModuleDone, ModuleRetried, Progress, Run, Started, StemKind

TITLES: dict[Module, str] = {
    "video_input": "What came in",
    "frame_extraction": "Frames",
    "object_detection": "Objects",
    "frame_selection": "Best frame",
    "frame_description": "Description",
    "prompt_enhancement": "Prompts",
    "audio_generation": "Sound",
    "reconstruction": "Result",
}
"""The modules, as people read them. Their own names, which the log, the record and the command line have, stand beside."""

STEMS: dict[str | None, str] = {"music": "Music", "sounds": "Sound effects", None: ""}

_ORIGINS = {"cached": "found again", "kept": "kept", "edited": "yours"}
_MARKS = {"done": "✓", "working": "…", "waiting": "·", "failed": "✗", "stopped": "–"}
_STATES = {"done": "done", "working": "at work", "waiting": "waits", "failed": "failed", "stopped": "not done"}
_STATUS = {
    "accepted": "Waiting for its turn",
    "running": "Working",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
}


class Changes(TypedDict):
    """What a browser is told of a run."""

    sections: dict[str, str]
    """HTML by section, in order, of those that changed."""
    say: str
    """What has just happened, for those who do not see it. Nothing of what had happened before they looked."""
    name: str
    media: str
    status: str


class Strip:
    """One run, told to one browser."""

    def __init__(self, run_id: str) -> None:
        self.run: Run | None = None
        self.run_id = run_id
        self._progress: dict[tuple[Module, StemKind | None], Progress] = {}
        self._retried: dict[tuple[Module, StemKind | None], str] = {}
        self._told: dict[str, str] = {}
        self._say: list[str] = []

    def see(self, message: Event | Progress) -> None:
        """Take in the next thing that the run's stream says."""
        if isinstance(message, Progress):
            self._progress[message.module, message.part] = message
            return
        self.run = next_state(self.run, self.run_id, message)
        if isinstance(message, ModuleDone):
            self._say.append(f"{TITLES[message.module]}: done.")
        elif isinstance(message, ModuleRetried):
            self._retried[message.module, message.part] = retried(message)
            self._progress.pop((message.module, message.part), None)
            self._say.append(f"{TITLES[message.module]} is tried again.")
        elif isinstance(message, Started):
            self._progress.clear()  # whoever takes over begins anew with what was in hand

    @property
    def ended(self) -> bool:
        """Whether the run has come to its end."""
        return self.run is not None and self.run.ended_at is not None

    def behind(self, run: Run) -> bool:
        """Whether this knows less of the run than was known of it already."""
        return self.run is None or _length(self.run) < _length(run)

    def changes(self) -> Changes:
        """What is to be shown now and was not before."""
        run = self._there()
        sections: dict[str, str] = {"head": _head(run)}
        sections |= {module: self._section(run, module) for module in run.record.modules}
        fresh = {name: html for name, html in sections.items() if self._told.get(name) != html}
        say = " ".join(self._say) if self._told else ""
        self._told, self._say = sections, []
        came = run.record.video_input
        return Changes(sections=fresh, say=say, name=came.name, media=came.media, status=run.status)

    def ending(self) -> dict[str, object]:
        """How the run ended, and what helps where that was not well."""
        run = self._there()
        told = of_run(run) if run.status != "finished" else Trouble("The result is there.", "")
        return {"status": run.status, "sentence": told.sentence, "advice": told.advice}

    def _there(self) -> Run:
        if self.run is None:
            raise ValueError("the run has not said anything yet")
        return self.run

    def _section(self, run: Run, module: Module) -> str:
        state = _state(run, module)
        taken = _taken(run, module) if state == "done" else ""
        by = ", ".join((f"<code>{module}</code>", *map(escape, models(run.record, module))))
        return (
            f'<li class="iv-module iv-{state}" data-module="{module}"><div class="iv-module-head">'
            f'<span class="iv-mark" aria-hidden="true">{_MARKS[state]}</span>'
            f"<h3>{TITLES[module]}</h3>"
            f'<span class="iv-state">{_STATES[state]}{taken}</span>'
            f'<span class="iv-by">{by}</span>'
            f'</div><div class="iv-module-body">{self._body(run, module)}</div></li>'
        )

    def _body(self, run: Run, module: Module) -> str:
        if run.error and run.error.module == module:
            return _paragraphs([of_run(run).sentence], "iv-bad")
        if module == "frame_extraction" or (module == "video_input" and run.record.video_input.media == "image"):
            return _paragraphs(findings(run.record, module)) + thumbnails(run.record)
        if lines := scene_lines(run.record, module):
            return lines
        told = [_as_here(line) for line in findings(run.record, module)]
        return _paragraphs(told) + self._working(run, module)

    def _working(self, run: Run, module: Module) -> str:
        if not at_work(run, module):
            return ""
        made = run.record.audio_generation
        ready = {stem.kind for stem in made.stems} if made else set()
        again = [words for (of, part), words in self._retried.items() if of == module and part not in ready]
        going = [one for (of, part), one in self._progress.items() if of == module and part not in ready]
        return _paragraphs(again, "iv-quiet") + "".join(_bar(run, one) for one in going)


def _head(run: Run) -> str:
    came = run.record.video_input
    took = f" after {run.ended_at - run.created_at:.1f} s" if run.ended_at is not None else ""
    notes = [note for note in (draft_note(run.record),) if note and run.status == "finished"]
    if run.ended_at is None and run.resumptions:
        notes.append("Another worker has taken the run over, and goes on.")
    name = f'<h2 tabindex="-1">{escape(printable(came.name))}</h2>'  # the focus goes there
    return f"{name}<p><strong>{_STATUS[run.status]}{took}</strong></p>" + _paragraphs(notes, "iv-quiet")


def _length(run: Run) -> int:
    """How much has happened in the run: it grows with each event of its log."""
    begun = run.status != "accepted"
    return begun + len(run.timings) + run.retries + run.resumptions + (run.ended_at is not None)


def _state(run: Run, module: Module) -> str:
    if run.record.done(module):
        return "done"
    if run.error and run.error.module == module:
        return "failed"
    if run.ended_at is not None:
        return "stopped"
    return "working" if at_work(run, module) else "waiting"


def _taken(run: Run, module: Module) -> str:
    whence = origin(run.record, module)
    seconds = seconds_taken(run, module)
    return f", {_ORIGINS[whence]}" if whence else f", {seconds:.1f} s" if seconds is not None else ""


def _bar(run: Run, progress: Progress) -> str:
    """How far it is; of a stem, in seconds of sound."""
    told, *left = how_far(progress)
    name = STEMS[progress.part] or TITLES[progress.module]
    if progress.module == "audio_generation":
        whole = run.record.video_input.result_seconds
        told = f"{whole * progress.step / progress.steps:.1f} of {whole:.1f} s made"
    return (
        f'<div class="iv-bar"><span>{name}</span>'
        f'<progress max="{progress.steps}" value="{progress.step}" aria-label="{name}"></progress>'
        f"<span>{' · '.join((told, *left))}</span></div>"
    )


def _as_here(line: str) -> str:
    """The command line calls a stem by its name in the record, and counts scenes from 0."""
    line = re.sub(r"in scene (\d+)", lambda found: f"in scene {int(found[1]) + 1}", line)
    return line.replace("sounds: ", f"{STEMS['sounds']}: ", 1)


def _paragraphs(lines: Iterable[str], kind: str = "") -> str:
    start = f'<p class="{kind}">' if kind else "<p>"
    return "".join(f"{start}{escape(line)}</p>" for line in lines)
