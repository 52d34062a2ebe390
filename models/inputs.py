"""What each module's output depends on: equal inputs, equal output."""

from dataclasses import asdict

from models.audio_step import audio_request, heard_reference
from models.dependencies import require
from models.record import Module, Record, StemKind
from models.steps import origin_of, scene_texts


def depends_on(record: Record, module: Module, part: StemKind | None = None) -> dict[str, object]:
    """Everything that the module's output depends on, besides the module itself: equal inputs, equal output.

    part: of `audio_generation`, the stem. The values are what pydantic can write as JSON. Raises MissingOutput.
    """
    require(record, module)
    source, options = record.video_input, record.video_input.options
    pictures = [frame.model_dump() for frame in record.pictures]
    scenes = [scene.model_dump() for scene in record.scenes]
    match module:
        case "frame_extraction":
            return {"token": source.token, "k": options.k, "for_scenes": options.scenes != 1}
        case "object_detection" | "frame_selection":
            divided = {"token": source.token, "scenes": options.scenes} if module == "frame_selection" else {}
            return {"pictures": pictures, **divided}
        case "frame_description":
            return {"pictures": pictures, "scenes": scenes}
        case "prompt_enhancement":
            return {**_seen(record), **options.model_dump(include=_WORDS)}
        case "audio_generation":
            assert part is not None
            return _audio_inputs(record, part)
        case "reconstruction":
            return _mix_inputs(record)
    raise ValueError(f"{module} is not computed from a record")


def _seen(record: Record) -> dict[str, object]:
    """What the prompts are made of, besides the user's words for them."""
    if record.video_input.text is not None:
        return {"text": record.video_input.text}
    assert record.frame_description is not None
    assert record.object_detection is not None
    return {
        "scenes": [scene.model_dump() for scene in record.scenes],
        "descriptions": [scene.text for scene in record.frame_description.scenes],
        **record.object_detection.model_dump(include={"frames"}),
    }


def _audio_inputs(record: Record, kind: StemKind) -> dict[str, object]:
    asked: dict[str, object] = asdict(audio_request(record, kind))
    heard = heard_reference(record)
    # Where the reference lies means nothing; and the weight of none, too, as the crossing of one scene.
    asked |= {"reference": heard and heard.token, "reference_weight": heard and asked["reference_weight"]}
    return asked if asked["later_prompts"] else {**asked, "crossing_seconds": None}


def _mix_inputs(record: Record) -> dict[str, object]:
    stems = record.audio_generation.stems if record.audio_generation else ()
    return {
        "token": record.video_input.token,
        "stems": [(stem.kind, stem.path, stem.loops) for stem in stems],
        "seconds": record.video_input.result_seconds,  # of a still image, and of words alone; a video has its own
        "texts": [asdict(text) for text in scene_texts(record)],
        "origin": origin_of(record),
        **record.video_input.options.model_dump(include=_MIX),
    }


_WORDS = {"music_prompt", "sound_prompt", "negative_prompt"}
_MIX = {
    "format", "original_mode", "original", "duck_db", "duck_attack_seconds", "duck_release_seconds", "stereo_width",
    "fade_in_seconds", "fade_out_seconds", "music_volume_db", "sound_volume_db", "loudness_lufs", "stem_format",
    "descriptions",
}  # fmt: skip
