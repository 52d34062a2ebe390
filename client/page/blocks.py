"""The page's layout, and which click does what."""

from typing import Any, Literal

import gradio as gr

from client.page import elements
from client.page.examples import EXAMPLES
from client.page.form import Form, Kind, form
from client.page.handlers import Handlers

TITLE = "Immersivaudio"
SCRIPTS = ("history.js", "run.js", "result.js", "scenes.js", "studio.js", "intake.js", "page.js")
STYLES = ("page.css", "run.css", "result.css", "studio.css", "intake.css")
AGAIN_SECONDS = 4.0
"""How often a service that is not there is looked for."""

_HEADER = f"""
<header class="iv-header">
  <a class="iv-skip" href="#iv-main">Skip to the page's content</a>
  <img src="studio/static/logo.svg" alt="" width="44" height="44">
  <div><h1>{TITLE}</h1><p>Gives your pictures the sound they deserve.</p></div>
  <iv-theme></iv-theme>
</header>
"""


def head() -> str:
    """What goes into the document's head. Everything comes from this page's own server."""
    styles = "".join(f'<link rel="stylesheet" href="studio/static/{name}">' for name in STYLES)
    scripts = "".join(f'<script type="module" src="studio/static/{name}"></script>' for name in SCRIPTS)
    return f'<meta name="description" content="Sound for pictures.">{styles}{scripts}'


def blocks(handlers: Handlers) -> gr.Blocks:
    """The page. Nothing is said to the service before a browser opens it."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=False) as page:
        elements.html(_HEADER)
        service = elements.html(name="iv-service")
        forms: list[Form] = []
        starts = []
        with gr.Tabs(elem_id="iv-main", overflow_behavior="wrap"):
            with gr.Tab("Video", id="video"):
                starts.append(_from_file("video", forms))
            with gr.Tab("Image", id="image"):
                starts.append(_from_file("image", forms))
            with gr.Tab("Text", id="text"):
                starts.append(_from_words(forms))
            with gr.Tab("History", id="history"):
                elements.history()
        notice = elements.html(name="iv-notice")
        run_view = elements.run_view()
        result = elements.result()
        stop = gr.Button("Stop asking", visible="hidden", elem_id="iv-stop")
        told = [notice, run_view]

        asking = []
        for (given, button), one in zip(starts, forms, strict=True):
            make = handlers.from_words(one) if isinstance(given, gr.Textbox) else handlers.from_upload(one, _MISSING)
            asking.append(_on(button.click, make, [given, *one.inputs], told))
        asking.append(_on(result.ask, handlers.ask, None, told))
        stop.click(lambda: "", None, notice, cancels=asking, show_progress="hidden", api_visibility="private")

        looking = gr.Timer(AGAIN_SECONDS, active=False)
        qualities = [one.fields["draft"] for one in forms]

        async def look() -> list[object]:
            words, there, both = await handlers.welcome()
            return [words, gr.Timer(active=not there), *(gr.update(visible=both) for _ in qualities)]

        _on(page.load, look, None, [service, looking, *qualities])
        _on(looking.tick, look, None, [service, looking, *qualities])
    return page


_MISSING = "Give a file first (choose one, record one, or take an example), and wait until all of it has arrived."


def _from_file(kind: Literal["video", "image"], forms: list[Form]) -> tuple[gr.HTML, gr.Button]:
    with gr.Row(elem_classes="iv-columns"):
        with gr.Column(scale=3, min_width=300):
            given = elements.intake(
                kind, label="Your video" if kind == "video" else "Your image", examples=EXAMPLES[kind]
            )
        beside = gr.Column(scale=2, min_width=300)
    return given, _finish(kind, beside, forms)


def _from_words(forms: list[Form]) -> tuple[gr.Textbox, gr.Button]:
    with gr.Row(elem_classes="iv-columns"):
        with gr.Column(scale=3, min_width=300):
            words = gr.Textbox(
                label="What is to be heard",
                placeholder="Rain on a tin roof, a slow piano in the next room",
                lines=8,
                max_length=1000,
            )
        beside = gr.Column(scale=2, min_width=300)
    return words, _finish("text", beside, forms)


def _finish(kind: Kind, beside: gr.Column, forms: list[Form]) -> gr.Button:
    forms.append(form(kind, beside=beside))
    return gr.Button("Make the sound", variant="primary", size="lg", elem_classes="iv-make")


def _on(event: Any, act: object, inputs: object, outputs: object) -> Any:
    """Any number of people may do it at once; it is no API of this page: the service has one."""
    return event(act, inputs, outputs, concurrency_limit=None, show_progress="hidden", api_visibility="private")
