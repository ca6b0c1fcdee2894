"""Which features two readings of the same patients agree on: the ICC filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.features import FeatureTable
from nodogram.stats.agreement import icc_absolute_agreement


@dataclass(frozen=True, eq=False)
class StabilityReport:
    """Agreement per feature, and the features that agree well enough.

    Attributes
    ----------
    names
        Features kept, in the order of the tables.
    feature_names
        All features compared.
    icc, low, high
        float64 (n_features,) in the order of ``feature_names``: ICC(2,1) with its 95 % interval.
    patient_count
        Patients with both readings.
    """

    names: tuple[str, ...]
    feature_names: tuple[str, ...]
    icc: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    patient_count: int


def stable_features(
    first: FeatureTable, second: FeatureTable, *, threshold: float, bound: Literal["point", "lower_95"]
) -> StabilityReport:
    """Compare two readings, such as the outlines of two readers, by ICC(2,1), absolute agreement of single measurements.

    Parameters
    ----------
    first, second
        The same patients in the same order with the same features; at least two patients.
    threshold
        Smallest agreement that is kept; 0.75 and above is called good.
    bound
        Whether the estimate (``point``) or the lower end of its 95 % interval (``lower_95``) must reach the threshold.

    Raises
    ------
    ValueError
        If the tables do not match or have fewer than two patients.

    References
    ----------
    Koo TK, Li MY. J Chiropr Med 2016;15:155 (doi:10.1016/j.jcm.2016.02.012).
    """
    if first.case_ids != second.case_ids or first.names != second.names:
        raise ValueError("both readings must have the same patients and features in the same order")
    estimates = icc_absolute_agreement(np.stack([first.values, second.values], axis=1))
    reached = estimates.icc if bound == "point" else estimates.low
    return StabilityReport(
        names=tuple(name for name, value in zip(first.names, reached, strict=True) if value >= threshold),
        feature_names=first.names,
        icc=estimates.icc,
        low=estimates.low,
        high=estimates.high,
        patient_count=len(first.case_ids),
    )
