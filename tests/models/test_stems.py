"""From a record to a stem: what the generator is asked, and what the record says of its answer."""

from pathlib import Path

import pytest

from models import audio_step
from models.audio import Samples, read_audio
from models.audio_generation import AudioRequest, nothing_to_report
from models.audio_generation.notes import notes_on
from models.errors import MissingOutput
from models.inputs import depends_on
from models.record import AudioGeneration, Options, Outputs, Record, Reference, Stem, VideoInput
from models.sketch.foley import FoleyGenerator
from models.sketch.music import MusicGenerator
from models.steps import origin_of
from models.workspace import Folder
from tests.serve import records
from tests.toys.generator import Model

REFERENCE = records.reference()


def stem_of(
    model: audio_step.Generator, folder: Path, *, reference: Reference | None = None, **options: object
) -> Stem:
    given = Options.model_validate({"seed": 1, **options})
    came = records.video_input(options=given, duration_seconds=2.0, reference=reference)
    record = Record(video_input=came).append(records.output("frame_description"))
    record = record.append(records.output("object_detection")).append(records.output("prompt_enhancement"))
    made = audio_step.generate_audio(record, "music", model, Folder(folder), on_step=nothing_to_report)
    (stem,) = made.stems
    return stem


def heard(folder: Path, key: str) -> Samples:
    made = read_audio(folder / key)
    assert made.sample_rate == 48_000
    assert made.samples.shape == (2, 96_000)
    return made.samples


def test_one_candidate_is_the_stem(tmp_path: Path) -> None:
    stem = stem_of(Model(), tmp_path)
    assert (stem.path, stem.candidates, stem.ranking, stem.notes) == ("made/music.flac", 1, (), ())
    assert heard(tmp_path, stem.path)[0, 40_000] == pytest.approx(0.1, abs=1e-4)


def test_of_several_candidates_the_best_is_the_stem_and_the_scores_of_all_are_told(tmp_path: Path) -> None:
    stem = stem_of(Model(), tmp_path, candidates=3)
    assert (stem.path, stem.candidates, stem.chosen, stem.score) == ("made/music.flac", 3, 1, 0.4)
    assert [(candidate.score, candidate.path) for candidate in stem.ranking] == [(0.1, None), (0.4, None), (0.1, None)]
    assert stem.kept == {}
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["music.flac"]
    assert heard(tmp_path, stem.path)[0, 40_000] == pytest.approx(0.2, abs=1e-4)


def test_kept_candidates_are_files_like_the_stem_which_is_one_of_them(tmp_path: Path) -> None:
    stem = stem_of(Model(), tmp_path, candidates=3, keep_candidates=True)
    assert stem.kept == {f"music-{number}": f"made/music-{number}.flac" for number in (1, 2, 3)}
    assert stem.path == "made/music-2.flac"
    levels = [heard(tmp_path, key)[1, 40_000] for key in stem.kept.values()]
    assert levels == pytest.approx([0.1, 0.2, 0.3], abs=1e-4)
    assert len(list((tmp_path / "made").iterdir())) == 3


def test_what_the_model_is_asked_is_what_the_record_says(tmp_path: Path) -> None:
    model = Model()
    stem = stem_of(model, tmp_path, loop=True, reference=REFERENCE, reference_weight=0.7)
    (asked,) = model.asked
    assert (asked.loop, asked.reference, asked.reference_weight) == (True, tmp_path / REFERENCE.path, 0.7)
    assert (stem.loops, stem.reference, stem.reference_weight, stem.notes) == (True, REFERENCE.token, 0.7, ())


def test_a_reference_that_counts_nothing_is_not_listened_to(tmp_path: Path) -> None:
    model = Model()
    stem = stem_of(model, tmp_path, reference=REFERENCE, reference_weight=0)
    assert model.asked[0].reference is None
    assert (stem.reference, stem.reference_weight, stem.notes) == (None, None, ())


def test_what_a_model_cannot_do_is_said(tmp_path: Path) -> None:
    stem = stem_of(Model(can=False), tmp_path, reference=REFERENCE, loop=True, candidates=2, keep_candidates=True)
    assert (stem.candidates, stem.ranking, stem.loops, stem.reference) == (1, (), False, None)
    assert stem.notes == (
        "2 candidates were asked for, and test makes one",
        "test makes no loops: the sound fades in and out instead",
        "test cannot listen to a reference: the words alone decided",
    )


def test_words_that_were_not_read_are_counted(tmp_path: Path) -> None:
    assert stem_of(Model(unread=5), tmp_path).notes == (
        "5 words at the end of the prompt were not read: the model reads no more",
    )
    request = AudioRequest("rain " * 90, 1, 0)
    note = notes_on(Model(unread=1).generate(request, on_step=nothing_to_report), request=request, model="m")
    assert note == ("1 word at the end of the prompt was not read: the model reads no more",)


@pytest.mark.parametrize("model", [MusicGenerator(), FoleyGenerator()], ids=["music", "foley"])
def test_a_sketch_makes_loops_and_says_what_it_cannot_do(model: audio_step.Generator, tmp_path: Path) -> None:
    stem = stem_of(model, tmp_path, reference=REFERENCE, loop=True, candidates=2, keep_candidates=True)
    assert (stem.loops, stem.candidates, stem.kept) == (True, 1, {})
    assert len(stem.notes) == 2
    assert "makes one" in stem.notes[0]
    assert "cannot listen" in stem.notes[1]


