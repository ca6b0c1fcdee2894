"""A training Job from its submission to its end, against the emulator, with everything in between going wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.cluster import Cluster, Patience, connect
from deploy.errors import ClusterError, DeployError, JobError, Reason
from deploy.job_template import TrainingRequest
from deploy.jobs import Limits, Snapshot, Submission, follow, submit
from deploy.kinds import JOB
from deploy.outcome import JobOutcome
from tests.deploy.conftest import IMAGE
from tests.deploy.emulator.emulator import Emulator
from tests.deploy.emulator.faults import Fault
from tests.deploy.emulator.resources import resource
from tests.deploy.releases import NAMESPACE, install_training

# A test machine may be busy; nothing is waited for longer than it takes.
PATIENT_S = 120.0
LINES = ["[1/2] Cohort", "      line 0", "      line 1", "      line 2", "[2/2] Bundle"]


class Notes:
    """What a listener is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.waits: list[tuple[Reason, str]] = []
        self.looks = 0

    def looked(self, snapshot: Snapshot) -> None:
        self.looks += 1
        if snapshot.waits is not None:
            self.waits.append((snapshot.waits.reason, snapshot.waits.message))

    def line(self, pod: str, text: str) -> None:
        self.lines.append((pod, text))

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.lines]


def asked(**variables: str) -> TrainingRequest:
    return TrainingRequest(environment=tuple(variables.items()))


def train(cluster: Cluster, request: TrainingRequest, notes: Notes | None = None) -> JobOutcome:
    return follow(cluster, submit(cluster, "night", request), notes or Notes(), Limits(PATIENT_S))


def pods_of(emulator: Emulator, job: str) -> list[dict[str, Any]]:
    return [p for p in emulator.store.objects("Pod") if p["metadata"]["labels"].get("job-name") == job]


def background(work: Callable[[], JobOutcome]) -> tuple[threading.Thread, list[JobOutcome | DeployError]]:
    """Run something beside the test; its end is in the list."""
    ends: list[JobOutcome | DeployError] = []

    def run() -> None:
        try:
            ends.append(work())
        except DeployError as error:
            ends.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, ends


def test_a_job_is_followed_to_its_result_with_every_line_of_its_log(cluster: Cluster) -> None:
    notes = Notes()
    outcome = train(cluster, asked(DIGEST="b" * 64), notes)
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("done", 0, None)
    assert outcome.result is not None
    assert outcome.result.bundle_digest == "b" * 64
    assert notes.texts == LINES
    assert [end for _, end in outcome.pods] == ["done"]
    assert outcome.started is not None
    assert outcome.ended is not None


def test_bad_data_fails_the_job_at_once_with_the_reason_of_the_training(cluster: Cluster) -> None:
    outcome = train(cluster, asked(BEHAVIOR="refuse"))
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("refused", 1, Reason.TRAINING_REFUSED)
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "COHORT_TOO_SMALL"
    assert outcome.message == "COHORT_TOO_SMALL 12 patients, at least 30 are required"
    assert len(outcome.pods) == 1


def test_wrong_arguments_keep_their_exit_status(cluster: Cluster) -> None:
    outcome = train(cluster, asked(BEHAVIOR="usage"))
    assert (outcome.state, outcome.exit_code, outcome.message) == ("refused", 2, "exit code 2; its log says why")


def test_a_crash_is_retried_until_the_backoff_limit_and_is_the_clusters_fault(cluster: Cluster) -> None:
    outcome = train(cluster, asked(BEHAVIOR="crash"))
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("failed", 3, Reason.JOB_FAILED)
    assert [end for _, end in outcome.pods] == ["exit code 77", "exit code 77"]
    assert "backoff limit" in outcome.message
    assert "exit code 77" in outcome.message


def test_an_evicted_pod_is_retried_and_does_not_count(emulator: Emulator, cluster: Cluster, tmp_path: Path) -> None:
    notes, gate = Notes(), tmp_path / "gate"
    thread, ends = background(lambda: train(cluster, asked(BEHAVIOR="once", GATE=str(gate)), notes))
    emulator.store.wait_until(gate.exists)
    (pod,) = [p for p in emulator.store.objects("Pod") if "job-name" in p["metadata"]["labels"]]
    assert emulator.kubelet is not None
    emulator.kubelet.worker(NAMESPACE, pod["metadata"]["name"]).evict("node drained")
    thread.join(PATIENT_S)
    (outcome,) = ends
    assert isinstance(outcome, JobOutcome)
    assert outcome.state == "done"
    words = [end for _, end in outcome.pods]
    assert "done" in words
    assert "taken off its node (EvictionByEvictionAPI: node drained)" in words
    assert [text for pod_name, text in notes.lines if pod_name != pod["metadata"]["name"]] == LINES
    job = cluster.read(JOB, outcome.job)
    assert job.status.failed == 0


