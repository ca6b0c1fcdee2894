"""Install, upgrade and roll back with Helm itself, on an emulator of the Kubernetes API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helm import NAMESPACE, RELEASE, Installation
from scenarios import DIGEST, SERVING, TRAINING, merged, scenario

from tests.deploy.emulator.emulator import Emulator, running
from tests.deploy.emulator.resources import resource

OTHER = "fedcba9876543210" * 4
SERVED = f"{RELEASE}-nodogram-serving"


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    with running(tmp_path) as found:
        found.create_namespace(NAMESPACE)
        yield found


@pytest.fixture
def installation(emulator: Emulator) -> Iterator[Installation]:
    with Installation(emulator.kubeconfig(NAMESPACE)) as found:
        yield found


def get(emulator: Emulator, kind: str, name: str) -> dict[str, Any]:
    return dict(emulator.store.get(resource(kind), NAMESPACE, name))


def promote(emulator: Emulator) -> None:
    """Do to the ConfigMap what a promotion does."""
    found = get(emulator, "ConfigMap", f"{SERVED}-bundle")
    annotations = {**found["metadata"].get("annotations", {}), "nodogram.io/previous-digest": DIGEST}
    data = {"uri": "s3://models/nodogram/8.tar", "digest": OTHER}
    found = {**found, "data": data, "metadata": {**found["metadata"], "annotations": annotations}}
    emulator.store.replace(resource("ConfigMap"), NAMESPACE, found, if_version=None)


def served(emulator: Emulator) -> tuple[str, str, str | None]:
    """Return digest, digest in the pod template, and the digest a rollback returns to."""
    config_map = get(emulator, "ConfigMap", f"{SERVED}-bundle")
    template = get(emulator, "Deployment", SERVED)["spec"]["template"]
    previous = config_map["metadata"].get("annotations", {}).get("nodogram.io/previous-digest")
    return config_map["data"]["digest"], template["metadata"]["annotations"]["nodogram.io/bundle-digest"], previous


def test_an_upgrade_keeps_what_was_promoted_until_it_is_told_otherwise(emulator: Emulator, installation: Installation) -> None:
    values = scenario(SERVING, "cpu-minimal").values()
    installation.install(SERVING, values)
    assert served(emulator) == (DIGEST, DIGEST, None)
    promote(emulator)
    installation.upgrade(SERVING, merged(values, {"replicaCount": 3}))
    assert get(emulator, "Deployment", SERVED)["spec"]["replicas"] == 3
    assert served(emulator) == (OTHER, OTHER, DIGEST)
    installation.upgrade(SERVING, merged(values, {"bundle": {"force": True}}))
    assert served(emulator)[:2] == (DIGEST, DIGEST)


def test_helm_goes_back_to_the_revision_before_and_leaves_nothing_of_the_one_after(
    emulator: Emulator, installation: Installation
) -> None:
    values = scenario(SERVING, "cpu-minimal").values()
    installation.install(SERVING, values)
    before = get(emulator, "Deployment", SERVED)["spec"]
    other = {"bundle": {"uri": "s3://models/nodogram/8.tar", "digest": OTHER, "force": True}}
    installation.upgrade(SERVING, merged(values, {"replicaCount": 3, "server": {"maximumBatchSize": 4}, **other}))
    assert served(emulator)[:2] == (OTHER, OTHER)
    installation.roll_back()
    assert served(emulator)[:2] == (DIGEST, DIGEST)
    assert get(emulator, "Deployment", SERVED)["spec"] == before
    installation.uninstall()
    assert not list(emulator.store.objects("Deployment", NAMESPACE))


def test_helm_goes_back_to_the_former_schedule(emulator: Emulator, installation: Installation) -> None:
    values = scenario(TRAINING, "cronjob").values()
    installation.install(TRAINING, values)
    (before,) = emulator.store.objects("CronJob", NAMESPACE)
    installation.upgrade(TRAINING, merged(values, {"schedule": {"cron": "30 4 * * 0"}, "recipe": {"name": "paper"}}))
    (changed,) = emulator.store.objects("CronJob", NAMESPACE)
    assert changed["spec"]["schedule"] == "30 4 * * 0"
    installation.roll_back()
    (after,) = emulator.store.objects("CronJob", NAMESPACE)
    assert after["spec"] == before["spec"]
    installation.uninstall()
    assert not list(emulator.store.objects("CronJob", NAMESPACE))


def test_a_release_comes_and_goes(emulator: Emulator, installation: Installation) -> None:
    installation.install(SERVING, scenario(SERVING, "gateway").values() | {"httpRoute": {}, "grpcRoute": {}, "shadow": {}})
    assert {s["metadata"]["name"] for s in emulator.store.objects("Service", NAMESPACE)} == {SERVED, f"{SERVED}-headless"}
    installation.uninstall()
    for kind in ("Deployment", "Service", "ConfigMap", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"):
        assert not list(emulator.store.objects(kind, NAMESPACE)), kind


def test_an_upgrade_leaves_an_unchanged_run_alone_and_replaces_a_changed_one(
    emulator: Emulator, installation: Installation
) -> None:
    values = scenario(TRAINING, "job").values()
    installation.install(TRAINING, values)
    (first,) = emulator.store.objects("Job", NAMESPACE)
    installation.upgrade(TRAINING, merged(values, {"networkPolicy": {"enabled": False}}))
    (same,) = emulator.store.objects("Job", NAMESPACE)
    assert same["metadata"]["uid"] == first["metadata"]["uid"]
    installation.upgrade(TRAINING, merged(values, {"recipe": {"name": "paper"}}))
    (changed,) = emulator.store.objects("Job", NAMESPACE)
    assert changed["metadata"]["name"] != first["metadata"]["name"]
    installation.uninstall()
    assert not list(emulator.store.objects("CronJob", NAMESPACE))
    # Results outlive the release.
    assert [c["metadata"]["name"] for c in emulator.store.objects("PersistentVolumeClaim", NAMESPACE)] == [
        f"{RELEASE}-nodogram-training-runs"
    ]


def test_an_upgrade_does_not_stop_what_a_queue_has_started(emulator: Emulator, installation: Installation) -> None:
    values = merged(scenario(TRAINING, "job").values(), {"kueue": {"queueName": "gpus"}})
    installation.install(TRAINING, values)
    (job,) = emulator.store.objects("Job", NAMESPACE)
    assert job["spec"]["suspend"] is True
    started = {**job, "spec": {**job["spec"], "suspend": False}}
    emulator.store.replace(resource("Job"), NAMESPACE, started, if_version=None)
    installation.upgrade(TRAINING, merged(values, {"networkPolicy": {"enabled": False}}))
    (job,) = emulator.store.objects("Job", NAMESPACE)
    assert job["spec"]["suspend"] is False
