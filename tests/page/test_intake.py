"""Giving a file to the page, in a real browser: the intake's element over the real routes, and a stand-in for the service."""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Page, expect

from client.page.examples import EXAMPLES
from models.record import Options
from models.video_input import MediaLimits, SourceFile, probe
from tests.client import fake as services
from tests.client.fake import Fake
from tests.page.axe import serious
from tests.page.browser import Visits, serving
from tests.page.uploading import Line, routes_to

MIB = 2**20
HEAD = (
    '<link rel="stylesheet" href="studio/static/page.css"><link rel="stylesheet" href="studio/static/intake.css">'
    "<style>body { background: var(--iv-paper); color: var(--iv-ink) }</style>"
    '<script type="module" src="studio/static/intake.js"></script><script>const told = [];'
    "for (const kind of ['given', 'ready', 'cleared'])"
    " addEventListener(kind, (event) => told.push([kind, event.detail]))</script>"
)
DARK = "<script>addEventListener('DOMContentLoaded', () => document.body.classList.add('dark'))</script>"


@dataclass
class Place:
    """A page with intakes, the line to its server, and the service behind."""

    visits: Visits
    line: Line
    service: Fake
    stack: ExitStack

    async def open(self, *kinds: str, most: int | None = None, head: str = "", **options: bool | str) -> Page:
        routes = routes_to(self.service.url, self.line)
        body = "".join(intake(kind, most) for kind in kinds or ("video",))
        url = self.stack.enter_context(serving(routes, body=f"<main><h1>Test</h1>{body}</main>", head=HEAD + head))
        page = await self.visits.open(url, **options)  # type: ignore[arg-type]
        await page.wait_for_selector(".ivi-input", state="attached")
        return page

    async def parts(self, count: int) -> None:
        """Wait until so many parts have arrived at the service."""
        while len(self.service.tus.parts) < count:
            await asyncio.sleep(0.02)

    @property
    def arrived(self) -> str:
        """MD5 of the newest upload's bytes."""
        return hashlib.md5(self.service.tus.created[-1].content).hexdigest()


def intake(kind: str, most: int | None) -> str:
    examples = escape(json.dumps(EXAMPLES.get(kind, [])))  # type: ignore[call-overload]
    limit = f'max-bytes="{most}"' if most else ""
    return (
        f'<iv-intake kind="{kind}" label="{kind}" {limit} uploads="studio/uploads" examples="{examples}"></iv-intake>'
    )


