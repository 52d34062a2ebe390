"""Scenes in a few words. They are counted from 0, as frames are, in the record and in the command line's flags too."""

from collections.abc import Iterable

from models.record import Mood, Record, Stem

SCENES_SHOWN = 12


def selected(record: Record) -> list[str]:
    """Of one scene, its frame; of several, also when each begins and ends."""
    found = record.frame_selection
    if not found or not record.selected:
        return []
    last = len(record.pictures) - 1
    if len(record.scenes) == 1:
        one = "" if record.video_input.options.scenes == 1 else "1 scene: "
        return [f"{one}frame {found.index} of 0–{last}, at {record.selected.seconds:.2f} s", *found.notes]
    spans = (f"{scene.start_seconds:.2f}–{scene.end_seconds:.2f} s, frame {scene.index}" for scene in record.scenes)
    return [f"{len(record.scenes)} scenes, frames 0–{last}", *each(spans), *found.notes]


def described(record: Record) -> list[str]:
    """The description of each scene, and its mood."""
    found = record.frame_description
    if not found:
        return []
    if not found.later:
        return [found.text, *([f"mood: {_mood(found.mood)}"] if found.mood else [])]
    return each(scene.text + (f" ({_mood(scene.mood)})" if scene.mood else "") for scene in found.scenes)


def prompted(record: Record) -> list[str]:
    """The prompts of each scene, of the stems that are asked for; what to avoid is the same in all of them."""
    found = record.prompt_enhancement
    if not found:
        return []
    wanted = record.video_input.options
    prompts = [
        {"music": scene.music_prompt if wanted.music else "", "sounds": scene.sound_prompt if wanted.sounds else ""}
        for scene in found.scenes
    ]
    told = [[f"{kind}: {prompt}" for kind, prompt in scene.items() if prompt] for scene in prompts]
    avoid = [f"avoid: {found.negative_prompt}"] if found.negative_prompt else []
    return [*(told[0] if not found.later else each("; ".join(lines) for lines in told)), *avoid]


def takes(stem: Stem) -> list[str]:
    """Which take it is, where it isn't the seed's own; of several scenes, in which."""
    if not stem.later_prompts:
        return [f"take {stem.take}"] if stem.take else []
    told = [f"take {take} in scene {number}" for number, take in enumerate(stem.takes) if take]
    hidden = len(told) - SCENES_SHOWN
    return told if hidden <= 0 else [*told[:SCENES_SHOWN], f"others in {hidden} more"]


def each(lines: Iterable[str]) -> list[str]:
    """A line per scene, which says which; of very many, the first."""
    told = [f"scene {number}: {line}" for number, line in enumerate(lines)]
    hidden = len(told) - SCENES_SHOWN
    return told if hidden <= 0 else [*told[:SCENES_SHOWN], f"and {hidden} more {'scene' if hidden == 1 else 'scenes'}"]


def _mood(mood: Mood) -> str:
    return f"valence {mood.valence:+.2f}, arousal {mood.arousal:+.2f}"
