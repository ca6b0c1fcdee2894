"""Between the messages of ``nodogram_api.v1`` and our own types: pure translation, one function for each direction."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from nodogram_api.v1 import nomogram_pb2 as pb

from nodogram.case import ClinicalRecord
from nodogram.errors import ImageError, NodogramError, Reason, ServiceError
from nodogram.geometry import Geometry
from nodogram.predict import Prediction
from serving.admission import QueueFullError
from serving.documents import ModelDocument
from serving.status import status_of
from serving.uploads import MAXIMUM_NAME_LENGTH

ERROR_DOMAIN = "nodogram"
"""Domain of every ``google.rpc.ErrorInfo``."""
MAXIMUM_MESSAGE_BYTES = 1024
"""Of the text of an error: it travels twice in trailing metadata, percent-encoded and in Base64, of which 8 KiB are safe."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXACT_INTEGER = 1e15
_IMAGE_SUFFIXES: Mapping[int, str] = {
    pb.IMAGE_FORMAT_DICOM_ZIP: ".zip",
    pb.IMAGE_FORMAT_DICOM: ".dcm",
    pb.IMAGE_FORMAT_NIFTI: ".nii",
    pb.IMAGE_FORMAT_NIFTI_GZIP: ".nii.gz",
    pb.IMAGE_FORMAT_NRRD: ".nrrd",
}
_ROI_SUFFIXES: Mapping[int, str] = {
    pb.ROI_FORMAT_DICOM: ".dcm",
    pb.ROI_FORMAT_NIFTI: ".nii",
    pb.ROI_FORMAT_NIFTI_GZIP: ".nii.gz",
    pb.ROI_FORMAT_NRRD: ".nrrd",
}
_PROVENANCES = {
    "pathology": pb.OUTCOME_PROVENANCE_PATHOLOGY,
    "clinical": pb.OUTCOME_PROVENANCE_CLINICAL,
}
_KINDS = {
    "categorical": pb.PREDICTOR_KIND_CATEGORICAL,
    "continuous": pb.PREDICTOR_KIND_CONTINUOUS,
}
_PROVIDERS = {
    "cpu": pb.EXECUTION_PROVIDER_CPU,
    "cuda": pb.EXECUTION_PROVIDER_CUDA,
    "tensorrt": pb.EXECUTION_PROVIDER_TENSORRT,
}

_Message = TypeVar("_Message", bound=Message)


def parse(raw: bytes, kind: type[_Message]) -> _Message:
    """Parse one message.

    Raises
    ------
    ServiceError
        ``REQUEST_INVALID`` if the bytes are none; gRPC by itself would call it a failure of the server.
    """
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise invalid(f"a message of {len(raw)} bytes is no {kind.DESCRIPTOR.full_name}") from None


def file_names(header: pb.PredictHeader) -> tuple[str, str]:
    """Return under which names image and outline are to be stored.

    Raises
    ------
    ServiceError
        ``UNSUPPORTED_FORMAT``.
    """
    return (
        "image" + _suffix("image_format", header.image_format, _IMAGE_SUFFIXES),
        "roi" + _suffix("roi_format", header.roi_format, _ROI_SUFFIXES),
    )


def _suffix(name: str, found: int, suffixes: Mapping[int, str]) -> str:
    if found not in suffixes:
        kinds = ", ".join(f"{number} ({suffix})" for number, suffix in suffixes.items())
        raise ServiceError(Reason.UNSUPPORTED_FORMAT, f"{name} is {found}; one of {kinds} is required")
    return suffixes[found]


def label(name: str, text: str) -> str:
    """Return a name the caller chose, checked.

    Raises
    ------
    ServiceError
        ``REQUEST_INVALID`` if it is longer than 128 characters or has a control character.
    """
    if len(text) > MAXIMUM_NAME_LENGTH:
        raise invalid(f"{name} has {len(text)} characters; at most {MAXIMUM_NAME_LENGTH} are allowed")
    if _CONTROL.search(text):
        raise invalid(f"{name} has a control character")
    return text


def clinical_record(values: Mapping[str, pb.ClinicalValue]) -> ClinicalRecord:
    """Return the findings of a request.

    Raises
    ------
    ServiceError
        ``REQUEST_INVALID`` for a finding without a value or a number that is not finite.
    """
    return {name: _finding(name, value) for name, value in values.items()}


def _finding(name: str, value: pb.ClinicalValue) -> str | float:
    if value.HasField("level"):
        return value.level
    if not value.HasField("number"):
        raise invalid(f"clinical: {name[:64]!r} has neither a level nor a number")
    if not math.isfinite(value.number):
        raise invalid(f"clinical: {name[:64]!r}: a finite number is required")
    # As in JSON, a whole number is one: a predictor whose levels are "0" and "1" takes 1.
    return int(value.number) if value.number.is_integer() and abs(value.number) < _EXACT_INTEGER else value.number


