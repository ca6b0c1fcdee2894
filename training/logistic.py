"""Logistic regression as a table of odds ratios: maximum likelihood, or Firth's penalty where the data separate."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.optimize import brentq, linprog
from scipy.special import expit
from scipy.stats import chi2, norm

from nodogram.errors import Reason, TrainingError

Interval = Literal["wald", "profile"]
Separation = Literal["firth", "stop"]
Penalty = Literal["none", "jeffreys"]

MAXIMUM_ITERATIONS = 200
CONVERGED = 1e-9
# Log odds beyond which a profile bound is called infinite: an odds ratio of 4e8.
BOUND_LIMIT = 20.0


@dataclass(frozen=True)
class LogisticFit:
    """A fitted logistic regression.

    Attributes
    ----------
    names
        Columns of the design, without the intercept.
    coefficient, standard_error
        Log odds per unit.
    odds_ratio, low, high
        exp(coefficient) with its 95 % interval; a bound may be 0 or infinity.
    p_value
        Wald for ``wald`` intervals, likelihood ratio for ``profile`` intervals.
    method
        ``maximum likelihood`` or ``Firth``.
    notes
        What was unusual: separation, constant columns.
    """

    names: tuple[str, ...]
    intercept: float
    coefficient: tuple[float, ...]
    standard_error: tuple[float, ...]
    odds_ratio: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    p_value: tuple[float, ...]
    log_likelihood: float
    method: str
    interval: Interval
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Solution:
    beta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float


def fit_logistic(
    design: NDArray[np.float64],
    names: tuple[str, ...],
    outcome: NDArray[np.int64],
    *,
    interval: Interval,
    separation: Separation,
    level: float = 0.95,
) -> LogisticFit:
    """Fit outcome on the columns of a design.

    Parameters
    ----------
    design
        (n, p) without intercept, finite. Constant columns get coefficient 0 and no interval.
    outcome
        (n,), 0 or 1, both present.
    interval
        ``wald``, or ``profile``: bounds where the (penalized) likelihood ratio statistic reaches its chi-squared limit.
    separation
        What to do when a combination of columns separates the outcomes and no maximum exists: ``firth`` fits with Jeffreys'
        prior and says so, ``stop`` refuses.

    Raises
    ------
    TrainingError
        ``MODEL_FIT_FAILED`` if the data separate and the recipe says stop.

    References
    ----------
    Firth 1993, doi:10.1093/biomet/80.1.27. Heinze, Schemper 2002, doi:10.1002/sim.1047. Detection of separation by linear
    programming: Konis 2007.
    """
    columns = [j for j in range(design.shape[1]) if np.ptp(design[:, j]) > 0]
    notes = [f"{names[j]} is the same for all patients: coefficient 0" for j in range(design.shape[1]) if j not in columns]
    X = np.column_stack([np.ones(outcome.size), design[:, columns]])
    if columns and is_separated(X, outcome):
        if separation == "stop":
            separated = ", ".join(names[j] for j in columns)
            raise TrainingError(Reason.MODEL_FIT_FAILED, f"the outcomes are separated by {separated}; no odds ratio exists")
        notes.append("the predictors separate the outcomes: Firth's penalized likelihood was used")
        penalty: Penalty = "jeffreys"
        method, solution = "Firth", _firth(X, outcome)
    else:
        penalty = "none"
        method, solution = "maximum likelihood", _maximum_likelihood(X, outcome)
    bounds = _wald(solution, level) if interval == "wald" else _profile(X, outcome, solution, penalty, level)
    return _table(design.shape[1], columns, names, solution, bounds, method, interval, tuple(notes))


def is_separated(X: NDArray[np.float64], outcome: NDArray[np.int64]) -> bool:
    """Tell whether some direction ranks no patient wrongly and at least one strictly right (complete or quasi-complete).

    Parameters
    ----------
    X
        (n, p) with intercept.
    outcome
        (n,), 0 or 1.
    """
    scale = np.abs(X).max(axis=0)
    signed = (X / np.where(scale > 0, scale, 1.0)) * np.where(outcome == 1, 1.0, -1.0)[:, None]
    result = linprog(-signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)), bounds=(-1, 1), method="highs")
    return bool(result.status == 0 and -result.fun > 1e-7)


def _maximum_likelihood(X: NDArray[np.float64], outcome: NDArray[np.int64]) -> _Solution:
    with warnings.catch_warnings():
        # Separation was excluded before; what statsmodels still warns of shows in the result.
        warnings.simplefilter("ignore")
        fit = sm.Logit(outcome, X).fit(disp=0, method="newton", maxiter=MAXIMUM_ITERATIONS)
    return _Solution(np.asarray(fit.params), np.asarray(fit.cov_params()), float(fit.llf))


def _firth(X: NDArray[np.float64], outcome: NDArray[np.int64], fixed: tuple[int, float] | None = None) -> _Solution:
    """Maximize the likelihood with Jeffreys' prior, optionally with one coefficient held fixed."""
    free = [j for j in range(X.shape[1]) if fixed is None or j != fixed[0]]
    beta = np.zeros(X.shape[1])
    if fixed is not None:
        beta[fixed[0]] = fixed[1]
    best = _penalized(X, outcome, beta)
    for _ in range(MAXIMUM_ITERATIONS):
        p = expit(X @ beta)
        weight = p * (1 - p)
        inverse = np.linalg.pinv(X.T @ (X * weight[:, None]))
        leverage = weight * np.einsum("ij,jk,ik->i", X, inverse, X)
        score = X.T @ (outcome - p + leverage * (0.5 - p))
        information = (X[:, free] * weight[:, None]).T @ X[:, free]
        step = np.zeros(X.shape[1])
        step[free] = np.clip(np.linalg.pinv(information) @ score[free], -5, 5)
        size = 1.0
        # The Fisher information leaves out the curvature of the penalty, so full steps may overshoot for ever.
        while (value := _penalized(X, outcome, beta + size * step)) < best and size > 1e-8:
            size /= 2
        beta, best = beta + size * step, value
        if np.abs(size * step).max() < CONVERGED:
            break
    p = expit(X @ beta)
    return _Solution(beta, np.linalg.pinv(X.T @ (X * (p * (1 - p))[:, None])), best)


