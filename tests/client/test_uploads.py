"""Resumable uploads against a fake service that breaks on purpose, over a real socket, blocking and awaited."""

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import httpx
import pytest

from client import ImmersivaudioClient, NotUnderstood, Options, RequestRefused, ServiceFailed, ServiceUnreachable
from client.uploads import PART_BYTES
from tests.client.calls import Call
from tests.client.fake import RUN_ID, Fake
from tests.client.fake_uploads import Breakage

CONTENT = bytes(range(256)) * 40  # 10 parts of 1000 bytes, and one of 240


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.uploads.PART_BYTES", 1000)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "море.mp4"
    path.write_bytes(CONTENT)
    return path


def submit(call: Call, fake: Fake, source: Any, *arguments: Any, timeout: float = 30, **named: Any) -> Any:
    settings = {"resumable_above": 5000, "timeout": timeout}
    return call(fake.url, "submit", source, *arguments, client=settings, **named)


def test_a_large_file_goes_up_in_parts_and_becomes_a_run(fake: Fake, call: Call, film: Path) -> None:
    run = submit(call, fake, film, Options(seed=7))
    assert (run.id, run.status) == (RUN_ID, "accepted")
    assert fake.uploads == [("море.mp4", CONTENT, '{"seed":7}')]
    assert fake.tus.parts == [(at, min(1000, len(CONTENT) - at)) for at in range(0, len(CONTENT), 1000)]


@pytest.mark.parametrize(("film_size", "sound_size"), [(7000, 300), (300, 7000), (7000, 7000)])
def test_beside_a_large_file_a_reference_goes_up_in_parts_too_and_is_deleted_when_it_was_heard(
    fake: Fake, call: Call, film_size: int, sound_size: int
) -> None:
    fake.tus.breakages = ["cut"]
    submit(call, fake, io.BytesIO(CONTENT[:film_size]), Options(seed=7), reference=io.BytesIO(CONTENT[-sound_size:]))
    assert fake.uploads == [("file", CONTENT[:film_size], '{"seed":7}')]
    assert fake.references == [("file", CONTENT[-sound_size:])]
    assert [len(upload.content) for upload in fake.tus.uploads.values()] == [film_size]


def test_the_reference_goes_up_first_and_is_deleted_when_its_file_is_refused(
    fake: Fake, call: Call, film: Path
) -> None:
    def refuse(sent: int, total: int) -> None:
        assert [len(upload.content) for upload in fake.tus.uploads.values()] == [300, 0]
        raise RequestRefused("too large")

    with pytest.raises(RequestRefused):
        submit(call, fake, film, reference=io.BytesIO(bytes(300)), on_upload=refuse)
    assert [len(upload.content) for upload in fake.tus.uploads.values()] == [0]


@pytest.mark.parametrize("film_size", [100, 7000])
def test_a_reference_that_is_too_large_is_refused_before_anything_is_sent(
    fake: Fake, call: Call, tmp_path: Path, film_size: int
) -> None:
    (tmp_path / "concert.wav").write_bytes(bytes(16 * 2**20 + 1))
    with pytest.raises(RequestRefused, match=r"the reference concert\.wav is larger than the 16 MiB that are listened"):
        submit(call, fake, io.BytesIO(bytes(film_size)), reference=tmp_path / "concert.wav")
    assert fake.asked == []


def test_a_reference_that_no_run_is_made_of_is_deleted_with_its_file(fake: Fake, call: Call, film: Path) -> None:
    fake.refuse_runs = [(415, {})]
    with pytest.raises(RequestRefused):
        submit(call, fake, film, reference=io.BytesIO(b"text"))
    assert fake.tus.uploads == {}


@pytest.mark.parametrize(("size", "parts"), [(5000, 0), (5001, 6)])
def test_only_a_file_above_the_limit_goes_up_in_parts(fake: Fake, call: Call, size: int, parts: int) -> None:
    submit(call, fake, io.BytesIO(bytes(size)))
    assert len(fake.tus.parts) == parts
    assert fake.uploads[0][1] == bytes(size)


