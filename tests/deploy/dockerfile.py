"""`deploy/Dockerfile` and what goes into it, read without Docker."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from docker.utils.build import exclude_paths

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"


class Instruction(NamedTuple):
    """One of a stage's."""

    stage: int
    name: str
    value: str


def instructions() -> list[Instruction]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    stage = -1
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        name, _, value = line.partition(" ")
        stage += name == "FROM"
        found.append(Instruction(stage, name, value.strip()))
    return found


def values(name: str) -> list[str]:
    """Of every instruction of that name."""
    return [one.value for one in instructions() if one.name == name]


def environment() -> dict[str, str]:
    """What ENV sets."""
    return dict(pair.split("=", 1) for value in values("ENV") for pair in shlex.split(value))


def sources() -> list[str]:
    """What COPY takes from the context."""
    copied = [shlex.split(value) for value in values("COPY") if "--from=" not in value]
    return [source for arguments in copied for source in arguments[:-1]]


def context() -> set[str]:
    """Paths of the repository that .dockerignore lets through, as Docker's own client reads it."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return set(exclude_paths(str(ROOT), [line for line in lines if line and not line.startswith("#")]))
