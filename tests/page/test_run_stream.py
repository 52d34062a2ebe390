"""What the page's server tells of a run, event by event, over a service that is scripted."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from client.async_client import AsyncImmersivaudioClient
from client.errors import ServiceUnreachable
from client.page import routes
from client.page.routes import RUN as PATH
from models.record import Event, Run, fold
from tests.client.logs import a_cancellation, a_failure, a_log, video_input

RUN = "a" * 32
PAUSE = 0.03
"""Seconds between two events: the service reads each of them from its store."""


class Service:
    """Knows `known` of a run's events when it is asked, and tells one after the other."""

    def __init__(self, log: Sequence[Event], known: int) -> None:
        self._log, self._known = log, known
        self.away = False
        self.silence = 0.0

    async def run(self, run_id: str) -> Run:
        if self.away:
            raise ServiceUnreachable("no service answers")
        return fold(run_id, self._log[: self._known])

    async def events(self, run_id: str) -> AsyncGenerator[Event]:
        for number, event in enumerate(self._log, start=1):
            await asyncio.sleep(PAUSE)
            yield event
            if number == self._known:
                self.away = bool(self.silence)
                await asyncio.sleep(self.silence / 2)
                self.away = False
                await asyncio.sleep(self.silence / 2)


async def told(service: Service) -> list[tuple[str, dict[str, Any]]]:
    """Kinds and data of what a browser hears."""
    client = cast("AsyncImmersivaudioClient", service)
    app = Starlette(routes=routes.routes(lambda: client, lambda: client, lambda request: True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page") as http:
        text = (await http.get(PATH.format(run_id=RUN) + "/events")).text
    blocks = [
        dict(line.split(": ", 1) for line in one.splitlines() if line[0] != ":") for one in text.split("\n\n") if one
    ]
    return [(one["event"], json.loads(one["data"])) for one in blocks if "event" in one]


@pytest.mark.parametrize("log", [a_log(video_input()), a_failure(video_input()), a_cancellation(video_input())])
async def test_a_run_that_had_ended_is_one_strip_and_its_end(log: tuple[Event, ...]) -> None:
    (kind, strip), (last, _) = await told(Service(log, len(log)))
    assert (kind, last) == ("strip", "ended")
    assert {"head", "frame_extraction", "reconstruction"} <= strip["sections"].keys()
    assert strip["say"] == ""


async def test_what_had_happened_comes_at_once_and_what_happens_then_by_itself() -> None:
    log = a_log(video_input())
    strips = [data for kind, data in await told(Service(log, 4)) if kind == "strip"]
    assert len(strips) == 1 + len(log) - 4
    assert strips[0]["say"] == ""
    assert "Best frame: done." in [strip["say"] for strip in strips]


async def test_that_the_service_is_away_is_said_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "QUIET_SECONDS", 0.2)
    service = Service(a_log(video_input()), 4)
    service.silence = 1.2
    kinds = [kind for kind, _ in await told(service)]
    assert kinds[:2] == ["strip", "waiting"]
    assert kinds[kinds.index("waiting") :].count("strip") > len(a_log(video_input())) - 4
