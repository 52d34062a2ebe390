"""What a run is made of: its units, and how each is computed or found.

A unit's output is cached under everything that it depends on: the module, what stands behind it, its inputs, and the API key that
the run belongs to (whether somebody else has sent the same film is nobody's business). Its files lie in a folder that
no other attempt has, so the runs that share an output share its files, and no file changes once something names it.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Protocol

from pydantic import ValidationError
from pydantic_core import to_json

from models import steps
from models.dependencies import READS, missing
from models.errors import InvalidOptions, OtherModel
from models.inputs import depends_on
from models.prompt_enhancement import PromptEnhancer
from models.record import AudioGeneration, Module, Origin, Outputs, Record, StemKind
from serve import tracing
from serve.store import Store

RELEASE = version("immersivaudio")
# While an upgrade goes on, whoever is asked who he is may be another than whoever works then: of two halves, half the time.
MEETINGS = 20


@dataclass(frozen=True)
class Unit:
    """What is called and logged as one: a module, or one stem of `audio_generation`."""

    module: Module
    part: StemKind | None = None
    draft: bool = False
    """Whether a sketch of the stem is made, in the place of the stem."""

    def done(self, record: Record) -> bool:
        if self.part is None:
            return record.done(self.module)
        made = record.audio_generation.stems if record.audio_generation else ()
        return any(stem.kind == self.part for stem in made)

    def ready(self, record: Record) -> bool:
        """Whether everything that it depends on is there."""
        # The description's mood flavours the sound, also where the prompts were edited and do not wait for it.
        described = "frame_description" not in record.modules or record.done("frame_description")
        waits = self.module == "audio_generation" and not described
        return not waits and not missing(record, self.module)


def units(record: Record) -> list[Unit]:
    """All units of a run, in the paper's order."""
    found: list[Unit] = []
    for module in READS:
        if module in record.modules:
            found += units_of(record, module)
    return found


def units_of(record: Record, module: Module) -> list[Unit]:
    """The units of one module."""
    if module == "audio_generation":
        options = record.video_input.options
        return [Unit(module, part, options.draft) for part in options.stems]
    return [Unit(module)]


@dataclass(frozen=True)
class Task:
    """One unit of one run, as it is given to whoever computes it."""

    record: Record
    folder: str
    """Prefix of the keys of the files to make."""
    run_id: str | None = None
    """The run that hears of the progress; None for a module alone."""
    owner: str | None = None
    """Who asks, for the run. When he has died, and the run is another's or has ended, nobody waits for the outputs any more."""
    memory_was_short: bool = False
    """The last attempt ran out of memory."""
    identity: str | None = None
    """Whose outputs are expected; see `Server.identity`. None: anybody's."""
    part: StemKind | None = None
    """Of `audio_generation`, the stem to make."""
    trace: str | None = None
    """`traceparent` of the attempt."""


class Server(Protocol):
    """Whoever computes a unit."""

    async def run(self, task: Task) -> Outputs:
        """The outputs, with every file that they name in the store. Raises OtherModel when another identity was expected."""

    async def identity(self) -> str | None:
        """What decides about its outputs, besides their inputs: model, weights, settings. None: its outputs are not kept."""


class Modules:
    """Computes units, or finds what an earlier run computed."""

    def __init__(self, store: Store, servers: Mapping[Unit, Server]) -> None:
        self._store = store
        self._servers = servers
        self._identities: dict[Unit, str | None] = {}

    async def compute(
        self,
        unit: Unit,
        record: Record,
        *,
        run_id: str | None,
        key: str | None,
        owner: str | None = None,
        memory_was_short: bool = False,
    ) -> Outputs:
        """The unit's outputs. `key` is the name of the API key that the run belongs to, `owner` who works on it.

        Raises InvalidOptions for a draft that nobody makes, and what the server raises.
        """
        server = self._servers.get(unit)
        if server is None:  # accepted when the service had other settings
            raise no_draft_of(unit.part or unit.module)
        task = Task(record, "", run_id, owner, memory_was_short, None, unit.part, tracing.traceparent())
        for meeting in range(1, MEETINGS + 1):
            if unit not in self._identities:  # asked once: a server that has another in the meantime says so
                self._identities[unit] = await server.identity()
            try:
                return await self._find_or_compute(unit, replace(task, identity=self._identities[unit]), key)
            except OtherModel:
                self._identities.pop(unit, None)
                if meeting == MEETINGS:
                    raise
        raise AssertionError("unreachable")

    async def _find_or_compute(self, unit: Unit, task: Task, key: str | None) -> Outputs:
        video, digest = f"videos/{task.record.video_input.token}", _digest(task.identity, unit, task.record, key)
        kept_as = f"{video}/outputs/{digest}.json"
        if task.identity is not None and (found := await self._find(kept_as)):
            return found
        # A folder for every attempt: one that was given up, and is still at work somewhere, writes over nothing.
        folder = f"{video}/made/{digest}-{secrets.token_hex(4)}"
        outputs = await self._servers[unit].run(replace(task, folder=folder))
        if task.identity is not None:
            await self._store.write(kept_as, outputs.model_dump_json().encode())
        return outputs

    async def _find(self, kept_as: str) -> Outputs | None:
        data = await self._store.read(kept_as)
        try:
            found = Outputs.model_validate_json(data) if data else None
        except ValidationError:  # by another version of the schema
            return None
        if found is None or not await self._are_there(set(files_of(found))):
            return None
        return with_origin(found, "cached")

    async def _are_there(self, files: set[str]) -> bool:
        """Whether the files are in the store: a deletion that was cut short may have taken them, and left the output."""
        folders = {file.rpartition("/")[0] for file in files}
        return files <= {key for folder in folders for key in await self._store.keys(folder)}


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


def no_draft_of(what: str) -> InvalidOptions:
    """What is raised where a draft is asked for, and nobody makes one."""
    return InvalidOptions(f"draft is asked for, and this service makes none of {what}: ask for draft = false")


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


def files_of(outputs: Outputs) -> Iterator[str]:
    """Keys of the files that were made with the outputs (a record's, too)."""
    if outputs.frame_extraction:
        yield from (frame.path for frame in outputs.frame_extraction.frames)
    if outputs.audio_generation:
        for stem in outputs.audio_generation.stems:
            yield from {stem.path, *stem.kept.values()}
    if outputs.reconstruction:
        yield outputs.reconstruction.path
        yield from outputs.reconstruction.files.by_name.values()


def _digest(identity: str | None, unit: Unit, record: Record, key: str | None) -> str:
    reads = depends_on(record, unit.module, unit.part)
    return hashlib.sha256(to_json((RELEASE, identity, unit.module, unit.part, reads, key))).hexdigest()[:32]
