"""Translation by itself: nothing is lost between our types and the messages, and nothing wrong passes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from hypothesis import given
from hypothesis import strategies as st
from nodogram_api.v1 import nomogram_pb2 as pb
from small_model import small_bundle, small_prediction

from nodogram.case import NoteCode, QualityNote
from nodogram.errors import NodogramError, Reason, ServiceError
from nodogram.geometry import Geometry
from nodogram.present import prediction_document
from serving import wire
from serving.admission import QueueFullError
from serving.documents import model_document
from serving.status import status_of

QUARTER_TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
GRID = Geometry((3, 4, 5), (5.0, 0.5, 0.25), (-10.0, 20.0, -30.5), QUARTER_TURN)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def as_json(message: Any) -> dict[str, Any]:
    found = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    for contribution in found.get("contributions", []):
        (contribution["value"],) = contribution["value"].values()
    return found


def test_a_prediction_says_in_protobuf_what_it_says_in_json() -> None:
    prediction = small_prediction(score=1.5, site="supraglottic", age=71.0, notes=(NoteCode.OUT_OF_RANGE,))
    found, expected = as_json(wire.prediction_message(prediction)), prediction_document(prediction)
    # JSON rounds the time to tenths of a millisecond.
    assert found.pop("stage_s") == pytest.approx(expected.pop("stage_s"), abs=5e-5)
    assert found == expected


def test_what_is_not_known_is_not_set() -> None:
    message = wire.prediction_message(small_prediction(age=None))
    unset = ("probability", "linear_predictor", "total_points", "is_positive")
    assert [name for name in unset if message.HasField(name)] == []
    assert len(message.contributions) == 0
    assert message.dlr_score.probability == 0.5


def test_a_probability_of_zero_is_set() -> None:
    prediction = dataclasses.replace(small_prediction(), probability=0.0)
    message = wire.prediction_message(prediction)
    assert (message.HasField("probability"), message.probability, message.HasField("is_positive")) == (True, 0.0, True)


def test_every_field_of_the_json_answer_has_its_message_field() -> None:
    assert set(prediction_document(small_prediction())) == set(pb.Prediction.DESCRIPTOR.fields_by_name)


def test_text_that_is_no_unicode_is_still_sent() -> None:
    note = QualityNote(NoteCode.MULTIFRAME, "kernel \udcff")
    message = wire.prediction_message(dataclasses.replace(small_prediction(), notes=(note,)))
    assert message.notes[0].message == "kernel ?"


def test_a_model_says_in_protobuf_what_it_says_in_json() -> None:
    document = model_document(small_bundle(), "cpu")
    message = wire.model_message(document)
    expected = document.model_dump(mode="json")
    found = as_json(message)
    for holder, name in ((expected["provider"], "active"), (expected["acquisition"], "kvp")):
        assert holder.pop(name) is None
    assert not message.provider.HasField("active")
    assert not message.acquisition.HasField("kvp")
    assert found["outcome"].pop("provenance") == "OUTCOME_PROVENANCE_PATHOLOGY"
    assert found["provider"].pop("wanted") == "EXECUTION_PROVIDER_CPU"
    assert (expected["outcome"].pop("provenance"), expected["provider"].pop("wanted")) == ("pathology", "cpu")
    for predictor, kind in zip(found["predictors"], ("CATEGORICAL", "CONTINUOUS"), strict=True):
        assert predictor.pop("kind") == f"PREDICTOR_KIND_{kind}"
    for predictor in expected["predictors"]:
        del predictor["kind"]
        for name in [name for name, value in predictor.items() if value is None]:
            del predictor[name]
    assert _with_pairs(found) == expected


def _with_pairs(value: Any) -> Any:
    if isinstance(value, dict):
        return [value["low"], value["high"]] if set(value) == {"low", "high"} else {k: _with_pairs(v) for k, v in value.items()}
    return [_with_pairs(item) for item in value] if isinstance(value, list) else value


def test_a_grid_survives_the_way_there_and_back() -> None:
    found = wire.geometry(pb.Geometry.FromString(wire.geometry_message(GRID).SerializeToString()))
    assert found.is_same_grid(GRID)
    assert (found.shape, found.spacing_mm, found.origin_mm) == (GRID.shape, GRID.spacing_mm, GRID.origin_mm)
    np.testing.assert_array_equal(found.direction, QUARTER_TURN)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (3, 4)},
        {"shape": (3, 4, 5, 1)},
        {"shape": (3, 0, 5)},
        {"spacing_mm": (1.0,)},
        {"spacing_mm": (1.0, -1.0, 1.0)},
        {"spacing_mm": (1.0, float("inf"), 1.0)},
        {"origin_mm": ()},
        {"origin_mm": (0.0, float("nan"), 0.0)},
        {"direction": (1.0, 0.0, 0.0)},
        {"direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0)},
        {"direction": (float("nan"),) * 9},
    ],
)
def test_a_wrong_grid_is_refused(changes: dict[str, Any]) -> None:
    message = wire.geometry_message(GRID)
    for name, values in changes.items():
        message.ClearField(name)
        getattr(message, name).extend(values)
    with pytest.raises(NodogramError) as refused:
        wire.geometry(message)
    assert refused.value.reason is Reason.GEOMETRY_INVALID


@given(st.dictionaries(st.text(max_size=20), st.one_of(st.text(max_size=20), NUMBERS), max_size=5))
def test_findings_survive_the_way_there_and_back(record: dict[str, str | float]) -> None:
    assert wire.clinical_record(wire.clinical_message(record)) == record


def test_a_whole_number_may_name_a_level() -> None:
    # As it does in JSON: str(1) is "1", str(1.0) is not.
    found = wire.clinical_record({"stage": pb.ClinicalValue(number=1.0)})["stage"]
    assert str(found) == "1"


@pytest.mark.parametrize("value", [pb.ClinicalValue(), pb.ClinicalValue(number=float("nan")), pb.ClinicalValue(number=-1e999)])
def test_a_finding_without_a_usable_value_is_refused(value: pb.ClinicalValue) -> None:
    with pytest.raises(ServiceError) as refused:
        wire.clinical_record({"age_years": value})
    assert refused.value.reason is Reason.REQUEST_INVALID


def test_every_kind_of_file_has_its_name() -> None:
    zipped, dicom = pb.IMAGE_FORMAT_DICOM_ZIP, pb.ROI_FORMAT_DICOM
    images = {wire.file_names(pb.PredictHeader(image_format=kind, roi_format=dicom))[0] for kind in pb.ImageFormat.values()[1:]}
    outlines = {
        wire.file_names(pb.PredictHeader(image_format=zipped, roi_format=kind))[1] for kind in pb.RoiFormat.values()[1:]
    }
    assert images == {"image.zip", "image.dcm", "image.nii", "image.nii.gz", "image.nrrd"}
    assert outlines == {"roi.dcm", "roi.nii", "roi.nii.gz", "roi.nrrd"}


@pytest.mark.parametrize(("image", "roi"), [(0, 1), (1, 0), (99, 1), (1, 99)])
def test_other_kinds_of_files_are_refused(image: int, roi: int) -> None:
    with pytest.raises(ServiceError) as refused:
        wire.file_names(pb.PredictHeader(image_format=image, roi_format=roi))  # type: ignore[arg-type]
    assert refused.value.reason is Reason.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("text", ["x" * 129, "a\nb", "\x9f"])
def test_names_are_short_and_plain(text: str) -> None:
    with pytest.raises(ServiceError):
        wire.label("case_id", text)


@pytest.mark.parametrize("reason", Reason)
def test_every_error_carries_its_reason(reason: Reason) -> None:
    status = wire.error_status(NodogramError(reason, "found; required"), "an-id")
    info = error_details_pb2.ErrorInfo()
    assert len(status.details) == 1
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.value, "nodogram", {"request_id": "an-id"})
    assert (status.code, status.message) == (status_of(reason).grpc.value[0], "found; required")


def test_a_full_queue_says_when_to_ask_again() -> None:
    retry = error_details_pb2.RetryInfo()
    assert wire.error_status(QueueFullError(64, 7), "an-id").details[1].Unpack(retry)
    assert retry.retry_delay.ToSeconds() == 7


@given(st.text(st.characters(), max_size=2000))
def test_any_text_of_an_error_fits_into_metadata(text: str) -> None:
    status = wire.error_status(NodogramError(Reason.REQUEST_INVALID, text), "an-id")
    assert len(status.message.encode()) <= wire.MAXIMUM_MESSAGE_BYTES
    assert len(status.SerializeToString()) < 2048
