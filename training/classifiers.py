"""The seven algorithms of the paper, each tuned by an inner cross-validation, and the rules that choose one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from joblib import Parallel, delayed
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from xgboost import XGBClassifier

from nodogram.dlr import expit
from nodogram.errors import Reason, TrainingError
from training.classifier_grids import Value, grid
from training.guard import FitScope
from training.patient_folds import smaller_class, stratified_folds
from training.recipe import ClassifierSettings

# Fewest effective parameters and smoothest decision first; the one-standard-error rule takes the earliest.
SIMPLICITY = ("LR", "SVM", "MLP", "LightGBM", "XGBoost", "RF", "ExtraTrees")
MINIMUM_PER_CLASS = 2
CALIBRATION_FOLDS = 5
MAXIMUM_ITERATIONS = 5_000

ChoiceRule = Literal["inner_cv", "inner_cv_one_se", "training_auc"]


class ProbabilityEstimator(Protocol):
    """What a fitted algorithm offers."""

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 2): probability of outcome 0 and 1."""


@dataclass(frozen=True)
class ConstantClassifier:
    """Answers with the prevalence, where no feature was selected."""

    prevalence: float

    def predict_proba(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 2): one minus the prevalence, and the prevalence."""
        return np.tile([1.0 - self.prevalence, self.prevalence], (len(X), 1))


@dataclass(frozen=True, eq=False)
class FittedClassifier:
    """One algorithm, tuned and refitted on all rows it was given.

    Attributes
    ----------
    name
        Algorithm asked for, also where ``estimator`` is a constant.
    parameters
        (name, value) chosen from the grid.
    inner_auc_mean, inner_auc_se
        Held-out AUC over the inner folds and its standard error.
    training_auc
        Resubstitution AUC; optimistic.
    design
        float32 (n, k): the standardized rows it was fitted on.
    seen
        Patients learned from.
    notes
        What was unusual.
    """

    name: str
    parameters: tuple[tuple[str, Value], ...]
    inner_auc_mean: float
    inner_auc_se: float
    training_auc: float
    estimator: ProbabilityEstimator
    design: NDArray[np.float32]
    seen: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def probability(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the probability of outcome 1, float64 (n,), of standardized features (n, k), rounded to float32 first."""
        return _probability(self.estimator, as_seen(X))


