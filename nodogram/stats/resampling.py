"""Patient-level resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def bootstrap_interval(
    outcome: NDArray[np.int64],
    score: NDArray[np.float64],
    statistic: Callable[[NDArray[np.int64], NDArray[np.float64]], float],
    *,
    replicates: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of a statistic from a bootstrap stratified by outcome.

    Parameters
    ----------
    outcome, score
        (n,), one row per patient.
    replicates
        Number of resamples; 2000 for a figure that is printed.
    """
    groups = [np.flatnonzero(outcome == label) for label in (0, 1)]
    values = np.empty(replicates)
    for i in range(replicates):
        rows = np.concatenate([rng.choice(group, group.size) for group in groups])
        values[i] = statistic(outcome[rows], score[rows])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
