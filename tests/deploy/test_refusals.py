"""Answers of API servers, as they are written in the wild, and what they mean."""

from __future__ import annotations

import json

import pytest

from deploy.errors import DeployError, Reason, exit_code_of
from deploy.refusals import Refusal, error_of, is_passing, read_refusal

QUOTA = (
    'pods "train-x7" is forbidden: exceeded quota: gpu, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=4, '
    "limited: requests.nvidia.com/gpu=4"
)
SECURITY = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
RIGHTS = 'jobs.batch is forbidden: User "jane" cannot create resource "jobs" in API group "batch" in the namespace "ml"'


@pytest.mark.parametrize(
    ("status", "message", "reason", "exit_code"),
    [
        (0, "Connection refused", Reason.CLUSTER_UNREACHABLE, 3),
        (400, "bad request", Reason.OBJECT_INVALID, 1),
        (401, "Unauthorized", Reason.UNAUTHENTICATED, 1),
        (403, RIGHTS, Reason.FORBIDDEN, 1),
        (403, QUOTA, Reason.QUOTA_EXCEEDED, 3),
        (403, SECURITY, Reason.POD_SECURITY_VIOLATED, 1),
        (404, 'cronjobs.batch "x" not found', Reason.OBJECT_NOT_FOUND, 1),
        (409, "the object has been modified", Reason.OBJECT_CONFLICT, 1),
        (422, "invalid", Reason.OBJECT_INVALID, 1),
        (429, "too many requests", Reason.CLUSTER_UNAVAILABLE, 3),
        (500, "etcdserver: leader changed", Reason.CLUSTER_UNAVAILABLE, 3),
        (503, "apiserver is shutting down", Reason.CLUSTER_UNAVAILABLE, 3),
    ],
)
def test_each_status_has_its_reason_and_is_quoted(status: int, message: str, reason: Reason, exit_code: int) -> None:
    error = error_of(Refusal(status, message=message), "create Job x")
    assert (error.reason, error.exit_code) == (reason, exit_code)
    assert error.message.startswith(f"cannot create Job x: {message}")


def test_faulty_fields_are_named_one_by_one() -> None:
    causes = [{"field": "spec.backoffLimit", "message": "must be >= 0"}, {"field": "metadata.name", "message": "too long"}]
    body = json.dumps({"kind": "Status", "reason": "Invalid", "message": "Job is invalid: ...", "details": {"causes": causes}})
    error = error_of(read_refusal(422, body), "create Job x")
    assert error.message == "cannot create Job x: spec.backoffLimit: must be >= 0; metadata.name: too long"


def test_a_proxy_page_instead_of_a_status_document_is_shown_shortened() -> None:
    refusal = read_refusal(502, "<html>" + "x" * 1000, "7")
    assert (len(refusal.message), refusal.retry_after_s, refusal.reason) == (300, 7.0, "")


@pytest.mark.parametrize(("status", "passing"), [(0, True), (429, True), (500, True), (504, True), (409, False), (403, False)])
def test_what_may_pass_is_repeated(status: int, passing: bool) -> None:
    assert is_passing(Refusal(status)) is passing


def test_every_reason_has_its_own_spelling_and_an_exit_status() -> None:
    assert all(reason.value == reason.name and exit_code_of(reason) in (1, 3) for reason in Reason)
    assert str(DeployError(Reason.FORBIDDEN, "no")) == "FORBIDDEN: no"
