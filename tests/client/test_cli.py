"""The command line: what it says, where it says it, and how it ends. A fake service answers it over a real socket."""

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from client.flags import bounds
from models.record import ModuleInfo, Options, Record
from tests.client.command import immersivaudio, read_to_end, start
from tests.client.fake import RUN_ID, Fake
from tests.client.logs import a_choice, a_failure, of_scenes, video_input


def test_a_video_is_enhanced_beside_itself_and_only_the_path_goes_to_stdout(fake: Fake, video: Path) -> None:
    ended = immersivaudio("enhance", video, fake=fake)
    result = video.with_name("sea.immersivaudio.mp4")
    assert (ended.exit_code, ended.stdout) == (0, f"{result}\n")
    assert result.read_bytes() == b"the result"
    assert video.read_bytes() == b"pictures"


def test_away_from_a_terminal_each_event_is_one_plain_line(fake: Fake, video: Path) -> None:
    told = immersivaudio("enhance", video, fake=fake).stderr
    assert "\x1b" not in told
    assert told.splitlines() == [
        "sending sea.mp4",
        f"accepted as {RUN_ID}",
        "video_input: sea.mp4: 12.0 s, 960×540, 25 fps, h264 in mp4, without sound",
        "started",
        "frame_extraction: 10 frames (ffmpeg, 0.5 s)",
        "object_detection: water in 2 frames (sketch/scene, 0.5 s)",
        "frame_selection: frame 4 of 0–9, at 4.80 s (sketch/scene, 0.5 s)",
        "frame_description: A calm sea. Under a [31mred [0m sky.; mood: valence +0.40, arousal -0.20 (sketch/scene, 0.5 s)",
        "prompt_enhancement: music: calm music; sounds: waves; avoid: noise (templates, 0.5 s)",
        "audio_generation: music: 12.0 s, seed 7 (sketch/music, 0.5 s)",
        "audio_generation: sounds: 12.0 s, seed 7 (sketch/foley, 0.5 s)",
        "reconstruction: mp4, 12.0 s, picture copied, aac 48 kHz stereo; loudness -14.0 LUFS, peak -1.3 dBTP (ffmpeg, 0.5 s)",
        "finished after 10.0 s",
        "This is a draft, made without trained models (sketch/scene, sketch/music, sketch/foley).",
    ]


def test_json_prints_the_record_and_beside_it_only_the_runs_id(fake: Fake, video: Path) -> None:
    ended = immersivaudio("enhance", video, "--json", "-o", video.with_name("out.mp4"), fake=fake)
    assert Record.model_validate_json(ended.stdout) == fake.run.record
    assert ended.stderr == f"immersivaudio: run {RUN_ID}\n"
    assert video.with_name("out.mp4").exists()


def test_every_option_has_a_flag_and_goes_to_the_service_as_given(fake: Fake, video: Path) -> None:
    given = (
        "--k 5 --no-music --sounds --music-prompt strings --sound-prompt waves --negative-prompt noise --seed 7 "
        "--steps 20 --guidance 3.5 --candidates 2 --seconds 4 --format mkv --original 0.25 --music-volume-db -6 "
        "--sound-volume-db 3 --loudness-lufs -20 --keep-candidates --loop --reference-weight 0.2 "
        "--scenes auto --crossing-seconds 2 --original-mode keep --duck-db 6 --duck-attack-seconds 0.2 "
        "--duck-release-seconds 1.5 --stereo-width 0.3 --fade-in-seconds 0 --fade-out-seconds 4 --stem-format wav "
        "--descriptions --draft"
    )
    flags = given.split()
    assert immersivaudio("enhance", video, *flags, fake=fake).exit_code == 0
    sent = Options.model_validate_json(fake.uploads[0][2])
    assert sent == Options(
        k=5, music=False, music_prompt="strings", sound_prompt="waves", negative_prompt="noise", seed=7, steps=20,
        guidance=3.5, candidates=2, seconds=4, format="mkv", original=0.25, music_volume_db=-6, sound_volume_db=3,
        loudness_lufs=-20, keep_candidates=True, loop=True, reference_weight=0.2,
        scenes="auto", crossing_seconds=2, original_mode="keep", duck_db=6, duck_attack_seconds=0.2,
        duck_release_seconds=1.5, stereo_width=0.3, fade_in_seconds=0, fade_out_seconds=4, stem_format="wav",
        descriptions=True, draft=True,
    )  # fmt: skip
    assert set(Options.model_fields) == {
        flag[2:].replace("-", "_").removeprefix("no_") for flag in flags if flag[:2] == "--"
    }
    assert video.with_name("sea.immersivaudio.mkv").exists()


