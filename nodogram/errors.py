"""The one error tree, each leaf identified by a stable reason.

    NodogramError
    ├── ImageError          the image series cannot be trusted
    ├── RegionError         the tumor outline cannot be used with this image
    ├── CohortError         the cohort table or a clinical record is wrong
    ├── SettingsError       a recipe, setting or weight file is wrong
    ├── FeatureError        a feature could not be computed or is unknown
    ├── BundleError         a bundle is damaged, foreign or does not reproduce
    ├── TrainingError       a run cannot go on, or would leak
    ├── ServiceError        a request cannot be taken, or the server cannot serve
    └── SurroundingsError   something this command needs is not installed or not writable

Every error carries a :class:`Reason`. Protocols translate reasons, never classes or texts, so a reason keeps its
spelling for ever. Messages say which thing, what was found and what is required; never a patient's name.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class Reason(StrEnum):
    """Stable upper-snake codes of everything that can be refused."""

    # image
    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    UNREADABLE_FILE = "UNREADABLE_FILE"
    NO_IMAGES = "NO_IMAGES"
    MULTIPLE_SERIES = "MULTIPLE_SERIES"
    NOT_CT = "NOT_CT"
    NO_GEOMETRY = "NO_GEOMETRY"
    MIXED_ORIENTATION = "MIXED_ORIENTATION"
    MIXED_MATRIX = "MIXED_MATRIX"
    MIXED_PIXEL_SPACING = "MIXED_PIXEL_SPACING"
    MIXED_FRAME_OF_REFERENCE = "MIXED_FRAME_OF_REFERENCE"
    BAD_ORIENTATION = "BAD_ORIENTATION"
    TOO_FEW_SLICES = "TOO_FEW_SLICES"
    OVERLAPPING_POSITIONS = "OVERLAPPING_POSITIONS"
    MISSING_SLICES = "MISSING_SLICES"
    NONUNIFORM_SPACING = "NONUNIFORM_SPACING"
    GANTRY_TILT = "GANTRY_TILT"
    NO_RESCALE = "NO_RESCALE"
    NOT_HU = "NOT_HU"
    PIXEL_DECODE = "PIXEL_DECODE"
    NOT_FINITE = "NOT_FINITE"
    GEOMETRY_INVALID = "GEOMETRY_INVALID"
    IMAGE_TOO_LARGE = "IMAGE_TOO_LARGE"
    # region of interest
    ROI_NOT_FOUND = "ROI_NOT_FOUND"
    ROI_AMBIGUOUS = "ROI_AMBIGUOUS"
    ROI_EMPTY = "ROI_EMPTY"
    ROI_TOO_SMALL = "ROI_TOO_SMALL"
    ROI_TOUCHES_BORDER = "ROI_TOUCHES_BORDER"
    ROI_OUTSIDE_IMAGE = "ROI_OUTSIDE_IMAGE"
    ROI_GEOMETRY_MISMATCH = "ROI_GEOMETRY_MISMATCH"
    ROI_FRAME_OF_REFERENCE_MISMATCH = "ROI_FRAME_OF_REFERENCE_MISMATCH"
    ROI_CONTOUR_INVALID = "ROI_CONTOUR_INVALID"
    # cohort and clinical record
    COHORT_INVALID = "COHORT_INVALID"
    COHORT_TOO_SMALL = "COHORT_TOO_SMALL"
    PATIENT_DUPLICATE = "PATIENT_DUPLICATE"
    OUTCOME_INVALID = "OUTCOME_INVALID"
    SPLIT_INVALID = "SPLIT_INVALID"
    CLINICAL_PREDICTOR_MISSING = "CLINICAL_PREDICTOR_MISSING"
    CLINICAL_PREDICTOR_UNKNOWN = "CLINICAL_PREDICTOR_UNKNOWN"
    CLINICAL_VALUE_INVALID = "CLINICAL_VALUE_INVALID"
    # settings
    RECIPE_INVALID = "RECIPE_INVALID"
    SETTINGS_INVALID = "SETTINGS_INVALID"
    WEIGHTS_UNAVAILABLE = "WEIGHTS_UNAVAILABLE"
    WEIGHTS_DIGEST_MISMATCH = "WEIGHTS_DIGEST_MISMATCH"
    # features
    FEATURE_NOT_FINITE = "FEATURE_NOT_FINITE"
    FEATURE_UNKNOWN = "FEATURE_UNKNOWN"
    FEATURE_GRAY_LEVELS = "FEATURE_GRAY_LEVELS"
    # bundle
    BUNDLE_NOT_FOUND = "BUNDLE_NOT_FOUND"
    BUNDLE_MANIFEST_INVALID = "BUNDLE_MANIFEST_INVALID"
    BUNDLE_FORMAT_UNSUPPORTED = "BUNDLE_FORMAT_UNSUPPORTED"
    BUNDLE_FILE_MISSING = "BUNDLE_FILE_MISSING"
    BUNDLE_FILE_UNLISTED = "BUNDLE_FILE_UNLISTED"
    BUNDLE_DIGEST_MISMATCH = "BUNDLE_DIGEST_MISMATCH"
    BUNDLE_SOFTWARE_MISMATCH = "BUNDLE_SOFTWARE_MISMATCH"
    BUNDLE_KNOWN_ANSWER_FAILED = "BUNDLE_KNOWN_ANSWER_FAILED"
    # training
    EXPORT_PARITY_FAILED = "EXPORT_PARITY_FAILED"
    HELD_OUT_PATIENT_IN_FIT = "HELD_OUT_PATIENT_IN_FIT"
    MODEL_FIT_FAILED = "MODEL_FIT_FAILED"
    RUN_EXISTS = "RUN_EXISTS"
    RUN_MISMATCH = "RUN_MISMATCH"
    RUN_WORKER_KILLED = "RUN_WORKER_KILLED"
    # service
    REQUEST_INVALID = "REQUEST_INVALID"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    ARCHIVE_INVALID = "ARCHIVE_INVALID"
    ARCHIVE_TOO_LARGE = "ARCHIVE_TOO_LARGE"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    ENDPOINT_UNKNOWN = "ENDPOINT_UNKNOWN"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    QUEUE_FULL = "QUEUE_FULL"
    NOT_READY = "NOT_READY"
    CANCELLED = "CANCELLED"
    CASE_WORKER_KILLED = "CASE_WORKER_KILLED"
    PROVIDER_UNAVAILABLE = "PROVIDER_UNAVAILABLE"
    INTERNAL = "INTERNAL"
    # surroundings
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    DEPENDENCY_MISSING = "DEPENDENCY_MISSING"
    OUTPUT_NOT_WRITABLE = "OUTPUT_NOT_WRITABLE"


class NodogramError(Exception):
    """Base of every expected failure.

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


class ImageError(NodogramError):
    """The image series cannot be turned into a trustworthy CT volume."""


class RegionError(NodogramError):
    """The tumor outline cannot be used with this image."""


class CohortError(NodogramError):
    """The cohort table, its description or a clinical record is wrong."""


class SettingsError(NodogramError):
    """A recipe, a setting or a weight file is wrong."""


class FeatureError(NodogramError):
    """A feature is unknown or has no finite value for this region."""


class BundleError(NodogramError):
    """A bundle is damaged, foreign, newer than this software, or does not reproduce its known answers."""


class TrainingError(NodogramError):
    """A training run cannot go on, or would use a patient it must not see."""


class ServiceError(NodogramError):
    """A request is malformed, too large, unauthenticated or too many, or the server cannot serve."""


class SurroundingsError(NodogramError):
    """Something the command needs is not installed, not writable, or not fast enough for the time allowed."""
