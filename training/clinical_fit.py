"""The clinical model: univariable and multivariable odds ratios over one design matrix with explicit reference levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor, encode_record
from training.logistic import LogisticFit, fit_logistic
from training.recipe import ClinicalSettings


@dataclass(frozen=True)
class ClinicalFit:
    """Table 3.

    Attributes
    ----------
    univariable
        One fit a candidate, in order.
    multivariable
        All kept predictors together; ``None`` if none was kept.
    kept
        Names of the predictors the nomogram may use.
    """

    univariable: tuple[LogisticFit, ...]
    multivariable: LogisticFit | None
    kept: tuple[str, ...]


def clinical_tables(
    predictors: Sequence[ClinicalPredictor],
    records: Sequence[ClinicalRecord],
    outcome: NDArray[np.int64],
    settings: ClinicalSettings,
) -> ClinicalFit:
    """Fit each predictor alone and the kept ones together.

    Parameters
    ----------
    records, outcome
        One per patient, complete.
    settings
        ``univariate_p`` screening keeps a predictor with any column below ``screening_alpha``; ``none`` keeps all.
    """
    univariable = tuple(_fit((p,), records, outcome, settings) for p in predictors)
    kept = tuple(
        p
        for p, fit in zip(predictors, univariable, strict=True)
        if settings.screening == "none" or np.nanmin([*fit.p_value, 1.0]) < settings.screening_alpha
    )
    multivariable = _fit(kept, records, outcome, settings) if kept else None
    return ClinicalFit(univariable, multivariable, tuple(p.name for p in kept))


def clinical_probability(
    predictors: Sequence[ClinicalPredictor],
    fit_records: Sequence[ClinicalRecord],
    fit_outcome: NDArray[np.int64],
    records: Sequence[ClinicalRecord],
    settings: ClinicalSettings,
) -> NDArray[np.float64]:
    """Fit the clinical model on some patients and return its probability (n,) for others."""
    fit = _fit(tuple(predictors), fit_records, fit_outcome, settings, interval=False)
    return expit(fit.intercept + design_matrix(predictors, records) @ np.array(fit.coefficient))  # type: ignore[no-any-return]


def design_matrix(predictors: Sequence[ClinicalPredictor], records: Sequence[ClinicalRecord]) -> NDArray[np.float64]:
    """Return the design (n, n_columns) of the given predictors; other keys of the records are left out.

    Raises
    ------
    CohortError
        ``CLINICAL_PREDICTOR_MISSING`` or ``CLINICAL_VALUE_INVALID``.
    """
    rows = [
        encode_record(predictors, {p.name: record[p.name] for p in predictors if p.name in record}).values for record in records
    ]
    return np.array(rows, dtype=np.float64).reshape(len(records), -1)


def column_names(predictors: Sequence[ClinicalPredictor]) -> tuple[str, ...]:
    """Return the names of the columns of :func:`design_matrix`."""
    return tuple(name for p in predictors for name in p.column_names)


def _fit(
    predictors: tuple[ClinicalPredictor, ...],
    records: Sequence[ClinicalRecord],
    outcome: NDArray[np.int64],
    settings: ClinicalSettings,
    *,
    interval: bool = True,
) -> LogisticFit:
    return fit_logistic(
        design_matrix(predictors, records),
        column_names(predictors),
        outcome,
        interval=settings.interval if interval else None,
        separation=settings.separation,
    )
