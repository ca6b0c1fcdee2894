"""Simple models a nomogram must be better than to be worth anything: tumor volume alone, the CT report alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor, is_missing
from training.logistic import Separation, fit_logistic
from training.recipe import ClinicalSettings
from training.splits import Split

# The predictor that says whether the radiologist saw a metastasis on CT.
CT_REPORT = "ct_reported_lnm"


@dataclass(frozen=True, eq=False)
class SimpleModel:
    """A logistic regression with its probabilities by patient on each sample.

    Attributes
    ----------
    out_of_fold
        From fits without the fold of the patient.
    """

    name: str
    label: str
    apparent: Mapping[str, float]
    out_of_fold: Mapping[str, float]
    test: Mapping[str, float]


def volume_model(volume_cm3: Mapping[str, float], outcome: Mapping[str, int], split: Split) -> SimpleModel:
    """Fit the outcome on the logarithm of tumor volume, cross-fitted on the folds of the split.

    Parameters
    ----------
    volume_cm3
        Positive, of every patient of the split.
    outcome
        0 or 1 by patient.
    """
    columns = {c: (float(np.log(v)),) for c, v in volume_cm3.items()}
    return _cross_fit("volume", "Tumor volume alone", columns, outcome, split, "firth")


def ct_report(predictors: Sequence[ClinicalPredictor]) -> ClinicalPredictor | None:
    """Return the predictor that holds the CT report on the neck, if there is one."""
    return next((p for p in predictors if p.name == CT_REPORT and p.type == "categorical"), None)


def report_model(
    predictor: ClinicalPredictor,
    records: Mapping[str, ClinicalRecord],
    outcome: Mapping[str, int],
    split: Split,
    settings: ClinicalSettings,
) -> SimpleModel:
    """Fit the outcome on one clinical predictor alone, cross-fitted on the folds of the split.

    Patients of whom it is not known are left out.

    Parameters
    ----------
    records, outcome
        By patient.
    """
    columns = {c: predictor.encode(r[predictor.name]) for c, r in records.items() if not is_missing(r.get(predictor.name))}
    return _cross_fit(predictor.name, f"{predictor.label} alone", columns, outcome, split, settings.separation)


def _cross_fit(
    name: str,
    label: str,
    columns: Mapping[str, tuple[float, ...]],
    outcome: Mapping[str, int],
    split: Split,
    separation: Separation,
) -> SimpleModel:
    def scores(fit_on: tuple[str, ...], score_on: tuple[str, ...]) -> dict[str, float]:
        fit_ids, ids = (tuple(c for c in part if c in columns) for part in (fit_on, score_on))
        labels = np.array([outcome[c] for c in fit_ids], dtype=np.int64)
        if not ids or not 0 < labels.sum() < labels.size:
            return {}
        X = np.array([columns[c] for c in fit_ids])
        names = tuple(f"{name}{i}" for i in range(X.shape[1]))
        fit = fit_logistic(X, names, labels, interval="wald", separation=separation)
        linear = fit.intercept + np.array([columns[c] for c in ids]) @ np.array(fit.coefficient)
        return dict(zip(ids, (float(p) for p in expit(linear)), strict=True))

    held_out: dict[str, float] = {}
    for fold in split.folds:
        held_out.update(scores(fold.fit, fold.held_out))
    return SimpleModel(
        name=name,
        label=label,
        apparent=scores(split.development, split.development),
        out_of_fold={c: held_out[c] for c in split.development if c in held_out},
        test=scores(split.development, split.test),
    )
