"""The page's own elements inside Gradio: each is a custom element of `static/*.js`, whose events and value are passed on.

(Functions, not classes: Gradio writes a file beside the source of every class that is a component.)
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Literal

import gradio as gr


def intake(
    kind: Literal["video", "image", "sound"], *, label: str, examples: Sequence[Mapping[str, object]] = ()
) -> gr.HTML:
    """Where a file is given. Its value: {upload, name, size} once all of it has arrived, else None; event `change`."""
    given = f" examples='{escape(json.dumps(examples))}'" if examples else ""
    return _element(
        f'<iv-intake kind="{kind}" uploads="studio/uploads" label="{escape(label)}"{given}></iv-intake>',
        """
            const intake = element.querySelector("iv-intake");
            const tell = (value) => { props.value = value; trigger("change"); };
            intake.addEventListener("ready", (event) => tell(event.detail));
            intake.addEventListener("given", () => tell(null));
            intake.addEventListener("cleared", () => tell(null));
        """,
    )


def run_view() -> gr.HTML:
    """A run as it happens. Setting its value to {run: id, at: anything new} shows it; events `began`, `ended` and `closed`."""
    return _element(
        "<iv-run></iv-run>",
        """
            const shown = element.querySelector("iv-run");
            shown.addEventListener("began", (event) => trigger("began", event.detail));
            shown.addEventListener("ended", (event) => trigger("ended", event.detail));
            shown.addEventListener("closed", () => trigger("closed", {}));
            const show = () => { if (props.value?.run) shown.show(props.value.run); };
            customElements.whenDefined("iv-run").then(() => { watch("value", show); show(); });
        """,
    )


def studio() -> gr.HTML:
    """The result, to hear and compare. Its value is what `studio.js` takes; event `keep_mix`."""
    return _element(
        "<iv-studio></iv-studio>",
        """
            const studio = element.querySelector("iv-studio");
            const take = () => { studio.data = props.value; };
            studio.addEventListener("keep-mix", (event) => trigger("keep_mix", event.detail));
            customElements.whenDefined("iv-studio").then(() => { watch("value", take); take(); });
        """,
    )


def scenes() -> gr.HTML:
    """The scenes' words, to change. Its value is what `scenes.js` takes; events `again`, `describe` and `full`."""
    return _element(
        "<iv-scenes></iv-scenes>",
        """
            const scenes = element.querySelector("iv-scenes");
            const take = () => { scenes.data = props.value; };
            scenes.addEventListener("again", (event) => trigger("again", event.detail));
            scenes.addEventListener("describe", (event) => trigger("describe", event.detail));
            scenes.addEventListener("full", (event) => trigger("full", event.detail));
            customElements.whenDefined("iv-scenes").then(() => { watch("value", take); take(); });
        """,
    )


def history() -> gr.HTML:
    """The runs of this browser. It tells Gradio nothing."""
    return _element("<iv-history></iv-history>", None)


def html(value: str = "", *, name: str | None = None) -> gr.HTML:
    """Plain HTML, in the page's own look."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=name)


def _element(template: str, script: str | None) -> gr.HTML:
    return gr.HTML(value=None, html_template=template, js_on_load=script, apply_default_css=False)
