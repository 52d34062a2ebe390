"""Cancelling, deleting and rerunning runs, and waiting for a service that is busy; blocking and awaited."""

import io
import json
import os
import pickle
from pathlib import Path

import httpx
import pytest

from client import (
    Edits,
    FrameDescriptionEdit,
    FrameSelectionEdit,
    NotUnderstood,
    Options,
    PromptEnhancementEdit,
    RequestRefused,
    Run,
    RunCancelled,
    ServiceBusy,
)
from client.flow import Flow, Open, Read, Wait
from client.protocol import Protocol
from models.record import SCHEMA_VERSION
from tests.client.calls import Call
from tests.client.fake import RERUN_ID, RUN_ID, Fake
from tests.client.logs import a_cancellation, a_log, video_input

BUSY = (429, {"Retry-After": "0"})


def test_a_run_is_cancelled_and_answered_as_it_is_then(fake: Fake, call: Call) -> None:
    fake.log = a_log(video_input())[:4]
    assert call(fake.url, "cancel", RUN_ID).status == "cancelled"
    assert call(fake.url, "cancel", RUN_ID).status == "cancelled"


def test_cancelling_a_run_that_has_ended_changes_nothing(fake: Fake, call: Call) -> None:
    assert call(fake.url, "cancel", RUN_ID) == fake.run
    assert fake.run.status == "finished"


@pytest.mark.parametrize("verb", ["wait", "enhance"])
def test_a_cancelled_run_is_no_result_and_keeps_what_was_computed(
    fake: Fake, call: Call, video: Path, tmp_path: Path, verb: str
) -> None:
    fake.log, fake.keep_the_log = a_cancellation(video_input()), True
    with pytest.raises(RunCancelled, match=f"run {RUN_ID} was cancelled") as raised:
        call(fake.url, "wait", RUN_ID) if verb == "wait" else call(fake.url, "enhance", video, output=tmp_path / "out")
    assert raised.value.run.record.frame_extraction
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    assert not (tmp_path / "out").exists()


def test_an_ended_run_is_deleted(fake: Fake, call: Call) -> None:
    call(fake.url, "delete", RUN_ID)
    assert fake.deleted == [RUN_ID]


def test_deleting_a_run_that_goes_on_cancels_it_and_says_so(fake: Fake, call: Call) -> None:
    fake.log = a_log(video_input())[:4]
    with pytest.raises(RunCancelled) as raised:
        call(fake.url, "delete", RUN_ID)
    assert (raised.value.run.status, fake.deleted) == ("cancelled", [])
    call(fake.url, "delete", RUN_ID)
    assert fake.deleted == [RUN_ID]


@pytest.mark.parametrize("verb", ["cancel", "delete"])
def test_an_unknown_run_is_refused(fake: Fake, call: Call, verb: str) -> None:
    with pytest.raises(RequestRefused, match="there is no run nobody's") as raised:
        call(fake.url, verb, "nobody's")
    assert raised.value.status == 404


def test_a_rerun_sends_what_changes_and_nothing_else(fake: Fake, call: Call) -> None:
    edits = Edits(
        frame_selection=FrameSelectionEdit(index=3),
        frame_description=FrameDescriptionEdit(text="A storm."),
        prompt_enhancement=PromptEnhancementEdit(sound_prompt="thunder"),
    )
    run = call(fake.url, "rerun", RUN_ID, {"seed": None, "original": 0.5}, edits)
    assert (run.id, run.rerun_of) == (RERUN_ID, RUN_ID)
    [(of, _, body)] = fake.reruns
    assert of == RUN_ID
    assert json.loads(body) == {
        "options": {"seed": None, "original": 0.5},
        "edits": {
            "frame_selection": {"index": 3},
            "frame_description": {"text": "A storm."},
            "prompt_enhancement": {"sound_prompt": "thunder"},
        },
    }


def test_a_rerun_may_change_nothing(fake: Fake, call: Call) -> None:
    assert call(fake.url, "rerun", RUN_ID).id == RERUN_ID
    assert json.loads(fake.reruns[0][2]) == {}


def test_options_that_json_has_no_words_for_are_refused_before_anything_is_sent(fake: Fake, call: Call) -> None:
    with pytest.raises(ValueError, match="seed"):
        call(fake.url, "rerun", RUN_ID, {"seed": object()})
    assert fake.asked == []


