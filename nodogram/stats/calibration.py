"""Calibration in numbers: whether predicted probabilities mean what they say, and how to make them if they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from nodogram.stats.classification import Proportion
from nodogram.stats.logistic import maximize_likelihood
from nodogram.stats.resampling import BootstrapInterval, percentile_interval, replicate_chunks, resampled_counts

RecalibrationMethod = Literal["intercept", "intercept_and_slope"]

# Probabilities of exactly 0 or 1 have no logit.
PROBABILITY_CLIP = 1e-6
# Standard deviation of predictions below which they count as one and the same.
CONSTANT = 1e-10


@dataclass(frozen=True)
class CalibrationLine:
    """Weak calibration, from two logistic models of the outcome on logit(probability), with Wald intervals.

    Attributes
    ----------
    slope, slope_low, slope_high
        1 is ideal; below 1 predictions are too extreme. ``None`` where it cannot be estimated (constant prediction, or
        predictions that separate the outcomes).
    intercept, intercept_low, intercept_high
        Calibration in the large: intercept with the slope fixed at 1; 0 is ideal, below 0 risk is overestimated.
    joint_intercept, joint_intercept_low, joint_intercept_high
        Intercept of the model that estimates the slope as well (``Intercept`` of R's ``rms::val.prob``): log odds of the
        outcome where the prediction is one half; ``None`` with the slope.

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
    joint_intercept: float | None = None
    joint_intercept_low: float | None = None
    joint_intercept_high: float | None = None


@dataclass(frozen=True)
class ObservedToExpected:
    """Observed events over the sum of probabilities; 1 is ideal, above 1 risk is underestimated.

    Attributes
    ----------
    ratio, low, high
        ``None`` where no event is expected at all.
    """

    observed: int
    expected: float
    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class BrierIntervals:
    """Brier score and scaled Brier score with percentile intervals; the latter is not defined with one outcome only."""

    brier: BootstrapInterval
    scaled: BootstrapInterval


@dataclass(frozen=True)
class Recalibration:
    """What turns a model's probabilities into those of a new site: logit P = intercept + slope * logit(probability)."""

    intercept: float
    slope: float

    def apply(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return recalibrated probabilities (n,) of probabilities (n,), 0 to 1."""
        return np.asarray(expit(self.intercept + self.slope * _logit(probability)), dtype=np.float64)


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


def brier_intervals(
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    *,
    replicates: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> BrierIntervals:
    """Return both Brier scores with percentile intervals; patients are drawn from all, so that prevalence varies as well.

    Parameters
    ----------
    outcome, probability
        (n,).
    """
    columns = np.column_stack([(probability - outcome) ** 2, outcome]).astype(np.float64)
    patients = np.arange(outcome.size)
    parts = [columns.mean(axis=0, keepdims=True)]
    for rows in replicate_chunks(replicates, outcome.size):
        parts.append(resampled_counts(patients, outcome.size, replicates=rows, rng=rng) @ columns / outcome.size)
    brier, prevalence = np.concatenate(parts).T
    reference = prevalence * (1 - prevalence)
    # One sample with one outcome only has no variance to explain.
    scaled = 1 - np.divide(brier, reference, out=np.full_like(brier, np.nan), where=reference > 0)
    return BrierIntervals(
        percentile_interval(float(brier[0]), brier[1:], level), percentile_interval(float(scaled[0]), scaled[1:], level)
    )


def observed_to_expected(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], level: float = 0.95
) -> ObservedToExpected:
    """Return observed events over the sum of probabilities, which is taken as known: its interval is Wilson's of the former.

    Parameters
    ----------
    outcome, probability
        (n,).
    """
    observed, expected = int(outcome.sum()), float(probability.sum())
    share = Proportion.of(observed, outcome.size, level)
    if not expected or share.low is None or share.high is None:
        return ObservedToExpected(observed, expected, None, None, None)
    mean = expected / outcome.size
    return ObservedToExpected(observed, expected, observed / expected, share.low / mean, share.high / mean)


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
    linear = _logit(probability)
    intercept, error = _in_the_large(outcome, linear)
    large = (intercept, intercept - z * error, intercept + z * error)
    line = _line(outcome, linear)
    if line is None:
        return CalibrationLine(None, None, None, *large)
    slope, joint = ((value, value - z * spread, value + z * spread) for value, spread in line)
    return CalibrationLine(*slope, *large, *joint)


def recalibrate(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], method: RecalibrationMethod = "intercept"
) -> Recalibration | None:
    """Fit a model's probabilities to the patients of a new site.

    Parameters
    ----------
    outcome
        (n,), 0 or 1.
    probability
        (n,), 0 to 1, as predicted by the model.
    method
        ``intercept`` moves all log odds by the same amount, so that as many events are expected as observed;
        ``intercept_and_slope`` stretches them as well and needs more patients.

    Returns
    -------
    recalibration : Recalibration or None
        ``None`` where it cannot be estimated: one outcome only or, for the slope, predictions that are constant or separate
        the outcomes.

    References
    ----------
    Steyerberg et al. 2004, doi:10.1002/sim.1844 (methods 1 and 2). Vergouwe et al. 2017, doi:10.1002/sim.7179.
    """
    if not 0 < outcome.sum() < outcome.size:
        return None
    _check(outcome, probability)
    linear = _logit(probability)
    if method == "intercept":
        return Recalibration(_in_the_large(outcome, linear)[0], 1.0)
    line = _line(outcome, linear)
    return None if line is None else Recalibration(intercept=line[1][0], slope=line[0][0])


def _in_the_large(outcome: NDArray[np.int64], linear: NDArray[np.float64]) -> tuple[float, float]:
    """Return the intercept with the slope held at 1, and its standard error."""
    design = np.column_stack([np.ones_like(linear), linear])
    found = maximize_likelihood(design, outcome, start=np.array([0.0, 1.0]), free=np.array([True, False]))
    if found is None:
        raise ArithmeticError("the calibration intercept did not converge")
    return float(found.beta[0]), float(np.sqrt(found.covariance[0, 0]))


def _line(outcome: NDArray[np.int64], linear: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Return slope and intercept of one model, each with its standard error, or None where no slope exists."""
    positive, negative = linear[outcome == 1], linear[outcome == 0]
    separated = positive.min() >= negative.max() or negative.min() >= positive.max()
    spread = float(linear.std())
    if separated or spread < CONSTANT:
        return None
    center = float(linear.mean())
    found = maximize_likelihood(np.column_stack([np.ones_like(linear), (linear - center) / spread]), outcome)
    if found is None:
        return None
    back = np.array([[0.0, 1 / spread], [1.0, -center / spread]])
    values, errors = back @ found.beta, np.sqrt(np.diag(back @ found.covariance @ back.T))
    return (float(values[0]), float(errors[0])), (float(values[1]), float(errors[1]))


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(probability, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP)), dtype=np.float64)


def _check(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> None:
    if outcome.shape != probability.shape or not 0 < outcome.sum() < outcome.size:
        raise ValueError("outcome must hold 0 and 1, both at least once, for as many patients as there are probabilities")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must lie between 0 and 1")
