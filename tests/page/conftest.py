"""One browser for all tests of the page, fresh pages for each."""

import os
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.page.browser import BROWSER, Visits, browser_at, browser_path


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    path = browser_path()
    if path is None:
        words = f"no browser here: install Debian's chromium, or name one in {BROWSER}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
    async with browser_at(path) as started:
        yield started


@pytest.fixture
async def visits(browser: Browser) -> AsyncIterator[Visits]:
    """Opens pages: `page = await visits.open(url, size="phone")`."""
    opened = Visits(browser)
    yield opened
    await opened.close()
    assert opened.errors == [], "JavaScript errors on the page"
    assert opened.foreign == [], "requests to other hosts"
