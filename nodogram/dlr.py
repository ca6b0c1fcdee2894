"""The deep-learning radiomics (DLR) score: selected features through small exported classifiers to one number.

Each branch standardizes its features, rounds them to float32 and asks its classifier for a probability. Branches are fused
by a weighted mean of their logits, the fused logit is calibrated, and what the nomogram takes is that logit or its probability.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from nodogram.errors import BundleError, Reason, SurroundingsError
from nodogram.features import PREFIXES, FeatureTable, FeatureVector
from nodogram.settings import Settings

BranchName = Literal["radiomics", "deep", "dlr"]
ClassifierFormat = Literal["onnx", "xgboost_json", "lightgbm_text", "constant"]

INPUT = "features"
OUTPUT = "probability"
# Probabilities of 0 and 1, which tree ensembles give, would be infinite on the logit scale.
PROBABILITY_CLIP = 1e-3

PredictFunction = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def logit(probability: NDArray[np.float64], clip: float = PROBABILITY_CLIP) -> NDArray[np.float64]:
    """Return the log odds of probabilities clipped to ``[clip, 1 - clip]``, same shape."""
    p = np.clip(np.asarray(probability, dtype=np.float64), clip, 1.0 - clip)
    return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float64)


def expit(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability of log odds, same shape."""
    # exp(-|x|) never overflows; both halves are exact to rounding.
    small = np.exp(-np.abs(linear))
    return np.asarray(np.where(linear >= 0, 1.0, small) / (1.0 + small), dtype=np.float64)


