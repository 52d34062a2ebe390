"""What is said to the service about runs, and what is made of its answers, once for the blocking and the asynchronous client.

Each call is a flow (`flow.py`).
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import IO, Annotated, Any, Literal

import httpx
from pydantic import BaseModel, Field, TypeAdapter

from client.errors import ClientError, NotUnderstood, RequestRefused, RunCancelled, RunFailed, ServiceBusy
from client.files import Rest
from client.flow import BROKEN, Flow, Give, Read, Requests, Retries, Wait, Work, parse, segment
from client.uploads import RESUMABLE_ABOVE, OnUpload, Uploads
from models.record import (
    REFERENCE_BYTES,
    TERMINAL,
    Edits,
    Event,
    ModuleInfo,
    Options,
    Progress,
    Rerun,
    Run,
    TextRun,
    UploadedRun,
    fold,
)

SILENCE_SECONDS = 35.0
"""A stream that is silent for longer is dead: the service's heartbeat comes every 10 s."""

BUSY_PAUSE_SECONDS = (1.0, 60.0)
"""A busy service says when it wants to be asked again; it is asked no sooner and no later than this."""

BUSY_SECONDS = 600.0
"""How long a busy service is asked again."""

_NOT_THERE_JUST_NOW = (None, 502, 503, 504)
"""No answer at all, or that of a proxy whose service is being restarted."""

OnBusy = Callable[[float], None]
"""Is told in how many seconds a busy service is asked again."""


class _Heartbeat(BaseModel):
    type: Literal["heartbeat"]


_MESSAGE: TypeAdapter[Event | Progress | _Heartbeat] = TypeAdapter(
    Annotated[Event | Progress | _Heartbeat, Field(discriminator="type")]
)
_RUN = TypeAdapter(Run)
_MODULES = TypeAdapter(tuple[ModuleInfo, ...])


