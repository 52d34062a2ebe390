import re
from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from models.prompt_enhancement import PromptEnhancementSettings, PromptEnhancer, SeenScene, labels_by_share
from models.record import Box, DetectedObject, FrameObjects, Options, PromptEnhancement

ENHANCER = PromptEnhancer(PromptEnhancementSettings())


def enhanced(description: str, frames: Sequence[FrameObjects], options: Options) -> PromptEnhancement:
    """The prompts of a video that is one scene."""
    return ENHANCER.enhance([SeenScene(description, frames)], options)


def frame(
    *objects: tuple[str, float, tuple[float, float, float, float]], size: tuple[int, int] = (100, 100)
) -> FrameObjects:
    """A frame with objects given as label, score, box."""
    found = [
        DetectedObject(label=label, score=score, box=Box(x0=x0, y0=y0, x1=x1, y1=y1))
        for label, score, (x0, y0, x1, y1) in objects
    ]
    return FrameObjects(frame=0, width=size[0], height=size[1], objects=tuple(found))


BEACH = [
    frame(("dog", 0.9, (0, 0, 10, 10)), ("person", 0.5, (0, 0, 50, 100))),
    frame(("surfboard", 0.6, (0, 0, 30, 30))),
]


def test_prompts_hold_the_description_and_the_objects_that_fill_most_first() -> None:
    made = enhanced("A person throws a ball.", BEACH, Options())
    for prompt in (made.music_prompt, made.sound_prompt):
        assert "A person throws a ball." in prompt
        assert "person, surfboard and dog." in prompt
    assert "music" in made.music_prompt.lower()
    assert "sound" in made.sound_prompt.lower()
    assert made.negative_prompt != ""


def test_every_scene_has_prompts_of_its_own_under_the_same_words() -> None:
    seen = [SeenScene("A beach", BEACH), SeenScene("A forest", [frame(("bird", 0.8, (0, 0, 9, 9)))])]
    made = ENHANCER.enhance(seen, Options(music_prompt="slow cello"))
    beach, forest = made.scenes
    assert (beach.music_prompt, beach.sound_prompt) == (made.music_prompt, made.sound_prompt)
    assert (beach.objects, forest.objects) == (("person", "surfboard", "dog"), ("bird",))
    assert "A forest" in forest.sound_prompt
    assert "bird" in forest.sound_prompt
    assert "dog" not in forest.sound_prompt
    assert all(scene.music_prompt.startswith("slow cello. ") for scene in made.scenes)


def test_the_users_own_words_lead_the_prompt_they_are_for() -> None:
    options = Options(music_prompt="slow cello", sound_prompt="gulls", negative_prompt="voices")
    made = enhanced("A beach", BEACH, options)
    assert made.music_prompt.startswith("slow cello. ")
    assert made.sound_prompt.startswith("gulls. ")
    assert made.negative_prompt.startswith("voices. ")
    assert "gulls" not in made.music_prompt
    assert len(made.negative_prompt) > len("voices. ")


@pytest.mark.parametrize("words", [None, "", "  ", "gentle piano", "gentle piano,", "Is it sad?\n"])
@pytest.mark.parametrize("frames", [[], [frame()], BEACH], ids=["no frames", "no objects", "objects"])
@pytest.mark.parametrize(
    "description", ["", " \n ", ".", "A beach", "A beach. ", "A beach...", " A\n beach ;", 'He says "run!"']
)
def test_whatever_is_missing_nothing_dangles(description: str, frames: list[FrameObjects], words: str | None) -> None:
    made = enhanced(description, frames, Options(music_prompt=words, sound_prompt=words, negative_prompt=words))
    for prompt in (made.music_prompt, made.sound_prompt, made.negative_prompt):
        assert prompt.strip() == prompt != ""
        assert not re.search(r"[,;:]\s*([.,;:]|$)", prompt), prompt
        assert not re.search(r"\s[.,;:!?]|\s\s|\n|\.\.|[?!]\.|^\W", prompt), prompt
        assert not re.search(r"\b(of|with|scene|view|and)\W*\.", prompt), prompt


