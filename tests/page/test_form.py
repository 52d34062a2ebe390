"""What the form's inputs become: options, or a sentence in the form's own words."""

import re

import gradio as gr
import pytest

from client.page.form import Form, Kind, form
from client.page.presets import MOST, STYLES
from models.record import Options


def values(drawn: Form, **given: object) -> list[object]:
    """What the form's inputs hold, with some filled in."""
    return [given.get(name, component.value) for name, component in drawn.fields.items()]


@pytest.fixture(scope="module")
async def forms() -> dict[Kind, Form]:
    # Gradio looks for an event loop: without one that runs, it makes one that nobody closes.
    kinds: tuple[Kind, ...] = ("video", "image", "text")
    with gr.Blocks(analytics_enabled=False):
        return {kind: form(kind) for kind in kinds}


@pytest.mark.parametrize("kind", ["video", "image", "text"])
def test_a_form_left_alone_asks_for_the_defaults(forms: dict[Kind, Form], kind: Kind) -> None:
    options, reference = forms[kind].read(values(forms[kind]))
    assert options == Options()
    assert reference is None


def test_every_option_can_be_chosen_somewhere(forms: dict[Kind, Form]) -> None:
    offered = {name for one in forms.values() for name in one.fields}
    finer = {"duck_attack_seconds", "duck_release_seconds"}  # for the command line
    assert set(Options.model_fields) - offered == finer


def test_numbers_and_choices_arrive_as_options_have_them(forms: dict[Kind, Form]) -> None:
    given = values(
        forms["video"],
        seed=" 7 ",
        guidance="3,5",
        scenes="auto",
        loudness_lufs="as it is",
        format="mkv",
        reference={"upload": "b" * 32},
    )
    options, reference = forms["video"].read(given)
    assert options.guidance == 3.5
    assert (options.seed, options.scenes, options.loudness_lufs, options.format) == (7, "auto", None, "mkv")
    assert reference == "b" * 32


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"steps": "9000"}, "Steps: a whole number at least 1, at most 500"),
        ({"music": False, "sounds": False}, "neither is nothing to do"),
        ({"seed": "1.5"}, "Seed: a whole number"),
        ({"guidance": "much"}, "Guidance: a number"),
    ],
)
def test_what_options_refuse_is_told_in_the_forms_words(
    forms: dict[Kind, Form], given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        forms["video"].read(values(forms["video"], **given))


def test_a_style_and_the_users_own_words_never_push_each_other_out(forms: dict[Kind, Form]) -> None:
    own = "x" * MOST
    for style, (added, *_) in STYLES.items():
        given = values(forms["image"], style=style, music_prompt=own)
        if not added:
            assert forms["image"].read(given)[0].music_prompt == own
            continue
        with pytest.raises(ValueError, match="Your words leave no room for the style: shorten them, or choose another"):
            forms["image"].read(given)
        room = MOST - len(", " + added)
        options, _ = forms["image"].read(values(forms["image"], style=style, music_prompt=own[:room]))
        assert options.music_prompt == f"{own[:room]}, {added}"