def as_seen(X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return z-scores rounded to float32, in float64: all algorithms learn and answer on what serving can represent."""
    return X.astype(np.float32).astype(np.float64)


def fit_classifier(
    name: str,
    X: NDArray[np.float64],
    y: NDArray[np.int64],
    case_ids: tuple[str, ...],
    settings: ClassifierSettings,
    *,
    seed: int,
    scope: FitScope,
) -> FittedClassifier:
    """Tune one algorithm by stratified inner cross-validation and refit it on all rows.

    Parameters
    ----------
    X
        float64 (n, k) standardized features; k may be 0.
    y
        int64 (n,), at least two of each outcome.
    seed
        Of the inner folds and of the algorithm. The folds are the same for all algorithms.

    Raises
    ------
    TrainingError
        ``HELD_OUT_PATIENT_IN_FIT`` or ``MODEL_FIT_FAILED``.
    """
    seen = scope.admit(case_ids, f"classifier {name}")
    patients = scope.patients(seen)
    smaller = smaller_class(y, patients) if len(y) == len(seen) else 0
    if len(y) != len(X) or len(y) != len(seen) or smaller < MINIMUM_PER_CLASS:
        raise TrainingError(
            Reason.MODEL_FIT_FAILED,
            f"{name}: {len(X)} rows, {len(seen)} labels, {len(y)} outcomes, {smaller} patients in the smaller class; as many "
            f"of each and at least {MINIMUM_PER_CLASS} in each class are required",
        )
    if X.shape[1] == 0:
        constant = ConstantClassifier(float(y.mean()))
        return FittedClassifier(name, (), 0.5, 0.0, 0.5, constant, X.astype(np.float32), seen, ("no feature: prevalence",))
    Z = as_seen(X)
    folds = min(settings.inner_folds, smaller)
    notes = [] if folds == settings.inner_folds else [f"{folds} inner folds instead of {settings.inner_folds}"]
    # One thread: matrices are tiny, and idle threads that wait for the next one cost more than the work.
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(limits=1):
        warnings.simplefilter("error")
        warnings.simplefilter("always", ConvergenceWarning)
        search = GridSearchCV(
            _algorithm(name, seed),
            {key: list(values) for key, values in grid(name, settings.grid).items()},
            scoring="roc_auc",
            cv=stratified_folds(y, patients, folds, seed),
            n_jobs=1,
            error_score="raise",
        ).fit(Z, y)
        estimator = search.best_estimator_ if name != "SVM" else _calibrated(search.best_estimator_, Z, y, patients, seed)
    if caught:
        notes.append(f"{len(caught)} fits stopped at the iteration limit")
    if isinstance(estimator, ConstantClassifier):
        reason = "held-out margins rank no better than chance: prevalence"
        return FittedClassifier(name, (), 0.5, 0.0, 0.5, estimator, Z.astype(np.float32), seen, (*notes, reason))
    scores = np.array([search.cv_results_[f"split{fold}_test_score"][search.best_index_] for fold in range(folds)])
    return FittedClassifier(
        name=name,
        parameters=tuple(sorted(search.best_params_.items())),
        inner_auc_mean=float(scores.mean()),
        inner_auc_se=float(scores.std(ddof=1) / np.sqrt(folds)),
        training_auc=float(roc_auc_score(y, _probability(estimator, Z))),
        estimator=estimator,
        design=Z.astype(np.float32),
        seen=seen,
        notes=tuple(notes),
    )


def fit_all(
    X: NDArray[np.float64],
    y: NDArray[np.int64],
    case_ids: tuple[str, ...],
    settings: ClassifierSettings,
    *,
    seed: int,
    scope: FitScope,
    jobs: int = 1,
) -> tuple[FittedClassifier, ...]:
    """Fit every algorithm the settings name, ``jobs`` at a time; the result does not depend on ``jobs``."""
    fits = (delayed(fit_classifier)(name, X, y, case_ids, settings, seed=seed, scope=scope) for name in settings.names)
    return tuple(Parallel(n_jobs=jobs)(fits))


def choose(fitted: Sequence[FittedClassifier], rule: ChoiceRule) -> FittedClassifier:
    """Choose one algorithm; the simpler one wins a tie.

    Parameters
    ----------
    rule
        ``inner_cv``: highest inner AUC. ``inner_cv_one_se``: the simplest (:data:`SIMPLICITY`) whose inner AUC is within one
        standard error of the highest. ``training_auc``: highest resubstitution AUC, as the paper.
    """
    by_simplicity = sorted(fitted, key=lambda f: SIMPLICITY.index(f.name))
    if rule == "training_auc":
        return max(by_simplicity, key=lambda f: f.training_auc)
    best = max(by_simplicity, key=lambda f: f.inner_auc_mean)
    if rule == "inner_cv":
        return best
    return next(f for f in by_simplicity if f.inner_auc_mean >= best.inner_auc_mean - best.inner_auc_se)


def _algorithm(name: str, seed: int) -> Any:
    match name:
        case "LR":
            return LogisticRegression(max_iter=MAXIMUM_ITERATIONS)
        case "SVM":
            return SVC(random_state=seed)
        case "MLP":
            # L-BFGS suits a few hundred rows: no learning rate to tune, and convergence can be reached.
            return MLPClassifier(
                solver="lbfgs", max_iter=MAXIMUM_ITERATIONS, max_fun=10 * MAXIMUM_ITERATIONS, random_state=seed
            )
        case "LightGBM":
            return LGBMClassifier(
                subsample=0.8,
                subsample_freq=1,
                colsample_bytree=0.8,
                deterministic=True,
                force_col_wise=True,
                n_jobs=1,
                random_state=seed,
                verbose=-1,
            )
        case "XGBoost":
            return XGBClassifier(subsample=0.8, colsample_bytree=0.8, tree_method="exact", n_jobs=1, random_state=seed)
        case "RF":
            return RandomForestClassifier(n_jobs=1, random_state=seed)
        case "ExtraTrees":
            return ExtraTreesClassifier(n_jobs=1, random_state=seed)
    raise TrainingError(Reason.MODEL_FIT_FAILED, f"{name!r} is none of the algorithms {', '.join(SIMPLICITY)}")


def _calibrated(
    tuned: SVC, Z: NDArray[np.float64], y: NDArray[np.int64], patients: Sequence[str], seed: int
) -> ProbabilityEstimator:
    """Give the margin a probability by Platt scaling on held-out margins; the machine itself is fitted on all rows.

    With few rows held-out margins may rank the wrong way around. The scaling would then turn the machine over, which is
    learning from noise; the prevalence is all that is known.
    """
    folds = stratified_folds(y, patients, min(CALIBRATION_FOLDS, smaller_class(y, patients)), seed)
    calibrated = CalibratedClassifierCV(tuned, method="sigmoid", cv=folds, ensemble=False).fit(Z, y)
    order = np.argsort(tuned.decision_function(Z))
    lowest, highest = calibrated.predict_proba(Z[order[[0, -1]]])[:, 1]
    return calibrated if highest > lowest else ConstantClassifier(float(y.mean()))


def _probability(estimator: ProbabilityEstimator, Z: NDArray[np.float64]) -> NDArray[np.float64]:
    if isinstance(estimator, XGBClassifier):
        # XGBoost's own sigmoid is float32, which cannot tell 0.9999999 from 1; the margin can.
        return expit(estimator.predict(Z, output_margin=True).astype(np.float64))
    return np.asarray(estimator.predict_proba(Z)[:, 1], dtype=np.float64)
