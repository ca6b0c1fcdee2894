"""The penalty path of the LASSO and its cross-validation curve, for a linear or a logistic model of a 0/1 outcome."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LassoCV, LogisticRegression, lasso_path
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.patient_folds import Folds, smaller_class, stratified_folds

# Penalties fall geometrically from the smallest that excludes every feature. Below a hundredth of it the model of a
# cohort with more features than patients is saturated and only costs time.
PENALTY_COUNT = 50
SMALLEST_PENALTY_RATIO = 0.01
SMALLEST_PENALTY = 1e-6
# liblinear penalizes the intercept; on this scale the penalty on it is a 30th of the one on a coefficient.
INTERCEPT_SCALING = 30.0
MAXIMUM_ITERATIONS = 20_000


@dataclass(frozen=True, eq=False)
class LassoPath:
    """Coefficients along the penalty and the cross-validated loss.

    Attributes
    ----------
    names
        Features that entered the LASSO.
    lambdas
        float64 (n_lambda,), decreasing; multiplies the sum of absolute coefficients beside the mean loss.
    coefficients
        float64 (n_lambda, n_features), on the standardized scale.
    cv_mean, cv_se
        float64 (n_lambda,): mean over folds of the held-out loss and its standard error. Loss is the mean squared error of
        the linear and the mean binomial deviance of the logistic model.
    index_min
        Position of the smallest ``cv_mean``.
    index_one_se
        Position of the largest penalty within one standard error of it.
    notes
        What was unusual.
    """

    names: tuple[str, ...]
    lambdas: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    cv_mean: NDArray[np.float64]
    cv_se: NDArray[np.float64]
    index_min: int
    index_one_se: int
    notes: tuple[str, ...] = ()


def fit_lasso_path(
    z: NDArray[np.float64],
    outcome: NDArray[np.int64],
    names: tuple[str, ...],
    *,
    kind: Literal["linear", "logistic"],
    folds: int,
    seed: int,
    patients: Sequence[str] | None = None,
) -> LassoPath:
    """Fit the path on all rows and its loss by stratified cross-validation.

    Parameters
    ----------
    z
        float64 (n_cases, n_features), standardized, at least one column.
    outcome
        int64 (n_cases,), at least two of each class.
    folds
        Wanted; reduced to the size of the smaller class if that is less, and noted.
    patients
        (n_cases,) patient of each row, where some have several; they stay together.

    References
    ----------
    Tibshirani R. J R Stat Soc B 1996;58:267 (doi:10.1111/j.2517-6161.1996.tb02080.x). One-standard-error rule: Breiman L
    et al., Classification and Regression Trees, 1984, section 3.4.3.
    """
    owners = [str(row) for row in range(len(outcome))] if patients is None else patients
    possible = min(folds, smaller_class(outcome, owners))
    notes = [] if possible == folds else [f"LASSO: {possible} folds instead of {folds}, the size of the smaller class"]
    splits = stratified_folds(outcome, owners, possible, seed)
    with warnings.catch_warnings(record=True) as caught, threadpool_limits(limits=1):
        warnings.simplefilter("error")
        warnings.simplefilter("always", ConvergenceWarning)
        fit = _linear if kind == "linear" else _logistic
        lambdas, coefficients, loss = fit(z, outcome, splits, seed)
    if caught:
        notes.append(f"LASSO: {len(caught)} of the fits along the path stopped at the iteration limit")
    mean = loss.mean(axis=1)
    se = loss.std(axis=1, ddof=1) / np.sqrt(loss.shape[1])
    best = int(np.argmin(mean))
    return LassoPath(
        names=names,
        lambdas=lambdas,
        coefficients=coefficients,
        cv_mean=mean,
        cv_se=se,
        index_min=best,
        index_one_se=int(np.flatnonzero(mean <= mean[best] + se[best])[0]),
        notes=tuple(notes),
    )


_Fitted = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _linear(z: NDArray[np.float64], outcome: NDArray[np.int64], splits: Folds, seed: int) -> _Fitted:
    y = outcome.astype(np.float64)
    model = LassoCV(alphas=PENALTY_COUNT, eps=SMALLEST_PENALTY_RATIO, cv=splits, max_iter=MAXIMUM_ITERATIONS, random_state=seed)
    model.fit(z, y)
    _, coefficients, _ = lasso_path(z, y - y.mean(), alphas=model.alphas_, max_iter=MAXIMUM_ITERATIONS)
    return model.alphas_, np.ascontiguousarray(coefficients.T), model.mse_path_


def _logistic(z: NDArray[np.float64], outcome: NDArray[np.int64], splits: Folds, seed: int) -> _Fitted:
    # The gradient of the mean log-likelihood of the intercept-only model is largest at the penalty that frees one feature.
    largest = float(np.abs(z.T @ (outcome - outcome.mean())).max()) / len(outcome)
    largest = max(largest, SMALLEST_PENALTY)
    lambdas = largest * np.geomspace(1.0, SMALLEST_PENALTY_RATIO, PENALTY_COUNT)
    coefficients = np.stack([_fit_logistic(z, outcome, penalty, seed).coef_[0] for penalty in lambdas])
    coefficients[0] = 0.0
    loss = np.empty((PENALTY_COUNT, len(splits)))
    for column, (train, held_out) in enumerate(splits):
        for row, penalty in enumerate(lambdas):
            model = _fit_logistic(z[train], outcome[train], penalty, seed)
            linear = model.decision_function(z[held_out])
            # Mean binomial deviance, written so that it does not overflow.
            loss[row, column] = 2.0 * np.mean(np.logaddexp(0.0, linear) - outcome[held_out] * linear)
    return lambdas, coefficients, loss


def _fit_logistic(z: NDArray[np.float64], outcome: NDArray[np.int64], penalty: float, seed: int) -> LogisticRegression:
    model = LogisticRegression(
        C=1.0 / (len(outcome) * penalty),
        l1_ratio=1.0,
        solver="liblinear",
        intercept_scaling=INTERCEPT_SCALING,
        max_iter=MAXIMUM_ITERATIONS,
        random_state=seed,
    )
    # A path is a thousand small fits; most of their time would go into checks of what a feature table has been checked for.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        return model.fit(z, outcome)