def test_what_is_on_can_be_turned_off(fake: Fake, video: Path) -> None:
    immersivaudio("enhance", video, "--no-keep-candidates", "--no-loop", fake=fake)
    assert Options.model_validate_json(fake.uploads[0][2]) == Options()


def test_a_sound_to_sound_like_goes_along(fake: Fake, video: Path, tmp_path: Path) -> None:
    (tmp_path / "drums.wav").write_bytes(b"drums")
    assert immersivaudio("enhance", video, "--reference", tmp_path / "drums.wav", fake=fake).exit_code == 0
    assert fake.references == [("drums.wav", b"drums")]
    ended = immersivaudio("enhance", video, "--reference", tmp_path / "gone.wav", "--force", fake=fake)
    assert (ended.exit_code, len(fake.uploads)) == (2, 1)
    assert "Invalid value for --reference: there is no file" in re.sub(r"[│╭╰─╮╯\s]+", " ", ended.stderr)


def test_a_reference_without_a_name_is_not_none(fake: Fake, video: Path) -> None:
    ended = immersivaudio("enhance", video, "--reference", "", fake=fake)
    assert (ended.exit_code, fake.asked) == (2, [])
    assert "Invalid value for --reference: there is no file ''" in re.sub(r"[│╭╰─╮╯\s]+", " ", ended.stderr)


def test_a_reference_that_is_too_large_is_refused_by_name_before_anything_is_sent(
    fake: Fake, video: Path, tmp_path: Path
) -> None:
    with (tmp_path / "concert.wav").open("wb") as file:
        file.truncate(16 * 2**20 + 1)
    ended = immersivaudio("enhance", video, "--reference", tmp_path / "concert.wav", "--json", fake=fake)
    told = "immersivaudio: the reference concert.wav is larger than the 16 MiB that are listened to\n"
    assert (ended.exit_code, ended.stderr, fake.asked) == (2, told, [])


def test_candidates_that_were_kept_are_written_beside_the_result(fake: Fake, video: Path) -> None:
    fake.log, fake.keep_the_log = a_choice(video_input()), True
    ended = immersivaudio("enhance", video, "--candidates", "2", "--keep-candidates", fake=fake)
    assert (ended.exit_code, ended.stdout) == (0, f"{video.with_name('sea.immersivaudio.mp4')}\n")
    beside = [f"sea.immersivaudio.music-{number}.flac" for number in (1, 2)]
    assert ended.stderr.splitlines()[-1] == f"immersivaudio: the candidates are beside it: {', '.join(beside)}"
    assert fake.artifacts == ["video", "music-1", "music-2"]
    assert all(video.with_name(name).read_bytes() == b"the result" for name in beside)
    music = next(line for line in ended.stderr.splitlines() if line.startswith("audio_generation: music"))
    assert "the 2nd of 2 (score 0.41), a loop; music: 2 words at the end of the prompt were not read" in music


def test_a_candidate_is_not_written_over_another_file_either(fake: Fake, video: Path) -> None:
    fake.log, fake.keep_the_log = a_choice(video_input()), True
    video.with_name("out.music-2.flac").write_bytes(b"mine")
    ended = immersivaudio("enhance", video, "-o", video.with_name("out.mp4"), fake=fake)
    assert (ended.exit_code, fake.artifacts) == (2, [])
    assert "out.music-2.flac is there already" in re.sub(r"[│\s]+", " ", ended.stderr)
    assert immersivaudio("follow", RUN_ID, "-o", video.with_name("out.mp4"), "--force", fake=fake).exit_code == 0
    assert video.with_name("out.music-2.flac").read_bytes() == b"the result"


def test_candidates_are_no_part_of_a_result_that_goes_to_stdout(fake: Fake) -> None:
    fake.log, fake.keep_the_log = a_choice(video_input()), True
    ended = immersivaudio("enhance", "-", fake=fake, stdin=b"pictures")
    assert (ended.exit_code, ended.stdout_bytes, fake.artifacts) == (0, b"the result", ["video"])
    assert "give -o OUT to have them" in ended.stderr


