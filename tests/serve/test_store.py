"""What every store promises, on a local folder and in a bucket. A backend is tested by adding it to `url`."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from models.errors import StorageFailed, StorageFull
from serve.store import Store, StoreWriter, Taken
from tests.serve.s3 import unfinished, use_endpoint

pytest_plugins = ("tests.serve.stores",)

BIG = os.urandom(1 << 20) * 12


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return Store(f"{tmp_path}/store")


async def test_an_object_is_created_once(store: Store) -> None:
    await store.create("runs/a/1", b"first")
    with pytest.raises(Taken):
        await store.create("runs/a/1", b"second")
    assert await store.read("runs/a/1") == b"first"


async def test_of_many_who_create_an_object_at_once_one_does(store: Store) -> None:
    tried = await asyncio.gather(*(store.create("runs/a/1", b"%d" % n) for n in range(20)), return_exceptions=True)
    won = [n for n, result in enumerate(tried) if result is None]
    assert len(won) == 1
    assert all(isinstance(result, Taken) for n, result in enumerate(tried) if n not in won)
    assert await store.read("runs/a/1") == b"%d" % won[0]


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.read("runs/a/1") is None
    assert await store.blob("runs/a/1") is None


async def test_a_file_is_put_and_comes_back_in_parts(store: Store, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20_000
    (tmp_path / "file").write_bytes(data)
    store.put("videos/x/source.mp4", tmp_path / "file")
    blob = await store.blob("videos/x/source.mp4")
    assert blob is not None
    assert blob.size == len(data)
    parts = [part async for part in store.stream(blob.key, 1000, len(data) - 7)]
    assert b"".join(parts) == data[1000:-7]
    assert max(map(len, parts)) < len(data) / 2


async def test_an_object_is_a_file_for_those_who_need_one(store: Store, tmp_path: Path) -> None:
    store.put("videos/x/source.mp4", BIG)
    assert store.local("videos/x/source.mp4", tmp_path / "cache").read_bytes() == BIG
    with pytest.raises(FileNotFoundError):
        store.local("videos/x/other.mp4", tmp_path / "cache")


async def test_keys_are_listed_in_order(store: Store) -> None:
    for number in (3, 1, 2):
        store.put(f"runs/a/events/{number:06d}.json", b"{}")
    store.put("runs/b/events/000001.json", b"{}")
    assert await store.keys("runs/a") == [f"runs/a/events/{number:06d}.json" for number in (1, 2, 3)]


async def test_a_listing_says_how_large_and_how_old(store: Store) -> None:
    store.put("uploads/x/parts/1", b"12345")
    store.put("uploads/x/info.json", b"{}")
    store.put("uploads/xy/info.json", b"{}")
    event = await store.entries("uploads/x")
    assert [(entry.key, entry.size) for entry in event] == [("uploads/x/info.json", 2), ("uploads/x/parts/1", 5)]
    assert all(abs(entry.modified - event[0].modified) < 60 for entry in event)
    assert await store.entries("uploads/z") == []


async def test_the_folders_of_a_folder_are_listed_without_what_is_in_them(store: Store) -> None:
    for key in ("videos/b/source.mp4", "videos/a/frames/1", "videos/a/frames/2", "videos/file", "videosmore/c/1"):
        store.put(key, b"x")
    assert await store.folders("videos") == ["videos/a", "videos/b"]
    assert await store.folders("runs") == []


async def test_an_object_that_is_written_again_is_replaced(store: Store) -> None:
    await store.write("runs/a/beat", b"1")
    await store.write("runs/a/beat", b"2")
    assert await store.read("runs/a/beat") == b"2"


async def test_deleting_leaves_nothing_not_even_a_folder(folder: Store, tmp_path: Path) -> None:
    folder.put("uploads/x/part", b"x")
    await folder.delete("uploads/x/part")
    await folder.delete("uploads/x/part")
    assert list((tmp_path / "store").iterdir()) == []


async def test_a_folder_is_deleted_with_all_that_is_in_it_and_nothing_else(store: Store) -> None:
    for key in ("uploads/x/info.json", "uploads/x/parts/1", "uploads/xy/info.json"):
        store.put(key, b"x")
    await store.delete_all("uploads/x")
    await store.delete_all("uploads/x")
    assert await store.keys("uploads") == ["uploads/xy/info.json"]


async def test_what_a_killed_writer_left_is_not_listed_and_goes_with_its_folder(folder: Store, tmp_path: Path) -> None:
    folder.put("uploads/x/info.json", b"{}")
    (tmp_path / "store/uploads/x/whole#1").write_bytes(b"half")
    assert await folder.keys("uploads") == ["uploads/x/info.json"]
    await folder.delete_all("uploads/x")
    assert list((tmp_path / "store").iterdir()) == []


async def test_moving_replaces_what_is_there(store: Store) -> None:
    store.put("uploads/x", BIG)
    store.put("videos/y", b"old")
    await store.move("uploads/x", "videos/y")
    assert await store.read("videos/y") == BIG
    assert await store.read("uploads/x") is None
    with pytest.raises(FileNotFoundError):
        await store.move("uploads/x", "videos/z")


@pytest.mark.parametrize("pieces", [0, 1, 13])
async def test_an_object_written_in_pieces_appears_when_it_is_whole(store: Store, pieces: int) -> None:
    piece = os.urandom(1_000_003)
    writer = store.writer("uploads/x/whole")
    for _ in range(pieces):
        await writer.write(piece)
    assert await store.keys("uploads") == []
    await writer.close()
    assert await store.read("uploads/x/whole") == piece * pieces


async def test_two_who_write_the_same_object_do_no_harm(store: Store) -> None:
    writers = [store.writer("uploads/x/whole") for _ in range(2)]
    for piece in (BIG, BIG):
        await asyncio.gather(*(writer.write(piece) for writer in writers))
    for writer in writers:
        await writer.close()
        assert await store.read("uploads/x/whole") == BIG * 2


async def test_an_object_that_is_given_up_leaves_nothing(
    url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store = Store(url)
    for size in (10, len(BIG)):
        writer = store.writer("uploads/x/whole")
        await writer.write(BIG[:size])
        await writer.abort()
        await writer.abort()
    assert await store.keys("uploads") == []
    if url.startswith("s3"):
        assert unfinished(request.getfixturevalue("s3_endpoint"), url) == 0
    else:
        assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


async def test_a_bucket_hands_out_a_url_that_needs_no_credentials(url: str) -> None:
    store = Store(url)
    store.put("runs/a/result.mp4", b"bytes")
    signed = await store.sign("runs/a/result.mp4", seconds=60)
    if url.startswith("file"):
        assert signed is None
    else:
        assert signed is not None
        assert httpx.get(signed).content == b"bytes"


async def test_only_a_disk_has_an_end(url: str) -> None:
    free = Store(url).free_bytes()
    assert free is None if url.startswith("s3") else (free or 0) > 0


async def test_a_full_disk_is_said_and_nothing_half_written_stays(small_disk: Path, tmp_path: Path) -> None:
    store = Store(str(small_disk))
    file = tmp_path / "file"
    file.write_bytes(BIG)
    for source in (BIG, file):
        with pytest.raises(StorageFull, match="no space left"):
            store.put("videos/x", source)
    with pytest.raises(StorageFull):
        await store.create("videos/x", BIG)
    writer = store.writer("videos/x")
    with pytest.raises(StorageFull):
        await _write_all(writer, BIG)
    await writer.abort()
    # The library's threads close and remove what they had begun a moment later.
    deadline = time.monotonic() + 10
    while shutil.disk_usage(small_disk).used > 64 * 1024 and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    await store.create("videos/small", b"fits")
    assert await store.read("videos/small") == b"fits"


async def _write_all(writer: StoreWriter, data: bytes) -> None:
    await writer.write(data)
    await writer.close()


async def _all(store: Store) -> None:
    [part async for part in store.stream("runs/a", 0, 1)]


USES: dict[str, Callable[[Store], object]] = {
    "create": lambda store: store.create("runs/a", b"x"),
    "write": lambda store: store.write("runs/a", b"x"),
    "put": lambda store: asyncio.to_thread(store.put, "runs/a", b"x"),
    "writer": lambda store: store.writer("runs/a").close(),
    "move": lambda store: store.move("videos/x", "runs/a"),
    "read": lambda store: store.read("runs/a"),
    "blob": lambda store: store.blob("runs/a"),
    "stream": _all,
    "delete": lambda store: store.delete("runs/a"),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_broken_store_is_said_without_naming_files(use: Callable[[Store], object], tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    store.put("videos/x", b"x")
    (tmp_path / "store/runs").write_text("not a folder")
    with pytest.raises(StorageFailed) as failure:
        await use(store)  # type: ignore[misc]
    assert "/" not in str(failure.value)
    assert failure.value.__cause__ is not None


async def test_a_bucket_that_is_not_there_is_a_failure(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint(s3_endpoint, monkeypatch)
    store = Store("s3://there-is-none/x")
    with pytest.raises(StorageFailed):
        await store.create("runs/a/1", b"x")
    with pytest.raises(StorageFailed):
        await store.keys("runs/a")
    with pytest.raises(StorageFailed):
        store.put("runs/a/1", b"x")


async def test_neighbours_that_come_and_go_disturb_nobody(store: Store) -> None:
    turns = 200 if store.free_bytes() is not None else 10

    def work(name: str) -> None:
        async def turn(number: int) -> None:
            await store.create(f"runs/a/{name}", b"%d" % number)
            assert await store.read(f"runs/a/{name}") == b"%d" % number
            store.put(f"runs/b/{name}", b"%d" % number)
            await store.move(f"runs/b/{name}", f"runs/a/{name}")
            await store.delete(f"runs/a/{name}")
            await store.delete_all(f"runs/c/{name}")
            await store.create(f"runs/c/{name}/1", b"")
            await store.delete_all(f"runs/c/{name}")
            assert await store.blob(f"runs/a/{name}") is None

        async def turn_after_turn() -> None:
            for number in range(turns):
                await turn(number)

        asyncio.run(turn_after_turn())

    await asyncio.gather(*(asyncio.to_thread(work, f"{n}") for n in range(5)))
    assert await store.keys("runs") == []
