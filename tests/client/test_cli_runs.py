"""The command line's words for runs that are there already, and for uploads that take long, keys, and busy services."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from client.flags import edit_flags
from models.record import Edits, Options, Record, Run
from tests.client.command import immersivaudio, read_to_end, start
from tests.client.fake import RERUN_ID, RUN_ID, Fake
from tests.client.logs import a_cancellation, a_failure, a_log, a_rocky_run, video_input


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def plain(text: str) -> str:
    return re.sub(r"[│╭╰─╮╯\s]+", " ", text)


def test_a_rerun_sends_the_flags_that_were_given_and_saves_the_new_result(fake: Fake) -> None:
    flags = "--seed 7 --original 0.5 --no-sounds --no-loudness --music-prompt strings"
    ended = immersivaudio("rerun", RUN_ID, *flags.split(), fake=fake)
    assert (ended.exit_code, ended.stdout) == (0, f"{RERUN_ID}.immersivaudio.mp4\n")
    assert Path(f"{RERUN_ID}.immersivaudio.mp4").read_bytes() == b"the result"
    assert fake.reruns[0][0] == RUN_ID
    assert json.loads(fake.reruns[0][2]) == {
        "options": {"seed": 7, "original": 0.5, "sounds": False, "loudness_lufs": None, "music_prompt": "strings"}
    }
    assert f"accepted as {RERUN_ID}, a rerun of {RUN_ID}" in ended.stderr.splitlines()


def test_a_rerun_may_keep_candidates_when_the_run_had_several(fake: Fake) -> None:
    immersivaudio("rerun", RUN_ID, "--keep-candidates", "-o", "again.wav", fake=fake)
    assert json.loads(fake.reruns[0][2]) == {"options": {"keep_candidates": True, "format": "wav"}}
    ended = immersivaudio("rerun", RUN_ID, "--keep-candidates", "--candidates", "1", fake=fake)
    assert (ended.exit_code, len(fake.reruns)) == (2, 1)
    assert "ask for 2 candidates or more" in plain(ended.stderr)


def test_a_rerun_without_flags_changes_nothing(fake: Fake) -> None:
    assert immersivaudio("rerun", RUN_ID, fake=fake).exit_code == 0
    assert json.loads(fake.reruns[0][2]) == {}


def test_every_output_that_may_be_edited_has_a_flag(fake: Fake) -> None:
    flags = [
        "--frame",
        "3",
        "--description",
        "A storm.",
        "--edit-music-prompt",
        "drums",
        "--edit-sound-prompt",
        "thunder",
        "--music-take",
        "2",
        "--sound-take",
        "0",
    ]
    immersivaudio("rerun", RUN_ID, *flags, "--edit-negative-prompt", "", "-o", "again.wav", fake=fake)
    assert json.loads(fake.reruns[0][2]) == {
        "options": {"format": "wav"},
        "edits": {
            "frame_selection": {"index": 3},
            "frame_description": {"text": "A storm."},
            "prompt_enhancement": {
                "music_prompt": "drums",
                "sound_prompt": "thunder",
                "negative_prompt": "",
                "music_take": 2,
                "sound_take": 0,
            },
        },
    }
    fields = sum(len(kind.model_fields.keys() - {"scenes"}) for kind in map(edited, Edits.model_fields))
    assert len(edit_flags()) == fields + 1  # the scene in which it is edited


def test_one_scene_of_several_is_edited_alone(fake: Fake) -> None:
    flags = [
        "--frame",
        "3",
        "--description",
        "A storm.",
        "--edit-music-prompt",
        "drums",
        "--edit-sound-prompt",
        "thunder",
        "--music-take",
        "2",
        "--sound-take",
        "0",
    ]
    assert immersivaudio("rerun", RUN_ID, "--in-scene", "2", *flags, fake=fake).exit_code == 0
    assert json.loads(fake.reruns[0][2])["edits"] == {
        "frame_selection": {"scenes": [{"scene": 2, "index": 3}]},
        "frame_description": {"scenes": [{"scene": 2, "text": "A storm."}]},
        "prompt_enhancement": {
            "scenes": [
                {"scene": 2, "music_prompt": "drums", "sound_prompt": "thunder", "music_take": 2, "sound_take": 0}
            ]
        },
    }


def edited(module: str) -> type[Edits]:
    annotation = Edits.model_fields[module].annotation
    return next(kind for kind in annotation.__args__ if kind is not type(None))  # type: ignore[union-attr, no-any-return]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--frame", "-1"], "Invalid value for --frame: '-1' is not allowed: a whole number at least 0, below 10000"),
        (["--frame", "first"], "'first' is not allowed: a whole number at least 0"),
        (["--description", "x" * 1001], "Invalid value for --description"),
        (["--edit-music-prompt", "x" * 4001], "at most 4000 characters"),
        (
            ["--in-scene", "50", "--description", "x"],
            "Invalid value for --in-scene: '50' is not allowed: a whole number",
        ),
        (["--in-scene", "1", "--frame", "-1"], "Invalid value for --frame: '-1' is not allowed"),
        (["--in-scene", "1", "--edit-sound-prompt", "x" * 4001], "at most 4000 characters"),
        (
            ["--in-scene", "1"],
            "Invalid value for --in-scene: give one of --frame, --description, --edit-music-prompt, ",
        ),
        (
            ["--sound-take", "1000"],
            "Invalid value for --sound-take: '1000' is not allowed: a whole number at least 0, at most 999",
        ),
        (
            ["--in-scene", "1", "--music-take", "two"],
            "Invalid value for --music-take: 'two' is not allowed: a whole number",
        ),
        (
            ["--in-scene", "1", "--edit-negative-prompt", "x"],
            "--edit-negative-prompt is for all scenes: leave --in-scene",
        ),
        (["--no-music", "--no-sounds"], "ask for music, for sounds or for both"),
        (["--format", "mp4", "-o", "x.wav"], "OUT ends in .wav, --format says mp4"),
        (["-o", "there.mp4"], "there.mp4 is there already: give --force to overwrite it"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_wrong_change_is_told_before_anything_is_sent(fake: Fake, flags: list[str], sentence: str) -> None:
    Path("there.mp4").write_bytes(b"mine")
    ended = immersivaudio("rerun", RUN_ID, *flags, fake=fake)
    assert ended.exit_code == 2
    assert sentence in plain(ended.stderr)
    assert len(ended.stderr) < 2000
    assert fake.asked == []


def test_help_of_rerun_speaks_of_what_was_and_not_of_defaults() -> None:
    told = plain(immersivaudio("rerun", "--help").stdout)
    assert "default 10" not in told
    assert "Not given" not in told
    assert "Not given" in plain(immersivaudio("enhance", "--help").stdout)
    for name in Options.model_fields:
        assert f"--{name.replace('_', '-')} " in told, name


def test_a_run_is_followed_to_its_end_and_its_result_written(fake: Fake) -> None:
    ended = immersivaudio("follow", RUN_ID, "-o", "sea.mp4", fake=fake)
    assert (ended.exit_code, ended.stdout) == (0, "sea.mp4\n")
    assert Path("sea.mp4").read_bytes() == b"the result"
    assert ended.stderr.splitlines()[0] == f"accepted as {RUN_ID}"


def test_a_run_can_be_followed_without_its_result(fake: Fake) -> None:
    ended = immersivaudio("follow", RUN_ID, fake=fake)
    assert (ended.exit_code, ended.stdout, fake.artifacts) == (0, "", [])
    assert "finished after 10.0 s" in ended.stderr.splitlines()
    quiet = immersivaudio("follow", RUN_ID, "--json", fake=fake)
    assert Record.model_validate_json(quiet.stdout) == fake.run.record
    assert quiet.stderr == ""


def test_a_result_is_not_written_under_the_name_of_another_format(fake: Fake) -> None:
    ended = immersivaudio("follow", RUN_ID, "-o", "sea.wav", fake=fake)
    assert ended.exit_code == 2
    assert "sea.wav ends in .wav, the result is mp4" in plain(ended.stderr)
    assert not Path("sea.wav").exists()


def test_following_overwrites_only_when_told_to(fake: Fake) -> None:
    Path("sea.mp4").write_bytes(b"mine")
    assert immersivaudio("follow", RUN_ID, "-o", "sea.mp4", fake=fake).exit_code == 2
    assert Path("sea.mp4").read_bytes() == b"mine"
    assert immersivaudio("follow", RUN_ID, "-o", "sea.mp4", "--force", fake=fake).exit_code == 0
    assert Path("sea.mp4").read_bytes() == b"the result"


@pytest.mark.parametrize("command", ["enhance", "follow"])
def test_a_cancelled_run_ends_with_one_sentence(fake: Fake, video: Path, command: str) -> None:
    fake.log, fake.keep_the_log = a_cancellation(video_input()), True
    ended = immersivaudio(command, video if command == "enhance" else RUN_ID, fake=fake)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-2:] == ["cancelled after 3.0 s", f"immersivaudio: run {RUN_ID} was cancelled"]


def test_runs_are_cancelled_also_behind_one_that_is_not_there(fake: Fake) -> None:
    fake.log = a_log(video_input())[:4]
    ended = immersivaudio("cancel", "nobodys", RUN_ID, fake=fake)
    assert (ended.exit_code, ended.stdout, fake.run.status) == (2, "", "cancelled")
    assert ended.stderr.splitlines() == [
        "immersivaudio: there is no run nobodys",
        f"immersivaudio: {RUN_ID}: cancelled after 4.0 s",
    ]


def test_cancelling_a_run_that_has_ended_is_no_error(fake: Fake) -> None:
    ended = immersivaudio("cancel", RUN_ID, fake=fake)
    assert (ended.exit_code, ended.stderr) == (0, f"immersivaudio: {RUN_ID} had ended: finished after 10.0 s\n")


def test_a_run_is_deleted_when_it_has_ended(fake: Fake) -> None:
    fake.log = a_log(video_input())[:4]
    first = immersivaudio("delete", RUN_ID, fake=fake)
    assert first.exit_code == 1
    assert first.stderr == f"immersivaudio: {RUN_ID} had not ended: it is cancelled now; delete it again to delete it\n"
    assert fake.deleted == []
    assert immersivaudio("delete", RUN_ID, fake=fake).exit_code == 0
    assert fake.deleted == [RUN_ID]


def test_a_run_is_shown_as_it_is(fake: Fake) -> None:
    fake.log = a_rocky_run(video_input())
    told = immersivaudio("show", RUN_ID, fake=fake).stdout.splitlines()
    assert told[0] == f"run {RUN_ID}: finished after 10.0 s; 1 attempt failed and made again; taken over 1 time"
    assert told[2] == "frame_extraction: 10 frames (ffmpeg, 0.5 s)"
    assert told[-1].startswith("This is a draft")


def test_a_run_that_goes_on_or_failed_is_shown_too(fake: Fake) -> None:
    fake.log = a_log(video_input())[:3]
    assert immersivaudio("show", RUN_ID, fake=fake).stdout.splitlines()[0] == f"run {RUN_ID}: running"
    fake.log = a_failure(video_input())
    ended = immersivaudio("show", RUN_ID, fake=fake)
    assert ended.exit_code == 0
    assert f"run {RUN_ID}: failed in object_detection after 3.0 s: the detector broke" in ended.stdout


def test_a_run_is_shown_as_json(fake: Fake) -> None:
    assert Run.model_validate_json(immersivaudio("show", RUN_ID, "--json", fake=fake).stdout) == fake.run


@pytest.mark.parametrize("command", ["follow", "rerun", "cancel", "delete", "show"])
def test_without_a_service_the_address_is_named(command: str) -> None:
    ended = immersivaudio(command, RUN_ID)
    assert ended.exit_code == 3
    assert ended.stderr.splitlines()[-1].startswith("immersivaudio: ")
    assert "no service answers at http://127.0.0.1:9 " in ended.stderr


def test_a_large_file_goes_up_in_parts_with_a_bar(fake: Fake, tmp_path: Path) -> None:
    with (film := tmp_path / "film.mp4").open("wb") as file:
        file.truncate(2**25 + 1)
    fake.tus.breakages = ["fine", "cut"]
    screen, terminal = pty.openpty()
    child = start("enhance", film, "--server", fake.url, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read_to_end(screen))
    told, _ = child.communicate(timeout=30)
    assert (child.returncode, told) == (0, f"{tmp_path / 'film.immersivaudio.mp4'}\n".encode())
    assert re.search(r"sending film.mp4 +[━╸╺]+ +\d+\.\d MiB of 32.0 MiB", drawn)
    assert fake.tus.parts == [(0, 2**23), (2**23, 2**23), (2**24, 2**23), (3 * 2**23, 2**23), (2**25, 1)]


def test_a_busy_service_is_waited_for(fake: Fake, video: Path) -> None:
    fake.refuse_runs = [(429, {"Retry-After": "0"})]
    ended = immersivaudio("enhance", video, fake=fake)
    assert ended.exit_code == 0
    assert ended.stderr.splitlines()[:3] == [
        "sending sea.mp4",
        "the service is busy; trying again in 0 s",
        f"accepted as {RUN_ID}",
    ]


def test_a_service_that_stays_busy_has_an_exit_code_that_says_try_later(fake: Fake, video: Path) -> None:
    fake.refuse_runs = [(429, {})]
    ended = immersivaudio("enhance", video, "--json", fake=fake)
    assert (ended.exit_code, ended.stderr) == (3, "immersivaudio: 100 runs wait already\n")


def test_the_key_comes_from_the_environment_and_is_never_said(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.api_key = "open-sesame"
    without = immersivaudio("show", RUN_ID, fake=fake)
    assert without.exit_code == 2
    assert without.stderr == (
        "immersivaudio: this service asks for an API key: is IMMERSIVAUDIO_API_KEY set, and right?\n"
    )
    for key, code in (("open-sesame", 0), ("sesame-open", 2), ("se same", 2), ("", 2)):
        monkeypatch.setenv("IMMERSIVAUDIO_API_KEY", key)
        ended = immersivaudio("show", RUN_ID, fake=fake)
        assert ended.exit_code == code
        assert not key or key not in ended.output
    assert "--api-key" not in immersivaudio("show", "--help").stdout


def test_ctrl_c_while_a_run_is_followed_says_how_to_go_on(fake: Fake) -> None:
    fake.slow_seconds = 60
    child = start("follow", RUN_ID, "--server", fake.url, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr
    while not fake.asked_after:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    told = child.stderr.read().decode()
    child.stderr.close()
    assert child.wait(30) == 130
    assert f"`immersivaudio cancel {RUN_ID} --server {fake.url}` stops it" in told
    assert fake.run.status == "finished"


def test_ctrl_c_during_an_upload_speaks_of_no_run(fake: Fake, tmp_path: Path) -> None:
    with (film := tmp_path / "film.mp4").open("wb") as file:
        file.truncate(2**25 + 1)
    fake.tus.breakages, fake.tus.silent_seconds = ["fine", "silent"], 5
    child = start("enhance", film, "--server", fake.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not fake.tus.parts:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    told, errors = child.communicate(timeout=30)
    assert (child.returncode, told) == (130, b"")
    assert errors.decode().splitlines() == [
        "sending film.mp4",
        "immersivaudio: stopped before a run was started; sending it again begins anew",
    ]
    assert fake.uploads == []
