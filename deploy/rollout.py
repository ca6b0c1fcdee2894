"""Whether the pods of a release have been replaced: waiting for it, and saying what holds it up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from deploy.cluster import Cluster
from deploy.errors import ClusterError, PromotionError, Reason
from deploy.kinds import DEPLOYMENT, POD, Deployment, Pod, condition
from deploy.pending import Explanation, explain_pod
from deploy.promote import DIGEST_ANNOTATION, BundleReference, deployment_of

LOOK_S = 5.0
BREATH_S = 0.2


@dataclass(frozen=True)
class RolloutState:
    """How far a Deployment is.

    Attributes
    ----------
    is_complete
        Every pod is of the present template and available.
    has_failed
        The Deployment gave up: its progress deadline has passed.
    words
        For a person.
    """

    deployment: str
    is_complete: bool
    has_failed: bool
    words: str


def rollout_state(deployment: Deployment) -> RolloutState:
    """Return how far a Deployment is, as ``kubectl rollout status`` decides it."""
    name, spec, status = deployment.metadata.name, deployment.spec, deployment.status
    progressing = condition(status.conditions, "Progressing")
    if status.observed_generation < deployment.metadata.generation:
        return RolloutState(name, is_complete=False, has_failed=False, words="not yet looked at by its controller")
    if progressing is not None and progressing.reason == "ProgressDeadlineExceeded":
        return RolloutState(name, is_complete=False, has_failed=True, words=progressing.message or "no progress in time")
    if spec.paused:
        return RolloutState(name, is_complete=False, has_failed=False, words="paused: kubectl rollout resume continues it")
    if status.updated_replicas < spec.replicas:
        words = f"{status.updated_replicas} of {spec.replicas} pods are new"
    elif status.replicas > status.updated_replicas:
        words = f"{status.replicas - status.updated_replicas} old pods still have to end"
    elif status.available_replicas < status.updated_replicas:
        words = f"{status.available_replicas} of {status.updated_replicas} new pods are ready"
    else:
        return RolloutState(
            name, is_complete=True, has_failed=False, words=f"{status.available_replicas} of {spec.replicas} ready"
        )
    return RolloutState(name, is_complete=False, has_failed=False, words=words)


def await_rollout(
    cluster: Cluster, release: str, bundle: BundleReference, timeout_s: float, say: Callable[[str], object]
) -> RolloutState:
    """Wait until every pod of a release serves a bundle.

    A pod is ready only once its init container has verified the digest and the server has reproduced the known answers.

    Raises
    ------
    PromotionError
        ``ROLLOUT_FAILED`` with what holds up the new pods; ``DEADLINE_EXCEEDED``; ``PROMOTION_CONFLICT`` if another bundle was
        promoted meanwhile.
    """
    give_up, said = time.monotonic() + timeout_s, ""
    while True:
        deployment = deployment_of(cluster, release)
        _check_overtaken(deployment, release, bundle)
        state = rollout_state(deployment)
        if state.is_complete:
            return state
        words = "; ".join(
            (f"{state.deployment}: {state.words}", *(f"{e.reason} {e.message}" for e in held_up(cluster, deployment)))
        )
        if state.has_failed:
            raise PromotionError(Reason.ROLLOUT_FAILED, f"release {release} does not get ready with {bundle}: {words}")
        if time.monotonic() > give_up:
            raise PromotionError(Reason.DEADLINE_EXCEEDED, f"release {release} is not ready after {timeout_s:.0f} s: {words}")
        if words != said:
            say(words)
            said = words
        _wait(cluster, deployment, min(LOOK_S, max(BREATH_S, give_up - time.monotonic())))


def held_up(cluster: Cluster, deployment: Deployment) -> tuple[Explanation, ...]:
    """Return why pods of the present template do not get ready, each reason once; nothing to those who may not list pods."""
    labels = ",".join(f"{k}={v}" for k, v in deployment.spec.selector.match_labels.items())
    try:
        pods = cluster.list(POD, labels=labels).items
    except ClusterError as error:
        if error.reason is Reason.FORBIDDEN:
            return ()
        raise
    found = [explain_pod(pod, ()) for pod in pods if _is_present(pod, deployment)]
    return tuple(dict.fromkeys(e for e in found if e is not None and e.reason is not Reason.POD_STARTING))


def _is_present(pod: Pod, deployment: Deployment) -> bool:
    wanted = deployment.spec.template.metadata.annotations.get(DIGEST_ANNOTATION)
    return pod.metadata.annotations.get(DIGEST_ANNOTATION) == wanted


def _check_overtaken(deployment: Deployment, release: str, bundle: BundleReference) -> None:
    now = deployment.spec.template.metadata.annotations.get(DIGEST_ANNOTATION)
    if now != bundle.digest:
        raise PromotionError(
            Reason.PROMOTION_CONFLICT,
            f"another promotion overtook this one: Deployment {deployment.metadata.name} of release {release} rolls out "
            f"{(now or 'no bundle')[:12]} now, not {bundle}",
        )


def _wait(cluster: Cluster, deployment: Deployment, seconds: float) -> None:
    version, name = deployment.metadata.resource_version, deployment.metadata.name
    if cluster.wait_for_change(DEPLOYMENT, version, seconds, fields=f"metadata.name={name}") != "quiet":
        time.sleep(BREATH_S)
