"""A result, and what is made of it again: whose it is, what changes, and what does not get lost."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from client.page.examples import FOLDER
from models.record import Options, Run
from tests.page.browser import Visits
from tests.page.site import Site, settings, site
from tests.page.using import MAKE, SOON, ended, give, journey, press


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def studio(folder: Path) -> Iterator[Site]:
    with site(settings(folder)) as found:
        yield found


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journey(tmp_path_factory.mktemp("film"))


@pytest.fixture(scope="module")
def divided(studio: Site, film: Path) -> Run:
    """A run of two scenes."""
    return studio.service.wait(studio.service.submit(film, Options(scenes=2, seed=5)).id)


async def test_one_scenes_sound_is_made_again_and_nothing_else(studio: Site, visits: Visits, film: Path) -> None:
    shown = await visits.open(studio.url)
    await give(shown, film)
    await shown.get_by_role("button", name="Advanced").first.click()
    await shown.get_by_label("Scenes").first.click()
    await shown.get_by_role("option", name="2", exact=True).click()
    await press(shown, MAKE)
    first = await ended(shown, studio)
    assert len(first.record.scenes) == 2

    words = shown.locator("iv-scenes li").nth(1).get_by_label("Sound effects: the whole prompt")
    await words.fill("A storm at night.", timeout=SOON)
    await press(shown, "Sound effects of scene 2 again")
    await expect(shown).not_to_have_url(re.compile(first.id), timeout=SOON)
    second = await ended(shown, studio)
    assert second.rerun_of == first.id
    before, after = first.record.prompt_enhancement, second.record.prompt_enhancement
    assert before
    assert after
    assert after.scenes[1].sound_prompt == "A storm at night."
    assert (after.scenes[0], after.scenes[1].music_prompt) == (before.scenes[0], before.scenes[1].music_prompt)
    made = {stem.kind: stem for stem in second.record.audio_generation.stems} if second.record.audio_generation else {}
    assert (made["music"].origin, made["sounds"].origin) == ("cached", "computed")

    await expect(shown.locator("iv-scenes li").nth(1)).to_contain_text("Scene 2", timeout=SOON)
    await press(shown, "Music of scene 1 again")
    await expect(shown).not_to_have_url(re.compile(second.id), timeout=SOON)
    third = await ended(shown, studio)
    takes = third.record.prompt_enhancement
    assert takes
    assert [scene.music_take for scene in takes.scenes] == [1, 0]
    assert takes.scenes[1].sound_prompt == "A storm at night."


async def test_a_mix_is_kept(studio: Site, visits: Visits, film: Path) -> None:
    run = studio.service.wait(studio.service.submit(film).id)
    shown = await visits.open(studio.link(run.id))
    await shown.locator("iv-studio").get_by_text("Mixer").click(timeout=SOON)
    await shown.get_by_role("slider", name=re.compile("Music")).last.fill("-6")
    await press(shown, "Keep this mix")
    await expect(shown).not_to_have_url(re.compile(run.id), timeout=SOON)
    again = await ended(shown, studio)
    assert again.rerun_of == run.id
    assert again.record.video_input.options.music_volume_db == pytest.approx(-6)
    # The new mixer begins where the mix was kept; what was muted can be heard again.
    await shown.locator("iv-studio").get_by_text("Mixer").click(timeout=SOON)
    volume = shown.get_by_role("slider", name="Music, volume")
    await expect(volume).to_have_attribute("aria-valuetext", "−6 decibels")
    await press(shown, "Mute Music")
    await press(shown, "Keep this mix")
    await expect(shown).not_to_have_url(re.compile(again.id), timeout=SOON)
    third = await ended(shown, studio)
    assert third.record.video_input.options.music_volume_db == -60
    await shown.locator("iv-studio").get_by_text("Mixer").click(timeout=SOON)
    await expect(shown.get_by_role("button", name="Mute Music")).to_have_attribute("aria-pressed", "true")
    await press(shown, "Mute Music")
    assert (await shown.evaluate("document.querySelector('iv-studio').mix"))["music_volume_db"] == 0


async def test_what_was_typed_elsewhere_is_not_lost(studio: Site, visits: Visits, divided: Run) -> None:
    shown = await visits.open(studio.link(divided.id))
    other = shown.locator("iv-scenes li").nth(1).get_by_label("Music: the whole prompt")
    await other.fill("Slow bells.", timeout=SOON)
    await press(shown, "Music of scene 1 again")
    await expect(shown).not_to_have_url(re.compile(divided.id), timeout=SOON)
    second = await ended(shown, studio)
    waiting = shown.locator("iv-scenes li").nth(1).get_by_label("changed, and not made yet")
    await expect(waiting).to_have_value("Slow bells.", timeout=SOON)

    await press(shown, "All music again")
    await expect(shown).not_to_have_url(re.compile(second.id), timeout=SOON)
    prompts = (await ended(shown, studio)).record.prompt_enhancement
    assert prompts
    assert prompts.scenes[1].music_prompt == "Slow bells."
    assert prompts.scenes[0].music_take == 2  # the same words: another take
    await expect(shown.get_by_label("changed, and not made yet")).to_have_count(0)


async def test_a_result_that_comes_late_does_not_stand_under_another_run(
    studio: Site, visits: Visits, divided: Run
) -> None:
    image = studio.service.wait(studio.service.submit(FOLDER / "hills.jpg", Options(seconds=2)).id)

    async def late(route: Route) -> None:
        await asyncio.sleep(2)
        await route.continue_()

    shown = await visits.open(studio.url)
    await shown.route(f"**/studio/runs/{divided.id}/result", late)
    for run in (divided, image):
        await show(shown, run)
        await expect(shown.locator("iv-run .iv-head")).to_contain_text("Finished", timeout=SOON)
    await shown.wait_for_timeout(3000)
    assert await title(shown) == "hills.jpg"
    assert await shown.evaluate("document.querySelector('iv-result').run") == image.id


async def test_a_result_that_cannot_be_had_at_once_is_fetched_later(studio: Site, visits: Visits, divided: Run) -> None:
    answers = iter((503, 503))

    async def away(route: Route) -> None:
        status = next(answers, None)
        if status is None:
            await route.continue_()
        else:
            await route.fulfill(status=status, json={"detail": "No service answers."})

    shown = await visits.open(studio.url)
    await shown.route("**/result", away)
    await show(shown, divided)
    await expect(shown.locator("iv-result")).to_contain_text("No service answers. This page tries again.", timeout=SOON)
    await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)


async def test_who_clicks_twice_asks_once(studio: Site, visits: Visits, film: Path, folder: Path) -> None:
    shown = await visits.open(studio.url)
    await give(shown, film)
    before = len(list((folder / "store/runs").iterdir()))
    await shown.get_by_role("button", name=MAKE).locator("visible=true").dblclick()
    await ended(shown, studio)
    await shown.wait_for_timeout(1000)
    assert len(list((folder / "store/runs").iterdir())) == before + 1


async def show(shown: Page, run: Run) -> None:
    """As a click in the history does."""
    await shown.locator("iv-run section").wait_for(state="attached")
    await shown.evaluate("id => document.querySelector('iv-run').show(id)", run.id)


async def title(shown: Page) -> str:
    told: str = await shown.evaluate("document.querySelector('iv-studio').data?.title")
    return told
