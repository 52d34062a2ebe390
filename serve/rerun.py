"""A new run from one that is there: what the user changed, and what is kept. Nothing is read or written here.

Kept are the outputs that an edit was made on, since prompts are edited with the description beside them, and the edits of earlier
reruns, as long as they still hold. Whatever else does is found in the cache by the run itself, and what does not is computed.
"""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError

from models.dependencies import READS, missing
from models.errors import InvalidOptions, MissingOutput
from models.inputs import depends_on
from models.record import (
    Edits,
    FrameDescription,
    FrameDescriptionEdit,
    FrameSelection,
    FrameSelectionEdit,
    Module,
    Options,
    Outputs,
    PromptEnhancement,
    PromptEnhancementEdit,
    Record,
    Rerun,
)
from serve.forms import sentence
from serve.modules import with_origin

T = TypeVar("T")


def changed(record: Record, wanted: Rerun) -> tuple[Options, Outputs]:
    """Options of the new run, and the outputs that it begins with. Raises InvalidOptions and MissingOutput."""
    options = _options(record.video_input.options, wanted)
    new = Record(video_input=record.video_input.model_copy(update={"options": options}))
    edited = _edited(record, wanted.edits)
    below = _below([module for module in READS if getattr(edited, module) or _was_edited(record, module)])
    was = record.video_input.options
    if edited.frame_selection and options.k != was.k:
        raise InvalidOptions("with another k the frames are others: change k first, then select one of the new frames")
    if any(output is not None for _, output in edited) and options.scenes != was.scenes:
        raise InvalidOptions(
            "with other scenes the outputs are others: change scenes first, then edit what comes of it"
        )
    for module in READS:
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
            raise InvalidOptions(f"there is no {module} to edit: it has nothing to do with {record.video_input.kind}")
        if edit is not None and getattr(record, module) is None:
            raise MissingOutput(f"{module} cannot be edited: the run came to its end before it")
    outputs = Outputs(
        frame_selection=_other_frames(record, edits.frame_selection),
        frame_description=_other_texts(record.frame_description, edits.frame_description),
        prompt_enhancement=_other_prompts(record.prompt_enhancement, edits.prompt_enhancement),
    )
    return with_origin(outputs, "edited")


def _other_frames(record: Record, edit: FrameSelectionEdit | None) -> FrameSelection | None:
    selection = record.frame_selection
    if edit is None or selection is None:
        return None
    scenes = list(record.scenes)
    for number, index in _by_scene(
        "frame_selection", edit.index, [(one.scene, one.index) for one in edit.scenes], scenes
    ):
        last = len(record.pictures) - 1
        if index > last:
            raise InvalidOptions(f"edits.frame_selection: the video's frames are 0 to {last}, not {index}")
        own = record.frames_of(scenes[number])
        if index not in own:
            raise InvalidOptions(
                f"edits.frame_selection: the frames of scene {number} are {own[0]} to {own[-1]}, not {index}"
            )
        scenes[number] = scenes[number].model_copy(update={"index": index, "path": record.pictures[index].path})
    first = scenes[0]
    return selection.model_copy(update={"index": first.index, "path": first.path, "scenes": tuple(scenes)})


def _other_texts(described: FrameDescription | None, edit: FrameDescriptionEdit | None) -> FrameDescription | None:
    if edit is None or described is None:
        return None
    scenes = list(described.scenes)
    for number, text in _by_scene(
        "frame_description", edit.text, [(one.scene, one.text) for one in edit.scenes], scenes
    ):
        scenes[number] = scenes[number].model_copy(update={"text": text})
    return described.model_copy(update={"text": scenes[0].text, "later": tuple(scenes[1:])})


def _other_prompts(prompts: PromptEnhancement | None, edit: PromptEnhancementEdit | None) -> PromptEnhancement | None:
    if edit is None or prompts is None:
        return None
    of_all = edit.model_dump(exclude_none=True, exclude={"negative_prompt", "scenes"})
    scenes = [scene.model_copy(update=of_all) for scene in prompts.scenes]
    of_one = [(one.scene, one.model_dump(exclude_none=True, exclude={"scene"})) for one in edit.scenes]
    for number, changed in _by_scene("prompt_enhancement", None, of_one, scenes):
        scenes[number] = scenes[number].model_copy(update=changed)
    changed = {**dict(scenes[0]), "later": tuple(scenes[1:])}
    if edit.negative_prompt is not None:
        changed["negative_prompt"] = edit.negative_prompt
    return prompts.model_copy(update=changed)


def _by_scene(
    module: Module, of_one: T | None, of_several: Sequence[tuple[int, T]], scenes: Sequence[object]
) -> list[tuple[int, T]]:
    """(scene, what is new in it). `of_one` is what was said without naming a scene."""
    if of_one is not None and len(scenes) > 1:
        raise InvalidOptions(
            f"the video has {len(scenes)} scenes: say which one is meant (edits.{module}.scenes; --in-scene)"
        )
    for number, _ in of_several:
        if number >= len(scenes):
            has = "one scene, 0" if len(scenes) == 1 else f"{len(scenes)} scenes, 0 to {len(scenes) - 1}"
            raise InvalidOptions(f"the video has {has}; there is no scene {number}")
    news = [*([(0, of_one)] if of_one is not None else []), *of_several]
    if len({number for number, _ in news}) < len(news):
        raise InvalidOptions(f"edits.{module} says twice what is to be in one scene")
    return news


def _was_edited(record: Record, module: Module) -> bool:
    return getattr(getattr(record, module), "origin", None) == "edited"


def _below(edited: Sequence[Module]) -> set[Module]:
    """The modules that the edited ones read, and those that these read."""
    found: set[Module] = set()
    waiting = list(edited)
    while waiting:
        for read in READS[waiting.pop()]:
            if read not in found:
                found.add(read)
                waiting.append(read)
    return found


def _holds(new: Record, old: Record, module: Module) -> bool:
    """Whether the old output is that of the new record's inputs."""
    if getattr(old, module) is None or missing(new, module) or module not in new.modules:
        return False
    return depends_on(new, module) == depends_on(old, module)
