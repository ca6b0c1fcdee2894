"""From DLR probabilities to a nomogram, and the honest estimate of both.

The recipe says which probabilities of the development patients the nomogram learns from: ``out_of_fold`` ones, or
``apparent`` (resubstituted) ones as the paper. Either way the performance printed as out-of-fold comes from repeating
calibration and nomogram fit without the patients it is measured on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import expit, logit
from nodogram.nomogram import SCORE, Nomogram
from training.clinical_fit import ClinicalFit, clinical_tables
from training.crossfit import FoldResult
from training.logistic import fit_logistic
from training.nomogram_fit import NomogramFit, fit_nomogram
from training.recipe import Recipe


@dataclass(frozen=True)
class ScoreCalibration:
    """Platt scaling: logit of the calibrated probability = slope * logit(p) + intercept.

    Attributes
    ----------
    note
        What was unusual about the fit, or empty.
    """

    slope: float
    intercept: float
    note: str = ""


@dataclass(frozen=True, eq=False)
class NomogramStage:
    """Calibrated score, clinical model and nomogram fitted on one set of patients."""

    calibration: ScoreCalibration
    clinical: ClinicalFit | None
    kept: tuple[ClinicalPredictor, ...]
    fit: NomogramFit
    scale: str

    def score(self, probability: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn uncalibrated DLR probabilities (n,) into what the nomogram takes."""
        return score_value(probability, self.calibration, self.scale)

    def probability(self, probability: NDArray[np.float64], records: list[ClinicalRecord]) -> NDArray[np.float64]:
        """Return nomogram probabilities (n,) for DLR probabilities and clinical records."""
        return nomogram_probability(self.fit.nomogram, self.score(probability), self.kept, records)


def calibrate(probability: NDArray[np.float64], outcome: NDArray[np.int64], method: str) -> ScoreCalibration:
    """Fit the sigmoid calibration of DLR probabilities (n,).

    A slope of zero or less means that the score did not rank held-out patients better than chance; a model must not
    learn to turn it around, so it is replaced by the prevalence and said so.
    """
    if method == "none":
        return ScoreCalibration(1.0, 0.0)
    x = logit(probability)
    prevalence = float(outcome.mean())
    flat = ScoreCalibration(
        0.0, float(np.log(prevalence / (1 - prevalence))), "the DLR score ranked no better than chance: it is constant"
    )
    if np.ptp(x) < 1e-9:
        return flat
    fit = fit_logistic(x[:, None], (SCORE,), outcome, interval="wald", separation="firth")
    return ScoreCalibration(fit.coefficient[0], fit.intercept) if fit.coefficient[0] > 0 else flat


def score_value(probability: NDArray[np.float64], calibration: ScoreCalibration, scale: str) -> NDArray[np.float64]:
    """Return the score on the scale the nomogram uses: calibrated logit, or calibrated probability."""
    linear = calibration.slope * logit(probability) + calibration.intercept
    return linear if scale == "logit" else expit(linear)


def fit_stage(
    probability: NDArray[np.float64],
    outcome: NDArray[np.int64],
    records: list[ClinicalRecord],
    candidates: tuple[ClinicalPredictor, ...],
    recipe: Recipe,
    *,
    screening: tuple[list[ClinicalRecord], NDArray[np.int64]] | None = None,
    with_interval: bool = True,
) -> NomogramStage:
    """Calibrate the score, screen clinical predictors and fit the nomogram on the same patients.

    Parameters
    ----------
    screening
        Records and outcomes the clinical predictors are screened on, where the recipe looks beyond these patients.
    with_interval
        ``False`` for refits whose coefficients alone are wanted.
    """
    calibration = calibrate(probability, outcome, recipe.score.calibration)
    clinical = None
    kept: tuple[ClinicalPredictor, ...] = ()
    if candidates:
        screen_records, screen_outcome = screening or (records, outcome)
        clinical = clinical_tables(candidates, screen_records, screen_outcome, recipe.clinical)
        kept = tuple(p for p in candidates if p.name in clinical.kept)
    score = score_value(probability, calibration, recipe.score.scale)
    fit = fit_nomogram(score, kept, records, outcome, recipe.clinical, with_interval=with_interval)
    return NomogramStage(calibration, clinical, kept, fit, recipe.score.scale)


def held_out_nomogram(
    folds: tuple[FoldResult, ...],
    outcome: Mapping[str, int],
    records: Mapping[str, ClinicalRecord],
    candidates: tuple[ClinicalPredictor, ...],
    recipe: Recipe,
) -> dict[str, float]:
    """Return the nomogram probability of every development patient from a nomogram that did not see the patient."""
    pooled = {c: p for fold in folds for c, p in zip(fold.held_out, fold.dlr_held_out, strict=True)}
    result: dict[str, float] = {}
    for fold in folds:
        learned = pooled if recipe.score.source == "out_of_fold" else dict(zip(fold.fit, fold.dlr_fit, strict=True))
        stage = fit_stage(
            np.array([learned[c] for c in fold.fit]),
            np.array([outcome[c] for c in fold.fit], dtype=np.int64),
            [records[c] for c in fold.fit],
            candidates,
            recipe,
            with_interval=False,
        )
        held_out = stage.probability(np.array(fold.dlr_held_out), [records[c] for c in fold.held_out])
        result.update(zip(fold.held_out, (float(p) for p in held_out), strict=True))
    return result


def nomogram_probability(
    nomogram: Nomogram, score: NDArray[np.float64], kept: tuple[ClinicalPredictor, ...], records: list[ClinicalRecord]
) -> NDArray[np.float64]:
    """Read the nomogram for each patient."""
    readings = (
        nomogram.read({SCORE: float(s), **{p.name: p.parse(record[p.name]) for p in kept}})
        for s, record in zip(score, records, strict=True)
    )
    return np.array([reading.probability for reading in readings])
