"""AUCs of several centers summarized by a random-effects meta-analysis on the logit scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

Values = NDArray[np.float64]


@dataclass(frozen=True)
class RandomEffects:
    """Mean of effects that differ between centers.

    Attributes
    ----------
    mean, low, high
        With the Hartung-Knapp interval.
    prediction_low, prediction_high
        Where the effect of a new center is expected; ``None`` with fewer than three centers.
    tau_squared
        Variance of the true effects (DerSimonian-Laird).
    q, i_squared
        Cochran's Q, and the share (0 to 1) of the variance that is not chance.
    """

    mean: float
    low: float
    high: float
    prediction_low: float | None
    prediction_high: float | None
    tau_squared: float
    q: float
    i_squared: float


def random_effects(effect: Values, variance: Values, level: float = 0.95) -> RandomEffects:
    """Summarize effects with known sampling variances.

    Parameters
    ----------
    effect, variance
        (k,), at least two; variances positive.

    Notes
    -----
    With few centers that happen to agree, the Hartung-Knapp variance can fall below what sampling alone allows; the larger
    of it and the conventional variance is used.

    References
    ----------
    DerSimonian, Laird 1986, doi:10.1016/0197-2456(86)90046-2. Hartung, Knapp 2001, doi:10.1002/sim.791. The larger variance:
    Knapp, Hartung 2003, doi:10.1002/sim.1482. Prediction: Higgins, Thompson, Spiegelhalter 2009,
    doi:10.1111/j.1467-985X.2008.00552.x. C statistics: Debray et al. 2017, doi:10.1136/bmj.i6460.
    """
    count = effect.size
    if effect.shape != variance.shape or count < 2 or not (variance > 0).all():
        raise ValueError(f"{count} effects and {variance.size} variances; at least two, with positive variances, are required")
    fixed = 1 / variance
    common = float(np.average(effect, weights=fixed))
    q = float(np.sum(fixed * (effect - common) ** 2))
    degrees = count - 1
    tau_squared = max(0.0, (q - degrees) / float(fixed.sum() - (fixed**2).sum() / fixed.sum()))
    weight = 1 / (variance + tau_squared)
    mean = float(np.average(effect, weights=weight))
    conventional = 1 / float(weight.sum())
    scale = float(np.sum(weight * (effect - mean) ** 2)) / degrees
    error = np.sqrt(conventional * max(1.0, scale))
    half = float(t.ppf(0.5 + level / 2, degrees) * error)
    ahead = float(t.ppf(0.5 + level / 2, count - 2) * np.sqrt(tau_squared + error**2)) if count > 2 else None
    return RandomEffects(
        mean=mean,
        low=mean - half,
        high=mean + half,
        prediction_low=None if ahead is None else mean - ahead,
        prediction_high=None if ahead is None else mean + ahead,
        tau_squared=tau_squared,
        q=q,
        i_squared=max(0.0, 1 - degrees / q) if q > 0 else 0.0,
    )
