"""A module's files while it works: read from the store, written to scratch, and in the store before anything names them."""

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from serve.store import Store

SCRATCH = "immersivaudio-step-"
STALE_SECONDS = 24 * 3600.0  # no step takes as long


def clear_scratch() -> None:
    """Delete what processes that were killed left of their steps."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


class StoreWorkspace:
    """A `models.workspace.Workspace` on the store, for one step, in one thread.

    with StoreWorkspace(store, folder) as files:
        outputs = step(record, model, files)
        files.keep()
    """

    def __init__(self, store: Store, folder: str) -> None:
        self.made = folder
        self._store = store
        self._written: dict[str, Path] = {}

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix=SCRATCH))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)

    def path(self, key: str) -> Path:
        """The object as a file."""
        return self._written.get(key) or self._store.local(key, self._scratch / "read")

    def new(self, key: str) -> Path:
        """Where to write what `keep` puts into the store under this key."""
        path = self._scratch / "written" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        self._written[key] = path
        return path

    def keep(self) -> None:
        """Put everything written into the store, or nothing: half of it would only take the space that was missing."""
        try:
            for key, path in self._written.items():
                self._store.put(key, path)
        except BaseException:
            self._store.discard(self._written)
            raise
