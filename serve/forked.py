"""Ray's workers as copies of one process that has imported everything: on one machine, most of their memory would be imports.

Ray starts a worker as `py_executable default_worker.py …`, and this file is that executable (`serve/one_machine.py`). It hands its
arguments, environment and folder to a server, which forks the worker, and ends. The server is started by whoever finds none, and
ends with Ray's node. Pages that no worker writes to are there once. A worker that cannot be had in this way is started as any
other.

What is handed over has secrets in it, and Ray's folder of sockets is anybody's. So the server listens in a folder in it that is the
user's own, and each end looks whose process the other one is.

It rests on three things of Ray's: Ray knows a worker by the process that registers, not by the one that it started; when a worker
ends, Ray ends its process group, which is why every worker leads one of its own; and Ray's random numbers, of which it makes the
ids of tasks, are seeded when the first is drawn. Copies of a process that has drawn one would all draw the same: so none is drawn
before, and whether that is so is looked at.

Run with `-I -S`: to ask, the standard library will do, and it is there in a fiftieth of a second.
"""

import ctypes
import fcntl
import gc
import json
import os
import runpy
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypedDict

# What most replicas have imported when they are ready. Nothing of it may start a thread, or need torch.
PRELOADED = ("ray.serve._private.replica", "serve.app", "models.sketch.foley", "models.sketch.music")
SERVER = "--server"
LOOK_SECONDS = 1.0  # how often the server looks whether Ray's node is there
START_SECONDS = 10.0  # for the server to listen, which it does before it imports
ANSWER_SECONDS = 120.0  # for a worker to be there, behind the imports
MESSAGE_BYTES = 2**20
CREDENTIALS = struct.Struct("3i")  # of a process: its id, its user, its group
HERE, GO_ON = b"?", b"!"  # the copy's word, and the answer of who asked for it

MALLOC = {"MALLOC_MMAP_THRESHOLD_": -3, "MALLOC_ARENA_MAX": -8}
"""What glibc reads when a program starts, and a copy does not; and what its `mallopt` calls it."""


class Wanted(TypedDict):
    """A worker."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str


def main(arguments: Sequence[str]) -> None:
    """What Ray starts in the place of a worker, or the server."""
    if arguments[:1] == [SERVER]:
        place, lock, raylet, script = arguments[1:]
        if worker := serve(Path(place), lock=int(lock), raylet=int(raylet), script=script):
            become(worker)
        return
    try:
        place_of_server = _place(arguments)
        _start_server(place_of_server, script=arguments[0])
        _ask(place_of_server, arguments)
    except OSError:
        os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


def serve(place: Path, *, lock: int, raylet: int, script: str) -> Wanted | None:
    """Import everything, then fork for as long as Ray's node is there. Returns in every worker: what it is to be."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        place.unlink(missing_ok=True)
        asked.bind(str(place))
        asked.listen(64)
        asked.settimeout(LOOK_SECONDS)
        _preload(script)
        while _is_alive(raylet):
            with suppress(OSError):  # nobody asked, or whoever did is gone
                caller, _ = asked.accept()
                with caller:
                    caller.settimeout(LOOK_SECONDS)
                    _check_user(caller)
                    message = caller.recv(MESSAGE_BYTES)
                    if message and os.fork() == 0:
                        if not _is_still_wanted(caller):
                            os._exit(0)
                        break
        else:
            return None
    os.close(lock)
    os.setpgrp()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    wanted: Wanted = json.loads(message)
    return wanted


def _is_still_wanted(caller: socket.socket) -> bool:
    """Asked by the copy: who has waited for too long has started the worker already, and there must not be two."""
    caller.settimeout(None)  # who has given up has closed its end
    try:
        caller.send(HERE)
        return caller.recv(1) == GO_ON
    except OSError:
        return False


