"""Area under the ROC curve, whole and in part, with DeLong's variance or resampled; area under the precision-recall curve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from nodogram.stats.resampling import BootstrapInterval, percentile_interval
from nodogram.stats.score_counts import average_precisions, observed_counts, partial_roc_areas, roc_areas, stratified_counts

IntervalMethod = Literal["delong", "delong_logit"]

# Sensitivities that matter where a missed metastasis costs more than a needless operation.
HIGH_SENSITIVITY = (0.9, 1.0)


@dataclass(frozen=True)
class AucEstimate:
    """AUC with its interval.

    Attributes
    ----------
    auc, low, high
        0 to 1; the bounds equal ``auc`` where the variance is zero, and are 0 and 1 where one class has a single patient,
        because a variance cannot be estimated from one.
    standard_error
        DeLong's, of the AUC itself; NaN with a single patient in a class.
    """

    auc: float
    low: float
    high: float
    standard_error: float
    positive_count: int
    negative_count: int
    method: IntervalMethod


@dataclass(frozen=True)
class PairedComparison:
    """Difference of two AUCs on the same patients; ``p`` is two-sided and not adjusted for multiplicity."""

    difference: float
    low: float
    high: float
    z: float
    p: float


@dataclass(frozen=True, eq=False)
class RocCurve:
    """Operating points from the strictest threshold to the most lenient.

    Attributes
    ----------
    false_positive_rate, true_positive_rate
        float64 (n_points,), from (0, 0) to (1, 1).
    threshold
        float64 (n_points,): scores at or above count as positive; infinity at (0, 0).
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    threshold: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BootstrapAucs:
    """AUCs of resamples stratified by outcome.

    Attributes
    ----------
    auc
        float64 (r,).
    variance
        float64 (r,), DeLong's variance of each; ``None`` where a class has a single patient.
    """

    auc: NDArray[np.float64]
    variance: NDArray[np.float64] | None


@dataclass(frozen=True)
class PartialAuc:
    """Part of the area under the ROC curve between two sensitivities.

    Attributes
    ----------
    area
        Specificity integrated over sensitivity: at most ``sensitivity[1] - sensitivity[0]``.
    standardized
        After McClish: 1 is perfect, 0.5 no better than chance in that zone; below 0.5 worse (pROC gives NA there).
    low, high
        Basic interval of ``standardized`` from a bootstrap stratified by outcome, on the logit scale of the area.
    """

    sensitivity: tuple[float, float]
    area: float
    standardized: float
    low: float
    high: float


@dataclass(frozen=True)
class AuprcEstimate:
    """Area under the precision-recall curve (average precision) with its interval.

    Attributes
    ----------
    prevalence
        What a score without information reaches: the line to draw and to compare with.
    """

    auprc: float
    low: float
    high: float
    prevalence: float


