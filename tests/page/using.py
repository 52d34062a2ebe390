"""What people do with the page, in a few words for tests."""

import re
from pathlib import Path

from playwright.async_api import Page, expect

from models.record import Run
from tests.media_factory import Photograph, make_video, panned, photograph
from tests.page.site import Site

MAKE = "Make the sound"
SOON = 30_000
PHOTOGRAPHS: tuple[Photograph, ...] = ("china", "flower")


def journey(folder: Path) -> Path:
    """A film of six seconds, two scenes, no sound."""
    pictures = [one for name in PHOTOGRAPHS for one in panned(photograph(name), frames=15, size=(320, 180))]
    return make_video(folder / "journey.mp4", pictures=pictures, rate=5)


async def give(shown: Page, file: Path) -> None:
    """Choose a file on the tab that is open, and wait until it has arrived."""
    await shown.locator("iv-intake input[type=file]:visible").first.set_input_files(file)
    await expect(shown.locator("iv-intake:visible").first).to_contain_text("All of it has arrived", timeout=SOON)


async def press(shown: Page, name: str) -> None:
    await shown.get_by_role("button", name=name, exact=True).locator("visible=true").click()


async def ended(shown: Page, studio: Site, *, status: str = "Finished") -> Run:
    """The run that the page shows, once it has come to its end."""
    await expect(shown.locator("iv-run .iv-head")).to_contain_text(status, timeout=SOON)
    return studio.service.run(run_id(shown))


def run_id(shown: Page) -> str:
    found = re.search(r"[?&]run=([0-9a-f]{32})", shown.url)
    assert found, shown.url
    return found[1]


async def to(shown: Page, name: str) -> None:
    """Press Tab until what has the focus has this name."""
    await expect(shown.get_by_role("tab", name="Video")).to_be_visible(timeout=SOON)
    for _ in range(60):
        await shown.keyboard.press("Tab")
        focused = "document.activeElement"
        told = await shown.evaluate(
            f"{focused}.labels?.[0]?.innerText ?? {focused}.ariaLabel ?? {focused}.innerText ?? ''"
        )
        if told.strip() == name:
            return
    raise AssertionError(f"the focus never came to {name!r}")
