"""What every store promises. A backend is tested by adding it to `store`."""

from pathlib import Path

import pytest

from serve.store import Store, Taken


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/store")


async def test_an_object_is_created_once(store: Store) -> None:
    await store.create("runs/a/1", b"first")
    with pytest.raises(Taken):
        await store.create("runs/a/1", b"second")
    assert await store.read("runs/a/1") == b"first"


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
    store.put("videos/x/source.mp4", b"bytes")
    assert store.local("videos/x/source.mp4", tmp_path / "cache").read_bytes() == b"bytes"
    with pytest.raises(FileNotFoundError):
        store.local("videos/x/other.mp4", tmp_path / "cache")


async def test_keys_are_listed_in_order(store: Store) -> None:
    for number in (3, 1, 2):
        store.put(f"runs/a/events/{number:06d}.json", b"{}")
    store.put("runs/b/events/000001.json", b"{}")
    assert await store.keys("runs/a") == [f"runs/a/events/{number:06d}.json" for number in (1, 2, 3)]


async def test_deleting_leaves_nothing_not_even_a_folder(store: Store, tmp_path: Path) -> None:
    store.put("uploads/x/part", b"x")
    await store.delete("uploads/x/part")
    await store.delete("uploads/x/part")
    assert list((tmp_path / "store").iterdir()) == []


async def test_moving_replaces_what_is_there(store: Store) -> None:
    store.put("uploads/x", b"new")
    store.put("videos/y", b"old")
    await store.move("uploads/x", "videos/y")
    assert await store.read("videos/y") == b"new"
    assert await store.read("uploads/x") is None
