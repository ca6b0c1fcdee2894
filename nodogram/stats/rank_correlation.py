"""Spearman's rank correlation with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

SMALLEST_SAMPLE = 4


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho.

    Attributes
    ----------
    rho
        -1 to 1; ``None`` with fewer than four patients or where one of the quantities is the same for all.
    low, high
        ``None`` with ``rho``, and where the ranks agree entirely, which leaves no variance.
    """

    rho: float | None
    low: float | None
    high: float | None


def spearman_interval(first: NDArray[np.float64], second: NDArray[np.float64], level: float = 0.95) -> RankCorrelation:
    """Return Spearman's rho with the interval of Bonett and Wright, on Fisher's z scale with variance (1 + rho²/2) / (n - 3).

    Parameters
    ----------
    first, second
        (n,), finite; ties get their mean rank.

    References
    ----------
    Bonett, Wright 2000, doi:10.1007/BF02294183.
    """
    if first.ndim != 1 or first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError(f"two finite quantities of the same patients are required, not {first.shape} and {second.shape}")
    if first.size < SMALLEST_SAMPLE or np.ptp(first) == 0 or np.ptp(second) == 0:
        return RankCorrelation(None, None, None)
    rho = float(np.clip(np.corrcoef(rankdata(first), rankdata(second))[0, 1], -1.0, 1.0))
    if 1 - abs(rho) < 1e-12:
        return RankCorrelation(rho, None, None)
    half = float(norm.ppf(0.5 + level / 2)) * float(np.sqrt((1 + rho**2 / 2) / (first.size - 3)))
    low, high = np.tanh([np.arctanh(rho) - half, np.arctanh(rho) + half])
    return RankCorrelation(rho, float(low), float(high))
