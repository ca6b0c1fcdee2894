"""SHAP values of the classifiers behind the DLR score, each by the explainer that is exact for its algorithm.

Lundberg and Lee 2017, arXiv:1705.07874; trees: Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9. All explainers are
interventional: features absent from a coalition are drawn from development patients. They say what the model does, and
not what causes the outcome; among correlated features the credit depends on what the fit made of them.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from nodogram.dlr import logit
from nodogram.errors import Reason, SurroundingsError
from nodogram.settings import Settings
from training.classifiers import ConstantClassifier, FittedClassifier, as_seen

Unit = Literal["log odds", "probability"]
Method = Literal["constant", "linear", "tree", "exact", "permutation"]

# Patients explained, and patients absent features are drawn from. The work grows with their product: trees of forests are deep,
# and machines without a closed form are asked hundreds of times for each pair.
LIMITS = (200, 100)
FOREST_LIMITS = (100, 50)
SAMPLED_LIMITS = (100, 25)
# Calls of the tree algorithm that take longer print a progress bar.
TREE_BATCH = 20
# With so few features every coalition can be asked for; with more, pairs of a permutation and its reverse are drawn.
EXACT_FEATURES = 8
PERMUTATIONS = 5
# Features whose patients are kept for drawing; of the others the mean alone is.
DRAWN_FEATURES = 20
FORESTS = ("RF", "ExtraTrees")
TREES = (*FORESTS, "XGBoost", "LightGBM")

Output = Callable[[NDArray[np.float64]], NDArray[np.float64]]


class FeatureAttribution(Settings):
    """What one feature does to the output of a classifier.

    Attributes
    ----------
    mean_absolute
        Mean of abs(SHAP value) over the patients explained, in the unit of the branch.
    shap, value
        SHAP value and standardized feature value of each patient explained, in the order of the SHAP values, so that rows of
        two features cannot be put together; empty beyond the twenty strongest features.
    """

    name: str
    mean_absolute: float
    shap: tuple[float, ...] = ()
    value: tuple[float, ...] = ()


class BranchAttribution(Settings):
    """SHAP values of the chosen classifier of one branch of the DLR score, over development patients.

    Attributes
    ----------
    weight
        Share of the branch in the fused logit.
    unit
        ``probability`` for averages of trees, whose log odds are no sum over trees.
    base_value
        Mean output over the background patients.
    additivity_gap
        Largest abs(base value + sum of SHAP values - output) over the patients explained.
    features
        By falling ``mean_absolute``; equal ones in the order of the classifier.
    """

    branch: str
    classifier: str
    weight: float
    method: Method
    unit: Unit
    base_value: float
    background_count: int
    explained_count: int
    additivity_gap: float
    features: tuple[FeatureAttribution, ...]


@dataclass(frozen=True, eq=False)
class ShapValues:
    """SHAP values (n, k) of rows with the outputs (n,) they add up to."""

    values: NDArray[np.float64]
    base_value: float
    output: NDArray[np.float64]
    method: Method
    unit: Unit

    @property
    def additivity_gap(self) -> float:
        """Largest abs(base value + sum - output)."""
        return float(np.abs(self.base_value + self.values.sum(axis=1) - self.output).max(initial=0.0))


def branch_attribution(
    fitted: FittedClassifier, names: Sequence[str], *, branch: str, weight: float, seed: int
) -> BranchAttribution:
    """Explain a classifier on the very rows it was fitted on, at most a few hundred of them.

    Parameters
    ----------
    names
        Features in the order the classifier takes them.
    seed
        Of the rows drawn where there are too many, and of the permutations.
    """
    explained_limit, background_limit = _limits(fitted)
    rows = _drawn(as_seen(fitted.design), explained_limit, seed)
    background = _drawn(as_seen(fitted.design), background_limit, seed + 1)
    found = shap_values(fitted, background, rows, seed=seed)
    means = np.abs(found.values).mean(axis=0)
    order = np.argsort(-means, kind="stable")
    return BranchAttribution(
        branch=branch,
        classifier=fitted.name,
        weight=weight,
        method=found.method,
        unit=found.unit,
        base_value=found.base_value,
        background_count=len(background),
        explained_count=len(rows),
        additivity_gap=found.additivity_gap,
        features=tuple(
            _feature(names[j], found.values[:, j], rows[:, j], drawn=place < DRAWN_FEATURES) for place, j in enumerate(order)
        ),
    )


def shap_values(
    fitted: FittedClassifier, background: NDArray[np.float64], rows: NDArray[np.float64], *, seed: int
) -> ShapValues:
    """Return the SHAP values of one of the seven algorithms.

    Logistic regression and the linear support vector machine have a closed form in log odds, boosted trees an exact
    algorithm in log odds and forests one in probability. Of other kernels and of networks every coalition is asked for up
    to eight features; with more, permutations are drawn, which keeps the sum exact and the parts approximate.

    Parameters
    ----------
    background, rows
        Standardized features (m, k) and (n, k).

    Raises
    ------
    SurroundingsError
        ``DEPENDENCY_MISSING`` without the package ``shap``.
    """
    estimator: Any = fitted.estimator
    if isinstance(estimator, ConstantClassifier):
        value = float(logit(np.array(estimator.prevalence)))
        return ShapValues(np.zeros(rows.shape), value, np.full(len(rows), value), "constant", "log odds")
    shap = _shap()
    with threadpool_limits(limits=1):
        if fitted.name in TREES:
            return _trees(shap, fitted, background, rows)
        linear = _linear(estimator)
        if linear is not None:
            explained = shap.LinearExplainer(linear, _masker(shap, background))(rows)
            return _explained(explained, rows @ linear[0] + linear[1], "linear")
        output = _log_odds(estimator)
        if rows.shape[1] <= EXACT_FEATURES:
            return _explained(shap.ExactExplainer(output, _masker(shap, background))(rows, silent=True), output(rows), "exact")
        explainer = shap.PermutationExplainer(output, _masker(shap, background), seed=seed)
        explained = explainer(rows, max_evals=PERMUTATIONS * (2 * rows.shape[1] + 1), silent=True)
        return _explained(explained, output(rows), "permutation")


def _trees(
    shap: ModuleType, fitted: FittedClassifier, background: NDArray[np.float64], rows: NDArray[np.float64]
) -> ShapValues:
    estimator: Any = fitted.estimator
    explainer = shap.TreeExplainer(estimator, background, feature_perturbation="interventional", model_output="raw")
    parts = [
        # Checked by the caller over all rows; the package's own check raises at a tolerance of its choice.
        explainer.shap_values(rows[start : start + TREE_BATCH], check_additivity=False)
        for start in range(0, len(rows), TREE_BATCH)
    ]
    values, bases = np.concatenate(parts), np.ravel(explainer.expected_value)
    if fitted.name in FORESTS:
        return ShapValues(values[..., 1], float(bases[1]), estimator.predict_proba(rows)[:, 1], "tree", "probability")
    if fitted.name == "XGBoost":
        margin = estimator.predict(rows, output_margin=True)
    else:
        margin = estimator.predict_proba(rows, raw_score=True)
    return ShapValues(values, float(bases[0]), np.asarray(margin, dtype=np.float64).ravel(), "tree", "log odds")


def _explained(explained: Any, output: NDArray[np.floating], method: Method) -> ShapValues:
    base = float(np.ravel(explained.base_values)[0])
    values = np.asarray(explained.values, dtype=np.float64)
    return ShapValues(values, base, np.asarray(output, dtype=np.float64).ravel(), method, "log odds")


def _limits(fitted: FittedClassifier) -> tuple[int, int]:
    """Return how many patients are explained, and against how many."""
    if fitted.name in FORESTS:
        return FOREST_LIMITS
    closed = fitted.name in TREES or isinstance(fitted.estimator, ConstantClassifier) or _linear(fitted.estimator) is not None
    return LIMITS if closed else SAMPLED_LIMITS


def _linear(estimator: Any) -> tuple[NDArray[np.float64], float] | None:
    """Return coefficients (k,) and intercept of log odds that are linear in the features, or ``None``."""
    if isinstance(estimator, LogisticRegression):
        return estimator.coef_[0], float(estimator.intercept_[0])
    if isinstance(estimator, CalibratedClassifierCV):
        machine, slope, offset = _platt(estimator)
        if machine.kernel == "linear":
            return -slope * machine.coef_[0], float(-slope * machine.intercept_[0] - offset)
    return None


def _log_odds(estimator: Any) -> Output:
    """Return the function from rows to unclipped log odds of a kernel machine or a network."""
    if isinstance(estimator, CalibratedClassifierCV):
        machine, slope, offset = _platt(estimator)
        margin = _radial_margin(machine) if machine.kernel == "rbf" else machine.decision_function
        return lambda Z: np.asarray(-slope * margin(Z) - offset, dtype=np.float64)
    if not isinstance(estimator, MLPClassifier) or estimator.activation != "relu":
        raise TypeError(f"{type(estimator).__name__} has no log odds here")
    network: Any = estimator

    def forward(Z: NDArray[np.float64]) -> NDArray[np.float64]:
        for weight, bias in zip(network.coefs_[:-1], network.intercepts_[:-1], strict=True):
            Z = np.maximum(Z @ weight + bias, 0.0)
        return np.asarray(Z @ network.coefs_[-1] + network.intercepts_[-1], dtype=np.float64).ravel()

    return forward


def _radial_margin(machine: Any) -> Output:
    """Return the decision function as matrix products, many times as fast as LIBSVM's row by row."""
    vectors, dual = machine.support_vectors_, machine.dual_coef_[0]
    squares = (vectors**2).sum(axis=1)

    def margin(Z: NDArray[np.float64]) -> NDArray[np.float64]:
        distance = (Z**2).sum(axis=1)[:, None] + squares - 2.0 * (Z @ vectors.T)
        return np.asarray(np.exp(-machine._gamma * distance) @ dual + machine.intercept_[0], dtype=np.float64)

    return margin


