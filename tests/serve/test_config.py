"""What a `serve_config*.yaml` says wrong is told in one sentence, before anything is started."""

import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve._private.build_app import build_app

from serve import one_machine
from serve.app import build
from serve.config import BadConfig, applications, deployments
from serve.settings import AppSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Callable[[Callable[[dict[str, Any], dict[str, Any]], object]], Path]:
    """The file of the sketches, with the whole of it or its application changed."""

    def changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Path:
        content = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
        change(content, content["applications"][0])
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "config.yaml"

    return changed


Config = Callable[[Callable[[dict[str, Any], dict[str, Any]], object]], Path]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda content, _: content.update(proxy_locatoin="HeadOnly"),
            "proxy_locatoin is no key that Serve knows: did you mean proxy_location?",
        ),
        (
            lambda _, app: app["deployments"][0].update(max_ongoing_reqests=3),
            "applications[immersivaudio].deployments[Ingress].max_ongoing_reqests is no key that Serve knows: "
            "did you mean max_ongoing_requests?",
        ),
        (
            lambda _, app: app["deployments"][1]["ray_actor_options"].update(xyzzy=1),
            "applications[immersivaudio].deployments[Pipeline].ray_actor_options.xyzzy is no key that Serve knows",
        ),
        (
            lambda _, app: app["deployments"][0].update(name="Ingres"),
            "with these args there is no deployment Ingres: did you mean Ingress?",
        ),
        (
            lambda _, app: app["deployments"].append({"name": "DraftGenerator"}),
            "with these args there is no deployment DraftGenerator",
        ),
        (lambda _, app: app["args"].update(stor="x"), "stor: Extra inputs are not permitted"),
        (
            lambda _, app: app["deployments"][0].update(max_ongoing_requests=-1),
            "applications.0.deployments.0.max_ongoing_requests: Input should be greater than 0",
        ),
    ],
)
def test_what_is_misspelt_is_named_with_where_it_stands(
    config: Config, change: Callable[[dict[str, Any], dict[str, Any]], object], told: str
) -> None:
    with pytest.raises(BadConfig, match=f"^{re.escape(told)}$"):
        applications(config(change))


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"profile": "paper"},
        {"profile": "paper", "drafts": True},
        {"profile": "paper", "sounds": {"kind": "with_music"}},
    ],
)
def test_the_deployments_are_those_that_are_built(args: dict[str, Any]) -> None:
    settings = AppSettings.model_validate(args)
    assert deployments(settings) == {one.name for one in build_app(build(settings), name="app").deployments}


class TestAFileForKubernetes:
    def test_is_read_where_its_ray_service_has_it(self) -> None:
        (application,) = applications(ROOT / "deploy" / "rayservice.yaml")
        assert application.settings.store.startswith("s3://")
        assert application.num_gpus["MusicGenerator"] == 1

    def test_is_refused_where_serve_itself_reads_the_file(self) -> None:
        with pytest.raises(BadConfig, match="it is for Kubernetes"):
            applications(ROOT / "deploy" / "rayservice.yaml", manifests=False)

    def test_has_its_keys_looked_at(self, tmp_path: Path) -> None:
        manifest = (ROOT / "deploy" / "rayservice.yaml").read_text()
        (tmp_path / "service.yaml").write_text(manifest.replace("proxy_location:", "proxy_locatoin:"))
        with pytest.raises(BadConfig, match="did you mean proxy_location"):
            applications(tmp_path / "service.yaml")

    @pytest.mark.parametrize("spec", ["{}", "null", "{ serveConfigV2: 3 }"])
    def test_without_a_configuration_in_it_is_refused(self, tmp_path: Path, spec: str) -> None:
        (tmp_path / "service.yaml").write_text(f"kind: RayService\nspec: {spec}\n")
        with pytest.raises(BadConfig, match=r"its RayService has no serveConfigV2|cannot be read"):
            applications(tmp_path / "service.yaml")


@pytest.mark.parametrize(
    ("path", "judged"),
    [
        ("other:build", False),
        ("other.serve.app:build", False),
        ("serve.app.build", True),
        ("serve.ap:build", True),
        ("serve:build", True),
        ("build", True),
    ],
)
def test_who_builds_something_else_is_judged_by_serve(tmp_path: Path, path: str, judged: bool) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"applications: [{{name: a, import_path: {path}, args: {{stor: x}}}}]")
    with pytest.raises(SystemExit) if judged else nullcontext():
        one_machine._refuse(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        ("applications: [{import_path: serve.app:buld}]", "it has no application whose import_path is serve.app:build"),
        (
            "applications: [{name: a, import_path: serve.app:build, args: {stor: x}}]",
            "stor: Extra inputs are not permitted",
        ),
    ],
)
def test_the_service_on_one_machine_does_not_start_ray_for_a_file_that_it_refuses(
    tmp_path: Path, content: str | None, told: str
) -> None:
    file = tmp_path / "config.yaml"
    if content is not None:
        file.write_text(content)
    started = subprocess.run(
        [sys.executable, "-m", "serve.one_machine", "run", str(file)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (started.returncode, started.stdout, started.stderr) == (2, "", f"immersivaudio: {file}: {told}\n")
