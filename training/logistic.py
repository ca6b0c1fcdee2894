"""Logistic regression as a table of odds ratios: maximum likelihood, or Firth's penalty where the data separate."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.optimize import brentq, linprog
from scipy.stats import chi2, norm

from nodogram.errors import Reason, TrainingError
from nodogram.stats.logistic import Penalty, log_likelihood, maximize_likelihood

Interval = Literal["wald", "profile"]
Separation = Literal["firth", "stop"]

MAXIMUM_ITERATIONS = 200
# Log odds per standard deviation beyond which a profile bound is called infinite.
BOUND_LIMIT = 40.0
# Share of a column that other columns must leave unexplained for it to have a coefficient of its own.
SMALLEST_RESIDUAL = 1e-7


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
    log_likelihood
        With the penalty where ``method`` is ``Firth``.
    method
        ``maximum likelihood`` or ``Firth``.
    notes
        What was unusual: separation, columns that are constant or determined by others.
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
    interval: Interval | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Solution:
    """A maximum in standardized columns, intercept first."""

    beta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float
    penalty: Penalty


def fit_logistic(
    design: NDArray[np.float64],
    names: tuple[str, ...],
    outcome: NDArray[np.int64],
    *,
    interval: Interval | None,
    separation: Separation,
    level: float = 0.95,
) -> LogisticFit:
    """Fit outcome on the columns of a design.

    Parameters
    ----------
    design
        (n, p) without intercept, finite. A column that is constant, or a combination of columns before it, gets
        coefficient 0, no interval and a note.
    outcome
        (n,), 0 or 1, both present.
    interval
        ``wald``, or ``profile``: bounds where the (penalized) likelihood ratio statistic reaches its chi-squared limit. A
        fit by Firth's penalty always gets ``profile``: Wald's mislead where the outcomes separate. ``None`` leaves intervals
        and p values out, where the coefficients alone are wanted: finding profile bounds takes many times as long as the fit.
    separation
        What to do when a combination of columns separates the outcomes and no maximum exists: ``firth`` fits with Jeffreys'
        prior and says so, ``stop`` refuses.

    Raises
    ------
    TrainingError
        ``MODEL_FIT_FAILED`` if the data separate and the recipe says stop, if they hold one outcome only or a value that is
        not finite, or if no maximum was found.

    References
    ----------
    Firth 1993, doi:10.1093/biomet/80.1.27. Heinze, Schemper 2002, doi:10.1002/sim.1047. Detection of separation by linear
    programming: Konis 2007.
    """
    _check(design, outcome)
    columns, notes = _estimable(design, names)
    center, scale = design[:, columns].mean(axis=0), design[:, columns].std(axis=0)
    # Standardized columns: the same model, but a step and a tolerance mean the same for age, volume and indicators.
    X = np.column_stack([np.ones(outcome.size), (design[:, columns] - center) / scale])
    solution, remarks = _solve(X, outcome, tuple(names[j] for j in columns), separation)
    if interval is None:
        nothing = np.full(X.shape[1], np.nan)
        bounds = nothing, nothing, nothing
    else:
        interval = "profile" if solution.penalty == "jeffreys" else interval
        bounds = _wald(solution, level) if interval == "wald" else _profile(X, outcome, solution, level)
        remarks += [
            f"no profile interval of {names[j]} was found" for j, p in zip(columns, bounds[2][1:], strict=True) if np.isnan(p)
        ]
    return _table(design.shape[1], columns, names, solution, bounds, center, scale, interval, (*notes, *remarks))


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


def _check(design: NDArray[np.float64], outcome: NDArray[np.int64]) -> None:
    if not np.isfinite(design).all():
        raise TrainingError(Reason.MODEL_FIT_FAILED, "the design of a logistic regression holds a value that is not finite")
    events = int(outcome.sum())
    if not 0 < events < outcome.size:
        raise TrainingError(
            Reason.MODEL_FIT_FAILED, f"{events} of {outcome.size} patients have the outcome; both outcomes are required"
        )


def _estimable(design: NDArray[np.float64], names: tuple[str, ...]) -> tuple[list[int], list[str]]:
    """Return the columns that have a coefficient of their own, and a note for each of the others."""
    columns: list[int] = []
    notes = []
    basis = np.full((len(design), 1), 1 / np.sqrt(len(design)))
    for j, name in enumerate(names):
        column = design[:, j] - design[:, j].mean()
        length = float(np.linalg.norm(column))
        if np.ptp(design[:, j]) == 0 or length <= 1e-12 * float(np.linalg.norm(design[:, j])):
            notes.append(f"{name} is the same for all patients: coefficient 0")
            continue
        rest = column - basis @ (basis.T @ column)
        if np.linalg.norm(rest) <= SMALLEST_RESIDUAL * length:
            notes.append(f"{name} is determined by the columns before it: coefficient 0")
            continue
        basis = np.column_stack([basis, rest / np.linalg.norm(rest)])
        columns.append(j)
    return columns, notes


def _solve(
    X: NDArray[np.float64], outcome: NDArray[np.int64], names: tuple[str, ...], separation: Separation
) -> tuple[_Solution, list[str]]:
    """Find the maximum, by Firth's penalty where there is no other and the recipe allows it."""
    separated = bool(names) and is_separated(X, outcome)
    found = None if separated else _maximum_likelihood(X, outcome)
    if found is not None:
        return found, []
    if separation == "stop":
        trouble = "the outcomes are separated by" if separated else "maximum likelihood did not converge for"
        raise TrainingError(Reason.MODEL_FIT_FAILED, f"{trouble} {', '.join(names)}; no odds ratio exists")
    trouble = "the predictors separate the outcomes" if separated else "maximum likelihood did not converge"
    return _firth(X, outcome), [f"{trouble}: Firth's penalized likelihood was used"]


