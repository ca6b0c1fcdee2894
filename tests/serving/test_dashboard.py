"""The dashboard against the metrics that exist: no panel asks for what nobody measures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from serving.telemetry import Telemetry

DASHBOARD = Path(__file__).parents[2] / "serving" / "grafana" / "dashboard.json"
# Names in PromQL that are no metrics (https://prometheus.io/docs/prometheus/latest/querying/).
FUNCTIONS = {"sum", "min", "max", "rate", "increase", "histogram_quantile", "label_values"}
KEYWORDS = {"by", "on", "group_left"}
TOKEN = re.compile(
    r"""
    (?P<text>"[^"]*")                              # value of a label
  | (?P<range>\[[^\]]*\])
  | (?P<grouping>(?:by|on|group_left)\s*\([^)]*\)) # names of labels
  | (?P<matcher>[a-z_]+\s*(?:=~|!~|!=|=))
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<rest>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Names of the series of a server that has just been made, with the names of their labels."""
    registry = CollectorRegistry()
    Telemetry(registry)
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        collector = registry._names_to_collectors[family.name]
        names = {*getattr(collector, "_labelnames", ()), "instance"}
        if family.type == "histogram":
            found |= {f"{family.name}_bucket": {*names, "le"}, f"{family.name}_sum": names, f"{family.name}_count": names}
        else:
            found[f"{family.name}_total" if family.type == "counter" else family.name] = names
    return found


def queries(dashboard: dict[str, Any]) -> list[str]:
    variables = [v["definition"] for v in dashboard["templating"]["list"] if v["type"] == "query"]
    return variables + [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def metrics_of(query: str) -> set[str]:
    names = {match["name"] for match in TOKEN.finditer(query) if match["name"]}
    if query.startswith("label_values("):
        names.discard(query.rstrip(")").split(",")[1].strip())
    return names - FUNCTIONS - KEYWORDS


def labels_of(query: str) -> set[str]:
    """Labels a query selects or groups by."""
    names: set[str] = set()
    for match in TOKEN.finditer(query):
        if match["matcher"]:
            names.add(re.split(r"\s*[=!]", match["matcher"])[0])
        if match["grouping"]:
            names |= set(re.findall(r"\w+", match["grouping"].partition("(")[2]))
    return names


def test_every_query_names_metrics_that_exist(dashboard: dict[str, Any], labels: dict[str, set[str]]) -> None:
    for query in queries(dashboard):
        assert metrics_of(query), query
        assert metrics_of(query) <= labels.keys(), query


def test_every_query_names_labels_these_metrics_have(dashboard: dict[str, Any], labels: dict[str, set[str]]) -> None:
    for query in queries(dashboard):
        assert labels_of(query) <= set[str]().union(*(labels[name] for name in metrics_of(query))), query


def test_every_metric_is_on_the_dashboard(dashboard: dict[str, Any], labels: dict[str, set[str]]) -> None:
    asked = set[str]().union(*(metrics_of(query) for query in queries(dashboard)))
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in labels} == families


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("nodogram_ready", "nodogram_is_ready"), ("nodogram_batch_size_sum", "nodogram_batch_size_total"), ("rate(", "speed(")],
)
def test_a_wrong_name_is_found(right: str, wrong: str, dashboard: dict[str, Any], labels: dict[str, set[str]]) -> None:
    changed = [query.replace(right, wrong) for query in queries(dashboard) if right in query]
    assert changed
    for query in changed:
        assert not metrics_of(query) <= labels.keys()


def test_what_a_query_is_taken_apart_into() -> None:
    query = 'histogram_quantile(0.5, sum by (le, stage) (rate(a_bucket{b=~"x|y", c!="d"}[$__rate_interval]))) / on () e'
    assert metrics_of(query) == {"a_bucket", "e"}
    assert labels_of(query) == {"le", "stage", "b", "c"}


def test_every_panel_says_what_it_shows_in_which_unit(dashboard: dict[str, Any]) -> None:
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) == 19
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_it_can_be_imported_anywhere(dashboard: dict[str, Any]) -> None:
    """Datasource by variable, ids once, no two panels in one place; 42 is the last schema of this kind of dashboard."""
    assert dashboard["schemaVersion"] == 42
    assert [p["title"] for p in dashboard["panels"] if p["type"] == "row"] == ["Overview", "Pipeline", "Model"]
    assert dashboard["templating"]["list"][0]["name"] == "DS_PROMETHEUS"
    text = DASHBOARD.read_text(encoding="utf-8")
    assert set(re.findall(r'"uid": "([^"]*)"', text)) == {"${DS_PROMETHEUS}", "nodogram"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_drift_has_the_usual_thresholds(dashboard: dict[str, Any]) -> None:
    (panel,) = [panel for panel in dashboard["panels"] if panel["title"].startswith("Drift")]
    assert [step["value"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]] == [None, 0.1, 0.25]
