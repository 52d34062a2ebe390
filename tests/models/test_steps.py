"""From the record to a module and back, in a plain folder."""

from pathlib import Path

import pytest

from models import audio_step, dependencies, steps
from models.errors import MissingOutput
from models.frame_extraction import FrameExtractionSettings, FrameExtractor
from models.record import MODULES, Outputs, Record
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
