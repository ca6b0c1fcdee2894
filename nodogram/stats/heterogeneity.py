"""Whether estimates from different groups of patients differ by more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2


@dataclass(frozen=True)
class Heterogeneity:
    """Cochran's test.

    Attributes
    ----------
    pooled
        Mean of the estimates, weighted by the inverse of their variances.
    statistic, degrees_of_freedom, p
        Q, the groups less one, and the chance of a Q as large if all groups were alike; not adjusted for multiplicity.
    i_squared
        Share of the variation that is beyond chance, 0 to 1.

    References
    ----------
    Cochran 1954, doi:10.2307/3001666. Higgins, Thompson 2002, doi:10.1002/sim.1186.
    """

    pooled: float
    statistic: float
    degrees_of_freedom: int
    p: float
    i_squared: float


def cochran_q(estimate: NDArray[np.float64], standard_error: NDArray[np.float64]) -> Heterogeneity:
    """Test whether independent estimates differ by more than their standard errors allow.

    Parameters
    ----------
    estimate
        (k,), at least two groups, on a scale on which they are about normal.
    standard_error
        (k,), positive.
    """
    if estimate.ndim != 1 or estimate.size < 2 or standard_error.shape != estimate.shape:
        raise ValueError(f"estimates {estimate.shape} and standard errors {standard_error.shape}: at least two groups each")
    if not (np.isfinite(estimate).all() and np.isfinite(standard_error).all() and (standard_error > 0).all()):
        raise ValueError("estimates must be finite, standard errors positive")
    weight = standard_error**-2.0
    pooled = float(weight @ estimate / weight.sum())
    statistic = float(weight @ (estimate - pooled) ** 2)
    freedom = estimate.size - 1
    return Heterogeneity(
        pooled=pooled,
        statistic=statistic,
        degrees_of_freedom=freedom,
        p=float(chi2.sf(statistic, freedom)),
        i_squared=max(0.0, 1 - freedom / statistic) if statistic > 0 else 0.0,
    )