def test_where_a_reference_lies_is_no_input_but_what_it_is(tmp_path: Path) -> None:
    def inputs(reference: Reference | None, **options: object) -> dict[str, object]:
        came = records.video_input(options=Options.model_validate(options), reference=reference)
        record = Record(video_input=came)
        for module in ("frame_description", "object_detection", "prompt_enhancement"):
            record = record.append(records.output(module))
        return depends_on(record, "audio_generation", "music")

    one = inputs(REFERENCE)
    assert one["reference"] == REFERENCE.token
    assert inputs(REFERENCE.model_copy(update={"path": "elsewhere", "name": "other"})) == one
    assert inputs(REFERENCE.model_copy(update={"token": "2" * 32})) != one
    assert inputs(REFERENCE, reference_weight=0.6) != one
    assert inputs(REFERENCE, reference_weight=0) == inputs(None)
    assert inputs(None, reference_weight=0.6) == inputs(None)
    assert inputs(None, candidates=2, keep_candidates=True) != inputs(None, candidates=2)


def test_every_scene_is_asked_for_in_its_time_with_its_mood(tmp_path: Path) -> None:
    model, film = Model(), records.film()
    (stem,) = audio_step.generate_audio(film, "sounds", model, Folder(tmp_path), on_step=nothing_to_report).stems
    (asked,) = model.asked
    assert asked.timeline == ((0, "s0"), (3, "s1"), (7, "s2"))
    assert [mood.valence for mood in asked.moods if mood] == pytest.approx([0, 0.1, 0.2])
    assert asked.crossing_seconds == 1
    assert (stem.prompt, [(one.seconds, one.prompt) for one in stem.later_prompts]) == ("s0", [(3, "s1"), (7, "s2")])


def test_every_scene_is_asked_for_in_its_take_of_the_stem(tmp_path: Path) -> None:
    model, film = Model(), records.film()
    prompts = film.prompt_enhancement
    assert prompts is not None
    later = (prompts.later[0].model_copy(update={"sound_take": 2}), prompts.later[1])
    prompts = prompts.model_copy(update={"music_take": 4, "later": later})
    film = film.model_copy(update={"prompt_enhancement": prompts})
    stems = [
        audio_step.generate_audio(film, kind, model, Folder(tmp_path), on_step=nothing_to_report).stems[0]
        for kind in ("music", "sounds")
    ]
    assert [stem.takes for stem in stems] == [(4, 0, 0), (0, 2, 0)]
    assert [(asked.take, asked.later_takes) for asked in model.asked] == [(4, (0, 0)), (0, (2, 0))]
    made = film.append(Outputs(audio_generation=AudioGeneration(stems=tuple(stems))))
    assert origin_of(made) == "music by test (takes 4 0 0), sounds by test (takes 0 2 0), seed 1"


WORDS = records.video_input(
    media="text", text="rain", container="txt", width=0, height=0, duration_seconds=None, streams=()
)


@pytest.mark.parametrize("came", [records.video_input(), records.image_input(), WORDS], ids=lambda came: came.media)
def test_what_is_one_scene_has_takes_too(came: VideoInput, tmp_path: Path) -> None:
    record = Record(video_input=came)
    for module in ("frame_description", "object_detection", "prompt_enhancement"):
        record = record.append(records.output(module)) if module in record.modules else record
    assert record.prompt_enhancement is not None
    takes = [record.prompt_enhancement.model_copy(update={"music_take": take}) for take in (0, 1)]
    plain, taken = [record.model_copy(update={"prompt_enhancement": prompts}) for prompts in takes]
    assert depends_on(plain, "audio_generation", "music") != depends_on(taken, "audio_generation", "music")
    assert depends_on(plain, "audio_generation", "sounds") == depends_on(taken, "audio_generation", "sounds")
    made = audio_step.generate_audio(taken, "music", Model(), Folder(tmp_path), on_step=nothing_to_report)
    assert made.stems[0].take == 1
    assert origin_of(taken.append(Outputs(audio_generation=made))) == "music by test (take 1), seed 1"


def test_prompts_for_other_scenes_than_the_record_has_are_refused(tmp_path: Path) -> None:
    film = records.film()
    assert film.prompt_enhancement is not None
    fewer = film.prompt_enhancement.model_copy(update={"later": film.prompt_enhancement.later[:1]})
    with pytest.raises(MissingOutput, match="prompt_enhancement is of 2 scenes, and the record has 3"):
        audio_step.audio_request(film.model_copy(update={"prompt_enhancement": fewer}), "music")


def test_how_scenes_cross_is_an_input_of_several_scenes_alone() -> None:
    def inputs(record: Record, seconds: float) -> dict[str, object]:
        came = record.video_input
        options = came.options.model_copy(update={"crossing_seconds": seconds})
        changed = record.model_copy(update={"video_input": came.model_copy(update={"options": options})})
        return depends_on(changed, "audio_generation", "music")

    one = Record(video_input=records.video_input())
    for module in ("frame_description", "object_detection", "prompt_enhancement"):
        one = one.append(records.output(module))
    assert inputs(records.film(), 1) != inputs(records.film(), 2)
    assert inputs(one, 1) == inputs(one, 2)
