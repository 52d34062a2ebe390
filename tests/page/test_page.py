"""The page as people use it: a real browser, the real page, the whole service behind it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.page.axe import serious
from tests.page.browser import Visits
from tests.page.site import Site, settings, site
from tests.page.using import MAKE, SOON, ended, give, journey, press, run_id, to


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(settings(tmp_path_factory.mktemp("site"))) as found:
        yield found


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journey(tmp_path_factory.mktemp("film"))


@pytest.fixture
def held(studio: Site) -> Iterator[Site]:
    """Runs stay at the music until `going_on` is set."""
    studio.going_on.clear()
    yield studio
    studio.going_on.set()


async def test_a_video_gets_its_sound_and_everything_is_told_on_the_way(
    studio: Site, visits: Visits, film: Path
) -> None:
    shown = await visits.open(studio.url)
    await give(shown, film)
    await press(shown, MAKE)
    run = await ended(shown, studio)
    assert run.record.video_input.name == "journey.mp4"

    await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)
    assert (
        await shown.locator("iv-studio video").evaluate(
            "video => video.videoWidth || new Promise(told => video.onloadeddata = () => told(video.videoWidth))"
        )
        == 320
    )
    await expect(shown.get_by_role("button", name="Original", exact=True)).to_be_visible()
    await shown.get_by_text("How it is made").click()
    strip = shown.locator("iv-run .iv-strip")
    for title in ("Frames", "Objects", "Best frame", "Description", "Prompts", "Sound", "Result"):
        await expect(strip.get_by_role("heading", name=title, exact=True)).to_be_visible()
    assert run.record.frame_description
    assert run.record.prompt_enhancement
    await expect(strip).to_contain_text(run.record.frame_description.text)
    await expect(strip).to_contain_text(run.record.prompt_enhancement.music_prompt)
    await expect(strip).to_contain_text("sketch/music")
    frames = strip.locator("figure img")
    assert await frames.count() == len(run.record.pictures)
    assert await frames.first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 320
    await expect(strip.locator("figure", has_text="Chosen").locator("img")).to_have_count(1)
    await expect(strip.locator(".iv-box").first).to_be_attached()


async def test_what_is_asked_for_is_what_is_made(studio: Site, visits: Visits, film: Path) -> None:
    shown = await visits.open(studio.url)
    await give(shown, film)
    await shown.get_by_label("Music", exact=True).first.uncheck()
    await shown.get_by_label("Words for the sound effects").first.fill("gulls")
    await shown.get_by_label("What to avoid").first.fill("traffic")
    await shown.get_by_label("Replace: it is left out").first.check()
    await shown.get_by_role("button", name="Advanced").first.click()
    await shown.get_by_label("Seed").first.fill("7")
    await press(shown, MAKE)
    options = (await ended(shown, studio)).record.video_input.options
    assert (options.music, options.sounds, options.sound_prompt) == (False, True, "gulls")
    assert (options.negative_prompt, options.original_mode, options.seed) == ("traffic", "replace", 7)


async def test_a_style_puts_its_words_behind_the_users_own(studio: Site, visits: Visits) -> None:
    shown = await visits.open(studio.url)
    await shown.get_by_role("tab", name="Image").click()
    await shown.get_by_role("button", name="Morning over hills").locator("visible=true").click()
    await expect(shown.locator("iv-intake:visible").first).to_contain_text("All of it has arrived", timeout=SOON)
    await shown.get_by_label("Words for the music").locator("visible=true").fill("a flute")
    await shown.get_by_label("Style").locator("visible=true").click()
    await shown.get_by_role("option", name="Calm").click()
    await press(shown, MAKE)
    options = (await ended(shown, studio)).record.video_input.options
    assert options.music_prompt
    assert options.music_prompt.startswith("a flute, calm")


async def test_an_image_is_shown_for_as_long_as_is_asked(studio: Site, visits: Visits) -> None:
    shown = await visits.open(studio.url)
    await shown.get_by_role("tab", name="Image").click()
    await shown.get_by_role("button", name="A fire by night").locator("visible=true").click()
    await expect(shown.locator("iv-intake:visible").first).to_contain_text("All of it has arrived", timeout=SOON)
    await shown.get_by_label("Length in seconds").locator("visible=true").fill("3")
    await press(shown, MAKE)
    run = await ended(shown, studio)
    assert run.record.video_input.media == "image"
    assert run.record.reconstruction
    assert run.record.reconstruction.duration_seconds == pytest.approx(3, abs=0.1)
    await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)
    await expect(shown.get_by_role("button", name="Original", exact=True)).to_have_count(0)


async def test_words_alone_become_a_sound(studio: Site, visits: Visits) -> None:
    shown = await visits.open(studio.url)
    await shown.get_by_role("tab", name="Text").click()
    await shown.get_by_label("What is to be heard").fill("rain on a tin roof")
    await shown.get_by_label("Length in seconds").locator("visible=true").fill("3")
    await press(shown, MAKE)
    run = await ended(shown, studio)
    assert run.record.video_input.media == "text"
    assert run.record.prompt_enhancement
    assert "rain on a tin roof" in run.record.prompt_enhancement.sound_prompt
    await expect(shown.locator("iv-studio")).to_be_visible(timeout=SOON)
    await expect(shown.locator("iv-studio").get_by_role("button", name="Play").first).to_be_visible()


async def test_without_a_file_or_with_impossible_numbers_a_sentence_says_what_to_do(
    studio: Site, visits: Visits, film: Path
) -> None:
    shown = await visits.open(studio.url)
    await press(shown, MAKE)
    await expect(shown.get_by_role("alert").filter(has_text="Give a file first")).to_be_visible()
    await give(shown, film)
    await shown.get_by_role("button", name="Advanced").first.click()
    await shown.get_by_label("Steps").first.fill("9000")
    await press(shown, MAKE)
    await expect(
        shown.get_by_role("alert").filter(has_text="Steps: a whole number at least 1, at most 500")
    ).to_be_visible()
    assert "run=" not in shown.url


async def test_a_broken_file_is_refused_in_the_services_own_words(studio: Site, visits: Visits, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"this is no film at all" * 100)
    shown = await visits.open(studio.url)
    await give(shown, tmp_path / "broken.mp4")
    await press(shown, MAKE)
    told = shown.locator("#iv-notice").get_by_role("alert")
    await expect(told).to_contain_text("broken.mp4", timeout=SOON)
    assert "Traceback" not in await told.inner_text()


async def test_a_run_is_cancelled(held: Site, visits: Visits, film: Path) -> None:
    shown = await visits.open(held.url)
    await give(shown, film)
    await press(shown, MAKE)
    bar = shown.get_by_role("progressbar", name="Music")
    await expect(bar).to_be_visible(timeout=SOON)
    await expect(shown.locator("iv-run .iv-strip")).to_contain_text(re.compile(r"\d\.\d of 6\.0 s made"))
    await press(shown, "Cancel")
    run = await ended(shown, held, status="Cancelled")
    assert run.status == "cancelled"
    await expect(shown.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


async def test_a_reload_in_the_middle_and_another_machine_see_the_same_run(
    held: Site, visits: Visits, film: Path
) -> None:
    shown = await visits.open(held.url)
    await give(shown, film)
    await press(shown, MAKE)
    await expect(shown.get_by_role("progressbar", name="Music")).to_be_visible(timeout=SOON)
    await shown.reload()
    elsewhere = await visits.open(shown.url)
    for one in (shown, elsewhere):
        await expect(one.locator("iv-run .iv-head")).to_contain_text("Working", timeout=SOON)
        await expect(one.locator("iv-run figure img").first).to_be_visible()
    held.going_on.set()
    for one in (shown, elsewhere):
        await ended(one, held)
        await expect(one.locator("iv-studio video")).to_be_visible(timeout=SOON)


async def test_what_was_made_is_downloaded(studio: Site, visits: Visits, film: Path) -> None:
    run = studio.service.wait(studio.service.submit(film).id)
    shown = await visits.open(studio.link(run.id))
    for label, name in (("The result", "journey.immersivaudio.mp4"), ("Music", "journey.immersivaudio.music.flac")):
        async with shown.expect_download() as waiting:
            await shown.locator(".iv-downloads").get_by_role("link", name=label, exact=True).click(timeout=SOON)
        file = await waiting.value
        assert file.suggested_filename == name
        assert (await file.path()).stat().st_size > 10_000
    async with shown.expect_download() as waiting:
        await shown.get_by_role("link", name="The record of the run").click()
    assert json.loads((await (await waiting.value).path()).read_text())["id"] == run.id


async def test_the_history_is_this_browsers_own(studio: Site, visits: Visits, film: Path) -> None:
    run = studio.service.wait(studio.service.submit(film).id)
    shown = await visits.open(studio.link(run.id))
    await ended(shown, studio)
    await press(shown, "Close")
    await expect(shown.locator("iv-run .iv-head")).to_be_hidden()
    assert "run=" not in shown.url
    await shown.get_by_role("tab", name="History").click()
    await shown.locator("iv-history").get_by_role("link", name="journey.mp4").click()
    await ended(shown, studio)
    assert run_id(shown) == run.id
    shown.on("dialog", lambda dialog: dialog.accept())
    await shown.get_by_role("button", name="Delete journey.mp4 and all that was made of it").click()
    await expect(shown.locator("iv-history")).to_contain_text("No runs yet")
    stranger = await visits.open(studio.link(run.id))
    await expect(stranger.locator("iv-run")).to_contain_text(f"There is no run {run.id}", timeout=SOON)


@pytest.mark.parametrize("tab", ["Video", "Image", "Text", "History"])
async def test_nothing_on_a_tab_keeps_people_out(studio: Site, visits: Visits, tab: str) -> None:
    for dark in (False, True):
        shown = await visits.open(studio.url, size="phone" if dark else "desktop", dark=dark)
        await shown.get_by_role("tab", name=tab).click()
        if tab in ("Video", "Image", "Text"):
            await shown.get_by_role("button", name="Advanced").locator("visible=true").click()
        assert await serious(shown) == []


async def test_a_result_keeps_nobody_out_and_fits_a_phone(studio: Site, visits: Visits, film: Path) -> None:
    run = studio.service.wait(studio.service.submit(film).id)
    for dark in (False, True):
        shown = await visits.open(studio.link(run.id), size="phone", dark=dark)
        await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)
        await shown.get_by_text("How it is made").click()
        assert await serious(shown) == []
        assert await shown.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("tab", ["Video", "Image", "Text", "History"])
async def test_a_phone_shows_every_tab_without_scrolling_sideways(studio: Site, visits: Visits, tab: str) -> None:
    shown = await visits.open(studio.url, size="phone")
    await shown.get_by_role("tab", name=tab).click()
    assert await shown.evaluate("document.documentElement.scrollWidth") <= 360


async def test_the_keyboard_is_enough(studio: Site, visits: Visits) -> None:
    shown = await visits.open(studio.url)
    await to(shown, "Text")
    await shown.keyboard.press("Enter")
    await expect(shown.get_by_label("What is to be heard")).to_be_visible()
    await to(shown, "What is to be heard")
    await shown.keyboard.type("a stream in a forest")
    await to(shown, MAKE)
    await shown.keyboard.press("Enter")
    run = await ended(shown, studio)
    assert run.record.prompt_enhancement
    assert "a stream in a forest" in run.record.prompt_enhancement.music_prompt
