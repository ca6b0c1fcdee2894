"""Submitting a training Job once, and following it to its end through every interruption."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from deploy.cluster import Cluster
from deploy.errors import ClusterError, JobError, Reason
from deploy.job_template import CHART, DIGEST_ANNOTATION, JobManifest, TrainingRequest, job_manifest, template_name
from deploy.kinds import CRON_JOB, EVENT, JOB, JOB_NAME_LABEL, POD, Event, Job, Pod
from deploy.log_stream import LogStreams
from deploy.outcome import JobOutcome, outcome_of
from deploy.pending import Explanation, explain_job, explain_pod

# How often is looked again where no watch says that something changed: events, deadlines.
LOOK_S = 5.0
# After a broken watch, and the first look after a change: controllers write several objects one after the other.
BREATH_S = 0.2
DELETION_S = 60.0


@dataclass(frozen=True)
class Submission:
    """A Job that is there.

    Attributes
    ----------
    is_new
        Whether this call made it; else it was there already, with the same content.
    """

    name: str
    uid: str
    is_new: bool


@dataclass(frozen=True)
class Limits:
    """How long to wait; ``None`` is for ever.

    Attributes
    ----------
    whole_s
        For the end of the Job.
    pending_s
        For a container of it to start.
    """

    whole_s: float | None = None
    pending_s: float | None = None


@dataclass(frozen=True)
class Snapshot:
    """One look at a Job.

    Attributes
    ----------
    pods_version
        From which changes of the pods can be watched.
    waits
        Why nothing runs, if nothing does.
    """

    job: Job
    pods: tuple[Pod, ...]
    pods_version: str
    waits: Explanation | None

    @property
    def is_running(self) -> bool:
        """Whether a container of the Job runs."""
        return any(pod.has_started and not pod.has_ended for pod in self.pods)


class Listener(Protocol):
    """Who is told what happens."""

    def looked(self, snapshot: Snapshot) -> None:
        """After every look, whether anything changed or not."""

    def line(self, pod: str, text: str) -> None:
        """With every line of a log, from other threads."""


def submit(cluster: Cluster, release: str, request: TrainingRequest, *, rerun: bool = False) -> Submission:
    """Create the Job of a request, unless it is there.

    Parameters
    ----------
    release
        Of the training chart.
    rerun
        Replace the Job if it has ended. Its pod continues in the same run folder.

    Raises
    ------
    JobError
        ``JOB_MISMATCH`` if a Job of this name does something else; ``TEMPLATE_INVALID``.
    ClusterError
        ``RELEASE_NOT_FOUND`` if the chart is not installed, and the reasons of the API server.
    """
    template = cluster.find(CRON_JOB, template_name(release))
    if template is None:
        raise ClusterError(
            Reason.RELEASE_NOT_FOUND,
            f"namespace {cluster.namespace} has no CronJob {template_name(release)}: is chart {CHART} installed there as "
            f"release {release}?",
        )
    manifest = job_manifest(template, request)
    found = cluster.find(JOB, manifest.name)
    if found is not None and rerun and found.ending is not None:
        _delete(cluster, found)
        found = None
    if found is not None:
        return _existing(found, manifest)
    try:
        made = cluster.create(JOB, manifest.document)
    except ClusterError as error:
        # Someone else was quicker, or an answer of our own was lost on the way.
        found = cluster.find(JOB, manifest.name) if error.reason is Reason.OBJECT_CONFLICT else None
        if found is None:
            raise
        return _existing(found, manifest)
    return Submission(made.metadata.name, made.metadata.uid, is_new=True)


def follow(cluster: Cluster, submission: Submission, listener: Listener, limits: Limits, *, logs: bool = True) -> JobOutcome:
    """Wait for the end of a Job, telling the listener what happens.

    Every look lists anew and watches are only asked when to look again, so a lost watch, an expired resource version (410) or a
    restart of the API server costs a moment and nothing else.

    Raises
    ------
    JobError
        ``JOB_DELETED``; after ``limits``, ``DEADLINE_EXCEEDED`` or why the pod does not start. The Job goes on.
    ClusterError
        The reasons of the API server.
    """
    began, started = time.monotonic(), False
    with closing(LogStreams(cluster, listener.line)) as streams:
        while True:
            snapshot = look(cluster, submission)
            listener.looked(snapshot)
            if logs:
                streams.attach(snapshot.pods)
            outcome = outcome_of(snapshot.job, snapshot.pods)
            if outcome is not None:
                return outcome
            started = started or snapshot.is_running or any(pod.has_ended for pod in snapshot.pods)
            left_s = _check_limits(snapshot, limits, time.monotonic() - began, started=started)
            _wait(cluster, snapshot, min(left_s, LOOK_S))


def look(cluster: Cluster, submission: Submission) -> Snapshot:
    """Read a Job, its pods and, if none of them runs, what keeps them.

    Raises
    ------
    JobError
        ``JOB_DELETED`` if the Job is gone, or is another one of the same name.
    """
    job = cluster.find(JOB, submission.name)
    if job is None or job.metadata.uid != submission.uid:
        raise JobError(
            Reason.JOB_DELETED,
            f"Job {submission.name} was deleted{' and replaced' if job is not None else ''}; how it ended is not known",
        )
    pods = cluster.list(POD, labels=f"{JOB_NAME_LABEL}={submission.name}")
    # Pods of an earlier Job of the same name may still be on their way out.
    own = tuple(
        p for p in pods.items if p.metadata.labels.get("batch.kubernetes.io/controller-uid", job.metadata.uid) == submission.uid
    )
    return Snapshot(job, own, pods.metadata.resource_version, _waits(cluster, job, own))


def _waits(cluster: Cluster, job: Job, pods: Sequence[Pod]) -> Explanation | None:
    live = [pod for pod in pods if not pod.has_ended]
    if job.ending is not None or any(pod.has_started for pod in live):
        return None
    if not live:
        return explain_job(job, _events(cluster, job.metadata.uid))
    return explain_pod(live[0], _events(cluster, live[0].metadata.uid))


def _events(cluster: Cluster, uid: str) -> tuple[Event, ...]:
    try:
        found = cluster.list(EVENT, fields=f"involvedObject.uid={uid}").items
    except ClusterError as error:
        # Events only explain; who may not read them is told less.
        if error.reason is Reason.FORBIDDEN:
            return ()
        raise
    return tuple(sorted(found, key=lambda e: int(e.metadata.resource_version or 0)))


def _check_limits(snapshot: Snapshot, limits: Limits, passed_s: float, *, started: bool) -> float:
    """Return the seconds left."""
    name, waits = snapshot.job.metadata.name, snapshot.waits
    goes_on = f"Job {name} goes on; the same command follows it again"
    if limits.pending_s is not None and not started and passed_s >= limits.pending_s:
        found = waits or Explanation(Reason.POD_STARTING, "it has no pod yet")
        raise JobError(found.reason, f"nothing started within {limits.pending_s:.0f} s: {found.message}. {goes_on}")
    if limits.whole_s is not None and passed_s >= limits.whole_s:
        if waits is not None and not started:
            raise JobError(waits.reason, f"nothing started within {limits.whole_s:.0f} s: {waits.message}. {goes_on}")
        raise JobError(Reason.DEADLINE_EXCEEDED, f"not finished within {limits.whole_s:.0f} s. {goes_on}")
    ends = [limits.whole_s, None if started else limits.pending_s]
    return max(BREATH_S, min((end - passed_s for end in ends if end is not None), default=LOOK_S))


def _wait(cluster: Cluster, snapshot: Snapshot, seconds: float) -> None:
    name = snapshot.job.metadata.name
    if any(not pod.has_ended for pod in snapshot.pods):
        change = cluster.wait_for_change(POD, snapshot.pods_version, seconds, labels=f"{JOB_NAME_LABEL}={name}")
    else:
        version = snapshot.job.metadata.resource_version
        change = cluster.wait_for_change(JOB, version, seconds, fields=f"metadata.name={name}")
    if change != "quiet":
        time.sleep(BREATH_S)


def _existing(found: Job, manifest: JobManifest) -> Submission:
    digest = found.metadata.annotations.get(DIGEST_ANNOTATION)
    if digest != manifest.digest:
        raise JobError(
            Reason.JOB_MISMATCH,
            f"Job {manifest.name} is there and does something else (digest {(digest or 'none')[:12]}, asked for "
            f"{manifest.digest[:12]}); choose another --run",
        )
    return Submission(found.metadata.name, found.metadata.uid, is_new=False)


def _delete(cluster: Cluster, found: Job) -> None:
    cluster.delete(JOB, found)
    give_up = time.monotonic() + DELETION_S
    while (left := cluster.find(JOB, found.metadata.name)) is not None and left.metadata.uid == found.metadata.uid:
        if time.monotonic() > give_up:
            raise JobError(
                Reason.DEADLINE_EXCEEDED, f"Job {found.metadata.name} is not gone {DELETION_S:.0f} s after its deletion"
            )
        time.sleep(BREATH_S)