def auc(outcome: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Return the probability that a random positive scores above a random negative, ties counting one half.

    Parameters
    ----------
    outcome
        (n,), 0 or 1, both present.
    score
        (n,), finite; higher means more likely positive.
    """
    return float(_components(outcome, score[None, :])[0][0])


def auc_interval(
    outcome: NDArray[np.int64], score: NDArray[np.float64], method: IntervalMethod = "delong_logit", level: float = 0.95
) -> AucEstimate:
    """Return the AUC with DeLong's interval.

    Parameters
    ----------
    outcome, score
        (n,); see :func:`auc`.
    method
        ``delong`` is symmetric about the AUC and cut at 0 and 1; ``delong_logit`` is symmetric on the logit scale and stays
        inside by itself. At an AUC of 0 or 1 the variance is zero and the logit infinite: the exact binomial bound on the
        smaller class is used for the open side.
    level
        Coverage.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595. Sun, Xu 2014, doi:10.1109/LSP.2014.2337313. Logit scale: Pepe
    2003, The Statistical Evaluation of Medical Tests, section 5.2.
    """
    areas, covariance = _components(outcome, score[None, :])
    area, error = float(areas[0]), float(np.sqrt(np.maximum(covariance[0, 0], 0.0)))
    positives = int(outcome.sum())
    negatives = int(outcome.size - positives)
    z = float(norm.ppf(0.5 + level / 2))
    if min(positives, negatives) == 1:
        low, high = 0.0, 1.0
    elif area in (0.0, 1.0):
        open_side = (1 - level) / 2
        reach = 1 - open_side ** (1 / min(positives, negatives))
        low, high = (1 - reach, 1.0) if area == 1.0 else (0.0, reach)
    elif method == "delong":
        low, high = max(0.0, area - z * error), min(1.0, area + z * error)
    else:
        half = z * error / (area * (1 - area))
        low, high = float(expit(logit(area) - half)), float(expit(logit(area) + half))
    return AucEstimate(area, low, high, error, positives, negatives, method)


def bootstrap_aucs(
    outcome: NDArray[np.int64], score: NDArray[np.float64], *, replicates: int, rng: np.random.Generator
) -> BootstrapAucs:
    """Return the AUCs of resamples stratified by outcome, each with DeLong's variance.

    No resample is ever ranked: its midranks follow from how often it holds each distinct score, in whole numbers.

    Parameters
    ----------
    outcome, score
        (n,); see :func:`auc`.
    """
    _check(outcome, score[None, :])
    parts = [roc_areas(counts) for counts in stratified_counts(outcome, score, replicates=replicates, rng=rng)]
    single = min(outcome.sum(), outcome.size - outcome.sum()) == 1
    return BootstrapAucs(np.concatenate([p[0] for p in parts]), None if single else np.concatenate([p[1] for p in parts]))


def auc_bootstrap_interval(
    outcome: NDArray[np.int64],
    score: NDArray[np.float64],
    *,
    replicates: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> BootstrapInterval:
    """Return the percentile interval of the AUC from a bootstrap stratified by outcome.

    Parameters
    ----------
    outcome, score
        (n,); see :func:`auc`.
    """
    drawn = bootstrap_aucs(outcome, score, replicates=replicates, rng=rng)
    return percentile_interval(auc(outcome, score), drawn.auc, level)


def partial_auc(
    outcome: NDArray[np.int64],
    score: NDArray[np.float64],
    *,
    replicates: int,
    rng: np.random.Generator,
    sensitivity: tuple[float, float] = HIGH_SENSITIVITY,
    level: float = 0.95,
) -> PartialAuc:
    """Return the area under the ROC curve where sensitivity is high.

    Few patients make up so small a zone, and percentile intervals of it cover too rarely: the interval is the basic one,
    which reflects the resamples about the value, on the logit scale.

    Parameters
    ----------
    outcome, score
        (n,); see :func:`auc`.
    sensitivity
        Zone, lower and upper end, 0 to 1.

    References
    ----------
    McClish 1989, doi:10.1177/0272989X8900900307. Zone of sensitivity: Jiang, Metz, Nishikawa 1996,
    doi:10.1148/radiology.201.3.8939225. Basic interval: Davison, Hinkley 1997, Bootstrap Methods and their Application, 5.2.
    """
    _check(outcome, score[None, :])
    if not 0 <= sensitivity[0] < sensitivity[1] <= 1:
        raise ValueError(f"the zone of sensitivity {sensitivity} must rise and lie between 0 and 1")
    area = float(partial_roc_areas(observed_counts(outcome, score), sensitivity)[0])
    resamples = stratified_counts(outcome, score, replicates=replicates, rng=rng)
    drawn = np.concatenate([partial_roc_areas(counts, sensitivity) for counts in resamples])
    width = sensitivity[1] - sensitivity[0]
    # Half of what one pair of patients in the zone adds: an area of none or all of it has no logit.
    events = int(outcome.sum())
    least = 1 / (2 * (outcome.size - events) * np.ceil(width * events))
    own, resampled = (logit(np.clip(value / width, least, 1 - least)) for value in (area, drawn))
    reflected = expit(2 * own - np.quantile(resampled, [(1 + level) / 2, (1 - level) / 2])) * width
    bounds = (area, area) if np.ptp(drawn) < 1e-9 else (min(area, reflected[0]), max(area, reflected[1]))
    chance = ((1 - sensitivity[0]) ** 2 - (1 - sensitivity[1]) ** 2) / 2
    standardized = [(1 + (float(value) - chance) / (width - chance)) / 2 for value in (area, *bounds)]
    return PartialAuc(sensitivity, area, *standardized)


def auprc_interval(outcome: NDArray[np.int64], score: NDArray[np.float64], level: float = 0.95) -> AuprcEstimate:
    """Return the average precision with its logit interval.

    The interval takes the events for the sample, as no others enter precision and recall at their own rank. At a value of 1
    its variance is zero: the exact binomial bound is used instead.

    Parameters
    ----------
    outcome, score
        (n,); see :func:`auc`.

    References
    ----------
    Boyd, Eng, Page 2013, doi:10.1007/978-3-642-40994-3_29.
    """
    _check(outcome, score[None, :])
    value = float(average_precisions(observed_counts(outcome, score))[0])
    events = int(outcome.sum())
    if value == 1.0:
        low, high = ((1 - level) / 2) ** (1 / events), 1.0
    else:
        half = float(norm.ppf(0.5 + level / 2)) / np.sqrt(events * value * (1 - value))
        low, high = float(expit(logit(value) - half)), float(expit(logit(value) + half))
    return AuprcEstimate(value, low, high, events / outcome.size)


def compare_aucs_paired(
    outcome: NDArray[np.int64], first: NDArray[np.float64], second: NDArray[np.float64], level: float = 0.95
) -> PairedComparison:
    """Compare two scores on the same patients by DeLong's test.

    Parameters
    ----------
    outcome, first, second
        (n,); see :func:`auc`.

    Returns
    -------
    comparison : PairedComparison
        ``difference`` is AUC of ``first`` minus AUC of ``second``; identical rankings give z = 0 and p = 1. With a single
        patient in a class the bounds are -1 and 1 and p is 1.
    """
    areas, covariance = _components(outcome, np.stack([first, second]))
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if np.isnan(variance):
        return PairedComparison(difference, -1.0, 1.0, 0.0, 1.0)
    error = float(np.sqrt(max(variance, 0.0)))
    z = difference / error if error > 0 else (0.0 if difference == 0 else float(np.copysign(np.inf, difference)))
    half = float(norm.ppf(0.5 + level / 2)) * error
    return PairedComparison(difference, difference - half, difference + half, z, float(2 * norm.sf(abs(z))))


def roc_curve(outcome: NDArray[np.int64], score: NDArray[np.float64]) -> RocCurve:
    """Return the ROC curve with one point per distinct score.

    Parameters
    ----------
    outcome, score
        (n,); see :func:`auc`.
    """
    _check(outcome, score[None, :])
    order = np.argsort(-score, kind="stable")
    ranked, labels = score[order], outcome[order]
    last = np.flatnonzero(np.r_[np.diff(ranked) != 0, True])
    true_positives = np.cumsum(labels)[last]
    false_positives = last + 1 - true_positives
    return RocCurve(
        np.r_[0.0, false_positives / (labels.size - labels.sum())],
        np.r_[0.0, true_positives / labels.sum()],
        np.r_[np.inf, ranked[last]],
    )


def _components(outcome: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return AUCs (k,) and their covariance (k, k) of scores (k, n) by midranks."""
    _check(outcome, scores)
    positive = outcome == 1
    m, n = int(positive.sum()), int((~positive).sum())
    within_positive = rankdata(scores[:, positive], axis=1)
    within_negative = rankdata(scores[:, ~positive], axis=1)
    overall = rankdata(scores, axis=1)
    # Structural components: the share of the other class each patient is ranked above (below for negatives).
    v10 = (overall[:, positive] - within_positive) / n
    v01 = 1.0 - (overall[:, ~positive] - within_negative) / m
    covariance = np.zeros((len(scores), len(scores)))
    for part, count in ((v10, m), (v01, n)):
        covariance += np.atleast_2d(np.cov(part)) / count if count > 1 else np.nan
    return v10.mean(axis=1), covariance


def _check(outcome: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    if outcome.ndim != 1 or scores.shape[1:] != outcome.shape:
        raise ValueError(f"outcome {outcome.shape} and score {scores.shape[1:]} must be one-dimensional and of one length")
    if not np.isin(outcome, (0, 1)).all() or not 0 < outcome.sum() < outcome.size:
        raise ValueError("outcome must hold 0 and 1, both at least once")
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
