"""The Python client against a fake service, over a real socket. Every test of a call runs it blocking and awaited."""

import asyncio
import io
import pickle
import tracemalloc
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from client import (
    AsyncImmersivaudioClient,
    ImmersivaudioClient,
    NoConnectionLeft,
    NotUnderstood,
    Options,
    Progress,
    RequestRefused,
    RunFailed,
    ServiceFailed,
    ServiceUnreachable,
)
from models.record import TERMINAL, Event
from tests.client.calls import Call
from tests.client.fake import RUN_ID, Fake
from tests.client.logs import a_choice, a_failure, video_input


def sequence(messages: list[Event | Progress]) -> list[int]:
    return [message.seq for message in messages if not isinstance(message, Progress)]


def test_a_file_is_enhanced_in_one_call(fake: Fake, call: Call, video: Path, tmp_path: Path) -> None:
    run = call(fake.url, "enhance", video, Options(seed=7), output=tmp_path / "out.mp4")
    assert run.status == "finished"
    assert (tmp_path / "out.mp4").read_bytes() == b"the result"
    assert fake.uploads == [("sea.mp4", b"pictures", '{"seed":7}')]


def test_a_sound_to_sound_like_goes_along_with_the_file(fake: Fake, call: Call, video: Path, tmp_path: Path) -> None:
    (tmp_path / "drums.wav").write_bytes(b"drums")
    call(fake.url, "submit", video, reference=tmp_path / "drums.wav")
    call(fake.url, "enhance", io.BytesIO(b"film"), output=io.BytesIO(), reference=io.BytesIO(b"more drums"))
    assert [sent for _, sent, _ in fake.uploads] == [b"pictures", b"film"]
    assert fake.references == [("drums.wav", b"drums"), ("file", b"more drums")]


def test_a_service_that_is_busy_hears_the_whole_reference_again(
    fake: Fake, call: Call, video: Path, tmp_path: Path
) -> None:
    fake.refuse_runs = [(429, {"Retry-After": "0"})]
    call(fake.url, "submit", video, reference=io.BytesIO(b"drums"))
    assert (fake.uploads[0][1], fake.references) == (b"pictures", [("file", b"drums")])


def test_a_kept_candidate_can_be_downloaded(fake: Fake, call: Call, tmp_path: Path) -> None:
    fake.log = a_choice(video_input())
    call(fake.url, "download", RUN_ID, "music-2", tmp_path / "other.flac")
    assert (tmp_path / "other.flac").read_bytes() == b"the result"


def test_a_submitted_run_is_typed_and_its_input_is_known(fake: Fake, call: Call, video: Path) -> None:
    run = call(fake.url, "submit", video)
    assert (run.id, run.status, run.record.video_input.name) == (RUN_ID, "accepted", "sea.mp4")


def test_a_run_can_be_asked_for_later(fake: Fake, call: Call) -> None:
    assert call(fake.url, "run", RUN_ID) == fake.run


def test_the_modules_are_listed(fake: Fake, call: Call) -> None:
    assert [info.licence for info in call(fake.url, "modules")] == [None, "CC-BY-NC-SA 4.0", None]


def test_events_come_in_order_with_progress_between_them_and_end_with_the_run(fake: Fake, call: Call) -> None:
    messages = call(fake.url, "events", RUN_ID)
    assert sequence(messages) == [event.seq for event in fake.log]
    assert [message.step for message in messages if isinstance(message, Progress)] == [1, 2, 1, 2]
    assert messages[-1].type in TERMINAL


def test_events_can_be_read_from_the_middle(fake: Fake, call: Call) -> None:
    assert sequence(call(fake.url, "events", RUN_ID, after=8)) == [event.seq for event in fake.log][8:]


@pytest.mark.parametrize("breaks", [[0], [1], [3, 1, 5], [2] * 4], ids=str)
def test_a_broken_stream_goes_on_where_it_broke(fake: Fake, call: Call, breaks: list[int]) -> None:
    fake.break_events_after = list(breaks)
    messages = call(fake.url, "events", RUN_ID)
    assert sequence(messages) == [event.seq for event in fake.log]
    assert len(fake.asked_after) == len(breaks) + 1


def test_a_stream_that_never_gets_anywhere_is_given_up(fake: Fake, call: Call) -> None:
    fake.break_events_after = [0] * 100
    with pytest.raises(ServiceUnreachable, match="gave up after 8 attempts"):
        call(fake.url, "events", RUN_ID)
    assert len(fake.asked_after) == 9


def test_a_run_is_followed_state_by_state(fake: Fake, call: Call) -> None:
    states = call(fake.url, "follow", RUN_ID)
    assert [state.status for state in states[:3]] == ["accepted", "running", "running"]
    assert states[-1] == fake.run


