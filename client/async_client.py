"""The Python client for asyncio. It says what `client.py` says, and can hand artifacts on while they arrive."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from types import TracebackType
from typing import Self

import httpx

from client.answers import Answer, opened_answer
from client.artifacts import result_name
from client.connection import DEFAULT_SERVER, DEFAULT_TIMEOUT, LOOPBACK, MAX_CONNECTIONS, common
from client.files import Source, Target, opened, opened_if_given, whole
from client.protocol import OnBusy, Protocol, artifact_path, file_path, finished, next_state
from client.uploads import RESUMABLE_ABOVE, OnUpload
from client.wire import iterate_flow_async, run_flow_async
from models.record import Edits, Event, ModuleInfo, Options, Progress, Run


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
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._http = httpx.AsyncClient(
            **common(base_url, api_key, max_connections),
            timeout=timeout,
            transport=transport,
            mounts=None if transport else LOOPBACK,
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

    async def submit_upload(
        self,
        upload: str,
        options: Options | None = None,
        *,
        reference: str | None = None,
        on_busy: OnBusy | None = None,
    ) -> Run:
        """As `ImmersivaudioClient.submit_upload`."""
        flow = self._say.submit_upload(upload, options=options or Options(), reference=reference, on_busy=on_busy)
        return await run_flow_async(self._http, flow)

    async def submit_text(self, text: str, options: Options | None = None, *, on_busy: OnBusy | None = None) -> Run:
        """As `ImmersivaudioClient.submit_text`."""
        flow = self._say.submit_text(text, options=options or Options(), on_busy=on_busy)
        return await run_flow_async(self._http, flow)

    async def create_upload(self, size: int, *, name: str) -> str:
        """As `ImmersivaudioClient.create_upload`."""
        return await run_flow_async(self._http, self._say.uploads.create(size, name=name))

    async def upload_offset(self, upload: str) -> tuple[int, int]:
        """As `ImmersivaudioClient.upload_offset`."""
        return await run_flow_async(self._http, self._say.uploads.stands(upload))

    async def append_upload(self, upload: str, offset: int, data: bytes) -> int:
        """As `ImmersivaudioClient.append_upload`."""
        return await run_flow_async(self._http, self._say.uploads.append(upload, offset, data))

    async def delete_upload(self, upload: str) -> None:
        """As `ImmersivaudioClient.delete_upload`."""
        await run_flow_async(self._http, self._say.uploads.delete(upload))

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

    def open_artifact(
        self, run_id: str, name: str, *, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> AbstractAsyncContextManager[Answer]:
        """An artifact's answer, to be handed on piece by piece: `async with service.open_artifact(…) as answer`.

        `headers` go with the request: Range, If-None-Match. 206, 304 and 416 are answers as 200 is; all else raises as everywhere.
        `method`: GET or HEAD. Follows the service to the bucket where the artifact lies, without the API key.
        """
        return opened_answer(self._http, artifact_path(run_id, name), headers=headers or {}, method=method)

    def open_file(
        self, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> AbstractAsyncContextManager[Answer]:
        """As `open_artifact`, for a file that a record names: a frame."""
        return opened_answer(self._http, file_path(path), headers=headers or {}, method=method)
