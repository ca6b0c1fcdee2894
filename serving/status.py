"""The one table from reasons to the status codes of HTTP (RFC 9110) and gRPC."""

from __future__ import annotations

from dataclasses import dataclass

from grpc import StatusCode

from nodogram.errors import Reason

OK = "OK"
"""What stands for no reason in metrics and logs."""


@dataclass(frozen=True)
class Status:
    """How one reason is said in each protocol.

    Attributes
    ----------
    http
        Status code.
    grpc
        Canonical code.
    title
        Summary of the kind of problem, the same for every occurrence (RFC 9457).
    """

    http: int
    grpc: StatusCode
    title: str


_MALFORMED = Status(400, StatusCode.INVALID_ARGUMENT, "The request is malformed")
_TOO_LARGE = Status(413, StatusCode.INVALID_ARGUMENT, "The request is too large")
_UNUSABLE = Status(422, StatusCode.INVALID_ARGUMENT, "The case cannot be used")
_CLINICAL = Status(422, StatusCode.INVALID_ARGUMENT, "A clinical finding cannot be used")
_BROKEN = Status(500, StatusCode.INTERNAL, "The server failed")

# Whatever is not named here is a failure of the server: a client can cause none of it.
_TABLE: dict[Reason, Status] = {
    Reason.REQUEST_INVALID: _MALFORMED,
    Reason.ARCHIVE_INVALID: _MALFORMED,
    Reason.REQUEST_TOO_LARGE: _TOO_LARGE,
    Reason.ARCHIVE_TOO_LARGE: _TOO_LARGE,
    Reason.IMAGE_TOO_LARGE: _TOO_LARGE,
    Reason.UNSUPPORTED_FORMAT: Status(415, StatusCode.INVALID_ARGUMENT, "The kind of file is not supported"),
    Reason.UNAUTHENTICATED: Status(401, StatusCode.UNAUTHENTICATED, "A valid bearer token is required"),
    Reason.ENDPOINT_UNKNOWN: Status(404, StatusCode.UNIMPLEMENTED, "There is nothing at this address"),
    Reason.METHOD_NOT_ALLOWED: Status(405, StatusCode.UNIMPLEMENTED, "The method is not allowed here"),
    Reason.QUEUE_FULL: Status(503, StatusCode.RESOURCE_EXHAUSTED, "The server is busy"),
    Reason.NOT_READY: Status(503, StatusCode.UNAVAILABLE, "The server is not ready"),
    Reason.CASE_WORKER_KILLED: Status(503, StatusCode.UNAVAILABLE, "The process working on the case was killed"),
    Reason.DEADLINE_EXCEEDED: Status(504, StatusCode.DEADLINE_EXCEEDED, "The time allowed ended"),
    Reason.CANCELLED: Status(499, StatusCode.CANCELLED, "The caller went away"),
    **dict.fromkeys(
        (
            Reason.UNREADABLE_FILE,
            Reason.NO_IMAGES,
            Reason.MULTIPLE_SERIES,
            Reason.NOT_CT,
            Reason.NO_GEOMETRY,
            Reason.MIXED_ORIENTATION,
            Reason.MIXED_MATRIX,
            Reason.MIXED_PIXEL_SPACING,
            Reason.MIXED_FRAME_OF_REFERENCE,
            Reason.BAD_ORIENTATION,
            Reason.TOO_FEW_SLICES,
            Reason.OVERLAPPING_POSITIONS,
            Reason.MISSING_SLICES,
            Reason.NONUNIFORM_SPACING,
            Reason.GANTRY_TILT,
            Reason.NO_RESCALE,
            Reason.NOT_HU,
            Reason.PIXEL_DECODE,
            Reason.NOT_FINITE,
            Reason.GEOMETRY_INVALID,
            Reason.ROI_NOT_FOUND,
            Reason.ROI_AMBIGUOUS,
            Reason.ROI_EMPTY,
            Reason.ROI_TOO_SMALL,
            Reason.ROI_TOUCHES_BORDER,
            Reason.ROI_OUTSIDE_IMAGE,
            Reason.ROI_GEOMETRY_MISMATCH,
            Reason.ROI_FRAME_OF_REFERENCE_MISMATCH,
            Reason.ROI_CONTOUR_INVALID,
            Reason.FEATURE_NOT_FINITE,
            Reason.FEATURE_GRAY_LEVELS,
        ),
        _UNUSABLE,
    ),
    **dict.fromkeys(
        (Reason.CLINICAL_PREDICTOR_MISSING, Reason.CLINICAL_PREDICTOR_UNKNOWN, Reason.CLINICAL_VALUE_INVALID), _CLINICAL
    ),
}


def status_of(reason: Reason) -> Status:
    """Return how a reason is said in each protocol; a reason no client can cause is a failure of the server."""
    return _TABLE.get(reason, _BROKEN)
