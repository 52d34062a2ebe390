"""tus 1.0.0 over HTTP, on a local folder and in a bucket."""

import asyncio
import base64
import hashlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from tusclient.client import TusClient

from serve.http import _add_errors
from serve.http_uploads import add_uploads
from serve.settings import UploadSettings
from serve.store import Store
from serve.uploads import Uploads

pytest_plugins = ("tests.serve.stores",)

PART = 100_000
SETTINGS = UploadSettings(max_bytes=10_000_000, part_bytes=PART, reserve_bytes=0)
TUS = {"Tus-Resumable": "1.0.0"}
TYPE = {"Content-Type": "application/offset+octet-stream"}
DATA = os.urandom(PART * 2 + 5)


def app_of(uploads: Uploads, settings: UploadSettings = SETTINGS) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    _add_errors(app)
    add_uploads(app, uploads, settings)
    return app


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    uploads = Uploads(Store(url), SETTINGS)
    transport = httpx.ASGITransport(app=app_of(uploads))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=TUS, timeout=60) as client:
        yield client
    await uploads.close()


async def begin(http: httpx.AsyncClient, length: int = len(DATA), headers: dict[str, str] | None = None) -> str:
    answer = await http.post("/v1/uploads", headers={"Upload-Length": str(length)} | (headers or {}))
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


async def send(
    http: httpx.AsyncClient, upload: str, data: bytes | AsyncIterator[bytes], offset: int, **headers: str
) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await http.patch(upload, content=data, headers=TYPE | {"Upload-Offset": str(offset)} | named)


def assert_problem(answer: httpx.Response, status: int, words: str = "") -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["tus-resumable"] == "1.0.0"
    told = answer.json()
    assert (told["status"], words in told["detail"]) == (status, True), told


def checksum(data: bytes, algorithm: str = "md5") -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


async def test_a_file_comes_in_parts(http: httpx.AsyncClient, url: str) -> None:
    upload = await begin(http)
    for offset in range(0, len(DATA), PART):
        part = DATA[offset : offset + PART]
        answer = await send(http, upload, part, offset, Upload_Checksum=checksum(part))
        assert answer.status_code == 204, answer.text
        assert answer.headers["upload-offset"] == str(offset + len(part))
        assert abs(parsedate_to_datetime(answer.headers["upload-expires"]).timestamp() - time.time() - 24 * 3600) < 60
    stands = await http.head(upload)
    assert (stands.status_code, stands.headers["upload-offset"]) == (200, str(len(DATA)))
    done = await Uploads(Store(url), SETTINGS).completed(upload.rpartition("/")[2], None)
    assert done.token == hashlib.md5(DATA).hexdigest()


async def test_what_is_understood_is_told_to_everybody(http: httpx.AsyncClient) -> None:
    answer = await http.options("/v1/uploads", headers={"Tus-Resumable": "0.2.2"})
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,checksum,expiration,termination"
    assert answer.headers["tus-max-size"] == "10000000"
    assert answer.headers["tus-checksum-algorithm"] == "md5,sha1,sha256"
    assert answer.headers["tus-resumable"] == "1.0.0"


@pytest.mark.parametrize("spoken", ["", "0.2.2", "1.0.1"])
async def test_other_versions_are_refused(http: httpx.AsyncClient, spoken: str) -> None:
    upload = await begin(http)
    for method in ("POST", "HEAD", "PATCH", "DELETE"):
        answer = await http.request(
            method, "/v1/uploads" if method == "POST" else upload, headers={"Tus-Resumable": spoken}
        )
        assert answer.status_code == 412
        assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert (await http.head(upload)).status_code == 200


async def test_an_upload_says_where_it_stands(http: httpx.AsyncClient) -> None:
    metadata = f"filename {base64.b64encode('Möwe.mp4'.encode()).decode()},private"
    upload = await begin(http, headers={"Upload-Metadata": metadata})
    await send(http, upload, DATA[:1000], 0)
    stands = await http.head(upload)
    assert stands.headers["upload-offset"] == "1000"
    assert stands.headers["upload-length"] == str(len(DATA))
    assert stands.headers["upload-metadata"] == metadata
    assert stands.headers["cache-control"] == "no-store"
    assert parsedate_to_datetime(stands.headers["upload-expires"]).timestamp() > time.time()
    assert "upload-metadata" not in (await http.head(await begin(http))).headers


async def test_the_name_of_the_file_is_known(http: httpx.AsyncClient, url: str) -> None:
    metadata = f"filename {base64.b64encode('Möwe.mp4'.encode()).decode()}"
    upload = await begin(http, 3, {"Upload-Metadata": metadata})
    await send(http, upload, b"abc", 0)
    assert (await Uploads(Store(url), SETTINGS).completed(upload.rpartition("/")[2], None)).name == "Möwe.mp4"


