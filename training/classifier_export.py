"""A fitted classifier to a file serving can run: ONNX where it reproduces the model, else the library's own text format.

No converter is trusted: every file is loaded the way serving loads it and compared with the fitted model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodogram.dlr import BranchDocument, ClassifierFormat, DlrDocument, DlrModel
from nodogram.errors import Reason, TrainingError
from training.classifier_graphs import classifier_graph
from training.classifiers import ConstantClassifier, FittedClassifier

PARITY = 1e-6
PARITY_ROWS = 512
ALL_FORMATS: tuple[ClassifierFormat, ...] = ("onnx", "xgboost_json", "lightgbm_text")
SUFFIX: dict[ClassifierFormat, str] = {"onnx": ".onnx", "xgboost_json": ".json", "lightgbm_text": ".txt"}
NATIVE: dict[str, ClassifierFormat] = {"XGBoost": "xgboost_json", "LightGBM": "lightgbm_text"}


@dataclass(frozen=True)
class ExportedClassifier:
    """What was written.

    Attributes
    ----------
    file
        Name of the file in the folder of the stem; ``None`` for a constant.
    max_difference
        Largest absolute difference of probability between file and fitted model on training and random rows.
    constant_probability
        Set exactly for a constant.
    """

    file: str | None
    format: ClassifierFormat
    max_difference: float
    constant_probability: float | None = None


def export_classifier(
    fitted: FittedClassifier, feature_count: int, path_stem: Path, *, formats: Sequence[ClassifierFormat] = ALL_FORMATS
) -> ExportedClassifier:
    """Write the classifier and prove that the file answers as the fitted model does.

    A model that answers the same for every row, such as boosted trees without a split, becomes a constant without a file.

    Parameters
    ----------
    feature_count
        Number of z-scores the classifier takes.
    path_stem
        File path without suffix; the suffix tells the format.
    formats
        Formats allowed, tried in this order.

    Raises
    ------
    TrainingError
        ``EXPORT_PARITY_FAILED`` if no format comes within 1e-6 on the training rows and 512 random rows.
    """
    if isinstance(fitted.estimator, ConstantClassifier):
        return ExportedClassifier(None, "constant", 0.0, fitted.estimator.prevalence)
    # Twice the spread of z-scores, so that patients unlike those of development are covered too.
    random = np.random.default_rng(0).normal(scale=2.0, size=(PARITY_ROWS, feature_count)).astype(np.float32)
    rows = np.vstack([fitted.design, random])
    expected = fitted.probability(rows)
    if np.ptp(expected) == 0.0:
        return ExportedClassifier(None, "constant", 0.0, float(expected[0]))
    failures = []
    for format_ in formats:
        if format_ not in ("onnx", NATIVE.get(fitted.name)):
            continue
        path = path_stem.with_name(path_stem.name + SUFFIX[format_])
        try:
            _write(fitted, feature_count, path, format_)
            difference = float(np.abs(_served(fitted.name, path, format_, rows) - expected).max())
        except Exception as error:  # noqa: BLE001 - converters fail in every way; any failure means the next format
            failures.append(f"{format_}: {type(error).__name__}: {error}")
            path.unlink(missing_ok=True)
            continue
        if difference <= PARITY:
            return ExportedClassifier(path.name, format_, difference)
        failures.append(f"{format_}: off by {difference:.2g}")
        path.unlink()
    raise TrainingError(
        Reason.EXPORT_PARITY_FAILED,
        f"{fitted.name} has no export within {PARITY:g} of the fitted probabilities: {'; '.join(failures) or 'no format'}",
    )


def _served(name: str, path: Path, format_: ClassifierFormat, rows: NDArray[np.float32]) -> NDArray[np.float64]:
    count = rows.shape[1]
    branch = BranchDocument(
        name="dlr",
        features=tuple(f"radiomics.{i}" for i in range(count)),
        mean=(0.0,) * count,
        scale=(1.0,) * count,
        classifier_name=name,
        format=format_,
        file=path.name,
    )
    return DlrModel.load(path.parent, DlrDocument(branches=(branch,), fusion="single")).predictors[0](rows)


def _write(fitted: FittedClassifier, feature_count: int, path: Path, format_: ClassifierFormat) -> None:
    if format_ == "onnx":
        model = classifier_graph(fitted.name, fitted.estimator, feature_count)
        path.write_bytes(model.SerializeToString(deterministic=True))
    elif format_ == "xgboost_json":
        fitted.estimator.get_booster().save_model(path)  # type: ignore[attr-defined]
    else:
        fitted.estimator.booster_.save_model(path)  # type: ignore[attr-defined]
