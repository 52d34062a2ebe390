"""Where the record's files lie, for whoever computes a module: in a notebook a plain folder, in the service the store."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Workspace(Protocol):
    """Where a step finds its files, and leaves them."""

    @property
    def made(self) -> str:
        """Prefix of the keys of whatever the step makes."""

    def path(self, key: str) -> Path:
        """A file that is there, to be read only."""

    def new(self, key: str) -> Path:
        """Where to write the file that will have this key."""


@dataclass(frozen=True)
class Folder:
    """A workspace that is a plain folder."""

    root: Path
    made: str = "made"

    def path(self, key: str) -> Path:
        return self.root / key

    def new(self, key: str) -> Path:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