@pytest.fixture
async def place(visits: Visits) -> AsyncIterator[Place]:
    with ExitStack() as stack:
        yield Place(visits, Line(), stack.enter_context(services.serving(Fake())), stack)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Three parts of noise."""
    path = tmp_path / "море 1.mp4"
    path.write_bytes(os.urandom(10 * MIB))
    return path


def small(size: int = 1000, name: str = "small.mp4") -> FilePayload:
    return {"name": name, "mimeType": "video/mp4", "buffer": os.urandom(size)}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


async def choose(page: Page, file: FilePayload | Path, kind: str = "video") -> None:
    await page.set_input_files(f"iv-intake[kind={kind}] .ivi-zone .ivi-main input", file)


async def is_ready(page: Page) -> None:
    await expect(page.locator("[data-state=ready]")).to_have_text(re.compile("All of it has arrived"), timeout=20_000)


async def told(page: Page) -> list[str]:
    return [kind for kind, _ in await page.evaluate("told")]


async def test_a_chosen_file_goes_up_and_the_page_is_told(place: Place, film: Path) -> None:
    page = await place.open()
    await choose(page, film)
    await is_ready(page)
    assert place.arrived == md5(film)
    assert place.service.tus.created[-1].name == "море 1.mp4"
    (first, details), (second, ready) = await page.evaluate("told")
    assert (first, details["name"], details["size"], details["type"]) == ("given", "море 1.mp4", 10 * MIB, "video/mp4")
    assert (second, ready["name"], ready["size"]) == ("ready", "море 1.mp4", 10 * MIB)
    assert ready["upload"] in place.service.tus.uploads
    assert await page.evaluate("document.querySelector('iv-intake').value") == ready
    await expect(page.get_by_text("This browser cannot show it")).to_be_visible()
    assert [size for _, size in place.service.tus.parts] == [4 * MIB, 4 * MIB, 2 * MIB]


async def test_a_file_taken_out_makes_room_for_another(place: Place) -> None:
    page = await place.open()
    await choose(page, small())
    await is_ready(page)
    await page.get_by_role("button", name="Remove").click()
    await expect(page.get_by_label("Choose a video")).to_be_focused()
    assert await page.evaluate("document.querySelector('iv-intake').value") is None
    await choose(page, other := small(2000, "other.mp4"))
    await is_ready(page)
    assert place.arrived == hashlib.md5(other["buffer"]).hexdigest()
    assert await told(page) == ["given", "ready", "cleared", "given", "ready"]


async def test_an_example_is_shown_and_goes_up_as_a_file_does(place: Place) -> None:
    page = await place.open("video", "image")
    await page.get_by_role("button", name="Sea at dusk").click()
    await expect(page.get_by_text("0:08 · 640 × 360")).to_be_visible()
    await is_ready(page)
    await page.get_by_role("button", name="A fire by night").click()
    await expect(page.get_by_text("1280 × 720")).to_be_visible()
    await expect(page.locator("[data-state=ready]")).to_have_count(2)
    assert sorted(upload.name for upload in place.service.tus.created) == ["A fire by night.jpg", "Sea at dusk.mp4"]


@pytest.mark.parametrize("way", ["drop", "paste"])
async def test_a_file_may_be_dropped_or_pasted(place: Place, way: str) -> None:
    page = await place.open("video", "sound")
    carried = await page.evaluate_handle(
        "() => { const all = new DataTransfer();"
        " all.items.add(new File(['abc'], 'clip.webm', {type: 'video/webm'})); return all }"
    )
    if way == "drop":
        await page.dispatch_event("iv-intake[kind=video]", "dragenter", {"dataTransfer": carried})
        await expect(page.locator(".ivi-over")).to_have_count(1)
        await page.dispatch_event("iv-intake[kind=video]", "drop", {"dataTransfer": carried})
        await expect(page.locator(".ivi-over")).to_have_count(0)
    else:
        await page.evaluate(
            "all => document.body.dispatchEvent("
            "new ClipboardEvent('paste', {clipboardData: all, bubbles: true, cancelable: true}))",
            carried,
        )
    await is_ready(page)
    assert [(upload.name, bytes(upload.content)) for upload in place.service.tus.created] == [("clip.webm", b"abc")]


@pytest.mark.parametrize(
    ("kind", "file", "sentence"),
    [
        ("video", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b""}, "a.mp4 is empty"),
        ("video", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": bytes(2049)}, "2 KB are taken"),
        ("video", {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}, "a.pdf is not a video"),
        ("image", {"name": "a.mp4", "mimeType": "video/mp4", "buffer": b"abc"}, "a.mp4 is not a picture"),
        ("sound", {"name": "a.png", "mimeType": "image/png", "buffer": b"abc"}, "a.png is not a sound"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_words_before_it_is_sent(
    place: Place, kind: str, file: FilePayload, sentence: str
) -> None:
    page = await place.open(kind, most=2048)
    await choose(page, file, kind)
    await expect(page.get_by_role("alert").filter(has_text=sentence)).to_be_visible()
    assert (place.line.asked, await told(page)) == ([], [])


async def test_the_service_says_itself_why_it_takes_no_file(place: Place) -> None:
    page = await place.open()
    place.service.tus.refuse_creation = (507, "there is no space for 1000 bytes")
    await choose(page, small())
    await expect(page.get_by_text("✗ There is no space for 1000 bytes.")).to_be_visible()
    place.service.tus.refuse_creation = None
    await page.get_by_role("button", name="Try again").click()
    await is_ready(page)


async def test_a_broken_line_is_waited_for_and_the_file_goes_on_where_it_was(place: Place, film: Path) -> None:
    page = await place.open()
    place.line.let_through = 1
    await choose(page, film)
    await place.parts(1)
    await page.context.set_offline(True)
    await expect(page.locator(".ivi-note", has_text="You are offline")).to_be_visible()
    place.line.let_through = None
    await page.context.set_offline(False)
    await is_ready(page)
    assert place.arrived == md5(film)
    assert len(place.service.tus.created) == 1
    assert [asked for asked in place.line.asked if asked == ("PATCH", "0")] == [("PATCH", "0")]


async def test_a_server_that_is_started_anew_and_a_service_that_breaks_cost_a_part_at_most(
    place: Place, film: Path
) -> None:
    page = await place.open()
    place.service.tus.breakages = ["fine", "cut", "answer lost", "down"]
    place.line.let_through = 1
    await choose(page, film)
    await place.parts(1)
    place.line.down, place.line.let_through = True, None
    await expect(page.locator(".ivi-note", has_text="The service does not answer just now")).to_be_visible()
    place.line.down = False
    await page.get_by_role("button", name="Try now").click()
    await is_ready(page)
    assert place.arrived == md5(film)
    assert len(place.service.tus.created) == 1


async def test_an_upload_that_has_vanished_begins_anew(place: Place, film: Path) -> None:
    page = await place.open()
    place.service.tus.breakages = ["fine", "vanished"]
    await choose(page, film)
    await is_ready(page)
    assert place.arrived == md5(film)
    assert len(place.service.tus.created) == 2


async def test_it_can_be_paused_and_goes_on(place: Place, film: Path) -> None:
    page = await place.open()
    place.line.let_through = 1
    await choose(page, film)
    await place.parts(1)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".ivi-note", has_text=re.compile("Paused at (40|80) %"))).to_be_visible()
    place.line.let_through = None
    asked = len(place.line.asked)
    await page.wait_for_timeout(800)
    assert len(place.line.asked) == asked
    await page.get_by_role("button", name="Go on").click()
    await is_ready(page)
    assert place.arrived == md5(film)
    assert ("PATCH", "0") not in place.line.asked[1 + place.line.asked.index(("PATCH", "0")) :]


async def test_cancel_deletes_what_has_arrived(place: Place, film: Path) -> None:
    page = await place.open()
    place.line.let_through = 1
    await choose(page, film)
    await place.parts(1)
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_label("Choose a video")).to_be_focused()
    for _ in range(50):
        if not place.service.tus.uploads:
            break
        await asyncio.sleep(0.1)
    assert place.service.tus.uploads == {}
    assert await told(page) == ["given", "cleared"]


async def test_after_a_reload_the_same_file_goes_on_where_it_was(place: Place, film: Path) -> None:
    page = await place.open()
    place.line.let_through = 1
    await choose(page, film)
    await place.parts(1)
    await page.wait_for_function("document.querySelector('progress').value > 4 * 2 ** 20")
    await page.reload()
    await expect(page.get_by_text("море 1.mp4 had come to 40 %")).to_be_visible()
    place.line.asked.clear()
    place.line.let_through = None
    await choose(page, film)
    await is_ready(page)
    assert place.line.asked[0] == ("HEAD", None)
    assert ("PATCH", "0") not in place.line.asked
    assert len(place.service.tus.created) == 1
    assert place.arrived == md5(film)


@pytest.mark.parametrize("ending", ["mp4", "webm"])
async def test_the_camera_makes_a_video_that_the_service_can_read(place: Place, tmp_path: Path, ending: str) -> None:
    only = f"<script>MediaRecorder.isTypeSupported = (type) => type.startsWith('video/{ending}')</script>"
    page = await place.open(head=only)
    await page.get_by_role("button", name="Record with the camera").click()
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_text(re.compile("Recording 0:(0[2-9]|[1-5][0-9]) of 1:00"))).to_be_visible()
    await page.get_by_role("button", name="Stop recording").click()
    await is_ready(page)
    (sent,) = place.service.tus.created
    assert re.fullmatch(rf"recording \d{{4}}-\d\d-\d\d \d\d\.\d\d\.\d\d\.{ending}", sent.name)
    recording = tmp_path / sent.name
    recording.write_bytes(sent.content)
    seen = probe(SourceFile.of(recording, name=sent.name, key=""), options=Options(), limits=MediaLimits())
    assert (seen.media, seen.has_audio) == ("video", False)
    assert 2 <= (seen.duration_seconds or 0) < 10
    assert not await page.evaluate("Boolean(document.querySelector('.ivi-live'))")


async def test_the_camera_takes_a_photograph(place: Place) -> None:
    page = await place.open("image")
    await page.get_by_role("button", name="Take a photograph").click()
    await page.wait_for_function("document.querySelector('.ivi-live').videoWidth > 0")
    await page.get_by_role("button", name="Take the photograph").click()
    await is_ready(page)
    assert place.service.tus.created[0].name.endswith(".jpg")
    assert place.service.tus.created[0].content.startswith(b"\xff\xd8")


async def test_a_recording_can_be_thrown_away(place: Place) -> None:
    page = await place.open()
    await page.get_by_role("button", name="Record with the camera").click()
    await page.get_by_role("button", name="Start recording").click()
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_label("Choose a video")).to_be_focused()
    assert (place.line.asked, await told(page)) == ([], [])


async def test_a_camera_that_may_not_be_used_is_said_so(place: Place) -> None:
    no = "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    page = await place.open(head=f"<script>{no}</script>")
    await page.get_by_role("button", name="Record with the camera").click()
    await expect(page.get_by_role("alert").filter(has_text="The camera may not be used")).to_be_visible()
    await page.get_by_role("button", name="Close the camera").click()
    await expect(page.get_by_label("Choose a video")).to_be_focused()


async def test_it_is_usable_with_the_keyboard_alone(place: Place) -> None:
    page = await place.open()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Choose a video")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Record with the camera")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Sea at dusk")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator(".ivi-name")).to_be_focused()
    await is_ready(page)
    await page.get_by_role("button", name="Remove").press("Enter")
    await expect(page.get_by_label("Choose a video")).to_be_focused()


async def test_a_screen_reader_hears_few_words(place: Place, film: Path) -> None:
    page = await place.open()
    await page.evaluate(
        "window.said = []; new MutationObserver(() => said.push(document.querySelector('[role=status]').textContent))"
        ".observe(document.querySelector('[role=status]'), {childList: true, subtree: true})"
    )
    await choose(page, film)
    await is_ready(page)
    said = await page.evaluate("said")
    assert said[-1] == "All of it has arrived."
    assert set(said[:-1]) <= {f"{step} % of the file has arrived." for step in (25, 50, 75)}
    assert len(said) <= 4


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_no_state_is_cut_off_or_breaks_a_rule_of_accessibility(place: Place, size: str, dark: bool) -> None:
    page = await place.open("video", "image", "sound", size=size, head=DARK if dark else "")

    async def look() -> None:
        assert await serious(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = await page.evaluate(
            "[...document.querySelectorAll('iv-intake :is(button, label)')].filter((one) => one.checkVisibility())"
            ".filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.outerHTML)"
        )
        assert small == []

    await look()
    place.line.let_through = 0
    await choose(page, small(5 * MIB, f"a very long name {'without any space' * 4}.mp4"))
    await choose(page, {"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF"}, "image")
    await look()
    await page.get_by_role("button", name="Pause").click()
    await look()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Record with the camera").click()
    await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
    await look()
