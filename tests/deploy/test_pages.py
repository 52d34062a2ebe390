"""What the pages for operators say of the files in `deploy/` and of the code, and would go on saying when those change."""

import re

import pytest
from ray.scripts.scripts import cli as ray_commands
from ray.serve.scripts import cli as serve_commands

from models.weights import HubFiles
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