def test_waiting_for_a_run_that_fails_raises_and_keeps_what_was_computed(fake: Fake, call: Call) -> None:
    fake.log = a_failure(video_input())
    with pytest.raises(RunFailed, match="object_detection failed: the detector broke") as raised:
        call(fake.url, "wait", RUN_ID)
    assert raised.value.run.record.frame_extraction
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)


def test_an_iteration_that_is_left_early_gives_its_connection_back(fake: Fake) -> None:
    with ImmersivaudioClient(fake.url) as service:
        for _ in range(20):
            next(iter(service.events(RUN_ID)))
        assert service.run(RUN_ID).id == RUN_ID

    async def leave() -> None:
        async with AsyncImmersivaudioClient(fake.url) as service:
            async with aclosing(service.events(RUN_ID)) as events:
                await anext(events)
            assert (await service.run(RUN_ID)).id == RUN_ID

    asyncio.run(leave())


@pytest.mark.parametrize("ignore_ranges", [False, True])
def test_a_broken_download_goes_on_where_it_broke(fake: Fake, call: Call, tmp_path: Path, ignore_ranges: bool) -> None:
    fake.artifact = bytes(range(256)) * 40
    fake.break_downloads_after = [3000, 5500, 0]
    fake.ignore_ranges = ignore_ranges
    call(fake.url, "download", RUN_ID, "video", tmp_path / "out.mp4")
    assert (tmp_path / "out.mp4").read_bytes() == fake.artifact
    assert fake.ranges[:2] == [None, "bytes=3000-"]


def test_a_download_that_fails_leaves_what_was_there_and_nothing_else(fake: Fake, call: Call, tmp_path: Path) -> None:
    fake.break_downloads_after = [5] + [0] * 100
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(ServiceUnreachable):
        call(fake.url, "download", RUN_ID, "video", tmp_path / "out.mp4")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_an_artifact_can_be_written_to_a_stream(fake: Fake, call: Call) -> None:
    fake.break_downloads_after = [4]
    stream = io.BytesIO()
    call(fake.url, "download", RUN_ID, "audio", stream)
    assert stream.getvalue() == b"the result"


@pytest.mark.parametrize("verb", ["run", "events", "wait"])
def test_an_unknown_run_is_refused_with_the_services_own_sentence(fake: Fake, call: Call, verb: str) -> None:
    with pytest.raises(RequestRefused) as raised:
        call(fake.url, verb, "nobody's")
    assert str(raised.value) == "there is no run nobody's"


def test_no_id_or_name_leaves_its_place_in_the_address(tmp_path: Path) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(404, json={"title": "Not Found", "status": 404, "detail": "there is no such thing"})

    with ImmersivaudioClient("http://here", transport=httpx.MockTransport(answer)) as service:
        for ask in (lambda: service.run("../x?y#z"), lambda: service.download("a/b", "../c", tmp_path / "out")):
            with pytest.raises(RequestRefused):
                ask()
    assert asked == [b"/v1/runs/..%2Fx%3Fy%23z", b"/v1/runs/a%2Fb/artifacts/..%2Fc"]


def test_a_service_that_is_still_starting_is_not_there_yet_and_refuses_nothing(fake: Fake) -> None:
    """Ray's proxy answers 404 in words of its own before there is anything behind it."""
    asked = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked < 4:
            return httpx.Response(404, text="Path '/v1/…' not found. Ping http://…/-/routes for available routes.")
        return httpx.Response(200, content=b"".join(event.model_dump_json().encode() + b"\n" for event in fake.log))

    with ImmersivaudioClient("http://here", transport=httpx.MockTransport(answer)) as service:
        with pytest.raises(ServiceUnreachable, match="still starting"):
            service.run(RUN_ID)
        assert [event.type for event in service.events(RUN_ID)][-1] == "finished"
    assert asked == 4


@pytest.mark.parametrize(("status", "kind"), [(400, RequestRefused), (422, RequestRefused), (500, ServiceFailed)])
def test_the_status_decides_the_error_and_the_service_its_words(
    fake: Fake, call: Call, video: Path, status: int, kind: type[Exception]
) -> None:
    fake.refuse = (status, "because of this")
    with pytest.raises(kind) as raised:
        call(fake.url, "submit", video)
    assert str(raised.value) == "because of this"


def test_a_service_that_is_busy_while_it_is_followed_is_asked_again(fake: Fake) -> None:
    fake.refuse = (503, "not yet")
    with ImmersivaudioClient(fake.url) as service, pytest.raises(ServiceUnreachable, match="not yet"):
        list(service.events(RUN_ID))


def test_nobody_there_is_said_with_the_address(call: Call, video: Path) -> None:
    with pytest.raises(ServiceUnreachable, match=r"no service answers at http://127\.0\.0\.1:9 "):
        call("http://127.0.0.1:9", "submit", video)


