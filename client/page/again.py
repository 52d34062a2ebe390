"""Once more, with a change: what a click in the result's editor asks the service for.

Only what follows from the change is computed. The same words again are another take: other noise, the same prompt.
"""

from typing import Any, Literal

from models.record import (
    MOST_TAKES,
    Edits,
    FrameDescriptionEdit,
    PromptEnhancementEdit,
    Run,
    ScenePromptsEdit,
    SceneText,
    StemKind,
)

Part = Literal["music", "sounds", "both"]


def kinds(run: Run, part: Part) -> tuple[StemKind, ...]:
    """The stems that are meant."""
    return run.record.video_input.options.stems if part == "both" else (part,)


def scene_edits(run: Run, scene: int, part: Part, *, music_prompt: str | None, sound_prompt: str | None) -> Edits:
    """One scene's prompts as they are now, for these stems; where they are what they were, another take of them."""
    prompts = run.record.prompt_enhancement
    if prompts is None:
        raise ValueError("The run came to its end before it had prompts.")
    old = prompts.scenes[scene]
    changed: dict[str, Any] = {"scene": scene}
    texts = {"music": ("music", old.music_prompt, music_prompt, old.music_take)}
    texts["sounds"] = ("sound", old.sound_prompt, sound_prompt, old.sound_take)
    for kind in kinds(run, part):
        name, before, now, take = texts[kind]
        now = (now or "").strip()
        if now and now != before:
            changed[f"{name}_prompt"] = now
        else:
            changed[f"{name}_take"] = _next(take)
    return Edits(prompt_enhancement=PromptEnhancementEdit(scenes=(ScenePromptsEdit.model_validate(changed),)))


def stem_edits(run: Run, part: Part) -> Edits:
    """Another take of these stems, in every scene; the prompts stay."""
    prompts = run.record.prompt_enhancement
    if prompts is None:
        raise ValueError("The run came to its end before it had prompts.")
    names = {"music": "music_take", "sounds": "sound_take"}
    wanted = [names[kind] for kind in kinds(run, part)]
    scenes = tuple(
        ScenePromptsEdit.model_validate({"scene": number, **{name: _next(getattr(scene, name)) for name in wanted}})
        for number, scene in enumerate(prompts.scenes)
    )
    return Edits(prompt_enhancement=PromptEnhancementEdit(scenes=scenes))


def described_edits(run: Run, scene: int, text: str) -> Edits:
    """Other words for what a scene shows. Its prompts and its sound follow. Raises ValueError when nothing would change."""
    described = run.record.frame_description
    text = text.strip()
    if described is None or not text or text == described.scenes[scene].text:
        raise ValueError("Change the description first: nothing would follow from the same words.")
    return Edits(frame_description=FrameDescriptionEdit(scenes=(SceneText(scene=scene, text=text),)))


def _next(take: int) -> int:
    return (take + 1) % (MOST_TAKES + 1)
