"""The controllers of Jobs and Deployments: look at everything whenever anything changes, and do what is missing."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from tests.deploy.emulator.job_control import JobControl
from tests.deploy.emulator.refusal import ApiError
from tests.deploy.emulator.resources import resource
from tests.deploy.emulator.store import Document, Store, now

# Deadlines pass without anything changing.
TICK_S = 0.2

Admission = Callable[[Document], str | None]


class Controllers:
    """One thread that reconciles Jobs and Deployments.

    Parameters
    ----------
    admission
        Is asked about every pod; a text is why it is refused, as a quota would.
    """

    def __init__(self, store: Store, admission: Admission) -> None:
        self._store = store
        self._pods = PodFactory(store, admission)
        self._jobs = JobControl(store, self._pods)
        self._deployments = DeploymentControl(store, self._pods)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="controllers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._store.changed:
                version = self._store.version
                for kind, reconcile in (("Job", self._jobs.reconcile), ("Deployment", self._deployments.reconcile)):
                    for document in self._store.objects(kind):
                        self._try(reconcile, document)
                if self._store.version == version:
                    self._store.wait(TICK_S)

    @staticmethod
    def _try(reconcile: Callable[[Document], None], document: Document) -> None:
        try:
            reconcile(document)
        except ApiError:
            return  # changed meanwhile; the next round sees it


class PodFactory:
    """Makes pods of templates, and events where they are refused."""

    def __init__(self, store: Store, admission: Admission) -> None:
        self._store = store
        self._admission = admission
        self._refused: set[tuple[str, str]] = set()

    def owned(self, owner: Document) -> list[Document]:
        """Return the pods of an owner, oldest first."""
        uid, namespace = owner["metadata"]["uid"], owner["metadata"]["namespace"]
        found = [
            pod
            for pod in self._store.objects("Pod", namespace)
            if any(o.get("uid") == uid for o in pod["metadata"].get("ownerReferences") or [])
        ]
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def make(self, owner: Document, template: Document, prefix: str) -> bool:
        """Create a pod owned by an object; a refusal becomes an event."""
        kind, name = owner["kind"], owner["metadata"]["name"]
        metadata = {**(template.get("metadata") or {}), "name": f"{prefix}-{uuid.uuid4().hex[:5]}"}
        reference = {"apiVersion": owner["apiVersion"], "kind": kind, "name": name, "uid": owner["metadata"]["uid"]}
        metadata["ownerReferences"] = [{**reference, "controller": True}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": template["spec"],
            "status": {"phase": "Pending"},
        }
        refused = self._admission(pod)
        if refused is not None:
            message = f'Error creating: pods "{metadata["name"]}" is forbidden: {refused}'
            if (owner["metadata"]["uid"], refused) not in self._refused:
                self._refused.add((owner["metadata"]["uid"], refused))
                record(self._store, owner, "FailedCreate", message)
            return False
        self._store.create(resource("Pod"), owner["metadata"]["namespace"], pod)
        return True


def record(store: Store, about: Document, reason: str, message: str) -> None:
    """Write an event about an object."""
    metadata = about["metadata"]
    name = f"{metadata['name']}.{uuid.uuid4().hex[:12]}"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "involvedObject": {
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "lastTimestamp": now(),
    }
    store.create(resource("Event"), metadata["namespace"], event)


class DeploymentControl:
    """Replaces the pods of Deployments when their template changes.

    Without ReplicaSets: pods carry the hash of their template and belong to the Deployment itself. ``maxSurge`` is one, and an
    old pod goes when a new one is ready.
    """

    def __init__(self, store: Store, pods: PodFactory) -> None:
        self._store = store
        self._pods = pods
        self._progress: dict[str, tuple[Any, float]] = {}

    def reconcile(self, document: Document) -> None:
        spec, metadata = document["spec"], document["metadata"]
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
        wanted = spec.get("replicas", 1)
        pods = [p for p in self._pods.owned(document) if p["status"].get("phase") not in ("Succeeded", "Failed")]
        new = [p for p in pods if p["metadata"]["labels"].get("pod-template-hash") == digest]
        old = [p for p in pods if p not in new]
        ready = [p for p in new if is_ready(p)]
        if not spec.get("paused"):
            self._step(document, digest, wanted, new, old, ready)
        self._report(document, wanted, new, old, ready, (digest, len(new), len(ready), len(old), metadata["generation"]))

    def _step(
        self, document: Document, digest: str, wanted: int, new: list[Document], old: list[Document], ready: list[Document]
    ) -> None:
        recreate = document["spec"].get("strategy", {}).get("type") == "Recreate"
        if recreate and old:
            self._end(old)
        elif len(new) > wanted:
            self._end(new[wanted:])
        elif len(new) < wanted and (len(new) + len(old) < wanted + 1 or not old):
            template = json.loads(json.dumps(document["spec"]["template"]))
            template.setdefault("metadata", {}).setdefault("labels", {})["pod-template-hash"] = digest
            self._pods.make(document, template, f"{document['metadata']['name']}-{digest}")
        elif old and len(ready) + len(old) > wanted:
            self._end(old[:1])

    def _end(self, pods: list[Document]) -> None:
        for pod in pods:
            self._store.delete(resource("Pod"), pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _report(
        self, document: Document, wanted: int, new: list[Document], old: list[Document], ready: list[Document], seen: Any
    ) -> None:
        uid, spec = document["metadata"]["uid"], document["spec"]
        if self._progress.get(uid, (None, 0.0))[0] != seen:
            self._progress[uid] = (seen, time.monotonic())
        is_done = len(ready) == len(new) == wanted and not old
        is_late = time.monotonic() - self._progress[uid][1] > spec.get("progressDeadlineSeconds", 600)
        available = len(ready) + sum(map(is_ready, old))
        if is_done:
            progressing = ("True", "NewReplicaSetAvailable", "ReplicaSet has successfully progressed.")
        elif is_late:
            progressing = ("False", "ProgressDeadlineExceeded", "ReplicaSet has timed out progressing.")
        else:
            progressing = ("True", "ReplicaSetUpdated", "ReplicaSet is progressing.")
        enough = available >= max(0, wanted - 1)
        status = {
            "observedGeneration": document["metadata"]["generation"],
            "replicas": len(new) + len(old),
            "updatedReplicas": len(new),
            "readyReplicas": available,
            "availableReplicas": available,
            "conditions": [
                {"type": "Available", "status": "True" if enough else "False", "reason": "MinimumReplicas", "message": ""},
                {"type": "Progressing", "status": progressing[0], "reason": progressing[1], "message": progressing[2]},
            ],
        }
        if status != document.get("status"):
            self._store.set_status("Deployment", document["metadata"]["namespace"], document["metadata"]["name"], status)


def is_ready(pod: Document) -> bool:
    """Return whether a pod takes requests."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or [])
