"""What the page says and asks for, without a browser: the strip, the editor, the errors."""

import asyncio
import re
from collections.abc import Iterable
from html.parser import HTMLParser

import httpx
import pytest
from pydantic import TypeAdapter

from client.errors import ClientError, NoConnectionLeft, RequestRefused, ServiceBusy, ServiceUnreachable
from client.page import again
from client.page.asking import asked
from client.page.frames import viewable
from client.page.handlers import notice
from client.page.result import downloads, editable, studio
from client.page.strip import Strip
from client.page.words import of_run, trouble
from client.protocol import OnBusy
from models.record import Event, Options, Progress, Run, ScenePromptsEdit, fold
from tests.client.logs import (
    a_cancellation,
    a_choice,
    a_failure,
    a_log,
    a_rocky_run,
    of_scenes,
    of_words,
    video_input,
)

RUN = "a" * 32


def run(events: Iterable[Event]) -> Run:
    return fold(RUN, events)


def told(events: Iterable[Event | Progress]) -> str:
    """All that the strip shows in the end."""
    strip = Strip(RUN)
    sections: dict[str, str] = {}
    for event in events:
        strip.see(event)
        sections |= strip.changes()["sections"]
    return "".join(sections.values())


def test_the_strip_fills_as_modules_are_done_and_tells_only_what_changed() -> None:
    strip = Strip(RUN)
    first, *later = a_log(video_input())
    strip.see(first)
    assert "frame_extraction" in strip.changes()["sections"]
    assert strip.changes()["sections"] == {}
    for event in later:
        strip.see(event)
        fresh = strip.changes()
        if event.type == "module_done":
            assert event.module in fresh["sections"]
            assert "done" in str(fresh["say"])


WRITTEN = {
    "name",
    "label",
    "text",
    "music_prompt",
    "sound_prompt",
    "negative_prompt",
    "model",
    "message",
    "notes",
    "reason",
}
"""Where a stranger, a model or a library may have put words, by their keys in a run's log."""


def nasty(key: str) -> str:
    return f'"><img src=x onerror="{key}">\x1b[31m'


def spoilt(events: Iterable[Event]) -> list[Event]:
    """The log, with nothing but nasty words in it."""

    def spoil(key: str, value: object) -> object:
        if isinstance(value, dict):
            return {name: spoil(name, one) for name, one in value.items()}
        if isinstance(value, list):
            return [spoil(key, one) for one in value]
        return nasty(key) if key in WRITTEN and isinstance(value, str) else value

    event: TypeAdapter[Event] = TypeAdapter(Event)
    return [event.validate_python(spoil("", one.model_dump(mode="json"))) for one in events]


class Tags(HTMLParser):
    """What a browser would make of HTML."""

    def __init__(self, shown: str) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.feed(shown)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attrs}


def is_harmless(shown: str, *words: str) -> bool:
    """Whether these words stand there, and nothing of them is a tag, an attribute or an escape character."""
    return (
        all(f"onerror=&quot;{word}&quot;" in shown for word in words)
        and not any(name.startswith("on") for name in Tags(shown).attributes)
        and "\x1b" not in shown
    )


def test_what_is_nasty_would_be_noticed() -> None:
    assert not is_harmless(nasty("name"))
    assert not is_harmless(f'<img alt="{nasty("name")}">')
    assert not is_harmless("\x1b[31m")
    assert not is_harmless("", "name")


def test_nothing_that_strangers_wrote_becomes_html() -> None:
    seen = {"name", "label", "text", "music_prompt", "sound_prompt", "negative_prompt", "model"}
    assert is_harmless(told(spoilt(a_log(video_input()))), *seen)
    assert is_harmless(told(spoilt(a_choice(video_input()))), "notes")
    scenes = spoilt(of_scenes(video_input(options=Options(scenes="auto"))))
    assert is_harmless(told(scenes), "text", "music_prompt", "sound_prompt", "reason")
    assert is_harmless(told(spoilt(of_words("rain"))), "name")
    for kind in ("input", "internal"):
        assert is_harmless(told(spoilt(a_failure(video_input(), kind))), "message")
    assert is_harmless(downloads(run(spoilt(a_choice(video_input())))))