def become(worker: Wanted) -> None:
    """Go on as the worker."""
    os.environ.clear()
    os.environ.update(worker["environment"])
    libc = ctypes.CDLL(None)
    for name, parameter in MALLOC.items():
        if os.environ.get(name, "").isdigit():
            libc.mallopt(parameter, int(os.environ[name]))
    os.chdir(worker["folder"])
    sys.argv = worker["arguments"]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _preload(script: str) -> None:
    # Beside this file lie names of the standard library; a worker looks beside Ray's script.
    sys.path[0] = str(Path(script).parent)
    # Serve imports pandas where it finds it, to recognise its objects; nobody here has any, and it takes 20 MB of every process.
    sys.modules["pandas"] = None  # type: ignore[assignment]
    _import_all()
    del sys.modules["pandas"]
    gc.collect()
    gc.freeze()  # a collection writes to every object that it looks at
    ctypes.CDLL(None).malloc_trim(0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them


def _import_all() -> None:
    """Everything that is preloaded. Raises RuntimeError when copies of this process would not be like others."""
    import ray.actor

    actors: Any = ray.actor
    # Ray draws a number for each class of actors, and some are made by importing Serve.
    real, actors.ActorClassID = actors.ActorClassID, _ActorClassID
    for name in PRELOADED:
        __import__(name)
    actors.ActorClassID = real
    if _drawn_by_a_copy() == _drawn_by_a_copy():
        raise RuntimeError("what is preloaded draws random numbers, so all workers would draw the same")


class _ActorClassID:
    """In the place of Ray's, with random numbers of the kernel's."""

    @staticmethod
    def from_random() -> Any:
        from ray import ActorClassID

        return ActorClassID(os.urandom(ActorClassID.size()))


def _drawn_by_a_copy() -> bytes:
    """A task's id, as a copy of this process makes it."""
    read, write = os.pipe()
    copy = os.fork()
    if copy == 0:
        from ray._raylet import JobID, TaskID

        os.write(write, TaskID.for_fake_task(JobID.from_int(1)).binary())
        os._exit(0)
    os.close(write)
    drawn = os.read(read, 64)
    os.close(read)
    os.waitpid(copy, 0)
    return drawn


def _start_server(place: Path, *, script: str) -> None:
    """Unless there is one: it holds the lock for as long as it lives."""
    lock = os.open(place.with_name("lock"), os.O_RDWR | os.O_CREAT, 0o600)
    raylet = os.getppid()
    with suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fork() == 0:
            os.setpgrp()
            os.set_inheritable(lock, True)
            command = [sys.executable, __file__, SERVER, str(place), str(lock), str(raylet), script]
            os.execv(sys.executable, command)  # noqa: S606
    os.close(lock)


def _ask(place: Path, arguments: Sequence[str]) -> None:
    """Returns when the worker is there, and goes on. Raises OSError when there will be none."""
    wanted = Wanted(arguments=list(arguments), environment=dict(os.environ), folder=str(Path.cwd()))
    with _connected(place) as asking:
        _check_user(asking)
        asking.settimeout(ANSWER_SECONDS)
        asking.send(json.dumps(wanted).encode())
        if not asking.recv(1):
            raise ConnectionError("the server has ended")
        asking.send(GO_ON)


def _check_user(connected: socket.socket) -> None:
    """Raises PermissionError when the process at the other end is another user's."""
    told = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    _, user, _ = CREDENTIALS.unpack(told)
    if user != os.getuid():
        raise PermissionError(f"the process at the other end is user {user}'s")


def _connected(place: Path) -> socket.socket:
    deadline = time.monotonic() + START_SECONDS
    while True:
        asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            asking.connect(str(place))
        except OSError:
            asking.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return asking


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _place(arguments: Sequence[str]) -> Path:
    """Where the server listens: beside Ray's own sockets, in a folder that nobody else may enter.

    The names are no longer than that of Ray's socket, since a socket's path has 107 bytes at most.

    Raises OSError where Ray has no sockets, or the folder is not ours alone.
    """
    named = [argument.partition("=")[2] for argument in arguments if argument.startswith("--raylet-name=")]
    if not named:
        raise FileNotFoundError("--raylet-name")
    folder = Path(named[0]).with_name("own")
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder / "s"


if __name__ == "__main__":
    main(sys.argv[1:])