def geometry(message: pb.Geometry) -> Geometry:
    """Return the grid of a region.

    Raises
    ------
    ImageError
        ``GEOMETRY_INVALID``.
    """
    for name, required in (("shape", 3), ("spacing_mm", 3), ("origin_mm", 3), ("direction", 9)):
        found = len(getattr(message, name))
        if found != required:
            raise ImageError(Reason.GEOMETRY_INVALID, f"geometry.{name} has {found} values; {required} are required")
    z, y, x = message.shape
    z_mm, y_mm, x_mm = message.spacing_mm
    left_mm, posterior_mm, superior_mm = message.origin_mm
    direction = np.array(message.direction, dtype=np.float64).reshape(3, 3)
    return Geometry((z, y, x), (z_mm, y_mm, x_mm), (left_mm, posterior_mm, superior_mm), direction)


def geometry_message(grid: Geometry) -> pb.Geometry:
    """Return a grid as a caller of ``PredictRegion`` sends it."""
    return pb.Geometry(
        shape=grid.shape, spacing_mm=grid.spacing_mm, origin_mm=grid.origin_mm, direction=grid.direction.ravel().tolist()
    )


def clinical_message(record: ClinicalRecord) -> dict[str, pb.ClinicalValue]:
    """Return findings as a caller sends them."""
    return {name: _value(value) for name, value in record.items()}


def _value(value: str | float) -> pb.ClinicalValue:
    return pb.ClinicalValue(level=value) if isinstance(value, str) else pb.ClinicalValue(number=value)


def prediction_message(prediction: Prediction) -> pb.Prediction:
    """Return a prediction, field by field what :func:`nodogram.present.prediction_document` says in JSON."""
    reading, dlr = prediction.reading, prediction.dlr
    message = pb.Prediction(
        case_id=prediction.case_id,
        outcome=prediction.outcome,
        probability=prediction.probability,
        is_positive=prediction.is_positive,
        dlr_score=pb.DlrScore(probability=dlr.probability, logit=dlr.logit, branches=dict(dlr.branch_probability)),
        threshold=prediction.threshold,
        notes=[pb.Note(code=note.code.value, message=_writable(note.message)) for note in prediction.notes],
        bundle_digest=prediction.bundle_digest,
        stage_s=prediction.stage_s,
    )
    if reading is not None:
        message.linear_predictor = reading.linear_predictor
        message.total_points = reading.total_points
        message.contributions.extend(
            pb.Contribution(
                predictor=c.predictor,
                label=c.label,
                value=_value(c.value),
                points=c.points,
                linear_predictor=c.linear_predictor,
            )
            for c in reading.contributions
        )
    return message


def model_message(model: ModelDocument) -> pb.Model:
    """Return what HTTP says of a model."""
    return pb.Model(
        name=model.name,
        digest=model.digest,
        created=model.created,
        nodogram_version=model.nodogram_version,
        server_version=model.server_version,
        intended_use=model.intended_use,
        outcome=pb.Outcome(
            name=model.outcome.name,
            positive_label=model.outcome.positive_label,
            provenance=_PROVENANCES[model.outcome.provenance],
        ),
        predictors=[
            pb.Predictor(
                name=p.name,
                label=p.label,
                kind=_KINDS[p.kind],
                levels=p.levels,
                reference=p.reference,
                unit=p.unit,
                range=_interval(p.range),
            )
            for p in model.predictors
        ],
        thresholds=[pb.Threshold(name=t.name, value=t.value, rule=t.rule) for t in model.thresholds],
        provider=pb.Provider(wanted=_PROVIDERS[model.provider.wanted], active=model.provider.active),
        acquisition=pb.Acquisition(
            slice_spacing_mm=_interval(model.acquisition.slice_spacing_mm),
            pixel_spacing_mm=_interval(model.acquisition.pixel_spacing_mm),
            region_volume_cm3=_interval(model.acquisition.region_volume_cm3),
            kvp=_interval(model.acquisition.kvp),
            manufacturers=model.acquisition.manufacturers,
            convolution_kernels=model.acquisition.convolution_kernels,
        ),
        training=pb.Training(**model.training.model_dump()),
    )


def _interval(bounds: tuple[float, float] | None) -> pb.Interval | None:
    return None if bounds is None else pb.Interval(low=bounds[0], high=bounds[1])


def error_status(error: NodogramError, request_id: str) -> Status:
    """Return how gRPC says an error (AIP-193): its code, its text, its reason, and when to ask again where that is known."""
    text = _writable(error.message).encode("utf-8")[:MAXIMUM_MESSAGE_BYTES].decode("utf-8", "ignore")
    details: list[Message] = [
        ErrorInfo(reason=error.reason.value, domain=ERROR_DOMAIN, metadata={"request_id": request_id}),
    ]
    if isinstance(error, QueueFullError):
        wait = RetryInfo()
        wait.retry_delay.FromSeconds(error.retry_after_s)
        details.append(wait)
    status = Status(code=status_of(error.reason).grpc.value[0], message=text)
    for detail in details:
        status.details.append(_packed(detail))
    return status


def _packed(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed


def _writable(text: str) -> str:
    # What stands in a DICOM file, however broken, may be quoted.
    return text.encode("utf-8", "replace").decode("utf-8")


def invalid(message: str) -> ServiceError:
    """Return the error of a malformed request."""
    return ServiceError(Reason.REQUEST_INVALID, message)
