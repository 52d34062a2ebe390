"""A new run from one that is there: what the user changed, and what is kept. Nothing is read or written here.

Kept are the outputs that an edit was made on, since prompts are edited with the description beside them, and the edits of earlier
reruns, as long as they still hold. Whatever else does is found in the cache by the run itself, and what does not is computed.
"""

from collections.abc import Sequence

from pydantic import ValidationError

from models import steps
from models.errors import InvalidOptions, MissingOutput
from models.record import Edits, Module, Options, Outputs, Record, Rerun
from serve.forms import sentence
from serve.modules import with_origin


def changed(record: Record, wanted: Rerun) -> tuple[Options, Outputs]:
    """Options of the new run, and the outputs that it begins with. Raises InvalidOptions and MissingOutput."""
    options = _options(record.video_input.options, wanted)
    new = Record(video_input=record.video_input.model_copy(update={"options": options}))
    edited = _edited(record, wanted.edits)
    below = _below([module for module in steps.READS if getattr(edited, module) or _was_edited(record, module)])
    if edited.frame_selection and options.k != record.video_input.options.k:
        raise InvalidOptions("with another k the frames are others: change k first, then select one of the new frames")
    for module in steps.READS:
        old = Outputs.model_validate({module: getattr(record, module)})
        if output := getattr(edited, module):
            new = new.append(Outputs.model_validate({module: output}))
        elif _was_edited(record, module) and _holds(new, record, module):
            new = new.append(old)  # an edit of an earlier rerun is still one
        elif module in below and _holds(new, record, module):
            new = new.append(with_origin(old, "kept"))
    return options, Outputs.model_validate({name: getattr(new, name) for name in Outputs.model_fields})


def _options(options: Options, wanted: Rerun) -> Options:
    try:
        return Options.model_validate(options.model_dump() | wanted.options)
    except ValidationError as error:
        raise InvalidOptions(f"options: {sentence(error.errors(), Options)}") from error


def _edited(record: Record, edits: Edits) -> Outputs:
    for module, edit in edits:
        if edit is not None and module not in record.modules:
            raise InvalidOptions(f"an image has no {module} to edit")
        if edit is not None and getattr(record, module) is None:
            raise MissingOutput(f"{module} cannot be edited: the run came to its end before it")
    selection, description, prompts = record.frame_selection, record.frame_description, record.prompt_enhancement
    if edits.frame_selection and selection:
        last = len(record.pictures) - 1
        if edits.frame_selection.index > last:
            raise InvalidOptions(
                f"edits.frame_selection.index: the video's frames are 0 to {last}, not {edits.frame_selection.index}"
            )
        path = record.pictures[edits.frame_selection.index].path
        selection = selection.model_copy(update={"index": edits.frame_selection.index, "path": path})
    if edits.frame_description and description:
        description = description.model_copy(update={"text": edits.frame_description.text})
    if edits.prompt_enhancement and prompts:
        prompts = prompts.model_copy(update=edits.prompt_enhancement.model_dump(exclude_none=True))
    outputs = Outputs(
        frame_selection=selection if edits.frame_selection else None,
        frame_description=description if edits.frame_description else None,
        prompt_enhancement=prompts if edits.prompt_enhancement else None,
    )
    return with_origin(outputs, "edited")


def _was_edited(record: Record, module: Module) -> bool:
    return getattr(getattr(record, module), "origin", None) == "edited"


def _below(edited: Sequence[Module]) -> set[Module]:
    """The modules that the edited ones read, and those that these read."""
    found: set[Module] = set()
    waiting = list(edited)
    while waiting:
        for read in steps.READS[waiting.pop()]:
            if read not in found:
                found.add(read)
                waiting.append(read)
    return found


def _holds(new: Record, old: Record, module: Module) -> bool:
    """Whether the old output is that of the new record's inputs."""
    if getattr(old, module) is None or steps.missing(new, module) or module not in new.modules:
        return False
    return steps.inputs(new, module) == steps.inputs(old, module)
