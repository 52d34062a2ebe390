"""Artifacts handed on while they arrive, as a page hands them to a browser."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from client import AsyncImmersivaudioClient, RequestRefused, ServiceFailed, ServiceUnreachable
from tests.client.fake import ETAG, RUN_ID, Fake, serving

KEY = "open-sesame-1234"
CONTENT = bytes(range(256)) * 40


@pytest.fixture
def bucket() -> Iterator[Fake]:
    with serving(Fake(artifact=CONTENT)) as service:
        yield service


def asked(fake: Fake, ask: Callable[[AsyncImmersivaudioClient], Any], **client: Any) -> tuple[int, Any, bytes]:
    async def run() -> tuple[int, Any, bytes]:
        async with AsyncImmersivaudioClient(fake.url, **client) as service, ask(service) as answer:
            return answer.status, answer.headers, b"".join([piece async for piece in answer.pieces()])

    return asyncio.run(run())


def test_an_artifact_is_handed_on_with_what_is_said_about_it(fake: Fake) -> None:
    fake.artifact = CONTENT
    status, headers, body = asked(fake, lambda service: service.open_artifact(RUN_ID, "video"))
    assert (status, headers["Content-Length"], headers["etag"], body) == (200, "10240", ETAG, CONTENT)


def test_a_part_of_it_too(fake: Fake) -> None:
    fake.artifact = CONTENT
    wanted = {"Range": "bytes=10000-"}
    status, headers, body = asked(fake, lambda service: service.open_artifact(RUN_ID, "video", headers=wanted))
    assert (status, headers["Content-Range"], body) == (206, "bytes 10000-10239/10240", CONTENT[10000:])


@pytest.mark.parametrize(("headers", "status"), [({"Range": "bytes=99-"}, 416), ({"If-None-Match": ETAG}, 304)])
def test_what_is_no_file_but_an_answer_is_handed_on(fake: Fake, headers: dict[str, str], status: int) -> None:
    answer = asked(fake, lambda service: service.open_artifact(RUN_ID, "video", headers=headers))
    assert answer[0] == status


def test_a_head_has_no_body(fake: Fake) -> None:
    status, headers, body = asked(fake, lambda service: service.open_artifact(RUN_ID, "video", method="HEAD"))
    assert (status, headers["Content-Length"], body) == (200, "10", b"")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_not_there_is_refused(fake: Fake, method: str) -> None:
    with pytest.raises(RequestRefused) as raised:
        asked(fake, lambda service: service.open_artifact(RUN_ID, "smell", method=method))
    assert raised.value.status == 404


def test_a_service_that_breaks_is_told_as_everywhere(fake: Fake) -> None:
    fake.refuse = (500, "broken")
    with pytest.raises(ServiceFailed, match="broken"):
        asked(fake, lambda service: service.open_file("videos/0/frames/1.png"))
    with pytest.raises(ServiceUnreachable, match="no service answers"):
        asked(Fake(url="http://127.0.0.1:9"), lambda service: service.open_file("videos/0/frames/1.png"))


def test_a_file_lies_where_its_record_says_and_nowhere_else(fake: Fake) -> None:
    assert asked(fake, lambda service: service.open_file("videos/0/frames/1.png"))[2] == b"the result"
    asked(fake, lambda service: service.open_file("../runs/x?y"))
    assert [said for said, _ in fake.asked] == ["GET /v1/files/videos/0/frames/1.png", "GET /v1/files/../runs/x%3Fy"]


def test_the_bucket_is_asked_without_the_key_for_the_part_that_is_wanted(fake: Fake, bucket: Fake) -> None:
    fake.api_key, fake.bucket = KEY, bucket.url
    wanted = {"Range": "bytes=10000-"}
    answer = asked(fake, lambda service: service.open_artifact(RUN_ID, "video", headers=wanted), api_key=KEY)
    assert (answer[0], answer[2]) == (206, CONTENT[10000:])
    [(_, headers)] = bucket.asked
    assert "authorization" not in headers


def test_a_connection_that_breaks_in_the_middle_is_said(fake: Fake) -> None:
    fake.artifact, fake.break_downloads_after = CONTENT, [3000]
    with pytest.raises(ServiceUnreachable, match="broke"):
        asked(fake, lambda service: service.open_artifact(RUN_ID, "video"))


def test_a_compressed_answer_is_handed_on_as_it_is() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(b"\x1f\x8b raw"))

    async def run() -> bytes:
        async with (
            AsyncImmersivaudioClient("http://here", transport=httpx.MockTransport(answer)) as service,
            service.open_artifact(RUN_ID, "video") as answered,
        ):
            return b"".join([piece async for piece in answered.pieces()])

    assert asyncio.run(run()).endswith(b"raw")
