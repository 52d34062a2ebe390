"""Words alone, as a record's beginning."""

import hashlib

import pytest

from models.errors import InputTooLarge, InvalidOptions
from models.record import AUDIO_FORMATS, VIDEO_FORMATS, Options, VideoInput
from models.video_input import MediaLimits
from models.words import title, words_input


def came(text: str = "море", **options: object) -> VideoInput:
    limits = MediaLimits(max_seconds=60)
    return words_input(text, key="videos/x/source.txt", options=Options.model_validate(options), limits=limits)


def test_the_words_are_kept_as_they_are_and_counted_in_bytes() -> None:
    found = came(" море\n", seconds=20)
    assert (found.text, found.name, found.size_bytes, found.result_seconds) == (" море\n", "море", 10, 20)
    assert found.token == hashlib.md5(" море\n".encode()).hexdigest()
    assert (found.width, found.height, found.has_audio, found.streams) == (0, 0, False, ())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rain\non \x1b[31m a\troof\u202e", "rain on [31m a roof"),
        ("a/b\\c", "a/b\\c"),
        ("x" * 60, "x" * 60),
        ("word " * 20, "word word word word word word word word word word word word…"),
    ],
)
def test_the_first_of_the_words_are_its_name(text: str, named: str) -> None:
    assert title(text) == named
    assert len(named) <= 60


def test_a_format_that_needs_a_picture_is_refused() -> None:
    for name in (None, *AUDIO_FORMATS):
        assert came(format=name).options.format == name
    for video in VIDEO_FORMATS:
        with pytest.raises(InvalidOptions, match=f"format is {video}"):
            came(format=video)


def test_a_sound_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InputTooLarge, match="seconds = 61"):
        came(seconds=61)


def test_words_stand_in_a_record_of_words_alone_and_in_no_other() -> None:
    for changed in ({"text": None}, {"media": "image"}):
        with pytest.raises(ValueError, match="words of a run of words alone"):
            VideoInput.model_validate(came().model_dump() | changed)