@pytest.mark.parametrize(
    "breakages",
    [
        ["cut"],
        ["fine", "fine", "cut"],
        ["answer lost"],
        ["fine", "answer lost", "cut", "down"],
        ["moved", "fine", "moved"],
        ["damaged"] * 4,
        ["down"] * 8,
        ["cut", "fine"] * 9,
        ["vanished"],
        ["fine", "fine", "vanished"],
        ["fine", "cut", "vanished", "fine", "cut"],
    ],
    ids=lambda breakages: "-".join(breakages)[:60],
)
def test_an_upload_that_breaks_goes_on_by_itself(fake: Fake, call: Call, film: Path, breakages: list[Breakage]) -> None:
    fake.tus.breakages = list(breakages)
    submit(call, fake, film)
    assert fake.uploads[0][1] == CONTENT
    assert fake.tus.breakages == []
    assert len(fake.tus.created) == 1 + breakages.count("vanished")


def test_an_upload_that_has_expired_when_it_is_asked_for_is_begun_anew(fake: Fake, call: Call, film: Path) -> None:
    fake.tus.breakages = ["fine", "cut"]
    fake.tus.gone_when_asked = True
    submit(call, fake, film)
    assert fake.uploads[0][1] == CONTENT
    assert len(fake.tus.created) == 2


def test_what_has_arrived_is_not_sent_again(fake: Fake, call: Call, film: Path) -> None:
    fake.tus.breakages = ["fine", "fine", "answer lost", "cut"]
    submit(call, fake, film)
    assert sum(size for _, size in fake.tus.parts) == len(CONTENT)


def test_a_service_that_falls_silent_is_asked_again(fake: Fake, call: Call, film: Path) -> None:
    fake.tus.breakages = ["fine", "silent"]
    submit(call, fake, film, timeout=0.3)
    assert fake.uploads[0][1] == CONTENT


def test_an_upload_that_gets_nowhere_is_given_up(fake: Fake, call: Call, film: Path) -> None:
    fake.tus.breakages = ["fine", *["damaged"] * 20]  # type: ignore[list-item]
    with pytest.raises(ServiceUnreachable, match="gave up after 8 attempts to go on: Checksum Mismatch"):
        submit(call, fake, film)
    assert len(fake.tus.breakages) == 20 - 9


def test_an_upload_that_vanishes_again_is_refused(fake: Fake, call: Call, film: Path) -> None:
    fake.tus.breakages = ["fine", "vanished", "fine", "vanished"]
    with pytest.raises(RequestRefused, match="has expired"):
        submit(call, fake, film)


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [((413, "at most 4 GiB are taken"), RequestRefused), ((507, "the disk is full"), ServiceFailed)],
)
def test_a_file_that_the_service_will_not_take_is_refused_before_any_part_is_sent(
    fake: Fake, call: Call, film: Path, refusal: tuple[int, str], kind: type[Exception]
) -> None:
    fake.tus.refuse_creation = refusal
    with pytest.raises(kind, match=refusal[1]):
        submit(call, fake, film)
    assert fake.tus.parts == []


def test_a_disk_that_fills_up_ends_the_upload_at_once(fake: Fake, call: Call, film: Path) -> None:
    fake.tus.breakages = ["fine", "full"]
    with pytest.raises(ServiceFailed, match="the disk has no room for this upload"):
        submit(call, fake, film)


def test_nobody_there_is_said_at_once(call: Call, film: Path) -> None:
    with pytest.raises(ServiceUnreachable, match=r"no service answers at http://127\.0\.0\.1:9 "):
        call("http://127.0.0.1:9", "submit", film, client={"resumable_above": 0})


def test_the_run_of_an_upload_is_asked_for_again_after_a_restart(fake: Fake, call: Call, film: Path) -> None:
    fake.refuse_runs = [(503, {}), (503, {}), (429, {"Retry-After": "0"})]
    assert submit(call, fake, film).id == RUN_ID
    assert len(fake.tus.created) == 1