def test_a_sentence_for_which_there_is_nothing_is_left_out_whole() -> None:
    settings = PromptEnhancementSettings(music=("Piano", "with {objects}", "for {description}, {words}"))
    made = PromptEnhancer(settings).enhance([SeenScene("a beach", [])], Options())
    assert made.music_prompt == "Piano."


def test_braces_in_what_people_or_models_write_stay_as_they_are() -> None:
    made = enhanced("A sign says {objects}", [], Options(sound_prompt="{description} {0} {"))
    assert made.sound_prompt.startswith("{description} {0} {. ")
    assert "A sign says {objects}." in made.sound_prompt


def test_words_in_other_scripts_end_as_their_script_ends() -> None:
    made = enhanced("海辺を犬が走る！", [], Options(sound_prompt="波の音。"))
    assert made.sound_prompt.startswith("波の音. ")
    assert "海辺を犬が走る！" in made.sound_prompt
    assert "！." not in made.sound_prompt


def test_no_more_objects_are_named_than_the_setting_says() -> None:
    for count, named in ((0, None), (1, "Hear person."), (2, "Hear person and surfboard.")):
        settings = PromptEnhancementSettings(sound=("Hear {objects}",), objects=count)
        assert PromptEnhancer(settings).enhance([SeenScene("", BEACH)], Options()).sound_prompt == (named or "")


def test_overlapping_boxes_of_one_label_are_counted_once() -> None:
    crowd = [("person", 0.9, (0.0, 0.0, 40.0, 100.0))] * 5
    assert labels_by_share([frame(*crowd, ("bus", 0.3, (0, 0, 41, 100)))]) == ["bus", "person"]
    apart = [("person", 0.9, (x, 0.0, x + 10.0, 100.0)) for x in (0.0, 5.0, 50.0, 60.0, 61.0)]  # 15 + 21 wide
    assert labels_by_share([frame(*apart, ("bus", 0.3, (0, 0, 36.1, 100)))]) == ["bus", "person"]
    assert labels_by_share([frame(*apart, ("bus", 0.3, (0, 0, 35.9, 100)))]) == ["person", "bus"]


def test_what_stays_counts_more_than_what_is_large_for_a_moment() -> None:
    stays = ("tree", 0.4, (0.0, 0.0, 50.0, 60.0))
    passes = ("truck", 0.9, (0.0, 0.0, 100.0, 100.0))
    assert labels_by_share([frame(stays), frame(stays), frame(stays), frame(stays, passes)]) == ["tree", "truck"]


def test_shares_are_of_the_frame_whatever_its_size() -> None:
    small = frame(("cat", 0.5, (0, 0, 8, 8)), size=(10, 10))
    large = frame(("dog", 0.5, (0, 0, 500, 500)), size=(1000, 1000))
    assert labels_by_share([small, large]) == ["cat", "dog"]


def test_among_equally_large_objects_the_surest_and_then_the_alphabet_decides() -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    assert labels_by_share([frame(("cup", 0.5, box), ("bowl", 0.5, box), ("wine", 0.8, box))]) == [
        "wine",
        "bowl",
        "cup",
    ]


@pytest.mark.parametrize(
    "template", ["{mood}", "{}", "{0}", "{words.__class__}", "{words[0]}", "{words!r}", "{words:>9}"]
)
def test_a_template_with_another_placeholder_is_refused_by_name(template: str) -> None:
    refused = re.escape(f"has {template}; it may have {{words}}, {{description}}, {{objects}}")
    with pytest.raises(ValidationError, match=refused):
        PromptEnhancementSettings(music=("Piano", template))


@pytest.mark.parametrize("template", ["{words", "words}", "{words} {"])
def test_a_template_with_a_loose_brace_is_refused(template: str) -> None:
    with pytest.raises(ValidationError, match="loose brace"):
        PromptEnhancementSettings(sound=(template,))


def test_the_negative_template_takes_the_users_words_only() -> None:
    with pytest.raises(ValidationError, match=r"has \{objects\}; it may have \{words\}"):
        PromptEnhancementSettings(negative=("{objects}",))
