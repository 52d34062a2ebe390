"""The compose file, read without Docker."""

import json
import re
import shlex
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from serve.access import ApiKeys
from serve.settings import AccessSettings
from serve.tracing import ENDPOINTS
from tests.deploy.dockerfile import ROOT, environment, values
from tests.deploy.test_image import EXTRAS

TEXT = (ROOT / "deploy" / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=list(SERVICES))


def test_compose_knows_every_field() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


def test_a_misspelt_field_would_be_noticed() -> None:
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    with pytest.raises(jsonschema.ValidationError, match="read_onl"):
        jsonschema.validate({"services": {"a": {"image": "a", "read_onl": True}}}, json.loads(schema.read_text()))


@each_service
def test_nobody_has_rights_or_writes_to_the_root(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "user", "cap_add", "pid"} & set(service)
    targets = {place.split(":")[1] for place in service.get("volumes", ())} | {
        place.split(":")[0] for place in service["tmpfs"]
    }
    assert {environment()["RAY_TMPDIR"], environment()["TMPDIR"]} <= targets


@each_service
def test_what_is_published_is_this_machines_alone(service: dict[str, Any]) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@each_service
def test_it_is_built_from_what_is_there(service: dict[str, Any]) -> None:
    build = service["build"]
    folder = (ROOT / "deploy" / build["context"]).resolve()
    assert folder == ROOT
    assert (folder / build["dockerfile"]).is_file()
    assert _filled(build["args"], {})["EXTRAS"] in EXTRAS


def test_traces_need_no_change_of_the_file() -> None:
    asked = {"EXTRAS": "paper,tracing", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318"}
    given = asked | {"IMMERSIVAUDIO_API_KEY": "0123456789abcdef"}
    for name in ("sketch", "gpu"):
        assert _filled(SERVICES[name]["build"]["args"], given)["EXTRAS"] == asked["EXTRAS"]
        passed = _filled(SERVICES[name]["environment"], given)
        assert passed["OTEL_EXPORTER_OTLP_ENDPOINT"] == asked["OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert set(ENDPOINTS) <= set(SERVICES[name]["environment"])
        assert "OTEL_EXPORTER_OTLP_HEADERS" not in passed, "it was not given"


def test_images_of_one_name_are_one_build() -> None:
    for name in {service["image"] for service in SERVICES.values()}:
        builds = [service["build"] for service in SERVICES.values() if service["image"] == name]
        assert all(build == builds[0] for build in builds)


def test_programs_understand_what_they_are_told() -> None:
    """Every command is one of the image's programs, with flags that it has and configurations that are in the image."""
    from typer.main import get_command

    from client.cli import main

    commands = get_command(main).commands  # type: ignore[attr-defined]
    in_image = " ".join(values("COPY"))
    default: list[str] = yaml.safe_load(values("CMD")[-1])
    for service in SERVICES.values():
        told: list[str] = service.get("command", default)
        assert all(argument in in_image for argument in told if argument.endswith(".yaml"))
        if told[0] == "immersivaudio":
            commands[told[1]].make_context(told[1], told[2:])
        else:
            assert told[:-1] == default[:-1]


def test_the_page_has_the_key_that_opens_the_service() -> None:
    given = {"IMMERSIVAUDIO_API_KEY": "0123456789abcdef"}
    page = _filled(SERVICES["page"]["environment"], given)
    for name in ("sketch", "gpu"):
        keys = ApiKeys.load(AccessSettings(), _filled(SERVICES[name]["environment"], given))
        assert keys.name_of(page["IMMERSIVAUDIO_API_KEY"]) == "local"


def test_without_a_key_nothing_starts() -> None:
    for name in ("sketch", "gpu", "page"):
        with pytest.raises(KeyError, match="IMMERSIVAUDIO_API_KEY"):
            _filled(SERVICES[name]["environment"], {})


def test_secrets_are_named_and_never_written_down() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert not re.search("KEY|TOKEN|SECRET|PASSWORD|USERS", name) or re.search(r"\$\{\w+:[-?]", value)


def _filled(variables: dict[str, str | None], given: dict[str, str]) -> dict[str, str]:
    """As compose fills ${NAME:-default} and ${NAME:?message}, and passes on what has no value of its own.

    Raises KeyError where what is needed is not given.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        return given[name] if kind == ":?" or name in given else rest

    texts = {name: given.get(name) if text is None else text for name, text in variables.items()}
    return {name: re.sub(r"\$\{(\w+)(:[-?])([^}]*)\}", value, text) for name, text in texts.items() if text is not None}


def test_either_profile_is_a_service_that_the_page_finds() -> None:
    (address,) = [part for part in SERVICES["page"]["command"] if part.startswith("http://")]
    assert address == "http://service:8000"
    for name in ("sketch", "gpu"):
        assert SERVICES[name]["profiles"] == [name]
        assert "service" in SERVICES[name]["networks"]["default"]["aliases"]


def test_the_gpus_service_waits_for_the_weights_and_cannot_change_them() -> None:
    gpu = SERVICES["gpu"]
    assert gpu["depends_on"] == {"weights": {"condition": "service_completed_successfully"}}
    assert f"weights:{environment()['IMMERSIVAUDIO_WEIGHTS']}:ro" in gpu["volumes"]
    assert gpu["environment"]["HF_HUB_OFFLINE"] == "1"
    (devices,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert devices["capabilities"] == ["gpu"]
    assert SERVICES["weights"]["command"][-1] == gpu["command"][-1]


def test_its_own_words_name_its_profiles() -> None:
    commands = re.findall(r"(?m)^#   (docker compose .*?)(?:  #.*)?$", TEXT)
    assert {shlex.split(one)[shlex.split(one).index("--profile") + 1] for one in commands} == {"sketch", "gpu"}
