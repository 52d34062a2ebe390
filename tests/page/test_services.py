"""The page over services of other kinds: one that is not there, a busy one, one that has both drafts and trained models."""

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from client.client import ImmersivaudioClient
from models.audio_step import Generator
from models.record import Options, StemKind
from serve import audio_server
from serve.audio_server import load_generator
from serve.settings import AudioSettings
from tests.page.browser import Visits
from tests.page.site import Site, address, nobody, page, serving, settings, site
from tests.page.using import MAKE, SOON, ended, give, journey, press
from tests.toys.generator import Model


async def test_a_service_that_is_not_there_is_waited_for(visits: Visits, tmp_path: Path) -> None:
    with nobody() as place, page(address(place)) as url:
        shown = await visits.open(url)
        await expect(shown.locator("#iv-service")).to_contain_text("No service answers", timeout=SOON)
        with serving(settings(tmp_path), at=place):
            await expect(shown.locator("#iv-service")).to_contain_text("Drafts", timeout=SOON)


async def test_a_busy_service_is_asked_again(visits: Visits, tmp_path: Path) -> None:
    film = journey(tmp_path)
    with site(settings(tmp_path, runs={"waiting": 1, "at_once": 1})) as busy:
        busy.going_on.clear()
        try:
            first = busy.service.submit(film)
            assert any(event.type == "started" for event in busy.service.events(first.id))
            second = busy.service.submit(film, Options(seed=1))
            shown = await visits.open(busy.url)
            await give(shown, film)
            await press(shown, MAKE)
            await expect(shown.locator("#iv-notice")).to_contain_text("The service is busy", timeout=SOON)
            await press(shown, "Stop asking")
            await expect(shown.locator("#iv-notice")).not_to_contain_text("busy", timeout=SOON)
            await press(shown, MAKE)
            await expect(shown.locator("#iv-notice")).to_contain_text("The service is busy", timeout=SOON)
        finally:
            busy.going_on.set()
        run = await ended(shown, busy)
        assert run.id not in (first.id, second.id)


async def test_after_a_draft_the_full_version_is_one_click_away(
    visits: Visits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(chosen: AudioSettings, kind: StemKind) -> Generator:
        return Model(model="trained") if chosen.kind == "audioldm2" else load_generator(chosen, kind)

    monkeypatch.setattr(audio_server, "load_generator", load)
    trained = {"kind": "audioldm2", "checkpoint": "trained"}
    with site(settings(tmp_path, music=trained, sounds=trained, drafts=True)) as both:
        shown = await visits.open(both.url)
        await give(shown, journey(tmp_path))
        await shown.get_by_label("Draft: a sketch, within seconds").first.check(timeout=SOON)
        await press(shown, MAKE)
        draft = await ended(shown, both)
        assert draft.record.audio_generation
        assert {stem.model for stem in draft.record.audio_generation.stems} == {"sketch/music", "sketch/foley"}
        await press(shown, "Make the full version")
        await expect(shown.locator("iv-run .iv-head")).not_to_contain_text("draft", timeout=SOON)
        full = await ended(shown, both)
        assert full.rerun_of == draft.id
        assert full.record.audio_generation
        assert {stem.model for stem in full.record.audio_generation.stems} == {"trained"}


async def test_people_sign_in_where_that_is_asked(visits: Visits, tmp_path: Path) -> None:
    with site(settings(tmp_path), users="ann:secret") as closed:
        shown = await visits.open(closed.url)
        await shown.get_by_label("username").fill("ann")
        await shown.get_by_label("password").fill("secret")
        await shown.get_by_role("button", name="Login").click()
        await expect(shown.get_by_role("tab", name="Video")).to_be_visible(timeout=SOON)
        await give(shown, journey(tmp_path))
        await press(shown, MAKE)
        await ended(shown, closed)


async def test_an_open_result_outlives_a_restart_of_the_pages_server(visits: Visits, tmp_path: Path) -> None:
    with serving(settings(tmp_path)) as service, ImmersivaudioClient(service) as client:
        run = client.wait(client.submit(journey(tmp_path)).id)
        with page(service) as url:
            shown = await visits.open(f"{url}/?run={run.id}")
            await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)
        with page(service, at=url):
            await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)
            await press(shown, "Music again")
            await expect(shown).not_to_have_url(re.compile(run.id), timeout=SOON)
            again = await ended(shown, Site(url, client))
            assert again.rerun_of == run.id
