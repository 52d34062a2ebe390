"""The README's commands do what it says, typed as they stand there (but for the port, which is the tests' own)."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import DeploymentSchema

from client import ImmersivaudioClient, Options
from models.audio_generation.ace_step import AceStepSettings
from serve.settings import AppSettings
from tests import media_factory
from tests.serve.conftest import ROOT, Deploy

pytestmark = pytest.mark.timeout(600)  # a deployment comes first

README = (ROOT / "README.md").read_text()
HERE = "http://127.0.0.1:8000"


def _commands(*programs: str) -> list[str]:
    lines = [line.removeprefix("$ ") for line in README.splitlines() if line.startswith("$ ")]
    return [line.split("  #")[0].strip() for line in lines if line.startswith(programs)]


def _yaml() -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]


@pytest.fixture(scope="module")
def address(deploy: Deploy, tmp_path_factory: pytest.TempPathFactory) -> str:
    return deploy("serve_config.yaml", store=str(tmp_path_factory.mktemp("store")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the files that the README speaks of."""
    media_factory.make_video(tmp_path / "holiday.mp4", frames=50, sound=True)
    media_factory.make_video(tmp_path / "drone.mov", frames=50)
    media_factory.make_video(tmp_path / "talk.mp4", frames=50, sound=True)
    places = [media_factory.panned(media_factory.photograph(name), frames=75) for name in ("china", "flower")]
    media_factory.make_video(tmp_path / "film.mp4", pictures=[*places[0], *places[1]], sound=True)
    media_factory.make_image(tmp_path / "photo.jpg")
    media_factory.make_sound(tmp_path / "drums.wav", seconds=2)
    return tmp_path


def _type(command: str, folder: Path, address: str, **variables: str) -> str:
    typed = command.replace(HERE, address).replace("curl ", "curl --fail-with-body --silent ", 1)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "IMMERSIVAUDIO_SERVER": address} | variables
    done = subprocess.run(
        ["bash", "-euc", typed.replace(".venv/bin/", "")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{typed}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_command_lines_work(address: str, folder: Path) -> None:
    commands = _commands(".venv/bin/immersivaudio")
    assert len(commands) >= 10
    with ImmersivaudioClient(address) as service:
        run = service.enhance(folder / "holiday.mp4", Options(k=30), output=folder / "run.mp4")
        film = service.enhance(folder / "film.mp4", Options(scenes=2), output=folder / "two.mp4")
    for command in commands:
        _type(command, folder, address, RUN=run.id, FILM=film.id)
    assert (folder / "again.mp4").stat().st_size > 1000
    assert (folder / "holiday.immersivaudio.mp4").stat().st_size > 1000
    assert (folder / "photo.mp4").stat().st_size > 1000
    assert (folder / "ambience.wav").stat().st_size > 1000
    assert (folder / "drone.mp4").stat().st_size > 1000
    assert (folder / "one-scene.mp4").stat().st_size > 1000
    assert (folder / "another-take.mp4").stat().st_size > 1000
    assert (folder / "rain.wav").stat().st_size > 1000
    assert {path.name for path in folder.glob("film.immersivaudio*")} == {
        f"film.immersivaudio.{name}"
        for name in ("mp4", "music.flac", "sounds.flac", "original.flac", "mix.flac", "descriptions.vtt")
    }
    assert '"sound_prompt"' in (folder / "record.json").read_text()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_the_curl_calls_work(address: str, folder: Path) -> None:
    commands = _commands("curl")
    assert len(commands) >= 6
    submitted = _type(commands[0], folder, address)
    found = re.search(r'"id":\s*"([0-9a-f]{32})"', submitted)
    assert found
    with ImmersivaudioClient(address) as service:
        service.wait(found[1])
    for command in commands[1:]:
        _type(command, folder, address, RUN=found[1])
    assert (folder / "result.mp4").stat().st_size > 1000


def test_the_python_works(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code.replace(HERE, address), {})
    assert (folder / "holiday-with-music.mp4").stat().st_size > 1000


def test_the_yaml_is_understood() -> None:
    parts = _yaml()
    assert len(parts) == 3
    for part in parts:
        assert set(part) <= {"args", "deployments"}
        AppSettings.model_validate(part["args"])


def test_what_makes_one_piece_at_a_time_is_given_one_more_at_most() -> None:
    (part,) = (part for part in _yaml() if "deployments" in part)
    settings = AppSettings.model_validate(part["args"])
    assert isinstance(settings.music, AceStepSettings)
    application = yaml.safe_load((ROOT / "serve_config.gpu.yaml").read_text())["applications"][0]
    for deployment in part["deployments"]:
        assert deployment["name"] in {item["name"] for item in application["deployments"]}
        assert set(deployment) <= set(DeploymentSchema.model_fields)
        asked = DeploymentSchema.model_validate(deployment)
        assert asked.max_ongoing_requests == 2
        assert deployment["autoscaling_config"]["target_ongoing_requests"] == 1


def test_no_output_is_left_to_be_filled_in() -> None:
    assert not re.search(r"@[A-Z]+@", README)


def test_every_link_and_every_make_target_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
    targets = (ROOT / "Makefile").read_text()
    for target in re.findall(r"[`$] ?make ([a-z]+)", README):
        assert f"\n{target}:" in targets, target
