"""What makes outputs be computed again: another model, other weights, other settings; not how fast, and in how much memory."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from models.errors import OtherModel
from models.frame_description import ImageTextSettings
from models.frame_selection import FrameSelectionSettings
from models.object_detection import ObjectDetectionSettings
from models.reconstruction import ReconstructionSettings
from models.record import Record
from models.schema import ModuleSettings
from serve.audio_server import MusicGenerator
from serve.deployments import FrameExtractor, FrameSelector, ObjectDetector, Reconstructor
from serve.module_server import ModuleServer
from serve.modules import Task
from serve.settings import AppSettings
from tests.serve import records


def settings(tmp_path: Path, **given: object) -> AppSettings:
    return AppSettings.model_validate({"store": str(tmp_path / "store"), **given})


class Model:
    model = "test"


@pytest.mark.parametrize(
    ("changed", "server"),
    [
        ({"frame_extraction": {"long_side": 320}}, FrameExtractor),
        ({"frame_extraction": {"jpeg_quality": 50}}, FrameExtractor),
        ({"reconstruction": {"image_frame_rate": 10}}, Reconstructor),
    ],
)
async def test_another_setting_of_a_module_gives_it_another_identity(
    tmp_path: Path, changed: dict[str, object], server: type[ModuleServer]
) -> None:
    usual, again = [await server(settings(tmp_path)).identity() for _ in range(2)]
    assert usual == again
    assert await server(settings(tmp_path, **changed)).identity() != usual
    assert (
        await ObjectDetector(settings(tmp_path, **changed)).identity()
        == await ObjectDetector(settings(tmp_path)).identity()
    )


class Loaded(MusicGenerator):
    """Whatever the settings say."""

    def load(self, settings: AppSettings) -> Any:
        return Model()


@pytest.mark.parametrize(
    ("kind", "tuning"),
    [
        ("audioldm2", {"at_once": 4, "windows": 2, "compiled": False, "max_seconds": 60}),
        ("ace-step", {"max_seconds": 60}),
    ],
)
async def test_tuning_an_audio_model_keeps_what_it_made(tmp_path: Path, kind: str, tuning: dict[str, object]) -> None:
    usual = await Loaded(settings(tmp_path, music={"kind": kind})).identity()
    for name, value in tuning.items():
        assert await Loaded(settings(tmp_path, music={"kind": kind, name: value})).identity() == usual, name
    for name, value in {"checkpoint": "somebody/another", "steps": 3, "guidance": 2, "dtype": "float32"}.items():
        assert await Loaded(settings(tmp_path, music={"kind": kind, name: value})).identity() != usual, name


async def test_another_way_of_joining_windows_gives_another_identity(tmp_path: Path) -> None:
    for changed in ({"joining": "swap"}, {"overlap": 0.5}):
        usual, other = (settings(tmp_path, music={"kind": "audioldm2", **more}) for more in ({}, changed))
        assert await Loaded(usual).identity() != await Loaded(other).identity()


@pytest.mark.parametrize(
    "tuned",
    [
        ObjectDetectionSettings(batch_size=2, sha256="0" * 64),
        FrameSelectionSettings(batch_size=2),
        ImageTextSettings(weights="x", batch_size=2),
        ReconstructionSettings(timeout_seconds=9, timeout_per_second=9, timeout_per_second_encoding=9),
    ],
    ids=lambda tuned: type(tuned).__name__,
)
def test_batches_and_time_limits_decide_nothing_about_the_output(tuned: ModuleSettings) -> None:
    usual = type(tuned).model_validate(tuned.model_dump(include={"weights"}))
    assert tuned != usual
    assert tuned.deciding() == usual.deciding()
    assert tuned.tuning <= set(type(tuned).model_fields)


async def test_weights_replaced_under_their_old_name_give_another_identity(tmp_path: Path) -> None:
    from tests.toys import vision

    folder = vision.make_resnet18(tmp_path / "resnet18")
    given = settings(tmp_path, frame_selection={"kind": "resnet18", "weights": str(folder), "device": "cpu"})
    before = FrameSelector(given)
    told = await before.identity()
    await asyncio.sleep(0.01)
    file = folder if folder.is_file() else next(path for path in folder.rglob("*") if path.is_file())
    file.write_bytes(file.read_bytes())
    assert await before.identity() == told  # it works on with what it has loaded
    after = FrameSelector(given)
    assert await after.identity() != told
    record = Record(video_input=records.video_input()).append(records.output("frame_extraction"))
    with pytest.raises(OtherModel):
        await after.run(Task(record, "videos/x/made/y", identity=told))