@pytest.mark.parametrize("action", ["answer", "drop", "drop_after"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", r"/cronjobs/"),
        ("GET", r"/jobs/"),
        ("POST", r"/jobs$"),
        ("GET", r"/pods$"),
        ("GET", r"/events$"),
        ("GET", r"/log$"),
    ],
)
def test_a_call_that_fails_is_repeated_and_nothing_is_done_twice(
    emulator: Emulator, cluster: Cluster, method: str, path: str, action: Any
) -> None:
    emulator.faults.add(Fault(method, path, action=action, count=2))
    notes = Notes()
    outcome = train(cluster, asked(), notes)
    assert outcome.state == "done"
    assert notes.texts == LINES
    assert len(list(emulator.store.objects("Job"))) == 1
    assert len(pods_of(emulator, outcome.job)) == 1
    # Events are asked for only while nothing runs, which may be shorter than two failures.
    assert "/events" in path or not emulator.faults.pending


@pytest.mark.parametrize("code", [429, 502, 503])
def test_a_server_in_trouble_is_waited_for(emulator: Emulator, cluster: Cluster, said: list[str], code: int) -> None:
    emulator.faults.add(Fault("GET", "/jobs/", code=code, count=3))
    assert train(cluster, asked()).state == "done"
    assert said == [f"the API server does not answer ({code}); trying again"] * 3


@pytest.mark.parametrize("action", ["expire", "drop", "drop_after", "answer"])
def test_a_lost_watch_costs_nothing(emulator: Emulator, cluster: Cluster, action: Any) -> None:
    emulator.faults.add(Fault("GET", "", watch=True, action=action, count=5))
    notes = Notes()
    assert train(cluster, asked(), notes).state == "done"
    assert notes.texts == LINES


def test_a_watch_from_before_a_compaction_is_gone_and_begun_anew(emulator: Emulator, cluster: Cluster, tmp_path: Path) -> None:
    """Here 410 is no injected answer: the store has really forgotten."""
    gate, notes = tmp_path / "gate", Notes()
    thread, ends = background(lambda: train(cluster, asked(BEHAVIOR="wait", GATE=str(gate)), notes))
    emulator.store.wait_until(lambda: len(notes.texts) == 4)
    for _ in range(3):
        emulator.store.compact()
        emulator.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"x-{time.monotonic_ns()}"}}, NAMESPACE)
        time.sleep(0.1)
    gate.touch()
    thread.join(PATIENT_S)
    assert [isinstance(end, JobOutcome) and end.state for end in ends] == ["done"]
    assert notes.texts == LINES


def test_logs_that_break_again_and_again_come_whole(emulator: Emulator, cluster: Cluster) -> None:
    emulator.faults.add(Fault("GET", "/log$", action="drop_after", count=6))
    notes = Notes()
    assert train(cluster, asked(EPOCHS="40"), notes).state == "done"
    assert notes.texts == ["[1/2] Cohort", *(f"      line {i}" for i in range(40)), "[2/2] Bundle"]


def test_a_server_that_stays_away_is_an_error_of_its_own(emulator: Emulator) -> None:
    emulator.faults.add(Fault("GET", "/jobs/", count=10_000))
    hasty = Patience(at_first_s=0.1, later_s=0.1, first_pause_s=0.01)
    with pytest.raises(ClusterError) as refused:
        train(connect(emulator.kubeconfig(NAMESPACE), None, None, str, hasty), asked())
    assert (refused.value.reason, refused.value.exit_code) == (Reason.CLUSTER_UNAVAILABLE, 3)


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        (401, "Unauthorized", Reason.UNAUTHENTICATED),
        (403, 'jobs.batch is forbidden: User "jane" cannot create resource "jobs"', Reason.FORBIDDEN),
        (403, "jobs.batch is forbidden: exceeded quota: jobs, requested: count/jobs.batch=1", Reason.QUOTA_EXCEEDED),
        (422, "Job is invalid", Reason.OBJECT_INVALID),
        (404, 'namespaces "ml" not found', Reason.OBJECT_NOT_FOUND),
    ],
)
def test_what_the_server_refuses_is_not_repeated(
    emulator: Emulator, cluster: Cluster, code: int, message: str, reason: Reason
) -> None:
    emulator.faults.add(Fault("POST", "/jobs$", code=code, message=message))
    with pytest.raises(ClusterError, match=message[:20]) as refused:
        submit(cluster, "night", TrainingRequest())
    assert refused.value.reason is reason
    assert [method for method, _ in emulator.requests].count("POST") == 1


