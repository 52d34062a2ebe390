"""`immersivaudio prefetch`: what it fetches is what the service starts with, and no network is needed for that."""

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.frame_description import MOONDREAM2, Moondream2Settings
from serve import prefetch
from tests.client.command import COMMAND, ROOT
from tests.hub import COMMIT, Hub, Repository, serving
from tests.toys.audioldm2 import make_audioldm2
from tests.toys.vision import make_moondream, make_resnet18, make_yolov9

MUSIC = "cvssp/audioldm2-music"
MOONDREAM = Moondream2Settings()

START_OFFLINE = """
import sys
asked = []
sys.addaudithook(lambda event, args: asked.append(args) if event in ("socket.connect", "socket.getaddrinfo") else None)
from pathlib import Path
from serve.config import applications
from serve.audio_server import MusicGenerator
from serve.deployments import FrameDescriber, ObjectDetector
(application,) = applications(Path(sys.argv[1]))
for server in (ObjectDetector, FrameDescriber, MusicGenerator):
    print(server(application.settings).model.model)
assert not asked, asked
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Toys of everything that the hub has."""
    folder = tmp_path_factory.mktemp("published")
    make_audioldm2(folder / "music")
    make_moondream(folder / "moondream2")
    (folder / "tokenizer").mkdir()
    shutil.move(folder / "moondream2" / "tokenizer.json", folder / "tokenizer" / "tokenizer.json")
    (folder / "moondream2" / "README.md").write_text("Not fetched.")
    make_yolov9(folder).rename(folder / "yolov9t.pt")
    make_resnet18(folder / "resnet18")
    return folder


