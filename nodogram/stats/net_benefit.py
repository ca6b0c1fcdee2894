"""Decision curves: what acting on a prediction is worth, in true positives per patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit by threshold probability.

    Attributes
    ----------
    threshold
        float64 (n_thresholds,), 0 to 1, exclusive.
    model, treat_all
        float64 (n_thresholds,); treating none is 0 everywhere.
    """

    threshold: NDArray[np.float64]
    model: NDArray[np.float64]
    treat_all: NDArray[np.float64]


def decision_curve(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], threshold: NDArray[np.float64]
) -> DecisionCurve:
    """Return net benefit = TP/n - FP/n * t/(1-t) at each threshold t.

    Parameters
    ----------
    outcome
        (n,), 0 or 1.
    probability
        (n,), 0 to 1; at the threshold a patient is treated.
    threshold
        (n_thresholds,), 0 to 1, exclusive.

    References
    ----------
    Vickers, Elkin 2006, doi:10.1177/0272989X06295361.
    """
    if not ((threshold > 0) & (threshold < 1)).all():
        raise ValueError("threshold probabilities must lie between 0 and 1, exclusive")
    treated = probability[None, :] >= threshold[:, None]
    odds = threshold / (1 - threshold)
    true_positive = (treated & (outcome == 1)).mean(axis=1)
    false_positive = (treated & (outcome == 0)).mean(axis=1)
    prevalence = float(np.mean(outcome))
    return DecisionCurve(threshold, true_positive - false_positive * odds, prevalence - (1 - prevalence) * odds)
