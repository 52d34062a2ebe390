"""That the browser tests would notice what they are there to notice."""

from tests.page.axe import serious
from tests.page.browser import Visits, serving


async def test_a_script_that_breaks_is_noticed(visits: Visits) -> None:
    with serving(
        body="<script>setTimeout(() => { throw new Error('broken') }); Promise.reject('refused')</script>"
    ) as url:
        page = await visits.open(url)
        await page.wait_for_timeout(200)
    assert any("broken" in error for error in visits.errors)
    assert any("refused" in error for error in visits.errors)
    visits.errors.clear()


async def test_a_request_to_another_host_is_noticed_and_not_made(visits: Visits) -> None:
    with serving(body='<img src="http://example.com/dot.png" alt="" id="dot">') as url:
        page = await visits.open(url)
        assert await page.evaluate("document.getElementById('dot').naturalWidth") == 0
    assert visits.foreign == ["http://example.com/dot.png"]
    visits.foreign.clear()


async def test_a_button_without_a_name_is_noticed(visits: Visits) -> None:
    with serving(body="<main><button></button><p>Words</p></main>") as url:
        page = await visits.open(url, size="phone")
        assert await page.evaluate("innerWidth") == 360
        assert any(line.startswith("button-name") for line in await serious(page))
