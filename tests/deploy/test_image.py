"""The image's Dockerfile: what it takes is there, what it needs is taken, and it asks for no rights."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve.access import PROBES
from tests.deploy.dockerfile import DOCKERFILE, ROOT, context, environment, instructions, sources, values

EXTRAS = set(re.findall(r"(?m)^(\w+) = \[$", (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[0]))


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    found = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_whatever_is_copied_is_in_the_context() -> None:
    there = context()
    assert sources()
    assert [source for source in sources() if source.removeprefix("./") not in there] == []


def test_nothing_else_is_in_the_context() -> None:
    taken = {source.removeprefix("./").partition("/")[0] for source in sources()}
    others = {path.partition("/")[0] for path in context()} - taken
    assert others <= {".dockerignore"}  # Docker sends it along
    assert not [path for path in context() if path.endswith((".pyc", ".env", ".mp4.part"))]


def test_every_import_of_the_application_is_copied_too() -> None:
    own = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    copied = own & set(sources())
    assert {"serve", "models", "client"} <= copied
    for package in copied:
        for path in (ROOT / package).rglob("*.py"):
            assert _imported(path) & own <= copied, path


def _imported(path: Path) -> set[str]:
    """First parts of the names of all modules that a file imports."""
    return set(re.findall(r"(?m)^\s*(?:from|import) (\w+)", path.read_text()))


def test_the_base_is_one_that_never_changes() -> None:
    (base,) = [value for value in values("ARG") if value.startswith("BASE=")]
    assert re.fullmatch(r"BASE=python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert {value.split()[0] for value in values("FROM")} == {"${BASE}"}


def test_it_runs_as_a_user_without_rights() -> None:
    last = max(one.stage for one in instructions())
    end = [one for one in instructions() if one.stage == last]
    (user,) = [one.value for one in end if one.name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "a number: Kubernetes cannot tell who a name is"
    # Kubernetes sends what the image names. A Ray node drains at SIGTERM, the default, and at nothing else.
    assert "STOPSIGNAL" not in [one.name for one in end]


def test_no_secret_is_built_in() -> None:
    named = [*values("ARG"), *environment()]
    assert not [name for name in named if re.search("KEY|SECRET|PASSWORD|TOKEN$", name.partition("=")[0])]


def test_it_starts_as_make_serve_does() -> None:
    makefile = (ROOT / "Makefile").read_text()
    exported = dict(re.findall(r"(?m)^(?:serve: )?export (\w+) :?= (.*)$", makefile))
    assert exported
    assert exported.items() <= environment().items()
    (command,) = values("CMD")[-1:]
    assert f"$(BIN)/{' '.join(yaml.safe_load(command)[:-1])} $(CONFIG)" in makefile


def test_it_writes_nowhere_but_where_a_volume_can_be() -> None:
    places = {value for name, value in environment().items() if name.endswith(("HOME", "DIR", "WEIGHTS"))}
    assert places == {"/scratch", "/weights", "/tmp"}


@pytest.mark.parametrize("name", ["serve_config.yaml", "serve_config.gpu.yaml"])
def test_its_configurations_listen_to_what_is_published_and_are_else_the_same(name: str, tmp_path: Path) -> None:
    given = (ROOT / name).read_text()
    (tmp_path / name).write_text(given)
    (edit,) = [value for value in values("RUN") if value.startswith("sed ")]
    command = [part for part in shlex.split(edit) if not part.startswith("/app/")]
    subprocess.run([*command, tmp_path / name], check=True)
    before, after = yaml.safe_load(given), yaml.safe_load((tmp_path / name).read_text())
    assert after["http_options"].pop("host") == "0.0.0.0"
    assert before["http_options"].pop("host") == "127.0.0.1"
    assert after == before


def test_its_health_is_asked_where_no_key_is_needed() -> None:
    (check,) = values("HEALTHCHECK")
    (path,) = re.findall(r"http://127\.0\.0\.1:8000(/\w+)", check)
    assert path in PROBES
    program = yaml.safe_load(check[check.index("CMD") + 3 :])
    compile(program[-1], "HEALTHCHECK", "exec")


def test_the_extras_that_are_named_exist() -> None:
    named = re.findall(r"EXTRAS=([\w,]+)", DOCKERFILE.read_text())
    assert {extra for names in named for extra in names.split(",")} <= EXTRAS
