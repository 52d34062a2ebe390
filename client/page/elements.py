"""The page's own elements inside Gradio: each is a custom element of `static/*.js`, whose events and value are passed on."""

import json
from html import escape
from typing import Any, Literal

import gradio as gr


class Intake(gr.HTML):
    """Where a file is given. Its value: {upload, name, size} once all of it has arrived, else None."""

    def __init__(
        self, kind: Literal["video", "image", "sound"], *, label: str, examples: list[dict[str, str]] | None = None
    ) -> None:
        given = f" examples='{escape(json.dumps(examples))}'" if examples else ""
        super().__init__(
            value=None,
            html_template=f'<iv-intake kind="{kind}" uploads="studio/uploads" label="{escape(label)}"{given}></iv-intake>',
            js_on_load="""
                const intake = element.querySelector("iv-intake");
                const tell = (value) => { props.value = value; trigger("change"); };
                intake.addEventListener("ready", (event) => tell(event.detail));
                intake.addEventListener("given", () => tell(null));
                intake.addEventListener("cleared", () => tell(null));
            """,
            apply_default_css=False,
            elem_classes=f"iv-intake-{kind}",
        )


class RunView(gr.HTML):
    """A run as it happens. Setting its value to {run: id, at: anything new} shows it; events `began`, `ended` and `closed`."""

    def __init__(self) -> None:
        super().__init__(
            value=None,
            html_template="<iv-run></iv-run>",
            js_on_load="""
                const shown = element.querySelector("iv-run");
                shown.addEventListener("began", (event) => trigger("began", event.detail));
                shown.addEventListener("ended", (event) => trigger("ended", event.detail));
                shown.addEventListener("closed", () => trigger("closed", {}));
                const show = () => { if (props.value?.run) shown.show(props.value.run); };
                customElements.whenDefined("iv-run").then(() => { watch("value", show); show(); });
            """,
            apply_default_css=False,
            elem_id="iv-run",
        )


class Studio(gr.HTML):
    """The result, to hear and compare. Its value is what `studio.js` takes; event `keep_mix`."""

    def __init__(self) -> None:
        super().__init__(
            value=None,
            html_template="<iv-studio></iv-studio>",
            js_on_load="""
                const studio = element.querySelector("iv-studio");
                const take = () => { if (props.value) studio.data = props.value; };
                studio.addEventListener("keep-mix", (event) => trigger("keep_mix", event.detail));
                customElements.whenDefined("iv-studio").then(() => { watch("value", take); take(); });
            """,
            apply_default_css=False,
            elem_id="iv-studio",
        )


class Scenes(gr.HTML):
    """The scenes' words, to change. Its value is what `scenes.js` takes; events `again`, `describe` and `full`."""

    def __init__(self) -> None:
        super().__init__(
            value=None,
            html_template="<iv-scenes></iv-scenes>",
            js_on_load="""
                const scenes = element.querySelector("iv-scenes");
                const take = () => { scenes.data = props.value; };
                scenes.addEventListener("again", (event) => trigger("again", event.detail));
                scenes.addEventListener("describe", (event) => trigger("describe", event.detail));
                scenes.addEventListener("full", (event) => trigger("full", event.detail));
                customElements.whenDefined("iv-scenes").then(() => { watch("value", take); take(); });
            """,
            apply_default_css=False,
            elem_id="iv-scenes",
        )


def plain(tag: str, **options: Any) -> gr.HTML:
    """An element that tells Gradio nothing."""
    return gr.HTML(value=None, html_template=f"<{tag}></{tag}>", js_on_load=None, apply_default_css=False, **options)