def test_two_submissions_are_one_job_and_a_third_with_other_content_is_refused(emulator: Emulator, cluster: Cluster) -> None:
    first, second = (submit(cluster, "night", TrainingRequest(run="june")) for _ in range(2))
    assert (first.is_new, second.is_new, first.uid == second.uid) == (True, False, True)
    with pytest.raises(JobError, match="does something else") as refused:
        submit(cluster, "night", TrainingRequest(run="june", recipe="paper"))
    assert refused.value.reason is Reason.JOB_MISMATCH
    assert len(list(emulator.store.objects("Job"))) == 1


def test_submissions_at_the_same_time_are_one_job(emulator: Emulator, client_of: Callable[[Emulator], Cluster]) -> None:
    found: list[Submission] = []
    clients = [client_of(emulator) for _ in range(6)]
    threads = [threading.Thread(target=lambda c=c: found.append(submit(c, "night", TrainingRequest()))) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENT_S)
    assert sorted(s.is_new for s in found) == [False] * 5 + [True]
    assert len({s.uid for s in found}) == 1


def test_a_finished_job_is_its_result_at_once_and_is_run_again_only_if_asked(emulator: Emulator, cluster: Cluster) -> None:
    first = submit(cluster, "night", asked())
    assert follow(cluster, first, Notes(), Limits(PATIENT_S)).state == "done"
    again = submit(cluster, "night", asked())
    assert (again.is_new, again.uid) == (False, first.uid)
    assert follow(cluster, again, Notes(), Limits(PATIENT_S)).state == "done"
    anew = submit(cluster, "night", asked(), rerun=True)
    assert (anew.is_new, anew.name) == (True, first.name)
    assert anew.uid != first.uid
    assert follow(cluster, anew, Notes(), Limits(PATIENT_S)).state == "done"


def test_a_running_job_is_never_replaced(emulator: Emulator, cluster: Cluster, tmp_path: Path) -> None:
    request = asked(BEHAVIOR="wait", GATE=str(tmp_path / "gate"))
    first = submit(cluster, "night", request)
    assert submit(cluster, "night", request, rerun=True) == Submission(first.name, first.uid, is_new=False)


def test_a_deleted_job_is_said_to_be_deleted(emulator: Emulator, cluster: Cluster, tmp_path: Path) -> None:
    submission = submit(cluster, "night", asked(BEHAVIOR="wait", GATE=str(tmp_path / "gate")))
    notes = Notes()
    thread, ends = background(lambda: follow(cluster, submission, notes, Limits(PATIENT_S)))
    emulator.store.wait_until(lambda: notes.looks > 0)
    emulator.store.delete(resource("Job"), NAMESPACE, submission.name)
    thread.join(PATIENT_S)
    (error,) = ends
    assert isinstance(error, JobError)
    assert error.reason is Reason.JOB_DELETED


def test_a_gpu_that_is_not_there_is_explained(emulator: Emulator, cluster: Cluster) -> None:
    gpu = {"limits": {"nvidia.com/gpu": 1}}
    container = {"name": "train", "image": IMAGE, "resources": gpu}
    install_training(emulator, "gpu", IMAGE, template={"spec": {"restartPolicy": "Never", "containers": [container]}})
    submission = submit(cluster, "gpu", TrainingRequest())
    emulator.store.wait_until(lambda: any(p["status"].get("conditions") for p in pods_of(emulator, submission.name)))
    with pytest.raises(JobError, match=r"too little nvidia.com/gpu free \(the pod asks for 1\)") as refused:
        follow(cluster, submission, Notes(), Limits(None, pending_s=0.0))
    assert (refused.value.reason, refused.value.exit_code) == (Reason.POD_UNSCHEDULABLE, 3)
    assert "goes on" in refused.value.message
    assert cluster.find(JOB, submission.name) is not None


def test_a_quota_in_the_way_is_explained_and_the_job_goes_on_once_it_is_raised(emulator: Emulator, cluster: Cluster) -> None:
    emulator.quota = "exceeded quota: gpu, requested: pods=1, used: pods=4, limited: pods=4"
    notes = Notes()
    thread, ends = background(lambda: train(cluster, asked(), notes))
    emulator.store.wait_until(lambda: bool(notes.waits))
    emulator.quota = None
    thread.join(PATIENT_S)
    assert (Reason.QUOTA_EXCEEDED, "quota gpu is used up: pods=1 asked for, pods=4 in use, pods=4 allowed") in notes.waits
    assert [isinstance(end, JobOutcome) and end.state for end in ends] == ["done"]


