"""A run as it happens, and the history, in a real browser without Gradio: streams that break, who is signed out, focus, speech."""

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from models.record import Event
from tests.client.logs import a_cancellation, a_failure, a_log, video_input
from tests.page.browser import Visits
from tests.page.run_page import OTHER, RUN, Script, focus, problem, remember, site, spoken, story

LOG: tuple[Event, ...] = a_log(video_input())
WHOLE = story(LOG, already=len(LOG))
GOING = story(LOG[:2])
NOTE = "iv-run .iv-note"


@pytest.fixture
def script() -> Iterator[Script]:
    with site() as found:
        yield found


async def going(visits: Visits, script: Script) -> Page:
    """A page that shows a run which goes on."""
    script.streams = [GOING]
    page = await visits.open(script.link())
    await expect(page.locator("iv-run")).to_contain_text("Working")
    return page


async def until(script: Script, what: str, count: int) -> None:
    """Wait until the server was asked for this so often."""
    async with asyncio.timeout(15):
        while script.count(what) < count:
            await asyncio.sleep(0.02)


async def test_a_service_that_is_away_is_told_once_in_its_own_words(visits: Visits, script: Script) -> None:
    script.streams, script.staying = [[problem("No service answers.", again=True)]], False
    page = await visits.open(script.link())
    await until(script, "events", 8)
    await asyncio.sleep(3.5)  # by then a connection that is lost would be said to be
    await expect(page.locator(NOTE)).to_have_text("No service answers. This page goes on trying.")
    assert await spoken(page) == ["No service answers. This page goes on trying."]
    script.streams, script.staying = [GOING], True
    await expect(page.locator("iv-run")).to_contain_text("Working")
    await expect(page.locator(NOTE)).to_have_count(0)


async def test_a_run_that_is_not_there_is_not_asked_for_again(visits: Visits, script: Script) -> None:
    script.streams, script.staying = [[problem("There is no run.", again=False)]], False
    page = await visits.open(script.link())
    await expect(page.locator(NOTE)).to_contain_text("There is no run.")
    await asyncio.sleep(1)
    assert script.count("events") == 1


async def test_a_stream_that_is_back_at_once_is_worth_no_word(visits: Visits, script: Script) -> None:
    script.streams, script.staying = [GOING], False
    page = await visits.open(script.link())
    await until(script, "events", 10)
    assert await spoken(page) == []
    await expect(page.locator(NOTE)).to_have_count(0)


async def test_a_network_that_is_gone_is_said_to_be_and_the_run_goes_on_when_it_is_back(
    visits: Visits, script: Script
) -> None:
    page = await going(visits, script)
    await page.route("**/events", lambda route: route.abort())
    await page.route("**/record", lambda route: route.abort())
    script.staying = False
    await expect(page.locator(NOTE)).to_contain_text("The connection to this page's server is lost")
    await asyncio.sleep(1)
    assert len([words for words in await spoken(page) if "is lost" in words]) == 1
    script.streams, script.staying = [WHOLE], True
    await page.unroute("**/events")
    await page.unroute("**/record")
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(page.locator("iv-run")).to_contain_text("Finished")
    await expect(page.locator(NOTE)).to_have_count(0)


@pytest.mark.parametrize("seen_before", [True, False])
async def test_who_is_not_signed_in_any_more_is_told_to_sign_in(
    visits: Visits, script: Script, seen_before: bool
) -> None:
    script.streams, script.record, script.staying = [*([GOING] if seen_before else []), 401], 401, False
    page = await visits.open(script.link())
    await expect(page.locator(NOTE)).to_have_text(
        "You are not signed in any more. Reload the page, and sign in.", timeout=15_000
    )
    asked = list(script.asked)
    await page.evaluate("dispatchEvent(new Event('online'))")
    await asyncio.sleep(2.5)
    assert script.asked == asked
    assert asked.count("record") == 1
    assert (await spoken(page))[-1].startswith("You are not signed in any more.")