@pytest.mark.parametrize("length", [None, "", "0", "-1", "1e3", "9" * 19, "²", "0x10", "1 2"])
async def test_a_length_that_is_none_is_refused(http: httpx.AsyncClient, length: str | None) -> None:
    headers = {} if length is None else {"Upload-Length": length.encode("latin-1")}
    assert_problem(await http.post("/v1/uploads", headers=headers), 400, "Upload-Length")  # type: ignore[arg-type]


async def test_a_file_beyond_the_limit_is_refused_before_its_first_byte(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/uploads", headers={"Upload-Length": "10000001"})
    assert_problem(answer, 413, "10000000")


@pytest.mark.parametrize(
    "metadata", ["filename ***", "filename YQ==,filename YQ==", ",", "é YQ==", "a " + "YQ==" * 2000]
)
async def test_metadata_that_cannot_be_read_is_refused(http: httpx.AsyncClient, metadata: str) -> None:
    headers = {"Upload-Length": b"5", "Upload-Metadata": metadata.encode("latin-1")}
    assert_problem(await http.post("/v1/uploads", headers=headers), 400, "Upload-Metadata")  # type: ignore[arg-type]


async def test_a_part_of_another_type_is_refused(http: httpx.AsyncClient) -> None:
    upload = await begin(http)
    answer = await send(http, upload, b"x", 0, Content_Type="application/octet-stream")
    assert_problem(answer, 415, "application/offset+octet-stream")


@pytest.mark.parametrize("offset", ["", "-1", "x", "9" * 19])
async def test_an_offset_that_is_none_is_refused(http: httpx.AsyncClient, offset: str) -> None:
    upload = await begin(http)
    assert_problem(await send(http, upload, b"x", 0, Upload_Offset=offset), 400, "Upload-Offset")


async def test_a_part_that_begins_elsewhere_is_a_conflict(http: httpx.AsyncClient) -> None:
    upload = await begin(http)
    assert_problem(await send(http, upload, b"x", 7), 409, "stands at byte 0")


async def test_a_part_that_is_too_large_is_refused(http: httpx.AsyncClient) -> None:
    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(PART // 1000 + 1):
            yield bytes(1000)

    upload = await begin(http)
    for part in (DATA[: PART + 1], unannounced()):
        assert_problem(await send(http, upload, part, 0), 413, str(PART))
    assert (await http.head(upload)).headers["upload-offset"] == "0"
    small = await begin(http, 10)
    assert_problem(await send(http, small, bytes(11), 0), 413, "10 bytes")


async def test_a_damaged_part_has_a_status_of_its_own(http: httpx.AsyncClient) -> None:
    upload = await begin(http)
    answer = await send(http, upload, DATA[:100], 0, Upload_Checksum=checksum(DATA[1:101]))
    assert_problem(answer, 460)
    assert answer.json()["title"] == "Checksum Mismatch"
    assert (await http.head(upload)).headers["upload-offset"] == "0"
    for algorithm in ("md5", "sha1", "sha256"):
        offset = int((await http.head(upload)).headers["upload-offset"])
        part = DATA[offset : offset + 100]
        answer = await send(http, upload, part, offset, Upload_Checksum=checksum(part, algorithm))
        assert answer.status_code == 204, answer.text


@pytest.mark.parametrize("told", ["", "crc32 AAAA", "md5", "md5 ***", "md5 AAAA", "MD5"])
async def test_a_checksum_that_is_none_is_refused(http: httpx.AsyncClient, told: str) -> None:
    upload = await begin(http)
    assert_problem(await send(http, upload, b"x", 0, Upload_Checksum=told), 400, "Upload-Checksum")


async def test_a_deleted_upload_is_gone(http: httpx.AsyncClient, url: str) -> None:
    upload = await begin(http)
    await send(http, upload, DATA[:1000], 0)
    assert (await http.delete(upload)).status_code == 204
    assert_problem(await http.delete(upload), 404)
    assert_problem(await send(http, upload, b"x", 1000), 404)
    assert (await http.head(upload)).status_code == 404
    assert [key for key in await Store(url).keys("uploads") if "#" not in key] == []


@pytest.mark.parametrize("name", ["x", "0" * 32, "..%2f..%2fruns", "%00", "é", "0" * 5000])
async def test_what_is_no_upload_is_not_found(http: httpx.AsyncClient, name: str) -> None:
    assert (await http.head(f"/v1/uploads/{name}")).status_code == 404
    assert_problem(await http.delete(f"/v1/uploads/{name}"), 404)
    assert_problem(await send(http, f"/v1/uploads/{name}", b"x", 0), 404)


async def test_other_methods_are_refused_as_tus_answers(http: httpx.AsyncClient) -> None:
    assert_problem(await http.get(await begin(http)), 405)


async def test_an_expired_upload_is_gone(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"keep_seconds": 0.3})
    app = app_of(Uploads(Store(str(tmp_path)), settings), settings)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=TUS) as http:
        upload = await begin(http)
        await asyncio.sleep(0.5)
        assert_problem(await http.delete(upload), 410, "expired")


