"""What runs and what is served in a namespace, as one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from deploy.cluster import Cluster
from deploy.errors import ClusterError, Reason
from deploy.job_template import CHART as TRAINING
from deploy.kinds import DEPLOYMENT, INSTANCE_LABEL, JOB, JOB_NAME_LABEL, NAME_LABEL, POD, Deployment, Job, Pod
from deploy.outcome import outcome_of
from deploy.pending import explain_job, explain_pod
from deploy.promote import CHART as SERVING
from deploy.promote import DIGEST_ANNOTATION, BundleReference, Served, served
from deploy.rollout import rollout_state


@dataclass(frozen=True)
class JobStatus:
    """A Job of the training chart.

    Attributes
    ----------
    state
        ``waiting``, ``running``, ``done``, ``refused`` or ``failed``.
    words
        Why, where there is something to say.
    bundle_digest
        Of the bundle it made.
    """

    name: str
    release: str
    state: str
    words: str
    started: datetime | None
    ended: datetime | None
    bundle_digest: str | None


@dataclass(frozen=True)
class DeploymentStatus:
    """A Deployment of the serving chart.

    Attributes
    ----------
    bundle_digest
        Of its pod template: what its pods are made for.
    """

    name: str
    ready_count: int
    wanted_count: int
    is_complete: bool
    words: str
    bundle_digest: str | None


@dataclass(frozen=True)
class ServingStatus:
    """A release of the serving chart."""

    release: str
    bundle: BundleReference | None
    previous: BundleReference | None
    promoted_at: str
    deployments: tuple[DeploymentStatus, ...]


@dataclass(frozen=True)
class NamespaceStatus:
    """Everything of nodogram in a namespace."""

    namespace: str
    jobs: tuple[JobStatus, ...]
    serving: tuple[ServingStatus, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        document = asdict(self)
        for job in document["jobs"]:
            for key in ("started", "ended"):
                job[key] = None if job[key] is None else job[key].isoformat()
        return document


def namespace_status(cluster: Cluster, release: str | None) -> NamespaceStatus:
    """Read the status of one release, or of all in the namespace.

    Raises
    ------
    ClusterError
        ``RELEASE_NOT_FOUND`` if nothing of the release is there, and the reasons of the API server.
    """
    instance = "" if release is None else f",{INSTANCE_LABEL}={release}"
    jobs = cluster.list(JOB, labels=f"{NAME_LABEL}={TRAINING}{instance}").items
    found = cluster.list(DEPLOYMENT, labels=f"{NAME_LABEL}={SERVING}{instance}").items
    if release is not None and not jobs and not found:
        raise ClusterError(
            Reason.RELEASE_NOT_FOUND,
            f"namespace {cluster.namespace} has neither Jobs nor Deployments of nodogram under release {release}",
        )
    releases = sorted({d.metadata.labels.get(INSTANCE_LABEL, "") for d in found})
    return NamespaceStatus(
        cluster.namespace,
        tuple(_job(cluster, job) for job in sorted(jobs, key=_created, reverse=True)),
        tuple(
            _serving(cluster, name, [d for d in found if d.metadata.labels.get(INSTANCE_LABEL) == name]) for name in releases
        ),
    )


def _created(job: Job) -> tuple[str, str]:
    moment = job.metadata.creation_timestamp
    return ("" if moment is None else moment.isoformat(), job.metadata.name)


def _job(cluster: Cluster, job: Job) -> JobStatus:
    pods = cluster.list(POD, labels=f"{JOB_NAME_LABEL}={job.metadata.name}").items
    name, release, status = job.metadata.name, job.metadata.labels.get(INSTANCE_LABEL, ""), job.status
    outcome = outcome_of(job, pods)
    if outcome is not None:
        digest = None if outcome.result is None else outcome.result.bundle_digest
        return JobStatus(name, release, outcome.state, outcome.message, outcome.started, outcome.ended, digest)
    state, words = _going_on(job, pods)
    return JobStatus(name, release, state, words, status.start_time, None, None)


def _going_on(job: Job, pods: Sequence[Pod]) -> tuple[str, str]:
    live = [pod for pod in pods if not pod.has_ended]
    tried = f"attempt {job.status.failed + 1}" if job.status.failed else ""
    if any(pod.has_started for pod in live):
        return "running", tried
    waits = explain_pod(live[0], ()) if live else explain_job(job, ())
    return "waiting", "" if waits is None else f"{waits.reason} {waits.message}"


def _serving(cluster: Cluster, release: str, found: Sequence[Deployment]) -> ServingStatus:
    try:
        now = served(cluster, release)
    except ClusterError as error:
        if error.reason is not Reason.RELEASE_NOT_FOUND:
            raise
        now = Served(release, None, None, "", "")
    return ServingStatus(release, now.bundle, now.previous, now.promoted_at, tuple(_deployment(d) for d in found))


def _deployment(deployment: Deployment) -> DeploymentStatus:
    state = rollout_state(deployment)
    return DeploymentStatus(
        deployment.metadata.name,
        deployment.status.ready_replicas,
        deployment.spec.replicas,
        state.is_complete,
        state.words,
        deployment.spec.template.metadata.annotations.get(DIGEST_ANNOTATION),
    )
