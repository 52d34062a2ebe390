"""A video stays as long as somebody holds it, and no longer."""

import asyncio

import pytest

from models.errors import NotFound, StorageFailed
from serve.store import Store
from serve.videos import Videos, holder
from tests.serve import records

pytest_plugins = ("tests.serve.stores",)

TOKEN = records.TOKEN
SOURCE = f"videos/{TOKEN}/source.mp4"


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


async def keep(store: Store, held_by: str) -> str:
    store.put(f"uploads/{held_by}", b"film")
    return await Videos(store).keep(f"uploads/{held_by}", records.video_input(), held_by)


async def test_the_same_bytes_are_kept_once_and_until_the_last_lets_go(store: Store) -> None:
    videos = Videos(store)
    assert [await keep(store, name) for name in ("a", "b")] == [SOURCE, SOURCE]
    assert await store.keys("uploads") == []
    store.put(f"videos/{TOKEN}/made/1/x.jpg", b"x")
    await videos.release(TOKEN, "a")
    assert await store.read(SOURCE) == b"film"
    await videos.release(TOKEN, "b")
    assert await store.keys(f"videos/{TOKEN}") == []


async def test_whoever_sends_a_video_while_it_is_deleted_has_it_afterwards(store: Store) -> None:
    for turns in range(30):
        await keep(store, "old")
        deleting = asyncio.create_task(Videos(store).release(TOKEN, "old"))
        for _ in range(turns):
            await asyncio.sleep(0)
        await keep(store, "new")
        await deleting
        assert await store.read(SOURCE) == b"film"
        assert await Videos(store).holders(TOKEN) == ["new"]
        await Videos(store).release(TOKEN, "new")
        assert await store.keys(f"videos/{TOKEN}") == []


async def test_a_deletion_leaves_the_source_that_another_one_would_have_taken(store: Store) -> None:
    """Two let go at once, and a third sends the same film while one of them deletes it."""
    videos = Videos(store)
    for name in ("a", "b"):
        await keep(store, name)
    await store.delete(f"videos/{TOKEN}/holds/a")
    await store.create(f"videos/{TOKEN}/deleting", b"{}")  # a has begun to delete
    third = asyncio.create_task(keep(store, "c"))
    await asyncio.sleep(0.05)
    await videos.release(TOKEN, "b")  # sees the third one's hold
    assert not third.done()
    await store.delete(SOURCE)  # a goes on
    await store.delete(f"videos/{TOKEN}/deleting")
    await third
    assert await store.read(SOURCE) == b"film"


async def test_a_deletion_that_was_cut_short_keeps_nobody_waiting_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.videos.WAIT_SECONDS", 0.2)
    await store.create(f"videos/{TOKEN}/deleting", b"{}")
    with pytest.raises(StorageFailed, match="try again"):
        await keep(store, "new")
    monkeypatch.setattr("serve.videos.STALE_SECONDS", -1.0)
    assert await keep(store, "new") == SOURCE


async def test_what_is_neither_sent_nor_there_is_not_found_and_not_held(store: Store) -> None:
    with pytest.raises(NotFound, match="send it again"):
        await Videos(store).keep("uploads/gone", records.video_input(), "a")
    assert await store.keys("videos") == []


async def test_only_whose_key_holds_it_may_see_it(store: Store) -> None:
    videos = Videos(store)
    await keep(store, holder("1" * 32, "ann"))
    await videos.check_access(TOKEN, "ann")
    for other in ("ben", None):
        with pytest.raises(NotFound):
            await videos.check_access(TOKEN, other)
    await keep(store, holder("2" * 32, None))
    await videos.check_access(TOKEN, None)


async def test_marks_are_not_files(store: Store) -> None:
    await keep(store, "a")
    await store.write(f"videos/{TOKEN}/outputs/1.json", b"{}")
    store.put(f"videos/{TOKEN}/made/1/x.jpg", b"x")
    assert await Videos(store).files(TOKEN) == {SOURCE, f"videos/{TOKEN}/made/1/x.jpg"}
    assert await Videos(store).source(TOKEN) == SOURCE
