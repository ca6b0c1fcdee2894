"""Values: nothing unknown at any level, nothing that contradicts itself, and everything described."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helm import RELEASE, RefusedError, render
from scenarios import CHARTS, SCENARIOS, SERVING, TRAINING, VERSIONS, Scenario, manifests, merged, read_yaml, scenario

from charts.generate import find_stale, readme_text, schema_of, schema_text
from charts.kubernetes_definitions import closure, definition_name
from charts.value_comments import Value, read_values

WRONG = "misspelt"
BOTH = pytest.mark.parametrize("chart", [SERVING, TRAINING], ids=lambda chart: chart.name)
# Where users choose the names: labels, annotations and what is rendered as it is.
FREE = {"matchLabels", "annotations", "metadata", "data", "labels", "alertLabels", "podLabels", "podAnnotations"} | {
    "commonLabels", "nodeSelector", "requests", "limits", "extraObjects",
}  # fmt: skip


def defaults(chart: Path) -> dict[str, Any]:
    return read_yaml(chart / "values.yaml")


def schema(chart: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    return document


def levels(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every mapping whose keys are the chart's or Kubernetes' to choose."""
    if path and path[-1] in FREE:
        return
    if isinstance(value, dict):
        yield path
        for key, below in value.items():
            yield from levels(below, (*path, key))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from levels(below, (*path, str(number)))


