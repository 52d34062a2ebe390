"""One browser for all tests of the page, fresh pages for each."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.page.browser import BROWSER, Visits, browser_at, browser_path
from tests.page.studio_page import Site, data, give, make_media, site

expect.set_options(timeout=30_000)  # the five seconds that it is by default are little on a busy machine


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


@pytest.fixture(scope="session")
def studio_media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studio")
    make_media(folder)
    return folder


@pytest.fixture
def studio_site(studio_media: Path) -> Iterator[Site]:
    """Serves media and a page with an empty studio."""
    with site(studio_media) as shown:
        yield shown


@pytest.fixture
async def studio(visits: Visits, studio_site: Site) -> Page:
    """A page with a studio that plays a film."""
    page = await visits.open(studio_site.url)
    await give(page, data())
    return page
