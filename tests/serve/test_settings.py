"""Settings files say what they mean, or are refused."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from models.audio_generation.audioldm2 import AudioLDM2Settings
from models.frame_description import ImageTextSettings, Moondream2Settings
from models.object_detection import ObjectDetectionSettings
from models.sketch import SketchAudioSettings
from models.sketch.scene import SketchSceneSettings
from serve.config import deployments
from serve.settings import AppSettings, WithMusicSettings
from serve.strict import unknown_keys

ROOT = Path(__file__).parents[2]
FILES = ("serve_config.yaml", "serve_config.gpu.yaml")


@pytest.mark.parametrize("name", FILES)
def test_every_key_of_the_file_is_one_that_serve_reads(name: str) -> None:
    config = yaml.safe_load((ROOT / name).read_text())
    assert unknown_keys(config) == []
    ServeDeploySchema.model_validate(config)


@pytest.mark.parametrize("name", FILES)
def test_the_files_listen_on_this_machine_alone(name: str) -> None:
    config = yaml.safe_load((ROOT / name).read_text())
    assert config["http_options"]["host"] == "127.0.0.1"


@pytest.mark.parametrize("name", FILES)
def test_every_deployment_has_an_entry_and_every_entry_is_one(name: str) -> None:
    application = yaml.safe_load((ROOT / name).read_text())["applications"][0]
    settings = AppSettings.model_validate(application["args"])
    assert {item["name"] for item in application["deployments"]} == deployments(settings)


def test_drafts_need_no_gpu() -> None:
    application = yaml.safe_load((ROOT / "serve_config.gpu.yaml").read_text())["applications"][0]
    options = {item["name"]: item["ray_actor_options"] for item in application["deployments"]}
    assert application["args"]["drafts"]
    assert "num_gpus" not in options["DraftGenerator"]


def test_one_replica_of_everything_fits_on_one_gpu() -> None:
    config = yaml.safe_load((ROOT / "serve_config.gpu.yaml").read_text())
    deployments = config["applications"][0]["deployments"]
    shares = {item["name"]: item["ray_actor_options"].get("num_gpus", 0) for item in deployments}
    assert 0 < sum(shares.values()) <= 1
    assert all(shares[name] > 0 for name in ("ObjectDetector", "FrameSelector", "FrameDescriber"))
    for name in ("MusicGenerator", "SoundGenerator"):
        scaling = next(item["autoscaling_config"] for item in deployments if item["name"] == name)
        assert scaling["max_replicas"] > scaling["min_replicas"] >= 1


def test_an_audio_replica_begins_whatever_it_is_given() -> None:
    application = yaml.safe_load((ROOT / "serve_config.gpu.yaml").read_text())["applications"][0]
    settings = AppSettings.model_validate(application["args"])
    deployments = {item["name"]: item for item in application["deployments"]}
    for name, audio in (("MusicGenerator", settings.music), ("SoundGenerator", settings.sounds)):
        assert isinstance(audio, AudioLDM2Settings)
        assert deployments[name]["max_ongoing_requests"] == audio.at_once  # no more come than are begun


@pytest.mark.parametrize("name", FILES)
def test_a_broken_replica_is_replaced_before_a_run_has_used_up_its_attempts(name: str) -> None:
    from ray.serve._private.constants import REPLICA_HEALTH_CHECK_UNHEALTHY_THRESHOLD as TIMES

    from serve.app import HEALTH_SECONDS

    application = yaml.safe_load((ROOT / name).read_text())["applications"][0]
    assert not any("health_check_period_s" in item for item in application["deployments"])
    pauses = AppSettings.model_validate(application["args"]).runs.retry_pauses
    assert sum(pauses) > (TIMES + 1) * HEALTH_SECONDS


def test_the_default_needs_no_weights() -> None:
    settings = AppSettings()
    assert isinstance(settings.object_detection, SketchSceneSettings)
    assert isinstance(settings.music, SketchAudioSettings)


def test_the_paper_profile_is_the_papers_models() -> None:
    settings = AppSettings(profile="paper")
    assert isinstance(settings.object_detection, ObjectDetectionSettings)
    assert isinstance(settings.frame_description, Moondream2Settings)
    assert isinstance(settings.music, AudioLDM2Settings)
    assert isinstance(settings.sounds, AudioLDM2Settings)
    assert (settings.music.checkpoint, settings.sounds.checkpoint) == ("cvssp/audioldm2-music", "cvssp/audioldm2")


def test_one_module_may_be_changed_alone() -> None:
    given = {"kind": "image-text-to-text", "weights": "/weights/llava"}
    settings = AppSettings.model_validate({"profile": "paper", "frame_description": given})
    assert isinstance(settings.frame_description, ImageTextSettings)
    assert isinstance(settings.music, AudioLDM2Settings)
    settings = AppSettings.model_validate({"profile": "paper", "music": {"device": "cpu"}})
    assert isinstance(settings.music, AudioLDM2Settings)
    assert (settings.music.checkpoint, settings.music.device) == ("cvssp/audioldm2-music", "cpu")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"profil": "paper"}, "profil"),
        ({"profile": "papr"}, "papr"),
        ({"frame_extraction": {"long_sied": 3}}, "long_sied"),
        ({"object_detection": {"kind": "yolov9", "confidence": 2}}, "confidence"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(given: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        AppSettings.model_validate(given)


def test_nothing_longer_than_the_audio_models_make_is_accepted() -> None:
    assert AppSettings(profile="sketch").limits_of_all == AppSettings().limits
    paper = AppSettings.model_validate({"profile": "paper", "sounds": {"max_seconds": 600}})
    assert paper.limits_of_all.max_seconds == 600
    short = AppSettings.model_validate({"profile": "paper", "limits": {"max_seconds": 60}})
    assert short.limits_of_all.max_seconds == 60
    both = {"profile": "paper", "music": {"max_seconds": 300}, "sounds": {"kind": "with_music"}}
    assert AppSettings.model_validate(both).limits_of_all.max_seconds == 300


def test_the_sounds_may_be_made_by_the_musics_model() -> None:
    settings = AppSettings.model_validate({"profile": "paper", "sounds": {"kind": "with_music"}})
    assert isinstance(settings.sounds, WithMusicSettings)


def test_one_draft_is_not_asked_for_both() -> None:
    with pytest.raises(ValidationError, match="the drafts of music and of sounds are two programs"):
        AppSettings.model_validate({"sounds": {"kind": "with_music"}})