async def test_a_server_that_answers_oddly_is_asked_again_after_growing_pauses(visits: Visits, script: Script) -> None:
    script.streams = [503]
    page = await visits.open(script.link())
    await until(script, "events", 2)
    loop = asyncio.get_running_loop()
    second = loop.time()
    await until(script, "events", 3)
    assert loop.time() - second > 3
    script.streams = [GOING]
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(page.locator("iv-run")).to_contain_text("Working", timeout=2000)


async def test_that_the_service_does_not_answer_is_taken_back_when_it_does(visits: Visits, script: Script) -> None:
    page = await going(visits, script)
    script.later.append(("waiting", {"sentence": "The service does not answer just now."}))
    await expect(page.locator(NOTE)).to_have_text("The service does not answer just now.")
    script.later.append(("strip", {**GOING[-1][1], "sections": {}, "say": ""}))
    await expect(page.locator(NOTE)).to_have_count(0)


async def test_what_happens_while_one_watches_is_spoken(visits: Visits, script: Script) -> None:
    page = await going(visits, script)
    script.later.extend(story(LOG)[2:])
    await expect(page.locator("iv-run")).to_contain_text("Finished")
    words = " ".join(await spoken(page))
    assert words.endswith("The result is there.")


async def test_what_was_over_before_is_not_spoken(visits: Visits, script: Script) -> None:
    script.streams = [WHOLE]
    page = await visits.open(script.link())
    await expect(page.locator("iv-run")).to_contain_text("Finished")
    await asyncio.sleep(0.2)
    assert await spoken(page) == []


@pytest.mark.parametrize("log", [a_failure(video_input()), a_cancellation(video_input())])
async def test_why_a_run_has_no_result_is_spoken_once(visits: Visits, script: Script, log: tuple[Event, ...]) -> None:
    script.streams = [story(log, already=len(log))]
    page = await visits.open(script.link())
    note = page.locator(NOTE)
    await expect(note).to_be_visible()
    assert await spoken(page) == [await note.inner_text()]


async def test_the_modules_own_names_stand_beside(visits: Visits, script: Script) -> None:
    script.streams = [WHOLE]
    page = await visits.open(script.link())
    section = page.locator("[data-module=audio_generation]")
    await expect(section.locator("code")).to_have_text("audio_generation")
    await expect(page.locator(".iv-strip")).to_contain_text("Sound effects")


async def test_a_run_that_is_opened_has_the_focus_and_a_page_that_is_opened_does_not(
    visits: Visits, script: Script
) -> None:
    page = await going(visits, script)
    assert await focus(page) == await page.evaluate("`body: ${document.body.textContent.trim()}`")
    await remember(page, OTHER, "other.mp4")
    link = page.locator(f"iv-history a[href*='{OTHER}']")
    await link.focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(script.link(OTHER))
    await expect(page.get_by_role("heading", name="sea.mp4")).to_be_focused()
    assert await page.evaluate("document.querySelector('iv-run').run") == OTHER
    script.later.extend(story(LOG)[2:])  # its heading is replaced on the way
    await expect(page.locator("iv-run")).to_contain_text("Finished")
    await expect(page.get_by_role("heading", name="sea.mp4")).to_be_focused()
    await page.get_by_role("button", name="Close").focus()
    await page.keyboard.press("Enter")
    await expect(link).to_be_focused()
    assert "run=" not in page.url
    assert await page.evaluate("document.querySelector('iv-run').run") is None


async def test_nobody_is_taken_away_from_what_they_write(visits: Visits, script: Script) -> None:
    script.streams = [GOING]
    page = await visits.open(script.url)
    await page.get_by_label("Words").focus()
    await page.evaluate(f"document.querySelector('iv-run').show('{RUN}')")
    await expect(page.locator("iv-run")).to_contain_text("Working")
    await expect(page.get_by_label("Words")).to_be_focused()


async def test_who_closes_what_the_link_had_opened_is_at_the_open_tab(visits: Visits, script: Script) -> None:
    page = await going(visits, script)
    await page.get_by_role("button", name="Close").click()
    await expect(page.get_by_role("tab", name="Video")).to_be_focused()


