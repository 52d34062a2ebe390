"""What a run looks like on a terminal, and in words."""

import io

import pytest
from rich.console import Console

from client.findings import draft_note, findings, line, printable, summary
from client.live_view import LiveView
from client.view import LineView
from models.record import (
    Accepted,
    AudioGeneration,
    Box,
    DetectedObject,
    Event,
    FrameObjects,
    ModuleRetried,
    ObjectDetection,
    Options,
    Outputs,
    Progress,
    PromptEnhancement,
    RankedCandidate,
    Record,
    Reference,
    ScenePrompts,
    Started,
    Stem,
    fold,
)
from tests.client.logs import (
    a_cancellation,
    a_failure,
    a_log,
    a_rerun,
    a_rocky_run,
    of_scenes,
    of_words,
    stem,
    video_input,
)


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


def rows_of(table: str) -> dict[str, str]:
    """Each module's part of the table, on one line."""
    found: dict[str, str] = {}
    module = ""
    for row in table.splitlines():
        if row and row[0] != " " and len(row.split()) > 1:
            module = row.split()[1]
        found[module] = found.get(module, "") + row
    return found


def test_modules_that_can_run_side_by_side_are_both_at_work() -> None:
    marks = rows(drawn(*a_log(video_input())[:3]))
    assert (marks["frame_extraction"], marks["object_detection"], marks["frame_selection"]) == ("✓", "⠋", "⠋")
    assert (marks["frame_description"], marks["reconstruction"]) == ("·", "·")


def test_words_alone_are_told_without_a_picture() -> None:
    log = of_words("rain on a tin roof", Options(seconds=20))
    table = drawn(*log[:2])
    assert "“rain on a tin roof”: words alone, for 20 s of sound" in table
    marks = rows(table)
    modules = ["video_input", "prompt_enhancement", "audio_generation", "reconstruction"]
    assert [marks[module] for module in modules] == ["✓", "⠋", "·", "·"]
    assert not marks.keys() & {"frame_extraction", "object_detection", "frame_selection", "frame_description"}
    told = summary(fold("run", log))
    assert [line.partition(":")[0] for line in told[1:-1]] == modules


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


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "step 3 of 9"), (0.2, "about 0 s"), (42.4, "about 42 s"), (340, "about 6 min"), (8000, "about 2.2 h")],
)
def test_how_long_a_stem_will_take_is_told(seconds: float | None, told: str) -> None:
    halfway = Progress(module="audio_generation", part="music", step=3, steps=9, seconds_left=seconds)
    table = drawn(*a_log(video_input())[:7], halfway)
    assert told in table
    assert "step 3 of 9" in table
    assert ("left" in table) == (seconds is not None)


def test_away_from_a_terminal_progress_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((0.0, 1.0, 12.0, 12.0, 13.0))
    monkeypatch.setattr("client.view.time.monotonic", lambda: next(now))
    console = Console(file=io.StringIO(), width=100)
    view = LineView(console)
    view.sending("sea.mp4")
    for step in (1, 2, 3):
        view.see("run", Progress(module="audio_generation", part="music", step=step, steps=9, seconds_left=70))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "sending sea.mp4",
        "audio_generation: music: step 2 of 9, about 70 s left",
    ]


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
        "music: 12.0 s, seed 7, 200 steps, 3 made, not ranked, made at 16 kHz mono, the prompt's last 1 word not read"
    ]
    assert draft_note(record) is None


def test_what_became_of_a_stem_is_told_with_its_notes() -> None:
    changed = {"loops": True, "candidates": 2, "score": 0.411, "reference": "1" * 32, "reference_weight": 0.6}
    notes = ("5 words at the end of the prompt were not read", "and more \x1b[31m")
    made = stem("music").model_copy(update={**changed, "prompt_words_unread": 5, "notes": notes})
    reference = Reference(token="1" * 32, name="drums.mp3", path="videos/0/references/1.flac", seconds=2)
    came = video_input().model_copy(update={"reference": reference})
    record = Record(video_input=came).append(Outputs(audio_generation=AudioGeneration(stems=(made,))))
    assert findings(record, "audio_generation") == [
        "music: 12.0 s, seed 7, best of 2 (score 0.41), a loop, like the reference (weight 0.6)",
        "music: 5 words at the end of the prompt were not read",
        "music: and more [31m",
    ]
    assert findings(record, "video_input")[1] == "to sound like drums.mp3 (2.0 s)"


