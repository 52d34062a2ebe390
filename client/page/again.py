"""Once more, with a change: what a click in the result's editor asks the service for.

Only what follows from the change is computed. The same words again are another take: other noise, the same prompt.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from models.record import (
    MOST_TAKES,
    Edits,
    FrameDescriptionEdit,
    PromptEnhancementEdit,
    Run,
    ScenePrompts,
    ScenePromptsEdit,
    SceneText,
    StemKind,
)

Part = Literal["music", "sounds", "both"]
Words = Sequence[Mapping[str, str | None]]
"""Of every scene, the prompts as they stand in the editor: {music, sounds}."""

_NAMES: dict[StemKind, str] = {"music": "music", "sounds": "sound"}


def prompt_edits(run: Run, scene: int | None, part: Part, words: Words) -> Edits:
    """These stems of one scene, or of all: by the words as they are now, and where those are what they were, another take.

    Raises ValueError for a prompt that was emptied, and for a run that came to no prompts.
    """
    prompts = run.record.prompt_enhancement
    if prompts is None:
        raise ValueError("The run came to its end before it had prompts.")
    kinds: tuple[StemKind, ...] = run.record.video_input.options.stems if part == "both" else (part,)
    edited = [
        ScenePromptsEdit.model_validate({"scene": number, **_change(old, now, kinds)})
        for number, (old, now) in enumerate(zip(prompts.scenes, words, strict=True))
        if scene is None or scene == number
    ]
    return Edits(prompt_enhancement=PromptEnhancementEdit(scenes=tuple(edited)))


def _change(old: ScenePrompts, now: Mapping[str, str | None], kinds: Sequence[StemKind]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for kind in kinds:
        name, text = _NAMES[kind], (now.get(kind) or "").strip()
        if not text:
            raise ValueError("A prompt is empty: write what is to be heard.")
        if text == getattr(old, f"{name}_prompt").strip():
            changed[f"{name}_take"] = (getattr(old, f"{name}_take") + 1) % (MOST_TAKES + 1)
        else:
            changed[f"{name}_prompt"] = text
    return changed


def described_edits(run: Run, scene: int, text: str) -> Edits:
    """Other words for what a scene shows. Its prompts and its sound follow. Raises ValueError when nothing would change."""
    described = run.record.frame_description
    text = text.strip()
    if described is None or not text or text == described.scenes[scene].text:
        raise ValueError("Change the description first: nothing would follow from the same words.")
    return Edits(frame_description=FrameDescriptionEdit(scenes=(SceneText(scene=scene, text=text),)))
