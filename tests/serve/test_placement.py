"""Nobody takes more of a GPU than its share, and a share that is too small is told before anything is loaded. The GPU is a fake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.audio_generation.audioldm2 import AudioLDM2Settings
from models.errors import ModelUnavailable
from models.frame_selection import FrameSelectionSettings
from models.object_detection import ObjectDetectionSettings
from models.schema import ModuleSettings
from models.sketch.scene import SketchSceneSettings
from serve import check, placement
from serve.placement import GIB, Peak, claim

ROOT = Path(__file__).parents[2]
GPU_FILE = ROOT / "serve_config.gpu.yaml"
MUSIC = AudioLDM2Settings(checkpoint="cvssp/audioldm2-music", device="cuda")
PEAKS = {"cvssp/audioldm2-music": Peak(loaded=4, peak=7, on_card=8), "resnet18": Peak(1, 2, 2.5)}


class Card:
    """What this process asked of a GPU that it only seems to have."""

    def __init__(self, total: float, free: float) -> None:
        self.total, self.free = total, free
        self.allowed: list[float] = []
        """GiB, of every limit that was set."""

    def limit(self, fraction: float, device: int) -> None:
        assert device == 0
        self.allowed.append(fraction * self.total)


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Card]:
    """card(total, free=…, share=…): a GPU of so many GiB, of which Ray gave this process a share; and a table of peaks."""
    import torch

    def make(total: float, *, free: float | None = None, share: float | None) -> Card:
        made = Card(total, total if free is None else free)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(made.free * GIB), int(made.total * GIB)))
        monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", made.limit)
        monkeypatch.setattr(placement, "_share", lambda: share)
        monkeypatch.setattr(placement, "PEAKS", PEAKS)
        return made

    return make


class TestAReplica:
    def test_keeps_to_its_share_of_the_card_cudas_own_part_in_it(self, card: Callable[..., Card]) -> None:
        given = card(24, share=0.5)
        claim("MusicGenerator", MUSIC)
        assert given.allowed == [pytest.approx(0.5 * 24 - 1)]

    @pytest.mark.parametrize(
        "own", [ObjectDetectionSettings(device="auto"), FrameSelectionSettings(device="cuda")], ids=lambda one: one.kind
    )
    def test_of_the_vision_models_keeps_to_its_share_too(self, card: Callable[..., Card], own: ModuleSettings) -> None:
        given = card(24, share=0.25)
        claim("AnyDetector", own)
        assert len(given.allowed) == 1
        assert given.allowed[0] <= 6

    def test_with_whole_cards_may_use_the_first_one(self, card: Callable[..., Card]) -> None:
        given = card(24, share=2)
        claim("MusicGenerator", MUSIC)
        assert given.allowed == [pytest.approx(23)]

    def test_whose_share_is_too_small_stops_and_says_what_would_do(self, card: Callable[..., Card]) -> None:
        given = card(15.9, share=0.3)
        with pytest.raises(ModelUnavailable) as raised:
            claim("MusicGenerator", MUSIC)
        assert str(raised.value) == (
            "MusicGenerator may use 0.3 of this card's 15.9 GiB = 4.8 GiB, and cvssp/audioldm2-music needs 5.0: "
            "give it num_gpus: 0.35, or a larger card"
        )
        assert given.allowed == []

    def test_starts_with_the_share_that_the_sentence_names(self, card: Callable[..., Card]) -> None:
        given = card(15.9, share=0.35)
        claim("MusicGenerator", MUSIC)
        assert given.allowed == [pytest.approx(0.35 * 15.9 - 1)]

    def test_whose_model_no_share_of_the_card_holds_is_told_so(self, card: Callable[..., Card]) -> None:
        card(4, share=1)
        with pytest.raises(ModelUnavailable, match="give it a larger card"):
            claim("MusicGenerator", MUSIC)

    def test_without_a_share_of_a_gpu_uses_none_behind_rays_back(self, card: Callable[..., Card]) -> None:
        card(24, share=0)
        with pytest.raises(
            ModelUnavailable, match="MusicGenerator is to run on a GPU, and has no num_gpus: give it the share"
        ):
            claim("MusicGenerator", MUSIC)

    def test_on_a_card_that_somebody_else_fills_says_so(self, card: Callable[..., Card]) -> None:
        card(24, free=3, share=0.5)
        with pytest.raises(
            ModelUnavailable, match=r"loads 4\.0 GiB of cvssp/audioldm2-music, and 3\.0 of this card's 24\.0 GiB"
        ):
            claim("MusicGenerator", MUSIC)

    def test_that_fits_without_its_largest_batches_starts_and_warns(
        self, card: Callable[..., Card], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("serve.placement.logger.propagate", True)  # Serve turns it off in a replica
        given = card(24, share=0.25)
        claim("MusicGenerator", MUSIC)
        assert "may use 6.0 GiB of the card, and would take 8.0 with its largest batches" in caplog.text
        assert given.allowed == [pytest.approx(5)]

    def test_of_a_model_that_was_not_measured_has_its_share_but_for_cudas_own_part(
        self, card: Callable[..., Card]
    ) -> None:
        given = card(24, share=0.1)
        claim("MusicGenerator", AudioLDM2Settings(checkpoint="somebody/else", device="cuda"))
        assert given.allowed == [pytest.approx(2.4 - placement.UNKNOWN.beside)]

    @pytest.mark.parametrize(
        "own", [SketchSceneSettings(), FrameSelectionSettings(device="cpu")], ids=lambda one: one.kind
    )
    def test_that_uses_no_gpu_claims_none(self, card: Callable[..., Card], own: ModuleSettings) -> None:
        given = card(24, share=0)
        claim("FrameSelector", own)
        assert given.allowed == []

    def test_is_what_this_is_about_and_nothing_else(self, card: Callable[..., Card]) -> None:
        given = card(24, share=None)
        claim("MusicGenerator", MUSIC)
        assert given.allowed == []


def test_ray_says_which_share_a_replica_has(cluster: str) -> None:
    from ray import serve as rs

    class WithAShare:
        def __call__(self) -> float | None:
            return placement._share()

    assert placement._share() is None  # this process is no replica
    try:
        deployment: Any = rs.deployment(ray_actor_options={"num_cpus": 0.1, "num_gpus": 0.25})(WithAShare)
        assert rs.run(deployment.bind(), name="share", route_prefix=None).remote().result(timeout_s=60) == 0.25
    finally:
        rs.delete("share")


def checked(tmp_path: Path, change: Callable[[dict[str, Any], dict[str, Any]], object], *flags: str) -> int:
    """The exit code for a file with changed settings and `ray_actor_options`."""
    content = yaml.safe_load(GPU_FILE.read_text())
    application = content["applications"][0]
    change(application["args"], {item["name"]: item["ray_actor_options"] for item in application["deployments"]})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    return check.main([str(tmp_path / "config.yaml"), *flags])


class TestAFileOfSettings:
    def test_of_ours_has_nothing_against_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        for file in sorted(ROOT.glob("serve_config*.yaml")):
            assert check.main([str(file), "--gpu-memory", "24"]) == 0
        assert capsys.readouterr().err == ""

    def test_shows_every_share_and_what_it_is_in_gib(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(placement, "PEAKS", PEAKS)
        check.main([str(GPU_FILE), "--gpu-memory", "24"])
        lines = capsys.readouterr().out.splitlines()
        assert any(
            "MusicGenerator" in line and "GiB  cvssp/audioldm2-music: needs 5.0 GiB, 8.0 with" in line for line in lines
        )
        assert any("ObjectDetector" in line and "yolov9e.pt: not measured" in line for line in lines)
        assert lines[-1].startswith("one replica of each: ")

    def test_for_a_card_that_is_too_small_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(placement, "PEAKS", PEAKS)
        assert (
            checked(tmp_path, lambda _, options: options["MusicGenerator"].update(num_gpus=0.3), "--gpu-memory", "12")
            == 1
        )
        assert "cvssp/audioldm2-music needs 5.0: give it num_gpus: 0.45, or a larger card" in capsys.readouterr().err

    def test_without_num_gpus_for_a_model_on_a_gpu_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert checked(tmp_path, lambda _, options: options["FrameDescriber"].pop("num_gpus")) == 1
        assert "FrameDescriber is to run on a GPU, and has no num_gpus" in capsys.readouterr().err

    def test_with_a_share_that_nobody_uses_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert checked(tmp_path, lambda args, _: args["frame_selection"].update(device="cpu")) == 1
        assert "and resnet18 uses no GPU: nobody else gets that share" in capsys.readouterr().err

    def test_with_one_checkpoint_for_both_stems_has_one_share_for_both(self, tmp_path: Path) -> None:
        content = yaml.safe_load(GPU_FILE.read_text())
        application = content["applications"][0]
        application["args"]["sounds"] = {"kind": "with_music"}
        application["deployments"] = [one for one in application["deployments"] if one["name"] != "SoundGenerator"]
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        assert check.main([str(tmp_path / "config.yaml")]) == 0

    def test_that_the_service_would_refuse_is_refused_by_name(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert checked(tmp_path, lambda args, _: args["music"].update(memory_fraction=0.3)) == 2
        assert "music.audioldm2.memory_fraction: Extra inputs are not permitted" in capsys.readouterr().err

    @pytest.mark.parametrize(
        "content", ["applications: []", "- 1", "a: [", "applications: [{import_path: other:build}]"]
    )
    def test_that_is_none_is_refused_in_one_sentence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
    ) -> None:
        (tmp_path / "config.yaml").write_text(content)
        assert check.main([str(tmp_path / "config.yaml")]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
