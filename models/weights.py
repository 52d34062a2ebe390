"""Published weights on this machine: where they lie, whether they are whole, and how they come here, once for all processes.

    $IMMERSIVAUDIO_WEIGHTS   (unset: ~/.cache/immersivaudio)
    ├── weights.json         what was fetched: every file's size and SHA-256
    ├── huggingface/hub/…    the hub's own cache (unset: wherever $HF_HOME says)
    ├── ultralytics/…        YOLOv9
    └── torchvision/…        ResNet18

What is listed, and has the size that it was listed with, is used without a look at the network. What is not is fetched by one
process while the others wait, checked against what its publisher says of it, and listed. $HF_HUB_OFFLINE forbids to fetch anything,
not from the hub alone.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from models.errors import ModelUnavailable
from models.schema import Frozen

logger = logging.getLogger(__name__)

FOLDER = "IMMERSIVAUDIO_WEIGHTS"
"""The environment variable."""

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
"""What may be a repository's."""


@dataclass(frozen=True)
class HubFiles:
    """Files of one commit of a repository of the Hugging Face hub."""

    repository: str
    revision: str | None
    """A commit. A branch, a tag, or None (the main branch) mean the commit that it is when first fetched here, from then on."""
    patterns: tuple[str, ...] | None
    """Which files. None: those that diffusers' pipeline reads."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.repository} (revision {self.revision})" if self.revision else self.repository

    @property
    def key(self) -> str:
        """Under which it is listed."""
        wanted = f":{','.join(self.patterns)}" if self.patterns else ""
        return f"{self.repository}@{self.revision or 'main'}{wanted}"


@dataclass(frozen=True)
class OneFile:
    """A file at an address of its own."""

    key: str
    """Its path below the folder of all weights."""
    url: str
    sha256: str | None
    """None: its publisher does not say, and what comes first is listed."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return Path(self.key).name


Published = HubFiles | OneFile


class ListedFile(Frozen):
    """A file as it was when it had been fetched and checked."""

    size: int
    """Bytes."""
    sha256: str


class Listed(Frozen):
    """One of the published weights."""

    commit: str | None
    """On the hub."""
    files: dict[str, ListedFile]


class Listing(Frozen):
    """`weights.json`."""

    version: Literal[1] = 1
    weights: Mapping[str, Listed] = Field(default_factory=dict)


def folder() -> Path:
    """Where weights are kept."""
    return Path(os.environ.get(FOLDER) or "~/.cache/immersivaudio").expanduser().absolute()


def find(published: Published) -> Path:
    """The file, or the folder that holds the files: as listed, else fetched.

    Raises ModelUnavailable, in a sentence that says how to mend it: not to be had, or no longer what was listed.
    """
    if (found := present(published)) is None:
        with one_at_a_time():
            if (found := present(published)) is None:  # another process may have fetched it meanwhile
                found = place_of(published, fetch(published))
    return found


def present(published: Published) -> Path | None:
    """Where it lies; None where it is not listed, or a file is gone. Raises ModelUnavailable when a file has another size."""
    listed = listing().weights.get(published.key)
    if listed is None:
        return None
    place = _folder_of(published, listed)
    for name, file in listed.files.items():
        path = place / name
        if not path.is_file():
            return None
        if (size := path.stat().st_size) != file.size:
            raise ModelUnavailable(
                f"{path} is damaged: it has {size} bytes, and had {file.size} when it was fetched; "
                "`immersivaudio prefetch CONFIG` fetches it again"
            )
    return place_of(published, listed)


def damaged(published: Published) -> list[Path]:
    """The listed files that are gone, or are not what was listed. All of them are read.

    Raises ModelUnavailable when nothing is listed.
    """
    listed = listing().weights.get(published.key)
    if listed is None:
        raise ModelUnavailable(f"{published.name} is not in {folder()}; `immersivaudio prefetch CONFIG` fetches it")
    place = _folder_of(published, listed)
    paths = {place / name: file for name, file in listed.files.items()}
    return [path for path, file in paths.items() if not path.is_file() or digest(path) != file.sha256]


