"""A plain page with `<iv-run>` and `<iv-history>`, and a server that says of a run what a test has written down."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from client.page.strip import Strip
from models.record import Event, Progress
from tests.page.browser import serving

Told = tuple[str, dict[str, Any]]
"""The kind and the data of one event."""

RUN, OTHER = "a" * 32, "b" * 32

HEAD = (
    '<link rel="stylesheet" href="studio/static/page.css"><link rel="stylesheet" href="studio/static/run.css">'
    '<link rel="stylesheet" href="studio/static/result.css">'
    + "".join(f'<script type="module" src="studio/static/{name}.js"></script>' for name in ("history", "run", "page"))
    # What a screen reader would read out: each change of a live region.
    + """<script>const spoken = [];
    new MutationObserver((changes) => {
      const places = changes.map(({ target }) => (target.closest ?? target.parentElement.closest).call(
        target.closest ? target : target.parentElement, "[role=status], [role=alert]"));
      for (const place of new Set(places)) if (place?.textContent.trim()) spoken.push(place.textContent.trim());
    }).observe(document, { childList: true, characterData: true, subtree: true });</script>"""
)
BODY = """<main><h1>Test</h1>
    <div role="tablist"><button role="tab" aria-selected="true">Video</button></div>
    <label>Words <textarea></textarea></label>
    <button id="make" class="iv-make">Make the sound</button>
    <div id="iv-service"></div><div id="iv-notice"></div><button id="iv-stop" style="display: none">Stop</button>
    <iv-history></iv-history><iv-run></iv-run></main>"""


@dataclass
class Script:
    """What the page's server says, and what it was asked."""

    url: str = ""
    streams: list[int | list[Told]] = field(default_factory=lambda: [[]])
    """What the next streams begin with, or the status that is answered instead; the last holds for all that follow."""
    staying: bool = True
    """Whether a stream stays open when it has said that."""
    later: list[Told] = field(default_factory=list)
    """What open streams say as it is added."""
    record: int = 200
    """The status of a run's record."""
    refusal: str = ""
    """Why a run is neither cancelled nor deleted."""
    asked: list[str] = field(default_factory=list)

    def link(self, run: str = RUN) -> str:
        return f"{self.url}/?run={run}"

    def count(self, what: str) -> int:
        return sum(one.startswith(what) for one in self.asked)


@contextmanager
def site() -> Iterator[Script]:
    script = Script()

    async def events(request: Request) -> Response:
        script.asked.append(f"events {request.path_params['run']}")
        answer = script.streams.pop(0) if len(script.streams) > 1 else script.streams[0]
        if isinstance(answer, int):
            return JSONResponse({"detail": "No."}, answer)
        return StreamingResponse(_said(script, answer), media_type="text/event-stream")

    async def record(request: Request) -> Response:
        script.asked.append("record")
        return JSONResponse({}, script.record)

    async def change(request: Request) -> Response:
        script.asked.append(request.method)
        return JSONResponse({"detail": script.refusal}, 503) if script.refusal else JSONResponse({"status": "running"})

    routes = [
        Route("/studio/runs/{run}/events", events),
        Route("/studio/runs/{run}/record", record),
        Route("/studio/runs/{run}/cancel", change, methods=["POST"]),
        Route("/studio/runs/{run}", change, methods=["DELETE"]),
    ]
    with serving(routes, head=HEAD, body=BODY) as script.url:
        yield script


async def _said(script: Script, first: list[Told]) -> AsyncIterator[str]:
    yield "retry: 100\n\n"
    heard = len(script.later)
    for told in first:
        yield _event(told)
    while script.staying:
        await asyncio.sleep(0.02)
        for told in script.later[heard:]:
            heard += 1
            yield _event(told)


def _event(told: Told) -> str:
    return f"event: {told[0]}\ndata: {json.dumps(told[1])}\n\n"


def story(events: Iterable[Event | Progress], *, already: int = 0) -> list[Told]:
    """What the page's own server would say of this log: first of so many of its events at once, then of each by itself."""
    strip = Strip(RUN)
    told: list[Told] = []
    for number, event in enumerate(events, start=1):
        strip.see(event)
        if number >= already:
            told.append(("strip", dict(strip.changes())))
    return [*told, ("ended", strip.ending())] if strip.ended else told


def problem(sentence: str, *, again: bool) -> Told:
    return "problem", {"sentence": sentence, "advice": "This page goes on trying.", "again": again}


async def spoken(page: Page) -> list[str]:
    """What was read out so far."""
    found: list[str] = await page.evaluate("spoken")
    return found


async def focus(page: Page) -> str:
    """The tag and the words of what has the focus."""
    found: str = await page.evaluate(
        "`${document.activeElement.localName}: ${document.activeElement.ariaLabel ?? document.activeElement.textContent.trim()}`"
    )
    return found


async def remember(page: Page, run: str, name: str, status: str = "finished") -> None:
    """This browser has seen the run."""
    detail = {"id": run, "name": name, "media": "video", "status": status}
    await page.evaluate("(detail) => dispatchEvent(new CustomEvent('iv-remember', { detail }))", detail)
