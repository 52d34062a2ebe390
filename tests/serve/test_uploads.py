"""Files that come in parts, on a local folder and in a bucket."""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from models.errors import Conflict, InputTooLarge, NotFound, StorageFull, TooBusy
from serve.checksums import Checksum, ChecksumMismatch
from serve.settings import UploadSettings
from serve.store import Store
from serve.upload_state import Expired, Upload
from serve.uploads import Uploads

pytest_plugins = ("tests.serve.stores",)

PART = 100_000
DATA = os.urandom(350_000)
TOKEN = hashlib.md5(DATA).hexdigest()
SETTINGS = UploadSettings(max_bytes=10**9, part_bytes=PART, max_parts=10, reserve_bytes=0)


class Gone(Exception):
    """The connection broke."""


class Replica(Uploads):
    """One process's uploads, with shorter calls."""

    async def begin(self, length: int = len(DATA), key: str | None = None) -> str:
        return (await self.create(length, name="beach.mp4", metadata=None, key=key)).id

    async def send(self, upload: str, data: bytes, offset: int, checksum: Checksum | None = None) -> Upload:
        return await self.append(upload, body(data), offset=offset, checksum=checksum, key=None)

    async def send_rest(self, upload: str) -> None:
        offset = (await self.find(upload, None)).offset
        while offset < len(DATA):
            offset = (await self.send(upload, DATA[offset : offset + PART], offset)).offset


async def body(data: bytes, *, breaks: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 7000):
        yield data[start : start + 7000]
    if breaks:
        raise Gone


@pytest.fixture
async def replica(url: str) -> AsyncIterator[Callable[[], Replica]]:
    """Each call starts another process, as far as the uploads can tell."""
    made: list[Replica] = []

    def start() -> Replica:
        made.append(Replica(Store(url), SETTINGS))
        return made[-1]

    yield start
    for uploads in made:
        await uploads.close()


@pytest.fixture
async def uploads(replica: Callable[[], Replica]) -> Replica:
    return replica()


async def content(url: str, key: str) -> bytes | None:
    return await Store(url).read(key)


async def test_parts_become_a_file_with_a_token(uploads: Replica, url: str) -> None:
    upload = await uploads.begin()
    await uploads.send_rest(upload)
    done = await uploads.completed(upload, None)
    assert (done.token, done.size, done.name) == (TOKEN, len(DATA), "beach.mp4")
    assert await content(url, done.path_key) == DATA
    stands = await uploads.find(upload, None)
    assert stands.offset == len(DATA)
    assert await Store(url).keys(f"uploads/{upload}/parts") == []


async def test_a_part_that_begins_elsewhere_is_refused(uploads: Replica) -> None:
    upload = await uploads.begin()
    await uploads.send(upload, DATA[:1000], 0)
    for offset in (0, 999, 2000):
        with pytest.raises(Conflict, match="1000"):
            await uploads.send(upload, b"x", offset)
    assert (await uploads.find(upload, None)).offset == 1000


