"""What the charts install, as far as the client touches it."""

from __future__ import annotations

from typing import Any

from tests.deploy.emulator.emulator import Emulator

NAMESPACE = "ml"
FIRST = "1" * 64


def labels(release: str, chart: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": chart, "app.kubernetes.io/instance": release}


def install_training(emulator: Emulator, release: str, image: str, **job: Any) -> None:
    """Install the CronJob whose template the client makes Jobs of."""
    found = labels(release, "nodogram-training")
    container = {
        "name": "train",
        "image": image,
        "args": ["train", "--cohort", "/cohort", "--recipe", "sound", "--out", "/run", "--resume"],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
    }
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "train", "operator": "In", "values": [1, 2]}},
    ]
    spec = {
        "backoffLimit": 1,
        "podFailurePolicy": {"rules": rules},
        "template": {"metadata": {"labels": found}, "spec": {"restartPolicy": "Never", "containers": [container]}},
        **job,
    }
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": f"{release}-nodogram-training", "labels": found},
        "spec": {"schedule": "0 2 1 * *", "suspend": True, "jobTemplate": {"metadata": {"labels": found}, "spec": spec}},
    }
    emulator.create(cron_job, NAMESPACE)


def install_serving(emulator: Emulator, release: str, image: str, *, replicas: int = 2, deadline_s: int = 600) -> None:
    """Install a ConfigMap that says what is served, and the Deployment that reads it."""
    name, found = f"{release}-nodogram-serving", labels(release, "nodogram-serving")
    data = {"uri": "file:///bundles/first", "digest": FIRST}
    metadata = {"name": f"{name}-bundle", "labels": found}
    emulator.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, NAMESPACE)
    variables = [
        {"name": key, "valueFrom": {"configMapKeyRef": {"name": f"{name}-bundle", "key": part}}}
        for key, part in (("BUNDLE_URI", "uri"), ("BUNDLE_DIGEST", "digest"))
    ]
    init = {
        "name": "fetch-bundle",
        "image": image,
        "args": ["bundle", "fetch", "$(BUNDLE_URI)", "--digest", "$(BUNDLE_DIGEST)", "--out", "/bundle/model"],
        "env": [*variables, {"name": "DAMAGED", "value": "d" * 64}],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    server = {"name": "server", "image": image, "args": ["serve"]}
    template = {
        "metadata": {"labels": found, "annotations": {"nodogram.io/bundle-digest": FIRST}},
        "spec": {"initContainers": [init], "containers": [server], "terminationGracePeriodSeconds": 1},
    }
    spec = {
        "replicas": replicas,
        "progressDeadlineSeconds": deadline_s,
        "selector": {"matchLabels": found},
        "template": template,
    }
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": found}, "spec": spec}
    emulator.create(deployment, NAMESPACE)