@pytest.mark.parametrize("address", ["localhost:8000", "127.0.0.1:8000", "ftp://here", "http://", "http://a:b", ""])
def test_an_address_that_cannot_be_one_is_refused_at_once(address: str) -> None:
    with pytest.raises(ValueError, match="is not the address of a service"):
        ImmersivaudioClient(address)


@pytest.mark.parametrize(
    "error",
    [
        kind
        for kind in vars(httpx).values()
        if isinstance(kind, type) and issubclass(kind, httpx.RequestError) and kind is not httpx.PoolTimeout
    ],
)
def test_every_way_a_request_can_break_is_one_error_of_ours(error: type[httpx.RequestError]) -> None:
    def breaks(request: httpx.Request) -> httpx.Response:
        raise error("", request=request)

    with (
        ImmersivaudioClient("http://here", transport=httpx.MockTransport(breaks)) as service,
        pytest.raises(ServiceUnreachable, match=r"at http://here \(\w|to http://here broke \(\w"),
    ):
        service.modules()


def test_a_client_whose_connections_are_all_in_use_says_so(fake: Fake) -> None:
    fake.slow_seconds = 0.2
    patience = httpx.Timeout(10, pool=0.05)
    with ImmersivaudioClient(fake.url, max_connections=1, timeout=patience) as service:
        following = service.follow(RUN_ID)
        next(following)
        with pytest.raises(NoConnectionLeft, match="all connections that this client may have are in use"):
            service.modules()
        *_, last = following
        assert last.status == "finished"
        assert service.run(RUN_ID).id == RUN_ID


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"id": 1}', b"", b"\xff"])
def test_an_answer_that_makes_no_sense_is_not_taken_for_one(body: bytes) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=body))
    with (
        ImmersivaudioClient("http://here", transport=transport) as service,
        pytest.raises(NotUnderstood, match="another version"),
    ):
        service.run(RUN_ID)


@pytest.mark.parametrize("status", [301, 502])
def test_an_answer_of_something_in_between_is_told_with_its_status(status: int) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, content=b"<html>Bad Gateway</html>"))
    with (
        ImmersivaudioClient("http://here", transport=transport) as service,
        pytest.raises(ServiceFailed, match=f"GET http://here/v1/modules was answered with {status}"),
    ):
        service.modules()


def test_an_event_of_another_version_is_said_and_not_asked_for_again() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b'{"type":"teleported","seq":1}\n')

    with (
        ImmersivaudioClient("http://here", transport=httpx.MockTransport(answer)) as service,
        pytest.raises(NotUnderstood, match="teleported"),
    ):
        list(service.events(RUN_ID))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("name", "received"),
    [
        ("a sea.mp4", "a sea.mp4"),
        ('it\'s "the" sea.mp4', "it's 'the' sea.mp4"),
        ("two\nlines\r\nX-Header: 1\x1b[31m\x00.mp4", "two_lines__X-Header: 1_[31m_.mp4"),
        ("море 🌊👩‍🚀 \u2028.mp4", "море 🌊👩‍🚀 \u2028.mp4"),
        ("back\\slash;filename=b.mp4", "back\\slash;filename=b.mp4"),
        ("../../etc/passwd", "../../etc/passwd"),
        ("not\udcffutf8.mp4", "not?utf8.mp4"),
        ("x" * 300, "x" * 300),
    ],
    ids=lambda name: ascii(name)[:30],
)
def test_any_name_goes_through(fake: Fake, call: Call, name: str, received: str) -> None:
    run = call(fake.url, "submit", io.BytesIO(b"pictures"), name=name)
    assert fake.uploads[0][:2] == (received, b"pictures")
    assert run.record.video_input.name == received


def test_a_stream_of_unknown_length_can_be_uploaded(fake: Fake, call: Call) -> None:
    class Pipe(io.RawIOBase):
        left = 3

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"abc" if self.left >= 0 else b""

    call(fake.url, "submit", Pipe())
    assert fake.uploads[0][:2] == ("file", b"abcabcabc")


def test_an_upload_is_read_as_it_is_sent(tmp_path: Path) -> None:
    """A transport that counts what it is handed, and keeps none of it: what is in memory then is the client's doing."""
    big = tmp_path / "big.mp4"
    with big.open("wb") as file:
        file.truncate(30_000_000)

    class Counting(httpx.BaseTransport):
        received = 0

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            assert isinstance(request.stream, httpx.SyncByteStream)
            for chunk in request.stream:
                self.received += len(chunk)
            return httpx.Response(400, content=b"")

    transport = Counting()
    tracemalloc.start()
    try:
        with ImmersivaudioClient("http://here", transport=transport) as service, pytest.raises(RequestRefused):
            service.submit(big)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    assert transport.received > 30_000_000


def test_a_proxy_of_the_environment_is_not_asked_about_this_machine(
    fake: Fake, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert call(fake.url, "run", RUN_ID).id == RUN_ID