def renew(published: Published) -> Listed:
    """As `find`, but every listed file is read, and what is not as it was listed is fetched again. Raises ModelUnavailable.

    Returns what there is, listed or not.
    """
    with one_at_a_time():
        if listed := listing().weights.get(published.key):
            broken = damaged(published)
            for path in broken:
                logger.warning("%s is damaged or gone: it is fetched again", path)
                _delete(path)
            if not broken and present(published):
                return listed
        return fetch(published)


def fetch(published: Published) -> Listed:
    """Fetch what is not here yet, check all of it, and list it. To be called by `one_at_a_time`. Raises ModelUnavailable."""
    from models import fetching

    if isinstance(published, OneFile):
        path = folder() / published.key
        if not path.is_file():
            fetching.from_address(published, path)
        files, commit = {published.key: _checked(path, published.sha256)}, None
    else:
        before = listing().weights.get(published.key)
        found = fetching.from_hub(published, before.commit if before else published.revision, hub_cache())
        commit = found.name
        inside = [path for path in sorted(found.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
        files = {path.relative_to(found).as_posix(): _checked(path, _blob(path)) for path in inside}
    logger.info("%s is here: %d files, %.2f GB", published.name, len(files), sum(f.size for f in files.values()) / 1e9)
    listed = Listed(commit=commit, files=files)
    _list(published.key, listed)
    return listed


def place_of(published: Published, listed: Listed) -> Path:
    """The file, or the folder that holds the files."""
    place = _folder_of(published, listed)
    return place if isinstance(published, HubFiles) else place / published.key


def _folder_of(published: Published, listed: Listed) -> Path:
    """The folder that the listed names are relative to."""
    if isinstance(published, OneFile):
        return folder()
    repository = f"models--{published.repository.replace('/', '--')}"
    return hub_cache() / repository / "snapshots" / str(listed.commit)


def hub_cache() -> Path:
    """The hub's cache: in the folder of all weights where one is named, else where it always is."""
    if os.environ.get(FOLDER):
        return folder() / "huggingface" / "hub"
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def listing() -> Listing:
    """What is listed. Raises ModelUnavailable when the list cannot be read."""
    path = folder() / "weights.json"
    try:
        return Listing.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Listing()
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelUnavailable(
            f"{path} is no list of weights that this version reads: delete it, and run `immersivaudio prefetch CONFIG`"
        ) from error


def digest(path: Path) -> str:
    """SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Only one process of this machine is in here. Where nothing can be written, nothing can be fetched twice either."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        lock = (folder() / ".lock").open("w")
    except OSError:
        yield
        return
    with lock:
        # given back when the file is closed, whatever becomes of the process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("another process fetches weights into %s: waiting for it", folder())
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _list(key: str, listed: Listed) -> None:
    """Raises ModelUnavailable where it could be listed, and is not: without the list it would be fetched again at every start."""
    weights = {**listing().weights, key: listed}
    path = folder() / "weights.json"
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(Listing(weights=weights).model_dump_json(indent=2))
        beside.replace(path)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES):  # weights that are mounted read-only are as good without
            return
        with suppress(OSError):
            beside.unlink()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = f"make room on the disk of {folder()}" if full else "mend that, and start again"
        raise ModelUnavailable(f"{path} cannot be written: {error.strerror}; {cure}") from error


def _checked(path: Path, published: str | None) -> ListedFile:
    """The file's entry. Deletes it, and raises ModelUnavailable, when it is not what was published."""
    size, sha256 = path.stat().st_size, digest(path)
    own = sha256 if published is None or len(published) == 64 else _git_digest(path)
    if published is not None and own != published:
        _delete(path)
        raise ModelUnavailable(
            f"{path} came damaged: its digest is {own}, and that of what was published is {published}; "
            "it is deleted: start again, or run `immersivaudio prefetch CONFIG`"
        )
    return ListedFile(size=size, sha256=sha256)


def _delete(path: Path) -> None:
    """The file, and the hub's link to it."""
    with suppress(OSError):
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _blob(path: Path) -> str | None:
    """What the hub says of the file: its cache names content by digest. None where the file system knows no links."""
    name = path.resolve().name if path.is_symlink() else ""
    return name if len(name) in (40, 64) and set(name) <= set("0123456789abcdef") else None


def _git_digest(path: Path) -> str:
    """As git names a file: what is small on the hub is kept in git."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
