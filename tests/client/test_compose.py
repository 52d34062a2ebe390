"""`immersivaudio compose`: words alone become a sound. A fake service answers it over a real socket."""

from pathlib import Path

import pytest

from models.record import Record
from tests.client.command import immersivaudio
from tests.client.fake import RUN_ID, Fake
from tests.client.logs import a_failure, video_input

WORDS = "rain on a tin roof"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_become_a_file_that_is_named_after_them(fake: Fake, folder: Path) -> None:
    ended = immersivaudio("compose", WORDS, "--seconds", "20", "--no-music", fake=fake)
    assert (ended.exit_code, ended.stdout) == (0, "rain-on-a-tin-roof.immersivaudio.wav\n")
    assert (folder / "rain-on-a-tin-roof.immersivaudio.wav").read_bytes() == b"the result"
    assert fake.texts == [(WORDS, '{"music":false,"seconds":20.0}')]
    assert fake.artifacts == ["audio"]
    assert "“rain on a tin roof”: words alone, for 20 s of sound" in ended.stderr


def test_out_chooses_name_and_format(fake: Fake, folder: Path) -> None:
    assert immersivaudio("compose", WORDS, "-o", "rain.mp3", fake=fake).exit_code == 0
    assert (folder / "rain.mp3").exists()
    assert fake.texts == [(WORDS, '{"format":"mp3"}')]


def test_the_words_come_from_stdin_and_the_sound_goes_to_stdout(fake: Fake) -> None:
    ended = immersivaudio("compose", "-", "-o", "-", fake=fake, stdin="море\n".encode())
    assert (ended.exit_code, ended.stdout_bytes) == (0, b"the result")
    assert fake.texts == [("море", "{}")]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("../../etc/passwd; rm -rf ~", "etc-passwd-rm-rf"),
        ("-o x.wav", "o-x-wav"),
        ("a\nb\x1b[31m", "a-b-31m"),
        ("море и ветер", "море-и-ветер"),
        ("x" * 300, "x" * 40),
        ("word " * 60, "word-word-word-word-word-word-word-word"),
        ("☔☔", RUN_ID),
    ],
    ids=ascii,
)
def test_whatever_the_words_the_name_is_one_in_this_folder(fake: Fake, folder: Path, words: str, name: str) -> None:
    assert immersivaudio("compose", "--", words, fake=fake).exit_code == 0
    assert [path.name for path in folder.iterdir()] == [f"{name}.immersivaudio.wav"]


def test_what_is_there_is_not_written_over(fake: Fake, folder: Path) -> None:
    there = folder / "rain-on-a-tin-roof.immersivaudio.wav"
    there.write_bytes(b"old")
    refused = immersivaudio("compose", WORDS, fake=fake)
    assert (refused.exit_code, there.read_bytes(), fake.texts) == (2, b"old", [])
    assert immersivaudio("compose", WORDS, "--force", fake=fake).exit_code == 0
    assert there.read_bytes() == b"the result"


@pytest.mark.parametrize(("words", "told"), [("", "these are blank"), ("x" * 1001, "at most 1000 characters")])
def test_words_that_are_none_are_refused_before_anything_is_asked(fake: Fake, words: str, told: str) -> None:
    refused = immersivaudio("compose", words, fake=fake)
    assert refused.exit_code == 2
    assert told in refused.stderr
    assert fake.asked == []


def test_how_it_ends_is_told_by_the_exit_code(fake: Fake) -> None:
    fake.keep_the_log, fake.log = True, a_failure(video_input())
    assert immersivaudio("compose", WORDS, fake=fake).exit_code == 1
    fake.refuse = (422, "format is mp4, a video's, and there is no picture to words alone")
    refused = immersivaudio("compose", WORDS, "-o", "rain.mp4", fake=fake)
    assert (refused.exit_code, "no picture to words alone" in refused.stderr) == (2, True)
    assert immersivaudio("compose", WORDS).exit_code == 3


def test_json_prints_the_record(fake: Fake) -> None:
    ended = immersivaudio("compose", WORDS, "--json", fake=fake)
    assert Record.model_validate_json(ended.stdout).video_input.text == WORDS


def test_the_stems_lie_beside_it(fake: Fake, folder: Path) -> None:
    assert immersivaudio("compose", WORDS, "-o", "rain.wav", "--stems", fake=fake).exit_code == 0
    assert {path.name for path in folder.iterdir()} == {"rain.wav", "rain.music.flac", "rain.sounds.flac"}
