"""What a rerun changes, keeps and refuses."""

from typing import get_args

import pytest

from models.dependencies import READS
from models.errors import InvalidOptions, MissingOutput
from models.inputs import depends_on
from models.record import Outputs, Record, Rerun, StemKind
from serve.modules import units
from serve.rerun import changed
from tests.serve import records

STEMS: tuple[StemKind, ...] = get_args(StemKind)


@pytest.fixture
def record() -> Record:
    """Of a finished run."""
    record = Record(video_input=records.video_input())
    for module in READS:
        parts = ("music", "sounds") if module == "audio_generation" else (None,)
        for part in parts:
            record = record.append(records.output(module, part))  # type: ignore[arg-type]
    return record


def begins_with(record: Record, **wanted: object) -> dict[str, str]:
    """The outputs that the new run begins with, and where they come from."""
    _, outputs = changed(record, Rerun.model_validate(wanted))
    return {name: output.origin for name, output in outputs if output is not None}


def test_other_options_alone_keep_nothing_since_the_cache_knows_better(record: Record) -> None:
    options, outputs = changed(record, Rerun(options={"seed": 9, "music": False}))
    assert outputs == Outputs()
    assert (options.seed, options.music, options.k) == (9, False, record.video_input.options.k)


def test_the_seed_stays_unless_it_is_asked_for(record: Record) -> None:
    assert changed(record, Rerun())[0].seed == record.video_input.options.seed
    assert changed(record, Rerun(options={"seed": None}))[0].seed is None


def test_edited_prompts_keep_what_they_were_made_of(record: Record) -> None:
    wanted = Rerun.model_validate({"edits": {"prompt_enhancement": {"music_prompt": "slow strings"}}})
    _, outputs = changed(record, wanted)
    assert outputs.prompt_enhancement is not None
    assert outputs.prompt_enhancement.origin == "edited"
    assert outputs.prompt_enhancement.music_prompt == "slow strings"
    assert outputs.prompt_enhancement.sound_prompt == "s"
    assert begins_with(record, edits=wanted.edits) == {
        "frame_extraction": "kept",
        "object_detection": "kept",
        "frame_selection": "kept",
        "frame_description": "kept",
        "prompt_enhancement": "edited",
    }


def test_another_frame_is_described_anew(record: Record) -> None:
    kept = begins_with(record, edits={"frame_selection": {"index": 0}})
    assert kept == {"frame_extraction": "kept", "frame_selection": "edited"}


@pytest.fixture
def film() -> Record:
    """Of a finished run of three scenes, with two frames each."""
    record = records.film()
    for part in ("music", "sounds"):
        record = record.append(records.output("audio_generation", part))
    return record.append(records.output("reconstruction"))


def test_the_prompt_of_one_scene_is_changed_and_the_others_stay(film: Record) -> None:
    wanted = {"prompt_enhancement": {"scenes": [{"scene": 1, "sound_prompt": "rain"}]}}
    _, outputs = changed(film, Rerun.model_validate({"edits": wanted}))
    assert outputs.prompt_enhancement is not None
    assert [scene.sound_prompt for scene in outputs.prompt_enhancement.scenes] == ["s0", "rain", "s2"]
    assert [scene.music_prompt for scene in outputs.prompt_enhancement.scenes] == ["m0", "m1", "m2"]
    assert outputs.frame_selection is not None
    assert (outputs.frame_selection.origin, len(outputs.frame_selection.scenes)) == ("kept", 3)


def test_a_prompt_without_a_scene_is_that_of_every_scene_but_those_named(film: Record) -> None:
    wanted = {"prompt_enhancement": {"sound_prompt": "rain", "scenes": [{"scene": 2, "sound_prompt": "sea"}]}}
    _, outputs = changed(film, Rerun.model_validate({"edits": wanted}))
    assert outputs.prompt_enhancement is not None
    assert [scene.sound_prompt for scene in outputs.prompt_enhancement.scenes] == ["rain", "rain", "sea"]
    assert outputs.prompt_enhancement.sound_prompt == "rain"


