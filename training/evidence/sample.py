"""How good one model is on one sample: discrimination, decisions, calibration and utility, each with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.calibration import brier_intervals, calibration_line, observed_to_expected
from nodogram.stats.calibration_curve import calibration_band, calibration_errors, grouped_calibration
from nodogram.stats.classification import (
    Confusion,
    Interval,
    LikelihoodRatio,
    Proportion,
    bootstrap_table,
    confusion,
    predictive_values,
)
from nodogram.stats.discrimination import (
    auc_bootstrap_interval,
    auc_interval,
    auprc_interval,
    partial_auc,
    roc_curve,
)
from nodogram.stats.net_benefit import Band, ThresholdRange, decision_bands, per_hundred
from nodogram.stats.resampling import BootstrapInterval
from training.evidence.sample_result import (
    AtPrevalence,
    CalibrationEvidence,
    CalibrationGroup,
    Curve,
    DecisionEvidence,
    DiscriminationEvidence,
    Measure,
    Method,
    PerHundredRow,
    SampleEvidence,
    SampleSettings,
    UtilityEvidence,
    Values,
)

ONE_OUTCOME = "all patients have the same outcome"
NO_EVENT = "no patient has the outcome"
NO_NON_EVENT = "all patients have the outcome"
NONE_CALLED_POSITIVE = "no patient is called positive"
NONE_CALLED_NEGATIVE = "no patient is called negative"
SINGLE_PATIENT = "one of the outcomes has a single patient, from which no variance follows"
NO_SPREAD = "its variance is zero in these patients"
RARELY_DEFINED = "it is not defined in more than half of the resamples"
ZERO_COUNT = "a count is zero, which leaves no standard error"
ZERO_DENOMINATOR = "its denominator is zero"
CONSTANT_PREDICTION = "all predictions are the same"
SEPARATED = "the predictions separate the outcomes"
NOTHING_EXPECTED = "all predictions are zero"


def sample_evidence(
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    *,
    settings: SampleSettings | None = None,
    other: NDArray[np.float64] | None = None,
) -> SampleEvidence:
    """Measure one model on one sample.

    Same arguments, same document: every bootstrap has a generator of its own, made from the seed.

    Parameters
    ----------
    outcome
        (n,), 0 or 1, at least one patient. What a sample is too small or too uniform for is ``None``, with its reason.
    probability
        (n,), 0 to 1.
    threshold
        Probability at and above which a patient is called positive, fixed before this sample was looked at.
    other
        (n,), another model's probabilities of the same patients: adds the difference in net benefit.
    """
    settings = SampleSettings() if settings is None else settings
    for given in (probability, *(() if other is None else (other,))):
        if outcome.ndim != 1 or outcome.size == 0 or given.shape != outcome.shape or not np.isin(outcome, (0, 1)).all():
            raise ValueError(
                f"outcome {outcome.shape} must hold 0 and 1, one for each of {given.shape} probabilities, and some"
            )
        if not ((given >= 0) & (given <= 1)).all():
            raise ValueError("probabilities must lie between 0 and 1")
    both = 0 < outcome.sum() < outcome.size
    return SampleEvidence(
        patient_count=int(outcome.size),
        event_count=int(outcome.sum()),
        prevalence=float(outcome.mean()),
        settings=settings,
        discrimination=_discrimination(outcome, probability, settings) if both else None,
        discrimination_reason=None if both else ONE_OUTCOME,
        decisions=_decisions(confusion(outcome, probability, threshold), threshold, settings),
        calibration=_calibration(outcome, probability, settings),
        utility=_utility(outcome, probability, other, settings),
        methods=methods(settings),
    )


def methods(settings: SampleSettings) -> tuple[Method, ...]:
    """Return how every interval is computed, in sentences."""
    stratified = f"percentile interval of {settings.replicates:,} bootstrap resamples of patients, stratified by outcome"
    plain = f"percentile interval of {settings.replicates:,} bootstrap resamples of patients"
    low, high = settings.sensitivity_zone
    return (
        Method(measure="AUC", text=f"DeLong, on the logit scale and plain; {stratified}"),
        Method(measure="AUPRC", text="average precision; logit interval (Boyd, Eng, Page 2013); baseline: prevalence"),
        Method(
            measure="partial AUC",
            text=f"sensitivity {low:g} to {high:g}, standardized by McClish (0.5 chance, 1 perfect); basic interval, on the "
            f"logit scale, of {settings.replicates:,} bootstrap resamples of patients, stratified by outcome",
        ),
        Method(measure="sensitivity, specificity, PPV, NPV, accuracy", text="Wilson"),
        Method(measure="balanced accuracy", text="square-and-add of the Wilson intervals (Newcombe 1998)"),
        Method(measure="likelihood ratios", text="log-normal (Simel, Samsa, Matchar 1991)"),
        Method(measure="F1, MCC", text=plain),
        Method(measure="accuracy against the no-information rate", text="one-sided exact binomial test"),
        Method(
            measure="PPV and NPV at other prevalences",
            text="Bayes' theorem, prevalence taken as known; MOVER-R from the Wilson intervals (Donner, Zou 2012)",
        ),
        Method(measure="calibration slope and intercepts", text="logistic models on the logit of the prediction; Wald"),
        Method(measure="O:E", text="Wilson interval of the observed share over the mean prediction"),
        Method(measure="Brier score, scaled Brier score", text=plain),
        Method(
            measure="calibration curve",
            text=f"lowess, span 2/3, no robustness iterations; pointwise {plain}; ICI, E50, E90 and Emax are its distances",
        ),
        Method(measure="net benefit, net interventions avoided", text=f"pointwise {plain}"),
        Method(measure="per 100 patients", text="Wilson"),
    )


def _rng(settings: SampleSettings, stream: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, stream])


def _discrimination(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], settings: SampleSettings
) -> DiscriminationEvidence:
    replicates = settings.replicates
    single = min(outcome.sum(), outcome.size - outcome.sum()) == 1
    logit, plain = (auc_interval(outcome, probability, method) for method in ("delong_logit", "delong"))
    drawn = auc_bootstrap_interval(outcome, probability, replicates=replicates, rng=_rng(settings, 0))
    part = partial_auc(
        outcome,
        probability,
        replicates=replicates,
        rng=_rng(settings, 1),
        sensitivity=settings.sensitivity_zone,
    )
    precision_recall = auprc_interval(outcome, probability)
    curve = roc_curve(outcome, probability)
    hits, alarms = curve.true_positive_rate * outcome.sum(), curve.false_positive_rate * (outcome.size - outcome.sum())
    return DiscriminationEvidence(
        auc_logit=_spread(logit.auc, logit.low, logit.high, single),
        auc_plain=_spread(plain.auc, plain.low, plain.high, single),
        auc_bootstrap=_spread(drawn.value, drawn.low, drawn.high, single),
        auprc=_measure(precision_recall.auprc, precision_recall.low, precision_recall.high),
        auprc_baseline=precision_recall.prevalence,
        partial_auc=_spread(part.standardized, part.low, part.high, single),
        partial_area=part.area,
        false_positive_rate=_floats(curve.false_positive_rate),
        true_positive_rate=_floats(curve.true_positive_rate),
        recall=_floats(curve.true_positive_rate[1:]),
        precision=_floats(hits[1:] / (hits + alarms)[1:]),
    )


def _decisions(table: Confusion, threshold: float, settings: SampleSettings) -> DecisionEvidence:
    drawn = bootstrap_table(table, replicates=settings.replicates, rng=_rng(settings, 2))
    one_outcome = NO_EVENT if table.sensitivity.value is None else NO_NON_EVENT if table.specificity.value is None else None
    return DecisionEvidence(
        threshold=threshold,
        true_positive=table.true_positive,
        false_negative=table.false_negative,
        false_positive=table.false_positive,
        true_negative=table.true_negative,
        sensitivity=_share(table.sensitivity, NO_EVENT),
        specificity=_share(table.specificity, NO_NON_EVENT),
        ppv=_share(table.ppv, NONE_CALLED_POSITIVE),
        npv=_share(table.npv, NONE_CALLED_NEGATIVE),
        positive_likelihood_ratio=_ratio(table.positive_likelihood_ratio, one_outcome),
        negative_likelihood_ratio=_ratio(table.negative_likelihood_ratio, one_outcome),
        accuracy=_share(table.accuracy, ZERO_DENOMINATOR),
        no_information_rate=table.no_information_rate,
        no_information_p=table.better_than_no_information_p,
        balanced_accuracy=_interval(table.balanced_accuracy, one_outcome or ZERO_DENOMINATOR),
        f1=_resampled(drawn.f1, ZERO_DENOMINATOR),
        mcc=_resampled(drawn.mcc, ZERO_DENOMINATOR),
        other_prevalences=tuple(
            AtPrevalence(
                prevalence=found.prevalence,
                ppv=_interval(found.ppv, one_outcome or NONE_CALLED_POSITIVE),
                npv=_interval(found.npv, one_outcome or NONE_CALLED_NEGATIVE),
            )
            for found in (predictive_values(table, prevalence) for prevalence in settings.prevalences)
        ),
    )


def _calibration(outcome: NDArray[np.int64], probability: NDArray[np.float64], settings: SampleSettings) -> CalibrationEvidence:
    both = 0 < outcome.sum() < outcome.size
    line = calibration_line(outcome, probability) if both else None
    no_line = ONE_OUTCOME if line is None else CONSTANT_PREDICTION if np.ptp(probability) == 0 else SEPARATED
    ratio = observed_to_expected(outcome, probability)
    brier = brier_intervals(outcome, probability, replicates=settings.replicates, rng=_rng(settings, 3))
    errors = calibration_errors(outcome, probability)
    band = calibration_band(outcome, probability, replicates=settings.replicates, rng=_rng(settings, 4)) if both else None
    groups = grouped_calibration(outcome, probability, settings.group_count)
    return CalibrationEvidence(
        in_the_large=_measure(None, None, None, ONE_OUTCOME)
        if line is None
        else _measure(line.intercept, line.intercept_low, line.intercept_high),
        slope=_measure(None, None, None, no_line)
        if line is None
        else _measure(line.slope, line.slope_low, line.slope_high, no_line),
        joint_intercept=_measure(None, None, None, no_line)
        if line is None
        else _measure(line.joint_intercept, line.joint_intercept_low, line.joint_intercept_high, no_line),
        observed_to_expected=_measure(ratio.ratio, ratio.low, ratio.high, NOTHING_EXPECTED),
        observed=ratio.observed,
        expected=ratio.expected,
        brier=_resampled(brier.brier, ZERO_DENOMINATOR),
        scaled_brier=_resampled(brier.scaled, ONE_OUTCOME),
        ici=errors.ici,
        e50=errors.e50,
        e90=errors.e90,
        emax=errors.emax,
        curve_predicted=() if band is None else _floats(band.predicted),
        curve=None if band is None else _curve(Band(band.observed, band.low, band.high)),
        groups=tuple(
            CalibrationGroup(
                predicted=float(predicted),
                observed=_share(share, ZERO_DENOMINATOR),
                event_count=share.count,
                patient_count=share.total,
            )
            for predicted, share in zip(groups.predicted, groups.observed, strict=True)
        ),
    )


def _utility(
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    other: NDArray[np.float64] | None,
    settings: SampleSettings,
) -> UtilityEvidence:
    thresholds = ThresholdRange(settings.threshold_low, settings.threshold_high, settings.threshold_reason)
    bands = decision_bands(
        outcome,
        probability,
        thresholds.grid(settings.threshold_step),
        replicates=settings.replicates,
        rng=_rng(settings, 5),
        other=other,
    )
    return UtilityEvidence(
        threshold_reason=thresholds.reason,
        threshold=_floats(bands.threshold),
        net_benefit=_curve(bands.model),
        treat_all=_curve(bands.treat_all),
        interventions_avoided=_curve(bands.interventions_avoided),
        difference=None if bands.difference is None else _curve(bands.difference),
        per_hundred=tuple(
            PerHundredRow(
                threshold=row.threshold,
                avoided=_share(row.avoided, ZERO_DENOMINATOR, 100),
                avoided_rightly=_share(row.avoided_rightly, ZERO_DENOMINATOR, 100),
                missed=_share(row.missed, ZERO_DENOMINATOR, 100),
            )
            for row in per_hundred(outcome, probability, settings.table_thresholds)
        ),
    )


def _measure(value: float | None, low: float | None, high: float | None, reason: str | None = None) -> Measure:
    """Return a measure that keeps the reason only where something is missing."""
    whole = value is not None and low is not None and high is not None
    return Measure(value=value, low=low, high=high, reason=None if whole else reason)


def _spread(value: float | None, low: float | None, high: float | None, single: bool) -> Measure:
    """Return a measure without the interval that is none: of a single patient, or of no width."""
    if single or low == high:
        return Measure(value=value, reason=SINGLE_PATIENT if single else NO_SPREAD)
    return _measure(value, low, high, RARELY_DEFINED)


def _share(found: Proportion, reason: str, factor: float = 1.0) -> Measure:
    if found.value is None or found.low is None or found.high is None:
        return Measure(value=None, reason=reason)
    return Measure(value=factor * found.value, low=factor * found.low, high=factor * found.high)


def _interval(found: Interval, reason: str) -> Measure:
    return _measure(found.value, found.low, found.high, reason)


def _ratio(found: LikelihoodRatio, one_outcome: str | None) -> Measure:
    reason = one_outcome or (ZERO_DENOMINATOR if found.value is None else ZERO_COUNT)
    return _measure(found.value, found.low, found.high, reason)


def _resampled(found: BootstrapInterval, reason: str) -> Measure:
    if found.value is not None and found.low == found.high:
        return Measure(value=found.value, reason=NO_SPREAD if found.low is not None else RARELY_DEFINED)
    return _measure(found.value, found.low, found.high, reason)


def _curve(band: Band) -> Curve:
    return Curve(value=_floats(band.value), low=_floats(band.low), high=_floats(band.high))


def _floats(values: NDArray[np.float64]) -> Values:
    return tuple(float(value) for value in values)