def test_an_image_that_is_not_there_is_explained(emulator: Emulator, cluster: Cluster) -> None:
    install_training(emulator, "typo", "registry.example.org/nodogramm:1.0.0")
    submission = submit(cluster, "typo", TrainingRequest())
    emulator.store.wait_until(lambda: "ErrImageNeverPull" in str(pods_of(emulator, submission.name)))
    with pytest.raises(JobError, match=r"nodogramm:1\.0\.0 cannot be pulled") as refused:
        follow(cluster, submission, Notes(), Limits(None, pending_s=0.0))
    assert refused.value.reason is Reason.IMAGE_UNAVAILABLE


def test_a_job_of_a_queue_waits_until_it_is_let_in(emulator: Emulator, cluster: Cluster) -> None:
    install_training(emulator, "queue", IMAGE, suspend=True)
    submission = submit(cluster, "queue", TrainingRequest())
    notes = Notes()
    thread, ends = background(lambda: follow(cluster, submission, notes, Limits(PATIENT_S)))
    emulator.store.wait_until(lambda: bool(notes.waits))
    assert notes.waits[0][0] is Reason.POD_QUEUED
    cluster.patch(JOB, submission.name, {"spec": {"suspend": False}})
    thread.join(PATIENT_S)
    assert [isinstance(end, JobOutcome) and end.state for end in ends] == ["done"]


def test_the_time_allowed_ends_the_waiting_and_not_the_job(cluster: Cluster, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    submission = submit(cluster, "night", asked(BEHAVIOR="wait", GATE=str(gate)))
    with pytest.raises(JobError, match="not finished within 1 s") as refused:
        follow(cluster, submission, Notes(), Limits(1.0))
    assert (refused.value.reason, refused.value.exit_code) == (Reason.DEADLINE_EXCEEDED, 3)
    gate.touch()
    assert follow(cluster, submission, Notes(), Limits(PATIENT_S)).state == "done"


def test_the_deadline_of_the_job_itself_is_told_apart(emulator: Emulator, cluster: Cluster, tmp_path: Path) -> None:
    install_training(emulator, "short", IMAGE, activeDeadlineSeconds=1)
    request = asked(BEHAVIOR="wait", GATE=str(tmp_path / "gate"))
    outcome = follow(cluster, submit(cluster, "short", request), Notes(), Limits(PATIENT_S))
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("failed", 3, Reason.JOB_DEADLINE_EXCEEDED)


def test_a_release_that_is_not_installed_is_named(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="no CronJob noon-nodogram-training") as refused:
        submit(cluster, "noon", TrainingRequest())
    assert refused.value.reason is Reason.RELEASE_NOT_FOUND


def test_who_may_not_read_events_is_only_told_less(emulator: Emulator, cluster: Cluster) -> None:
    emulator.faults.add(Fault("GET", "/events$", code=403, message="forbidden", count=100))
    assert train(cluster, asked()).state == "done"


def test_a_pod_whose_status_says_pending_for_ever(still_emulator: Emulator, client_of: Callable[[Emulator], Cluster]) -> None:
    """Without a kubelet the status is what the test writes: two explanations after each other, then success."""
    emulator, notes = still_emulator, Notes()
    cluster = client_of(emulator)
    submission = submit(cluster, "night", TrainingRequest())
    thread, ends = background(lambda: follow(cluster, submission, notes, Limits(PATIENT_S)))
    emulator.store.wait_until(lambda: bool(pods_of(emulator, submission.name)))
    pod = pods_of(emulator, submission.name)[0]["metadata"]["name"]
    message = "0/4 nodes are available: 4 node(s) had untolerated taint {gpu: yes}."
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    emulator.set_status("Pod", NAMESPACE, pod, conditions=[unschedulable])
    emulator.store.wait_until(lambda: any(reason is Reason.POD_UNSCHEDULABLE for reason, _ in notes.waits))
    assert "reserved by taint gpu=yes" in notes.waits[-1][1]
    ended = {"name": "train", "state": {"terminated": {"exitCode": 0, "message": "no JSON"}}}
    emulator.set_status("Pod", NAMESPACE, pod, phase="Succeeded", conditions=[], containerStatuses=[ended])
    thread.join(PATIENT_S)
    (outcome,) = ends
    assert isinstance(outcome, JobOutcome)
    assert (outcome.state, outcome.result) == ("done", None)
