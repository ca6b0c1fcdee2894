"""Why a Job has no pod, why a pod does not start, how it ended: the words of the scheduler and the kubelet, made plain."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deploy.errors import Reason
from deploy.kinds import ContainerStatus, Event, Job, Pod, condition
from deploy.refusals import forbidden_meaning

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
KILLED = 137


@dataclass(frozen=True)
class Explanation:
    """Why something does not go on.

    Attributes
    ----------
    reason
        Stable code.
    message
        One sentence for a person who does not know the scheduler.
    """

    reason: Reason
    message: str


def explain_job(job: Job, events: Sequence[Event]) -> Explanation | None:
    """Say why a Job that has not ended has no pod, or ``None`` if nothing is known to be in its way.

    Parameters
    ----------
    events
        About the Job, oldest first.
    """
    if job.spec.suspend:
        queue = job.metadata.labels.get(QUEUE_LABEL)
        if queue is not None:
            return Explanation(Reason.POD_QUEUED, f"Kueue holds the Job in queue {queue} until there is room for it")
        return Explanation(Reason.POD_QUEUED, "the Job is suspended: nothing starts until its spec.suspend is false")
    failed = [e for e in events if e.reason == "FailedCreate"]
    if not failed:
        return None
    message = failed[-1].message
    if "exceeded quota" in message:
        return Explanation(Reason.QUOTA_EXCEEDED, _quota(message))
    return Explanation(forbidden_meaning(message)[0], f"the pod is refused: {message}")


def explain_pod(pod: Pod, events: Sequence[Event]) -> Explanation | None:
    """Say why a pod does not run yet, or ``None`` if its main container runs or the pod has ended.

    Parameters
    ----------
    events
        About the pod, oldest first.
    """
    if pod.has_ended or pod.metadata.deletion_timestamp is not None:
        return None
    scheduled = condition(pod.status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        if scheduled.reason == "SchedulingGated":
            return Explanation(Reason.POD_QUEUED, "the pod waits behind a scheduling gate, as a queue sets it")
        return _unschedulable(pod, scheduled.message)
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        found = _container(status)
        if found is not None:
            return found
    if pod.has_started:
        return None
    return _mounting(pod, events) or Explanation(
        Reason.POD_STARTING,
        f"the pod is on node {pod.spec.node_name} and pulls its image or prepares its volumes"
        if pod.spec.node_name
        else "the pod has not been looked at by the scheduler yet",
    )


def explain_end(pod: Pod) -> str:
    """Say how a pod ended: completed, evicted, out of memory, killed, or with which exit code."""
    if pod.status.phase == "Succeeded":
        return "done"
    disrupted = condition(pod.status.conditions, "DisruptionTarget")
    if disrupted is not None and disrupted.is_true:
        return f"taken off its node ({disrupted.reason}: {disrupted.message or pod.status.message})"
    if pod.status.reason:
        return f"{pod.status.reason.lower()} ({pod.status.message})"
    ending = pod.main_ending
    if ending is None:
        return "failed before its container started"
    if ending.reason == "OOMKilled":
        return "killed because it needed more memory than its limit; raise resources.limits.memory of the chart"
    if ending.exit_code > 128:
        signal = {KILLED: "SIGKILL", 143: "SIGTERM", 139: "SIGSEGV"}.get(ending.exit_code, f"signal {ending.exit_code - 128}")
        return f"ended by {signal} (exit code {ending.exit_code})"
    return f"exit code {ending.exit_code}"


def _unschedulable(pod: Pod, message: str) -> Explanation:
    """Translate ``0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 2 node(s) had untolerated taint {gpu: yes}.``."""
    if found := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        return Explanation(
            Reason.VOLUME_UNAVAILABLE, f"there is no volume claim {found[1]}; create it or correct the chart's values"
        )
    if "unbound immediate PersistentVolumeClaims" in message:
        claims = ", ".join(v.persistent_volume_claim.claim_name for v in pod.spec.volumes if v.persistent_volume_claim)
        return Explanation(
            Reason.VOLUME_UNAVAILABLE,
            f"a volume claim of the pod ({claims or 'unknown'}) has no volume yet; see kubectl describe pvc",
        )
    # What preemption found out (", preemption: 0/3 nodes ...") says the same once more.
    text = re.split(r"\.? ?preemption:", message)[0]
    head = re.match(r"(\d+)/(\d+) nodes are available:?\s*(.*)", text, re.DOTALL)
    if head is None:
        return Explanation(Reason.POD_UNSCHEDULABLE, f"no node takes the pod: {message}")
    total = int(head[2])
    clauses = [clause.strip() for clause in re.split(r",(?![^{]*\})", head[3].rstrip(". ")) if clause.strip()]
    words = "; ".join(_clause(pod, clause, total) for clause in clauses)
    nodes = "the only node does not take" if total == 1 else f"none of {total} nodes takes"
    return Explanation(Reason.POD_UNSCHEDULABLE, f"{nodes} the pod: {words}" if words else f"{nodes} the pod")


_CLAUSES: tuple[tuple[str, Callable[[re.Match[str], Pod], str]], ...] = (
    (r"Insufficient (\S+)", lambda m, pod: f"too little {m[1]} free (the pod asks for {_asked(pod, m[1])})"),
    (
        r"node\(s\) had untolerated taint(?:\(s\)|s)? ?(?:\{([^:}]+):? ?([^}]*)\})?",
        lambda m, _: (
            f"reserved by taint {m[1]}{m[2] and f'={m[2]}'}, which the pod does not tolerate"
            if m[1]
            else "reserved by taints the pod does not tolerate"
        ),
    ),
    (r"node\(s\) didn't match Pod's node affinity/selector", lambda *_: "other labels than nodeSelector or affinity want"),
    (r"node\(s\) didn't match pod topology spread constraints", lambda *_: "would break the topology spread"),
    (r"node\(s\) had volume node affinity conflict", lambda *_: "cannot reach the zone of the pod's volume"),
    (r"node\(s\) didn't find available persistent volumes to bind", lambda *_: "no volume that fits the claim"),
    (r"node\(s\) were unschedulable", lambda *_: "closed for new pods (cordoned)"),
    (r"node\(s\) didn't have free ports", lambda *_: "port taken"),
    (r"Too many pods", lambda *_: "as many pods as allowed"),
)


def _clause(pod: Pod, clause: str, total: int) -> str:
    count = re.match(r"(\d+) (.*)", clause, re.DOTALL)
    if count is None:
        return clause
    where = "" if total == 1 else f"{count[1]} {'has' if count[1] == '1' else 'have'}: "
    for pattern, words in _CLAUSES:
        if match := re.match(pattern, count[2]):
            return where + words(match, pod)
    return where + count[2]


def _asked(pod: Pod, resource: str) -> str:
    asked = [
        str(amount)
        for container in pod.spec.containers
        for amounts in ({**container.resources.limits, **container.resources.requests},)
        for name, amount in amounts.items()
        if name == resource
    ]
    return " + ".join(asked) or "some"


def _container(status: ContainerStatus) -> Explanation | None:
    waiting = status.state.waiting
    if waiting is None or waiting.reason in ("", "PodInitializing", "ContainerCreating"):
        return None
    said = waiting.message or waiting.reason
    match waiting.reason:
        case "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" | "RegistryUnavailable":
            return Explanation(
                Reason.IMAGE_UNAVAILABLE,
                f"the image {status.image or '?'} cannot be pulled ({said}); check its name and digest, and imagePullSecrets",
            )
        case "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError":
            return Explanation(Reason.CONTAINER_CONFIG_INVALID, f"container {status.name} cannot be made: {said}")
        case "CrashLoopBackOff":
            return Explanation(Reason.CONTAINER_CRASHED, f"container {status.name} ends again and again: {_last_words(status)}")
        case _:
            return Explanation(Reason.POD_STARTING, f"container {status.name} waits: {said}")


def _last_words(status: ContainerStatus) -> str:
    ending = status.last_state.terminated or status.state.terminated
    if ending is None:
        return f"{status.restart_count} restarts"
    lines = [line.strip() for line in ending.message.splitlines() if line.strip()]
    return f"exit code {ending.exit_code}{', ' + lines[-1] if lines else ''}"


def _mounting(pod: Pod, events: Sequence[Event]) -> Explanation | None:
    failed = [e for e in events if e.reason in ("FailedMount", "FailedAttachVolume")]
    if not failed or pod.has_started:
        return None
    return Explanation(Reason.VOLUME_UNAVAILABLE, f"a volume cannot be mounted: {failed[-1].message}")


def _quota(message: str) -> str:
    found = re.search(r"exceeded quota: ([^,]+), requested: (.+?), used: (.+?), limited: (.+)$", message)
    if found is None:
        return f"the namespace's quota is used up: {message}"
    name, requested, used, limited = (part.strip() for part in found.groups())
    return f"quota {name} is used up: {requested} asked for, {used} in use, {limited} allowed"
