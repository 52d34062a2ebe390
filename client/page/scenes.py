"""What was chosen, seen and written, scene by scene, as HTML. The page counts scenes from 1, as people do; the record from 0."""

from collections.abc import Callable
from html import escape

from client.findings import printable
from client.scenes import SCENES_SHOWN
from models.record import Module, Record, Scene


def scene_lines(record: Record, module: Module) -> str:
    """The output of one of the three modules that say something of every scene. Empty for others, and before they are done."""
    return _LINES[module](record) if module in _LINES else ""


def span(scene: Scene) -> str:
    """When a scene is shown, in minutes, seconds and tenths."""
    return f"{_clock(scene.start_seconds)}–{_clock(scene.end_seconds)}"


def _clock(seconds: float) -> str:
    tenths = round(seconds * 10)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def _chosen(record: Record) -> str:
    found = record.frame_selection
    if not found or not record.selected:
        return ""
    notes = "".join(f"<p>{escape(printable(note))}</p>" for note in found.notes)
    if len(record.scenes) == 1:
        return f"<p>The frame at {record.selected.seconds:.1f} s stands for the whole.</p>{notes}"
    frames = record.pictures
    told = [f"the frame at {frames[scene.index].seconds:.1f} s" for scene in record.scenes]
    return _each(record, [f"<p>{one}</p>" for one in told]) + notes


def _described(record: Record) -> str:
    found = record.frame_description
    return _each(record, [f"<p>{escape(printable(scene.text))}</p>" for scene in found.scenes]) if found else ""


def _prompted(record: Record) -> str:
    found, wanted = record.prompt_enhancement, record.video_input.options
    if not found:
        return ""
    told = [
        (_labelled("Music", scene.music_prompt) if wanted.music else "")
        + (_labelled("Sound effects", scene.sound_prompt) if wanted.sounds else "")
        for scene in found.scenes
    ]
    return _each(record, told) + (_labelled("Avoided", found.negative_prompt) if found.negative_prompt else "")


def _labelled(label: str, text: str) -> str:
    return f"<p><strong>{label}:</strong> {escape(printable(text))}</p>"


def _each(record: Record, told: list[str]) -> str:
    """One scene's words as they are; those of several with their numbers and times. Of very many, the first."""
    if len(record.scenes) == 1:
        return told[0]
    items = [
        f"<li><strong>Scene {number}</strong> <span>{span(scene)}</span>{one}</li>"
        for number, (scene, one) in enumerate(zip(record.scenes, told, strict=False), start=1)
    ]
    hidden = len(items) - SCENES_SHOWN
    more = f"<p>{hidden} more scenes are not shown here.</p>" if hidden > 0 else ""
    return f'<ol class="iv-each">{"".join(items[:SCENES_SHOWN])}</ol>{more}'


_LINES: dict[Module, Callable[[Record], str]] = {
    "frame_selection": _chosen,
    "frame_description": _described,
    "prompt_enhancement": _prompted,
}
