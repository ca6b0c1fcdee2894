from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from nodogram.dlr import BranchDocument, DlrDocument, DlrModel, logit
from nodogram.errors import Reason, TrainingError
from training.classifier_export import ALL_FORMATS, ExportedClassifier, export_classifier
from training.classifiers import ConstantClassifier, FittedClassifier, fit_all
from training.guard import FitScope
from training.recipe import load_recipe

FEATURES = 5
SETTINGS = load_recipe("sound").classifiers


def fit_seven(count: int = 90, signal: float = 1.2) -> tuple[FittedClassifier, ...]:
    rng = np.random.default_rng(0)
    outcome = (np.arange(count) % 5 < 2).astype(np.int64)
    X = rng.normal(size=(count, FEATURES))
    X[:, :2] += signal * outcome[:, None]
    ids = tuple(f"p{i}" for i in range(count))
    return fit_all(X, outcome, ids, SETTINGS, seed=3, scope=FitScope("final", frozenset(ids)))


@pytest.fixture(scope="module")
def seven() -> dict[str, FittedClassifier]:
    return {fitted.name: fitted for fitted in fit_seven()}


def served(folder: Path, exported: ExportedClassifier, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    branch = BranchDocument(
        name="dlr",
        features=tuple(f"radiomics.{i}" for i in range(FEATURES)),
        mean=(0.0,) * FEATURES,
        scale=(1.0,) * FEATURES,
        classifier_name="any",
        format=exported.format,
        file=exported.file,
        constant_probability=exported.constant_probability,
    )
    return DlrModel.load(folder, DlrDocument(branches=(branch,), fusion="single")).predictors[0](rows)


def random_rows(seed: int = 11) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(scale=1.5, size=(2000, FEATURES)).astype(np.float32)


# Largest difference seen is rounding in double, but for the two libraries whose own leaves are float32.
LIMITS = {"LR": 1e-12, "SVM": 1e-12, "MLP": 1e-12, "RF": 1e-12, "ExtraTrees": 1e-12, "XGBoost": 5e-7, "LightGBM": 2e-7}


@pytest.mark.parametrize("name", LIMITS)
def test_onnx_file_answers_as_the_fitted_model(name: str, seven: dict[str, FittedClassifier], tmp_path: Path) -> None:
    exported = export_classifier(seven[name], FEATURES, tmp_path / "dlr-radiomics")
    assert (exported.format, exported.file) == ("onnx", "dlr-radiomics.onnx")
    assert exported.max_difference <= LIMITS[name]
    rows = random_rows()
    expected, found = seven[name].probability(rows), served(tmp_path, exported, rows)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=0, atol=LIMITS[name])
    # What enters the nomogram is the logit; there the tails count.
    np.testing.assert_allclose(logit(found), logit(expected), rtol=0, atol=1e-5)
    one_by_one = np.concatenate([served(tmp_path, exported, rows[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(one_by_one, found[:3], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "format_"), [("XGBoost", "xgboost_json"), ("LightGBM", "lightgbm_text")])
def test_native_file_answers_as_the_fitted_model(
    name: str, format_: str, seven: dict[str, FittedClassifier], tmp_path: Path
) -> None:
    exported = export_classifier(seven[name], FEATURES, tmp_path / "m", formats=ALL_FORMATS[1:])
    assert exported.format == format_
    rows = random_rows()
    np.testing.assert_allclose(served(tmp_path, exported, rows), seven[name].probability(rows), rtol=0, atol=1e-12)


def test_graphs_hold_no_name_of_their_maker(seven: dict[str, FittedClassifier], tmp_path: Path) -> None:
    for name, fitted in seven.items():
        model = onnx.load(tmp_path / str(export_classifier(fitted, FEATURES, tmp_path / name).file))
        onnx.checker.check_model(model, full_check=True)
        assert (model.producer_name, model.producer_version, model.doc_string, model.graph.name) == (
            "nodogram",
            "",
            "",
            "classifier",
        )
        assert [i.name for i in model.graph.input] == ["features"]
        assert [o.name for o in model.graph.output] == ["probability"]


def export_all(fitted: Iterable[FittedClassifier], folder: Path) -> None:
    for model in fitted:
        export_classifier(model, FEATURES, folder / model.name)
        if model.name in ("XGBoost", "LightGBM"):
            export_classifier(model, FEATURES, folder / model.name, formats=ALL_FORMATS[1:])


def test_same_model_same_bytes_in_two_processes(seven: dict[str, FittedClassifier], tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    export_all(seven.values(), here)
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from test_classifier_export import export_all, fit_seven\n"
        "export_all(fit_seven(), Path(sys.argv[1]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(there), str(Path(__file__).parent)],
        check=True,
        # Sets are walked in another order than here, where the seed is any.
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=Path(__file__).parents[2],
    )
    digests = [{p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()} for folder in (here, there)]
    assert len(digests[0]) == 9
    assert digests[0] == digests[1]


def test_constant_needs_no_file(seven: dict[str, FittedClassifier], tmp_path: Path) -> None:
    constant = replace(seven["LR"], estimator=ConstantClassifier(0.4))
    assert export_classifier(constant, 0, tmp_path / "m") == ExportedClassifier(None, "constant", 0.0, 0.4)
    # With ten rows boosting cannot split: every row gets the same answer.
    boosted = {f.name: f for f in fit_seven(10)}["LightGBM"]
    exported = export_classifier(boosted, FEATURES, tmp_path / "m")
    assert (exported.format, exported.file) == ("constant", None)
    assert exported.constant_probability == pytest.approx(0.4)
    assert not list(tmp_path.iterdir())


class Bent(RandomForestClassifier):  # type: ignore[misc]  # scikit-learn is untyped
    """A forest that does not answer what its trees say."""

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        p: NDArray[np.float64] = super().predict_proba(X) ** 1.001
        return np.column_stack([1 - p[:, 1], p[:, 1]])


def test_disagreement_is_an_error_and_leaves_no_file(seven: dict[str, FittedClassifier], tmp_path: Path) -> None:
    bent = Bent()
    bent.__dict__.update(seven["RF"].estimator.__dict__)
    with pytest.raises(TrainingError, match=r"RF has no export .* onnx: off by") as caught:
        export_classifier(replace(seven["RF"], estimator=bent), FEATURES, tmp_path / "m")
    assert caught.value.reason is Reason.EXPORT_PARITY_FAILED
    with pytest.raises(TrainingError, match="no format"):
        export_classifier(seven["LR"], FEATURES, tmp_path / "m", formats=("xgboost_json",))
    assert not list(tmp_path.iterdir())


def test_a_format_that_fails_gives_way_to_the_next(seven: dict[str, FittedClassifier], tmp_path: Path) -> None:
    # An algorithm that the trees of the graph cannot express: dropout changes how XGBoost predicts, the converter refuses it.
    dart = seven["XGBoost"].estimator.__class__(n_estimators=5, booster="dart", n_jobs=1)  # type: ignore[call-arg]
    rows = seven["XGBoost"].design
    dart.fit(rows, (rows[:, 0] > 0).astype(int))  # type: ignore[attr-defined]
    exported = export_classifier(replace(seven["XGBoost"], estimator=dart), FEATURES, tmp_path / "m")
    assert exported.format == "xgboost_json"
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]
