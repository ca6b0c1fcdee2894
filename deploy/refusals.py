"""What the API server's refusals mean: status code and ``v1`` Status document in, coded error out."""

from __future__ import annotations

import json
from dataclasses import dataclass

from deploy.errors import ClusterError, Reason

UNREACHABLE_STATUS = 0


@dataclass(frozen=True)
class Refusal:
    """An answer other than success.

    Attributes
    ----------
    status
        HTTP status; 0 if there was no answer.
    reason, message
        Of the Status document, such as ``AlreadyExists``; empty if the body is none.
    causes
        One text per faulty field.
    retry_after_s
        What the server asks for.
    """

    status: int
    reason: str = ""
    message: str = ""
    causes: tuple[str, ...] = ()
    retry_after_s: float | None = None


def read_refusal(status: int, body: str, retry_after: str | None = None) -> Refusal:
    """Parse the body of a refusal; a body that is no Status document becomes the message."""
    wait_s = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or document.get("kind") != "Status":
        return Refusal(status, message=body.strip()[:300], retry_after_s=wait_s)
    details = document.get("details") or {}
    causes = tuple(f"{c.get('field', '')}: {c.get('message', '')}" for c in details.get("causes") or [])
    return Refusal(status, document.get("reason") or "", document.get("message") or "", causes, wait_s)


def is_passing(refusal: Refusal) -> bool:
    """Return whether the same request may be answered later: no answer, 429, or a server error."""
    return refusal.status in (UNREACHABLE_STATUS, 429) or refusal.status >= 500


def error_of(refusal: Refusal, what: str) -> ClusterError:
    """Return the error that says what was refused, why, and what to do.

    Parameters
    ----------
    what
        What was asked, such as ``create Job train-1 in namespace ml``.
    """
    reason, hint = _meaning(refusal)
    found = "; ".join(refusal.causes) if refusal.status == 422 and refusal.causes else refusal.message
    return ClusterError(reason, f"cannot {what}: {found or f'HTTP {refusal.status}'}{hint and f'; {hint}'}")


def _meaning(refusal: Refusal) -> tuple[Reason, str]:
    if refusal.status == 403:
        return forbidden_meaning(refusal.message)
    match refusal.status:
        case 0:
            return Reason.CLUSTER_UNREACHABLE, "check the address in the kubeconfig, the network and any VPN"
        case 401:
            return Reason.UNAUTHENTICATED, "the credentials of the kubeconfig are missing or have expired: sign in again"
        case 404:
            return Reason.OBJECT_NOT_FOUND, ""
        case 409:
            return Reason.OBJECT_CONFLICT, ""
        case 400 | 415 | 422:
            return Reason.OBJECT_INVALID, ""
        case _:
            return Reason.CLUSTER_UNAVAILABLE, "the API server is in trouble: try again later"


def forbidden_meaning(message: str) -> tuple[Reason, str]:
    """Tell what forbids something: a quota, pod security, or missing rights; with what to do.

    Parameters
    ----------
    message
        Of a 403 answer, or of an event ``FailedCreate``, which quotes one.
    """
    if "exceeded quota" in message:
        return Reason.QUOTA_EXCEEDED, "wait until others have finished, or ask for a larger ResourceQuota"
    if "PodSecurity" in message:
        return Reason.POD_SECURITY_VIOLATED, "the namespace enforces a stricter pod security level than the pod keeps"
    return Reason.FORBIDDEN, "ask for the Role that the charts describe"