@pytest.mark.parametrize(
    ("chosen", "told"), [(0, "the 1st of 8"), (1, "the 2nd of 8"), (2, "the 3rd of 8"), (3, "the 4th of 8")]
)
def test_of_candidates_that_were_ranked_it_is_told_which_was_chosen(chosen: int, told: str) -> None:
    ranking = tuple(RankedCandidate(score=0.1) for _ in range(8))
    changed = {"candidates": 8, "score": 0.514, "chosen": chosen, "ranking": ranking}
    made = AudioGeneration(stems=(stem("music").model_copy(update=changed),))
    record = Record(video_input=video_input()).append(Outputs(audio_generation=made))
    assert findings(record, "audio_generation") == [f"music: 12.0 s, seed 7, {told} (score 0.51)"]


def test_of_several_scenes_each_is_told_with_its_number() -> None:
    record = fold("run", of_scenes(video_input())).record
    assert findings(record, "frame_selection") == [
        "2 scenes, frames 0–9", "scene 0: 0.00–5.04 s, frame 4", "scene 1: 5.04–12.00 s, frame 7",
    ]  # fmt: skip
    assert findings(record, "frame_description")[1] == "scene 1: A road. (valence -0.10, arousal +0.60)"
    assert findings(record, "prompt_enhancement") == [
        "scene 0: music: calm music; sounds: waves", "scene 1: music: fast music; sounds: cars", "avoid: noise",
    ]  # fmt: skip
    assert findings(record, "audio_generation")[0] == "music: 12.0 s, seed 7, 2 scenes"


def test_another_take_is_told_of_several_scenes_in_which() -> None:
    record = fold("run", of_scenes(video_input())).record
    assert record.audio_generation is not None
    for takes, told in (((2, 0), "take 2 in scene 0"), ((1, 3), "take 1 in scene 0, take 3 in scene 1")):
        made = [with_takes(one, *takes) for one in record.audio_generation.stems]
        other = record.model_copy(update={"audio_generation": AudioGeneration(stems=tuple(made))})
        assert findings(other, "audio_generation")[0] == f"music: 12.0 s, seed 7, 2 scenes, {told}"
    alone = Record(video_input=video_input()).append(
        Outputs(audio_generation=AudioGeneration(stems=(with_takes(stem("music"), 2),)))
    )
    assert "seed 7, take 2" in findings(alone, "audio_generation")[0]


def with_takes(made: Stem, first: int, *later: int) -> Stem:
    scenes = tuple(
        scene.model_copy(update={"take": take}) for scene, take in zip(made.later_prompts, later, strict=True)
    )
    return made.model_copy(update={"take": first, "later_prompts": scenes})


def test_of_very_many_scenes_the_first_are_told() -> None:
    prompts = tuple(ScenePrompts(music_prompt=f"song {number}", sound_prompt="") for number in range(1, 15))
    made = PromptEnhancement(model="m", music_prompt="song 0", sound_prompt="", negative_prompt="", later=prompts)
    told = findings(Record(video_input=video_input()).append(Outputs(prompt_enhancement=made)), "prompt_enhancement")
    assert told[-2:] == ["scene 11: music: song 11", "and 3 more scenes"]


def test_what_became_of_the_sources_own_tracks_is_told() -> None:
    record = fold("run", of_scenes(video_input())).record
    assert findings(record, "reconstruction")[2:] == [
        "with the video's own sound, the rest lowered for 3.2 s of it",
        "kept: 1 sound track, 2 subtitle tracks",
        "subtitle track (stream 4) dropped: mp4 holds no [1mpictures [0m",
        "also there: mix, original, descriptions",
    ]


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


def lines(*messages: Event | Progress) -> list[str]:
    console = Console(file=io.StringIO(), width=200)
    view = LineView(console)
    with console.capture() as capture:
        for message in messages:
            view.see("run", message)
    return capture.get().splitlines()


def test_another_attempt_and_another_worker_are_told() -> None:
    told = lines(*a_rocky_run(video_input()))
    at = told.index("object_detection: tried again (worker died)")
    assert told[at + 1] == "taken over by another worker"
    assert told.count("started") == 1
    assert told[-2] == "finished after 10.0 s"