@pytest.fixture
def hub(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub
    from huggingface_hub import constants, hf_api

    repositories = {
        MUSIC: Repository(published / "music"),
        MOONDREAM2: Repository(published / "moondream2", MOONDREAM.revision),
        MOONDREAM.tokenizer: Repository(published / "tokenizer", MOONDREAM.tokenizer_revision),
    }
    with serving(Hub(repositories)) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
        huggingface_hub.utils.disable_progress_bars()
        yield hub
        huggingface_hub.utils.enable_progress_bars()


@pytest.fixture
def kept(tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where weights are to go. YOLOv9's file is there already: somebody has carried it there."""
    folder = tmp_path / "kept"
    (folder / "ultralytics").mkdir(parents=True)
    shutil.copy(published / "yolov9t.pt", folder / "ultralytics")
    monkeypatch.setenv("IMMERSIVAUDIO_WEIGHTS", "")  # prefetch sets it, for its own process
    return folder


@pytest.fixture
def config(tmp_path: Path, published: Path) -> Path:
    """Most of the paper's models, on a CPU."""
    settings: dict[str, Any] = {
        "profile": "paper",
        "store": str(tmp_path / "store"),
        "object_detection": {"kind": "yolov9", "weights": "yolov9t.pt", "device": "cpu"},
        "frame_selection": {"kind": "resnet18", "weights": str(published / "resnet18"), "device": "cpu"},
        "frame_description": {"device": "cpu"},
        "music": {"device": "cpu"},
        "sounds": {"kind": "sketch"},
    }
    content = {"applications": [{"name": "immersivaudio", "import_path": "serve.app:build", "args": settings}]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "config.yaml"


def test_the_service_starts_on_what_was_fetched_and_asks_nobody(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefetch.main([str(config), "--to", str(kept)]) == 0
    told = capsys.readouterr().out
    assert f"export IMMERSIVAUDIO_WEIGHTS={kept} HF_HUB_OFFLINE=1" in told
    assert f"{MOONDREAM2}/README.md" not in hub.sent
    asked = hub.asked
    environment = os.environ | {"IMMERSIVAUDIO_WEIGHTS": str(kept), "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": hub.url}
    started = subprocess.run(
        [sys.executable, "-c", START_OFFLINE, str(config)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    detector, describer, generator = started.stdout.splitlines()[-3:]
    assert re.fullmatch(r"yolov9t\.pt sha256:[0-9a-f]{12}", detector)
    assert (describer, generator) == (f"{MOONDREAM2}@{MOONDREAM.revision[:12]}", f"{MUSIC}@{COMMIT[:7]}")
    assert hub.asked == asked


def test_every_weight_is_told_with_its_size_and_what_pins_it(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefetch.main([str(config), "--to", str(kept)])
    lines = capsys.readouterr().out.splitlines()
    (yolo,) = (line for line in lines if "yolov9t.pt" in line)
    assert re.search(r"[\d.]+ MB +1 file +yolov9t\.pt +sha256 [0-9a-f]{64} +\(of what came: nothing is pinned\)", yolo)
    (moondream,) = (line for line in lines if MOONDREAM2 in line)
    assert moondream.endswith(f"{MOONDREAM2}  commit {MOONDREAM.revision}")
    (music,) = (line for line in lines if MUSIC in line)
    assert f"commit {COMMIT}" in music
    assert "nothing is pinned" in music


def test_what_cannot_be_had_is_told_and_the_rest_is_fetched(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories[MUSIC].refuses = (403, "GatedRepo")
    assert prefetch.main([str(config), "--to", str(kept)]) == 1
    told = capsys.readouterr()
    assert f"accept its licence: do so at {hub.url}/{MUSIC}, and set HF_TOKEN" in told.err
    assert "1 of 4 are missing or damaged" in told.err
    assert MOONDREAM2 in told.out


def test_a_hub_that_cannot_be_asked_is_told_without_the_command_that_was_just_run(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert prefetch.main([str(config), "--to", str(kept)]) == 1
    told = capsys.readouterr().err
    assert "forbids to fetch it: run this again where there is a network, and without HF_HUB_OFFLINE" in told
    assert "immersivaudio prefetch" not in told


def test_a_package_that_is_missing_is_named_with_what_installs_it(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert prefetch.main([str(config), "--to", str(kept)]) == 1
    (told,) = (line for line in capsys.readouterr().err.splitlines() if MUSIC in line)
    assert "is fetched with diffusers, which is not installed: `make paper`, or pip install '.[paper]'" in told


def test_what_the_hubs_client_says_is_printed_once(config: Path, kept: Path) -> None:
    program = (
        "import logging, sys\nfrom serve import prefetch\nprefetch.named_by = lambda config: []\n"
        "prefetch.main(sys.argv[1:])\nimport huggingface_hub\n"
        "logging.getLogger('huggingface_hub.utils').warning('trying again')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(config)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stderr.count("trying again") == 1


def test_a_file_that_changed_is_found_by_verifying_and_mended_by_fetching(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prefetch.main([str(config), "--to", str(kept)])
    assert prefetch.main([str(config), "--to", str(kept), "--verify"]) == 0
    (file,) = (path for path in kept.rglob("unet/*.safetensors"))
    file.write_bytes(bytes(file.stat().st_size))
    asked = hub.asked
    assert prefetch.main([str(config), "--to", str(kept), "--verify"]) == 1
    assert hub.asked == asked
    assert "unet/diffusion_pytorch_model.safetensors is gone, or is not what was fetched" in capsys.readouterr().err
    assert prefetch.main([str(config), "--to", str(kept)]) == 0
    assert prefetch.main([str(config), "--to", str(kept), "--verify"]) == 0


def test_what_is_fetched_is_told_where_it_cannot_be_listed(
    hub: Hub, config: Path, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: str) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", refuse)
        assert prefetch.main([str(config), "--to", str(kept)]) == 0
    assert f"{MOONDREAM2}  commit {MOONDREAM.revision}" in capsys.readouterr().out


def test_what_was_never_fetched_cannot_be_verified(
    config: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prefetch.main([str(config), "--to", str(kept), "--verify"]) == 1
    assert f"{MUSIC} is not in {kept}" in capsys.readouterr().err


def test_a_checkpoint_that_is_neither_a_folder_nor_on_the_hub_is_told(
    config: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = yaml.safe_load(config.read_text())
    content["applications"][0]["args"]["music"]["checkpoint"] = "/nowhere/audioldm2"
    config.write_text(yaml.safe_dump(content))
    assert prefetch.main([str(config), "--to", str(kept)]) == 2
    assert "there is no folder /nowhere/audioldm2" in capsys.readouterr().err


def test_our_own_files_name_what_the_paper_uses() -> None:
    assert prefetch.named_by(ROOT / "serve_config.yaml") == []
    names = [one.name.split(" ")[0] for one in prefetch.named_by(ROOT / "serve_config.gpu.yaml")]
    assert names == [
        "yolov9e.pt",
        "resnet18-f37072fd.pth",
        "vikhyatk/moondream2",
        "moondream/starmie-v1",
        "cvssp/audioldm2-music",
        "cvssp/audioldm2",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("prefetch", "serve_config.yaml"), 0, "names no published weights"),
        (("check", "README.md", "--gpu-memory", "24"), 2, "cannot be read"),
        (("check", "deploy/rayservice.yaml"), 0, "MusicGenerator"),
    ],
)
def test_the_command_line_asks_the_services_programs(arguments: tuple[str, ...], code: int, told: str) -> None:
    ran = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, told in ran.stdout + ran.stderr) == (code, True)
