"""What axe-core, the accessibility checker, has against a page."""

from importlib.resources import files
from typing import Any

from playwright.async_api import Page

_RUN = "async within => axe.run(within ?? document, {resultTypes: ['violations']})"


async def serious(page: Page, *, within: str | None = None) -> list[str]:
    """A line for each place that breaks a rule whose impact is serious or critical. within: a CSS selector."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
    found: dict[str, Any] = await page.evaluate(_RUN, within)
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:160]} ({' '.join(node['failureSummary'].split())})"
        for rule in found["violations"]
        if rule["impact"] in {"serious", "critical"}
        for node in rule["nodes"]
    ]
