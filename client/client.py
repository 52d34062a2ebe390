"""The Python client. What is said over the wire stands in `protocol.py`; here is who says it, blocking, and in `async_client.py`
awaiting.

with ImmersivaudioClient("http://127.0.0.1:8000") as service:
    run = service.enhance("sea.mp4", Options(music_prompt="slow strings"), output="sea.enhanced.mp4")
    print(run.record.frame_description.text)
    again = service.rerun(run.id, {"seed": 7}, Edits(frame_description=FrameDescriptionEdit(text="A storm.")))
    service.wait(again.id)
"""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

import httpx

from client.artifacts import result_name
from client.async_client import AsyncImmersivaudioClient
from client.connection import DEFAULT_SERVER, DEFAULT_TIMEOUT, LOOPBACK, MAX_CONNECTIONS, common
from client.files import Source, Target, opened, opened_if_given, whole
from client.protocol import OnBusy, Protocol, finished, next_state
from client.uploads import RESUMABLE_ABOVE, OnUpload
from client.wire import iterate_flow, run_flow
from models.record import Edits, Event, ModuleInfo, Options, Progress, Run

__all__ = ["DEFAULT_SERVER", "AsyncImmersivaudioClient", "ImmersivaudioClient"]


class ImmersivaudioClient:
    """Talks to one service. Use it as a context manager, or close it.

    `api_key` goes to this service and to no other host, whatever a redirect says. Files above `resumable_above` bytes go up in
    parts. Raises ValueError for an address or a key that cannot be one. Every call raises ServiceUnreachable when nobody
    answers, RequestRefused when the service refuses (unknown run, unreadable file), ServiceFailed when it breaks.

    Several calls may go on at once, over at most `max_connections` connections: a run that is followed and a download take one each
    for as long as they last. A call waits for one as long as `timeout` says (`pool`), then NoConnectionLeft.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_SERVER,
        *,
        api_key: str | None = None,
        timeout: float | httpx.Timeout = DEFAULT_TIMEOUT,
        transport: httpx.BaseTransport | None = None,
        resumable_above: int = RESUMABLE_ABOVE,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._http = httpx.Client(
            **common(base_url, api_key, max_connections),
            timeout=timeout,
            transport=transport,
            mounts=None if transport else LOOPBACK,
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

    def submit_upload(
        self,
        upload: str,
        options: Options | None = None,
        *,
        reference: str | None = None,
        on_busy: OnBusy | None = None,
    ) -> Run:
        """Start a run of an upload that is complete; `reference` is the id of another one. Waits as `submit` does.

        The uploads stay with whoever made them, also when they are refused: `delete_upload`, or they expire.
        Raises ValueError for an id that cannot be one.
        """
        flow = self._say.submit_upload(upload, options=options or Options(), reference=reference, on_busy=on_busy)
        return run_flow(self._http, flow)

    def submit_text(self, text: str, options: Options | None = None, *, on_busy: OnBusy | None = None) -> Run:
        """Start a run of words alone: a sound of `options.seconds`, without a picture. Waits as `submit` does.

        Raises ValueError for words that are blank or too long.
        """
        return run_flow(self._http, self._say.submit_text(text, options=options or Options(), on_busy=on_busy))

    def create_upload(self, size: int, *, name: str) -> str:
        """Begin an upload of so many bytes, for `submit_upload`; its id. `submit` does all of this by itself."""
        return run_flow(self._http, self._say.uploads.create(size, name=name))

    def upload_offset(self, upload: str) -> tuple[int, int]:
        """The bytes of the upload that have arrived, and the bytes there are. RequestRefused (404, 410) when it is gone."""
        return run_flow(self._http, self._say.uploads.stands(upload))

    def append_upload(self, upload: str, offset: int, data: bytes) -> int:
        """Send the bytes that follow the first `offset` ones; the new offset. One request, which is not tried again.

        RequestRefused when the upload stands elsewhere (409), or is gone (404, 410); ServiceUnreachable when the connection broke:
        `upload_offset` says where to go on.
        """
        return run_flow(self._http, self._say.uploads.append(upload, offset, data))

    def delete_upload(self, upload: str) -> None:
        """Delete an upload. A run that was made of it stays."""
        run_flow(self._http, self._say.uploads.delete(upload))

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
