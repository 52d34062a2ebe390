"""From the record to a module and back, in a plain folder."""

from pathlib import Path

import pytest

from models import audio_step, dependencies, steps
from models.errors import MissingOutput
from models.frame_extraction import FrameExtractionSettings, FrameExtractor
from models.prompt_enhancement import PromptEnhancementSettings, PromptEnhancer
from models.record import MODULES, Box, DetectedObject, Frame, FrameObjects, ObjectDetection, Outputs, Record
from models.sketch.scene import SceneDetector, SceneSelector, SketchSceneSettings
from models.workspace import Folder
from tests import media_factory
from tests.serve import records


@pytest.fixture
def record(tmp_path: Path) -> Record:
    """Of a video that lies in `tmp_path`, where its key says."""
    given = records.video_input()
    path = tmp_path / given.path
    path.parent.mkdir(parents=True)
    media_factory.make_video(path, frames=250)
    return Record(video_input=given)


def test_modules_run_one_after_another_in_a_folder(record: Record, tmp_path: Path) -> None:
    files = Folder(tmp_path)
    extraction = steps.extract_frames(record, FrameExtractor(FrameExtractionSettings()), files)
    assert extraction.count == 10
    assert all((tmp_path / frame.path).is_file() for frame in extraction.frames)
    record = record.append(Outputs(frame_extraction=extraction))
    settings = SketchSceneSettings()
    detection = steps.detect_objects(record, SceneDetector.load(settings), files)
    assert [found.frame for found in detection.frames] == list(range(10))
    selection = steps.select_frame(record, SceneSelector.load(settings), files)
    assert selection.path == extraction.frames[selection.index].path
    (shot,) = steps.shots_to_describe(record.append(Outputs(frame_selection=selection)), files)
    assert shot.frame == tmp_path / selection.path
    assert len(shot.others) == 9
    assert shot.frame not in shot.others


def test_of_several_scenes_each_is_shown_with_its_own_frames_and_objects(tmp_path: Path) -> None:
    film = records.film()
    frames = tuple(Frame(path=f"{number}.jpg", seconds=number) for number in range(10))
    assert film.frame_extraction is not None
    assert film.frame_selection is not None
    chosen = tuple(
        scene.model_copy(update={"index": index, "path": frames[index].path})
        for scene, index in zip(film.frame_selection.scenes, (0, 5, 7), strict=True)
    )
    seen = tuple(
        FrameObjects(frame=number, width=10, height=10, objects=(_seen(label),))
        for number, label in ((1, "dog"), (3, "cat"), (6, "cat"), (9, "cow"))
    )
    film = film.model_copy(
        update={
            "frame_extraction": film.frame_extraction.model_copy(update={"frames": frames, "count": 10}),
            "frame_selection": film.frame_selection.model_copy(update={"scenes": chosen, "path": "0.jpg"}),
            "object_detection": ObjectDetection(model="t", confidence=0.2, frames=seen, objects=("cat", "cow", "dog")),
        }
    )
    shots = steps.shots_to_describe(film, Folder(tmp_path))
    assert [shot.frame.name for shot in shots] == ["0.jpg", "5.jpg", "7.jpg"]
    assert [[other.stem for other in shot.others] for shot in shots] == [["1", "2"], ["3", "4", "6"], ["8", "9"]]
    prompts = steps.enhance_prompt(film, PromptEnhancer(PromptEnhancementSettings()))
    assert [scene.objects for scene in prompts.scenes] == [("dog",), ("cat",), ("cow",)]
    texts = steps.scene_texts(film)
    assert [(text.start_seconds, text.end_seconds, text.text) for text in texts] == [
        (0, 3, "A dog."),
        (3, 7, "A cat."),
        (7, 10, "A cow."),
    ]


def _seen(label: str) -> DetectedObject:
    return DetectedObject(label=label, score=0.9, box=Box(x0=0, y0=0, x1=5, y1=5))


def test_what_made_the_sound_is_told_in_a_line() -> None:
    film = records.film()
    for kind in ("music", "sounds"):
        film = film.append(records.output("audio_generation", kind))
    assert steps.origin_of(film) == "music by test, sounds by test, seed 1"


@pytest.mark.parametrize("module", [module for module in MODULES if dependencies.READS.get(module)])
def test_a_record_that_lacks_what_a_module_reads_is_refused_by_name(module: str) -> None:
    with pytest.raises(MissingOutput, match=dependencies.READS[module][0]):  # type: ignore[index]
        dependencies.require(Record(video_input=records.video_input()), module)  # type: ignore[arg-type]


def test_an_image_has_no_frames_to_extract() -> None:
    with pytest.raises(MissingOutput, match="image"):
        dependencies.require(Record(video_input=records.image_input()), "frame_extraction")


def test_nothing_is_appended_twice(record: Record) -> None:
    once = record.append(records.output("frame_extraction"))
    with pytest.raises(ValueError, match="already has frame_extraction"):
        once.append(records.output("frame_extraction"))


def test_the_two_stems_of_a_run_do_not_share_their_noise() -> None:
    assert audio_step._stem_seed(7, "music") != audio_step._stem_seed(7, "sounds")
    assert 0 <= audio_step._stem_seed(2**32 - 1, "sounds") < 2**32
