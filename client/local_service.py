"""Starts the service on this machine as a child, and stops it again, with every process that it started.

Ray's processes stay in the session of the one that started them, but not in its process group, and some outlive it. So the
child gets a session of its own, and is stopped when nobody is left in that session.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import httpx

from client.errors import ClientError

STOPPING = ((signal.SIGINT, 20.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
"""How the service is asked to end, and for how many seconds each time."""


class ServiceNotStarted(ClientError):
    """The service on this machine ended, or wasn't ready in time. The message ends with what it logged last."""


class LocalService:
    """`serve run CONFIG` in a Ray cluster of its own."""

    def __init__(self, config: Path, *, log: Path, command: Sequence[str] = ()) -> None:
        """Everything the service prints will go to `log`. `command` stands in for `serve run`."""
        self._config = config
        self._log = log
        self._command = command or (sys.executable, "-m", "serve.one_machine", "run")
        # Unix sockets lie below this folder, and their paths end at 107 bytes: macOS's own temporary folder is too deep.
        self.scratch = Path(tempfile.mkdtemp(prefix="immersivaudio-", dir="/tmp"))
        self._child: subprocess.Popen[bytes] | None = None
        wanted = _port_of(config)
        self.port = wanted if _is_free(wanted) else _free_port()
        if self.port != wanted:
            self._config = _with_port(config, self.port, self.scratch)
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def leader(self) -> int:
        """Of the session that all of its processes are in. There once it is started."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        """Starts it in the current folder, and returns at once."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as output:
            self._child = _start([*self._command, str(self._config)], self.scratch, output)

    def wait_until_ready(self, *, timeout_seconds: float) -> None:
        """Returns when the service takes requests. Raises ServiceNotStarted."""
        deadline = time.monotonic() + timeout_seconds
        with httpx.Client(trust_env=False, timeout=5) as http:
            while True:
                if self._child and self._child.poll() is not None:
                    raise self._not_started(f"the service ended while it started (exit code {self._child.returncode})")
                if time.monotonic() > deadline:
                    raise self._not_started(f"the service was not ready after {timeout_seconds:g} s")
                with suppress(httpx.RequestError):
                    if http.get(f"{self.url}/readyz").is_success:
                        return
                time.sleep(0.2)

    def stop(self) -> None:
        """Ends every process that was started. Ctrl-C while it lasts makes it shorter."""
        if self._child:
            for number, patience in STOPPING:
                try:
                    _ask_to_end(self._child, number)
                    if _is_gone_within(self._child, patience):
                        break
                except (KeyboardInterrupt, SystemExit):
                    continue
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _not_started(self, sentence: str) -> ServiceNotStarted:
        tail = self._log.read_text(errors="replace").splitlines()[-25:]
        return ServiceNotStarted("\n".join([f"{sentence}. The end of {self._log}:", *tail]))


@contextmanager
def local_service(config: Path, *, log: Path, command: Sequence[str] = ()) -> Iterator[LocalService]:
    """A service that is stopped whatever happens, also on SIGTERM and when the terminal closes."""
    with signals_as_exceptions():
        service = LocalService(config, log=log, command=command)
        try:
            service.start()
            yield service
        finally:
            service.stop()


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """A signal that asks this process to end unwinds the block first."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # A shell starts background jobs with SIGINT ignored, and children inherit that; not what has a handler.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: leave, signal.SIGHUP: leave}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(command: list[str], scratch: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    environment = os.environ | {
        "RAY_ADDRESS": "local",  # never somebody's running cluster
        "RAY_TMPDIR": str(scratch),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Nothing large passes through Ray's memory, but every page of it that a request once touched counts in two processes.
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "80000000",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.access:at_the_proxy",  # request ids that are safe to log
        # The cluster asks for a token, and Ray need not write one into the user's home.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    environment.pop("RAY_AUTH_TOKEN_PATH", None)
    return subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
    )


def _ask_to_end(leader: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # Ctrl-C is for the one who started the others; it ends them in order.
    for pid in [leader.pid] if number == signal.SIGINT else _session(leader.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _is_gone_within(leader: subprocess.Popen[bytes], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while leader.poll() is None or _session(leader.pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _session(leader: int) -> list[int]:
    """The processes of a session that aren't zombies."""
    return [pid for pid in _processes() if _session_of(pid) == leader]


def _port_of(config: Path) -> int:
    import yaml

    return int((yaml.safe_load(config.read_text()).get("http_options") or {}).get("port", 8000))


def _with_port(config: Path, port: int, folder: Path) -> Path:
    """A copy of the configuration in which only the port differs."""
    import yaml

    content = yaml.safe_load(config.read_text())
    content["http_options"] = (content.get("http_options") or {}) | {"port": port}
    copy = folder / config.name
    copy.write_text(yaml.safe_dump(content, sort_keys=False))
    return copy


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _processes() -> list[int]:
    """The ids of all processes that aren't zombies."""
    proc = Path("/proc")
    if not proc.is_dir():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True)  # noqa: S607
        return [int(pid) for pid, state in map(str.split, listed.stdout.splitlines()) if not state.startswith("Z")]
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit() and not _is_zombie(entry)]


def _is_zombie(entry: Path) -> bool:
    try:
        # The name, in parentheses, may hold anything; the state follows it.
        return (entry / "stat").read_bytes().rpartition(b") ")[2].startswith(b"Z")
    except OSError:
        return True


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
