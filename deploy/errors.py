"""What the cluster client refuses, each with a stable reason; it has a tree of its own because it installs without the core.

    DeployError
    ├── ClusterError      the API server cannot be reached, or says no
    ├── JobError          a Job cannot be submitted, does not start or does not end well
    └── PromotionError    a bundle cannot be promoted, or its rollout fails

Words shared with ``nodogram.errors`` mean the same there.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Reason(StrEnum):
    """Stable upper-snake codes; they keep their spelling for ever."""

    # the API server
    CLUSTER_CONFIG_INVALID = "CLUSTER_CONFIG_INVALID"
    CLUSTER_UNREACHABLE = "CLUSTER_UNREACHABLE"
    CLUSTER_UNAVAILABLE = "CLUSTER_UNAVAILABLE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    FORBIDDEN = "FORBIDDEN"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    POD_SECURITY_VIOLATED = "POD_SECURITY_VIOLATED"
    OBJECT_NOT_FOUND = "OBJECT_NOT_FOUND"
    OBJECT_CONFLICT = "OBJECT_CONFLICT"
    OBJECT_INVALID = "OBJECT_INVALID"
    RELEASE_NOT_FOUND = "RELEASE_NOT_FOUND"
    # jobs
    TEMPLATE_INVALID = "TEMPLATE_INVALID"
    JOB_MISMATCH = "JOB_MISMATCH"
    JOB_DELETED = "JOB_DELETED"
    JOB_FAILED = "JOB_FAILED"
    JOB_DEADLINE_EXCEEDED = "JOB_DEADLINE_EXCEEDED"
    TRAINING_REFUSED = "TRAINING_REFUSED"
    # why a pod does not start
    POD_QUEUED = "POD_QUEUED"
    POD_UNSCHEDULABLE = "POD_UNSCHEDULABLE"
    POD_STARTING = "POD_STARTING"
    IMAGE_UNAVAILABLE = "IMAGE_UNAVAILABLE"
    VOLUME_UNAVAILABLE = "VOLUME_UNAVAILABLE"
    CONTAINER_CONFIG_INVALID = "CONTAINER_CONFIG_INVALID"
    CONTAINER_CRASHED = "CONTAINER_CRASHED"
    # promotion
    BUNDLE_REFERENCE_INVALID = "BUNDLE_REFERENCE_INVALID"
    DECISION_INVALID = "DECISION_INVALID"
    PROMOTION_CONFLICT = "PROMOTION_CONFLICT"
    ROLLOUT_FAILED = "ROLLOUT_FAILED"
    ROLLBACK_UNAVAILABLE = "ROLLBACK_UNAVAILABLE"
    # surroundings
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    OUTPUT_NOT_WRITABLE = "OUTPUT_NOT_WRITABLE"


REFUSED = 1
USAGE = 2
INFRASTRUCTURE = 3

# Nothing was wrong with what was asked: the same command may succeed later.
_INFRASTRUCTURE = frozenset(
    {
        Reason.CLUSTER_UNREACHABLE,
        Reason.CLUSTER_UNAVAILABLE,
        Reason.QUOTA_EXCEEDED,
        Reason.JOB_DELETED,
        Reason.JOB_FAILED,
        Reason.JOB_DEADLINE_EXCEEDED,
        Reason.POD_QUEUED,
        Reason.POD_UNSCHEDULABLE,
        Reason.POD_STARTING,
        Reason.IMAGE_UNAVAILABLE,
        Reason.VOLUME_UNAVAILABLE,
        Reason.CONTAINER_CRASHED,
        Reason.DEADLINE_EXCEEDED,
    }
)


def exit_code_of(reason: Reason) -> int:
    """Return the exit status of a refusal: 3 if the cluster is to blame and trying again may help, else 1."""
    return INFRASTRUCTURE if reason in _INFRASTRUCTURE else REFUSED


class DeployError(Exception):
    """Base of every expected failure of the cluster client.

    Parameters
    ----------
    reason
        Stable code; what callers branch on.
    message
        What was found, what is required, and what to do if that is not obvious.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"

    @property
    def exit_code(self) -> int:
        """Exit status of a command that ends with this error."""
        return exit_code_of(self.reason)


class ClusterError(DeployError):
    """The API server cannot be reached, does not know the caller, or refuses a request."""


class JobError(DeployError):
    """A Job cannot be submitted, does not start, or is gone."""


class PromotionError(DeployError):
    """A bundle cannot be promoted or rolled back, or its rollout fails."""