def _maximum_likelihood(X: NDArray[np.float64], outcome: NDArray[np.int64]) -> _Solution | None:
    with warnings.catch_warnings():
        # What statsmodels would warn of is asked for below.
        warnings.simplefilter("ignore")
        try:
            fit = sm.Logit(outcome, X).fit(disp=0, method="newton", maxiter=MAXIMUM_ITERATIONS)
        except np.linalg.LinAlgError:
            return None
    if not fit.mle_retvals["converged"] or not np.isfinite(fit.bse).all():
        return None
    return _Solution(np.asarray(fit.params), np.asarray(fit.cov_params()), float(fit.llf), "none")


def _firth(X: NDArray[np.float64], outcome: NDArray[np.int64]) -> _Solution:
    found = maximize_likelihood(X, outcome, penalty="jeffreys")
    if found is None:
        raise TrainingError(Reason.MODEL_FIT_FAILED, "Firth's penalized likelihood has no maximum that could be reached")
    return _Solution(found.beta, found.covariance, found.log_likelihood, "jeffreys")


Bounds = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _wald(solution: _Solution, level: float) -> Bounds:
    error = np.sqrt(np.diag(solution.covariance))
    z = float(norm.ppf(0.5 + level / 2))
    return solution.beta - z * error, solution.beta + z * error, 2 * norm.sf(np.abs(solution.beta / error))


def _profile(X: NDArray[np.float64], outcome: NDArray[np.int64], solution: _Solution, level: float) -> Bounds:
    limit = float(chi2.ppf(level, 1))
    low, high, p = (np.full(X.shape[1], np.nan) for _ in range(3))
    for j in range(1, X.shape[1]):
        excess = partial(_excess, X, outcome, solution, j, limit)
        estimate, error = float(solution.beta[j]), float(np.sqrt(solution.covariance[j, j]))
        with contextlib.suppress(_Unreached):  # no interval, and said so, rather than one that is too short
            lower, upper = _bound(excess, estimate, -error), _bound(excess, estimate, error)
            low[j], high[j], p[j] = lower, upper, float(chi2.sf(max(excess(0.0) + limit, 0.0), 1))
    return low, high, p


class _Unreached(Exception):  # noqa: N818 - never leaves this module
    """The largest likelihood with one coefficient held was not found."""


def _excess(
    X: NDArray[np.float64], outcome: NDArray[np.int64], solution: _Solution, j: int, limit: float, value: float
) -> float:
    """Return by how much the likelihood ratio statistic of a held coefficient is above its limit."""
    free = np.arange(X.shape[1]) != j
    # The other coefficients move along with this one: a start near their maximum, wherever this one is held.
    start = solution.beta + solution.covariance[:, j] / solution.covariance[j, j] * (value - solution.beta[j])
    if not np.isfinite(log_likelihood(X, outcome, start, solution.penalty)):
        start = np.where(free, 0.0, value)
    held = maximize_likelihood(X, outcome, penalty=solution.penalty, start=start, free=free)
    if held is None:
        raise _Unreached
    return 2 * (solution.log_likelihood - held.log_likelihood) - limit


def _bound(excess: Callable[[float], float], start: float, step: float) -> float:
    """Walk outward from the estimate until the limit is crossed, then find the crossing; infinite if it never is."""
    inner, reach = start, 2 * step
    while abs(reach) <= BOUND_LIMIT * max(abs(step), 1.0):
        outer = start + reach
        if excess(outer) > 0:
            return float(brentq(excess, min(inner, outer), max(inner, outer), xtol=1e-9))
        inner, reach = outer, reach * 1.6
    return float(np.copysign(np.inf, step))


def _table(
    count: int,
    columns: list[int],
    names: tuple[str, ...],
    solution: _Solution,
    bounds: Bounds,
    center: NDArray[np.float64],
    scale: NDArray[np.float64],
    interval: Interval | None,
    notes: tuple[str, ...],
) -> LogisticFit:
    """Return to the units of the design; columns without a coefficient get 0 and no interval."""
    beta = np.zeros(count)
    error, low, high, p = (np.full(count, np.nan) for _ in range(4))
    beta[columns] = solution.beta[1:] / scale
    error[columns] = np.sqrt(np.diag(solution.covariance))[1:] / scale
    with np.errstate(over="ignore"):
        odds, low[columns], high[columns] = np.exp(beta), np.exp(bounds[0][1:] / scale), np.exp(bounds[1][1:] / scale)
    p[columns] = bounds[2][1:]
    is_firth = solution.penalty == "jeffreys"
    # Jeffreys' penalty depends on the units through the determinant of the information.
    units = float(np.log(scale).sum()) if is_firth else 0.0
    return LogisticFit(
        names=names,
        intercept=float(solution.beta[0] - center @ beta[columns]),
        coefficient=tuple(beta.tolist()),
        standard_error=tuple(error.tolist()),
        odds_ratio=tuple(odds.tolist()),
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        p_value=tuple(p.tolist()),
        log_likelihood=solution.log_likelihood + units,
        method="Firth" if is_firth else "maximum likelihood",
        interval=interval,
        notes=notes,
    )
