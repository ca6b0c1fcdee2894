"""The serving chart against the server it runs."""

from __future__ import annotations

import ipaddress
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any, get_args

import pytest
from helm import Manifest, render, render_text
from scenarios import DIGEST, SERVING, manifests, merged, pick, read_yaml, scenario

from serving.config import Provider, ServerSettings


def deployment(name: str, **more: Any) -> dict[str, Any]:
    return pick(render(SERVING, merged(scenario(SERVING, name).values(), more)), "Deployment")


def pod(name: str, **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(name, **more)["spec"]["template"]["spec"]
    return spec


def server(name: str, **more: Any) -> dict[str, Any]:
    container: dict[str, Any] = pod(name, **more)["containers"][0]
    return container


def settings(name: str, **more: Any) -> dict[str, str]:
    return {v["name"]: v["value"] for v in server(name, **more)["env"] if "value" in v}


def test_every_setting_of_the_server_can_be_reached() -> None:
    """Either by a value of its name or because the chart sets it; ``spool`` is /tmp, the one place that can be written."""
    values = read_yaml(SERVING / "values.yaml")["server"]
    by_value = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower() for key in values} - {"pre_stop_sleep_s"}
    by_chart = {
        "bundle", "http_port", "grpc_port", "provider", "token_file", "allow_anonymous", "tls_certificate", "tls_key",
        "tls_client_ca", "spool",
    }  # fmt: skip
    assert by_value | by_chart == set(ServerSettings.model_fields)
    assert not by_value & by_chart


@pytest.mark.parametrize("name", ["cpu-minimal", "gpu", "gpu-mig", "tls", "tls-existing"])
def test_the_server_takes_its_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in settings(name).items():
        monkeypatch.setenv(variable, value)
    read = ServerSettings.model_validate({})
    assert not ipaddress.ip_address(read.host).is_loopback
    assert (read.http_port, read.grpc_port) == (3000, 3001)
    assert (read.token_file is None) is read.allow_anonymous
    assert read.provider == {"gpu": "tensorrt", "gpu-mig": "cuda"}.get(name, "cpu")
    if name == "gpu":
        assert (read.maximum_upload_bytes, read.maximum_batch_wait_ms, read.request_timeout_s) == (201326592, 1.5, 30.0)
    if name.startswith("tls"):
        assert read.tls_certificate == Path("/tls/tls.crt")
        assert (read.tls_client_ca is None) is (name == "tls-existing")


def test_the_providers_are_those_of_the_server() -> None:
    schema = json.loads((SERVING / "values.schema.json").read_text(encoding="utf-8"))
    assert {"cpu", *schema["properties"]["gpu"]["properties"]["provider"]["enum"]} == set(get_args(Provider))