def _penalized(X: NDArray[np.float64], outcome: NDArray[np.int64], beta: NDArray[np.float64]) -> float:
    linear = X @ beta
    p = expit(linear)
    sign, determinant = np.linalg.slogdet(X.T @ (X * (p * (1 - p))[:, None]))
    likelihood = float(np.sum(outcome * linear - np.logaddexp(0.0, linear)))
    return likelihood + 0.5 * float(determinant) if sign > 0 else -np.inf


def _restricted(X: NDArray[np.float64], outcome: NDArray[np.int64], penalty: Penalty, index: int, value: float) -> float:
    """Return the largest log likelihood with one coefficient held at a value."""
    if penalty == "jeffreys":
        return _firth(X, outcome, (index, value)).log_likelihood
    others = np.delete(X, index, axis=1)
    offset = X[:, index] * value
    beta = np.zeros(others.shape[1])
    best = _likelihood(others @ beta + offset, outcome)
    for _ in range(MAXIMUM_ITERATIONS):
        p = expit(others @ beta + offset)
        information = others.T @ (others * (p * (1 - p))[:, None])
        step = np.clip(np.linalg.pinv(information) @ (others.T @ (outcome - p)), -5, 5)
        size = 1.0
        while (found := _likelihood(others @ (beta + size * step) + offset, outcome)) < best - CONVERGED and size > 1e-8:
            size /= 2
        beta, best = beta + size * step, found
        if np.abs(size * step).max() < CONVERGED:
            break
    return best


def _likelihood(linear: NDArray[np.float64], outcome: NDArray[np.int64]) -> float:
    return float(np.sum(outcome * linear - np.logaddexp(0.0, linear)))


Bounds = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _wald(solution: _Solution, level: float) -> Bounds:
    error = np.sqrt(np.diag(solution.covariance))
    z = float(norm.ppf(0.5 + level / 2))
    return solution.beta - z * error, solution.beta + z * error, 2 * norm.sf(np.abs(solution.beta / error))


def _profile(X: NDArray[np.float64], outcome: NDArray[np.int64], solution: _Solution, penalty: Penalty, level: float) -> Bounds:
    limit = float(chi2.ppf(level, 1))
    low, high = np.full(X.shape[1], np.nan), np.full(X.shape[1], np.nan)
    p = np.full(X.shape[1], np.nan)
    for j in range(1, X.shape[1]):

        def excess(value: float, j: int = j) -> float:
            return 2 * (solution.log_likelihood - _restricted(X, outcome, penalty, j, value)) - limit

        error = float(np.sqrt(solution.covariance[j, j]))
        low[j] = _bound(excess, float(solution.beta[j]), -error)
        high[j] = _bound(excess, float(solution.beta[j]), error)
        p[j] = float(chi2.sf(max(excess(0.0) + limit, 0.0), 1))
    return low, high, p


def _bound(excess: Callable[[float], float], start: float, step: float) -> float:
    """Walk outward from the estimate until the limit is crossed, then find the crossing; infinite if it never is."""
    inner, reach = start, 2 * step
    limit = BOUND_LIMIT * max(abs(step), 1.0)
    while abs(reach) <= limit:
        outer = start + reach
        if excess(outer) > 0:
            return float(brentq(excess, min(inner, outer), max(inner, outer), xtol=1e-8))
        inner, reach = outer, reach * 1.6
    return float(np.copysign(np.inf, step))


def _table(
    count: int,
    columns: list[int],
    names: tuple[str, ...],
    solution: _Solution,
    bounds: Bounds,
    method: str,
    interval: Interval,
    notes: tuple[str, ...],
) -> LogisticFit:
    low, high, p = bounds
    error = np.sqrt(np.diag(solution.covariance))
    filled: dict[str, list[float]] = {
        "beta": [0.0] * count,
        "error": [float("nan")] * count,
        "low": [float("nan")] * count,
        "high": [float("nan")] * count,
        "p": [float("nan")] * count,
    }
    for position, j in enumerate(columns, start=1):
        filled["beta"][j] = float(solution.beta[position])
        filled["error"][j] = float(error[position])
        filled["low"][j] = float(np.exp(low[position]))
        filled["high"][j] = float(np.exp(high[position]))
        filled["p"][j] = float(p[position])
    return LogisticFit(
        names=names,
        intercept=float(solution.beta[0]),
        coefficient=tuple(filled["beta"]),
        standard_error=tuple(filled["error"]),
        odds_ratio=tuple(float(np.exp(b)) for b in filled["beta"]),
        low=tuple(filled["low"]),
        high=tuple(filled["high"]),
        p_value=tuple(filled["p"]),
        log_likelihood=solution.log_likelihood,
        method=method,
        interval=interval,
        notes=notes,
    )