def _platt(estimator: Any) -> tuple[Any, float, float]:
    """Return the machine with slope and offset of p = 1 / (1 + exp(slope * margin + offset))."""
    calibrated = estimator.calibrated_classifiers_[0]
    scaling = calibrated.calibrators[0]
    return calibrated.estimator, float(scaling.a_), float(scaling.b_)


def _masker(shap: ModuleType, background: NDArray[np.float64]) -> Any:
    return shap.maskers.Independent(background, max_samples=len(background))


def _feature(name: str, values: NDArray[np.float64], column: NDArray[np.float64], *, drawn: bool) -> FeatureAttribution:
    mean = float(np.abs(values).mean())
    if not drawn:
        return FeatureAttribution(name=name, mean_absolute=mean)
    order = np.lexsort((column, values))
    return FeatureAttribution(name=name, mean_absolute=mean, shap=_short(values[order]), value=_short(column[order]))


def _short(values: NDArray[np.float64]) -> tuple[float, ...]:
    """Round to what a figure can show: documents of hundreds of patients stay small."""
    return tuple(float(f"{v:.5g}") for v in values)


def _drawn(rows: NDArray[np.float64], limit: int, seed: int) -> NDArray[np.float64]:
    if len(rows) <= limit:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), limit, replace=False))]


def _shap() -> ModuleType:
    # By name and late: it brings a compiler along, and only this report needs it.
    try:
        with warnings.catch_warnings():
            # It colors maps by a Matplotlib method that is on its way out.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            return importlib.import_module("shap")
    except ImportError as error:
        raise SurroundingsError(
            Reason.DEPENDENCY_MISSING,
            "SHAP values need the package shap: install the extra 'train' (pip install 'nodogram[train]')",
        ) from error
