"""Patient-level resampling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.int64], NDArray[np.float64]], float]


@dataclass(frozen=True)
class BootstrapInterval:
    """Percentile interval of a statistic.

    Attributes
    ----------
    value
        The statistic of the patients themselves.
    low, high
        Quantiles of the resamples.
    replicate_count
        Resamples in which the statistic was defined.
    """

    value: float
    low: float
    high: float
    replicate_count: int


def bootstrap_interval(
    outcome: NDArray[np.int64],
    score: NDArray[np.float64],
    statistic: Statistic,
    *,
    replicates: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> BootstrapInterval:
    """Return the percentile interval of a statistic from a bootstrap stratified by outcome.

    Parameters
    ----------
    outcome
        (n,), 0 or 1, one row a patient.
    score
        (n,) or (n, k): rows are drawn whole, so that several scores of a patient stay together.
    statistic
        Function of resampled outcome and score; NaN where it is not defined, which leaves that resample out.
    replicates
        Number of resamples; 2000 for a figure that is printed.

    References
    ----------
    Efron, Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    if replicates < 1:
        raise ValueError(f"{replicates} resamples; at least one is required")
    groups = [np.flatnonzero(outcome == label) for label in (0, 1)]
    values = np.empty(replicates)
    for i in range(replicates):
        rows = np.concatenate([rng.choice(group, group.size) for group in groups if group.size])
        values[i] = statistic(outcome[rows], score[rows])
    defined = values[~np.isnan(values)]
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) if defined.size else (np.nan, np.nan)
    return BootstrapInterval(float(statistic(outcome, score)), float(low), float(high), int(defined.size))
