"""Alerts, dashboard and the pages about them: what they ask for is counted, and what they point at is there."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from serve.metrics import GpuMemory, RayMetrics
from tests.deploy.queries import ALERTS, DASHBOARD, PAGES, PANELS, ROOT, RULES, asked_for, queries

OURS, SERVES = "ray_immersivaudio_", "ray_serve_"
ADDED_BY_SERVE = {"application", "deployment", "replica"}
SUFFIXES = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_count", "_sum")}
RAYS_OWN = "dashboard/modules/reporter"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Labels of every number of ours, by the name that Ray's nodes export it under."""
    found: dict[str, set[str]] = {}

    def kind(of: str) -> Any:
        def make(name: str, description: str = "", *rest: Any) -> Any:
            tags = rest[-1] if rest and of != "Gauge" else ()
            for suffix in SUFFIXES[of]:
                found[f"ray_{name}{suffix}"] = ADDED_BY_SERVE | set(tags) | ({"le"} if suffix == "_bucket" else set())
            return type(of, (), {"set": lambda self, value: None})()

        return make

    for name in SUFFIXES:
        monkeypatch.setattr(f"ray.serve.metrics.{name}", kind(name))
    RayMetrics()
    cuda = type("cuda", (), {"is_initialized": lambda: True, "memory_reserved": lambda: 0})
    monkeypatch.setitem(sys.modules, "torch", type("torch", (), {"cuda": cuda}))
    GpuMemory().tell()
    return found


@pytest.fixture(scope="module")
def rays_source() -> str:
    """Whatever in Ray names what it tells of a node."""
    return "\n".join(file.read_text() for file in (Path(ray.__file__).parent / RAYS_OWN).rglob("*.py"))


def test_every_query_asks_for_numbers_and_labels_that_the_service_counts(counted: dict[str, set[str]]) -> None:
    asked = [(where, one) for where, query in queries().items() for one in asked_for(query)]
    ours = [(where, one) for where, one in asked if one.name.startswith(OURS)]
    assert len(ours) > 30
    for where, one in ours:
        assert one.name in counted, f"{where} asks for {one.name}"
        assert one.labels <= counted[one.name], (
            f"{where} asks for {sorted(one.labels - counted[one.name])} of {one.name}"
        )


def test_what_is_asked_of_the_nodes_is_what_ray_tells_of_them(rays_source: str) -> None:
    # Serve's own numbers are looked for on a cluster, in tests/serve/test_observed.py; GPUs and nodes on their way are not there.
    names = {one.name for query in queries().values() for one in asked_for(query)}
    asked = {name for name in names if not name.startswith((OURS, SERVES))}
    assert len(asked) > 6
    for name in asked:
        assert f'"{name.removeprefix("ray_")}"' in rays_source, f"Ray exports no {name}"


def test_what_is_counted_is_also_shown_or_watched_and_told_of(counted: dict[str, set[str]]) -> None:
    asked = {one.name for query in queries().values() for one in asked_for(query)}
    page = (ROOT / "docs/operations.md").read_text()
    for name in counted:
        base = re.sub("_(bucket|count|sum)$", "", name)
        assert any(one.startswith(base) for one in asked) or "module_work_seconds" in name, f"nobody looks at {name}"
        assert f"`{base}`" in page, f"docs/operations.md does not tell of {base}"


def test_the_page_tells_of_no_number_that_is_not_counted(counted: dict[str, set[str]]) -> None:
    bases = {re.sub("_(bucket|count|sum)$", "", name) for name in counted} | set(counted)
    told = {name for page in PAGES for name in re.findall(r"ray_immersivaudio_\w+", (ROOT / page).read_text())}
    assert told - {OURS} <= bases


def anchors(page: str) -> set[str]:
    """As GitHub makes them of the headings."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_alert_says_how_bad_it_is_what_happens_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 15
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"].endswith(".")
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor in anchors(page), rule["annotations"]["runbook"]
    assert {group["name"] for group in ALERTS["groups"]} == {
        "immersivaudio-users",
        "immersivaudio-modules",
        "immersivaudio-nodes",
    }


def test_nobody_counts_nodes_that_went_in_order() -> None:
    """Ray calls a node failed whether it was lost or scaled down, and goes on counting it."""
    assert not [where for where, query in queries().items() if "ray_cluster_failed_nodes" in query]


def test_the_runbook_names_every_alert_and_no_other() -> None:
    told = {name for page in PAGES for name in re.findall(r"`(Immersivaudio[A-Z]\w+)`", (ROOT / page).read_text())}
    assert told == {rule["alert"] for rule in RULES}


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in (*PAGES, "docs/architecture.md"):
        for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text()):
            if "://" in link:
                continue
            target, _, anchor = link.partition("#")
            file = (ROOT / page).parent / target if target else ROOT / page
            assert file.exists(), f"{page} links to {link}"
            if anchor:
                assert anchor in anchors(str(file.resolve().relative_to(ROOT))), f"{page} links to {link}"


def test_the_dashboard_can_be_imported_where_the_data_source_has_another_name() -> None:
    assert DASHBOARD["schemaVersion"] >= 36
    assert "id" not in DASHBOARD  # else an import would write over somebody's dashboard of that number
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
        used = {name for target in panel["targets"] for name in re.findall(r"\$(\w+)", target["expr"])}
        assert used <= {*variables, "__rate_interval"}


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