async def test_of_two_who_send_the_same_part_one_wins(replica: Callable[[], Replica], url: str) -> None:
    replicas = [replica(), replica()]
    upload = await replicas[0].begin()
    parts = [DATA[:PART], os.urandom(PART // 2)]
    tried = await asyncio.gather(
        *(one.send(upload, part, 0) for one, part in zip(replicas, parts, strict=True)), return_exceptions=True
    )
    kept = [part for part, result in zip(parts, tried, strict=True) if isinstance(result, Upload)]
    assert len(kept) == 1
    assert sum(isinstance(result, Conflict) for result in tried) == 1
    assert (await replicas[0].find(upload, None)).offset == len(kept[0])
    assert await content(url, f"uploads/{upload}/parts/{0:015d}") == kept[0]


async def test_what_came_before_the_connection_broke_is_kept(uploads: Replica) -> None:
    upload = await uploads.begin()
    with pytest.raises(Gone):
        await uploads.append(upload, body(DATA[:30_000], breaks=True), offset=0, checksum=None, key=None)
    assert (await uploads.find(upload, None)).offset == 30_000
    await uploads.send_rest(upload)
    assert (await uploads.completed(upload, None)).token == TOKEN


async def test_half_of_a_part_with_a_checksum_is_not_kept(uploads: Replica) -> None:
    upload = await uploads.begin()
    checksum = Checksum("md5", hashlib.md5(DATA[:PART]).digest())
    with pytest.raises(Gone):
        await uploads.append(upload, body(DATA[:30_000], breaks=True), offset=0, checksum=checksum, key=None)
    assert (await uploads.find(upload, None)).offset == 0


async def test_what_came_before_the_request_was_cancelled_is_kept(uploads: Replica) -> None:
    upload = await uploads.begin()
    waiting = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        async for data in body(DATA[:30_000]):
            yield data
        waiting.set()
        await asyncio.Event().wait()

    request = asyncio.create_task(uploads.append(upload, stalls(), offset=0, checksum=None, key=None))
    await waiting.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert (await uploads.find(upload, None)).offset == 30_000


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
async def test_a_damaged_part_is_not_kept(uploads: Replica, algorithm: str) -> None:
    upload = await uploads.begin()
    checksum = Checksum(algorithm, hashlib.new(algorithm, DATA[:PART]).digest())
    with pytest.raises(ChecksumMismatch):
        await uploads.send(upload, DATA[1 : PART + 1], 0, checksum)
    assert (await uploads.find(upload, None)).offset == 0
    assert (await uploads.send(upload, DATA[:PART], 0, checksum)).offset == PART


async def test_a_part_that_is_too_long_is_cut_off_early_and_not_kept(uploads: Replica) -> None:
    upload = await uploads.begin()
    asked = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield bytes(10_000)

    with pytest.raises(InputTooLarge, match=str(PART)):
        await uploads.append(upload, endless(), offset=0, checksum=None, key=None)
    assert asked == PART // 10_000 + 1
    assert (await uploads.find(upload, None)).offset == 0


async def test_nothing_is_taken_beyond_the_announced_length(uploads: Replica) -> None:
    upload = await uploads.begin(1000)
    with pytest.raises(InputTooLarge, match="1000"):
        await uploads.send(upload, bytes(1001), 0)
    await uploads.send(upload, bytes(1000), 0)
    with pytest.raises(InputTooLarge, match="1000"):
        await uploads.send(upload, b"x", 1000)


async def test_an_upload_has_no_more_parts_than_is_allowed(uploads: Replica) -> None:
    upload = await uploads.begin()
    for offset in range(SETTINGS.max_parts):
        await uploads.send(upload, b"x", offset)
    with pytest.raises(InputTooLarge, match=str(SETTINGS.max_parts)):
        await uploads.send(upload, b"x", SETTINGS.max_parts)


async def test_a_file_beyond_the_limit_is_refused(uploads: Replica) -> None:
    with pytest.raises(InputTooLarge, match="1000000000"):
        await uploads.begin(10**9 + 1)


async def test_every_part_may_come_to_another_process(replica: Callable[[], Replica], url: str) -> None:
    upload = await replica().begin()
    for offset in range(0, len(DATA), PART):
        await replica().send(upload, DATA[offset : offset + PART], offset)
    done = await replica().completed(upload, None)
    assert done.token == TOKEN
    assert await content(url, done.path_key) == DATA


async def test_two_processes_that_finish_the_same_upload_do_no_harm(replica: Callable[[], Replica], url: str) -> None:
    first = replica()
    upload = await first.begin()
    for offset in range(0, len(DATA) - PART, PART):
        await first.send(upload, DATA[offset : offset + PART], offset)
    offset = (await first.find(upload, None)).offset
    # As if the process had died as soon as the last part was in the store.
    await Store(url).create(f"uploads/{upload}/parts/{offset:015d}", DATA[offset:])
    done = await asyncio.gather(*(one.completed(upload, None) for one in (first, replica(), replica())))
    assert {one.token for one in done} == {TOKEN}
    assert await content(url, done[0].path_key) == DATA


async def test_an_upload_that_stands_at_its_end_is_finished_by_whoever_looks(
    replica: Callable[[], Replica], url: str
) -> None:
    one = replica()
    upload = await one.begin(1000)
    await Store(url).create(f"uploads/{upload}/parts/{0:015d}", DATA[:1000])
    assert (await one.find(upload, None)).offset == 1000
    await one.close()
    assert await content(url, f"uploads/{upload}/whole") == DATA[:1000]


async def test_an_incomplete_upload_says_how_much_is_missing(uploads: Replica) -> None:
    upload = await uploads.begin()
    await uploads.send(upload, DATA[:1000], 0)
    with pytest.raises(Conflict, match=f"1000 of {len(DATA)}"):
        await uploads.completed(upload, None)


async def test_a_file_that_was_taken_away_is_still_known(replica: Callable[[], Replica], url: str) -> None:
    one = replica()
    upload = await one.begin()
    await one.send_rest(upload)
    await Store(url).move((await one.completed(upload, None)).path_key, "videos/x/source.mp4")
    assert (await replica().completed(upload, None)).token == TOKEN


@pytest.mark.parametrize("name", ["", "..", "0" * 31, "../runs", "0" * 32, "x" * 5000])
async def test_what_is_no_upload_is_not_found(uploads: Replica, name: str) -> None:
    for use in (uploads.find, uploads.completed, uploads.delete):
        with pytest.raises(NotFound):
            await use(name, None)


async def test_an_upload_belongs_to_its_key(uploads: Replica) -> None:
    upload = await uploads.begin(key="studio")
    assert (await uploads.find(upload, "studio")).offset == 0
    for other in (None, "another"):
        with pytest.raises(NotFound):
            await uploads.find(upload, other)
        with pytest.raises(NotFound):
            await uploads.append(upload, body(b"x"), offset=0, checksum=None, key=other)
        with pytest.raises(NotFound):
            await uploads.delete(upload, other)


async def test_a_deleted_upload_leaves_nothing(uploads: Replica, url: str) -> None:
    upload = await uploads.begin()
    await uploads.send(upload, DATA[:PART], 0)
    await uploads.delete(upload, None)
    await uploads.close()
    with pytest.raises(NotFound):
        await uploads.find(upload, None)
    assert await Store(url).keys("uploads") == []


async def test_a_part_that_comes_in_while_its_upload_is_deleted_leaves_nothing(uploads: Replica, url: str) -> None:
    upload = await uploads.begin()

    async def meanwhile() -> AsyncIterator[bytes]:
        yield DATA[:1000]
        await uploads.delete(upload, None)
        yield DATA[1000:2000]

    with pytest.raises(NotFound):
        await uploads.append(upload, meanwhile(), offset=0, checksum=None, key=None)
    assert await Store(url).keys("uploads") == []


async def test_old_uploads_go_and_others_stay(uploads: Replica, url: str) -> None:
    await uploads.begin()
    young = await uploads.begin()
    store = Store(url)
    await store.create(f"uploads/{'a' * 32}", b"sent in one request")
    await store.create(f"uploads/{'b' * 32}/parts/{0:015d}", b"left by a deletion that was cut short")
    await uploads.expire(time.time())
    assert len(await store.keys("uploads")) == 3
    await asyncio.sleep(2.1)
    renewed = time.time()
    await uploads.send(young, DATA[:PART], 0)
    await uploads.expire(renewed + SETTINGS.keep_seconds - 1)
    assert {key.split("/")[1] for key in await store.keys("uploads")} == {young}
    await uploads.expire(time.time() + SETTINGS.keep_seconds + 1)
    assert await store.keys("uploads") == []


async def test_an_expired_upload_is_known_as_such_until_it_is_deleted(tmp_path: Path) -> None:
    uploads = Replica(Store(str(tmp_path)), SETTINGS.model_copy(update={"keep_seconds": 0.3}))
    upload = await uploads.begin()
    await asyncio.sleep(0.5)
    with pytest.raises(Expired):
        await uploads.find(upload, None)
    await uploads.expire(time.time())
    assert list(tmp_path.iterdir()) == []


async def test_an_upload_does_not_go_while_a_part_is_coming_in(tmp_path: Path) -> None:
    uploads = Replica(Store(str(tmp_path)), SETTINGS.model_copy(update={"keep_seconds": 2}))
    upload = await uploads.begin(2000)
    began = time.time()
    await asyncio.sleep(1.2)

    async def slowly() -> AsyncIterator[bytes]:
        yield DATA[:1000]
        await uploads.expire(began + 2.5)
        yield DATA[1000:2000]

    await uploads.append(upload, slowly(), offset=0, checksum=None, key=None)
    assert (await uploads.completed(upload, None)).size == 2000


async def test_more_files_than_are_assembled_at_once_come_in(uploads: Replica, url: str) -> None:
    files = [os.urandom(3000) for _ in range(20)]
    ids = [await uploads.begin(3000) for _ in files]
    for offset in range(0, 3000, 1000):
        await asyncio.gather(
            *(
                uploads.send(upload, file[offset : offset + 1000], offset)
                for upload, file in zip(ids, files, strict=True)
            )
        )
    for upload, file in zip(ids, files, strict=True):
        done = await uploads.completed(upload, None)
        assert done.token == hashlib.md5(file).hexdigest()
        assert await content(url, done.path_key) == file


async def test_space_is_promised_once(small_disk: Path) -> None:
    uploads = Replica(Store(str(small_disk)), SETTINGS)
    first = await uploads.begin(3 << 20)
    with pytest.raises(StorageFull, match="space"):
        await uploads.begin(2 << 20)
    await uploads.delete(first, None)
    await uploads.begin(2 << 20)


async def test_a_disk_that_fills_loses_nothing_that_had_come(small_disk: Path) -> None:
    uploads = Replica(Store(str(small_disk)), SETTINGS)
    upload = await uploads.begin()
    await uploads.send(upload, DATA[:PART], 0)
    await uploads.close()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 3 * 4096))
    with pytest.raises(StorageFull):
        await uploads.send(upload, DATA[PART : 2 * PART], PART)
    assert (await uploads.find(upload, None)).offset == PART
    await uploads.close()
    ballast.unlink()
    await uploads.send_rest(upload)
    assert (await uploads.completed(upload, None)).token == TOKEN


