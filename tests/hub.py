"""A Hugging Face hub on this machine: as much of its HTTP as `huggingface_hub` and diffusers use to fetch a model."""

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
IN_GIT = 2000  # bytes; what is larger is kept in LFS, and known by its SHA-256


@dataclass
class Repository:
    """A model on the hub, with one commit."""

    folder: Path
    """With its files."""
    commit: str = COMMIT
    refuses: tuple[int, str] | None = None
    """The status, and the error's code or sentence, with which every file is refused."""
    damage: dict[str, str] = field(default_factory=dict)
    """By file: `short` leaves out its end, `other` sends other bytes."""

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())


@dataclass
class Hub:
    """What it has, and how often each file was sent."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    sent: Counter[str] = field(default_factory=Counter)
    seconds: float = 0
    """How long it takes to send a file."""
    asked: int = 0
    url: str = ""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """The hub, at `hub.url`."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        self.hub.asked += 1
        path = unquote(urlsplit(self.path).path).strip("/")
        if "/resolve/" in path:
            name, _, rest = path.partition("/resolve/")
            return self._resolve(name, *rest.split("/", 1))
        name, _, rest = path.removeprefix("api/models/").partition("/revision/")
        if "/tree/" in path:
            name, _, rest = path.removeprefix("api/models/").partition("/tree/")
        repository = self._repository(name, rest)
        if repository is None:
            return None
        if "/tree/" in path:
            return self._json([_entry(repository, file) for file in repository.files()])
        siblings = [{"rfilename": file} for file in repository.files()]
        return self._json({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings, "tags": []})

    def _repository(self, name: str, revision: str) -> Repository | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self._refuse(401, "RepoNotFound")
        elif revision not in ("", "main", repository.commit):
            self._refuse(404, "RevisionNotFound")
            return None
        return repository

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        if repository.refuses:
            self._refuse(*repository.refuses)
            return
        if file not in repository.files():
            self._refuse(404, "EntryNotFound")
            return
        content = (repository.folder / file).read_bytes()
        etag = _digest(content)
        damage = repository.damage.get(file)
        if self.command == "GET":
            self.hub.sent[f"{name}/{file}"] += 1
            time.sleep(self.hub.seconds)
            if damage == "other":
                content = bytes(len(content))
        self.send_response(200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[: len(content) // 2] if damage == "short" else content)
            self.close_connection = damage == "short"

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Message" if " " in code else "X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _digest(content: bytes) -> str:
    if len(content) > IN_GIT:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(repository: Repository, file: str) -> dict[str, object]:
    content = (repository.folder / file).read_bytes()
    entry = {"type": "file", "path": file, "size": len(content), "oid": _digest(content)}
    if len(content) > IN_GIT:
        return entry | {"lfs": {"oid": _digest(content), "size": len(content), "pointerSize": 130}}
    return entry