def test_nothing_in_an_error_becomes_html() -> None:
    for error in (RequestRefused(nasty("error")), ServiceUnreachable(nasty("error")), ValueError(nasty("error"))):
        assert is_harmless(notice(trouble(error)), "error")
    assert is_harmless(notice(of_run(run(spoilt(a_failure(video_input()))))), "message")


def test_progress_is_told_in_seconds_of_sound() -> None:
    events = [event for event in a_log(video_input()) if event.type != "finished"]
    before = [
        event
        for event in events
        if event.type != "module_done" or event.module not in ("audio_generation", "reconstruction")
    ]
    shown = told([*before, Progress(module="audio_generation", part="music", step=1, steps=4, seconds_left=9)])
    assert "3.0 of 12.0 s made" in shown
    assert "about 9 s left" in shown
    assert '<progress max="4" value="1" aria-label="Music">' in shown


def test_a_module_that_is_tried_again_is_said_to_be() -> None:
    strip = Strip(RUN)
    said = []
    for event in a_rocky_run(video_input()):
        strip.see(event)
        said.append(str(strip.changes()["say"]))
    assert any("tried again" in words for words in said)


def test_scenes_are_counted_from_one_with_their_times() -> None:
    shown = told(of_scenes(video_input(options=Options(scenes="auto"))))
    assert "Scene 1" in shown
    assert "Scene 0" not in shown
    assert re.search(r"0:00\.0–\d:\d\d\.\d", shown)


def test_a_picture_that_browsers_cannot_show_is_told_in_words() -> None:
    def shown(container: str) -> str:
        came = video_input("scan")
        image = came.model_copy(
            update={"media": "image", "container": container, "path": f"videos/0/source.{container}"}
        )
        return told(a_log(image))

    assert '<img src="studio/files/videos/0/source.jpeg"' in shown("jpeg")
    for container in ("tiff", "heic"):
        words = shown(container)
        assert f"This browser cannot show {container.upper()} pictures; found in it: water." in words
        assert "<img" not in words
    assert viewable("FRAME.JPG")


def test_a_run_that_failed_says_why_and_what_helps() -> None:
    failed = of_run(run(a_failure(video_input(), "input")))
    assert failed.sentence.endswith(".")
    assert "another file" in failed.advice
    assert "cancelled" in of_run(run(a_cancellation(video_input()))).sentence


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ServiceUnreachable("no service answers at http://x"), "Try again in a moment"),
        (NoConnectionLeft("all are in use"), "Try again"),
        (ServiceBusy("too many runs wait"), "nothing is lost"),
        (RequestRefused("this is no film"), ""),
        (ClientError("odd"), ""),
    ],
)
def test_errors_are_sentences_with_advice(error: ClientError, advice: str) -> None:
    found = trouble(error)
    assert found.sentence[0].isupper()
    assert found.sentence.endswith(".")
    assert advice in found.advice


def test_what_nobody_foresaw_keeps_its_details_for_the_log() -> None:
    assert "secret" not in str(trouble(KeyError("a secret path")))


def words(old: Run, **changed: str) -> list[dict[str, str | None]]:
    """The prompts as the editor holds them; `changed` are the second scene's."""
    assert old.record.prompt_enhancement
    told: list[dict[str, str | None]] = [
        {"music": scene.music_prompt, "sounds": scene.sound_prompt} for scene in old.record.prompt_enhancement.scenes
    ]
    told[1] |= changed
    return told


def edited(old: Run, scene: int | None, part: again.Part, **changed: str) -> list[ScenePromptsEdit]:
    edit = again.prompt_edits(old, scene, part, words(old, **changed)).prompt_enhancement
    assert edit
    return list(edit.scenes)


