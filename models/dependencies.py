"""What each module reads of the record, and whether a record has it."""

from collections.abc import Mapping

from models.errors import MissingOutput
from models.record import Module, Record

READS: Mapping[Module, tuple[Module, ...]] = {
    "frame_extraction": (),
    "object_detection": ("frame_extraction",),
    "frame_selection": ("frame_extraction",),
    "frame_description": ("frame_extraction", "frame_selection"),
    "prompt_enhancement": ("object_detection", "frame_selection", "frame_description"),
    "audio_generation": ("prompt_enhancement",),
    "reconstruction": ("audio_generation",),
}
"""Besides `video_input`, which every record has. `audio_generation` and `reconstruction` take from other outputs what is there."""


def missing(record: Record, module: Module) -> tuple[Module, ...]:
    """The outputs that the module reads and that the record does not have yet."""
    return tuple(read for read in READS[module] if read in record.modules and not record.done(read))


def require(record: Record, module: Module) -> None:
    """Raise MissingOutput, naming them, when the record lacks outputs that the module reads, or has them for other scenes."""
    if module not in record.modules:
        raise MissingOutput(f"{module} has nothing to do with {record.video_input.kind}")
    if lacks := missing(record, module):
        raise MissingOutput(f"{module} reads {' and '.join(lacks)}, which the record does not have")
    scenes = len(record.scenes)  # one, of a record without `frame_selection`
    for read in ("frame_description", "prompt_enhancement"):
        has = getattr(record, read)
        if read in READS[module] and has is not None and len(has.scenes) != scenes:
            raise MissingOutput(f"{read} is of {len(has.scenes)} scenes, and the record has {scenes}")
