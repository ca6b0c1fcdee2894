"""How good one model is on one sample, as one typed document."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from nodogram.settings import Settings
from nodogram.stats.discrimination import HIGH_SENSITIVITY
from nodogram.stats.net_benefit import ELECTIVE_NECK_DISSECTION, TABLE_THRESHOLDS

Share = Annotated[float, Field(gt=0, lt=1)]
Values = tuple[float, ...]


class SampleSettings(Settings):
    """How a sample is looked at; all intervals are 95 % intervals.

    Attributes
    ----------
    replicates
        Bootstrap resamples of patients.
    sensitivity_zone
        Sensitivities the partial AUC covers.
    prevalences
        At which predictive values are given besides that of the sample.
    threshold_low, threshold_high, threshold_step, threshold_reason
        Threshold probabilities of the decision curve, and why these.
    table_thresholds
        Threshold probabilities of the table per 100 patients.
    group_count
        Groups of a calibration plot.
    """

    replicates: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    seed: Annotated[int, Field(ge=0)] = 0
    sensitivity_zone: tuple[float, float] = HIGH_SENSITIVITY
    prevalences: tuple[Share, ...] = (0.1, 0.2, 0.3, 0.5)
    threshold_low: Share = ELECTIVE_NECK_DISSECTION.low
    threshold_high: Share = ELECTIVE_NECK_DISSECTION.high
    threshold_step: Share = 0.01
    threshold_reason: str = ELECTIVE_NECK_DISSECTION.reason
    table_thresholds: tuple[Share, ...] = TABLE_THRESHOLDS
    group_count: Annotated[int, Field(ge=2)] = 5

    @model_validator(mode="after")
    def _rising(self) -> SampleSettings:
        if not 0 <= self.sensitivity_zone[0] < self.sensitivity_zone[1] <= 1:
            raise ValueError(f"sensitivity_zone {self.sensitivity_zone} must rise and lie between 0 and 1")
        if not self.threshold_low < self.threshold_high:
            raise ValueError("threshold_low must be below threshold_high")
        return self


class Measure(Settings):
    """A value with its 95 % interval; ``reason`` says why the value, or its interval, is ``None``."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Measure:
        if (self.value is None or self.low is None or self.high is None) and self.reason is None:
            raise ValueError("a measure without value or interval needs a reason")
        return self


class Curve(Settings):
    """A curve with its pointwise interval; all of one length."""

    value: Values
    low: Values
    high: Values


class DiscriminationEvidence(Settings):
    """How well patients with and without the outcome are told apart.

    Attributes
    ----------
    auc_logit, auc_plain, auc_bootstrap
        One AUC with three intervals: DeLong on the logit scale, DeLong, stratified bootstrap.
    auprc, auprc_baseline
        Average precision, and the prevalence: what no information gives.
    partial_auc, partial_area
        In the zone of high sensitivity, standardized by McClish (1 perfect, 0.5 chance), and as an area.
    false_positive_rate, true_positive_rate
        Points of the ROC curve.
    recall, precision
        Points of the precision-recall curve, recall ascending.
    """

    auc_logit: Measure
    auc_plain: Measure
    auc_bootstrap: Measure
    auprc: Measure
    auprc_baseline: float
    partial_auc: Measure
    partial_area: float | None
    false_positive_rate: Values
    true_positive_rate: Values
    recall: Values
    precision: Values


class AtPrevalence(Settings):
    """Predictive values where the outcome is as common as ``prevalence``."""

    prevalence: float
    ppv: Measure
    npv: Measure


class DecisionEvidence(Settings):
    """Decisions at the frozen threshold.

    Attributes
    ----------
    no_information_rate, no_information_p
        Accuracy of always naming the larger class; one-sided exact p of the accuracy against it, not adjusted.
    """

    threshold: float
    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int
    sensitivity: Measure
    specificity: Measure
    ppv: Measure
    npv: Measure
    positive_likelihood_ratio: Measure
    negative_likelihood_ratio: Measure
    accuracy: Measure
    no_information_rate: float
    no_information_p: float
    balanced_accuracy: Measure
    f1: Measure
    mcc: Measure
    other_prevalences: tuple[AtPrevalence, ...]


class CalibrationGroup(Settings):
    """Patients of similar prediction: mean prediction and share with the outcome."""

    predicted: float
    observed: Measure
    event_count: int
    patient_count: int


class CalibrationEvidence(Settings):
    """Whether predicted probabilities mean what they say.

    Attributes
    ----------
    in_the_large
        Intercept with the slope held at 1.
    slope, joint_intercept
        Of the model that estimates both.
    ici, e50, e90, emax
        Mean, median, 90th percentile and maximum distance of the smoothed curve from the predictions.
    curve_predicted, curve
        Smoothed curve with its band; ``None`` with one outcome only.
    """

    in_the_large: Measure
    slope: Measure
    joint_intercept: Measure
    observed_to_expected: Measure
    observed: int
    expected: float
    brier: Measure
    scaled_brier: Measure
    ici: float
    e50: float
    e90: float
    emax: float
    curve_predicted: Values
    curve: Curve | None
    groups: tuple[CalibrationGroup, ...]


class PerHundredRow(Settings):
    """Of 100 patients who would otherwise all be treated: how many are spared, of these how many rightly, how many missed."""

    threshold: float
    avoided: Measure
    avoided_rightly: Measure
    missed: Measure


class UtilityEvidence(Settings):
    """What acting on the prediction is worth.

    Attributes
    ----------
    net_benefit, treat_all
        Per patient; treating none is worth 0.
    interventions_avoided
        Net, per 100 patients, against treating all.
    difference
        Net benefit minus that of the other model, if one was given.
    """

    threshold_reason: str
    threshold: Values
    net_benefit: Curve
    treat_all: Curve
    interventions_avoided: Curve
    difference: Curve | None
    per_hundred: tuple[PerHundredRow, ...]


class Method(Settings):
    """How a measure was computed, in a sentence for the methods section."""

    measure: str
    text: str


class SampleEvidence(Settings):
    """One model on one sample.

    Attributes
    ----------
    discrimination
        ``None`` with one outcome only.
    methods
        How the intervals were computed.
    """

    patient_count: int
    event_count: int
    prevalence: float
    settings: SampleSettings
    discrimination: DiscriminationEvidence | None
    discrimination_reason: str | None
    decisions: DecisionEvidence
    calibration: CalibrationEvidence
    utility: UtilityEvidence
    methods: tuple[Method, ...]