class Lines:
    """Cuts a stream of bytes into lines at line feeds alone: JSON may hold U+2028 and the like, where httpx would cut too."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that this chunk completes. What follows the last line feed is kept for the next."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line for line in lines if line.strip()]


class Protocol:
    """The flows. `build` is the `build_request` of the httpx client that will send what it builds."""

    def __init__(self, build: Callable[..., httpx.Request], *, resumable_above: int = RESUMABLE_ABOVE) -> None:
        self._requests = Requests(build)
        self.uploads = Uploads(self._requests)
        self._resumable_above = resumable_above

    def submit(
        self,
        file: IO[bytes],
        *,
        name: str,
        options: Options,
        reference: tuple[IO[bytes], str] | None = None,
        on_upload: OnUpload | None = None,
        on_busy: OnBusy | None = None,
    ) -> Flow[Run]:
        """Upload the file, from where it stands, as it is sent, and start a run. `name` is for people to read.

        `reference`: a sound to sound like, and its name. It goes up first: what is refused of it is refused before the rest.
        """
        with ExitStack() as stack:
            sound = stack.enter_context((yield Work(partial(Rest, reference[0])))) if reference else None
            if sound and reference and sound.size > REFERENCE_BYTES:
                raise RequestRefused(_too_large(reference[1]))
            rest = stack.enter_context((yield Work(partial(Rest, file))))
            if max(rest.size, sound.size if sound else 0) <= self._resumable_above:
                heard = {"reference": (_sendable(reference[1]), sound)} if reference else {}
                wanted = options.model_dump_json(exclude_defaults=True)
                form = {"data": {"options": wanted}, "files": {**heard, "file": (_sendable(name), rest)}}
                return (yield from self._new_run("/v1/runs", on_busy=on_busy, **form))
            other = (yield from self.uploads.send(sound, name=reference[1])) if sound and reference else None
            try:
                upload = yield from self.uploads.send(rest, name=name, on_upload=on_upload)
            except RequestRefused:
                yield from self._discard(other)
                raise
        try:
            run = yield from self.submit_upload(upload, options=options, reference=other, on_busy=on_busy)
        except RequestRefused:
            yield from self._discard(upload, other)
            raise
        yield from self._discard(other)  # the run has what it needs of it
        return run

    def submit_upload(
        self, upload: str, *, options: Options, reference: str | None = None, on_busy: OnBusy | None = None
    ) -> Flow[Run]:
        """A run of an upload. A broken connection is taken up again, though the run may then be there twice: the upload is dear."""
        retries = Retries()
        body = UploadedRun(upload=upload, options=options, reference=reference)
        wanted = body.model_dump(mode="json", exclude_defaults=True)
        while True:
            try:
                return (yield from self._new_run("/v1/runs", on_busy=on_busy, json=wanted))
            except BROKEN as error:
                if getattr(error, "status", None) not in _NOT_THERE_JUST_NOW:
                    raise
                yield retries.pause(error)

    def submit_text(self, text: str, *, options: Options, on_busy: OnBusy | None = None) -> Flow[Run]:
        """A run of words alone."""
        body = TextRun(text=text, options=options).model_dump(mode="json", exclude_defaults=True)
        return (yield from self._new_run("/v1/runs", on_busy=on_busy, json=body))

    def rerun(
        self, run_id: str, *, options: Mapping[str, object], edits: Edits, on_busy: OnBusy | None = None
    ) -> Flow[Run]:
        """A new run from this one."""
        asked = Rerun.model_validate({"options": dict(options), "edits": edits})
        body = asked.model_dump(mode="json", exclude_defaults=True)
        return (yield from self._new_run(_run_path(run_id) + "/rerun", on_busy=on_busy, json=body))

    def run(self, run_id: str) -> Flow[Run]:
        """The run as it is now."""
        return (yield from self._requests.get(_RUN, _run_path(run_id)))

    def cancel(self, run_id: str) -> Flow[Run]:
        """Stop the run; the run as it is then."""
        return (yield from self._requests.get(_RUN, _run_path(run_id) + "/cancel", method="POST"))

    def delete(self, run_id: str) -> Flow[None]:
        """Delete an ended run. Raises RunCancelled for one that had not ended: it has now, and is still there."""
        if body := (yield from self._requests.body(_run_path(run_id), method="DELETE")):
            raise RunCancelled(parse(_RUN, body))

    def modules(self) -> Flow[tuple[ModuleInfo, ...]]:
        """What stands behind each module."""
        return (yield from self._requests.get(_MODULES, "/v1/modules"))

    def events(self, run_id: str, *, after: int) -> Flow[None]:
        """Gives the events behind number `after`, in order, each once, and progress between them, to the terminal event."""
        retries = Retries()
        while True:
            problem: Exception = ClientError(f"the stream of run {run_id} ended early")
            try:
                yield from self._requests.open(
                    _run_path(run_id) + "/events",
                    params={"after": after},
                    headers={"Accept": "application/x-ndjson"},
                    timeout=httpx.Timeout(SILENCE_SECONDS, connect=5),
                )
                lines = Lines()
                while chunk := (yield Read()):
                    for message in (parse(_MESSAGE, line) for line in lines.feed(chunk)):
                        retries.succeeded()
                        if isinstance(message, Progress):
                            yield Give(message)
                        elif not isinstance(message, _Heartbeat) and message.seq > after:
                            after = message.seq
                            yield Give(message)
                            if message.type in TERMINAL:
                                return
            except NotUnderstood:
                raise
            except BROKEN as error:
                problem = error
            yield retries.pause(problem)

    def download(self, run_id: str, name: str, *, to: IO[bytes]) -> Flow[None]:
        """Write an artifact of the run to a file, as it arrives. A broken connection is taken up again where it broke."""
        retries = Retries()
        done = 0
        while True:
            headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
            problem: Exception = ClientError(f"the download of {name} ended early")
            try:
                # The service may point to the bucket where the artifact lies.
                path = artifact_path(run_id, name)
                response = yield from self._requests.open(path, headers=headers, follow=True)
                at = _first_byte(response)
                if at > done:
                    raise NotUnderstood(f"asked for {name} from byte {done}, the service sent it from byte {at}")
                length = response.headers.get("Content-Length")
                end = at + int(length) if length else None
                while chunk := (yield Read()):
                    fresh = chunk[max(0, done - at) :]
                    to.write(fresh)
                    at += len(chunk)
                    done += len(fresh)
                    if fresh:
                        retries.succeeded()
                if end is None or done >= end:
                    return
            except NotUnderstood:
                raise
            except BROKEN as error:
                problem = error
            yield retries.pause(problem)

    def _discard(self, *uploads: str | None) -> Flow[None]:
        for upload in uploads:
            if upload:
                yield from self.uploads.discard(upload)

    def _new_run(self, path: str, *, on_busy: OnBusy | None, **request: Any) -> Flow[Run]:
        """The run that this request starts. A service that is busy, and says for how long, is asked again."""
        waited = 0.0
        while True:
            try:
                return (yield from self._requests.get(_RUN, path, method="POST", **request))
            except ServiceBusy as busy:
                if busy.retry_after_seconds is None:
                    raise
                shortest, longest = BUSY_PAUSE_SECONDS
                pause = min(max(busy.retry_after_seconds, shortest), longest)
                waited += pause
                if waited > BUSY_SECONDS:
                    raise
            if on_busy:
                on_busy(pause)
            yield Wait(pause)


def next_state(run: Run | None, run_id: str, event: Event) -> Run:
    """The run after one more event of its log; `run` is None before the first. Raises NotUnderstood."""
    try:
        return run.apply(event) if run else fold(run_id, [event])
    except ValueError as error:
        raise NotUnderstood(f"the service sent a log that makes no sense: {error}") from error


def finished(run: Run) -> Run:
    """The run, which has ended. Raises RunFailed when it failed, RunCancelled when somebody stopped it."""
    if run.status == "failed":
        raise RunFailed(run)
    if run.status == "cancelled":
        raise RunCancelled(run)
    return run


def _run_path(run_id: str) -> str:
    return f"/v1/runs/{segment(run_id)}"


def artifact_path(run_id: str, name: str) -> str:
    """Where an artifact of a run is."""
    return f"{_run_path(run_id)}/artifacts/{segment(name)}"


def file_path(path: str) -> str:
    """Where a file is that a record names."""
    return f"/v1/files/{'/'.join(map(segment, path.split('/')))}"


def _sendable(name: str) -> str:
    """A file's name as a multipart header can carry it: valid Unicode, no control characters, no double quotes."""
    whole = name.encode(errors="replace").decode().replace('"', "'")
    return "".join("_" if unicodedata.category(character) == "Cc" else character for character in whole) or "file"


def _too_large(name: str) -> str:
    return f"the reference {name} is larger than the {REFERENCE_BYTES >> 20} MiB that are listened to"


def _first_byte(response: httpx.Response) -> int:
    """Where in the artifact this response begins."""
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if not found:
        raise NotUnderstood("the service sent a part of an artifact and doesn't say which")
    return int(found[1])