def test_an_upload_that_no_run_is_made_of_is_deleted(fake: Fake, call: Call, film: Path) -> None:
    fake.refuse_runs = [(415, {})]
    with pytest.raises(RequestRefused):
        submit(call, fake, film)
    assert fake.tus.uploads == {}


def test_progress_is_told_from_nothing_to_all_of_it(fake: Fake, call: Call, film: Path) -> None:
    told: list[tuple[int, int]] = []
    fake.tus.breakages = ["fine", "answer lost", "cut"]
    submit(call, fake, film, on_upload=lambda sent, total: told.append((sent, total)))
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)
    assert {total for _, total in told} == {len(CONTENT)}


def test_of_a_stream_the_rest_is_sent(fake: Fake, call: Call, film: Path) -> None:
    for position in (300, 9000):  # in parts, and in one request
        with film.open("rb") as file:
            file.seek(position)
            submit(call, fake, file)
            assert not file.closed
        assert fake.uploads[-1][1] == CONTENT[position:]


def test_a_pipe_goes_up_in_parts_too(fake: Fake, call: Call) -> None:
    read, write = os.pipe()
    os.write(write, CONTENT)
    os.close(write)
    fake.tus.breakages = ["fine", "cut"]
    with os.fdopen(read, "rb") as pipe:
        submit(call, fake, pipe)
    assert fake.uploads[0][1] == CONTENT
    assert len(fake.tus.parts) == 11


def test_a_file_that_becomes_shorter_meanwhile_is_said(fake: Fake, call: Call, film: Path) -> None:
    def shorten(sent: int, total: int) -> None:
        with film.open("r+b") as file:
            file.truncate(1500)

    with pytest.raises(OSError, match="the file became shorter while it was sent"):
        submit(call, fake, film, on_upload=shorten)


@pytest.mark.parametrize(
    "answer",
    [
        {"Location": "/elsewhere"},
        {"Location": "/v1/uploads/" + "0" * 32, "Upload-Offset": "7"},
        {"Location": "/v1/uploads/" + "0" * 32, "Upload-Offset": "99999999"},
        {"Location": "/v1/uploads/" + "0" * 32},
    ],
)
def test_a_service_that_makes_no_sense_is_not_sent_parts_for_ever(film: Path, answer: dict[str, str]) -> None:
    asked = []

    def answers(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(204, headers=answer)

    transport = httpx.MockTransport(answers)
    with ImmersivaudioClient("http://here", transport=transport, resumable_above=0) as service:
        with pytest.raises(NotUnderstood):
            service.submit(film)
        assert len(asked) <= 2


class Sink(httpx.BaseTransport):
    """Takes parts, and keeps none of them: what is in memory then is the client's doing."""

    received = 0
    largest = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "PATCH":
            assert isinstance(request.stream, httpx.SyncByteStream)
            for chunk in request.stream:
                self.received += len(chunk)
                self.largest = max(self.largest, len(chunk))
            return httpx.Response(204, headers={"Upload-Offset": str(self.received)})
        if request.url.path == "/v1/uploads":
            return httpx.Response(201, headers={"Location": "/v1/uploads/" + "0" * 32})
        return httpx.Response(400)


@pytest.mark.parametrize("piped", [False, True], ids=["file", "pipe"])
def test_a_file_of_any_size_takes_the_memory_of_one_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piped: bool
) -> None:
    monkeypatch.setattr("client.uploads.PART_BYTES", PART_BYTES)
    big = tmp_path / "big.mp4"
    with big.open("wb") as file:
        file.truncate(100_000_000)
    sink = Sink()
    tracemalloc.start()
    try:
        with ImmersivaudioClient("http://here", transport=sink) as service, big.open("rb") as file:
            if piped:
                monkeypatch.setattr("client.files._can_seek", lambda file: False)
            with pytest.raises(RequestRefused):
                service.submit(file)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * PART_BYTES
    finally:
        tracemalloc.stop()
    assert sink.received == 100_000_000
    # A time limit holds for a piece, and must not be too short for it on a slow line.
    assert sink.largest <= 65536
