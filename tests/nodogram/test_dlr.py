from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from pydantic import ValidationError

from nodogram.dlr import BranchDocument, DlrDocument, DlrModel, expit, fuse, logit, standardize
from nodogram.errors import BundleError, FeatureError, Reason, SurroundingsError
from nodogram.features import FeatureTable, FeatureVector


def write_sum_classifier(path: Path, count: int = 2, output: int = TensorProto.DOUBLE) -> None:
    """Write the model p = sigmoid(sum of z-scores), whose score is known in closed form."""
    nodes = [
        helper.make_node("Cast", ["features"], ["z"], to=output),
        helper.make_node("ReduceSum", ["z", "axis"], ["sum"], keepdims=0),
        helper.make_node("Sigmoid", ["sum"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "sum",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", count])],
        [helper.make_tensor_value_info("probability", output, ["batch"])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


RADIOMICS = BranchDocument(
    name="radiomics",
    features=("radiomics.a", "radiomics.b"),
    mean=(1.0, 2.0),
    scale=(2.0, 4.0),
    classifier_name="LR",
    format="onnx",
    file="r.onnx",
)
DEEP = BranchDocument(
    name="deep",
    features=("deep.0007", "deep.0003"),
    mean=(0.0, 0.0),
    scale=(1.0, 1.0),
    classifier_name="MLP",
    format="onnx",
    file="d.onnx",
)
CONSTANT = BranchDocument(
    name="deep", features=(), mean=(), scale=(), classifier_name="LR", format="constant", constant_probability=0.25
)
CASE = FeatureVector(
    ("deep.0003", "radiomics.b", "radiomics.unused", "radiomics.a", "deep.0007"), np.array([0.5, 4.0, 99.0, 2.0, -1.0])
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sum_classifier(tmp_path / "r.onnx")
    write_sum_classifier(tmp_path / "d.onnx")
    return tmp_path


def load(folder: Path, *branches: BranchDocument, **settings: object) -> DlrModel:
    fusion = "single" if len(branches) == 1 else "logit_mean"
    return DlrModel.load(folder, DlrDocument.model_validate({"branches": branches, "fusion": fusion, **settings}))


def test_score_in_closed_form(folder: Path) -> None:
    # z = ((2-1)/2, (4-2)/4) = (0.5, 0.5), logit 1; z = (-1, 0.5), logit -0.5; mean 0.25; calibrated 2 * 0.25 - 1 = -0.5
    score = load(folder, RADIOMICS, DEEP, calibration_slope=2.0, calibration_intercept=-1.0).score(CASE)
    assert score.logit == pytest.approx(-0.5, abs=1e-12)
    assert score.value == score.logit
    assert score.probability == pytest.approx(1 / (1 + np.exp(0.5)), abs=1e-12)
    assert [name for name, _ in score.branch_probability] == ["radiomics", "deep"]
    assert [p for _, p in score.branch_probability] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(0.5))], abs=1e-12)


def test_probability_scale_and_constant_branch(folder: Path) -> None:
    score = load(folder, RADIOMICS, CONSTANT, scale="probability").score(CASE)
    assert score.logit == pytest.approx((1 + np.log(0.25 / 0.75)) / 2, abs=1e-12)
    assert score.value == score.probability
    alone = load(folder, CONSTANT.model_copy(update={"name": "dlr"}))
    assert alone.score(CASE).probability == pytest.approx(0.25)
    assert not alone.needs_backbone


def test_clip_bounds_a_branch(folder: Path) -> None:
    far = FeatureVector(RADIOMICS.features, np.array([1e4, 1e4]))
    assert load(folder, RADIOMICS).score(far).logit == pytest.approx(np.log(0.999 / 0.001))
    assert load(folder, RADIOMICS, clip=0.1).score(far).logit == pytest.approx(np.log(9))


def test_table_and_single_cases_agree(folder: Path) -> None:
    model = load(folder, RADIOMICS, DEEP)
    values = np.random.default_rng(0).normal(size=(6, 5))
    table = FeatureTable(tuple("abcdef"), CASE.names, values)
    alone = [model.score(FeatureVector(CASE.names, row)) for row in values]
    assert [s.logit for s in model.score_table(table)] == pytest.approx([s.logit for s in alone], abs=1e-12)
    assert model.score_table(table.rows(())) == ()


def test_names_that_must_be_computed(folder: Path) -> None:
    model = load(folder, RADIOMICS, DEEP)
    assert model.required_names("radiomics.") == ("radiomics.a", "radiomics.b")
    assert model.required_names("deep.") == ("deep.0007", "deep.0003")
    assert model.required_names() == RADIOMICS.features + DEEP.features
    assert model.needs_backbone
    assert not load(folder, RADIOMICS).needs_backbone


def test_missing_feature_is_refused(folder: Path) -> None:
    with pytest.raises(FeatureError) as caught:
        load(folder, RADIOMICS).score(FeatureVector(("radiomics.a",), np.array([1.0])))
    assert caught.value.reason is Reason.FEATURE_UNKNOWN


def test_missing_damaged_and_foreign_files_are_refused(folder: Path) -> None:
    (folder / "d.onnx").write_bytes(b"not a model")
    with pytest.raises(BundleError, match="ONNX Runtime cannot load it") as caught:
        load(folder, DEEP)
    assert caught.value.reason is Reason.BUNDLE_MANIFEST_INVALID
    write_sum_classifier(folder / "d.onnx", count=3)
    with pytest.raises(BundleError, match="of 2 and double probability are required"):
        load(folder, DEEP)
    write_sum_classifier(folder / "d.onnx", output=TensorProto.FLOAT)
    with pytest.raises(BundleError, match="double probability"):
        load(folder, DEEP)
    (folder / "d.onnx").unlink()
    with pytest.raises(BundleError) as caught:
        load(folder, DEEP)
    assert caught.value.reason is Reason.BUNDLE_FILE_MISSING


@pytest.mark.parametrize(
    ("format_", "module"), [("xgboost_json", "xgboost"), ("lightgbm_text", "lightgbm"), ("onnx", "onnxruntime")]
)
def test_absent_library_is_named(format_: str, module: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SurroundingsError, match=module) as caught:
        load(folder, RADIOMICS.model_copy(update={"format": format_}))
    assert caught.value.reason is Reason.DEPENDENCY_MISSING


@pytest.mark.parametrize(("format_", "library"), [("xgboost_json", "XGBoost"), ("lightgbm_text", "LightGBM")])
def test_damaged_native_file_is_refused(format_: str, library: str, folder: Path) -> None:
    (folder / "r.onnx").write_text("{}")
    with pytest.raises(BundleError, match=f"{library} cannot load it"):
        load(folder, RADIOMICS.model_copy(update={"format": format_}))


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (1.0,)},
        {"scale": (1.0, 0.0)},
        {"features": ("radiomics.a", "radiomics.a")},
        {"features": ("a", "b")},
        {"file": None},
        {"file": "../r.onnx"},
        {"file": "/r.onnx"},
        {"file": ""},
        {"constant_probability": 0.5},
        {"format": "constant"},
        {"format": "pickle"},
        {"features": (), "mean": (), "scale": ()},
        {"surprise": 1},
    ],
)
def test_inconsistent_branches_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        BranchDocument.model_validate({**RADIOMICS.model_dump(), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"branches": []},
        {"branches": [RADIOMICS, RADIOMICS]},
        {"fusion": "single"},
        {"clip": 0.5},
        {"clip": 0.0},
        {"scale": "odds"},
    ],
)
def test_inconsistent_documents_are_refused(change: dict[str, object]) -> None:
    valid: dict[str, object] = {"branches": [RADIOMICS, DEEP], "fusion": "logit_mean"}
    DlrDocument.model_validate(valid)
    with pytest.raises(ValidationError):
        DlrDocument.model_validate({**valid, **change})


