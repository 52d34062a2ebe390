"""Uploads that the caller sends part by part, as a page does for a browser; and runs of them. Blocking and awaited."""

import pytest

from client import Options, RequestRefused, ServiceUnreachable
from tests.client.calls import Call
from tests.client.fake import RUN_ID, Fake


def test_an_upload_goes_up_part_by_part_and_becomes_a_run(fake: Fake, call: Call) -> None:
    upload = call(fake.url, "create_upload", 7, name="море.mp4")
    assert call(fake.url, "upload_offset", upload) == (0, 7)
    assert call(fake.url, "append_upload", upload, 0, b"abcd") == 4
    assert call(fake.url, "upload_offset", upload) == (4, 7)
    assert call(fake.url, "append_upload", upload, 4, b"efg") == 7
    run = call(fake.url, "submit_upload", upload, Options(seed=7))
    assert (run.id, run.record.video_input.name) == (RUN_ID, "море.mp4")
    assert fake.uploads == [("море.mp4", b"abcdefg", '{"seed":7}')]


def test_a_reference_is_named_as_the_file_is(fake: Fake, call: Call) -> None:
    film, sound = (call(fake.url, "create_upload", 3, name=name) for name in ("sea.mp4", "drums.wav"))
    for upload, content in ((film, b"sea"), (sound, b"drm")):
        call(fake.url, "append_upload", upload, 0, content)
    call(fake.url, "submit_upload", film, reference=sound)
    assert fake.references == [("drums.wav", b"drm")]


def test_uploads_stay_with_whoever_made_them(fake: Fake, call: Call) -> None:
    upload = call(fake.url, "create_upload", 3, name="sea.mp4")
    fake.refuse_runs = [(415, {})]
    with pytest.raises(RequestRefused):
        call(fake.url, "submit_upload", upload)
    assert list(fake.tus.uploads) == [upload]
    call(fake.url, "delete_upload", upload)
    assert fake.tus.uploads == {}


def test_a_part_that_breaks_is_not_sent_again(fake: Fake, call: Call) -> None:
    upload = call(fake.url, "create_upload", 7, name="sea.mp4")
    fake.tus.breakages = ["answer lost"]
    with pytest.raises(ServiceUnreachable):
        call(fake.url, "append_upload", upload, 0, b"abcd")
    assert call(fake.url, "upload_offset", upload) == (4, 7)
    with pytest.raises(RequestRefused, match="stands at byte 4") as raised:
        call(fake.url, "append_upload", upload, 0, b"abcd")
    assert raised.value.status == 409
    assert fake.tus.parts == [(0, 4)]


@pytest.mark.parametrize("verb", ["upload_offset", "append_upload", "delete_upload"])
@pytest.mark.parametrize("upload", ["0" * 32, "../runs/0123456789abcdef", "..", "a?b#c"])
def test_an_upload_that_is_not_there_is_refused(fake: Fake, call: Call, verb: str, upload: str) -> None:
    arguments = (0, b"abc") if verb == "append_upload" else ()
    with pytest.raises((RequestRefused, ServiceUnreachable)):
        call(fake.url, verb, upload, *arguments)
    assert [asked.partition(" ")[2].startswith("/v1/uploads/") for asked, _ in fake.asked] == [True]
    assert fake.deleted == []


def test_an_upload_that_is_gone_is_said_to_be(fake: Fake, call: Call) -> None:
    with pytest.raises(RequestRefused, match=f"there is no upload {'0' * 32}, or not any more") as raised:
        call(fake.url, "upload_offset", "0" * 32)
    assert raised.value.status == 404


def test_words_alone_become_a_run(fake: Fake, call: Call) -> None:
    fake.refuse_runs = [(429, {"Retry-After": "0"})]
    waits: list[float] = []
    run = call(fake.url, "submit_text", "rain on a tin roof", Options(seconds=20), on_busy=waits.append)
    assert (run.id, waits) == (RUN_ID, [0.0])
    assert fake.texts == [("rain on a tin roof", '{"seconds":20.0}')]


@pytest.mark.parametrize(("words", "told"), [("", "blank"), (" \n", "blank"), ("x" * 1001, "at most 1000")])
def test_words_that_cannot_be_a_run_are_not_sent(fake: Fake, call: Call, words: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        call(fake.url, "submit_text", words)
    assert fake.asked == []
