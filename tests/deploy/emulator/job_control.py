"""The Job controller: completions, indexes, retries, pod failure policy, deadlines and time to live."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Protocol

from tests.deploy.emulator.resources import resource
from tests.deploy.emulator.store import Document, Store, now

INDEX = "batch.kubernetes.io/job-completion-index"


class Pods(Protocol):
    """What makes pods and knows whose they are."""

    def owned(self, owner: Document) -> list[Document]: ...

    def make(self, owner: Document, template: Document, prefix: str) -> bool: ...


class JobControl:
    """Runs Jobs to their end."""

    def __init__(self, store: Store, pods: Pods) -> None:
        self._store = store
        self._pods = pods
        self._ended: dict[str, float] = {}

    def reconcile(self, job: Document) -> None:
        status = json.loads(json.dumps(job.get("status") or {}))
        if is_finished(job):
            self._expire(job)
            return
        pods = self._pods.owned(job)
        if job["spec"].get("suspend"):
            self._end_live(pods)
            status.update(active=0, conditions=[condition("Suspended", "JobSuspended", "Job suspended")])
            self._write(job, status)
            return
        status["conditions"] = [c for c in status.get("conditions", []) if c["type"] != "Suspended"]
        status.setdefault("startTime", now())
        tally = Tally(job, pods)
        ending = tally.ending() or _deadline(job, status)
        status.update(active=len(tally.live), succeeded=len(tally.done), failed=tally.failed_count)
        if tally.is_indexed:
            status["completedIndexes"] = ",".join(sorted(tally.done, key=int))
        if ending is not None:
            self._end_live(tally.live)
            status.update(active=0, conditions=[ending])
            if ending["type"] == "Complete":
                status["completionTime"] = now()
            self._ended[job["metadata"]["uid"]] = time.monotonic()
        else:
            for index in tally.missing():
                made = self._make(job, index)
                status["active"] += made
        self._write(job, status)

    def _make(self, job: Document, index: str | None) -> bool:
        name, uid = job["metadata"]["name"], job["metadata"]["uid"]
        template = json.loads(json.dumps(job["spec"]["template"]))
        metadata = template.setdefault("metadata", {})
        labels = {"batch.kubernetes.io/job-name": name, "job-name": name, "batch.kubernetes.io/controller-uid": uid}
        metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
        if index is None:
            return self._pods.make(job, template, name)
        metadata["labels"][INDEX] = index
        metadata["annotations"] = {**(metadata.get("annotations") or {}), INDEX: index}
        for container in [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]:
            container.setdefault("env", []).append({"name": "JOB_COMPLETION_INDEX", "value": index})
        return self._pods.make(job, template, f"{name}-{index}")

    def _end_live(self, pods: list[Document]) -> None:
        for pod in pods:
            if phase(pod) in ("Pending", "Running"):
                self._store.delete(resource("Pod"), pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _write(self, job: Document, status: Document) -> None:
        if status != job.get("status"):
            self._store.set_status("Job", job["metadata"]["namespace"], job["metadata"]["name"], status)

    def _expire(self, job: Document) -> None:
        lifetime = job["spec"].get("ttlSecondsAfterFinished")
        since = self._ended.setdefault(job["metadata"]["uid"], time.monotonic())
        if lifetime is not None and time.monotonic() - since > lifetime:
            self._store.delete(resource("Job"), job["metadata"]["namespace"], job["metadata"]["name"])


class Tally:
    """What the pods of a Job amount to."""

    def __init__(self, job: Document, pods: list[Document]) -> None:
        self.spec = job["spec"]
        self.is_indexed = self.spec.get("completionMode") == "Indexed"
        self.wanted = self.spec.get("completions", 1)
        self.live = [p for p in pods if phase(p) in ("Pending", "Running")]
        succeeded = [p for p in pods if phase(p) == "Succeeded"]
        self.done = {(index_of(p) or "0") if self.is_indexed else p["metadata"]["name"] for p in succeeded}
        self.failed = [(p, action_of(self.spec, p)) for p in pods if phase(p) == "Failed"]

    @property
    def failed_count(self) -> int:
        return sum(action != "Ignore" for _, action in self.failed)

    def ending(self) -> Document | None:
        if len(self.done) >= self.wanted:
            return condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        for pod, action in self.failed:
            if action == "FailJob":
                return condition("Failed", "PodFailurePolicy", f"{last_words(pod)} matching FailJob rule")
        if (limit := self.spec.get("backoffLimitPerIndex")) is not None:
            lost = self.lost_indexes(limit)
            live_or_missing = self.live or self.missing()
            if lost and (len(lost) > self.spec.get("maxFailedIndexes", self.wanted) or not live_or_missing):
                return condition("Failed", "FailedIndexes", f"Job has failed indexes: {','.join(sorted(lost, key=int))}")
            return None
        if self.failed_count > self.spec.get("backoffLimit", 6):
            return condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        return None

    def lost_indexes(self, limit: int) -> set[str]:
        lost = {index_of(p) or "0" for p, action in self.failed if action == "FailIndex"}
        counts: dict[str, int] = {}
        for pod, action in self.failed:
            if action == "Count":
                counts[index_of(pod) or "0"] = counts.get(index_of(pod) or "0", 0) + 1
        return (lost | {index for index, count in counts.items() if count > limit}) - self.done

    def missing(self) -> list[str | None]:
        room = self.spec.get("parallelism", 1) - len(self.live)
        if not self.is_indexed:
            return [None] * max(0, min(room, self.wanted - len(self.done) - len(self.live)))
        limit = self.spec.get("backoffLimitPerIndex")
        out = self.done | {index_of(p) or "0" for p in self.live} | (set() if limit is None else self.lost_indexes(limit))
        todo: list[str | None] = [str(i) for i in range(self.wanted) if str(i) not in out]
        return todo[: max(0, room)]


def action_of(spec: Document, pod: Document) -> str:
    """Return what the pod failure policy says about a failed pod: the action of the first rule that matches, else ``Count``."""
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions") or []}
    codes = {s["name"]: s["state"]["terminated"]["exitCode"] for s in _ended_containers(pod)}
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        if on_codes := rule.get("onExitCodes"):
            name = on_codes.get("containerName")
            found = [code for container, code in codes.items() if name in (None, container) and code != 0]
            if any((code in on_codes["values"]) is (on_codes["operator"] == "In") for code in found):
                return str(rule["action"])
        if any(conditions.get(c["type"]) == c.get("status", "True") for c in rule.get("onPodConditions") or []):
            return str(rule["action"])
    return "Count"


def _ended_containers(pod: Document) -> list[Document]:
    status = pod["status"]
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [s for s in found if "terminated" in (s.get("state") or {})]


def last_words(pod: Document) -> str:
    """Say which container failed the pod, as the controller does."""
    name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
    ended = [s for s in _ended_containers(pod) if s["state"]["terminated"]["exitCode"] != 0]
    if not ended:
        return f"Pod {name} has a condition"
    return f"Container {ended[0]['name']} for pod {name} failed with exit code {ended[0]['state']['terminated']['exitCode']}"


def index_of(pod: Document) -> str | None:
    found: str | None = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return found


def phase(pod: Document) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def is_finished(job: Document) -> bool:
    return any(
        c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in (job.get("status") or {}).get("conditions") or []
    )


def condition(kind: str, reason: str, message: str) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now()}


def _deadline(job: Document, status: Document) -> Document | None:
    allowed_s = job["spec"].get("activeDeadlineSeconds")
    if allowed_s is None:
        return None
    started = datetime.fromisoformat(status["startTime"])
    if (datetime.now(UTC) - started).total_seconds() < allowed_s:
        return None
    return condition("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