async def test_who_cancels_is_at_the_runs_heading(visits: Visits, script: Script) -> None:
    page = await going(visits, script)
    script.refusal = "The service does not answer."
    cancel = page.get_by_role("button", name="Cancel")
    await cancel.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(NOTE)).to_have_text("The service does not answer.")
    await expect(cancel).to_be_focused()
    script.refusal = ""
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="sea.mp4")).to_be_focused()
    script.later.extend(story(a_cancellation(video_input()))[-2:])
    await expect(cancel).to_be_hidden()
    await expect(page.get_by_role("heading", name="sea.mp4")).to_be_focused()


async def test_a_run_that_ends_under_the_cancel_button_leaves_the_focus_in_the_run(
    visits: Visits, script: Script
) -> None:
    page = await going(visits, script)
    await page.get_by_role("button", name="Cancel").focus()
    script.later.extend(story(LOG)[2:])
    await expect(page.get_by_role("button", name="Cancel")).to_be_hidden()
    await expect(page.get_by_role("heading", name="sea.mp4")).to_be_focused()


async def test_who_looks_at_the_frames_stays_there_when_objects_are_found_in_them(
    visits: Visits, script: Script
) -> None:
    told = story(LOG)
    script.streams = [told[:3]]
    page = await visits.open(script.link(), size="phone")
    frames = page.get_by_role("list", name="Frames")
    await frames.focus()
    await frames.evaluate("list => list.scrollLeft = 100")
    script.later.append(told[3])
    await expect(page.locator(".iv-box").first).to_be_attached()
    await expect(frames).to_be_focused()
    assert await frames.evaluate("list => list.scrollLeft") == 100
    script.later.extend(told[4:])
    await expect(page.locator("iv-run")).to_contain_text("Finished")
    await expect(page.locator("summary", has_text="How it is made")).to_be_focused()


async def test_runs_are_taken_off_the_history_with_the_keyboard(visits: Visits, script: Script) -> None:
    page = await visits.open(script.url)
    for number, name in enumerate(("one", "two", "three")):
        await remember(page, f"{number}" * 32, name)
    link = page.get_by_role("link", name="two")
    await link.focus()
    await remember(page, "1" * 32, "two", "failed")  # it is drawn anew
    await expect(page.locator("iv-history")).to_contain_text("failed")
    await expect(link).to_be_focused()
    for name, beside in (("two", "one"), ("one", "three")):
        await page.get_by_role("button", name=f"Remove {name} from the list").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("link", name=beside)).to_be_focused()
        assert (await spoken(page))[-1] == f"{name} is off the list."
    await page.get_by_role("button", name="Remove three from the list").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("No runs yet.")).to_be_focused()


async def test_a_run_that_is_taken_off_while_it_goes_on_comes_back_when_it_is_opened_again(
    visits: Visits, script: Script
) -> None:
    page = await going(visits, script)
    await page.get_by_role("button", name="Remove sea.mp4 from the list").click()
    script.later.extend(story(LOG)[2:])
    await expect(page.locator("iv-run")).to_contain_text("Finished")
    await expect(page.locator("iv-history")).to_contain_text("No runs yet")
    await page.reload()
    await expect(page.locator("iv-history").get_by_role("link", name="sea.mp4")).to_be_visible()


async def test_what_cannot_be_deleted_is_read_out_and_what_is_deleted_is_not_shown_any_more(
    visits: Visits, script: Script
) -> None:
    page = await going(visits, script)
    page.on("dialog", lambda dialog: dialog.accept())
    script.refusal = "The service does not answer."
    delete = page.get_by_role("button", name="Delete sea.mp4 and all that was made of it")
    await delete.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("iv-history").get_by_role("alert")).to_have_text("The service does not answer.")
    await expect(page.locator("iv-history")).to_contain_text("What this browser has seen")
    await expect(delete).to_be_focused()
    script.refusal = ""
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("No runs yet.")).to_be_focused()
    await expect(page.locator("iv-run .iv-head")).to_be_hidden()
    assert page.url.rstrip("/") == script.url


async def test_another_run_that_is_deleted_closes_nothing(visits: Visits, script: Script) -> None:
    page = await going(visits, script)
    await page.evaluate(f"dispatchEvent(new CustomEvent('iv-forget', {{ detail: {{ id: '{OTHER}' }} }}))")
    await expect(page.locator("iv-run .iv-head")).to_be_visible()
    assert page.url == script.link()
