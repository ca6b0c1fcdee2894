"""The emulator is strict where a client can be wrong; otherwise passing against it would mean nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.emulator.emulator import Emulator, running
from tests.deploy.emulator.patching import apply, merge, strategic_merge
from tests.deploy.emulator.runners import ContainerSpec, Mount, podman_command, translated
from tests.deploy.emulator.schema import definition_of
from tests.deploy.emulator.selectors import matches_fields, matches_labels
from tests.deploy.emulator.volumes import expanded

JOBS = "/apis/batch/v1/namespaces/default/jobs"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Return a client of an emulator without a kubelet."""
    with running(tmp_path_factory.mktemp("emulator")) as emulator, httpx.Client(base_url=emulator.url, timeout=60) as client:
        yield client


def job(name: str, **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": {"spec": pod}, **spec}}


def container_job(**container: Any) -> dict[str, Any]:
    return job("a", template={"spec": {"restartPolicy": "Never", "containers": [{"name": "a", **container}]}})


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (job("a", backofLimit=1), "spec"),
        (job("a", backoffLimit="1"), "spec.backoffLimit"),
        (job("Not_A_Name"), "metadata.name"),
        (job("a", template={"spec": {"restartPolicy": "Always", "containers": [{"name": "a"}]}}), "restartPolicy"),
        (container_job(volumeMounts=[{"name": "v", "mountPath": "/v"}]), "volumeMounts"),
        (container_job(resources={"limits": {"memory": "2GB!"}}), "resources.limits"),
    ],
)
def test_what_is_invalid_is_refused_with_its_field(api: httpx.Client, document: dict[str, Any], field: str) -> None:
    answer = api.post(JOBS, json=document)
    assert answer.status_code == 422
    causes = answer.json()["details"]["causes"]
    assert any(field in cause["field"] for cause in causes), causes


def test_names_are_taken_once_and_old_versions_are_refused(api: httpx.Client) -> None:
    made = api.post(MAPS, json=config_map("once", a="1")).json()
    assert api.post(MAPS, json=config_map("once")).status_code == 409
    assert api.put(f"{MAPS}/once", json={**made, "data": {"a": "2"}}).status_code == 200
    assert api.put(f"{MAPS}/once", json={**made, "data": {"a": "3"}}).json()["reason"] == "Conflict"
    merge_patch = {"content-type": "application/merge-patch+json"}
    stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "4"}}
    assert api.patch(f"{MAPS}/once", content=json.dumps(stale), headers=merge_patch).status_code == 409
    assert api.get(f"{MAPS}/once").json()["data"] == {"a": "2"}
    wrong = {"preconditions": {"uid": "another"}}
    assert api.request("DELETE", f"{MAPS}/once", json=wrong).status_code == 409
    assert api.delete(f"{MAPS}/once").status_code == 200
    assert api.get(f"{MAPS}/once").status_code == 404


def test_templates_of_jobs_cannot_be_changed_and_status_only_through_its_subresource(api: httpx.Client) -> None:
    api.post(JOBS, json=job("fixed"))
    headers = {"content-type": "application/strategic-merge-patch+json"}
    other = {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "c"}]}}}}
    answer = api.patch(f"{JOBS}/fixed", content=json.dumps(other), headers=headers)
    assert (answer.status_code, "immutable" in answer.json()["message"]) == (422, True)
    status = json.dumps({"status": {"succeeded": 7}})
    api.patch(f"{JOBS}/fixed", content=status, headers=headers)
    assert api.get(f"{JOBS}/fixed").json()["status"].get("succeeded") != 7


def test_what_is_unknown_or_elsewhere_is_not_found(api: httpx.Client) -> None:
    assert api.get("/apis/batch/v1/namespaces/default/jbos").status_code == 404
    assert api.get("/apis/batch/v2").status_code == 404
    assert api.post("/api/v1/namespaces/nowhere/configmaps", json=config_map("a")).status_code == 404
    assert api.post(MAPS, content=b"\x00", headers={"content-type": "application/vnd.kubernetes.protobuf"}).status_code == 415


def test_a_watch_brings_changes_since_a_version_and_410_once_they_are_forgotten(tmp_path: Path) -> None:
    with running(tmp_path) as emulator, httpx.Client(base_url=emulator.url, timeout=60) as client:
        version = client.get(MAPS).json()["metadata"]["resourceVersion"]
        client.post(MAPS, json={**config_map("seen"), "metadata": {"name": "seen", "labels": {"a": "b"}}})
        client.post(MAPS, json=config_map("other"))
        query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "1", "labelSelector": "a=b"}
        events = [json.loads(line) for line in client.get(MAPS, params=query).text.splitlines()]
        assert [(e["type"], e["object"]["metadata"]["name"]) for e in events] == [("ADDED", "seen")]
        emulator.store.compact()
        (event,) = [json.loads(line) for line in client.get(MAPS, params=query).text.splitlines()]
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_owned_objects_go_with_their_owner(tmp_path: Path) -> None:
    with running(tmp_path) as emulator:
        found = emulator.create(config_map("owner"), "default")
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": found["metadata"]["uid"]}
        owned = config_map("owned")
        emulator.create({**owned, "metadata": {"name": "owned", "ownerReferences": [reference]}}, "default")
        httpx.delete(f"{emulator.url}{MAPS}/owner")
        assert emulator.store.find("ConfigMap", "default", "owned") is None


