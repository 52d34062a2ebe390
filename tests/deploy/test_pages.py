"""What the pages for operators say of the files in `deploy/` and of the code, and would go on saying when those change."""

import re
import shlex
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.scripts.scripts import cli as ray_commands
from ray.serve.scripts import cli as serve_commands

from models.weights import HubFiles
from serve.check import main as check
from serve.log import LOOKS_PER_CHECK, OVERTAKEN_SECONDS, POLL_SECONDS, progress_pause
from serve.prefetch import named_by
from tests.deploy.manifest import MANIFEST, ROOT, containers, documents

OPERATIONS = (ROOT / "docs/operations.md").read_text()
README = (ROOT / "README.md").read_text()


def _section(heading: str) -> str:
    """What stands below a heading, up to the next of the same kind."""
    return re.split(r"(?m)^## ", OPERATIONS.partition(f"\n## {heading}\n")[2])[0]


def test_the_page_says_which_published_weights_are_pinned_and_which_are_not() -> None:
    (told,) = re.findall(r"(?s)- Of the published weights (.*?)\n- ", _section("Security"))
    pinned, other = re.split(r"\bTwo\s+are\s+not\b", told)
    for one in named_by(ROOT / "serve_config.gpu.yaml"):
        name, value = (one.repository, one.revision) if isinstance(one, HubFiles) else (one.name, one.sha256)
        assert f"`{name}`" in (pinned if value else other)
        assert f"`{name}`" not in (other if value else pinned)


@pytest.mark.parametrize("command", ["serve status", "ray status", "ray list", "ray logs"])
def test_commands_that_ask_the_dashboard_are_there_and_said_not_to_work_on_one_machine(command: str) -> None:
    program, name = command.split()
    assert name in (serve_commands if program == "serve" else ray_commands).commands
    assert f"`{command}`" in _section("One machine")
    assert f"`{command}`" in _section("Kubernetes")


@pytest.mark.parametrize("heading", ["Nobody works on runs", "A replica does not start", "Replicas die"])
def test_what_to_look_at_is_told_for_one_machine_too(heading: str) -> None:
    (advice,) = re.findall(rf"(?ms)^### {heading}\n(.*?)^### ", OPERATIONS)
    assert "(#one-machine)" in advice
    assert "(#kubernetes)" in advice


def test_the_unit_of_systemds_starts_what_make_serve_starts_and_stops_it_as_ctrl_c_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    exported = {f"{name}={value}" for name, value in re.findall(r"(?m)^(?:serve: )?export (\w+) :?= (.*)$", makefile)}
    (text,) = re.findall(r"```ini\n(.*?)```", OPERATIONS, re.DOTALL)
    assert set(re.findall(r"(?m)^Environment=(.*)$", text)) == exported | {"RAY_AUTH_MODE=token"}
    assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=" in makefile
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    service = unit["Service"]
    command, config = service["ExecStart"].removeprefix(f"{service['WorkingDirectory']}/").rsplit(" ", 1)
    assert f"$(BIN){command.removeprefix('.venv/bin')} $(CONFIG)" in makefile
    assert (ROOT / config).is_file()
    assert (service["KillSignal"], service["KillMode"], service["Restart"]) == ("SIGINT", "mixed", "always")


def test_the_warning_that_is_none_is_one_that_serve_prints() -> None:
    (told,) = re.findall(r"`(An address was passed to) serve run", _section("One machine"))
    assert told in (Path(ray.__file__).parent / "serve/scripts.py").read_text()


def _lines(program: str, text: str) -> list[list[str]]:
    """Every command of a program's that stands in a block of its own or in a line, in words."""
    joined = text.replace("\\\n", " ")
    found = re.findall(rf"(?m)^(?:\$ | *)({program} .*)$", joined) + re.findall(rf"`({program} [^`]*)`", joined)
    return [shlex.split(one, comments=True) for one in found]


