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
    """A run as it happens. Setting its value to {run: id, at: anything new} shows it."""
    return _element(
        "<iv-run></iv-run>",
        """
            const shown = element.querySelector("iv-run");
            const show = () => { if (props.value?.run) shown.show(props.value.run); };
            customElements.whenDefined("iv-run").then(() => { watch("value", show); show(); });
        """,
    )


def result() -> gr.HTML:
    """The result of the run that is shown, which it fetches by itself. Event `ask`: {what, run, …}, once more with a change."""
    return _element(
        "<iv-result></iv-result>",
        """
            element.querySelector("iv-result").addEventListener("ask", (event) => trigger("ask", event.detail));
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