def test_while_a_module_is_tried_again_the_table_says_why() -> None:
    log = a_rocky_run(video_input())
    assert "tried again (worker died)" in rows_of(drawn(*log[:4]))["object_detection"]
    assert "Taken over by another worker." in drawn(*log[:5])
    done = drawn(*log)
    assert "tried again" not in done
    assert "Finished after 10.0 s." in done


def test_of_a_stem_that_is_made_again_the_old_bar_goes() -> None:
    log = a_log(video_input())
    halfway = Progress(module="audio_generation", part="music", step=3, steps=9)
    again = ModuleRetried(
        seq=8, at=8, module="audio_generation", part="music", attempt=1, cause="out_of_memory", pause_seconds=1
    )
    table = drawn(*log[:7], halfway, again)
    assert "music tried again (out of memory)" in table
    assert "step 3 of 9" not in table
    assert lines(*log[:7], again)[-1] == "audio_generation: music tried again (out of memory)"
    assert "step 3 of 9" not in drawn(*log[:7], halfway, Started(seq=8, at=8, owner="another"))


def test_a_cancelled_run_is_shown_as_such_and_nothing_seems_to_go_on() -> None:
    log = a_cancellation(video_input())
    assert lines(*log)[-1] == "cancelled after 3.0 s"
    table = drawn(*log)
    assert "Cancelled after 3.0 s." in table
    assert "⠋" not in table
    assert rows(table)["frame_extraction"] == "✓"


def test_what_was_not_computed_is_marked_instead_of_timed() -> None:
    told = lines(*a_rerun(video_input(), "the first"))
    assert told[0] == "accepted as run, a rerun of the first"
    assert "frame_extraction: 10 frames (ffmpeg, kept)" in told
    assert "object_detection: water in 2 frames (sketch/scene, cached)" in told
    assert "audio_generation: music: 12.0 s, seed 7 (sketch/music, kept)" in told
    assert "audio_generation: sounds: 12.0 s, seed 7 (sketch/foley, 0.5 s)" in told
    table = rows_of(drawn(*a_rerun(video_input(), "the first")))
    assert [word for word in ("kept", "cached", "edited") if word in table["frame_extraction"]] == ["kept"]
    assert "cached" in table["object_detection"]
    assert "edited" in table["frame_description"]
    assert "music: 12.0 s, seed 7, kept" in table["audio_generation"]
    assert "0.5 s" in table["audio_generation"]


def test_the_stems_of_a_run_that_kept_both_are_marked_once() -> None:
    kept = tuple(stem(kind).model_copy(update={"origin": "kept"}) for kind in ("music", "sounds"))
    record = Record(video_input=video_input()).append(Outputs(audio_generation=AudioGeneration(stems=kept)))
    assert line(record, "audio_generation", seconds=0).endswith("(sketch/music, sketch/foley, kept)")
    assert findings(record, "audio_generation") == ["music: 12.0 s, seed 7", "sounds: 12.0 s, seed 7"]


def test_an_upload_has_a_bar_and_a_wait_is_told() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    view = LiveView(console)
    view.sending("sea.mp4")
    view.sent(3 * 2**28, 2**30)
    with console.capture() as capture:
        console.print(view._render())
        view.busy(5)
        console.print(view._render())
    sending, busy = capture.get().splitlines()
    assert "sending sea.mp4" in sending
    assert "━━━━━━━━━━━━━━━━━━" in sending
    assert sending.rstrip().endswith("768.0 MiB of 1.00 GiB")
    assert "the service is busy; trying again in 5 s" in busy


def test_without_a_terminal_a_long_upload_says_something_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr("client.view.time.monotonic", lambda: next(clock))
    console = Console(file=io.StringIO(), width=100)
    view = LineView(console)
    with console.capture() as capture:
        view.sending("sea.mp4")
        for part in range(1, 6):
            view.sent(part * 2**23, 5 * 2**23)
        view.busy(2.5)
    assert capture.get().splitlines() == [
        "sending sea.mp4",
        "sent 24.0 MiB of 40.0 MiB",
        "the service is busy; trying again in 2.5 s",
    ]
