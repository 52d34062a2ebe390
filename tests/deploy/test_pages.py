"""What the pages for operators say of the files in `deploy/` and of the code, and would go on saying when those change."""

import re

import pytest
from ray.scripts.scripts import cli as ray_commands
from ray.serve.scripts import cli as serve_commands

from models.weights import HubFiles
from serve.log import LOOKS_PER_CHECK, OVERTAKEN_SECONDS, POLL_SECONDS, progress_pause
from serve.prefetch import named_by
from tests.deploy.manifest import ROOT

OPERATIONS = (ROOT / "docs/operations.md").read_text()


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
