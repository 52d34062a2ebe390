"""What a run is made of: its units, and how each is computed or found.

A unit's output is cached under everything that it depends on: the module, what stands behind it, its inputs, and the API key that
the run belongs to (whether somebody else has sent the same film is nobody's business). The output's files lie in a folder of that
name too, so the runs that share an output share its files.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import to_json

from models import steps
from models.prompt_enhancement import PromptEnhancer
from models.record import AudioGeneration, Module, Origin, Outputs, Record, StemKind
from serve.store import Store

RELEASE = version("immersivaudio")


@dataclass(frozen=True)
class Unit:
    """What is called and logged as one: a module, or one stem of `audio_generation`."""

    module: Module
    part: StemKind | None = None

    def done(self, record: Record) -> bool:
        if self.part is None:
            return record.done(self.module)
        made = record.audio_generation.stems if record.audio_generation else ()
        return any(stem.kind == self.part for stem in made)

    def ready(self, record: Record) -> bool:
        """Whether everything that it depends on is there."""
        # The description's mood flavours the sound, also where the prompts were edited and do not wait for it.
        waits = self.module == "audio_generation" and not record.done("frame_description")
        return not waits and not steps.missing(record, self.module)


def units(record: Record) -> list[Unit]:
    """All units of a run, in the paper's order."""
    found: list[Unit] = []
    for module in steps.READS:
        if module in record.modules:
            found += units_of(record, module)
    return found


def units_of(record: Record, module: Module) -> list[Unit]:
    """The units of one module."""
    if module == "audio_generation":
        return [Unit(module, part) for part in record.video_input.options.stems]
    return [Unit(module)]


@dataclass(frozen=True)
class Task:
    """One unit of one run, as it is given to whoever computes it."""

    record: Record
    folder: str
    """Prefix of the keys of the files to make."""
    run_id: str | None = None
    """The run that hears of the progress; None for a module alone."""
    memory_was_short: bool = False
    """The last attempt ran out of memory."""


class Server(Protocol):
    """Whoever computes a unit."""

    async def run(self, task: Task) -> Outputs:
        """The outputs, with every file that they name in the store."""

    async def identity(self) -> str | None:
        """What decides about its outputs, besides their inputs: model, weights, settings. None: its outputs are not kept."""


class Modules:
    """Computes units, or finds what an earlier run computed."""

    def __init__(self, store: Store, servers: Mapping[Unit, Server]) -> None:
        self._store = store
        self._servers = servers
        self._identities: dict[Unit, str | None] = {}

    async def compute(
        self, unit: Unit, record: Record, *, run_id: str | None, key: str | None, memory_was_short: bool = False
    ) -> Outputs:
        """The unit's outputs. `key` is the name of the API key that the run belongs to."""
        server = self._servers[unit]
        if unit not in self._identities:  # asked once: it is fixed for a replica's life
            self._identities[unit] = await server.identity()
        identity = self._identities[unit]
        video, digest = f"videos/{record.video_input.token}", _digest(identity, unit, record, key)
        kept_as = f"{video}/outputs/{digest}.json"
        if identity is not None and (found := await self._find(kept_as)):
            return found
        task = Task(record, f"{video}/made/{digest}", run_id, memory_was_short)
        outputs = await server.run(task)
        if identity is not None:
            await self._store.write(kept_as, outputs.model_dump_json().encode())
        return outputs

    async def _find(self, kept_as: str) -> Outputs | None:
        data = await self._store.read(kept_as)
        try:
            return with_origin(Outputs.model_validate_json(data), "cached") if data else None
        except ValidationError:  # by another version of the schema
            return None


class PromptServer:
    """`prompt_enhancement` is string interpolation: not worth a process, nor a place in the cache."""

    def __init__(self, enhancer: PromptEnhancer) -> None:
        self._enhancer = enhancer

    async def run(self, task: Task) -> Outputs:
        """The prompts."""
        return Outputs(prompt_enhancement=steps.enhance_prompt(task.record, self._enhancer))

    async def identity(self) -> str | None:
        """Its outputs are not kept."""
        return None


def with_origin(outputs: Outputs, origin: Origin) -> Outputs:
    """The outputs, marked as coming from there."""
    marked = {}
    for name, output in outputs:
        if isinstance(output, AudioGeneration):
            stems = tuple(stem.model_copy(update={"origin": origin}) for stem in output.stems)
            marked[name] = output.model_copy(update={"stems": stems})
        elif output is not None:
            marked[name] = output.model_copy(update={"origin": origin})
    return outputs.model_copy(update=marked)


def _digest(identity: str | None, unit: Unit, record: Record, key: str | None) -> str:
    depends_on = (RELEASE, identity, unit.module, unit.part, steps.inputs(record, unit.module, unit.part), key)
    return hashlib.sha256(to_json(depends_on)).hexdigest()[:32]
