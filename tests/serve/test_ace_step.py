"""ACE-Step in AudioLDM2's place, in the whole service."""

from pathlib import Path

import pytest

from models.weights import HubFiles
from serve.settings import AppSettings
from tests import media_factory
from tests.serve.following import run_to_the_end
from tests.serve.local import local_http
from tests.toys.ace_step import RATE, make_ace_step

PUBLISHED = "ACE-Step/acestep-v15-xl-turbo-diffusers"


async def test_makes_the_music_where_it_is_chosen_and_its_licence_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(published: HubFiles) -> Path:
        return make_ace_step(tmp_path / "snapshots" / str(published.revision))

    monkeypatch.setattr("models.weights.find", find)
    given = {"store": str(tmp_path / "store"), "music": {"kind": "ace-step", "device": "cpu", "steps": 2}}
    image = media_factory.make_image(tmp_path / "photo.png", size=(64, 36))
    async with local_http(AppSettings.model_validate(given)) as http:
        run = await run_to_the_end(http, image, seconds=2, candidates=2, keep_candidates=True, loop=True, guidance=5)
        loaded = (await http.get("/v1/modules")).json()
    assert run.status == "finished", run.error
    assert run.record.audio_generation is not None
    music, sounds = run.record.audio_generation.stems
    assert (music.model, music.model_sample_rate, music.model_channels) == (f"{PUBLISHED}@200ba99", RATE, 2)
    assert (music.steps, music.guidance, music.loops, music.chosen) == (2, None, True, 0)
    assert sorted(music.kept) == ["music-1", "music-2"]
    assert sounds.model == "sketch/foley"
    (told,) = (info for info in loaded if info["part"] == "music")
    assert told["licence"] == "MIT AND Apache-2.0"


def test_nothing_longer_than_it_makes_is_accepted() -> None:
    settings = AppSettings.model_validate({"music": {"kind": "ace-step"}, "limits": {"max_seconds": 3600}})
    assert settings.limits_of_all.max_seconds == 600


def test_may_make_the_sounds_as_well() -> None:
    AppSettings.model_validate({"music": {"kind": "ace-step"}, "sounds": {"kind": "with_music"}})