def test_the_secrets_that_are_made_are_those_that_the_manifest_asks_for() -> None:
    made = {
        words[4]: {word.removeprefix("--from-literal=").partition("=")[0] for word in words if "literal" in word}
        for words in _lines("kubectl", OPERATIONS)
        if words[1:4] == ["create", "secret", "generic"]
    }
    asked: dict[str, set[str]] = {}
    for reference in _references(documents("RayService") + documents("Job")):
        asked.setdefault(reference["name"], set()).update({reference["key"]} if "key" in reference else ())
    assert set(made) == set(asked)
    for name, keys in asked.items():
        assert keys <= made[name], name
    assert {"AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} == made["immersivaudio-bucket"]


def _references(part: Any) -> list[dict[str, str]]:
    """Of secrets, wherever they stand."""
    if isinstance(part, dict):
        own = [value for key, value in part.items() if key in ("secretKeyRef", "secretRef")]
        return own + [one for value in part.values() for one in _references(value)]
    return [one for value in part for one in _references(value)] if isinstance(part, list) else []


@pytest.mark.parametrize("page", [OPERATIONS, README], ids=["operations", "README"])
def test_every_call_of_kubectl_says_in_which_namespace(page: str) -> None:
    calls = [words for words in _lines("kubectl", page) if words[1] != "drain" and len(words) > 2]
    assert calls
    for words in calls:
        assert "--namespace" in words or words[1:3] == ["create", "namespace"], shlex.join(words)


@pytest.mark.parametrize("page", [OPERATIONS, README], ids=["operations", "README"])
def test_the_images_that_the_manifest_asks_for_are_built_and_pushed(page: str) -> None:
    asked = {container["image"] for _, _, container in containers()}
    builds = [words for words in _lines("docker", page) if words[1] == "build"]
    assert {words[words.index("--tag") + 1] for words in builds} == asked
    assert {words[2] for words in _lines("docker", page) if words[1] == "push"} == asked
    for words in builds:
        tag, extras = words[words.index("--tag") + 1], words[words.index("--build-arg") + 1]
        assert extras == f"EXTRAS={tag.rpartition('-')[2]},tracing"


def test_the_check_before_the_images_are_built_reads_the_manifest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (words,) = [words for words in _lines("immersivaudio", _section("Kubernetes")) if words[1] == "check"]
    monkeypatch.chdir(ROOT)
    assert check(words[2:]) == 0
    assert "MusicGenerator" in capsys.readouterr().out


def test_whoever_changes_a_model_is_told_of_both_files() -> None:
    head = MANIFEST.read_text().partition("apiVersion:")[0]
    for text in (head, _section("Kubernetes")):
        assert "serveConfigV2" in text
        assert "serve_config.gpu.yaml" in text


def test_the_requests_told_of_are_those_that_the_code_makes() -> None:
    page = (ROOT / "docs/scaling.md").read_text()
    (written,) = re.findall(r"(?m)^\| a stem that is made.*\| writes \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page)
    (listed,) = re.findall(r"(?m)^\| and the progress \| listings \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page)
    (owner,) = re.findall(r"(?m)^\| a run's owner.*\| reads \| (\d+) \|", page)
    (follower,) = re.findall(r"(?m)^\| a follower.*\| reads \| (\d+) \|", page)
    for told in (written, listed):
        assert float(told[0]) == 1 / progress_pause(15)
        assert float(told[1]) == round(_words(60) / 60, 1)
        assert float(told[2]) == 1 / progress_pause(60) == 1 / progress_pause(3600)
    assert float(owner) == (1 + 1 / LOOKS_PER_CHECK) / OVERTAKEN_SECONDS
    assert float(follower) == 1 / POLL_SECONDS[1]


def _words(seconds: int) -> int:
    """How often progress is told in so many seconds of work, of which every moment could be told."""
    told, last = 0, 0.0
    for hundredth in range(seconds * 100):
        worked = hundredth / 100
        if worked - last >= progress_pause(worked):
            told, last = told + 1, worked
    return told
