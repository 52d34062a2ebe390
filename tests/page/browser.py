"""A real browser for the page's tests, and servers for it to visit.

Everything listens on 127.0.0.1, and the browser finds no other host.
"""

import asyncio
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import uvicorn
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

Size = Literal["desktop", "phone"]

STATIC = Path(__file__).parents[2] / "client/page/static"
BROWSER = "IMMERSIVAUDIO_BROWSER"
"""The environment variable that names another browser, by its path."""

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_SIZES = {"desktop": (1280, 800), "phone": (360, 740)}


def browser_path() -> str | None:
    """Where a browser of Chromium's family is on this machine; None where there is none."""
    named = os.environ.get(BROWSER)
    return named or next((path for name in _NAMES if (path := shutil.which(name))), None)


@asynccontextmanager
async def browser_at(path: str) -> AsyncIterator[Browser]:
    """The browser, started, without a window."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visits:
    """Pages of one test, each in a context of its own, and what went wrong in them.

    errors: JavaScript errors that nobody caught. A test that expects some looks at them and clears the list.
    foreign: addresses of other hosts that a page asked for.
    """

    browser: Browser
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    _contexts: list[BrowserContext] = field(default_factory=list)

    async def open(
        self,
        url: str = "about:blank",
        *,
        size: Size = "desktop",
        dark: bool = False,
        still: bool = False,
        scale: int = 1,
    ) -> Page:
        """A page at this address, in a fresh context. still: the user asks for reduced motion; scale: the screen's pixels in one
        of the page's."""
        width, height = _SIZES[size]
        phone = size == "phone"
        context = await self.browser.new_context(
            viewport={"width": width, "height": height},
            has_touch=phone,
            is_mobile=phone,
            device_scale_factor=scale,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if still else "no-preference",
        )
        self._contexts.append(context)
        context.set_default_timeout(15_000)
        context.on("weberror", lambda told: self.errors.append(str(told.error)))
        context.on("request", lambda request: self._asked(request.url))
        page = await context.new_page()
        await page.goto(url)
        return page

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"about", "blob", "data"} and parts.hostname != "127.0.0.1":
            self.foreign.append(url)

    async def close(self) -> None:
        """Close all pages."""
        for context in self._contexts:
            await context.close()


@contextmanager
def serving(routes: Sequence[BaseRoute] = (), *, body: str = "", head: str = "") -> Iterator[str]:
    """Address, without a slash at its end, of a server with these routes, the page's static files, and at `/` a bare page.

    head, body: HTML of that page.
    """
    page = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Test</title>{_VIEWPORT}{head}</head>'

    async def bare(request: Request) -> Response:
        return HTMLResponse(f"{page}<body>{body}</body></html>")

    own = [Route("/", bare), Mount("/studio/static", StaticFiles(directory=STATIC, check_dir=False))]
    with listening(Starlette(routes=[*routes, *own])) as url:
        yield url


_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'


@contextmanager
def listening(app: Starlette) -> Iterator[str]:
    """Address of this application, which runs in a thread of its own."""
    config = uvicorn.Config(app, port=0, log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[socket])), daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)
        socket.close()
