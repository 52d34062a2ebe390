"""Photographs the page in each of its states, at desktop and at phone size, into `docs/img/`. `make screenshots` runs it.

The service is the whole one with its drafts, the material the page's own examples. A state that never comes ends the program
with an error.
"""

import asyncio
import io
import logging
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.async_api import Browser, Locator, Page, expect

from models.record import Options, Run
from tests.page.browser import STATIC, Size, Visits, browser_at, browser_path
from tests.page.site import Site, address, nobody, page, settings, site

PICTURES = Path(__file__).parents[2] / "docs/img"
MOST_BYTES = 250_000
EXAMPLES = STATIC / "examples"
WANTED = Options(scenes=2, seed=7)
SOON = 60_000
_THIRDS = [round(level / 3) * 3 for level in range(256)] * 3
_ABOVE = 16
"""Pixels between the top of a picture and what it shows."""


@dataclass(frozen=True)
class Camera:
    """Opens pages of one size, and photographs them."""

    visits: Visits
    size: Size

    async def open(self, url: str, *, dark: bool = False) -> Page:
        shown = await self.visits.open(
            url, size=self.size, dark=dark, still=True, scale=2 if self.size == "phone" else 1
        )
        await expect(shown.get_by_role("heading", name="Immersivaudio")).to_be_visible(timeout=SOON)
        return shown

    async def take(self, state: str, shown: Page, *, top: Locator | None = None, whole: Locator | None = None) -> None:
        """Photograph the window once `top`, else the page's beginning, is at its upper end; or `whole` alone, as high as it is."""
        await (top or whole or shown.locator("body")).first.evaluate(_TO_TOP, _ABOVE if top else 0)
        await self.take_as_it_is(state, shown, whole=whole)

    async def take_as_it_is(self, state: str, shown: Page, *, whole: Locator | None = None) -> None:
        """Photograph the window where it has been scrolled to."""
        await shown.mouse.move(1, 1)
        await shown.evaluate(_ALL_THERE)
        small = _small(await (whole or shown).screenshot(animations="disabled", caret="hide"))
        if len(small) > MOST_BYTES:
            raise ValueError(f"{state} at {self.size} size has {len(small)} bytes: {MOST_BYTES} are allowed")
        (PICTURES / f"page-{state}-{self.size}.png").write_bytes(small)
        print(f"page-{state}-{self.size}.png: {len(small) // 1000} kB", flush=True)


_TO_TOP = "(element, above) => window.scrollTo(0, element.getBoundingClientRect().top + window.scrollY - above)"
# What has the focus by chance shows it. A video that is loading shows that, and for a moment longer.
_ALL_THERE = """async () => {
  const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  const seen = (one) => {
    const { left, top } = one.getBoundingClientRect();
    return document.elementsFromPoint(left + 8, top + 8).includes(one);
  };
  const loads = (video) => video.readyState < 2 || (video.readyState < 4 && video.networkState === video.NETWORK_LOADING);
  document.activeElement?.blur();
  await Promise.all([...document.images].filter(seen).map((one) => one.decode().catch(() => {})));
  const videos = [...document.querySelectorAll("video")].filter(seen);
  while (videos.some((video) => !video.error && loads(video))) await rest(50);
  await rest(videos.length ? 900 : 300);
}"""


def _small(png: bytes) -> bytes:
    """The same with a third of the levels of each colour, which nobody sees and which takes half of the bytes off a picture."""
    told = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").point(_THIRDS).save(told, "PNG", optimize=True)
    return told.getvalue()


async def before(camera: Camera, url: str, folder: Path) -> None:
    """What there is before a run: the forms, and what is said of a file that is none."""
    shown = await camera.open(url)
    await expect(shown.locator("#iv-service")).to_contain_text("Drafts", timeout=SOON)
    await camera.take("start", shown)

    await _give(shown, EXAMPLES / "two-scenes.mp4")
    await camera.take("given", shown, top=shown.get_by_role("tablist"))
    await shown.get_by_role("button", name="Advanced").first.click()
    await expect(shown.get_by_label("Seed").first).to_be_visible()
    await camera.take("advanced", shown, top=shown.locator(".iv-advanced").first)

    await shown.get_by_role("tab", name="Image").click()
    await _give(shown, EXAMPLES / "fire.jpg")
    await camera.take("image", shown, top=shown.get_by_role("tablist"))
    await shown.get_by_role("tab", name="Text").click()
    await shown.get_by_label("What is to be heard").fill("Rain on a tin roof, a slow piano in the next room")
    await camera.take("text", shown, top=shown.get_by_role("tablist"))

    shown = await camera.open(url)
    await _give(shown, folder / "broken.mp4")
    await shown.get_by_role("button", name="Make the sound").locator("visible=true").click()
    told = shown.locator("#iv-notice").get_by_role("alert")
    await expect(told).to_contain_text("broken.mp4", timeout=SOON)
    await expect(told).to_be_in_viewport(ratio=1)
    await camera.take_as_it_is("refused", shown)


