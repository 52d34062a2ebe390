"""The page's upload routes: tus as a browser speaks it, passed on to the service."""

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from client import AsyncImmersivaudioClient
from client.page.answers import Refused
from client.page.unfinished import DAY_SECONDS, MOST, Unfinished
from client.page.uploads import PART_BYTES, upload_routes
from serve.settings import AppSettings
from tests.client.fake import Fake, serving
from tests.page.browser import listening
from tests.page.uploading import Line, routes_to
from tests.serve.local import local_http

TUS = {"Tus-Resumable": "1.0.0"}
PART = TUS | {"Content-Type": "application/offset+octet-stream"}
ROOT = "/studio/uploads"


@pytest.fixture
def fake() -> Iterator[Fake]:
    with serving(Fake()) as service:
        yield service


@asynccontextmanager
async def page_of(service: AsyncImmersivaudioClient | str, *, allowed: bool = True) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the page's routes over a service, or over whatever answers at an address."""
    client = AsyncImmersivaudioClient(service) if isinstance(service, str) else service
    app = Starlette(routes=upload_routes(lambda: client, lambda request: allowed))
    transport = httpx.ASGITransport(app=app)
    async with client, httpx.AsyncClient(transport=transport, base_url="http://page", headers=TUS) as page:
        yield page


async def begun(page: httpx.AsyncClient, size: int, name: str = "море, и ещё.mp4") -> str:
    metadata = "filetype dmlkZW8vbXA0,filename " + base64.b64encode(name.encode()).decode()
    answer = await page.post(ROOT, headers={"Upload-Length": str(size), "Upload-Metadata": metadata})
    assert answer.status_code == 201, answer.text
    assert answer.headers["tus-resumable"] == "1.0.0"
    return answer.headers["location"]


async def part(page: httpx.AsyncClient, upload: str, offset: int, content: bytes) -> httpx.Response:
    return await page.patch(upload, headers=PART | {"Upload-Offset": str(offset)}, content=content)