@pytest.mark.parametrize(
    ("selector", "matched"),
    [
        ("a=b", True),
        ("a==b,c!=d", True),
        ("a in (x, b)", True),
        ("a notin (b)", False),
        ("!c", True),
        ("c", False),
        ("a!=b", False),
    ],
)
def test_label_selectors(selector: str, matched: bool) -> None:
    assert matches_labels(selector, {"a": "b"}) is matched


def test_field_selectors() -> None:
    document = {"metadata": {"name": "x"}, "status": {"phase": "Running"}}
    assert matches_fields("metadata.name=x,status.phase!=Failed", document)
    assert not matches_fields("spec.nodeName=a", document)


def test_merge_patches_follow_rfc_7386() -> None:
    """Appendix A of the RFC, the cases with objects."""
    assert merge({"a": "b"}, {"a": None}) == {}
    assert merge({"a": [{"b": "c"}]}, {"a": [1]}) == {"a": [1]}
    assert merge({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}) == {"a": {"b": "d"}}
    assert merge({}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}


def test_strategic_patches_merge_lists_by_key_and_apply_removes_what_is_no_longer_wanted() -> None:
    schema = definition_of("apps/v1", "Deployment")

    def deployment(*variables: tuple[str, str]) -> dict[str, Any]:
        container = {"name": "a", "env": [{"name": n, "value": v} for n, v in variables]}
        return {"spec": {"template": {"spec": {"containers": [container]}}}}

    live = deployment(("A", "1"), ("B", "2"))
    assert strategic_merge(live, deployment(("B", "3")), schema) == deployment(("A", "1"), ("B", "3"))
    assert apply(live, deployment(("B", "3")), deployment(("B", "2")), schema) == deployment(("A", "1"), ("B", "3"))
    assert apply(live, deployment(("B", "2")), live, schema) == deployment(("B", "2"))


def test_variables_in_arguments_are_expanded_as_kubernetes_does() -> None:
    assert expanded("$(A)/x $(B) $$(A) $A", {"A": "1"}) == "1/x $(B) $(A) $A"


def test_paths_of_processes_are_those_of_this_machine() -> None:
    paths = {"/run": "/pv/run", "/run/deep": "/pv/deep"}
    texts = ["/run/x", "/running", "/run/deep/y", "file:///run/b", "--out=/run"]
    assert [translated(t, paths) for t in texts] == [
        "/pv/run/x",
        "/running",
        "/pv/deep/y",
        "file:///pv/run/b",
        "--out=/pv/run",
    ]


def test_podman_gets_what_the_pod_asks_for(tmp_path: Path) -> None:
    spec = ContainerSpec(
        identity="x",
        image="r/train:1",
        command=("nodogram", "-v"),
        arguments=("train",),
        environment={"A": "1"},
        mounts=(Mount(tmp_path, "/cohort", read_only=True),),
        termination_log=tmp_path / "t",
        user=10001,
        read_only_root=True,
        dropped_capabilities=("ALL",),
        memory="2g",
    )
    command = " ".join(podman_command(spec, "localhost/train:1"))
    for part in ("--pull=never", "--user 10001:10001", "--read-only ", "--cap-drop ALL", "--memory 2g", "--env A=1"):
        assert part in command
    assert f"--volume {tmp_path}:/cohort:ro --volume {tmp_path / 't'}:/dev/termination-log" in command
    assert command.endswith("--entrypoint nodogram localhost/train:1 -v train")


def test_an_indexed_job_runs_every_index_and_names_the_lost_one(tmp_path: Path) -> None:
    """Pods are ended by the test: index 2 fails more often than allowed."""
    with running(tmp_path) as emulator:
        spec = {
            "completions": 4,
            "parallelism": 2,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 1,
            "maxFailedIndexes": 4,
        }
        emulator.create(job("shards", **spec), "default")
        for _ in range(5):
            emulator.store.wait_until(lambda: bool(pending(emulator)) or finished(emulator))
            for pod in pending(emulator):
                index = pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
                emulator.set_status("Pod", "default", pod["metadata"]["name"], phase="Failed" if index == "2" else "Succeeded")
            if finished(emulator):
                break
        emulator.store.wait_until(lambda: finished(emulator))
        found = emulator.store.find("Job", "default", "shards")
        assert found is not None
        assert found["status"]["completedIndexes"] == "0,1,3"
        assert found["status"]["conditions"][0]["message"] == "Job has failed indexes: 2"


def pending(emulator: Emulator) -> list[dict[str, Any]]:
    return [p for p in emulator.store.objects("Pod") if p["status"]["phase"] == "Pending"]


def finished(emulator: Emulator) -> bool:
    found = emulator.store.find("Job", "default", "shards")
    return found is not None and bool((found.get("status") or {}).get("conditions"))
