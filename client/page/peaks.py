"""The outline of a run's sound, for the waveform of the page: its peaks, of which there are never many."""

import asyncio
import hashlib
import json
import tempfile
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from client.answers import Answer
from client.async_client import AsyncImmersivaudioClient
from client.page.answers import Allowed, Refused, guarded

MOST_PEAKS = 1200
ARTIFACTS = frozenset({"mix", "audio", "music", "sounds", "original"})

_KEPT = 64  # outlines, of some 7 kB each
_AT_ONCE = 2  # half an hour of sound is half a gigabyte, on disk, while it is read
_STEP = 128  # frames that are looked at as one
_BLOCK = _STEP * 512
_PART_BYTES = 2**20
_HEADERS = {"Cache-Control": "private, max-age=3600"}


class Unreadable(Exception):
    """The file's format is not one that can be read here; the message is for people."""


@dataclass(frozen=True)
class Outline:
    """A sound's length and peaks, each the highest of its part of the sound, in either channel: 0 to 1."""

    seconds: float
    peaks: tuple[float, ...]


async def peaks(client: AsyncImmersivaudioClient, run_id: str, artifact: str) -> Outline:
    """The outline of an artifact, at most `MOST_PEAKS` peaks of equal length.

    The file is fetched into a temporary one, written and read in threads, in little memory however long it is. Nothing is tried
    twice.
    Raises Unreadable for what libsndfile cannot read (m4a), RequestRefused, ServiceFailed, ServiceUnreachable.
    """
    with tempfile.TemporaryFile() as file:
        async with client.open_artifact(run_id, artifact) as answer:
            async for part in _parts(answer):
                await asyncio.to_thread(file.write, part)
        file.seek(0)
        return await asyncio.to_thread(_outline, file)


async def _parts(answer: Answer) -> AsyncIterator[bytes]:
    """The answer's body in parts that are worth a thread's while."""
    part = bytearray()
    async for piece in answer.pieces():
        part += piece
        if len(part) >= _PART_BYTES:
            yield bytes(part)
            part.clear()
    yield bytes(part)


def _outline(file: IO[bytes]) -> Outline:
    import numpy as np
    import soundfile

    highest, frames = [], 0
    try:
        with soundfile.SoundFile(file) as sound:
            for block in sound.blocks(_BLOCK, dtype="float32", always_2d=True):
                frames += len(block)
                loudest = np.abs(block).max(axis=1)
                highest.append(np.maximum.reduceat(loudest, np.arange(0, len(loudest), _STEP)))
            rate = sound.samplerate
    except soundfile.LibsndfileError as error:
        raise Unreadable("There is no waveform for sound in this format.") from error
    steps = np.concatenate(highest) if highest else np.zeros(1, np.float32)
    starts = np.linspace(0, len(steps), min(MOST_PEAKS, len(steps)), endpoint=False).astype(int)
    shown = np.nan_to_num(np.maximum.reduceat(steps, starts)).clip(0, 1)
    return Outline(round(frames / rate, 3), tuple(round(float(peak), 3) for peak in shown))


def peaks_route(client: Callable[[], AsyncImmersivaudioClient], allowed: Allowed) -> Route:
    """GET `/studio/runs/<id>/peaks/<artifact>`: `{"seconds": 12.0, "peaks": [0.1, …]}`, of `ARTIFACTS`.

    Whoever is not `allowed` gets 401. Where there is no outline, the answer says why: 404 for what is not there or cannot be read,
    503 where no service answers.
    """
    outlines = _Outlines(client)

    async def answer(request: Request) -> Response:
        run_id, artifact = request.path_params["run_id"], request.path_params["artifact"]
        if artifact not in ARTIFACTS:
            raise Refused(HTTPStatus.NOT_FOUND, "There is a waveform of sound alone.")
        try:
            body = await outlines.json(run_id, artifact)
        except Unreadable as error:
            raise Refused(HTTPStatus.NOT_FOUND, str(error)) from error
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {**_HEADERS, "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(body, media_type="application/json", headers=headers)

    return Route("/studio/runs/{run_id}/peaks/{artifact}", guarded(answer, allowed), methods=["GET"])


class _Outlines:
    """Outlines as JSON, the latest of them kept. Whoever asks for one that is being made waits for that."""

    def __init__(self, client: Callable[[], AsyncImmersivaudioClient]) -> None:
        self._client = client
        self._kept: OrderedDict[tuple[str, str], asyncio.Task[bytes]] = OrderedDict()
        self._running: set[asyncio.Task[bytes]] = set()  # the loop itself would let go of one that nobody waits for
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def json(self, run_id: str, artifact: str) -> bytes:
        key = (run_id, artifact)
        task = self._kept.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._kept[key] = asyncio.create_task(self._made(run_id, artifact))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        # Whoever goes away doesn't take it from the others.
        return await asyncio.shield(task)

    async def _made(self, run_id: str, artifact: str) -> bytes:
        async with self._turn:
            outline = await peaks(self._client(), run_id, artifact)
        return json.dumps({"seconds": outline.seconds, "peaks": outline.peaks}, separators=(",", ":")).encode()