def at(values: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        values = values[int(part)] if isinstance(values, list) else values[part]
    return values


@pytest.mark.parametrize("of", SCENARIOS, ids=str)
def test_a_misspelt_value_is_refused_with_its_path_at_every_level(of: Scenario) -> None:
    values = merged(defaults(of.chart), of.values())
    paths = set(levels(values))
    assert len(paths) > 20
    wrong = copy.deepcopy(values)
    for path in paths:
        at(wrong, path)[WRONG] = "x"
    with pytest.raises(RefusedError) as refused:
        render(of.chart, wrong)
    found = re.findall(rf"at '([^']*)': additional properties '{WRONG}' not allowed", str(refused.value))
    assert {tuple(part for part in path.split("/") if part) for path in found} >= paths


def test_every_level_of_the_schema_is_misspelt_by_some_scenario() -> None:
    for chart in (SERVING, TRAINING):
        tried = {
            tuple("0" if part.isdigit() else part for part in path)
            for of in SCENARIOS
            if of.chart == chart
            for path in levels(merged(defaults(chart), of.values()))
        }
        own = {path for path in own_levels(schema(chart)) if not FREE & set(path)}
        assert own <= tried, own - tried


def own_levels(found: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every object of the chart's own schema that names its keys; lists are entered at 0."""
    if "properties" in found:
        yield path
        for key, below in found["properties"].items():
            yield from own_levels(below, (*path, key))
    if "items" in found and "$ref" not in found["items"]:
        yield from own_levels(found["items"], (*path, "0"))


@BOTH
def test_the_schema_is_closed_at_every_level(chart: Path) -> None:
    # Whatever the user wants, and the one type that Kubernetes itself leaves open.
    assert set(open_objects(schema(chart))) == {"/properties/extraObjects/items", "/$defs/meta.v1.FieldsV1"}


def open_objects(found: Any, path: str = "") -> Iterator[str]:
    if isinstance(found, dict):
        names_keys = found.get("type") == "object" or found.get("type") == ["object", "null"]
        if names_keys and "properties" in found and found.get("additionalProperties") is not False:
            yield path
        if names_keys and "properties" not in found and not isinstance(found.get("additionalProperties"), dict):
            yield path
        for key, below in found.items():
            yield from open_objects(below, f"{path}/{key}")
    elif isinstance(found, list):
        for number, below in enumerate(found):
            yield from open_objects(below, f"{path}/{number}")


@BOTH
def test_every_value_is_described(chart: Path) -> None:
    def undescribed(values: tuple[Value, ...]) -> Iterator[str]:
        for value in values:
            if value.children:
                yield from undescribed(value.children)
            elif not value.description.endswith("."):
                yield ".".join(value.path)

    assert list(undescribed(read_values(chart / "values.yaml"))) == []


def test_schema_and_readme_are_what_the_values_give() -> None:
    assert find_stale() == []


def test_an_edited_value_makes_schema_and_readme_stale(tmp_path: Path) -> None:
    chart = tmp_path / SERVING.name
    chart.mkdir()
    text = (SERVING / "values.yaml").read_text(encoding="utf-8")
    (chart / "values.yaml").write_text(text.replace("replicaCount: 2", "replicaCount: 3"), encoding="utf-8")
    (chart / "README.md").write_bytes((SERVING / "README.md").read_bytes())
    assert schema_text(chart) == schema_text(SERVING)
    assert "| `replicaCount` | `3` |" in readme_text(chart)
    (chart / "values.yaml").write_text(text.replace("replicaCount: 2", 'replicaCount: "2"'), encoding="utf-8")
    assert schema_text(chart) != schema_text(SERVING)


def test_what_a_comment_says(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(
        '# A heading.\n# -- Of two\n# lines.\n# @schema {"minimum": 1}\na: 1\n\n# -- Below.\nb:\n  # -- Leaf.\n  c: "x"\n',
        encoding="utf-8",
    )
    a, b = read_values(tmp_path / "values.yaml")
    assert (a.path, a.default, a.description, a.rule) == (("a",), 1, "Of two lines.", '{"minimum": 1}')
    assert schema_of(a) == {"description": "Of two lines.", "type": "integer", "minimum": 1}
    assert [(c.path, c.description, c.rule) for c in b.children] == [(("b", "c"), "Leaf.", None)]
    assert schema_of(b)["additionalProperties"] is False


@pytest.mark.parametrize("default", [None, [], {}])
def test_a_default_that_says_nothing_needs_a_rule(default: object) -> None:
    with pytest.raises(ValueError, match=r"a\.b: the default .* does not say what is allowed"):
        schema_of(Value(("a", "b"), default, "", None, ()))


def test_parts_of_the_kubernetes_api() -> None:
    found = closure({"core.v1.Toleration"})
    assert set(found["core.v1.Toleration"]["properties"]) == {"effect", "key", "operator", "tolerationSeconds", "value"}
    assert "description" not in found["core.v1.Toleration"]
    assert "core.v1.NodeAffinity" in closure({"core.v1.Affinity"})
    with pytest.raises(KeyError, match=r"has 0 types core\.v1\.Tolerance"):
        definition_name("core.v1.Tolerance")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replicaCount": "two"}, "at '/replicaCount': got string, want integer"),
        ({"replicaCont": 2}, "at '': additional properties 'replicaCont' not allowed"),
        ({"autoscaling": {"mode": "both"}}, "at '/autoscaling/mode': value must be one of 'none', 'hpa', 'keda'"),
        ({"image": {"digest": "sha256:12"}}, "at '/image/digest'"),
        ({"bundle": {"uri": "http://example.org/b.tar"}}, "at '/bundle/uri'"),
        ({"server": {"caseWorkers": 0}}, "at '/server/caseWorkers': minimum"),
        ({"tolerations": [{"keyy": "gpu"}]}, "at '/tolerations/0': additional properties 'keyy' not allowed"),
        ({"extraVolumes": [{"name": "x", "emptydir": {}}]}, "at '/extraVolumes/0': additional properties 'emptydir'"),
        ({"extraObjects": [{"kind": "ConfigMap"}]}, "at '/extraObjects/0': missing properties 'apiVersion', 'metadata'"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_path(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render(SERVING, merged(scenario(SERVING, "cpu-minimal").values(), values))
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("cpu-minimal", {"bundle": {"digest": ""}}, "bundle.uri and bundle.digest are required"),
        ("cpu-minimal", {"bundle": {"create": False}}, "belong to the hand that owns the ConfigMap"),
        ("cpu-minimal", {"bundle": {"existingClaim": "b"}}, "bundle.uri must begin with file:///bundles/"),
        ("pvc", {"bundle": {"existingClaim": ""}}, "bundle.uri is file://: bundle.existingClaim is required"),
        ("cpu-minimal", {"tokens": {"existingSecret": "t"}}, "tokens.existingSecret and tokens.allowAnonymous exclude"),
        ("cpu-minimal", {"tokens": {"allowAnonymous": False}}, "tokens.existingSecret is required, or tokens.allow"),
        ("tls", {"tls": {"existingSecret": "t"}}, "tls.existingSecret and tls.certManager exclude each other"),
        ("tls", {"tls": {"certManager": {"issuer": {"name": ""}}}}, "tls.certManager needs issuer.name"),
        ("tls", {"probes": {"protocol": "http"}}, "tls.clientCaSecret needs probes.protocol=exec"),
        ("cpu-minimal", {"tls": {"clientCaSecret": "c"}, "probes": {"protocol": "exec"}}, "tls.clientCaSecret needs tls.exis"),
        ("tls-existing", {"probes": {"protocol": "grpc"}}, "probes.protocol=grpc is not possible with TLS"),
        ("hpa", {"autoscaling": {"minReplicas": 20}}, "autoscaling.minReplicas 20 is more than autoscaling.maxReplicas 12"),
        ("keda", {"autoscaling": {"keda": {"prometheusAddress": ""}}}, "need autoscaling.keda.prometheusAddress"),
        ("hpa", {"autoscaling": {"mode": "keda", "queueDepth": None, "queueOldestS": None}}, "extraMetrics belong to mode hpa"),
        ("keda", {"autoscaling": {"mode": "hpa"}}, "extraTriggers belong to mode keda"),
        ("hpa", {"podDisruptionBudget": {"maxUnavailable": 1}}, "maxUnavailable and minAvailable exclude each other"),
        ("cpu-minimal", {"image": {"tag": "latest"}}, "image.tag is latest, which says nothing; name a version"),
        ("cpu-minimal", {"ingress": {"enabled": True}}, "ingress needs hosts"),
        ("cpu-minimal", {"httpRoute": {"enabled": True}}, "httpRoute needs parentRefs"),
        ("cpu-minimal", {"grpcRoute": {"enabled": True}}, "grpcRoute needs parentRefs"),
        ("cpu-minimal", {"tmp": {"sizeLimit": "9Gi"}}, "tmp.sizeLimit 9Gi is less than the 10240 Mi"),
        ("cpu-minimal", {"resources": {"limits": {"cpu": "8500m"}}}, "tmp.sizeLimit 16Gi is less than the 17408 Mi"),
        ("cpu-minimal", {"server": {"maximumCases": 29}}, "server.maximumCases 29"),
        ("cpu-minimal", {"shadow": {"release": "other"}}, "shadow.release needs httpRoute or grpcRoute"),
        ("gateway", {"shadow": {"release": RELEASE}}, "shadow.release is this release"),
        ("cpu-minimal", {"resources": {"requests": {"cpu": None}}}, "resources.requests of cpu and memory are required"),
    ],
)  # fmt: skip
def test_values_of_serving_that_contradict_are_refused_in_words(name: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render(SERVING, merged(scenario(SERVING, name).values(), values))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("job", {"cohort": {"existingClaim": ""}}, "cohort.existingClaim is required, or a mount of /cohort"),
        ("job-gpu-claims", {"cohort": {"existingClaim": "c"}}, "exclude each other"),
        ("job-gpu", {"recipe": {"existingConfigMap": "r"}}, "recipe.toml and recipe.existingConfigMap exclude each other"),
        ("cronjob", {"run": "seven"}, "run names the run of mode job or extraction; in mode cronjob every Job has a name"),
        ("job", {"kueue": {"priorityClass": "low"}}, "kueue.priorityClass needs kueue.queueName"),
        ("job", {"promotion": {"enabled": True}}, "promotion needs servingRelease"),
        ("job", {"image": {"tag": "latest"}}, "image.tag is latest"),
        ("extraction", {"extraction": {"mergeResources": {"requests": {"memory": None}}}}, "extraction.mergeResources.req"),
    ],
)  # fmt: skip
def test_values_of_training_that_contradict_are_refused_in_words(name: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RefusedError) as refused:
        render(TRAINING, merged(scenario(TRAINING, name).values(), values))
    assert sentence in str(refused.value)


@pytest.mark.parametrize(("chart", "name"), [(SERVING, "gpu-claims"), (TRAINING, "job-gpu-claims")])
def test_claims_of_devices_need_a_newer_kubernetes(chart: Path, name: str) -> None:
    with pytest.raises(RefusedError, match=r"gpu.resourceClaims need Kubernetes 1.34; this is v1.30.0"):
        render(chart, scenario(chart, name).values(), "1.30")


@pytest.mark.parametrize(("chart", "name", "longest"), [(SERVING, "cpu-minimal", 36), (TRAINING, "cronjob", 34)])
def test_no_name_is_ever_cut(chart: Path, name: str, longest: int) -> None:
    values = scenario(chart, name).values()
    names = [m.name for m in render(chart, values, release="r" * longest)]
    assert max(map(len, names)) <= 63
    with pytest.raises(RefusedError, match=f"at most {longest} are allowed, so that no name is cut"):
        render(chart, values, release="r" * (longest + 1))


@BOTH
def test_the_oldest_kubernetes_that_is_tested_is_the_oldest_that_is_allowed(chart: Path) -> None:
    assert read_yaml(chart / "Chart.yaml")["kubeVersion"] == f">={VERSIONS[0]}.0-0"


@BOTH
def test_charts_and_package_have_one_version(chart: Path) -> None:
    from nodogram import __version__

    assert read_yaml(chart / "Chart.yaml")["appVersion"] == __version__
    assert all(m.object["metadata"]["labels"]["app.kubernetes.io/version"] == __version__ for m in manifests(SCENARIOS[0]))


def test_every_folder_of_charts_is_a_tested_chart() -> None:
    assert {path.parent for path in CHARTS.glob("*/Chart.yaml")} == {SERVING, TRAINING}
