"""From DLR probabilities to a nomogram, and the honest estimate of both.

The recipe says which probabilities of the development patients the nomogram learns from: ``out_of_fold`` ones, or
``apparent`` (resubstituted) ones as the paper. Either way the performance printed as out-of-fold comes from repeating
calibration and nomogram fit without the patients it is measured on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import expit, fuse, logit
from nodogram.nomogram import SCORE, Nomogram
from training.clinical_fit import ClinicalFit, clinical_tables
from training.crossfit import FoldResult
from training.nomogram_fit import NomogramFit, fit_nomogram
from training.recipe import Recipe

# Standard deviation of the normal prior on the weight of a branch, which keeps weights finite where few patients are
# separated: a logit is seldom worth more than a few times itself (weakly informative; Gelman et al. 2008,
# doi:10.1214/08-AOAS191).
WEIGHT_PRIOR_SD = 2.5
# A branch with less than this share of the fused logit is worth nothing that could be measured.
SMALLEST_SHARE = 0.01


@dataclass(frozen=True)
class ScoreCalibration:
    """From branch probabilities to the calibrated logit: slope * weighted mean of logits + intercept.

    Attributes
    ----------
    weights
        One per branch, not negative, summing to 1.
    note
        What was unusual about the fit, or empty.
    """

    weights: tuple[float, ...]
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

    def score(self, branches: NDArray[np.float64]) -> NDArray[np.float64]:
        """Turn branch probabilities (n, n_branches) into what the nomogram takes."""
        linear = calibrated_logit(branches, self.calibration)
        return linear if self.scale == "logit" else expit(linear)

    def dlr_probability(self, branches: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the calibrated DLR probability (n,) of branch probabilities (n, n_branches)."""
        return expit(calibrated_logit(branches, self.calibration))

    def probability(self, branches: NDArray[np.float64], records: Sequence[ClinicalRecord]) -> NDArray[np.float64]:
        """Return nomogram probabilities (n,) for branch probabilities (n, n_branches) and clinical records."""
        return nomogram_probability(self.fit.nomogram, self.score(branches), self.kept, records)


def calibrate(branches: NDArray[np.float64], outcome: NDArray[np.int64], recipe: Recipe) -> ScoreCalibration:
    """Fit fusion weights and sigmoid calibration together.

    Parameters
    ----------
    branches
        (n, n_branches) probabilities of patients no branch has seen, or resubstituted ones if the recipe says so.
    outcome
        (n,), 0 or 1.

    Notes
    -----
    Coefficients are not negative: a branch that ranks held-out patients worse than chance must not be turned around. If no
    branch ranks better, the score is the prevalence, and said so. With ``stacked`` fusion every branch has its own
    coefficient (Wolpert 1992, doi:10.1016/S0893-6080(05)80023-1; Breiman 1996, doi:10.1007/BF00117832); otherwise the mean
    logit has one (Platt scaling).
    """
    count = branches.shape[1]
    equal = (1.0 / count,) * count
    if recipe.score.calibration == "none":
        return ScoreCalibration(equal, 1.0, 0.0)
    logits = logit(branches)
    if recipe.fusion.rule != "stacked":
        logits = logits.mean(axis=1, keepdims=True)
    coefficients, intercept = _nonnegative_logistic(logits, outcome)
    slope = float(coefficients.sum())
    if slope < SMALLEST_SHARE:
        prevalence = float(outcome.mean())
        constant = float(np.log(prevalence / (1 - prevalence)))
        return ScoreCalibration(equal, 0.0, constant, "the DLR score ranked no better than chance: it is constant")
    if recipe.fusion.rule != "stacked":
        return ScoreCalibration(equal, slope, intercept)
    shares = np.where(coefficients < SMALLEST_SHARE * slope, 0.0, coefficients)
    return ScoreCalibration(tuple(float(w) for w in shares / shares.sum()), slope, intercept)


