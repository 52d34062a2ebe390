"""Runs that arrive at a service by themselves, whether it keeps up or not, and what became of each: for benches that load it.

One client process with one thread, and a connection for every run. Its CPU time is the bench's to measure, so that it cannot be the
bottleneck unseen.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.media_factory import make_video

RATE = 12  # frames per second
NDJSON = {"accept": "application/x-ndjson"}
RESULT_SECONDS = 600.0  # a run that tells nothing for so long is lost


@dataclass
class Served:
    """What a client saw of one run; seconds since it began to send."""

    sent: float
    """On the monotonic clock, seconds."""
    run_id: str = ""
    refused: bool = False
    first: float | None = None
    """To the first event."""
    begun: float | None = None
    """To the event that says that somebody works on it."""
    result: float | None = None
    """To the event that says that it is finished."""
    ended: str = ""
    """Its last event."""


@dataclass
class Films:
    """Films that differ in one number at their end, so that nothing made for one is found for another."""

    film: bytes
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    def make(cls, folder: Path, *, seconds: float) -> "Films":
        """So long, 160×90, 12 frames per second, silent."""
        path = make_video(folder / "film.mp4", frames=round(RATE * seconds), rate=RATE, size=(160, 90))
        return cls(path.read_bytes())

    def next(self) -> tuple[bytes, int]:
        """A film that was not there before, and its number."""
        number = next(self.numbers)
        return self.film + b"\0\0\0\x0cfree" + number.to_bytes(4, "big"), number  # a box that players pass over


async def send(http: httpx.AsyncClient, films: Films) -> Served:
    """One run, followed to its end, or to where its connection broke."""
    film, number = films.next()
    served = Served(time.monotonic())
    form = {"options": json.dumps({"seed": number, "sounds": False})}
    files = {"file": ("film.mp4", film)}
    with suppress(httpx.TransportError):
        async with http.stream(
            "POST", "/v1/runs", params={"follow": True}, files=files, data=form, headers=NDJSON
        ) as answer:
            if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                served.refused = True
                return served
            answer.raise_for_status()
            served.run_id = answer.headers["location"].rpartition("/")[2]
            async for line in answer.aiter_lines():
                _see(served, json.loads(line)["type"])
    return served


def _see(served: Served, event: str) -> None:
    now = time.monotonic() - served.sent
    served.first = served.first or now
    if event == "started":
        served.begun = served.begun or now
    elif event in ("finished", "failed", "cancelled"):
        served.ended = event
        served.result = now if event == "finished" else None


async def closed(http: httpx.AsyncClient, films: Films, *, clients: int, seconds: float) -> list[Served]:
    """So many clients, each of which sends its next run when the one before has ended, for so long."""
    until = time.monotonic() + seconds

    async def one_after_another() -> list[Served]:
        served = []
        while time.monotonic() < until:
            served.append(await send(http, films))
        return served

    return list(itertools.chain(*await asyncio.gather(*(one_after_another() for _ in range(clients)))))


async def poisson(http: httpx.AsyncClient, films: Films, *, per_second: float, seconds: float) -> list[Served]:
    """Runs for so long, at times of their own, however the service fares. All are followed to their end."""
    gaps = random.Random(f"{per_second} {seconds}")  # the same times at every call
    began, at = time.monotonic(), 0.0
    sending = []
    while (at := at + gaps.expovariate(per_second)) < seconds:
        await asyncio.sleep(max(0.0, began + at - time.monotonic()))
        sending.append(asyncio.create_task(send(http, films)))
    await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
    return list(await asyncio.gather(*sending))


def client(url: str) -> httpx.AsyncClient:
    """A client with as many connections as there are runs."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    return httpx.AsyncClient(base_url=url, timeout=httpx.Timeout(60, read=RESULT_SECONDS), limits=limits)