DYING = """
import asyncio, os, signal, sys
from serve.settings import UploadSettings
from serve.store import Store
from serve.uploads import Uploads

moment, url, upload, length = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
data = sys.stdin.buffer.read()

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(Store):
    async def write(self, key, data):
        if moment == "before it is done" and key.endswith("done.json"):
            die()
        await super().write(key, data)

    async def delete_all(self, prefix):
        if moment == "before the parts are deleted":
            die()
        await super().delete_all(prefix)

async def body(data):
    yield data

async def main():
    uploads = Uploads(Dying(url), UploadSettings(), on_bytes=lambda n: die() if moment == "after a part" else None)
    offset = (await uploads.find(upload, None)).offset
    while offset < length:
        offset = (await uploads.append(upload, body(data[offset:offset + 100_000]), offset=offset, checksum=None, key=None)).offset

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["after a part", "before it is done", "before the parts are deleted"])
async def test_a_killed_process_loses_nothing(uploads: Replica, url: str, moment: str) -> None:
    upload = await uploads.begin()
    script = [sys.executable, "-c", DYING, moment, url, upload, str(len(DATA))]
    died = await asyncio.to_thread(subprocess.run, script, input=DATA, capture_output=True, check=False)
    assert died.returncode == -9, died.stderr.decode()
    await uploads.send_rest(upload)
    done = await uploads.completed(upload, None)
    assert done.token == TOKEN
    assert await content(url, done.path_key) == DATA
    assert await Store(url).keys(f"uploads/{upload}") == [
        f"uploads/{upload}/{name}" for name in ("done.json", "info.json", "whole")
    ]


FLAT = """
import asyncio, sys
from serve.settings import UploadSettings
from serve.store import Store
from serve.uploads import Uploads