def test_another_take_of_a_scene_keeps_its_words_and_changes_the_inputs_of_that_stem_alone(film: Record) -> None:
    edited = again(film, edits={"prompt_enhancement": {"scenes": [{"scene": 1, "music_prompt": "flute"}]}})
    takes = {"prompt_enhancement": {"scenes": [{"scene": 1, "music_take": 2}, {"scene": 0, "music_take": 0}]}}
    taken = again(edited, edits=takes)
    assert taken.prompt_enhancement is not None
    assert taken.prompt_enhancement.origin == "edited"
    assert [scene.music_prompt for scene in taken.prompt_enhancement.scenes] == ["m0", "flute", "m2"]
    assert [scene.music_take for scene in taken.prompt_enhancement.scenes] == [0, 2, 0]
    assert [scene.sound_take for scene in taken.prompt_enhancement.scenes] == [0, 0, 0]
    music, sounds = ([depends_on(one, "audio_generation", kind) for one in (edited, taken)] for kind in STEMS)
    assert music[0] != music[1]
    assert sounds[0] == sounds[1]
    back = again(taken, edits={"prompt_enhancement": {"scenes": [{"scene": 1, "music_take": 0}]}})
    assert depends_on(back, "audio_generation", "music") == music[0]


def test_a_take_without_a_scene_is_that_of_every_scene_but_those_named(film: Record) -> None:
    wanted = {"prompt_enhancement": {"sound_take": 3, "scenes": [{"scene": 2, "sound_take": 1}]}}
    _, outputs = changed(film, Rerun.model_validate({"edits": wanted}))
    assert outputs.prompt_enhancement is not None
    assert [scene.sound_take for scene in outputs.prompt_enhancement.scenes] == [3, 3, 1]
    assert [scene.sound_prompt for scene in outputs.prompt_enhancement.scenes] == ["s0", "s1", "s2"]


def test_a_take_outlives_a_rerun_that_is_about_something_else_and_an_edit_of_the_prompt(film: Record) -> None:
    taken = again(film, edits={"prompt_enhancement": {"sound_take": 3}})
    edits = {"prompt_enhancement": {"scenes": [{"scene": 1, "sound_prompt": "rain"}]}}
    for wanted in ({"options": {"fade_out_seconds": 1}}, {"edits": edits}):
        _, outputs = changed(taken, Rerun.model_validate(wanted))
        assert outputs.prompt_enhancement is not None
        assert [scene.sound_take for scene in outputs.prompt_enhancement.scenes] == [3, 3, 3]


def test_a_scene_gets_another_frame_or_other_words(film: Record) -> None:
    edits = {
        "frame_selection": {"scenes": [{"scene": 0, "index": 1}]},
        "frame_description": {"scenes": [{"scene": 2, "text": "A crow."}]},
    }
    _, outputs = changed(film, Rerun.model_validate({"edits": edits}))
    assert outputs.frame_selection is not None
    assert outputs.frame_description is not None
    assert [scene.index for scene in outputs.frame_selection.scenes] == [1, 2, 4]
    assert (outputs.frame_selection.index, outputs.frame_selection.path) == (1, "videos/x/0002.jpg")
    assert [scene.text for scene in outputs.frame_description.scenes] == ["A dog.", "A cat.", "A crow."]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (
            {"edits": {"frame_selection": {"index": 1}}},
            "has 3 scenes: say which one is meant .edits.frame_selection.scenes",
        ),
        (
            {"edits": {"frame_description": {"text": "x"}}},
            "has 3 scenes: say which one is meant .edits.frame_description.scenes",
        ),
        (
            {"edits": {"frame_description": {"scenes": [{"scene": 3, "text": "x"}]}}},
            "has 3 scenes, 0 to 2; there is no scene 3",
        ),
        ({"edits": {"frame_selection": {"scenes": [{"scene": 0, "index": 6}]}}}, "frames are 0 to 5, not 6"),
        ({"edits": {"frame_selection": {"scenes": [{"scene": 0, "index": 2}]}}}, "frames of scene 0 are 0 to 1, not 2"),
        ({"edits": {"frame_description": {"scenes": [{"scene": 1, "text": t} for t in "xy"]}}}, "says twice"),
        (
            {"edits": {"prompt_enhancement": {"scenes": [{"scene": 3, "music_take": 1}]}}},
            "has 3 scenes, 0 to 2; there is no scene 3",
        ),
        ({"edits": {"prompt_enhancement": {"scenes": [{"scene": 1, "sound_take": t} for t in (1, 2)]}}}, "says twice"),
        ({"options": {"scenes": 2}, "edits": {"prompt_enhancement": {"music_prompt": "x"}}}, "change scenes first"),
    ],
)
def test_scenes_that_are_not_there_are_refused(film: Record, wanted: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidOptions, match=words):
        changed(film, Rerun.model_validate(wanted))


