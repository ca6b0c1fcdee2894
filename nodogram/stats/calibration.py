"""Calibration: whether predicted probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

# Probabilities of exactly 0 or 1 have no logit.
PROBABILITY_CLIP = 1e-6
MAXIMUM_ITERATIONS = 100
CONVERGED = 1e-10


@dataclass(frozen=True)
class CalibrationLine:
    """Weak calibration: logit P(outcome) = intercept + slope * logit(probability).

    Attributes
    ----------
    slope, slope_low, slope_high
        1 is ideal; below 1 predictions are too extreme. ``None`` where it cannot be estimated (constant prediction, or
        predictions that separate the outcomes).
    intercept, intercept_low, intercept_high
        Calibration in the large: intercept with the slope fixed at 1; 0 is ideal, below 0 risk is overestimated.

    References
    ----------
    Cox 1958, doi:10.1093/biomet/45.3-4.562. Van Calster et al. 2019, doi:10.1186/s12916-019-1466-7.
    """

    slope: float | None
    slope_low: float | None
    slope_high: float | None
    intercept: float
    intercept_low: float
    intercept_high: float


def brier_score(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Return the mean squared difference of probability (n,) and outcome (n,); 0 is perfect."""
    return float(np.mean((probability - outcome) ** 2))


def scaled_brier_score(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Return 1 - Brier / Brier of the prevalence (index of prediction accuracy); 1 is perfect, 0 no better than prevalence."""
    prevalence = float(np.mean(outcome))
    return 1.0 - brier_score(outcome, probability) / (prevalence * (1 - prevalence))


def observed_to_expected(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Return observed events over the sum of probabilities; 1 is ideal."""
    return float(np.sum(outcome) / np.sum(probability))


def calibration_line(outcome: NDArray[np.int64], probability: NDArray[np.float64], level: float = 0.95) -> CalibrationLine:
    """Estimate calibration slope and intercept with Wald intervals.

    Parameters
    ----------
    outcome
        (n,), 0 or 1, both present.
    probability
        (n,), 0 to 1.
    """
    z = float(norm.ppf(0.5 + level / 2))
    linear = logit(np.clip(probability, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP))
    in_the_large = _logistic(np.ones((outcome.size, 1)), outcome, offset=linear)
    if in_the_large is None:
        raise ValueError("outcome must hold 0 and 1, both at least once")
    (intercept,), (error,) = in_the_large
    line = None if np.ptp(linear) < CONVERGED else _logistic(np.column_stack([np.ones_like(linear), linear]), outcome)
    if line is None:
        return CalibrationLine(None, None, None, float(intercept), float(intercept - z * error), float(intercept + z * error))
    slope, slope_error = float(line[0][1]), float(line[1][1])
    return CalibrationLine(
        slope,
        slope - z * slope_error,
        slope + z * slope_error,
        float(intercept),
        float(intercept - z * error),
        float(intercept + z * error),
    )


def _logistic(
    design: NDArray[np.float64], outcome: NDArray[np.int64], offset: NDArray[np.float64] | float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Fit by Newton steps with halving; return coefficients and standard errors, or None if there is no maximum."""
    beta = np.zeros(design.shape[1])
    best = _log_likelihood(design @ beta + offset, outcome)
    for _ in range(MAXIMUM_ITERATIONS):
        p = expit(design @ beta + offset)
        information = design.T @ (design * (p * (1 - p))[:, None])
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (outcome - p))
        size = 1.0
        while (value := _log_likelihood(design @ (beta + size * step) + offset, outcome)) < best - CONVERGED and size > 1e-6:
            size /= 2
        beta, best = beta + size * step, value
        if np.abs(size * step).max() < CONVERGED:
            return beta, np.sqrt(np.diag(np.linalg.inv(information)))
    return None


def _log_likelihood(linear: NDArray[np.float64], outcome: NDArray[np.int64]) -> float:
    return float(np.sum(outcome * linear - np.logaddexp(0.0, linear)))
