"""Messages of schedulers and kubelets of Kubernetes 1.30 to 1.34, and the sentences made of them."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import Reason
from deploy.kinds import Event, Job, Pod
from deploy.pending import explain_end, explain_job, explain_pod

GPU_SPEC = {
    "containers": [{"name": "train", "image": "r/train:1", "resources": {"limits": {"nvidia.com/gpu": "2"}}}],
    "volumes": [{"name": "cohort", "persistentVolumeClaim": {"claimName": "cohort"}}],
}


def unscheduled(message: str, reason: str = "Unschedulable") -> Pod:
    found = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return Pod.model_validate({"spec": GPU_SPEC, "status": {"phase": "Pending", "conditions": [found]}})


def waiting(reason: str, message: str = "", **status: Any) -> Pod:
    state = {"name": "train", "image": "r/train:1", "state": {"waiting": {"reason": reason, "message": message}}, **status}
    return Pod.model_validate(
        {"spec": {**GPU_SPEC, "nodeName": "a"}, "status": {"phase": "Pending", "containerStatuses": [state]}}
    )


def event(reason: str, message: str) -> Event:
    return Event.model_validate({"reason": reason, "message": message})


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. preemption: 0/1 nodes are available: 1 No preemption "
            "victims found for incoming pod.",
            Reason.POD_UNSCHEDULABLE,
            "the only node does not take the pod: too little nvidia.com/gpu free (the pod asks for 2)",
        ),
        (
            "0/7 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}, 2 Insufficient "
            "nvidia.com/gpu, 3 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable.",
            Reason.POD_UNSCHEDULABLE,
            "none of 7 nodes takes the pod: 1 has: reserved by taint nvidia.com/gpu=present, which the pod does not tolerate; "
            "2 have: too little nvidia.com/gpu free (the pod asks for 2); 3 have: other labels than nodeSelector or affinity "
            "want; 1 has: closed for new pods (cordoned)",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint(s).",
            Reason.POD_UNSCHEDULABLE,
            "none of 3 nodes takes the pod: 3 have: reserved by taints the pod does not tolerate",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available.",
            Reason.VOLUME_UNAVAILABLE,
            "a volume claim of the pod (cohort) has no volume yet; see kubectl describe pvc",
        ),
        (
            '0/3 nodes are available: persistentvolumeclaim "cohort" not found. preemption: not eligible.',
            Reason.VOLUME_UNAVAILABLE,
            "there is no volume claim cohort; create it or correct the chart's values",
        ),
        (
            "0/2 nodes are available: 2 node(s) had a brand-new obstacle.",
            Reason.POD_UNSCHEDULABLE,
            "none of 2 nodes takes the pod: 2 have: node(s) had a brand-new obstacle",
        ),
        (
            "no nodes available to schedule pods",
            Reason.POD_UNSCHEDULABLE,
            "no node takes the pod: no nodes available to schedule pods",
        ),
    ],
)
def test_what_the_scheduler_says_becomes_plain(message: str, reason: Reason, words: str) -> None:
    found = explain_pod(unscheduled(message), ())
    assert found is not None
    assert (found.reason, found.message) == (reason, words)


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (unscheduled("gated", "SchedulingGated"), Reason.POD_QUEUED, "scheduling gate"),
        (
            waiting("ImagePullBackOff", "manifest unknown"),
            Reason.IMAGE_UNAVAILABLE,
            "r/train:1 cannot be pulled (manifest unknown)",
        ),
        (waiting("InvalidImageName"), Reason.IMAGE_UNAVAILABLE, "InvalidImageName"),
        (
            waiting("CreateContainerConfigError", 'secret "t" not found'),
            Reason.CONTAINER_CONFIG_INVALID,
            'secret "t" not found',
        ),
        (
            waiting(
                "CrashLoopBackOff", lastState={"terminated": {"exitCode": 1, "message": "x\nBUNDLE_NOT_FOUND it is gone\n"}}
            ),
            Reason.CONTAINER_CRASHED,
            "exit code 1, BUNDLE_NOT_FOUND it is gone",
        ),
        (waiting("ContainerCreating"), Reason.POD_STARTING, "on node a"),
        (Pod(), Reason.POD_STARTING, "not been looked at"),
    ],
)
def test_what_the_kubelet_waits_for_becomes_plain(pod: Pod, reason: Reason, words: str) -> None:
    found = explain_pod(pod, ())
    assert found is not None
    assert found.reason is reason
    assert words in found.message


def test_a_volume_that_cannot_be_mounted_is_in_the_events() -> None:
    events = (event("Scheduled", "ok"), event("FailedMount", 'MountVolume.SetUp failed for volume "cohort": timed out'))
    found = explain_pod(waiting("ContainerCreating"), events)
    assert found is not None
    assert found.reason is Reason.VOLUME_UNAVAILABLE
    assert "timed out" in found.message


def test_a_running_pod_needs_no_explanation() -> None:
    state = {"name": "train", "state": {"running": {}}}
    assert explain_pod(Pod.model_validate({"status": {"phase": "Running", "containerStatuses": [state]}}), ()) is None


def test_a_job_in_a_queue_a_suspended_one_and_one_without_quota() -> None:
    queued = Job.model_validate({"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "gpus"}}, "spec": {"suspend": True}})
    suspended = Job.model_validate({"spec": {"suspend": True}})
    quota = event("FailedCreate", "pods is forbidden: exceeded quota: gpu, requested: pods=1, used: pods=4, limited: pods=4")
    found = [explain_job(queued, ()), explain_job(suspended, ()), explain_job(Job(), (quota,)), explain_job(Job(), ())]
    assert [None if e is None else (e.reason.value, e.message) for e in found] == [
        ("POD_QUEUED", "Kueue holds the Job in queue gpus until there is room for it"),
        ("POD_QUEUED", "the Job is suspended: nothing starts until its spec.suspend is false"),
        ("QUOTA_EXCEEDED", "quota gpu is used up: pods=1 asked for, pods=4 in use, pods=4 allowed"),
        None,
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"phase": "Succeeded"}, "done"),
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "evicted (low on memory)"),
        (
            {
                "phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
            },
            "taken off its node (PreemptionByScheduler: )",
        ),
        ({"phase": "Failed"}, "failed before its container started"),
        ({"code": 137, "reason": "OOMKilled"}, "killed because it needed more memory than its limit"),
        ({"code": 143}, "ended by SIGTERM (exit code 143)"),
        ({"code": 134}, "ended by signal 6 (exit code 134)"),
        ({"code": 5}, "exit code 5"),
    ],
)
def test_how_a_pod_ended(status: dict[str, Any], words: str) -> None:
    if "code" in status:
        ending = {"exitCode": status["code"], "reason": status.get("reason", "Error")}
        status = {"phase": "Failed", "containerStatuses": [{"name": "train", "state": {"terminated": ending}}]}
    assert explain_end(Pod.model_validate({"spec": GPU_SPEC, "status": status})).startswith(words)
