"""`<iv-studio>` in a real browser: how it is used, how it looks, and what it says when something does not load."""

import json

import pytest
from playwright.async_api import Page, expect

from tests.media_factory import make_video
from tests.page.axe import serious
from tests.page.browser import Size, Visits
from tests.page.studio_page import HERTZ, Site, data, give, heard, press, state, tone


async def test_a_keyboard_is_enough(studio: Page) -> None:
    place = studio.get_by_label("Place in the result")
    await studio.keyboard.press("Tab")
    await expect(place).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        await studio.keyboard.press(key)
    await expect(place).to_have_attribute("aria-valuetext", "1 second of 12 seconds, scene 1 of 2")
    await studio.keyboard.press("PageUp")
    await expect(place).to_have_attribute("aria-valuetext", "6 seconds of 12 seconds, scene 2 of 2")
    assert (await state(studio))["time"] == pytest.approx(6, abs=0.1)
    await studio.keyboard.press(" ")
    await heard(studio, {"result"})
    await studio.keyboard.press("Tab")
    await expect(studio.get_by_role("button", name="Pause", exact=True)).to_be_focused()
    await studio.keyboard.press("Enter")
    assert not (await state(studio))["playing"]
    names = []
    for _ in range(7):
        await studio.keyboard.press("Tab")
        names.append(await studio.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent"))
    assert names[:6] == ["With sound", "Original", "Mute", "Volume", "Descriptions of the scenes", "Full screen"]
    assert names[6].startswith("Scene 1")


async def test_a_click_on_the_waveform_goes_there(studio: Page) -> None:
    box = await studio.get_by_label("Place in the result").bounding_box()
    assert box
    await studio.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + box["height"] / 2)
    await studio.wait_for_timeout(300)
    assert (await state(studio))["time"] == pytest.approx(9, abs=0.1)


async def test_descriptions_are_shown_and_told_when_asked_for(studio: Page) -> None:
    described = studio.locator(".ivs-described")
    await expect(described).to_be_hidden()
    await press(studio, "Descriptions of the scenes")
    await expect(described).to_have_text("A street with people.")
    await expect(described).to_have_attribute("aria-live", "polite")
    await studio.get_by_label("Place in the result").press("PageUp")
    await expect(described).to_have_text("A red flower.")


async def test_what_the_browser_cannot_play_is_said_and_its_sound_is_heard_alone(
    visits: Visits, studio_site: Site
) -> None:
    page = await visits.open(studio_site.url)
    await give(page, data(result={"url": "media/broken.mkv", "type": "video/x-matroska", "name": "holiday.mkv"}))
    await expect(
        page.get_by_text("This browser cannot play this kind of file. Its sound plays here alone.")
    ).to_be_visible()
    link = page.get_by_role("link", name="Download holiday.mkv")
    await expect(link).to_have_attribute("href", "media/broken.mkv")
    await press(page, "Play")
    await heard(page, {"result"})
    assert not (await state(page))["picture"]


async def test_a_picture_that_the_browser_cannot_show_is_said_and_its_sound_is_heard(
    visits: Visits, studio_site: Site
) -> None:
    film = studio_site.folder / "camera.mov"
    make_video(film, frames=100, own=tone(HERTZ["result"], seconds=4), codec="prores_ks")
    page = await visits.open(studio_site.url)
    await give(
        page, data(result={"url": "media/camera.mov", "type": "video/quicktime", "name": "camera.mov"}, seconds=4)
    )
    await expect(page.get_by_text("cannot show the picture of this file, but plays its sound")).to_be_visible()
    await expect(page.get_by_role("link", name="Download camera.mov")).to_be_visible()
    await press(page, "Play")
    await heard(page, {"result"})


async def test_a_result_that_does_not_load_can_be_tried_again(visits: Visits, studio_site: Site) -> None:
    page = await visits.open(studio_site.url)
    studio_site.missing.add("result.mp4")
    await give(page, data())
    await expect(page.get_by_text("The result did not load (404).")).to_be_visible()
    studio_site.missing.clear()
    await press(page, "Try again")
    await expect(page.get_by_text("did not load")).to_be_hidden()
    await press(page, "Play")
    await heard(page, {"result"})


async def test_an_original_that_does_not_load_is_said_and_can_be_tried_again(visits: Visits, studio_site: Site) -> None:
    page = await visits.open(studio_site.url)
    studio_site.missing.add("original.flac")
    await give(page, data())
    await expect(page.get_by_text("The original's sound did not load")).to_be_visible()
    await expect(page.get_by_role("button", name="Original", exact=True)).to_be_disabled()
    studio_site.missing.clear()
    await press(page, "Try again")
    await press(page, "Play")
    await press(page, "Original")
    await heard(page, {"original"})


