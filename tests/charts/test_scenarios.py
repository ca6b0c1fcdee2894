"""Every scenario of every chart: Helm takes it, Kubernetes takes it, and it keeps the rules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from api_schemas import faults
from helm import Manifest, findings
from object_rules import (
    RULES,
    Rule,
    connected,
    mounted,
    named,
    pinned,
    quantity,
    restricted,
    selected,
    sized,
    unspoken,
)
from scenarios import SCENARIOS, SERVING, VERSIONS, Scenario, manifests, scenario

NAME = "lnm-nodogram-serving"
EVERY = pytest.mark.parametrize("of", SCENARIOS, ids=str)


@EVERY
def test_helm_has_nothing_to_complain_of(of: Scenario) -> None:
    assert findings(of.chart, of.values(), of.versions[0]) == []


@pytest.mark.parametrize(("of", "version"), [(of, v) for of in SCENARIOS for v in of.versions], ids=str)
def test_kubernetes_knows_every_field(of: Scenario, version: str) -> None:
    assert {m.name: found for m in manifests(of) if (found := faults(m.object, version))} == {}


@EVERY
def test_the_rules_are_kept(of: Scenario) -> None:
    found = {fault for rule in RULES for fault in rule(manifests(of))}
    # There the ConfigMap belongs to another hand.
    missing = f"ConfigMap {NAME}-bundle is not there"
    assert found == ({f"Deployment {NAME}: {missing}", f"Pod {NAME}-test: {missing}"} if "gitops" in of.file.name else set())


def test_every_kind_is_rendered_by_some_scenario() -> None:
    kinds = {m.kind for of in SCENARIOS for m in manifests(of)}
    assert kinds == {
        "Certificate", "ConfigMap", "CronJob", "Deployment", "GRPCRoute", "HTTPRoute", "HorizontalPodAutoscaler", "Ingress",
        "Job", "NetworkPolicy", "PersistentVolumeClaim", "Pod", "PodDisruptionBudget", "PrometheusRule", "Role", "RoleBinding",
        "ScaledObject", "Service", "ServiceAccount", "ServiceMonitor",
    }  # fmt: skip


# What follows shows that schemas and rules can say no.


def changed(kind: str, change: Callable[[dict[str, Any]], object], name: str = "gateway") -> tuple[Manifest, ...]:
    """Return the objects of a scenario, one of them changed."""
    found = [Manifest(m.template, copy.deepcopy(m.object)) for m in manifests(scenario(SERVING, name))]
    change(next(m.object for m in found if m.kind == kind))
    return tuple(found)


def server(deployment: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def unlabel(deployment: dict[str, Any]) -> None:
    del deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]


@pytest.mark.parametrize(
    ("kind", "name", "change", "path"),
    [
        ("Deployment", "gateway", lambda d: server(d).update(readinesProbe={}), "spec.template.spec.containers.0"),
        ("Deployment", "gateway", lambda d: d["spec"].update(replicas="2"), "spec.replicas"),
        ("HTTPRoute", "gateway", lambda d: d["spec"]["rules"][0].update(timeout={}), "spec.rules.0"),
        ("GRPCRoute", "gateway", lambda d: d["spec"]["parentRefs"][0].update(port=0), "spec.parentRefs.0.port"),
        ("ServiceMonitor", "monitoring", lambda d: d["spec"]["endpoints"][0].update(prot="http"), "spec.endpoints.0"),
        ("PrometheusRule", "monitoring", lambda d: d["spec"]["groups"][0]["rules"][0].update(exp="1"), "spec.groups.0.rules.0"),
        ("ScaledObject", "keda", lambda d: d["spec"].update(minReplicas=1), "spec"),
        ("Certificate", "tls", lambda d: d["spec"].pop("secretName"), "spec"),
    ],
)
def test_a_wrong_field_is_found_where_it_is(
    kind: str, name: str, change: Callable[[dict[str, Any]], object], path: str
) -> None:
    (document,) = (m.object for m in changed(kind, change, name) if m.kind == kind)
    found = [fault for version in VERSIONS for fault in faults(document, version)]
    assert len(found) >= len(VERSIONS)
    assert all(fault.startswith(f"{path}:") for fault in found), found


@pytest.mark.parametrize(
    ("rule", "kind", "change", "fault"),
    [
        (restricted, "Deployment", lambda d: server(d)["securityContext"].pop("capabilities"), "server has capabilities"),
        (restricted, "Deployment", lambda d: server(d).pop("securityContext"), "server may gain privileges"),
        (restricted, "Deployment", lambda d: server(d)["securityContext"].update(runAsUser=0), "server may run as root"),
        (restricted, "Pod", lambda d: d["spec"]["securityContext"].pop("seccompProfile"), "ask has no seccomp profile"),
        (restricted, "Pod", lambda d: d["spec"].pop("automountServiceAccountToken"), "the token of the service account"),
        (
            restricted,
            "Deployment",
            lambda d: d["spec"]["template"]["spec"]["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
            "volume h is of a forbidden type",
        ),
        (selected, "Service", lambda d: d["spec"]["selector"].update(tier="x"), "the selector finds nothing"),
        (selected, "Deployment", unlabel, "the selector does not find its own pods"),
        (connected, "Service", lambda d: d["spec"]["ports"][0].update(targetPort="web"), "no container has port web"),
        (connected, "GRPCRoute", lambda d: d["spec"]["rules"][0]["backendRefs"][0].update(port=1), "has no port 1"),
        (connected, "Deployment", lambda d: server(d)["readinessProbe"]["grpc"].update(port=3002), "Probe asks port 3002"),
        (connected, "NetworkPolicy", lambda d: d["spec"]["ingress"][0]["ports"][0].update(port=1), "port 1 is allowed"),
        (mounted, "Deployment", lambda d: server(d)["volumeMounts"].pop(), "volume tokens is not mounted"),
        (mounted, "Deployment", lambda d: server(d)["volumeMounts"].append({"name": "x", "mountPath": "/x"}), "no volume x"),
        (mounted, "ConfigMap", lambda d: d["metadata"].update(name="other"), "ConfigMap lnm-nodogram-serving-"),
        (sized, "Deployment", lambda d: server(d)["resources"]["limits"].update(memory="4GB"), "'4GB' is no quantity"),
        (sized, "Deployment", lambda d: server(d)["resources"]["limits"].update(memory="1Gi"), "requests more memory"),
        (sized, "Deployment", lambda d: server(d)["resources"].pop("requests"), "says too little"),
        (pinned, "Deployment", lambda d: server(d).update(image="registry:5000/serve"), "has no version"),
        (pinned, "Pod", lambda d: d["spec"]["containers"][0].update(image="serve:latest"), "has no version"),
        (named, "Service", lambda d: d["metadata"].update(name="x" * 64), "no name of at most 63"),
        (named, "Service", lambda d: d["metadata"]["labels"].update(team="a b"), "label team=a b"),
        (named, "Service", lambda d: d["metadata"]["labels"].pop("app.kubernetes.io/version"), "no label"),
        (unspoken, "ConfigMap", lambda d: d["data"].update(note="password: x"), "looks as if it held a secret"),
        (unspoken, "Deployment", lambda d: server(d)["env"].append({"name": "API_TOKEN", "value": "x"}), "API_TOKEN is writ"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_found(rule: Rule, kind: str, change: Callable[[dict[str, Any]], object], fault: str) -> None:
    assert any(fault in found for found in rule(changed(kind, change)))


@pytest.mark.parametrize(("text", "value"), [("500m", "0.5"), ("2", "2"), ("4Gi", "4294967296"), ("1.5k", "1500")])
def test_quantities(text: str, value: str) -> None:
    """Values of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/."""
    assert str(quantity(text).normalize().__format__("f")) == value
