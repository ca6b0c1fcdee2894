"""The nomogram: logistic regression on the DLR score and the clinical predictors, as something to draw and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.nomogram import SCORE, Nomogram, NomogramTerm
from training.clinical_fit import column_names, design_matrix
from training.logistic import LogisticFit, fit_logistic
from training.recipe import ClinicalSettings

SCORE_LABEL = "DLR score"


@dataclass(frozen=True)
class NomogramFit:
    """The nomogram and the regression it was made of."""

    nomogram: Nomogram
    fit: LogisticFit


def fit_nomogram(
    score: NDArray[np.float64],
    predictors: Sequence[ClinicalPredictor],
    records: Sequence[ClinicalRecord],
    outcome: NDArray[np.int64],
    settings: ClinicalSettings,
    *,
    with_interval: bool = True,
) -> NomogramFit:
    """Fit the nomogram.

    Parameters
    ----------
    score
        (n,) DLR scores on the scale that serving computes.
    predictors, records
        Clinical predictors to use and one complete record a patient.
    outcome
        (n,), 0 or 1.
    with_interval
        ``False`` for refits whose coefficients alone are wanted.
    """
    design = np.column_stack([score, design_matrix(predictors, records)])
    fit = fit_logistic(
        design,
        (SCORE, *column_names(predictors)),
        outcome,
        interval=settings.interval if with_interval else None,
        separation=settings.separation,
    )
    coefficient = dict(zip(fit.names, fit.coefficient, strict=True))
    low, high = _axis(score)
    terms = [
        NomogramTerm(predictor=SCORE, label=SCORE_LABEL, kind="continuous", coefficient=coefficient[SCORE], low=low, high=high)
    ]
    terms.extend(_term(p, coefficient, records) for p in predictors)
    return NomogramFit(Nomogram(intercept=fit.intercept, terms=tuple(terms)), fit)


def _term(predictor: ClinicalPredictor, coefficient: dict[str, float], records: Sequence[ClinicalRecord]) -> NomogramTerm:
    if predictor.type == "categorical":
        return NomogramTerm(
            predictor=predictor.name,
            label=predictor.label,
            kind="categorical",
            levels=predictor.levels,
            level_coefficients=tuple(coefficient.get(f"clinical.{predictor.name}[{v}]", 0.0) for v in predictor.levels),
        )
    low, high = _axis(np.array([float(predictor.parse(record[predictor.name])) for record in records]))
    return NomogramTerm(
        predictor=predictor.name,
        label=predictor.label,
        kind="continuous",
        unit=predictor.unit,
        coefficient=coefficient[f"clinical.{predictor.name}"],
        low=low,
        high=high,
    )


def _axis(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return round axis ends that cover the values."""
    low, high = float(values.min()), float(values.max())
    span = max(high - low, 1e-6 * max(abs(low), 1.0))
    step = 10.0 ** np.floor(np.log10(span))
    step = step / 2 if span / step < 4 else step
    ends = float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
    return (round(ends[0], 12), round(ends[1], 12)) if ends[0] < ends[1] else (ends[0] - step, ends[1] + step)