def fuse(
    probabilities: Sequence[NDArray[np.float64]], clip: float = PROBABILITY_CLIP, weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Return the fused log odds, float64 (n,): the mean over branches of the logits of their probabilities (n,).

    Parameters
    ----------
    weights
        One per branch, not negative, summing to 1; ``None`` weighs all alike.
    """
    return np.asarray(np.average([logit(p, clip) for p in probabilities], axis=0, weights=weights), dtype=np.float64)


class BranchDocument(Settings):
    """One branch of the score as stored in ``dlr.json``.

    Attributes
    ----------
    features
        Prefixed names in the order the classifier takes them; empty exactly if the branch is a constant.
    mean, scale
        Per feature, in the feature's unit; z = (value - mean) / scale.
    classifier_name
        The algorithm, for people.
    file
        Name of the classifier's file beside the document; ``None`` for a constant.
    constant_probability
        Prevalence a constant branch answers with.
    """

    name: BranchName
    features: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[Annotated[float, Field(gt=0)], ...]
    classifier_name: str
    format: ClassifierFormat
    file: str | None = None
    constant_probability: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> BranchDocument:
        if not len(self.features) == len(self.mean) == len(self.scale):
            raise ValueError(f"{len(self.features)} features, {len(self.mean)} means and {len(self.scale)} scales")
        if len(set(self.features)) != len(self.features) or not all(f.startswith(PREFIXES) for f in self.features):
            raise ValueError("features: unique prefixed names are required")
        is_constant = self.format == "constant"
        if is_constant != (self.constant_probability is not None) or is_constant != (self.file is None):
            raise ValueError("a constant branch has a constant_probability and no file, any other a file and no constant")
        if not is_constant and not self.features:
            raise ValueError(f"a branch of format {self.format} needs at least one feature")
        if self.file is not None and (self.file in ("", ".", "..") or PurePosixPath(self.file).name != self.file):
            raise ValueError(f"file {self.file!r} must be a plain file name")
        return self


class DlrDocument(Settings):
    """``dlr.json``: how the score is computed.

    Attributes
    ----------
    fusion
        ``single`` for one branch; for several ``logit_mean``, or ``weighted`` by ``weights``.
    weights
        Share of each branch in the fused logit, summing to 1; given exactly if ``weighted``.
    calibration_slope, calibration_intercept
        Calibrated logit = slope * fused logit + intercept.
    clip
        Branch probabilities are kept this far from 0 and 1.
    scale
        What enters the nomogram: the calibrated ``logit`` or its ``probability``.
    """

    branches: Annotated[tuple[BranchDocument, ...], Field(min_length=1)]
    fusion: Literal["single", "logit_mean", "weighted"]
    weights: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    calibration_slope: float = 1.0
    calibration_intercept: float = 0.0
    clip: Annotated[float, Field(gt=0, lt=0.5)] = PROBABILITY_CLIP
    scale: Literal["logit", "probability"] = "logit"

    @model_validator(mode="after")
    def _consistent(self) -> DlrDocument:
        if len({branch.name for branch in self.branches}) != len(self.branches):
            raise ValueError("branches: each name once")
        if (self.fusion == "single") != (len(self.branches) == 1):
            raise ValueError(f"fusion {self.fusion} does not fit {len(self.branches)} branches")
        if (self.fusion == "weighted") != (self.weights is not None):
            raise ValueError("weights are given exactly if fusion is weighted")
        if self.weights is not None and (len(self.weights) != len(self.branches) or abs(sum(self.weights) - 1) > 1e-9):
            raise ValueError(f"weights {self.weights}: one per branch, summing to 1, is required")
        return self


@dataclass(frozen=True)
class DlrScore:
    """The score of one case.

    Attributes
    ----------
    branch_probability
        (branch, probability) before clipping, fusion and calibration.
    probability
        Fused and calibrated, 0 to 1.
    logit
        Its log odds.
    value
        What enters the nomogram: ``logit`` or ``probability``.
    """

    branch_probability: tuple[tuple[str, float], ...]
    probability: float
    logit: float
    value: float


@dataclass(frozen=True, eq=False)
class DlrModel:
    """The score, ready to compute; immutable, and safe to call from several threads."""

    document: DlrDocument
    predictors: tuple[PredictFunction, ...]

    @staticmethod
    def load(folder: Path, document: DlrDocument) -> DlrModel:
        """Load the classifier of every branch from ``folder``.

        Raises
        ------
        BundleError
            ``BUNDLE_FILE_MISSING``, or ``BUNDLE_MANIFEST_INVALID`` if a file does not hold the classifier described.
        SurroundingsError
            ``DEPENDENCY_MISSING`` if the library that reads a file is not installed.
        """
        return DlrModel(document, tuple(_load_branch(folder, branch) for branch in document.branches))

    @property
    def needs_backbone(self) -> bool:
        """Whether any deep feature is needed."""
        return bool(self.required_names("deep."))

    def required_names(self, prefix: str = "") -> tuple[str, ...]:
        """Return the features needed whose name starts with ``prefix``, each once, in order of first use."""
        names = (name for branch in self.document.branches for name in branch.features if name.startswith(prefix))
        return tuple(dict.fromkeys(names))

    def score(self, vector: FeatureVector) -> DlrScore:
        """Score one case; features that are not needed are ignored.

        Raises
        ------
        FeatureError
            ``FEATURE_UNKNOWN`` if a needed feature is absent.
        """
        return self.score_table(FeatureTable(("case",), vector.names, vector.values[None, :]))[0]

    def score_table(self, table: FeatureTable) -> tuple[DlrScore, ...]:
        """Score every row of a table; see :meth:`score`."""
        document = self.document
        if not table.case_ids:
            return ()
        branches = [
            predict(standardize(table, branch.features, branch.mean, branch.scale))
            for branch, predict in zip(document.branches, self.predictors, strict=True)
        ]
        linear = document.calibration_slope * fuse(branches, document.clip, document.weights) + document.calibration_intercept
        probability = expit(linear)
        value = linear if document.scale == "logit" else probability
        names = [branch.name for branch in document.branches]
        return tuple(
            DlrScore(
                branch_probability=tuple((name, float(p[row])) for name, p in zip(names, branches, strict=True)),
                probability=float(probability[row]),
                logit=float(linear[row]),
                value=float(value[row]),
            )
            for row in range(len(table.case_ids))
        )


def standardize(
    table: FeatureTable, names: Sequence[str], mean: Sequence[float], scale: Sequence[float]
) -> NDArray[np.float32]:
    """Return z-scores as classifiers take them, float32 (n_cases, n_features)."""
    z = (table.select(names).values - np.asarray(mean, dtype=np.float64)) / np.asarray(scale, dtype=np.float64)
    return z.astype(np.float32)


def _load_branch(folder: Path, branch: BranchDocument) -> PredictFunction:
    if branch.file is None:
        return _constant(float(branch.constant_probability or 0.0))
    path = folder / branch.file
    if not path.is_file():
        raise BundleError(Reason.BUNDLE_FILE_MISSING, f"{branch.file}, the classifier of branch {branch.name}, is absent")
    loaders = {"onnx": _load_onnx, "xgboost_json": _load_xgboost, "lightgbm_text": _load_lightgbm}
    return loaders[branch.format](path, len(branch.features))


def _constant(probability: float) -> PredictFunction:
    return lambda z: np.full(z.shape[0], probability)


def _load_onnx(path: Path, feature_count: int) -> PredictFunction:
    runtime = _require("onnxruntime", "onnxruntime, or the package's 'serve' extra")
    options = runtime.SessionOptions()
    # One thread: the graphs are tiny, and sums keep their order.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _unusable(path, f"ONNX Runtime cannot load it: {error}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = [(i.name, i.type, list(i.shape)[1:]) for i in inputs], [(o.name, o.type) for o in outputs]
    if found != ([(INPUT, "tensor(float)", [feature_count])], [(OUTPUT, "tensor(double)")]):
        raise _unusable(
            path, f"inputs and outputs are {found}; float {INPUT} of {feature_count} and double {OUTPUT} are required"
        )

    def predict(z: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(session.run([OUTPUT], {INPUT: z})[0], dtype=np.float64).reshape(-1)

    return predict


def _load_xgboost(path: Path, feature_count: int) -> PredictFunction:
    xgboost = _require("xgboost", "xgboost")
    try:
        booster = xgboost.Booster(params={"nthread": 1}, model_file=str(path))
    except xgboost.core.XGBoostError as error:
        raise _unusable(path, f"XGBoost cannot load it: {error}") from error
    _require_count(path, int(booster.num_features()), feature_count)

    def predict(z: NDArray[np.float32]) -> NDArray[np.float64]:
        margin = booster.predict(xgboost.DMatrix(z), output_margin=True)
        return expit(np.asarray(margin, dtype=np.float64).reshape(-1))

    return predict


def _load_lightgbm(path: Path, feature_count: int) -> PredictFunction:
    lightgbm = _require("lightgbm", "lightgbm")
    try:
        booster = lightgbm.Booster(model_file=str(path))
    except lightgbm.basic.LightGBMError as error:
        raise _unusable(path, f"LightGBM cannot load it: {error}") from error
    _require_count(path, int(booster.num_feature()), feature_count)

    def predict(z: NDArray[np.float32]) -> NDArray[np.float64]:
        return expit(np.asarray(booster.predict(z, raw_score=True, num_threads=1), dtype=np.float64).reshape(-1))

    return predict


def _require_count(path: Path, found: int, required: int) -> None:
    if found != required:
        raise _unusable(path, f"it takes {found} features; the document lists {required}")


def _unusable(path: Path, why: str) -> BundleError:
    return BundleError(Reason.BUNDLE_MANIFEST_INVALID, f"{path.name}: {why}")


def _require(module: str, install: str) -> ModuleType:
    # By name, so that the core can be imported and a bundle without such a file used where the library is absent.
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING, f"a classifier of this bundle needs {module}, which is not installed: install {install}"
        ) from error