def test_with_other_scenes_everything_that_hangs_on_them_is_made_anew(film: Record) -> None:
    edited = again(film, edits={"prompt_enhancement": {"scenes": [{"scene": 1, "sound_prompt": "rain"}]}})
    assert begins_with(edited, options={"scenes": 2}) == {"frame_extraction": "kept", "object_detection": "kept"}
    assert "frame_extraction" not in begins_with(edited, options={"scenes": 1})


def test_another_frame_and_another_description_go_together(record: Record) -> None:
    edits = {"frame_selection": {"index": 0}, "frame_description": {"text": "A cat."}}
    kept = begins_with(record, edits=edits)
    assert kept == {"frame_extraction": "kept", "frame_selection": "edited", "frame_description": "edited"}


def test_what_other_options_change_is_not_kept(record: Record) -> None:
    kept = begins_with(record, options={"k": 3}, edits={"frame_description": {"text": "A cat."}})
    assert kept == {"frame_description": "edited"}


def again(record: Record, **wanted: object) -> Record:
    """The record of a finished rerun."""
    options, outputs = changed(record, Rerun.model_validate(wanted))
    new = Record(video_input=record.video_input.model_copy(update={"options": options})).append(outputs)
    for unit in units(new):
        if not unit.done(new):
            new = new.append(records.output(unit.module, unit.part))
    return new


def test_an_edit_outlives_a_second_rerun_that_is_about_something_else(record: Record) -> None:
    edited = again(record, edits={"prompt_enhancement": {"sound_prompt": "rain"}})
    options, outputs = changed(edited, Rerun(options={"music_volume_db": -6}))
    assert options.music_volume_db == -6
    assert outputs.prompt_enhancement is not None
    assert (outputs.prompt_enhancement.sound_prompt, outputs.prompt_enhancement.origin) == ("rain", "edited")
    assert outputs.frame_description is not None
    assert outputs.frame_description.origin == "kept"


def test_an_earlier_edit_goes_when_what_it_was_made_on_changes(record: Record) -> None:
    edited = again(record, edits={"prompt_enhancement": {"sound_prompt": "rain"}})
    assert begins_with(edited, options={"sound_prompt": "wind"}).get("prompt_enhancement") is None
    described = begins_with(edited, edits={"frame_description": {"text": "A cat."}})
    assert described.get("prompt_enhancement") is None
    assert described["frame_description"] == "edited"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"options": {"sead": 3}}, "sead"),
        ({"options": {"k": 0}}, "k: .*greater than 0"),
        ({"options": {"music": False, "sounds": False}}, "neither"),
        ({"edits": {"frame_selection": {"index": 1}}}, "frames are 0 to 0, not 1"),
        ({"options": {"k": 3}, "edits": {"frame_selection": {"index": 0}}}, "change k first"),
    ],
)
def test_what_makes_no_sense_is_refused(record: Record, wanted: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidOptions, match=words):
        changed(record, Rerun.model_validate(wanted))


def test_what_was_never_computed_cannot_be_edited(record: Record) -> None:
    early = record.model_copy(update={"frame_description": None})
    with pytest.raises(MissingOutput, match="frame_description"):
        changed(early, Rerun.model_validate({"edits": {"frame_description": {"text": "x"}}}))


def test_an_image_has_no_frame_to_select(record: Record) -> None:
    image = Record(video_input=records.image_input())
    with pytest.raises(InvalidOptions, match="image"):
        changed(image, Rerun.model_validate({"edits": {"frame_selection": {"index": 0}}}))
