"""The log of a run, and the run that it is folded to."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from models.record.options import Module, StemKind, without_ducking
from models.record.record import Outputs, Record
from models.record.source import VideoInput
from models.schema import Frozen


class _Event(Frozen):
    schema_version: int = 1
    """Of the schema that the event was written with. (Version 1 did not say.)"""
    seq: int = Field(ge=1)
    """Place in the run's log, from 1, without gaps."""
    at: float
    """Unix time, seconds."""


class Accepted(_Event):
    """The run exists: its input was read and found good."""

    type: Literal["accepted"] = "accepted"
    video_input: VideoInput
    key: str | None = None
    """Name of the API key that the run belongs to; None where the service asks for none."""
    rerun_of: str | None = None
    """The run that this one changes."""
    outputs: Outputs = Outputs()
    """Of a rerun: what is kept of that run, and what the user edited."""

    @model_validator(mode="before")
    @classmethod
    def _opens_what_older_versions_wrote(cls, given: Any) -> Any:
        return without_ducking(given, given.get("schema_version", 1)) if isinstance(given, dict) else given


class Started(_Event):
    """Somebody works on it. Once more when another takes over."""

    type: Literal["started"] = "started"
    owner: str


class ModuleDone(_Event):
    """A module has appended its output."""

    type: Literal["module_done"] = "module_done"
    module: Module
    output: Outputs
    """Exactly one of its fields is set."""
    seconds: float = Field(ge=0)
    """How long the module took, waiting for its turn included."""


Cause = Literal["worker_died", "deadline", "out_of_memory", "storage"]


class ModuleRetried(_Event):
    """A module failed for a reason of ours, and is tried again."""

    type: Literal["module_retried"] = "module_retried"
    module: Module
    part: StemKind | None = None
    attempt: int = Field(ge=1)
    """Number of the attempt that failed, counted since this owner started."""
    cause: Cause
    pause_seconds: float = Field(ge=0)
    """Until the next attempt."""


class Finished(_Event):
    """The result is there."""

    type: Literal["finished"] = "finished"


class Failed(_Event):
    """The run ended without a result. What was computed stays."""

    type: Literal["failed"] = "failed"
    module: Module
    kind: Literal["input", "internal"]
    """`input`: the file cannot be worked with. `internal`: we broke."""
    message: str


class Cancelled(_Event):
    """Somebody asked for the run to stop. What was computed stays."""

    type: Literal["cancelled"] = "cancelled"


Event = Annotated[
    Accepted | Started | ModuleDone | ModuleRetried | Finished | Failed | Cancelled, Field(discriminator="type")
]
TERMINAL: tuple[str, ...] = ("finished", "failed", "cancelled")

Status = Literal["accepted", "running", "finished", "failed", "cancelled"]


class Progress(Frozen):
    """How far a module is. Not part of the log: the last one is kept, and only while the run lasts."""

    type: Literal["progress"] = "progress"
    module: Module
    part: StemKind | None = None
    step: int
    steps: int
    seconds_left: float | None = None
    """Until the module is done, in seconds, if it goes on as fast as so far. None: nothing is done yet."""


class Timing(Frozen):
    """How long one module took. `audio_generation` has one per stem, made side by side."""

    module: Module
    part: StemKind | None = None
    seconds: float


class RunError(Frozen):
    module: Module
    kind: Literal["input", "internal"]
    message: str


class Run(Frozen):
    """A run as its log tells it."""

    id: str
    status: Status
    created_at: float
    """Unix time, seconds."""
    ended_at: float | None = None
    record: Record
    timings: tuple[Timing, ...] = ()
    error: RunError | None = None
    key: str | None = None
    """Name of the API key that the run belongs to."""
    rerun_of: str | None = None
    """The run that this one changes."""
    retries: int = 0
    """How often a module was tried again."""
    resumptions: int = 0
    """How often another process took the run over."""

    def apply(self, event: Event) -> Self:
        """The run after one more event."""
        match event:
            case Started():
                again = self.status == "running"
                return self.model_copy(update={"status": "running", "resumptions": self.resumptions + again})
            case ModuleDone():
                stems = event.output.audio_generation.stems if event.output.audio_generation else ()
                timing = Timing(module=event.module, part=stems[0].kind if stems else None, seconds=event.seconds)
                return self.model_copy(
                    update={"record": self.record.append(event.output), "timings": (*self.timings, timing)}
                )
            case ModuleRetried():
                return self.model_copy(update={"retries": self.retries + 1})
            case Finished():
                return self.model_copy(update={"status": "finished", "ended_at": event.at})
            case Failed():
                error = RunError(module=event.module, kind=event.kind, message=event.message)
                return self.model_copy(update={"status": "failed", "ended_at": event.at, "error": error})
            case Cancelled():
                return self.model_copy(update={"status": "cancelled", "ended_at": event.at})
        raise ValueError(f"a log has one {event.type} event, its first")


def fold(run_id: str, events: Iterable[Event]) -> Run:
    """The run that a log tells. Raises ValueError when the log doesn't begin with `accepted`."""
    run: Run | None = None
    for event in events:
        if run is not None:
            run = run.apply(event)
        elif isinstance(event, Accepted):
            record = Record(video_input=event.video_input).append(event.outputs)
            told = {"key": event.key, "rerun_of": event.rerun_of}
            run = Run(id=run_id, status="accepted", created_at=event.at, record=record, **told)
        else:
            raise ValueError(f"the log of run {run_id} begins with {event.type}, not with accepted")
    if run is None:
        raise ValueError(f"the log of run {run_id} is empty")
    return run