async def test_a_disk_without_space_is_said_before_the_first_byte(small_disk: Path) -> None:
    transport = httpx.ASGITransport(app=app_of(Uploads(Store(str(small_disk)), SETTINGS)))
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=TUS) as http:
        assert_problem(await http.post("/v1/uploads", headers={"Upload-Length": "5000000"}), 507)
        await begin(http, 3_000_000)


async def test_an_upload_belongs_to_its_key(tmp_path: Path) -> None:
    app = app_of(Uploads(Store(str(tmp_path)), SETTINGS))

    @app.middleware("http")
    async def who(request: Request, call_next: Any) -> Any:
        request.state.key = request.headers.get("x-test-key")
        return await call_next(request)

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=TUS) as http:
        upload = await begin(http, headers={"x-test-key": "studio"})
        assert (await http.head(upload, headers={"x-test-key": "studio"})).status_code == 200
        assert (await http.head(upload, headers={"x-test-key": "another"})).status_code == 404
        assert (await http.head(upload)).status_code == 404


async def test_every_call_is_described_with_examples(http: httpx.AsyncClient) -> None:
    described = (await http.get("/openapi.json")).json()["paths"]
    verbs = {(path, verb) for path, calls in described.items() for verb in calls}
    one = "/v1/uploads/{upload_id}"
    assert verbs == {("/v1/uploads", "post"), ("/v1/uploads", "options")} | {
        (one, v) for v in ("head", "patch", "delete")
    }
    for path, verb in verbs:
        call = described[path][verb]
        where = f"{verb} {path}"
        good = [answer for status, answer in call["responses"].items() if status in ("200", "201", "204")]
        assert good, where
        assert all("example" in header for answer in good for header in answer["headers"].values()), where
        for status, answer in call["responses"].items():
            assert status < "300" or list(answer["content"]) == ["application/problem+json"], f"{where} {status}"
        assert "422" not in call["responses"], where
        for parameter in call.get("parameters", []):
            assert parameter["schema"].get("examples"), where
    assert list(described[one]["patch"]["requestBody"]["content"]) == ["application/offset+octet-stream"]


@contextmanager
def served(uploads: Uploads, settings: UploadSettings) -> Iterator[str]:
    """Address of a real server on a loopback port."""
    server = uvicorn.Server(uvicorn.Config(app_of(uploads, settings), log_level="error", ws="none"))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def break_off(address: str, path: str, offset: int, data: bytes, announced: int) -> None:
    """Send the head of a part and some of its bytes, and break the connection."""
    host, port = address.removeprefix("http://").split(":")
    head = (
        f"PATCH {path} HTTP/1.1\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n"
        f"Content-Type: application/offset+octet-stream\r\nContent-Length: {announced}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + data)
        time.sleep(0.3)


def test_a_client_that_nobody_here_wrote_uploads_and_resumes(url: str) -> None:
    """tuspy through a real server, with a connection that breaks in a part, and a server that is replaced by another."""
    settings = UploadSettings(part_bytes=2 << 20)
    data = os.urandom((9 << 20) + 7)
    with served(Uploads(Store(url), settings), settings) as address:
        client = TusClient(f"{address}/v1/uploads")
        first = client.uploader(
            file_stream=BytesIO(data), chunk_size=2 << 20, metadata={"filename": "beach.mp4"}, upload_checksum=True
        )
        first.upload_chunk()
        path = (first.url or "").removeprefix(address)
        break_off(address, path, 2 << 20, data[2 << 20 : 3 << 20], 2 << 20)
    again = Uploads(Store(url), settings)
    with served(again, settings) as address:
        second = TusClient(f"{address}/v1/uploads").uploader(
            file_stream=BytesIO(data), chunk_size=2 << 20, url=address + path
        )
        assert second.offset == 3 << 20
        second.upload()
        assert second.offset == len(data)
    done = asyncio.run(Uploads(Store(url), settings).completed(path.rpartition("/")[2], None))
    assert (done.token, done.name, done.size) == (hashlib.md5(data).hexdigest(), "beach.mp4", len(data))
