"""How many files a visitor may have on their way at once: the service takes a limited number from all of them together."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from client.page.answers import Refused

MOST = 20
"""Uploads of one address that have not come to their end."""

DAY_SECONDS = 86_400.0
"""After so long an upload counts no more: the service forgets it, too."""


@dataclass(frozen=True)
class _Upload:
    address: str
    size: int
    began: float


class Unfinished:
    """The uploads that began here and have not come to their end, in memory alone: a page that starts anew counts anew.

    An address is a visitor, as far as the page can tell: those behind one router, and all who come by a public link, share it.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._uploads: dict[str, _Upload] = {}
        self._beginning: Counter[str] = Counter()

    @contextmanager
    def room(self, address: str) -> Iterator[None]:
        """Holds a place while an upload begins. Raises Refused (429) where the address has as many as it may."""
        self._forget_old()
        if self._beginning[address] + sum(one.address == address for one in self._uploads.values()) >= MOST:
            raise Refused(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{MOST} files from your address are on their way, which is as many as may be. "
                "Let one of them arrive, or remove one, and this one goes on.",
            )
        self._beginning[address] += 1
        try:
            yield
        finally:
            self._beginning[address] -= 1
            if not self._beginning[address]:
                del self._beginning[address]

    def began(self, upload: str, *, address: str, size: int) -> None:
        """The upload is there, and nothing of it has arrived."""
        self._uploads[upload] = _Upload(address, size, self._now())
        self.stands(upload, 0)

    def stands(self, upload: str, offset: int) -> None:
        """So many bytes of it have arrived: it may be complete."""
        if upload in self._uploads and offset >= self._uploads[upload].size:
            self.gone(upload)

    def gone(self, upload: str) -> None:
        """It counts no more."""
        self._uploads.pop(upload, None)

    def _forget_old(self) -> None:
        old = [name for name, one in self._uploads.items() if self._now() - one.began > DAY_SECONDS]
        for name in old:
            self.gone(name)
