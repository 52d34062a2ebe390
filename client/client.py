"""The Python client, blocking and asynchronous. What is said over the wire stands in `protocol.py`; here is who says it.

with ImmersivaudioClient("http://127.0.0.1:8000") as service:
    run = service.enhance("sea.mp4", Options(music_prompt="slow strings"), output="sea.enhanced.mp4")
    print(run.record.frame_description.text)
    again = service.rerun(run.id, {"seed": 7}, Edits(frame_description=FrameDescriptionEdit(text="A storm.")))
    service.wait(again.id)
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import httpx

from client.artifacts import result_name
from client.files import Source, Target, opened, opened_if_given, whole
from client.protocol import OnBusy, Protocol, finished, next_state
from client.uploads import RESUMABLE_ABOVE, OnUpload
from client.wire import iterate_flow, iterate_flow_async, run_flow, run_flow_async
from models.record import Edits, Event, ModuleInfo, Options, Progress, Run

DEFAULT_SERVER = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT = httpx.Timeout(60, connect=5)
"""Seconds that the service may take to accept a connection, and to say the next thing."""

# A proxy of the environment stands between this machine and others, never between it and itself.
_LOOPBACK = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}


class ImmersivaudioClient:
    """Talks to one service. Use it as a context manager, or close it.

    `api_key` goes to this service and to no other host, whatever a redirect says. Files above `resumable_above` bytes go up in
    parts. Raises ValueError for an address or a key that cannot be one. Every call raises ServiceUnreachable when nobody
    answers, RequestRefused when the service refuses (unknown run, unreadable file), ServiceFailed when it breaks.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
        resumable_above: int = RESUMABLE_ABOVE,
    ) -> None:
        self._http = httpx.Client(
            **_common(base_url, api_key), timeout=timeout, transport=transport, mounts=None if transport else _LOOPBACK
        )
        self._say = Protocol(self._http.build_request, resumable_above=resumable_above)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connections."""
        self._http.close()

    def submit(
        self,
        source: Source,
        options: Options | None = None,
        *,
        name: str | None = None,
        reference: Source | None = None,
        on_upload: OnUpload | None = None,
        on_busy: OnBusy | None = None,
    ) -> Run:
        """Upload a video or an image, streamed from where it stands, and start a run. `name` replaces the file's own.

        `reference` is a sound to sound like, or a video with one; of at most 16 MiB the first 30 s are listened to. A larger one
        is RequestRefused before anything is sent.
        A file above `resumable_above` bytes goes up in parts; a broken connection is taken up again, and `on_upload` is told
        the bytes that have arrived and the bytes there are. While the service is busy, it is asked again after as many
        seconds as `on_busy` is told; ServiceBusy after ten minutes. A pipe is copied into a temporary file first.
        """
        with opened(source) as (file, own_name), opened_if_given(reference) as sound:
            flow = self._say.submit(
                file, name=name or own_name, options=options or Options(), reference=sound, on_upload=on_upload, on_busy=on_busy
            )  # fmt: skip
            return run_flow(self._http, flow)

    def run(self, run_id: str) -> Run:
        """The run as it is now."""
        return run_flow(self._http, self._say.run(run_id))

    def events(self, run_id: str, *, after: int = 0) -> Iterator[Event | Progress]:
        """The run's log behind event number `after`, as it is written, and progress in between; ends with the run.

        A broken stream is taken up again where it broke, after growing pauses; ServiceUnreachable when that doesn't help.
        """
        return iterate_flow(self._http, self._say.events(run_id, after=after))

    def follow(self, run_id: str) -> Iterator[Run]:
        """The run after each of its events, from the first to the last."""
        run: Run | None = None
        for event in self.events(run_id):
            if not isinstance(event, Progress):
                run = next_state(run, run_id, event)
                yield run

    def wait(self, run_id: str) -> Run:
        """The finished run. Raises RunFailed when it failed, RunCancelled when somebody stopped it; both have it."""
        *_, last = self.follow(run_id)
        return finished(last)

    def enhance(
        self, source: Source, options: Options | None = None, *, output: Target, reference: Source | None = None
    ) -> Run:
        """Upload, wait, and write the result to `output`. Raises RunFailed, RunCancelled."""
        run = self.wait(self.submit(source, options, reference=reference).id)
        self.download(run.id, result_name(run), output)
        return run

    def rerun(
        self,
        run_id: str,
        options: Mapping[str, object] | None = None,
        edits: Edits | None = None,
        *,
        on_busy: OnBusy | None = None,
    ) -> Run:
        """A new run from this one, with these options changed (the others stay) and these outputs replaced.

        What still holds is kept, the rest is computed. A `seed` of None draws a new one. Waits as `submit` does while the
        service is busy. Raises ValueError for options that JSON has no words for.
        """
        flow = self._say.rerun(run_id, options=options or {}, edits=edits or Edits(), on_busy=on_busy)
        return run_flow(self._http, flow)

    def cancel(self, run_id: str) -> Run:
        """Stop the run; the run as it is then. One that has ended stays as it is."""
        return run_flow(self._http, self._say.cancel(run_id))

    def delete(self, run_id: str) -> None:
        """Delete an ended run and what it made.

        A run that has not ended is cancelled instead, and RunCancelled raised: deleting it again will delete it.
        """
        run_flow(self._http, self._say.delete(run_id))

    def download(self, run_id: str, name: str, to: Target) -> None:
        """Write an artifact to a file or a stream: `video` or `audio`, the result; `music`, `sounds`, `original`, `mix`, what its
        sound is made of; `descriptions`, the scenes in words, as WebVTT; `frame`; `music-1` … of kept candidates.

        A file appears whole or not at all, and replaces what is there. A broken connection is taken up again.
        """
        with whole(to) as file:
            run_flow(self._http, self._say.download(run_id, name, to=file))

    def modules(self) -> tuple[ModuleInfo, ...]:
        """What stands behind each module: model, device, licence."""
        return run_flow(self._http, self._say.modules())


class AsyncImmersivaudioClient:
    """`ImmersivaudioClient` for asyncio: the same calls, awaited, or iterated with `async for`."""

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
        resumable_above: int = RESUMABLE_ABOVE,
    ) -> None:
        self._http = httpx.AsyncClient(
            **_common(base_url, api_key), timeout=timeout, transport=transport, mounts=None if transport else _LOOPBACK
        )
        self._say = Protocol(self._http.build_request, resumable_above=resumable_above)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give back the connections."""
        await self._http.aclose()

    async def submit(
        self,
        source: Source,
        options: Options | None = None,
        *,
        name: str | None = None,
        reference: Source | None = None,
        on_upload: OnUpload | None = None,
        on_busy: OnBusy | None = None,
    ) -> Run:
        """As `ImmersivaudioClient.submit`."""
        with opened(source) as (file, own_name), opened_if_given(reference) as sound:
            flow = self._say.submit(
                file, name=name or own_name, options=options or Options(), reference=sound, on_upload=on_upload, on_busy=on_busy
            )  # fmt: skip
            return await run_flow_async(self._http, flow)

    async def run(self, run_id: str) -> Run:
        """As `ImmersivaudioClient.run`."""
        return await run_flow_async(self._http, self._say.run(run_id))

    def events(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Event | Progress]:
        """As `ImmersivaudioClient.events`."""
        return iterate_flow_async(self._http, self._say.events(run_id, after=after))

    async def follow(self, run_id: str) -> AsyncGenerator[Run]:
        """As `ImmersivaudioClient.follow`."""
        run: Run | None = None
        async with aclosing(self.events(run_id)) as events:
            async for event in events:
                if not isinstance(event, Progress):
                    run = next_state(run, run_id, event)
                    yield run

    async def wait(self, run_id: str) -> Run:
        """As `ImmersivaudioClient.wait`."""
        *_, last = [run async for run in self.follow(run_id)]
        return finished(last)

    async def enhance(
        self, source: Source, options: Options | None = None, *, output: Target, reference: Source | None = None
    ) -> Run:
        """As `ImmersivaudioClient.enhance`."""
        run = await self.wait((await self.submit(source, options, reference=reference)).id)
        await self.download(run.id, result_name(run), output)
        return run

    async def rerun(
        self,
        run_id: str,
        options: Mapping[str, object] | None = None,
        edits: Edits | None = None,
        *,
        on_busy: OnBusy | None = None,
    ) -> Run:
        """As `ImmersivaudioClient.rerun`."""
        flow = self._say.rerun(run_id, options=options or {}, edits=edits or Edits(), on_busy=on_busy)
        return await run_flow_async(self._http, flow)

    async def cancel(self, run_id: str) -> Run:
        """As `ImmersivaudioClient.cancel`."""
        return await run_flow_async(self._http, self._say.cancel(run_id))

    async def delete(self, run_id: str) -> None:
        """As `ImmersivaudioClient.delete`."""
        await run_flow_async(self._http, self._say.delete(run_id))

    async def download(self, run_id: str, name: str, to: Target) -> None:
        """As `ImmersivaudioClient.download`."""
        with whole(to) as file:
            await run_flow_async(self._http, self._say.download(run_id, name, to=file))

    async def modules(self) -> tuple[ModuleInfo, ...]:
        """As `ImmersivaudioClient.modules`."""
        return await run_flow_async(self._http, self._say.modules())


def _common(base_url: str, api_key: str | None) -> dict[str, Any]:
    """What both of httpx's clients are made with."""
    return {"base_url": _address(base_url), "headers": _authorization(api_key)}


def _address(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is not the address of a service: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{base_url!r} is not the address of a service: write it like {DEFAULT_SERVER}")
    return url


def _authorization(api_key: str | None) -> dict[str, str]:
    if api_key is None:
        return {}
    # Refused here, because httpx would repeat it in its message.
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("an API key is made of visible ASCII characters; this one is empty or has others")
    return {"Authorization": f"Bearer {api_key}"}
