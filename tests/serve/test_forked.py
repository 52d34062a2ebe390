"""Workers as copies of one process, without Ray: who may ask for one, that none starts twice, and how a copy allocates."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serve import forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are copies on Linux alone")

SERVER = """
import sys, time
from pathlib import Path
from serve import forked
forked._import_all = lambda: None
imported = forked._preload
def preload(script):
    while not Path(script).exists():
        time.sleep(0.01)
    imported(script)
forked._preload = preload
forked.main([forked.SERVER, *sys.argv[1:]])
"""
"""Imports nothing, but is not done with it before the worker's script is there."""

WORKER = "import os, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(os.environ['NAME'])"


@contextmanager
def serving(place: Path, script: Path) -> Iterator[None]:
    lock = os.open(place.with_name("lock"), os.O_RDWR | os.O_CREAT)
    given = [str(place), str(lock), str(os.getpid()), str(script)]
    process = subprocess.Popen([sys.executable, "-c", SERVER, *given], pass_fds=[lock])
    os.close(lock)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def listening(place: Path) -> Iterator[list[bytes]]:
    """In the place of the server, and what it is sent."""
    heard: list[bytes] = []

    def hear() -> None:
        caller, _ = asked.accept()
        with caller:
            heard.append(caller.recv(forked.MESSAGE_BYTES))

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asked:
        asked.bind(str(place))
        asked.listen()
        thread = threading.Thread(target=hear)
        thread.start()
        yield heard
        thread.join(10)


def written(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.read_text()


def test_who_waited_too_long_and_started_the_worker_itself_gets_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, script = tmp_path / "s", tmp_path / "worker.py"
    monkeypatch.setenv("NAME", "a worker")
    with serving(place, script):
        monkeypatch.setattr(forked, "ANSWER_SECONDS", 0.1)
        with pytest.raises(OSError, match="timed out"):
            forked._ask(place, [str(script), str(tmp_path / "too late")])
        monkeypatch.setattr(forked, "ANSWER_SECONDS", 30)
        script.with_suffix(".new").write_text(WORKER)
        script.with_suffix(".new").rename(script)
        for name in ("first", "second"):
            forked._ask(place, [str(script), str(tmp_path / name)])
            assert written(tmp_path / name) == "a worker"
    assert not (tmp_path / "too late").exists()


def test_nothing_is_told_to_a_server_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 54321)
    with listening(tmp_path / "s") as heard, pytest.raises(PermissionError):
        forked._ask(tmp_path / "s", ["worker.py"])
    assert heard == [b""]


def test_another_user_gets_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, script = tmp_path / "s", tmp_path / "worker.py"
    script.write_text(WORKER)
    monkeypatch.setattr("tests.serve.test_forked.SERVER", "import os; os.getuid = lambda: 54321" + SERVER)
    with serving(place, script), pytest.raises(OSError, match=r"ended|reset|Broken pipe"):
        forked._ask(place, [str(script), str(tmp_path / "made")])
    assert not (tmp_path / "made").exists()


def test_the_server_listens_where_nobody_else_may_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    place = forked._place(["worker.py", f"--raylet-name={tmp_path}/raylet"])
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert place == forked._place(["worker.py", f"--raylet-name={tmp_path}/raylet"])
    assert len(str(place)) <= len(f"{tmp_path}/raylet")


@pytest.mark.parametrize("made", ["by another", "open to others", "a link"])
def test_a_folder_that_is_not_the_users_alone_is_not_used(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own"
    if made == "a link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        folder.symlink_to("theirs")
    else:
        folder.mkdir(mode=0o700)
    if made == "open to others":
        folder.chmod(0o711)
    if made == "by another":
        monkeypatch.setattr("os.getuid", lambda: 54321)
    with pytest.raises(PermissionError, match="not this user's alone"):
        forked._place([f"--raylet-name={tmp_path}/raylet"])


MEASURED = """
import ctypes, threading
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
Told = type("Told", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in names]})
libc.mallinfo2.restype = Told
def mapped():
    before = libc.mallinfo2().hblks
    libc.malloc(1 << 24)
    return libc.mallinfo2().hblks - before
"""

COPY = f"""
import os, sys
{MEASURED}
libc.free(libc.malloc(24 << 20))  # from here on, glibc takes what is smaller from its heap
first = mapped()
from serve.forked import become
become({{"arguments": [sys.argv[1], str(first)], "environment": {{**os.environ, **eval(sys.argv[2])}}, "folder": "."}})
"""

IN_THE_COPY = f"""
import os, sys, tempfile
{MEASURED}
second, together = mapped(), threading.Barrier(5)
def allocate():
    libc.malloc(1000)
    together.wait()
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads: thread.start()
together.wait()
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes, libc.fclose.argtypes = [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p]
with tempfile.NamedTemporaryFile() as file:
    opened = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, opened)
    libc.fclose(opened)
    print(sys.argv[1], second, file.read().count(b"<heap nr="))
together.wait()
"""


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "0 0 5"),
        ({"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "2"}, "0 1 2"),
        ({"MALLOC_MMAP_THRESHOLD_": "", "MALLOC_ARENA_MAX": "many"}, "0 0 5"),
    ],
)
def test_a_copy_allocates_as_its_environment_says(environment: dict[str, str], told: str, tmp_path: Path) -> None:
    """Whether 16 MB are mapped before and after, and how many heaps four threads have."""
    script = tmp_path / "worker.py"
    script.write_text(IN_THE_COPY)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    done = subprocess.run(
        [sys.executable, "-c", COPY, str(script), repr(environment)],
        env=plain, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == (told, "")


def drawn(*, before: str = "") -> subprocess.CompletedProcess[str]:
    program = f"{before}\nfrom serve.forked import _drawn_by_a_copy, _import_all\n_import_all()\n"
    program += "print(*(_drawn_by_a_copy().hex() for _ in range(3)))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_copies_give_ray_ids_of_their_own() -> None:
    told = drawn()
    ids = told.stdout.split()
    assert len(ids) == len(set(ids)) == 3, told.stderr


def test_a_process_whose_copies_would_all_draw_the_same_makes_none() -> None:
    told = drawn(before="import ray.serve")
    assert told.returncode != 0
    assert "all workers would draw the same" in told.stderr
