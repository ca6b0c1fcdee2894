"""Simulated cohorts, as tables without images, whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import norm

PATIENTS = 235
PREVALENCE = 0.4
AUC = 0.80
# Log odds of the truth = LEVEL + SLOPE * log odds of the prediction: predictions that are too extreme and too low.
SLOPE, LEVEL = 0.8, 0.2
DECISION = 0.35
UTILITY = 0.2
ICC_PATIENTS, ICC_READERS = 30, 2
# Variances of subject, reader and error: ICC(2,1) 0.75, ICC(3,1) 0.833, and ICC(1,1) 0.75 where repeats have no order.
SUBJECT, READER, ERROR = 1.0, 0.4 / 3, 0.2

Outcome = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What infinitely many patients would show; the intercept is that with the slope held at 1."""

    auc: float
    slope: float
    intercept: float
    sensitivity: float
    specificity: float
    net_benefit: float
    icc_one_way: float
    icc_absolute: float
    icc_consistency: float


def apart() -> float:
    """Return the distance of the two outcomes on the score, in its SD."""
    return float(np.sqrt(2) * norm.ppf(AUC))


def known_truth() -> Truth:
    d = apart()
    score = np.linspace(-9, 9 + d, 20_001)
    density = (1 - PREVALENCE) * norm.pdf(score) + PREVALENCE * norm.pdf(score - d)
    linear = _predicted(score)
    step = score[1] - score[0]
    intercept = brentq(lambda a: step * float(density @ expit(a + linear)) - PREVALENCE, -5, 5, xtol=1e-12)
    sensitivity, specificity = _operating_point(DECISION)
    found, cleared = _operating_point(UTILITY)
    odds = UTILITY / (1 - UTILITY)
    total = SUBJECT + READER + ERROR
    return Truth(
        auc=AUC,
        slope=SLOPE,
        intercept=float(intercept),
        sensitivity=sensitivity,
        specificity=specificity,
        net_benefit=PREVALENCE * found - (1 - PREVALENCE) * (1 - cleared) * odds,
        icc_one_way=SUBJECT / total,
        icc_absolute=SUBJECT / total,
        icc_consistency=SUBJECT / (SUBJECT + ERROR),
    )


def predictions(rng: np.random.Generator) -> tuple[Outcome, Values]:
    """Return outcome and predicted probability of one cohort; both outcomes are drawn, so their numbers vary."""
    outcome = (rng.random(PATIENTS) < PREVALENCE).astype(np.int64)
    return outcome, expit(_predicted(rng.standard_normal(PATIENTS) + apart() * outcome))


def ratings(rng: np.random.Generator, cohorts: int) -> tuple[Values, Values]:
    """Return readings of readers (patients, readers, cohorts), and interchangeable repeats of the same shape."""
    shape = (ICC_PATIENTS, ICC_READERS, cohorts)
    subject = np.sqrt(SUBJECT) * rng.standard_normal((ICC_PATIENTS, 1, cohorts))
    reader = np.sqrt(READER) * rng.standard_normal((1, ICC_READERS, cohorts))
    error = np.sqrt(ERROR) * rng.standard_normal(shape)
    repeats = subject + np.sqrt(READER + ERROR) * rng.standard_normal(shape)
    return subject + reader + error, repeats


def _predicted(score: Values) -> Values:
    """Return the predicted log odds: the true ones are linear in the score, because both groups have one variance."""
    d = apart()
    true = logit(PREVALENCE) + d * score - d**2 / 2
    predicted: Values = (true - LEVEL) / SLOPE
    return predicted


def _operating_point(threshold: float) -> tuple[float, float]:
    """Return sensitivity and specificity of predictions at or above a threshold."""
    d = apart()
    cut = (LEVEL + SLOPE * logit(threshold) - logit(PREVALENCE) + d**2 / 2) / d
    return float(norm.sf(cut - d)), float(norm.cdf(cut))