@pytest.mark.parametrize("name", ["cpu-minimal", "gpu-mig", "monitoring"])
def test_the_end_leaves_time_for_what_the_server_does_at_the_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delay, then the grace of HTTP, then that of gRPC (serving/server.py: stop follows when HTTP has drained)."""
    for variable, value in settings(name).items():
        monkeypatch.setenv(variable, value)
    read, spec = ServerSettings.model_validate({}), pod(name)
    before = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert before == (5 if name == "gpu-mig" else 0)
    needed = before + read.drain_delay_s + 2 * read.shutdown_grace_s
    assert needed < spec["terminationGracePeriodSeconds"] <= needed + 6


@pytest.mark.parametrize(
    ("name", "more", "limits"),
    [
        ("cpu-minimal", {}, {"cpu": "2", "memory": "4Gi"}),
        ("cpu-minimal", {"server": {"caseWorkers": 3}}, {"memory": "4Gi"}),
        ("cpu-minimal", {"resources": {"limits": {"cpu": "6"}}}, {"cpu": "6", "memory": "4Gi"}),
        ("monitoring", {}, {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu.shared": 1}),
        ("gpu", {}, {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": 1}),
        ("gpu-mig", {}, {"memory": "8Gi", "nvidia.com/mig-1g.10gb": 1}),
        ("gpu-claims", {}, {"cpu": "2", "memory": "4Gi"}),
    ],
)  # fmt: skip
def test_limits_go_without_saying_and_the_gpu_is_one_of_them(name: str, more: dict[str, Any], limits: dict[str, Any]) -> None:
    assert server(name, **more)["resources"]["limits"] == limits


@pytest.mark.parametrize(("kind", "port"), [("HTTPRoute", 80), ("GRPCRoute", 50051)])
def test_a_shadow_gets_a_copy_of_every_request_and_answers_nobody(kind: str, port: int) -> None:
    """The service of another release of this chart, and in no case where requests are answered from."""
    challenger = merged(scenario(SERVING, "gateway").values(), {"shadow": {"release": ""}})
    services = [m for m in render(SERVING, challenger, release="challenger") if m.kind == "Service"]
    (rule,) = pick(manifests(scenario(SERVING, "gateway")), kind)["spec"]["rules"]
    (copied,) = rule["filters"]
    mirror = copied["requestMirror"]["backendRef"]
    assert any(m.name == mirror["name"] and port in {p["port"] for p in m.object["spec"]["ports"]} for m in services)
    assert (copied["type"], mirror["port"]) == ("RequestMirror", port)
    assert [b["name"] for b in rule["backendRefs"]] != [mirror["name"]]
    (alone,) = pick(render(SERVING, challenger), kind)["spec"]["rules"]
    assert "filters" not in alone


def test_a_gpu_by_claim() -> None:
    assert pod("gpu-claims")["resourceClaims"] == [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    assert server("gpu-claims")["resources"]["claims"] == [{"name": "gpu"}]


@pytest.mark.parametrize(
    ("more", "image"),
    [
        ({}, "nodogram-serve:0.1.0"),
        ({"gpu": {"enabled": True}}, "nodogram-serve:0.1.0-cuda"),
        ({"image": {"tag": "0.1.0-site"}}, "nodogram-serve:0.1.0-site"),
        ({"global": {"imageRegistry": "r.example.org"}}, "r.example.org/nodogram-serve:0.1.0"),
        ({"global": {"imageRegistry": "r.example.org"}, "image": {"registry": "own:5000"}}, "own:5000/nodogram-serve:0.1.0"),
        ({"image": {"digest": f"sha256:{DIGEST}"}}, f"nodogram-serve:0.1.0@sha256:{DIGEST}"),
    ],
)
def test_one_image_for_all_containers(more: dict[str, Any], image: str) -> None:
    found = render(SERVING, merged(scenario(SERVING, "cpu-minimal").values(), more))
    pods = [pick(found, "Deployment")["spec"]["template"]["spec"], pick(found, "Pod")["spec"]]
    assert {c["image"] for spec in pods for c in [*spec.get("initContainers", ()), *spec["containers"]]} == {image}


def test_the_bundle_is_fetched_and_verified_before_the_start() -> None:
    spec = pod("gpu")
    fetch = spec["initContainers"][-1]
    assert [*fetch["command"], *fetch["args"]] == [
        "nodogram", "bundle", "fetch", "$(BUNDLE_URI)", "--digest", "$(BUNDLE_DIGEST)", "--out", "/bundle/model",
    ]  # fmt: skip
    sources = {v["name"]: v["valueFrom"]["configMapKeyRef"] for v in fetch["env"] if "valueFrom" in v}
    name = "lnm-nodogram-serving-bundle"
    assert sources == {"BUNDLE_URI": {"name": name, "key": "uri"}, "BUNDLE_DIGEST": {"name": name, "key": "digest"}}
    assert fetch["envFrom"] == [{"secretRef": {"name": "registry-login"}}]
    assert settings("gpu")["NODOGRAM_BUNDLE"] == "/bundle/model"
    mounts = {m["name"]: m.get("readOnly", False) for m in spec["containers"][0]["volumeMounts"]}
    assert mounts["bundle"]


def test_a_bundle_on_a_claim_needs_no_way_out() -> None:
    spec = pod("pvc")
    assert {"name": "bundles", "mountPath": "/bundles", "readOnly": True} in spec["initContainers"][0]["volumeMounts"]
    egress = pick(manifests(scenario(SERVING, "pvc")), "NetworkPolicy")["spec"]["egress"]
    assert [port["port"] for rule in egress for port in rule["ports"]] == [53, 53]


def test_the_network_policy_lets_in_who_is_named_and_nobody_else() -> None:
    spec = pick(manifests(scenario(SERVING, "monitoring")), "NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (http,) = spec["ingress"]
    assert http["ports"] == [{"port": 3000, "protocol": "TCP"}]
    namespaces = [peer["namespaceSelector"]["matchLabels"] for peer in http["from"] if "namespaceSelector" in peer]
    assert namespaces == [{"kubernetes.io/metadata.name": "pacs"}, {"kubernetes.io/metadata.name": "monitoring"}]
    test_pod = pick(manifests(scenario(SERVING, "monitoring")), "Pod")["metadata"]["labels"]
    assert http["from"][0]["podSelector"]["matchLabels"].items() <= test_pod.items()
    assert [[port["port"] for port in rule["ports"]] for rule in spec["egress"]] == [[53, 53], [443, 9000], [80]]


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("cpu-minimal", {"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTP"}}),
        ("tls-existing", {"httpGet": {"path": "/readyz", "port": "http", "scheme": "HTTPS"}}),
        ("gateway", {"grpc": {"port": 3001}}),
    ],
)
def test_the_probes_ask_in_the_protocol_that_is_served(name: str, handler: dict[str, Any]) -> None:
    container = server(name)
    assert container["readinessProbe"].items() >= handler.items()
    assert container["startupProbe"].items() >= handler.items()
    patience = {k: container["startupProbe"][k] for k in ("periodSeconds", "failureThreshold")}
    assert math.prod(patience.values()) >= 300
    liveness = container["livenessProbe"]
    assert liveness.get("httpGet", {"path": "/livez"})["path"] == "/livez"


def test_a_roll_out_follows_the_bundle() -> None:
    assert deployment("cpu-minimal")["spec"]["template"]["metadata"]["annotations"]["nodogram.io/bundle-digest"] == DIGEST
    found = render(SERVING, scenario(SERVING, "gitops").values())
    assert "nodogram.io/bundle-digest" not in pick(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert not [m for m in found if m.name.endswith("-bundle")]


def test_who_scales_sets_the_replicas() -> None:
    assert deployment("cpu-minimal")["spec"]["replicas"] == 1
    assert "replicas" not in deployment("hpa")["spec"]
    assert "replicas" not in deployment("keda")["spec"]
    assert not [m for m in manifests(scenario(SERVING, "hpa")) if m.kind == "ScaledObject"]
    assert not [m for m in manifests(scenario(SERVING, "keda")) if m.kind == "HorizontalPodAutoscaler"]


def test_one_channel_stays_with_one_pod_so_there_is_a_headless_service() -> None:
    services = {m.name: m.object["spec"] for m in manifests(scenario(SERVING, "gateway")) if m.kind == "Service"}
    assert services["lnm-nodogram-serving-headless"]["clusterIP"] == "None"
    assert [(p["name"], p["port"]) for p in services["lnm-nodogram-serving"]["ports"]] == [("http", 80), ("grpc", 50051)]
    assert {m.name for m in manifests(scenario(SERVING, "ingress")) if m.kind == "Service"} == {"lnm-nodogram-serving"}


def test_the_spread_counts_the_pods_of_one_revision() -> None:
    (constraint,) = pod("pvc")["topologySpreadConstraints"]
    assert constraint["matchLabelKeys"] == ["pod-template-hash"]
    assert constraint["whenUnsatisfiable"] == "DoNotSchedule"


def test_the_notes_say_what_was_installed() -> None:
    notes = render_text(SERVING, scenario(SERVING, "tls-existing").values())["templates/NOTES.txt"]
    assert DIGEST in notes
    assert "https://lnm-nodogram-serving.clinic.svc:3000" in notes
    assert "Whoever reaches the pods is served" in notes
    assert "The network policy is off." in notes
    assert "promoted since" not in notes


OTHER = "fedcba9876543210" * 4


@pytest.mark.parametrize(
    ("live", "force", "served", "differs"),
    [
        ({}, False, DIGEST, False),
        ({"uri": "s3://promoted", "digest": OTHER}, False, OTHER, True),
        ({"uri": "s3://promoted", "digest": OTHER}, True, DIGEST, False),
        ({"uri": "s3://models/nodogram/bundle.tar", "digest": DIGEST}, False, DIGEST, False),
    ],
)
def test_what_was_promoted_stays(tmp_path: Path, live: dict[str, str], force: bool, served: str, differs: bool) -> None:
    """The chart's own decision, in a copy of the chart that is told what lives in the cluster."""
    chart = shutil.copytree(SERVING, tmp_path / SERVING.name)
    helpers = chart / "templates" / "_helpers.tpl"
    text = helpers.read_text(encoding="utf-8")
    lookup = re.search(r"lookup \"v1\" \"ConfigMap\"[^|]*", text)
    assert lookup is not None
    told = " ".join(f'"{key}" "{value}"' for key, value in live.items())
    known = f'dict "data" (dict {told}) ' if live else "dict "
    helpers.write_text(text.replace(lookup[0], known), encoding="utf-8")
    values = merged(scenario(SERVING, "cpu-minimal").values(), {"bundle": {"force": force}})
    found = render(chart, values)
    data = pick(found, "ConfigMap", lambda m: m.name.endswith("-bundle"))["data"]
    assert data["digest"] == served
    assert data["uri"] == (live["uri"] if served == live.get("digest") else values["bundle"]["uri"])
    annotations = pick(found, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["nodogram.io/bundle-digest"] == served
    assert ("This bundle has been promoted since" in render_text(chart, values)["templates/NOTES.txt"]) is differs


def test_objects_of_the_user_are_rendered_as_templates() -> None:
    def of_the_user(found: Manifest) -> bool:
        return "extra-objects" in found.template

    note = pick(manifests(scenario(SERVING, "gpu-mig")), "ConfigMap", of_the_user)
    assert (note["metadata"]["name"], note["data"]) == ("lnm-note", {"text": "of clinic"})
