"""Every reason has its status in every protocol, and no client can cause an internal error."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from nodogram.errors import Reason
from serving.status import status_of

# Raised before or besides requests: commands, training, the start of a server.
_NOT_OF_REQUESTS = (
    "FILE_NOT_FOUND",
    "COHORT",
    "PATIENT",
    "OUTCOME",
    "SPLIT",
    "RECIPE",
    "SETTINGS",
    "WEIGHTS",
    "BUNDLE",
    "EXPORT",
)
_NOT_OF_REQUESTS += ("HELD_OUT", "MODEL", "RUN", "DEPENDENCY", "OUTPUT", "PROVIDER", "FEATURE_UNKNOWN", "INTERNAL")


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason(reason: Reason) -> None:
    status = status_of(reason)
    is_internal = status.http == 500
    assert is_internal == (status.grpc is StatusCode.INTERNAL) == reason.startswith(_NOT_OF_REQUESTS)
    assert 400 <= status.http < 600
    assert status.title
    # Clients repeat what failed by 5xx and UNAVAILABLE, never what they were to correct.
    assert (status.http >= 500) == (
        status.grpc
        in (StatusCode.INTERNAL, StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.DEADLINE_EXCEEDED)
    )
