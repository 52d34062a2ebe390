"""What is at work in a run. The log says when a module is done; that it is at work follows from what it waits for."""

from models.record import Module, Run

AFTER: dict[Module, tuple[Module, ...]] = {
    "video_input": (),
    "frame_extraction": ("video_input",),
    "object_detection": ("frame_extraction",),
    "frame_selection": ("frame_extraction",),
    "frame_description": ("frame_selection",),
    "prompt_enhancement": ("object_detection", "frame_description"),
    "audio_generation": ("prompt_enhancement",),
    "reconstruction": ("audio_generation",),
}
"""What a module waits for."""


def at_work(run: Run, module: Module) -> bool:
    """Whether the module of a run that goes on has all that it waits for, and is not done."""
    return run.ended_at is None and not run.record.done(module) and all(_passed(run, one) for one in AFTER[module])


def _passed(run: Run, module: Module) -> bool:
    if module not in run.record.modules:
        return all(_passed(run, before) for before in AFTER[module])
    return run.record.done(module)