def test_a_number_of_scenes_is_sent_as_a_number(fake: Fake, video: Path) -> None:
    immersivaudio("enhance", video, "--scenes", "3", fake=fake)
    assert json.loads(fake.uploads[0][2]) == {"scenes": 3}


def test_stems_and_descriptions_are_written_beside_the_result_when_asked_for(fake: Fake, video: Path) -> None:
    fake.log, fake.keep_the_log = of_scenes(video_input(options=Options(descriptions=True))), True
    ended = immersivaudio("enhance", video, "--descriptions", "--stems", fake=fake)
    assert (ended.exit_code, ended.stdout) == (0, f"{video.with_name('sea.immersivaudio.mp4')}\n")
    stems = [f"sea.immersivaudio.{name}.flac" for name in ("music", "sounds", "mix", "original")]
    texts = "sea.immersivaudio.descriptions.vtt"
    assert ended.stderr.splitlines()[-2:] == [
        f"immersivaudio: the stems are beside it: {', '.join(stems)}",
        f"immersivaudio: the descriptions are beside it: {texts}",
    ]
    assert fake.artifacts == ["video", "music", "sounds", "mix", "original", "descriptions"]
    assert all(video.with_name(name).read_bytes() == b"the result" for name in (*stems, texts))


def test_stems_that_nobody_asked_for_stay_with_the_service(fake: Fake, video: Path) -> None:
    fake.log, fake.keep_the_log = of_scenes(video_input()), True
    assert immersivaudio("enhance", video, fake=fake).exit_code == 0
    assert fake.artifacts == ["video"]
    assert immersivaudio("follow", RUN_ID, "--stems", "-o", video.with_name("again.mp4"), fake=fake).exit_code == 0
    assert video.with_name("again.original.flac").exists()
    ended = immersivaudio("follow", RUN_ID, "--stems", fake=fake)
    assert (ended.exit_code, "the stems go beside the result: give -o OUT" in ended.stderr) == (2, True)