async def test_a_file_goes_up_in_parts_and_is_the_same_upload_at_the_service(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    async with local_http(AppSettings(store=str(tmp_path))) as http:
        service = AsyncImmersivaudioClient("http://localhost", transport=http._transport)
        async with page_of(service) as page:
            upload = await begun(page, len(data))
            assert (await part(page, upload, 0, data[:2_000_000])).headers["upload-offset"] == "2000000"
            told = await page.head(upload)
            assert (told.headers["upload-offset"], told.headers["upload-length"]) == ("2000000", "3000000")
            assert told.headers["cache-control"] == "no-store"
            ended = await part(page, upload, 2_000_000, data[2_000_000:])
            assert (ended.status_code, ended.headers["upload-offset"]) == (204, "3000000")
            assert await service.upload_offset(upload.rpartition("/")[2]) == (3_000_000, 3_000_000)
            wrong = await part(page, upload, 5, b"more")
            assert (wrong.status_code, wrong.headers["upload-offset"]) == (409, "3000000")
            assert (await page.delete(upload)).status_code == 204
            assert (await page.head(upload)).status_code == 404


async def test_the_bytes_and_the_name_arrive_as_they_are(fake: Fake) -> None:
    data = os.urandom(200_000)
    async with page_of(fake.url) as page:
        upload = await begun(page, len(data))
        await part(page, upload, 0, data)
    (arrived,) = fake.tus.created
    assert arrived.name == "море, и ещё.mp4"
    assert hashlib.md5(arrived.content).digest() == hashlib.md5(data).digest()


async def test_a_part_for_another_place_is_told_the_right_one(fake: Fake) -> None:
    async with page_of(fake.url) as page:
        upload = await begun(page, 10)
        await part(page, upload, 0, b"abcd")
        for breakage, offset in (("fine", 2), ("damaged", 4)):
            fake.tus.breakages = [breakage]  # type: ignore[list-item]
            answer = await part(page, upload, offset, b"efgh")
            assert (answer.status_code, answer.headers["upload-offset"]) == (409, "4")
            assert answer.headers["content-type"] == "application/problem+json"


async def test_what_the_service_refuses_is_told_in_its_own_words(fake: Fake) -> None:
    async with page_of(fake.url) as page:
        fake.tus.refuse_creation = (413, "the file has 9 bytes; at most 4 are taken")
        answer = await page.post(ROOT, headers={"Upload-Length": "9"})
        assert (answer.status_code, answer.json()["detail"]) == (
            413,
            "The file has 9 bytes; at most 4 are taken. Give a smaller file, or a part of it.",
        )
        fake.tus.refuse_creation = None
        upload = await begun(page, 10)
        fake.tus.breakages = ["full", "vanished"]
        assert (await part(page, upload, 0, b"abc")).status_code == 507
        assert (await part(page, upload, 0, b"abc")).status_code == 410
        fake.refuse = (401, "this service asks for an API key")
        answer = await page.head(upload)
        assert answer.status_code == 403  # 401 would ask the browser to sign in, which is of no use here


async def test_a_busy_service_says_when_to_ask_again() -> None:
    def busy(request: httpx.Request) -> httpx.Response:
        detail = {"title": "Too Many Requests", "status": 429, "detail": "100 uploads have not come to their end"}
        return httpx.Response(
            429, json=detail, headers={"Retry-After": "7", "Content-Type": "application/problem+json"}
        )

    service = AsyncImmersivaudioClient("http://localhost", transport=httpx.MockTransport(busy))
    async with page_of(service) as page:
        answer = await page.post(ROOT, headers={"Upload-Length": "9"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["detail"].startswith("100 uploads have not come to their end.")


async def test_a_service_that_is_not_there_is_said_so_and_asked_again_later() -> None:
    async with page_of("http://127.0.0.1:9") as page:
        answer = await page.head(f"{ROOT}/{'0' * 32}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        answer = await page.post(ROOT, headers={"Upload-Length": "9"})
        assert answer.status_code == 503
        assert "no service answers" in answer.json()["detail"].lower()


async def test_only_the_page_itself_and_only_those_who_are_signed_in_may_send(fake: Fake) -> None:
    wanted = {"Upload-Length": "9"}
    async with page_of(fake.url, allowed=False) as page:
        assert (await page.post(ROOT, headers=wanted)).status_code == 401
    async with page_of(fake.url) as page:
        answer = await page.post(ROOT, headers=wanted | {"Tus-Resumable": "0.2"})
        assert (answer.status_code, answer.headers["tus-version"]) == (412, "1.0.0")
        del page.headers["Tus-Resumable"]
        assert (await page.post(ROOT, headers=wanted)).status_code == 403  # as a form of another site would
        assert (await page.post(ROOT, headers=wanted | TUS)).status_code == 201
        assert (await page.options(ROOT)).status_code == 405
    assert [asked for asked, _ in fake.asked] == ["POST /v1/uploads"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"{ROOT}/{'0' * 32}", {"Upload-Offset": "-1"}, 400),
        (f"{ROOT}/{'0' * 32}", {"Upload-Offset": "0", "Content-Type": "text/plain"}, 415),
        (f"{ROOT}/{'0' * 31}G", {"Upload-Offset": "0"}, 404),
    ],
)
async def test_what_is_no_part_goes_nowhere(fake: Fake, path: str, headers: dict[str, str], status: int) -> None:
    async with page_of(fake.url) as page:
        answer = await page.patch(path, headers=PART | headers, content=b"abc")
        assert answer.status_code == status
        bad = {"Upload-Length": "9", "Upload-Metadata": "filename a"}
        assert (await page.post(ROOT, headers=bad)).status_code == 400
    assert fake.asked == []


async def test_a_part_that_is_too_large_is_not_read_to_its_end(fake: Fake) -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(64):
            given += 2**20
            yield bytes(2**20)

    async with page_of(fake.url) as page:
        upload = await begun(page, 2**30)
        answer = await page.patch(upload, headers=PART | {"Upload-Offset": "0"}, content=endless())
        assert answer.status_code == 413
        announced = {"Upload-Offset": "0", "Content-Length": str(PART_BYTES + 1)}
        assert (await page.patch(upload, headers=PART | announced, content=b"")).status_code == 413
    assert given <= PART_BYTES + 2**20
    assert fake.tus.parts == []


async def test_one_visitor_does_not_take_all_the_uploads_there_are(fake: Fake) -> None:
    async with page_of(fake.url) as page:
        first, second, *_ = [await begun(page, 10) for _ in range(MOST)]
        answer = await page.post(ROOT, headers={"Upload-Length": "10"})
        assert answer.status_code == 429
        assert "20 files from your address are on their way" in answer.json()["detail"]
        assert len(fake.tus.created) == MOST
        await part(page, first, 0, bytes(10))  # complete
        third = await begun(page, 10)
        await page.delete(second)
        await begun(page, 10)
        del fake.tus.uploads[third.rpartition("/")[2]]  # expired
        assert (await page.post(ROOT, headers={"Upload-Length": "10"})).status_code == 429
        assert (await page.head(third)).status_code == 404
        await begun(page, 0)  # arrived as it began
        await begun(page, 10)
        assert (await page.post(ROOT, headers={"Upload-Length": "10"})).status_code == 429


async def test_uploads_that_begin_at_the_same_instant_are_counted(fake: Fake) -> None:
    async with page_of(fake.url) as page:
        wanted = [page.post(ROOT, headers={"Upload-Length": "10"}) for _ in range(MOST + 5)]
        answers = [answer.status_code for answer in await asyncio.gather(*wanted)]
        assert sorted(answers) == [201] * MOST + [429] * 5


def test_others_uploads_and_those_of_the_day_before_do_not_count() -> None:
    now = 0.0
    unfinished = Unfinished(now=lambda: now)
    for number in range(MOST):
        unfinished.began(str(number), address="192.0.2.1", size=9)
    with unfinished.room("192.0.2.2"):
        pass
    with pytest.raises(Refused), unfinished.room("192.0.2.1"):
        pass
    now = DAY_SECONDS + 1
    with unfinished.room("192.0.2.1"):
        pass


async def test_what_came_before_the_connection_broke_is_kept(fake: Fake) -> None:
    with listening(Starlette(routes=routes_to(fake.url, Line()))) as url:
        async with httpx.AsyncClient(base_url=url, headers=TUS) as page:
            path = await begun(page, 300_000)
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        lines = {"Host": host, "Upload-Offset": "0", "Content-Length": "300000"} | PART
        head = f"PATCH {path} HTTP/1.1\r\n" + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
        writer.write(head.encode() + b"\r\n" + b"x" * 100_000)
        await writer.drain()
        await asyncio.sleep(0.3)
        writer.close()
        for _ in range(100):
            if fake.tus.parts:
                break
            await asyncio.sleep(0.05)
    assert fake.tus.parts == [(0, 100_000)]
