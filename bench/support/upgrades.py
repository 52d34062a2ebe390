"""New versions of a service that works, one after another, and what its users see meanwhile."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from bench.support.replicas import replicas
from client import ImmersivaudioClient, Options, Run
from client.errors import ClientError
from models.record import Event, Progress

T = TypeVar("T")

UPGRADE_SECONDS = 240.0
ASK_SECONDS = 0.5  # between two newcomers
ANSWER_SECONDS = 60.0
FOLLOWERS = 16
PART_BYTES = 256 * 1024


def version(config: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The configuration, as the version of this number: in turn other settings, and another environment of the code.

    Either way Serve replaces every replica of the application.
    """
    changed = deepcopy(dict(config))
    application = changed["applications"][0]
    if number % 2:
        # Frames are made otherwise from now on, so that they, and all that is made of them, have another identity.
        application["args"]["frame_extraction"] = {"jpeg_quality": 80 + number}
    else:
        application["runtime_env"]["env_vars"]["VERSION"] = str(number)
    return changed


def upgrade(deploy: Callable[[], None], temp_dir: Path, *, within: float = UPGRADE_SECONDS) -> float:
    """Deploy, and wait until no replica of before is left and every deployment has one again; the seconds that it took.

    Raises TimeoutError.
    """
    began, before = time.monotonic(), replicas(temp_dir)
    old = {pid for pids in before.values() for pid in pids}
    deploy()
    while time.monotonic() - began < within:
        now = replicas(temp_dir)
        if now.keys() == before.keys() and not old & {pid for pids in now.values() for pid in pids}:
            return time.monotonic() - began
        time.sleep(0.2)
    raise TimeoutError(f"the new version had not replaced the old one after {within:g} s")


@dataclass
class Seen:
    """How newcomers fared."""

    answers: Counter[str] = field(default_factory=Counter)
    """How often each status was the answer, or what broke instead."""
    longest_answer: float = 0.0
    """Seconds until a run was accepted."""
    longest_gap: float = 0.0
    """Seconds between two runs that were accepted."""


@dataclass
class Newcomers:
    """Asks for another run again and again: is the service open? Each one is cancelled and deleted at once."""

    url: str
    picture: bytes
    seen: Seen = field(default_factory=Seen)
    """To be replaced when something else is to be looked at."""
    stop: threading.Event = field(default_factory=threading.Event)

    def go_on(self) -> None:
        """Until `stop` is set."""
        accepted = time.monotonic()
        with httpx.Client(base_url=self.url, timeout=ANSWER_SECONDS, trust_env=False) as http:
            while not self.stop.wait(ASK_SECONDS):
                asked = time.monotonic()
                told, seen = self._ask(http), self.seen
                seen.answers[told] += 1
                if told == "202":
                    now = time.monotonic()
                    seen.longest_answer = max(seen.longest_answer, now - asked)
                    seen.longest_gap = max(seen.longest_gap, now - accepted)
                    accepted = now

    def _ask(self, http: httpx.Client) -> str:
        try:
            answer = http.post(
                "/v1/runs",
                files={"file": ("newcomer.png", self.picture + os.urandom(8))},
                data={"options": '{"seconds": 1}'},
            )
        except httpx.TransportError as error:
            return type(error).__name__
        if answer.status_code == 202:
            for _ in range(2):
                with suppress(httpx.TransportError):
                    http.delete(answer.headers["location"])
        return str(answer.status_code)


class Followers:
    """Follow runs from their start to their end, each as a user would."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ThreadPoolExecutor(FOLLOWERS)
        self._runs: list[Future[tuple[Run, bool]]] = []

    def follow(self, ids: Iterable[str]) -> None:
        """These, too. Returns at once."""
        self._runs += [self._pool.submit(self._follow, run_id) for run_id in ids]

    def told(self) -> tuple[list[Run], int]:
        """The runs when all have ended; and how many followers heard every event once, in order."""
        told = [run.result() for run in self._runs]
        self._pool.shutdown()
        return [run for run, _ in told], sum(heard_all for _, heard_all in told)

    def _follow(self, run_id: str) -> tuple[Run, bool]:
        with ImmersivaudioClient(self._url) as service:
            heard: list[Event] = [event for event in service.events(run_id) if not isinstance(event, Progress)]
            return service.run(run_id), [event.seq for event in heard] == list(range(1, len(heard) + 1))


def slow_upload(url: str, content: bytes, go_on: Callable[[], bool]) -> tuple[str, int]:
    """Send this in parts as long as `go_on`, then the rest at once, and start a run of it; its id, and how many parts broke."""
    broke = 0
    with ImmersivaudioClient(url) as service:
        upload, offset = _again(lambda: service.create_upload(len(content), name="slow.mp4")), 0
        while offset < len(content):
            size = PART_BYTES if go_on() and len(content) - offset > PART_BYTES else len(content)
            try:
                offset = service.append_upload(upload, offset, content[offset : offset + size])
                time.sleep(0.5 if go_on() else 0)
            except ClientError:
                broke += 1
                offset, _ = _again(lambda: service.upload_offset(upload))
        return _again(lambda: service.submit_upload(upload, Options(seed=1))).id, broke


def _again(ask: Callable[[], T]) -> T:
    """As whoever asks again by himself for a minute."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return ask()
        except ClientError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