def test_loudness_can_be_left_alone(fake: Fake, video: Path) -> None:
    immersivaudio("enhance", video, "--no-loudness", fake=fake)
    assert json.loads(fake.uploads[0][2]) == {"loudness_lufs": None}


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--k", "300"], "Invalid value for --k: '300' is not allowed: a number above 0, at most 200"),
        (["--k", "0"], "a number above 0, at most 200"),
        (["--seed", "1.5"], "a whole number at least 0, below 4294967296"),
        (
            ["--steps", "many"],
            "Invalid value for --steps: 'many' is not allowed: a whole number at least 1, at most 500",
        ),
        (["--original", "nan"], "a number at least 0, at most 1"),
        (["--scenes", "0"], "'0' is not allowed: a whole number at least 1, at most 50, or auto"),
        (["--scenes", "many"], "Invalid value for --scenes: 'many' is not allowed: a whole number at least 1"),
        (["--original-mode", "mute"], "'mute' is not allowed: one of keep, duck, replace"),
        (["--fade-in-seconds", "11"], "'11' is not allowed: a number at least 0, at most 10"),
        (["--format", "avi"], "one of mp4, mov, mkv, webm, wav, flac, mp3, m4a, ogg"),
        (["--music-prompt", "x" * 1001], "at most 1000 characters"),
        (["--no-music", "--no-sounds"], "ask for music, for sounds or for both"),
        (["--keep-candidates"], "keep_candidates keeps several: ask for 2 candidates or more"),
        (["--loudness-lufs", "-20", "--no-loudness"], "exclude each other"),
        (["--format", "mp4", "-o", "x.wav"], "OUT ends in .wav, --format says mp4"),
        (["--server", "localhost:8000"], "write it like http://127.0.0.1:8000"),
        (["-o", "no/such/folder/x.mp4"], "there is no folder no/such/folder"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_wrong_value_is_told_with_what_is_allowed_before_anything_is_sent(
    fake: Fake, video: Path, flags: list[str], sentence: str
) -> None:
    ended = immersivaudio("enhance", video, *flags, fake=fake)
    assert ended.exit_code == 2
    assert sentence in re.sub(r"[│╭╰─╮╯\s]+", " ", ended.stderr)
    assert ended.stdout == ""
    assert fake.uploads == []


def test_help_states_the_bounds_of_every_option() -> None:
    told = re.sub(r"[│\s]+", " ", immersivaudio("enhance", "--help").stdout)
    for name, field in Options.model_fields.items():
        if field.annotation is not bool:
            assert f"({bounds(name)}" in told, name


def test_out_can_be_a_folder(fake: Fake, video: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    immersivaudio("enhance", video, "-o", tmp_path / "results", fake=fake)
    assert (tmp_path / "results" / "sea.immersivaudio.mp4").read_bytes() == b"the result"


def test_the_ending_of_out_chooses_the_format(fake: Fake, video: Path, tmp_path: Path) -> None:
    ended = immersivaudio("enhance", video, "-o", tmp_path / "sea.WAV", fake=fake)
    assert (ended.exit_code, json.loads(fake.uploads[0][2])) == (0, {"format": "wav"})
    assert fake.artifacts == ["audio"]
    assert (tmp_path / "sea.WAV").exists()


def test_a_file_that_is_there_is_overwritten_only_when_told_to(fake: Fake, video: Path) -> None:
    result = video.with_name("sea.immersivaudio.mp4")
    result.write_bytes(b"mine")
    refused = immersivaudio("enhance", video, fake=fake)
    assert refused.exit_code == 2
    assert "give --force to overwrite it" in re.sub(r"[│\s]+", " ", refused.stderr)
    assert (result.read_bytes(), fake.uploads) == (b"mine", [])
    assert immersivaudio("enhance", video, "--force", fake=fake).exit_code == 0
    assert result.read_bytes() == b"the result"


def test_the_input_is_never_overwritten_by_whatever_name(fake: Fake, video: Path, tmp_path: Path) -> None:
    (tmp_path / "link.mp4").symlink_to(video)
    for name in ("sea.mp4", "link.mp4"):
        ended = immersivaudio("enhance", video, "-o", tmp_path / name, "--force", fake=fake)
        assert ended.exit_code == 2
        assert "is the input" in re.sub(r"[│\s]+", " ", ended.stderr)
    assert (video.read_bytes(), fake.uploads) == (b"pictures", [])


@pytest.mark.parametrize(("path", "sentence"), [("gone.mp4", "there is no file"), (".", "is a folder")])
def test_an_input_that_cannot_be_read_is_bad_usage(fake: Fake, path: str, sentence: str) -> None:
    ended = immersivaudio("enhance", path, "-o", "x.mp4", fake=fake)
    assert ended.exit_code == 2
    assert sentence in re.sub(r"[│\s]+", " ", ended.stderr)


def test_stdin_to_stdout_carries_the_file_and_nothing_else(fake: Fake) -> None:
    ended = immersivaudio("enhance", "-", fake=fake, stdin=b"pictures")
    assert (ended.exit_code, ended.stdout_bytes) == (0, b"the result")
    assert fake.uploads[0][:2] == ("stdin", b"pictures")


def test_the_record_and_the_result_cannot_both_go_to_stdout(fake: Fake, video: Path) -> None:
    ended = immersivaudio("enhance", video, "--json", "-o", "-", fake=fake)
    assert (ended.exit_code, fake.uploads) == (2, [])


@pytest.mark.parametrize(("kind", "code"), [("internal", 1), ("input", 2)])
def test_a_run_that_fails_ends_with_one_sentence(fake: Fake, video: Path, kind: str, code: int) -> None:
    fake.log, fake.keep_the_log = a_failure(video_input(), kind), True
    ended = immersivaudio("enhance", video, "--json", fake=fake)
    assert ended.exit_code == code
    said = f"immersivaudio: run {RUN_ID}\nimmersivaudio: object_detection failed: the detector broke\n"
    assert ended.stderr == said
    assert ended.stdout == ""
    assert list(video.parent.iterdir()) == [video]


@pytest.mark.parametrize(("status", "code"), [(415, 2), (500, 1)])
def test_a_refused_upload_ends_with_the_services_sentence(fake: Fake, video: Path, status: int, code: int) -> None:
    fake.refuse = (status, "sea.mp4 is no video\n\x1b[31m")
    ended = immersivaudio("enhance", video, "--json", fake=fake)
    assert (ended.exit_code, ended.stderr) == (code, "immersivaudio: sea.mp4 is no video [31m\n")


@pytest.mark.parametrize("command", [["enhance", "{video}"], ["modules"]], ids=" ".join)
def test_without_a_service_the_address_is_named(video: Path, command: list[str]) -> None:
    ended = immersivaudio(*(word.format(video=video) for word in command))
    assert ended.exit_code == 3
    assert ended.stderr.splitlines()[-1].startswith("immersivaudio: no service answers at http://127.0.0.1:9 ")


def test_modules_shows_what_is_loaded(fake: Fake) -> None:
    told = immersivaudio("modules", fake=fake).stdout.splitlines()
    assert told[0].split() == ["module", "part", "model", "device", "profile", "licence", "of", "the", "weights"]
    assert told[2].split("  ")[0] == "audio_generation"
    assert "CC-BY-NC-SA 4.0" in told[2]
    assert told[3].split()[:3] == ["audio_generation", "music", "(draft)"]


def test_modules_as_json(fake: Fake) -> None:
    listed = json.loads(immersivaudio("modules", "--json", fake=fake).stdout)
    assert [ModuleInfo.model_validate(info).model for info in listed] == [
        "sketch/scene",
        "cvssp/audioldm2-music@abc",
        "sketch/music",
    ]


def test_the_version_is_printed() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", immersivaudio("--version").stdout)


def test_a_name_that_is_no_text_is_printed_as_it_is(fake: Fake, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/sea\xff.mp4"
    Path(os.fsdecode(name)).write_bytes(b"pictures")
    child = start("enhance", os.fsdecode(name), "--server", fake.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told, errors = child.communicate(timeout=30)
    assert (child.returncode, told) == (0, name.replace(b".mp4", b".immersivaudio.mp4\n")), errors
    assert fake.uploads[0][0] == "sea?.mp4"


def test_a_reader_that_goes_away_ends_it_quietly(fake: Fake, video: Path) -> None:
    fake.artifact = bytes(10_000_000)
    child = start("enhance", video, "-o", "-", "--server", fake.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout
    assert child.stderr
    child.stdout.read(10)
    child.stdout.close()
    errors = child.stderr.read().decode()
    child.stderr.close()
    assert child.wait(30) == 141
    assert "Traceback" not in errors
    assert "immersivaudio:" not in errors


def test_ctrl_c_ends_with_130_and_says_that_the_run_goes_on(fake: Fake, video: Path) -> None:
    fake.slow_seconds = 60
    child = start("enhance", video, "--server", fake.url, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert child.stderr
    while not fake.asked_after:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    told = child.stderr.read().decode().splitlines()
    child.stderr.close()
    assert child.wait(30) == 130
    this = f"{RUN_ID} --server {fake.url}"
    assert told[-2:] == [
        f"immersivaudio: stopped waiting; the run goes on as {RUN_ID}",
        f"immersivaudio: `immersivaudio follow {this}` watches it, `immersivaudio cancel {this}` stops it",
    ]
    assert list(video.parent.iterdir()) == [video]


def test_on_a_terminal_the_table_of_modules_fills(fake: Fake, video: Path) -> None:
    fake.slow_seconds = 0.5
    screen, terminal = pty.openpty()
    child = start("enhance", video, "--server", fake.url, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    drawn = read_to_end(screen)
    assert child.stdout
    path = child.stdout.read().decode()
    child.stdout.close()
    assert child.wait(30) == 0
    assert path == f"{video.with_name('sea.immersivaudio.mp4')}\n"
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn)
    assert "step 1 of 2" in plain
    last = plain[plain.rindex("video_input") :]
    for words in ("10 frames", "water in 2 frames", "frame 4 of 0–9", "A calm sea. Under a [31mred [0m sky.", "music: calm music",
                  "loudness -14.0 LUFS", "Finished after 10.0 s.", "This is a draft, made without trained models"):  # fmt: skip
        assert words in last
    assert last.count("✓") == 7
    assert "\x1b[31mred" not in drawn
    assert drawn.rstrip().endswith("\x1b[?25h"), "the cursor is shown again"


def test_an_ending_that_would_lie_is_refused_before_anything_is_sent(fake: Fake, video: Path) -> None:
    ended = immersivaudio("enhance", video, "-o", video.with_name("out.avi"), fake=fake)
    assert (ended.exit_code, fake.uploads) == (2, [])
    assert ".avi is not among the formats" in " ".join(ended.stderr.split())
