"""What a click is answered where the service no longer has what was given."""

from typing import Any

import gradio as gr
import pytest

from client.errors import RequestRefused
from client.page.form import Form, form
from client.page.handlers import Handlers

FILM, SOUND = "a" * 32, "b" * 32


@pytest.fixture
async def drawn() -> Form:
    with gr.Blocks(analytics_enabled=False):
        return form("video", beside=gr.Column())


@pytest.mark.parametrize(("gone", "named"), [(FILM, "sea.mp4"), (SOUND, "the sound to sound like")])
async def test_what_is_gone_is_named(drawn: Form, monkeypatch: pytest.MonkeyPatch, gone: str, named: str) -> None:
    handlers = Handlers("http://127.0.0.1:1")

    async def submit_upload(*_: Any, **__: Any) -> None:
        error = RequestRefused(f"there is no upload {gone}")
        error.status = 404
        raise error

    monkeypatch.setattr(handlers.client(), "submit_upload", submit_upload)
    values = [{"upload": SOUND} if name == "reference" else field.value for name, field in drawn.fields.items()]
    make = handlers.from_upload(drawn, "nothing was given")
    told = [notice async for notice, _ in make({"upload": FILM, "name": "sea.mp4"}, *values)]
    assert f"The service has {named} no more" in told[-1]