MIB = 1 << 20

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

async def body():
    for _ in range(64):
        yield bytes(MIB // 4)

async def main():
    uploads = Uploads(Store(sys.argv[1]), UploadSettings())
    parts = 14
    upload = await uploads.create(parts * 16 * MIB, name="", metadata=None, key=None)
    for part in range(parts):
        await uploads.append(upload.id, body(), offset=part * 16 * MIB, checksum=None, key=None)
        if part == 3:
            before = peak()
    print(peak() - before)

asyncio.run(main())
"""


async def test_memory_stays_flat(tmp_path: Path) -> None:
    """224 MiB: after the first parts, the peak grows by less than a few parts' bytes."""
    script = [sys.executable, "-c", FLAT, str(tmp_path)]
    grown = await asyncio.to_thread(subprocess.run, script, capture_output=True, check=True)
    assert float(grown.stdout) < 40


async def test_no_more_uploads_are_begun_than_may_be_open(url: str) -> None:
    store = Store(url)
    uploads = Uploads(store, UploadSettings(unfinished=2))
    first, _ = [await uploads.create(4, name="a", metadata=None, key=None) for _ in range(2)]
    with pytest.raises(TooBusy, match="2 uploads"):
        await uploads.create(4, name="a", metadata=None, key=None)
    await uploads.append(first.id, body(b"film"), offset=0, checksum=None, key=None)
    await uploads.create(4, name="a", metadata=None, key=None)
    await uploads.close()


async def test_what_was_assembled_of_an_abandoned_upload_takes_no_space_for_long(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(url)
    monkeypatch.setattr("serve.uploads.ABANDONED_SECONDS", 0.2)
    uploads = Uploads(store, UploadSettings())
    upload = await uploads.create(8, name="a", metadata=None, key=None)
    await uploads.append(upload.id, body(b"film"), offset=0, checksum=None, key=None)
    async with asyncio.timeout(30):
        while not uploads._assemblies.names():
            await asyncio.sleep(0.01)
        while uploads._assemblies.names():
            await asyncio.sleep(0.01)
    assert (await uploads.append(upload.id, body(b"film"), offset=4, checksum=None, key=None)).is_whole
    done = await uploads.completed(upload.id, None)
    assert done.token == hashlib.md5(b"filmfilm").hexdigest()
    await uploads.close()