async def _give(shown: Page, file: Path) -> None:
    await shown.locator("iv-intake input[type=file]:visible").first.set_input_files(file)
    await expect(shown.locator("iv-intake:visible").first).to_contain_text("arrived", ignore_case=True, timeout=SOON)


async def during(camera: Camera, shown: Page) -> None:
    """A run whose music is being made."""
    await expect(shown.get_by_role("progressbar", name="Music")).to_be_visible(timeout=SOON)
    if camera.size == "desktop":
        await camera.take("running", shown, whole=shown.locator(".iv-run"))
    else:  # it is several windows high
        await camera.take("running", shown, top=shown.locator(".iv-run"))
        await camera.take("sound", shown, top=shown.locator("[data-module=prompt_enhancement]"))


async def after(camera: Camera, shown: Page) -> None:
    """What a run leaves: the result, its mixer, its scenes' words."""
    studio = shown.locator("iv-studio")
    await expect(studio.locator("video")).to_be_visible(timeout=SOON)
    await expect(studio.locator(".ivs-strip path").first).to_be_attached(timeout=SOON)
    await camera.take("result", shown, top=studio)
    await studio.get_by_text("Mixer").click()
    await camera.take("mixer", shown, top=studio.locator(".ivs-scenes"))
    await camera.take("scenes", shown, top=shown.locator("iv-scenes"))


async def history(camera: Camera, shown: Page, links: list[str]) -> None:
    """The page's memory, after several runs."""
    for link in links:
        await shown.goto(link)
        await expect(shown.locator("iv-run .iv-head")).to_contain_text("Finished", timeout=SOON)
    await shown.get_by_role("button", name="Close", exact=True).click()
    await shown.get_by_role("tab", name="History").click()
    await expect(shown.locator("iv-history li")).to_have_count(len(links) + 1)
    await camera.take("history", shown)


async def in_the_dark(camera: Camera, link: str) -> None:
    shown = await camera.open(link, dark=True)
    await expect(shown.locator("iv-studio video")).to_be_visible(timeout=SOON)
    await expect(shown.locator("iv-studio .ivs-strip path").first).to_be_attached(timeout=SOON)
    await camera.take("dark", shown, top=shown.locator("iv-studio"))


async def nobody_there(cameras: list[Camera]) -> None:
    with nobody() as place, page(address(place)) as url:
        for camera in cameras:
            shown = await camera.open(url)
            await expect(shown.locator("#iv-service")).to_contain_text("No service answers", timeout=SOON)
            await camera.take("away", shown)


async def photograph(cameras: list[Camera], studio: Site, folder: Path) -> None:
    """All states. The first run is held while it is photographed; others are made beside it for the history."""
    (folder / "broken.mp4").write_bytes(b"this is no film at all" * 100)
    for camera in cameras:
        await before(camera, studio.url, folder)
    await nobody_there(cameras)

    others = _others(studio)
    studio.going_on.clear()
    try:
        run = studio.service.submit(EXAMPLES / "two-scenes.mp4", WANTED, name="Hills, then the sea.mp4")
        link = studio.link(run.id)
        pages = [await camera.open(link) for camera in cameras]
        for camera, shown in zip(cameras, pages, strict=True):
            await during(camera, shown)
    finally:
        studio.going_on.set()
    for camera, shown in zip(cameras, pages, strict=True):
        await after(camera, shown)
        await history(camera, shown, [studio.link(run.id) for run in others])
        await in_the_dark(camera, link)


def _others(studio: Site) -> list[Run]:
    """An image and words alone, one after the other."""
    service, short = studio.service, Options(seconds=4)
    return [
        service.wait(service.submit(EXAMPLES / "fire.jpg", short, name="Fire.jpg").id),
        service.wait(service.submit_text("Rain on a tin roof", short).id),
    ]


@asynccontextmanager
async def visiting(browser: Browser) -> AsyncIterator[Visits]:
    visits = Visits(browser)
    yield visits
    await visits.close()
    if visits.errors or visits.foreign:
        raise RuntimeError(f"on the way: {visits.errors + visits.foreign}")


async def main() -> None:
    # The service tells of every module, and is cut short in the end.
    logging.disable(logging.ERROR)
    began = time.monotonic()
    path = browser_path()
    if path is None:
        sys.exit("no browser here: install Debian's chromium")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name, site(settings(Path(name))) as studio:
        async with browser_at(path) as browser, visiting(browser) as visits:
            await photograph([Camera(visits, "desktop"), Camera(visits, "phone")], studio, Path(name))
    print(f"after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    asyncio.run(main())
