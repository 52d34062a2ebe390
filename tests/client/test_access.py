"""API keys, and redirects to the bucket where results lie: who is told what. Blocking and awaited."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import AsyncImmersivaudioClient, ClientError, ImmersivaudioClient, RequestRefused, ServiceUnreachable
from tests.client.calls import Call
from tests.client.fake import RUN_ID, Fake, serving

KEY = "open-sesame-1234"
WITH_KEY = {"api_key": KEY, "resumable_above": 4}


@pytest.fixture(scope="session")
def only_bucket() -> Iterator[Fake]:
    with serving(Fake()) as bucket:
        yield bucket


@pytest.fixture
def bucket(only_bucket: Fake, fake: Fake) -> Fake:
    """Another host, as far as HTTP is concerned."""
    vars(only_bucket).update(vars(Fake(url=only_bucket.url)))
    fake.bucket = only_bucket.url
    return only_bucket


def test_the_key_opens_a_service_that_asks_for_one(fake: Fake, call: Call, video: Path, tmp_path: Path) -> None:
    fake.api_key = KEY
    call(fake.url, "enhance", video, output=tmp_path / "out.mp4", client=WITH_KEY)
    assert (tmp_path / "out.mp4").read_bytes() == b"the result"
    assert fake.tus.parts == [(0, 8)]


@pytest.mark.parametrize("key", [None, "wrong"])
def test_without_the_right_key_the_service_refuses(fake: Fake, call: Call, key: str | None) -> None:
    fake.api_key = KEY
    with pytest.raises(RequestRefused, match="asks for an API key") as raised:
        call(fake.url, "run", RUN_ID, client={"api_key": key})
    assert raised.value.status == 401


def test_without_a_key_nothing_is_sent_for_one(fake: Fake, call: Call) -> None:
    call(fake.url, "run", RUN_ID)
    assert "authorization" not in fake.asked[0][1]


@pytest.mark.parametrize("kind", [ImmersivaudioClient, AsyncImmersivaudioClient])
@pytest.mark.parametrize("key", ["", "two words", "line\n", "clé-secrète", "tab\t"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(
    kind: type[ImmersivaudioClient], key: str
) -> None:
    with pytest.raises(ValueError, match="an API key is made of visible ASCII characters") as raised:
        kind(api_key=key)
    assert not key or key not in str(raised.value)


def test_the_key_is_in_no_message_repr_or_log(
    fake: Fake, call: Call, video: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service = ImmersivaudioClient(api_key=KEY)
    told = [repr(service), repr(vars(service)), repr(vars(service._http)["_headers"])]
    service.close()
    fake.refuse = (500, "broken")
    for url in (fake.url, "http://127.0.0.1:9"):
        with pytest.raises(ClientError) as raised:
            call(url, "submit", video, client=WITH_KEY)
        told += [str(raised.value), repr(raised.value), repr(raised.value.__cause__), repr(raised.value.__context__)]
    assert caplog.text
    assert KEY not in "\n".join([*told, caplog.text])


def test_a_result_is_fetched_from_the_bucket_without_the_key(
    fake: Fake, bucket: Fake, call: Call, tmp_path: Path
) -> None:
    fake.api_key = KEY
    call(fake.url, "download", RUN_ID, "video", tmp_path / "out.mp4", client=WITH_KEY)
    assert (tmp_path / "out.mp4").read_bytes() == b"the result"
    [(asked, headers)] = bucket.asked
    assert asked == "GET /bucket/video?signature=secret"
    assert "authorization" not in headers
    assert KEY not in str(headers.raw)


def test_a_fetch_from_the_bucket_that_breaks_goes_on_where_it_broke(
    fake: Fake, bucket: Fake, call: Call, tmp_path: Path
) -> None:
    bucket.artifact = bytes(range(256)) * 40
    bucket.break_downloads_after = [3000, 5500]
    call(fake.url, "download", RUN_ID, "video", tmp_path / "out.mp4", client=WITH_KEY)
    assert (tmp_path / "out.mp4").read_bytes() == bucket.artifact
    assert bucket.ranges == [None, "bytes=3000-", "bytes=8500-"]
    # A presigned address holds for a while only: the service is asked for a new one each time.
    assert [asked for asked, _ in fake.asked] == [f"GET /v1/runs/{RUN_ID}/artifacts/video"] * 3


def test_the_signature_of_an_address_is_not_told(fake: Fake, bucket: Fake, call: Call, tmp_path: Path) -> None:
    fake.bucket = f"{bucket.url}/no/such"
    with pytest.raises(RequestRefused, match=r"GET http://\S+/no/such/bucket/video was answered with 404") as raised:
        call(fake.url, "download", RUN_ID, "video", tmp_path / "out.mp4")
    assert "secret" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_named(fake: Fake, call: Call, tmp_path: Path) -> None:
    fake.bucket = "http://127.0.0.1:9"
    with pytest.raises(ServiceUnreachable, match=r"no service answers at http://127\.0\.0\.1:9 "):
        call(fake.url, "download", RUN_ID, "video", tmp_path / "out.mp4")