def test_document_survives_json() -> None:
    document = DlrDocument(branches=(RADIOMICS, DEEP), fusion="logit_mean", calibration_slope=0.1 + 0.2)
    assert DlrDocument.model_validate_json(document.model_dump_json()) == document


@given(st.floats(-700, 700))
def test_expit_inverts_logit(x: float) -> None:
    p = expit(np.array([x]))
    assert 0.0 <= p[0] <= 1.0
    assert p[0] + expit(np.array([-x]))[0] == pytest.approx(1.0, abs=1e-15)
    if abs(x) < 10:
        assert logit(p, 1e-9)[0] == pytest.approx(x, abs=1e-9)


def test_fusion_is_the_mean_logit() -> None:
    fused = fuse([np.array([0.2, 0.0]), np.array([0.8, 1.0])], clip=0.01)
    np.testing.assert_allclose(fused, [0.0, 0.0], atol=1e-12)


def test_classifiers_get_float32_z_scores() -> None:
    table = FeatureTable(("p",), ("radiomics.a", "radiomics.b"), np.array([[1.1, 7.0]]))
    z = standardize(table, ("radiomics.b", "radiomics.a"), (1.0, 1.0), (3.0, 1.0))
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, np.array([[2.0, 1.1 - 1.0]], dtype=np.float32))
