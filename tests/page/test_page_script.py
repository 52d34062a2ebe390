"""What belongs to the whole page (`page.js`), in a real browser without Gradio: who clicks twice, notices, files dropped beside."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Page, expect

from tests.client.logs import a_log, video_input
from tests.page.browser import Visits
from tests.page.run_page import RUN, Script, site, story

GOING = story(a_log(video_input())[:2])
BUSY = '<iv-notice role="alert" data-going>The service is busy. <button data-stop>Stop asking</button></iv-notice>'
REFUSED = '<iv-notice role="alert">Give a file first.</iv-notice>'


@pytest.fixture
def script() -> Iterator[Script]:
    with site() as found:
        found.streams = [GOING]
        yield found


@pytest.fixture
async def page(visits: Visits, script: Script) -> Page:
    """A page that counts how often it is asked to make a sound, and to stop."""
    shown = await visits.open(script.url)
    await shown.evaluate("""() => {
        window.asked = window.stopped = 0;
        document.querySelector("#make").addEventListener("click", () => { asked += 1; });
        document.querySelector("#iv-stop").addEventListener("click", () => { stopped += 1; });
    }""")
    return shown


async def notice(page: Page, html: str, *, place: str = "iv-notice") -> None:
    await page.evaluate("([place, html]) => document.getElementById(place).innerHTML = html", [place, html])


async def asked(page: Page) -> int:
    """How often it was asked when somebody has clicked once more, and then once more."""
    await page.locator("#make").dblclick(force=True)  # whatever its looks say
    found: int = await page.evaluate("asked")
    return found


async def test_a_double_click_asks_once_until_the_run_is_there(page: Page) -> None:
    assert await asked(page) == 1
    await expect(page.locator("#make")).to_have_attribute("aria-disabled", "true")
    await page.locator("#make").focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate("asked") == 1
    await page.evaluate(f"document.querySelector('iv-run').show('{RUN}')")
    await expect(page.locator("#make")).not_to_have_attribute("aria-disabled", "true")
    assert await asked(page) == 2


async def test_a_refusal_is_an_answer_and_the_old_ones_disappearance_is_none(page: Page) -> None:
    await notice(page, REFUSED)
    assert await asked(page) == 1
    for no_answer in ("", "<p>Gradio's own word</p>"):
        await notice(page, no_answer)
        assert await asked(page) == 1
    await notice(page, REFUSED)
    assert await asked(page) == 2


async def test_while_the_service_is_busy_one_may_stop_asking(page: Page) -> None:
    assert await asked(page) == 1
    await notice(page, BUSY)
    assert await asked(page) == 1
    await page.get_by_role("button", name="Stop asking").focus()
    await page.keyboard.press("Enter")
    assert await page.evaluate("stopped") == 1
    await expect(page.locator("#iv-notice")).to_be_empty()
    await expect(page.locator("#make")).to_be_focused()
    assert await asked(page) == 2


async def test_a_busy_services_run_ends_the_asking_and_another_one_does_not(page: Page) -> None:
    assert await asked(page) == 1
    await notice(page, BUSY)
    await page.evaluate(f"document.querySelector('iv-run').show('{RUN}')")  # from the history, say
    await expect(page.locator("#iv-notice")).to_contain_text("busy")
    assert await asked(page) == 1
    await notice(page, "")
    assert await asked(page) == 2


async def test_without_any_answer_one_may_ask_again_after_a_while(visits: Visits, script: Script) -> None:
    page = await visits.open(script.url)
    await page.clock.install()
    await page.evaluate(
        "window.asked = 0; document.querySelector('#make').addEventListener('click', () => { asked += 1; })"
    )
    assert await asked(page) == 1
    await page.clock.fast_forward(25_000)
    assert await asked(page) == 1
    await page.clock.fast_forward(6_000)
    assert await asked(page) == 2


async def test_a_notice_goes_when_a_run_is_opened_or_closed(page: Page) -> None:
    await notice(page, '<iv-notice role="alert">No service answers.</iv-notice>', place="iv-service")
    for act in (f"document.querySelector('iv-run').show('{RUN}')", "document.querySelector('[data-do=close]').click()"):
        await notice(page, REFUSED)
        await page.evaluate(act)
        await expect(page.locator("#iv-notice")).to_be_empty()
    await expect(page.locator("#iv-service")).to_have_text("No service answers.")


@pytest.mark.parametrize(("place", "moves"), [("iv-notice", True), ("iv-service", False)])
async def test_only_what_answers_a_click_comes_into_sight_by_itself(page: Page, place: str, moves: bool) -> None:
    await page.evaluate(
        "place => document.getElementById(place).before(Object.assign(document.createElement('p'), {style: 'height: 3000px'}))",
        place,
    )
    await notice(page, REFUSED, place=place)
    await page.wait_for_timeout(300)
    assert (await page.evaluate("scrollY") > 0) is moves


async def test_a_file_that_is_dropped_beside_does_not_take_the_pages_place(page: Page) -> None:
    drop = """([selector, words]) => {
        const dataTransfer = new DataTransfer();
        if (words) dataTransfer.items.add("words", "text/plain");
        else dataTransfer.items.add(new File(["x"], "x.mp4"));
        const of = (kind) => new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
        return ["dragover", "drop"].map((kind) => !document.querySelector(selector).dispatchEvent(of(kind)));
    }"""  # for each of the two, whether the browser's own way with it is prevented
    for selector in ("body", "h1", "textarea"):
        assert await page.evaluate(drop, [selector, False]) == [True, True]
    assert await page.evaluate(drop, ["textarea", True]) == [False, False]