def calibrated_logit(branches: NDArray[np.float64], calibration: ScoreCalibration) -> NDArray[np.float64]:
    """Return the calibrated log odds (n,) of branch probabilities (n, n_branches)."""
    return calibration.slope * fuse(list(branches.T), weights=calibration.weights) + calibration.intercept


def _nonnegative_logistic(X: NDArray[np.float64], outcome: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Return non-negative coefficients and the free intercept of a logistic regression with a weak normal prior."""
    design = np.column_stack([X, np.ones(outcome.size)])
    precision = np.r_[np.full(X.shape[1], WEIGHT_PRIOR_SD**-2), 0.0]

    def loss(beta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        linear = design @ beta
        value = float(np.sum(np.logaddexp(0.0, linear) - outcome * linear)) + 0.5 * float(precision @ beta**2)
        return value, design.T @ (expit(linear) - outcome) + precision * beta

    bounds = [(0.0, None)] * X.shape[1] + [(None, None)]
    start = np.zeros(design.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9})
    return np.asarray(found.x[:-1], dtype=np.float64), float(found.x[-1])


def fit_stage(
    branches: NDArray[np.float64],
    outcome: NDArray[np.int64],
    records: Sequence[ClinicalRecord],
    candidates: tuple[ClinicalPredictor, ...],
    recipe: Recipe,
    *,
    screening: tuple[Sequence[ClinicalRecord], NDArray[np.int64]] | None = None,
    with_interval: bool = True,
) -> NomogramStage:
    """Calibrate the score, screen clinical predictors and fit the nomogram on the same patients.

    Parameters
    ----------
    branches
        (n, n_branches) probabilities of the branches of the DLR score.
    screening
        Records and outcomes the clinical predictors are screened on, where the recipe looks beyond these patients.
    with_interval
        ``False`` for refits whose coefficients alone are wanted.
    """
    calibration = calibrate(branches, outcome, recipe)
    clinical = None
    kept: tuple[ClinicalPredictor, ...] = ()
    if candidates:
        screen_records, screen_outcome = screening or (records, outcome)
        clinical = clinical_tables(candidates, screen_records, screen_outcome, recipe.clinical)
        kept = tuple(p for p in candidates if p.name in clinical.kept)
    linear = calibrated_logit(branches, calibration)
    score = linear if recipe.score.scale == "logit" else expit(linear)
    fit = fit_nomogram(score, kept, records, outcome, recipe.clinical, with_interval=with_interval)
    return NomogramStage(calibration, clinical, kept, fit, recipe.score.scale)


@dataclass(frozen=True)
class PatientScores:
    """What one fit says of one patient.

    Attributes
    ----------
    dlr
        Calibrated DLR probability.
    nomogram
        Nomogram probability.
    """

    dlr: float
    nomogram: float


def held_out_scores(
    folds: tuple[FoldResult, ...],
    outcome: Mapping[str, int],
    records: Mapping[str, ClinicalRecord],
    candidates: tuple[ClinicalPredictor, ...],
    recipe: Recipe,
) -> dict[str, PatientScores]:
    """Repeat weights, calibration and nomogram without each fold, and return what they say of the patients in it."""
    pooled = {c: p for fold in folds for c, p in zip(fold.held_out, fold.dlr_held_out, strict=True)}
    result: dict[str, PatientScores] = {}
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
        branches = np.array(fold.dlr_held_out)
        dlr = stage.dlr_probability(branches)
        nomogram = stage.probability(branches, [records[c] for c in fold.held_out])
        result |= {c: PatientScores(float(d), float(p)) for c, d, p in zip(fold.held_out, dlr, nomogram, strict=True)}
    return result


def nomogram_probability(
    nomogram: Nomogram, score: NDArray[np.float64], kept: tuple[ClinicalPredictor, ...], records: Sequence[ClinicalRecord]
) -> NDArray[np.float64]:
    """Read the nomogram for each patient."""
    readings = (
        nomogram.read({SCORE: float(s), **{p.name: p.parse(record[p.name]) for p in kept}})
        for s, record in zip(score, records, strict=True)
    )
    return np.array([reading.probability for reading in readings])