async def test_without_a_waveform_the_scenes_are_there_and_one_can_still_go_anywhere(
    visits: Visits, studio_site: Site
) -> None:
    page = await visits.open(studio_site.url)
    studio_site.missing.add("peaks")
    await give(page, data())
    await expect(page.get_by_text("There is no waveform for sound in this format.")).to_be_visible()
    await expect(page.locator(".ivs-border")).to_have_count(2)
    await page.get_by_label("Place in the result").press("End")
    await page.wait_for_timeout(300)
    assert (await state(page))["time"] > 11.8


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_nothing_is_cut_off_or_hard_to_use(visits: Visits, studio_site: Site, size: Size, dark: bool) -> None:
    page = await visits.open(studio_site.url, size=size, dark=dark)
    await give(page, data(volumes={"music": 0, "sounds": 0, "original_rate": 0.5, "ducked": True}))
    await press(page, "Mixer")
    await press(page, "Solo Music")
    await press(page, "Descriptions of the scenes")
    await expect(page.locator(".ivs-described")).not_to_be_empty()
    assert await serious(page) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = await page.evaluate(
        """[...document.querySelectorAll("iv-studio :is(button, a, input)")].map(each => [each.outerHTML.slice(0, 80),
        each.getBoundingClientRect()]).filter(([, box]) => box.width && (box.width < 44 || box.height < 44))"""
    )
    assert small == []


async def test_nothing_jumps_while_it_loads(visits: Visits, studio_site: Site) -> None:
    page = await visits.open(studio_site.url)
    await page.evaluate(
        """() => { window.jumped = 0; new PerformanceObserver(list => {
        for (const entry of list.getEntries()) window.jumped += entry.value }).observe({type: "layout-shift"}) }"""
    )
    await give(page, data())
    await press(page, "Play")
    await page.wait_for_timeout(1000)
    assert await page.evaluate("window.jumped") < 0.01


async def test_sound_alone_has_no_picture_but_all_the_rest(visits: Visits, studio_site: Site) -> None:
    page = await visits.open(studio_site.url)
    sound = {"url": "media/mix.flac", "type": "audio/flac", "name": "holiday.flac"}
    await give(page, data(kind="audio", result=sound, audio=None))
    await expect(page.locator("iv-studio video")).to_be_hidden()
    await expect(page.get_by_role("button", name="Full screen")).to_have_count(0)
    await press(page, "Play")
    await heard(page, {"result"})
    await press(page, "Original")
    await heard(page, {"original"})


async def test_it_plays_to_its_end_and_from_the_beginning_again(studio: Page) -> None:
    await studio.get_by_label("Place in the result").press("End")
    await press(studio, "Play")
    await expect(studio.get_by_role("button", name="Play", exact=True)).to_be_visible()
    await studio.wait_for_timeout(500)
    assert not (await state(studio))["playing"]
    await press(studio, "Play")
    await heard(studio, {"result"})
    assert (await state(studio))["time"] < 4


async def test_names_and_words_are_never_taken_for_html(visits: Visits, studio_site: Site) -> None:
    page = await visits.open(studio_site.url)
    evil = "<img src=x onerror='throw new Error(1)'>"
    scenes = [{"start": 0, "end": 6, "text": evil}, {"start": 6, "end": 12, "text": ""}]
    await give(page, data(title=evil, scenes=scenes))
    await expect(page.locator("iv-studio img")).to_have_count(0)
    await expect(page.get_by_role("heading", name=evil)).to_be_visible()


async def test_other_data_replace_it_and_nothing_plays_on_behind(studio: Page) -> None:
    await press(studio, "Play")
    await heard(studio, {"result"})
    await studio.evaluate("window.before = document.querySelector('iv-studio video')")
    await give(studio, data(title="other.mp4"))
    await expect(studio.get_by_role("heading", name="other.mp4")).to_be_visible()
    assert await studio.evaluate("window.before.paused")
    assert not (await state(studio))["playing"]
    await studio.evaluate("document.querySelector('iv-studio').data = null")
    await expect(studio.locator("iv-studio .ivs")).to_have_count(0)
    await studio.evaluate(
        "text => document.querySelector('iv-studio').setAttribute('data', text)", json.dumps(data(title="third.mp4"))
    )
    await expect(studio.get_by_role("heading", name="third.mp4")).to_be_visible()