def test_a_busy_service_is_asked_again_with_the_whole_file(fake: Fake, call: Call) -> None:
    fake.refuse_runs = [BUSY] * 3
    told: list[float] = []
    stream = io.BytesIO(b"skipped" + bytes(3_000_000))
    stream.seek(7)
    run = call(fake.url, "submit", stream, Options(seed=7), on_busy=told.append)
    assert (run.id, told) == (RUN_ID, [0, 0, 0])
    assert [(content, options) for _, content, options in fake.uploads] == [(bytes(3_000_000), '{"seed":7}')]


def test_a_pipe_survives_a_busy_service(fake: Fake, call: Call) -> None:
    fake.refuse_runs = [BUSY]
    read, write = os.pipe()
    os.write(write, b"pictures")
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        call(fake.url, "submit", pipe, name="sea.mp4")
    assert fake.uploads[0][:2] == ("sea.mp4", b"pictures")


def test_a_rerun_waits_for_a_busy_service_too(fake: Fake, call: Call) -> None:
    fake.refuse_runs = [BUSY]
    told: list[float] = []
    assert call(fake.url, "rerun", RUN_ID, on_busy=told.append).id == RERUN_ID
    assert told == [0]


@pytest.mark.parametrize("later", [None, "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_busy_service_that_does_not_say_until_when_is_not_waited_for(
    fake: Fake, call: Call, video: Path, later: str | None
) -> None:
    fake.refuse_runs = [(429, {"Retry-After": later} if later else {})]
    with pytest.raises(ServiceBusy, match="100 runs wait already"):
        call(fake.url, "submit", video)


def driven(flow: Flow[Run], headers: dict[str, str], waited: list[float]) -> None:
    outcome: object = None
    while True:
        match step := flow.send(outcome):
            case Open():
                outcome = httpx.Response(429, headers=headers, request=step.request)
            case Read():
                outcome = b""
            case Wait():
                waited.append(step.seconds)
                outcome = None


@pytest.mark.parametrize(
    ("told", "pauses"), [("5", [5.0] * 120), ("3600", [60.0] * 10), ("45", [45.0] * 13), ("0", [1.0] * 600)]
)
def test_a_service_that_stays_busy_is_asked_for_ten_minutes_at_most(
    monkeypatch: pytest.MonkeyPatch, told: str, pauses: list[float]
) -> None:
    """The flow is driven by hand, so that nobody has to wait."""
    monkeypatch.setattr("client.protocol.BUSY_PAUSE_SECONDS", (1.0, 60.0))
    with httpx.Client(base_url="http://here") as http:
        flow = Protocol(http.build_request).rerun(RUN_ID, options={}, edits=Edits())
        waited: list[float] = []
        with pytest.raises(ServiceBusy) as raised:
            driven(flow, {"Retry-After": told}, waited)
    assert waited == pauses
    assert (raised.value.status, raised.value.retry_after_seconds) == (429, float(told))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"type":"started","seq":2,"at":2,"owner":"me","mood":"good"}', "mood"),
        (b'{"type":"paused","seq":2,"at":2}', "paused"),
        (b'{"type":"started","seq":2,"at":2,"owner":"me"}', "begins with started"),
    ],
    ids=["a field", "an event", "a log without its beginning"],
)
def test_what_a_newer_service_says_is_not_half_understood(call: Call, line: bytes, said: str) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=line + b"\n"))
    with pytest.raises(NotUnderstood, match=said):
        call("http://here", "wait", RUN_ID, client={"transport": transport})


def test_a_record_of_a_newer_schema_is_said_to_be_one(call: Call, fake: Fake) -> None:
    this, next_ = (f'"schema_version":{version}' for version in (SCHEMA_VERSION, SCHEMA_VERSION + 1))
    newer = fake.run.model_dump_json().replace(this, next_)
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=newer))
    words = f"schema version {SCHEMA_VERSION + 1}; versions 1 to {SCHEMA_VERSION} are read here.*another version"
    with pytest.raises(NotUnderstood, match=words):
        call("http://here", "run", RUN_ID, client={"transport": transport})
