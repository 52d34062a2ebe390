"""Every PromQL query that the project hands out, taken apart."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).parents[2]
ALERTS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/immersivaudio.json").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PAGES = ("docs/operations.md", "docs/scaling.md")

_PARTS = ("lhs", "rhs", "expr", "args", "vector_selector", "param")


@dataclass(frozen=True)
class Asked:
    """One time series' name as a query asks for it, with the labels that it must have for the query to mean anything."""

    name: str
    labels: frozenset[str]


def queries() -> dict[str, str]:
    """PromQL by where it stands, with Grafana's variables filled in."""
    found = {f"alert {rule['alert']}": rule["expr"] for rule in RULES}
    for panel in PANELS:
        found |= {f"panel {panel['title']} {target['refId']}": target["expr"] for target in panel["targets"]}
    for page in PAGES:
        for number, text in enumerate(re.findall(r"```promql\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)):
            found[f"{page} {number}"] = text
    filled = {"$application": "immersivaudio", "$__rate_interval": "5m"}
    for variable, value in filled.items():
        found = {where: query.replace(variable, value) for where, query in found.items()}
    return found


def asked_for(query: str) -> list[Asked]:
    """Raises ValueError for what is no PromQL."""
    return list(_asked(promql_parser.parse(query), frozenset()))


def _asked(part: Any, wanted: frozenset[str]) -> Iterator[Asked]:
    """`wanted`: labels that what stands around this part goes by."""
    if isinstance(part, promql_parser.AggregateExpr):
        modifier = part.modifier  # whatever is not grouped by is gone: nothing further out can go by it
        wanted = frozenset(modifier.labels) - {"le"} if modifier and "By" in str(modifier.type) else frozenset()
    if isinstance(part, promql_parser.VectorSelector):
        matched = {matcher.name for matcher in part.matchers.matchers}
        yield Asked(part.name or "", wanted | matched)
    for name in _PARTS:
        below = getattr(part, name, None)
        for one in below if isinstance(below, list) else [below]:
            if one is not None and not isinstance(one, str | float | int):
                yield from _asked(one, wanted)
