"""What happens when something is clicked: the service is asked, and the page told. No layout here."""

import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from html import escape
from typing import Any

import gradio as gr
import httpx

from client.async_client import AsyncImmersivaudioClient
from client.errors import ClientError, RequestRefused
from client.findings import printable
from client.page import again
from client.page.asking import asked
from client.page.form import Form
from client.page.words import Trouble, trouble
from client.protocol import OnBusy
from models.record import Edits, ModuleInfo, Options, Run

API_KEY = "IMMERSIVAUDIO_API_KEY"

STREAMS = 1000
"""Files on their way and runs that are followed, for all who have the page open. Beyond that a request for one is refused."""

_STREAM_TIMEOUT = httpx.Timeout(60, connect=5, pool=3)

_GONE = (404, 410)
"""An upload that has expired, or whose film was deleted with its runs."""

logger = logging.getLogger(__name__)

Told = tuple[str, Any]
"""A notice, and what the run view is to show."""


class Handlers:
    """Talks to one service for all who have the page open."""

    def __init__(self, server: str) -> None:
        """Raises ValueError for an address of a service or an API key that cannot be one."""
        key = os.environ.get(API_KEY) or None
        self._client = AsyncImmersivaudioClient(server, api_key=key)
        self._streams = AsyncImmersivaudioClient(server, api_key=key, timeout=_STREAM_TIMEOUT, max_connections=STREAMS)

    def client(self) -> AsyncImmersivaudioClient:
        """For calls, which come to their end by themselves."""
        return self._client

    def streams(self) -> AsyncImmersivaudioClient:
        """For what lasts as long as a browser likes, files and followed runs: it takes no connection from the calls."""
        return self._streams

    async def welcome(self) -> tuple[str, bool, bool]:
        """What is told of the service; whether it is there; whether it has drafts beside the real thing."""
        try:
            loaded = await self.client().modules()
        except ClientError as error:
            return notice(trouble(error)._replace(advice="This page goes on trying.")), False, False
        return _service(loaded), True, any(info.draft for info in loaded)

    def from_upload(self, form: Form, missing: str) -> Callable[..., AsyncGenerator[Told]]:
        """Makes a run of the file that was given. `missing`: what is said where none was."""

        async def make(given: Mapping[str, Any] | None, *values: Any) -> AsyncGenerator[Told]:
            async def ask(on_busy: OnBusy) -> Run:
                if not given:
                    raise ValueError(missing)
                options, reference = form.read(values)
                try:
                    return await self.client().submit_upload(
                        given["upload"], options, reference=reference, on_busy=on_busy
                    )
                except RequestRefused as error:
                    if error.status not in _GONE:
                        raise
                    gone = "the sound to sound like" if reference and reference in str(error) else given["name"]
                    raise ValueError(f"The service has {gone} no more: remove it, and give it again.") from error

            async for told in _telling(ask):
                yield told

        return make

    def from_words(self, form: Form) -> Callable[..., AsyncGenerator[Told]]:
        """Makes a run of words alone."""

        async def make(text: str, *values: Any) -> AsyncGenerator[Told]:
            async def ask(on_busy: OnBusy) -> Run:
                if not text.strip():
                    raise ValueError("Say in a few words what is to be heard.")
                options, _ = form.read(values)
                return await self.client().submit_text(text.strip(), options, on_busy=on_busy)

            async for told in _telling(ask):
                yield told

        return make

    async def ask(self, event: gr.EventData) -> AsyncGenerator[Told]:
        """The run that is shown once more, with a change: what `<iv-result>` asks for."""
        wanted = dict(event._data)
        make = {"again": self._again, "describe": self._describe, "full": self._full, "keep-mix": self._keep_mix}
        async for told in make[str(wanted["what"])](str(wanted["run"]), wanted):
            yield told

    def _again(self, run_id: str, wanted: Mapping[str, Any]) -> AsyncGenerator[Told]:
        """One scene, one stem, or everything."""
        scene = wanted["scene"]
        return self._rerun(
            run_id,
            edits=lambda run: again.prompt_edits(
                run, None if scene is None else int(scene), wanted["part"], wanted["words"]
            ),
        )

    def _describe(self, run_id: str, wanted: Mapping[str, Any]) -> AsyncGenerator[Told]:
        """The user's own words for what a scene shows."""
        scene, text = int(wanted["scene"]), str(wanted["text"])
        return self._rerun(run_id, edits=lambda run: again.described_edits(run, scene, text))

    def _full(self, run_id: str, wanted: Mapping[str, Any]) -> AsyncGenerator[Told]:
        """The real thing, after a draft."""
        return self._rerun(run_id, options={"draft": False})

    def _keep_mix(self, run_id: str, wanted: Mapping[str, Any]) -> AsyncGenerator[Told]:
        """The mix as it was set in the studio: nothing but the mix is made anew."""
        return self._rerun(
            run_id, options={name: value for name, value in wanted.items() if name in Options.model_fields}
        )

    async def _rerun(
        self,
        run_id: str,
        *,
        options: Mapping[str, object] | None = None,
        edits: Callable[[Run], Edits] | None = None,
    ) -> AsyncGenerator[Told]:
        async def ask(on_busy: OnBusy) -> Run:
            changed = edits(await self.client().run(run_id)) if edits else None
            return await self.client().rerun(run_id, options, changed, on_busy=on_busy)

        async for told in _telling(ask):
            yield told


def notice(told: Trouble | str, *, going: bool = False) -> str:
    """What is to be read, and read out, at once. going: the service is still being asked, which may be stopped."""
    if not told:
        return ""
    sentence, advice = told if isinstance(told, Trouble) else (told, "")
    stop = '<button type="button" class="iv-button" data-stop>Stop asking</button>' if going else ""
    return (
        f'<iv-notice class="iv-notice" role="alert"{" data-going" if going else ""}>'
        f"<strong>{escape(sentence)}</strong> {escape(advice)}{stop}</iv-notice>"
    )


async def _telling(ask: Callable[[OnBusy], Awaitable[Run]]) -> AsyncGenerator[Told]:
    yield notice(""), gr.skip()
    try:
        async for told in asked(ask):
            if isinstance(told, Run):
                yield notice(""), {"run": told.id, "at": time.time()}
            else:
                yield notice(told, going=True), gr.skip()
    except (ClientError, ValueError) as error:
        yield notice(trouble(error)), gr.skip()
    except Exception as error:
        logger.exception("asking for a run failed")
        yield notice(trouble(error)), gr.skip()


def _service(loaded: tuple[ModuleInfo, ...]) -> str:
    """What stands behind the page: drafts, or trained models, in a line; and which, for those who want to know."""
    trained = [info for info in loaded if info.profile == "paper"]
    kind = "Trained models." if trained else "Drafts: this service sketches, without trained models."
    rows = "".join(f"<li>{escape(_loaded(info))}</li>" for info in loaded)
    return f'<details class="iv-service"><summary>{kind}</summary><ul>{rows}</ul></details>'


def _loaded(info: ModuleInfo) -> str:
    part = f" ({info.part})" if info.part else ""
    draft = ", for drafts" if info.draft else ""
    licence = f"; licence: {info.licence}" if info.licence else ""
    return printable(f"{info.module}{part}: {info.model}{draft}{licence}")
