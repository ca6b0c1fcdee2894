"""Alerts, dashboard and scaling against the metrics the server has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from helm import render
from prometheus_client import CollectorRegistry
from promql import parse
from scenarios import SERVING, manifests, merged, pick, scenario

from serving.server import EXECUTION_PROVIDERS
from serving.telemetry import METHODS, PROTOCOLS, REASONS, Telemetry

ROOT = Path(__file__).parents[2]
# Labels Prometheus adds to every series, as the Prometheus Operator sets them up.
SCRAPED = {"namespace", "service", "pod", "container", "job", "instance"}
ALERTS = {
    "NodogramAbsent", "NodogramNotReady", "NodogramProviderFellBack", "NodogramErrors", "NodogramCaseWorkerKilled",
    "NodogramQueueFull", "NodogramQueueSlow", "NodogramLatency", "NodogramMixedBundles", "NodogramDrift", "NodogramOutOfRange",
}  # fmt: skip


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Names of the series of a server, with the names of their labels."""
    registry = CollectorRegistry()
    Telemetry(registry)
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        names = {*getattr(registry._names_to_collectors[family.name], "_labelnames", ()), *SCRAPED}
        if family.type == "histogram":
            found |= {f"{family.name}_bucket": {*names, "le"}, f"{family.name}_sum": names, f"{family.name}_count": names}
        else:
            found[f"{family.name}_total" if family.type == "counter" else family.name] = names
    return found


def alerts(name: str = "monitoring", **more: Any) -> list[dict[str, Any]]:
    values = merged(scenario(SERVING, name).values(), more)
    found = render(SERVING, merged(values, {"metrics": {"prometheusRule": {"enabled": True}}}))
    rules: list[dict[str, Any]] = pick(found, "PrometheusRule")["spec"]["groups"][0]["rules"]
    return rules


def test_every_alert_there_should_be_is_there() -> None:
    assert {rule["alert"] for rule in alerts()} == ALERTS


def test_every_expression_asks_for_what_is_measured(labels: dict[str, set[str]]) -> None:
    values = {"method": METHODS, "protocol": PROTOCOLS, "reason": REASONS, "queue": {"cases", "backbone"}}
    for rule in alerts():
        query = parse(rule["expr"])
        assert query.metrics, rule["alert"]
        assert query.metrics <= labels.keys(), rule["alert"]
        assert query.labels <= set[str]().union(*(labels[name] for name in query.metrics)), rule["alert"]
        assert {"namespace", "service"} <= query.labels, rule["alert"]
        assert all(value in values[label] for label, value in query.values if label in values), rule["alert"]


def test_every_series_of_an_expression_is_of_this_release_alone() -> None:
    matchers = 'namespace="clinic",service="lnm-nodogram-serving"'
    for rule in alerts():
        series = re.findall(r"nodogram_\w+(?:\{([^}]*)\})?", rule["expr"])
        assert all(matchers in found for found in series), rule["alert"]


def test_matchers_of_the_user_take_their_place() -> None:
    assert all(
        'job="nodogram"' in r["expr"] and "namespace=" not in r["expr"] for r in alerts(metrics={"matchers": 'job="nodogram"'})
    )


def test_every_alert_says_what_and_where_to_read_on(labels: dict[str, set[str]]) -> None:
    for rule in alerts():
        annotations = rule["annotations"]
        assert annotations["summary"].endswith(".")
        assert annotations["description"].endswith(".")
        assert annotations["runbook_url"] == f"https://handbook.example.org/nodogram#{rule['alert'].lower()}"
        assert rule["labels"] == {"severity": rule["labels"]["severity"], "team": "imaging"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        used = set(re.findall(r"\$labels\.(\w+)", annotations["description"]))
        assert used <= set[str]().union(*(labels[name] for name in parse(rule["expr"]).metrics)), rule["alert"]


def test_every_alert_has_its_runbook() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("operations*.md"))
    if not text:
        pytest.skip("docs/operations.md has not been written")
    headings = {heading.strip().lower() for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}
    assert {name.lower() for name in ALERTS} <= headings


@pytest.mark.parametrize(
    ("gpu", "provider"),
    [({"enabled": False}, "cpu"), ({"provider": "cuda"}, "cuda"), ({"provider": "tensorrt"}, "tensorrt")],
)
def test_the_provider_that_is_watched_is_the_one_that_is_asked_for(gpu: dict[str, Any], provider: Any) -> None:
    (rule,) = (r for r in alerts(gpu=gpu) if r["alert"] == "NodogramProviderFellBack")
    assert ("active", EXECUTION_PROVIDERS[provider][0]) in parse(rule["expr"]).values


def test_a_provider_that_falls_back_leaves_the_series_the_alert_looks_for() -> None:
    """The bundle is announced before the provider is checked, so that its absence can be seen (serving/server.py)."""
    source = (ROOT / "serving" / "server.py").read_text(encoding="utf-8")
    steps = [source.index(step) for step in ("_telemetry.bundle(", "check_provider(wanted", "_telemetry.provider(")]
    assert steps == sorted(steps)


def test_the_dashboard_is_the_one_of_the_server() -> None:
    assert (SERVING / "files" / "dashboard.json").read_bytes() == (ROOT / "serving" / "grafana" / "dashboard.json").read_bytes()
    found = manifests(scenario(SERVING, "monitoring"))
    config_map = pick(found, "ConfigMap", lambda m: m.name.endswith("-dashboard"))
    assert (
        config_map["data"]["nodogram.json"].strip()
        == (SERVING / "files" / "dashboard.json").read_text(encoding="utf-8").strip()
    )
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config_map["metadata"]["annotations"] == {"grafana_folder": "Imaging"}


def test_scaling_asks_for_what_is_measured(labels: dict[str, set[str]]) -> None:
    scaler = pick(manifests(scenario(SERVING, "hpa")), "HorizontalPodAutoscaler")["spec"]
    of_pods = [metric["pods"] for metric in scaler["metrics"] if metric["type"] == "Pods"]
    assert [(m["metric"]["name"], m["target"]["averageValue"]) for m in of_pods] == [
        ("nodogram_queue_depth", "2"), ("nodogram_queue_oldest_seconds", "5"),
    ]  # fmt: skip
    assert all({*m["metric"]["selector"]["matchLabels"]} <= labels[m["metric"]["name"]] for m in of_pods)
    triggers = pick(manifests(scenario(SERVING, "keda")), "ScaledObject")["spec"]["triggers"]
    ours = [t for t in triggers if "nodogram" in t["metadata"].get("query", "")]
    assert [t.get("metricType", "AverageValue") for t in ours] == ["AverageValue", "Value"]
    for trigger in ours:
        query = parse(trigger["metadata"]["query"])
        assert query.metrics <= labels.keys()
        assert ("queue", "cases") in query.values
        assert trigger["authenticationRef"] == {"name": "prometheus"}


@pytest.mark.parametrize("query", ["sum(a", "sum(a))", "a{b='c'}", 'a{b="c"'])
def test_what_is_no_query_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match="in "):
        parse(query)


def test_what_a_query_is_taken_apart_into() -> None:
    query = parse('sum by (le) (rate(a_bucket{b=~"x|y"}[5m])) / scalar(c{d!="z"}) > 1e-05 and on (e) f == 0')
    assert query.metrics == {"a_bucket", "c", "f"}
    assert query.labels == {"le", "b", "d", "e"}
    assert query.values == {("b", "x"), ("b", "y"), ("d", "z")}
