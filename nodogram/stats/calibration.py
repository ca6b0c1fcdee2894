"""Calibration: whether predicted probabilities mean what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import norm

from nodogram.stats.classification import Proportion
from nodogram.stats.logistic import maximize_likelihood

# Probabilities of exactly 0 or 1 have no logit.
PROBABILITY_CLIP = 1e-6
# Standard deviation of predictions below which they count as one and the same.
CONSTANT = 1e-10


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


@dataclass(frozen=True, eq=False)
class GroupedCalibration:
    """Points of a calibration plot.

    Attributes
    ----------
    predicted
        float64 (n_groups,), mean prediction of each group, ascending.
    observed
        Share with the outcome in each group, with its interval.
    """

    predicted: NDArray[np.float64]
    observed: tuple[Proportion, ...]


@dataclass(frozen=True, eq=False)
class SmoothedCalibration:
    """Curve of a calibration plot: predicted and observed probability, float64 (n_points,) each."""

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]


def brier_score(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Return the mean squared difference of probability (n,) and outcome (n,); 0 is perfect."""
    return float(np.mean((probability - outcome) ** 2))


def scaled_brier_score(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Return 1 - Brier / Brier of the prevalence (index of prediction accuracy); 1 is perfect, 0 no better than prevalence.

    Parameters
    ----------
    outcome, probability
        (n,); both outcomes present.
    """
    _check(outcome, probability)
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
    _check(outcome, probability)
    z = float(norm.ppf(0.5 + level / 2))
    linear = logit(np.clip(probability, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP))
    intercept, intercept_error = _in_the_large(outcome, linear)
    line = _slope(outcome, linear)
    return CalibrationLine(
        slope=None if line is None else line[0],
        slope_low=None if line is None else line[0] - z * line[1],
        slope_high=None if line is None else line[0] + z * line[1],
        intercept=intercept,
        intercept_low=intercept - z * intercept_error,
        intercept_high=intercept + z * intercept_error,
    )


def grouped_calibration(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], group_count: int = 10, level: float = 0.95
) -> GroupedCalibration:
    """Compare mean prediction and observed share in groups of similar prediction.

    Parameters
    ----------
    outcome, probability
        (n,).
    group_count
        Groups of equal size wanted; patients with one prediction stay together, so there may be fewer.
    """
    cuts = np.quantile(probability, np.linspace(0, 1, group_count + 1)[1:-1], method="inverted_cdf")
    group = np.searchsorted(np.unique(cuts), probability, side="left")
    shares, means = [], []
    for label in np.unique(group):
        member = group == label
        shares.append(Proportion.of(int(outcome[member].sum()), int(member.sum()), level))
        means.append(float(probability[member].mean()))
    return GroupedCalibration(np.array(means), tuple(shares))


def smoothed_calibration(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], span: float = 0.75, point_count: int = 101
) -> SmoothedCalibration:
    """Smooth outcomes along predictions by local straight lines with tricube weights, clipped to 0 and 1.

    Parameters
    ----------
    outcome, probability
        (n,).
    span
        Share of patients each local line looks at, 0 to 1.
    point_count
        Predictions, equidistant over their range, at which the curve is given.

    References
    ----------
    Cleveland 1979, doi:10.1080/01621459.1979.10481038. Austin, Steyerberg 2014, doi:10.1002/sim.5941.
    """
    grid = np.linspace(probability.min(), probability.max(), point_count)
    neighbor_count = min(max(int(span * outcome.size + 1e-10), 2), outcome.size)
    return SmoothedCalibration(grid, np.clip([_local_line(outcome, probability, x, neighbor_count) for x in grid], 0.0, 1.0))


def _local_line(outcome: NDArray[np.int64], probability: NDArray[np.float64], x: float, neighbor_count: int) -> float:
    distance = np.abs(probability - x)
    reach = float(np.partition(distance, neighbor_count - 1)[neighbor_count - 1])
    if reach == 0:
        return float(outcome[distance == 0].mean())
    weight = (1 - np.minimum(distance / reach, 1) ** 3) ** 3
    center = float(np.average(probability, weights=weight))
    offset = probability - center
    spread = float((weight * offset**2).sum())
    level = float(np.average(outcome, weights=weight))
    # All weight on one prediction: there is no line, only its mean.
    if spread <= CONSTANT * float(weight.sum()):
        return level
    return level + float((weight * offset * outcome).sum()) / spread * (x - center)


def _in_the_large(outcome: NDArray[np.int64], linear: NDArray[np.float64]) -> tuple[float, float]:
    """Return the intercept with the slope held at 1, and its standard error."""
    design = np.column_stack([np.ones_like(linear), linear])
    found = maximize_likelihood(design, outcome, start=np.array([0.0, 1.0]), free=np.array([True, False]))
    if found is None:
        raise ArithmeticError("the calibration intercept did not converge")
    return float(found.beta[0]), float(np.sqrt(found.covariance[0, 0]))


def _slope(outcome: NDArray[np.int64], linear: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return the slope and its standard error, or None where none exists."""
    positive, negative = linear[outcome == 1], linear[outcome == 0]
    separated = positive.min() >= negative.max() or negative.min() >= positive.max()
    spread = float(linear.std())
    if separated or spread < CONSTANT:
        return None
    found = maximize_likelihood(np.column_stack([np.ones_like(linear), (linear - linear.mean()) / spread]), outcome)
    return None if found is None else (float(found.beta[1]) / spread, float(np.sqrt(found.covariance[1, 1])) / spread)


def _check(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> None:
    if outcome.shape != probability.shape or not 0 < outcome.sum() < outcome.size:
        raise ValueError("outcome must hold 0 and 1, both at least once, for as many patients as there are probabilities")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1")
