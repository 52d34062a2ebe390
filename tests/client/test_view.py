"""What a run looks like on a terminal, and in words."""

import io

from rich.console import Console

from client.findings import draft_note, findings, printable
from client.live_view import LiveView
from models.record import (
    Accepted,
    AudioGeneration,
    Box,
    DetectedObject,
    Event,
    FrameObjects,
    ObjectDetection,
    Options,
    Outputs,
    Progress,
    Record,
    Started,
)
from tests.client.logs import a_failure, a_log, stem, video_input


def drawn(*messages: Event | Progress, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    view = LiveView(console)
    for message in messages:
        view.see("run", message)
    with console.capture() as capture:
        console.print(view._render())
    return capture.get()


def rows(table: str) -> dict[str, str]:
    """The mark in front of each module."""
    return {line.split()[1]: line[0] for line in table.splitlines() if line and line[0] != " "}


def test_modules_that_can_run_side_by_side_are_both_at_work() -> None:
    marks = rows(drawn(*a_log(video_input())[:3]))
    assert (marks["frame_extraction"], marks["object_detection"], marks["frame_selection"]) == ("✓", "⠋", "⠋")
    assert (marks["frame_description"], marks["reconstruction"]) == ("·", "·")


def test_an_image_has_no_frames_to_extract_or_select() -> None:
    image = video_input("sea.jpg").model_copy(
        update={"media": "image", "container": "jpeg", "duration_seconds": None, "frame_rate": None}
    )
    table = drawn(Accepted(seq=1, at=1, video_input=image), Started(seq=2, at=2, owner="me"))
    assert "sea.jpg: jpeg image, 960×540; shown for 10 s" in table
    marks = rows(table)
    assert "frame_extraction" not in marks
    assert (marks["object_detection"], marks["frame_description"], marks["prompt_enhancement"]) == ("⠋", "⠋", "·")


def test_a_stem_in_the_making_has_a_bar_until_it_is_made() -> None:
    log = a_log(video_input())
    halfway = Progress(module="audio_generation", part="music", step=3, steps=9)
    assert "step 3 of 9" in drawn(*log[:7], halfway)
    assert "step 3 of 9" not in drawn(*log[:8], halfway)


def test_a_failed_module_is_marked_and_nothing_seems_to_go_on() -> None:
    table = drawn(*a_failure(video_input()))
    assert "✗  object_detection    the detector broke" in table
    assert "⠋" not in table


def test_on_a_narrow_terminal_every_finding_is_still_there() -> None:
    table = drawn(*a_log(video_input()), width=44)
    assert "LUFS" in table
    assert max(map(len, table.splitlines())) <= 44


def test_a_model_of_another_rate_is_told_as_it_is() -> None:
    made = stem("music").model_copy(
        update={
            "model": "cvssp/audioldm2-music",
            "model_sample_rate": 16000,
            "model_channels": 1,
            "steps": 200,
            "candidates": 3,
            "prompt_words_unread": 1,
        }
    )
    record = Record(video_input=video_input()).append(Outputs(audio_generation=AudioGeneration(stems=(made,))))
    assert findings(record, "audio_generation") == [
        "music: 12.0 s, seed 7, 200 steps, best of 3, made at 16 kHz mono, the prompt's last 1 word not read"
    ]
    assert draft_note(record) is None


def test_of_many_kinds_of_objects_the_most_frequent_are_named() -> None:
    def seen(frame: int, labels: int) -> FrameObjects:
        box = Box(x0=0, y0=0, x1=1, y1=1)
        objects = tuple(DetectedObject(label=f"thing {n}", score=0.5, box=box) for n in range(labels))
        return FrameObjects(frame=frame, width=9, height=9, objects=objects)

    found = ObjectDetection(model="m", confidence=0.25, frames=(seen(0, 20), seen(1, 1)), objects=())
    [line] = findings(Record(video_input=video_input()).append(Outputs(object_detection=found)), "object_detection")
    assert line.startswith("thing 0 in 2 frames, thing 1 in 1 frame, ")
    assert line.endswith(" and 8 more")


def test_prompts_of_stems_that_nobody_asked_for_are_not_shown() -> None:
    log = a_log(video_input(options=Options(music=False)))
    assert "calm music" not in drawn(*log)
    assert "sounds: waves" in drawn(*log)


def test_nothing_that_moves_the_cursor_is_printed() -> None:
    assert printable("a\x1b[2J\r\nb\u202ec\x9bd\te") == "a [2J b c d e"