def test_other_words_for_one_scene_change_that_scene_alone() -> None:
    old = run(of_scenes(video_input(options=Options(scenes="auto"))))
    [scene] = edited(old, 1, "both", sounds="gulls")
    assert (scene.scene, scene.music_prompt, scene.music_take) == (1, None, 1)  # the same words: another take
    assert (scene.sound_prompt, scene.sound_take) == ("gulls", None)
    [scene] = edited(old, 0, "music", music="drums")
    assert (scene.scene, scene.music_prompt, scene.music_take) == (0, None, 1)


def test_everything_again_takes_the_changed_words_along() -> None:
    old = run(of_scenes(video_input(options=Options(scenes="auto"))))
    scenes = edited(old, None, "music", music="drums", sounds="gulls")
    assert [(scene.scene, scene.music_prompt, scene.music_take) for scene in scenes[:2]] == [
        (0, None, 1),
        (1, "drums", None),
    ]
    assert {(scene.sound_prompt, scene.sound_take) for scene in scenes} == {(None, None)}


def test_an_emptied_prompt_is_no_wish() -> None:
    old = run(of_scenes(video_input(options=Options(scenes="auto"))))
    with pytest.raises(ValueError, match="A prompt is empty"):
        edited(old, 1, "music", music=" ")


def test_the_same_description_is_no_change() -> None:
    old = run(a_log(video_input()))
    assert old.record.frame_description
    with pytest.raises(ValueError, match="Change the description first"):
        again.described_edits(old, 0, old.record.frame_description.text)
    assert again.described_edits(old, 0, "A storm.").frame_description


def test_the_studio_gets_what_there_is_and_downloads_are_named_after_the_film() -> None:
    finished = run(a_choice(video_input()))
    shown = studio(finished)
    assert shown
    assert shown["kind"] == "video"
    assert [one["chosen"] for one in shown["candidates"]].count(True) >= 1
    links = downloads(finished)
    assert "download=sea.immersivaudio.mp4" in links
    assert "download=sea.immersivaudio.music.flac" in links
    assert studio(run(a_cancellation(video_input()))) is None
    assert downloads(run(a_failure(video_input()))) == ""


def test_a_draft_may_be_made_in_full_where_the_service_has_both() -> None:
    finished = run(a_log(video_input(options=Options(draft=True))))
    assert (editable(finished, drafts=True) or {})["drafts"]
    assert not (editable(finished, drafts=False) or {})["drafts"]


async def test_who_waits_for_a_busy_service_hears_so_and_gets_the_run() -> None:
    made = run(a_log(video_input()))

    async def ask(on_busy: OnBusy) -> Run:
        on_busy(5)
        await asyncio.sleep(0.05)
        return made

    heard = [one async for one in asked(ask)]
    assert heard[-1] is made
    assert "busy; trying again in 5 s" in str(heard[0])


async def test_a_service_that_is_not_there_is_asked_again_and_one_that_broke_off_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client.page.asking.AGAIN_SECONDS", 0.01)
    made = run(a_log(video_input()))
    starting = ServiceUnreachable("the service is still starting")
    starting.status = 404  # Ray's proxy is there before anything behind it
    tries = iter((httpx.ConnectError("refused"), starting, None))

    async def ask(on_busy: OnBusy) -> Run:
        match next(tries):
            case ServiceUnreachable() as error:
                raise error
            case httpx.ConnectError() as cause:
                raise ServiceUnreachable("no service answers at http://x") from cause
        return made

    heard = [one async for one in asked(ask)]
    assert heard == [
        "No service answers at http://x. This page goes on trying.",
        "The service is still starting. This page goes on trying.",
        made,
    ]

    async def broken(on_busy: OnBusy) -> Run:
        raise ServiceUnreachable("the connection broke") from httpx.ReadError("broken")

    with pytest.raises(ServiceUnreachable):
        _ = [one async for one in asked(broken)]


async def test_who_goes_away_stops_asking() -> None:
    stopped = asyncio.Event()

    async def ask(on_busy: OnBusy) -> Run:
        on_busy(5)
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        raise AssertionError

    waiting = asked(ask)
    await anext(waiting)
    await waiting.aclose()
    await asyncio.wait_for(stopped.wait(), 5)
