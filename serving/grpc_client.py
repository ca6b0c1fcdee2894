"""The same client over gRPC: files are streamed in chunks, the answer is the same document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar, cast

import grpc
from google.rpc import error_details_pb2, status_pb2
from nodogram_api.v1 import nomogram_pb2 as messages
from nodogram_api.v1.nomogram_pb2_grpc import NomogramServiceStub

from serving.client import RefusedError, opened
from serving.documents import ContributionDocument, DlrScoreDocument, NoteDocument, PredictionDocument
from serving.wire import clinical_message

CHUNK_BYTES = 2**18
_DETAILS = "grpc-status-details-bin"
_IMAGE_FORMATS: dict[str, messages.ImageFormat] = {
    ".zip": messages.IMAGE_FORMAT_DICOM_ZIP,
    ".dcm": messages.IMAGE_FORMAT_DICOM,
    ".nii": messages.IMAGE_FORMAT_NIFTI,
    ".nii.gz": messages.IMAGE_FORMAT_NIFTI_GZIP,
    ".nrrd": messages.IMAGE_FORMAT_NRRD,
}
_ROI_FORMATS: dict[str, messages.RoiFormat] = {
    ".dcm": messages.ROI_FORMAT_DICOM,
    ".nii": messages.ROI_FORMAT_NIFTI,
    ".nii.gz": messages.ROI_FORMAT_NIFTI_GZIP,
    ".nrrd": messages.ROI_FORMAT_NRRD,
}


_Format = TypeVar("_Format")


class GrpcClient:
    """Asks one server; may be used by several threads.

    Parameters
    ----------
    target
        ``host:port``.
    token
        Bearer token, where the server wants one.
    timeout_s
        For one request, s; the server gives up with the client.
    credentials
        For TLS; ``None`` for a connection in clear.
    """

    def __init__(
        self,
        target: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._channel = grpc.insecure_channel(target) if credentials is None else grpc.secure_channel(target, credentials)
        self._stub = NomogramServiceStub(self._channel)
        self._timeout_s = timeout_s
        self._metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def predict(
        self,
        image: Path,
        roi: Path,
        *,
        clinical: Mapping[str, str | float] | None = None,
        roi_name: str | None = None,
        case_id: str | None = None,
        nomogram_required: bool = False,
    ) -> PredictionDocument:
        """Predict one case; parameters as for :meth:`serving.client.Client.predict`.

        Raises
        ------
        RefusedError
            With the reason.
        """
        with ExitStack() as stack:
            name, image_stream = stack.enter_context(opened(image))
            header = messages.PredictHeader(
                case_id=case_id or "",
                roi_name=roi_name or "",
                clinical=clinical_message(clinical or {}),
                nomogram_required=nomogram_required,
                image_format=_format(name, _IMAGE_FORMATS, messages.IMAGE_FORMAT_UNSPECIFIED),
                roi_format=_format(roi.name, _ROI_FORMATS, messages.ROI_FORMAT_UNSPECIFIED),
            )
            requests = _requests(header, image_stream, stack.enter_context(roi.open("rb")))
            try:
                response = self._stub.Predict(requests, timeout=self._timeout_s, metadata=self._metadata)
            except grpc.RpcError as error:
                # What a stub raises is always a call as well; its types do not say so.
                raise refusal(cast("grpc.Call", error)) from error
        return prediction_of(response.prediction)


def prediction_of(found: messages.Prediction) -> PredictionDocument:
    """Return the answer as the document HTTP would have given."""
    return PredictionDocument(
        case_id=found.case_id,
        outcome=found.outcome,
        probability=found.probability if found.HasField("probability") else None,
        linear_predictor=found.linear_predictor if found.HasField("linear_predictor") else None,
        total_points=found.total_points if found.HasField("total_points") else None,
        contributions=tuple(
            ContributionDocument(
                predictor=c.predictor,
                label=c.label,
                value=c.value.level if c.value.WhichOneof("kind") == "level" else c.value.number,
                points=c.points,
                linear_predictor=c.linear_predictor,
            )
            for c in found.contributions
        ),
        dlr_score=DlrScoreDocument(
            probability=found.dlr_score.probability, logit=found.dlr_score.logit, branches=dict(found.dlr_score.branches)
        ),
        threshold=found.threshold,
        is_positive=found.is_positive if found.HasField("is_positive") else None,
        notes=tuple(NoteDocument(code=note.code, message=note.message) for note in found.notes),
        bundle_digest=found.bundle_digest,
        stage_s=dict(found.stage_s),
    )


def refusal(error: grpc.Call) -> RefusedError:
    """Return what a failed call says of its reason (``google.rpc.ErrorInfo``)."""
    code, text = error.code().name, error.details() or ""
    metadata: dict[str, str | bytes] = {}
    for key, value in (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())):
        metadata[key] = value
    status = status_pb2.Status.FromString(metadata.get(_DETAILS, b""))
    request_id = metadata.get("x-request-id")
    reason, wait = code, None
    for detail in status.details:
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            wait = retry.retry_delay.ToTimedelta().total_seconds()
    return RefusedError(None, reason, text, request_id if isinstance(request_id, str) else None, wait)


def _format(name: str, known: Mapping[str, _Format], unknown: _Format) -> _Format:
    return next((code for suffix, code in known.items() if name.lower().endswith(suffix)), unknown)


def _requests(header: messages.PredictHeader, image: IO[bytes], roi: IO[bytes]) -> Iterator[messages.PredictRequest]:
    yield messages.PredictRequest(header=header)
    while chunk := image.read(CHUNK_BYTES):
        yield messages.PredictRequest(image_chunk=chunk)
    while chunk := roi.read(CHUNK_BYTES):
        yield messages.PredictRequest(roi_chunk=chunk)
