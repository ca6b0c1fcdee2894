"""Agreement of repeated measurements and of outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution


@dataclass(frozen=True, eq=False)
class IccEstimates:
    """Intraclass correlation of single measurements, one per feature.

    Attributes
    ----------
    icc, low, high
        float64 (n_features,); 1 for perfect agreement. A feature without any variation has 0 with bounds 0 and 0.
    """

    icc: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def icc_absolute_agreement(ratings: NDArray[np.float64], level: float = 0.95) -> IccEstimates:
    """Return ICC(2,1): two-way random effects, absolute agreement, single measurement, for every feature at once.

    Parameters
    ----------
    ratings
        (n_subjects, n_raters, n_features), finite, at least two subjects and two raters.

    References
    ----------
    Shrout, Fleiss 1979, doi:10.1037/0033-2909.86.2.420. Interval: McGraw, Wong 1996, doi:10.1037/1082-989X.1.1.30.
    """
    n, k = ratings.shape[:2]
    msr, msc, mse = _mean_squares(ratings)
    with np.errstate(divide="ignore", invalid="ignore"):
        icc = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
        a = k * icc / (n * (1 - icc))
        b = 1 + k * icc * (n - 1) / (n * (1 - icc))
        # Satterthwaite degrees of freedom of the denominator a*MSC + b*MSE
        v = (a * msc + b * mse) ** 2 / ((a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1)))
        f_low = f_distribution.ppf(0.5 + level / 2, n - 1, v)
        f_high = f_distribution.ppf(0.5 + level / 2, v, n - 1)
        weight = k * msc + (k * n - k - n) * mse
        low = n * (msr - f_low * mse) / (f_low * weight + n * msr)
        high = n * (f_high * msr - mse) / (weight + n * f_high * msr)
    return _finish(icc, low, high, msr, mse + msc)


def icc_consistency(ratings: NDArray[np.float64], level: float = 0.95) -> IccEstimates:
    """Return ICC(3,1): two-way mixed effects, consistency, single measurement; see :func:`icc_absolute_agreement`."""
    n, k = ratings.shape[:2]
    msr, _, mse = _mean_squares(ratings)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = msr / mse
        icc = (msr - mse) / (msr + (k - 1) * mse)
        degrees = (n - 1) * (k - 1)
        f_low = ratio / f_distribution.ppf(0.5 + level / 2, n - 1, degrees)
        f_high = ratio * f_distribution.ppf(0.5 + level / 2, degrees, n - 1)
        low, high = (f_low - 1) / (f_low + k - 1), (f_high - 1) / (f_high + k - 1)
    return _finish(icc, low, high, msr, mse)


def dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of two masks of one shape; 1 for identical masks, 1 for two empty ones.

    References
    ----------
    Dice 1945, doi:10.2307/1932409.
    """
    if first.shape != second.shape:
        raise ValueError(f"masks of shape {first.shape} and {second.shape} cannot be compared")
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * np.count_nonzero(first & second) / total) if total else 1.0


def _mean_squares(ratings: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean squares of subjects, raters and error, (n_features,) each."""
    if ratings.ndim != 3 or min(ratings.shape[:2]) < 2 or not np.isfinite(ratings).all():
        raise ValueError(f"ratings of shape {ratings.shape}: (subjects >= 2, raters >= 2, features), finite, is required")
    n, k = ratings.shape[:2]
    grand = ratings.mean(axis=(0, 1))
    subjects, raters = ratings.mean(axis=1), ratings.mean(axis=0)
    msr = k * ((subjects - grand) ** 2).sum(axis=0) / (n - 1)
    msc = n * ((raters - grand) ** 2).sum(axis=0) / (k - 1)
    residual = ratings - subjects[:, None, :] - raters[None, :, :] + grand
    return msr, msc, (residual**2).sum(axis=(0, 1)) / ((n - 1) * (k - 1))


def _finish(
    icc: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    signal: NDArray[np.float64],
    disagreement: NDArray[np.float64],
) -> IccEstimates:
    """Give the limits their values: perfect agreement is 1, no variation at all is 0."""
    scale = np.maximum(signal, disagreement)
    perfect = (disagreement <= 1e-12 * scale) & (signal > 0)
    flat = scale == 0
    parts = (np.where(flat, 0.0, np.where(perfect, 1.0, part)) for part in (icc, low, high))
    return IccEstimates(*(np.where(np.isfinite(part), part, 0.0) for part in parts))
