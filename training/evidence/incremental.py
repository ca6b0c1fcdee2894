"""What the image score adds to what is known without it: to the clinical findings, to the CT report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor, is_missing
from nodogram.settings import Settings
from nodogram.stats.discrimination import compare_aucs_paired
from nodogram.stats.incremental import likelihood_ratio_test, scaled_brier_difference
from nodogram.stats.net_benefit import decision_bands
from training.clinical_fit import column_names, design_matrix
from training.evidence.measured import measured
from training.evidence.sample import NO_SPREAD, ONE_OUTCOME, RARELY_DEFINED, SINGLE_PATIENT
from training.evidence.sample_result import Measure, Method, SampleSettings
from training.logistic import is_separated
from training.results import Sample

NO_PREDICTOR = "there is no such predictor in the cohort, or the recipe kept none"
NO_PATIENT = "no patient has both predictions"
NOTHING_ADDED = "the score is the same for all patients, or follows from the other predictors"
NOT_REACHED = "the likelihood has no maximum that could be reached"
LEFT_OUT = (
    "Net reclassification improvement and integrated discrimination improvement are left out: both can be positive for a "
    "predictor that adds nothing when a model is miscalibrated (Hilden, Gerds 2014, doi:10.1002/sim.5804; Pepe et al. 2015, "
    "doi:10.1007/s12561-014-9118-0). The likelihood ratio, the scaled Brier score and net benefit answer the same question."
)
# Probabilities of exactly 0 or 1 have no logit.
CLIP = 1e-6


@dataclass(frozen=True, eq=False)
class BaseModel:
    """The model without the image score.

    Attributes
    ----------
    predictors
        Empty where there are none.
    probability
        By patient, on the sample that is looked at.
    """

    name: str
    label: str
    predictors: tuple[ClinicalPredictor, ...]
    probability: Mapping[str, float]


class LikelihoodEvidence(Settings):
    """Logistic models of the outcome, base and full, fitted on the patients of the sample.

    Attributes
    ----------
    base_columns, added_columns
        Columns of the base model, and those the full model adds to them.
    base_statistic, full_statistic
        Likelihood ratio chi-squared of each against no predictor at all.
    statistic, degrees_of_freedom, p
        Of what was added; ``p`` is not adjusted.
    adequacy
        Share of the full model's chi-squared that the base model reaches alone: 1 if the score adds nothing. A statement on
        these patients; it has no interval.
    method
        ``maximum likelihood``, or ``Firth`` where the predictors separate the outcomes.
    """

    base_columns: tuple[str, ...]
    added_columns: tuple[str, ...]
    base_statistic: float
    full_statistic: float
    statistic: float
    degrees_of_freedom: int
    p: float
    adequacy: float | None
    method: str


class NetBenefitDifference(Settings):
    """Net benefit of the nomogram minus that of the base model, true positives per patient."""

    threshold: float
    difference: Measure


class IncrementalValue(Settings):
    """The nomogram over a base model on one sample.

    Attributes
    ----------
    name, base
        Of the base model: for programs, and for readers.
    reason
        Why there is nothing to measure, if so; all else is then empty.
    likelihood, likelihood_reason
        ``None`` with its reason.
    auc_difference, scaled_brier_difference
        Nomogram minus base model.
    left_out
        What is not reported, and why.
    """

    sample: Sample
    name: str
    base: str
    reason: str | None
    patient_count: int
    event_count: int
    likelihood: LikelihoodEvidence | None
    likelihood_reason: str | None
    auc_difference: Measure
    scaled_brier_difference: Measure
    net_benefit: tuple[NetBenefitDifference, ...]
    left_out: str = LEFT_OUT
    methods: tuple[Method, ...]


def incremental_value(
    sample: Sample,
    outcome: Mapping[str, int],
    base: BaseModel,
    *,
    kept: tuple[ClinicalPredictor, ...],
    records: Mapping[str, ClinicalRecord],
    score: Mapping[str, float],
    probability: Mapping[str, float],
    settings: SampleSettings | None = None,
) -> IncrementalValue:
    """Measure what the nomogram is worth beyond a base model.

    Parameters
    ----------
    sample
        Not the apparent one: a resubstituted score adds a great deal to anything, even if it is noise.
    outcome
        0 or 1 by patient.
    kept
        Clinical predictors of the nomogram; those the base model lacks are part of what is added.
    records
        By patient.
    score, probability
        DLR probability and nomogram probability by patient, on this sample.
    settings
        Resamples, seed, and the threshold probabilities at which net benefit is compared.

    Raises
    ------
    ValueError
        If the sample is the apparent one.
    """
    if sample == "development_apparent":
        raise ValueError("what a score adds is measured out of fold or on test patients, never on those it was fitted on")
    settings = SampleSettings() if settings is None else settings
    predictors = (*base.predictors, *(p for p in kept if p.name not in {q.name for q in base.predictors}))
    ids = tuple(
        c
        for c in probability
        if c in base.probability and c in score and not any(is_missing(records[c].get(p.name)) for p in predictors)
    )
    if not base.predictors or not ids:
        return _nothing(sample, base, NO_PATIENT if base.predictors else NO_PREDICTOR, settings)
    labels = np.array([outcome[c] for c in ids], dtype=np.int64)
    full, without = (np.array([p[c] for c in ids], dtype=np.float64) for p in (probability, base.probability))
    scores = np.clip([score[c] for c in ids], CLIP, 1 - CLIP)
    likelihood = _likelihood(labels, base.predictors, predictors, [records[c] for c in ids], np.log(scores / (1 - scores)))
    brier = scaled_brier_difference(
        labels, full, without, replicates=settings.replicates, rng=np.random.default_rng([settings.seed, 10])
    )
    return IncrementalValue(
        sample=sample,
        name=base.name,
        base=base.label,
        reason=None,
        patient_count=len(ids),
        event_count=int(labels.sum()),
        likelihood=likelihood if isinstance(likelihood, LikelihoodEvidence) else None,
        likelihood_reason=likelihood if isinstance(likelihood, str) else None,
        auc_difference=_auc_difference(labels, full, without),
        scaled_brier_difference=measured(
            brier.value, brier.low, brier.high, ONE_OUTCOME if brier.value is None else RARELY_DEFINED
        ),
        net_benefit=_net_benefit(labels, full, without, settings),
        methods=methods(settings),
    )


def methods(settings: SampleSettings) -> tuple[Method, ...]:
    """Return how every figure is computed, in sentences."""
    plain = f"percentile interval of {settings.replicates:,} bootstrap resamples of patients"
    return (
        Method(
            measure="likelihood ratio χ², adequacy index",
            text="logistic models of the outcome fitted on the patients of the sample, with and without the logit of a score "
            "that was learned without them; Firth's penalized likelihood where they separate the outcomes; adequacy: χ² of "
            "the base model over that of the full one (Harrell 2015)",
        ),
        Method(measure="difference in AUC", text="paired DeLong interval"),
        Method(measure="difference in scaled Brier score, in net benefit", text=plain),
    )


def _nothing(sample: Sample, base: BaseModel, reason: str, settings: SampleSettings) -> IncrementalValue:
    return IncrementalValue(
        sample=sample,
        name=base.name,
        base=base.label,
        reason=reason,
        patient_count=0,
        event_count=0,
        likelihood=None,
        likelihood_reason=reason,
        auc_difference=Measure(value=None, reason=reason),
        scaled_brier_difference=Measure(value=None, reason=reason),
        net_benefit=(),
        methods=methods(settings),
    )


def _likelihood(
    outcome: NDArray[np.int64],
    base: Sequence[ClinicalPredictor],
    predictors: Sequence[ClinicalPredictor],
    records: Sequence[ClinicalRecord],
    score: NDArray[np.float64],
) -> LikelihoodEvidence | str:
    """Test what is added to the base columns; the reason where there is no test."""
    if not 0 < outcome.sum() < outcome.size:
        return ONE_OUTCOME
    clinical, names = design_matrix(predictors, records), column_names(predictors)
    base_count = len(column_names(base))
    everything = np.column_stack([np.ones(outcome.size), clinical, score])
    separated = is_separated(everything, outcome)
    try:
        found = likelihood_ratio_test(
            clinical[:, :base_count],
            np.column_stack([clinical[:, base_count:], score]),
            outcome,
            penalty="jeffreys" if separated else "none",
        )
    except ArithmeticError:
        return NOT_REACHED
    if found is None:
        return NOTHING_ADDED
    return LikelihoodEvidence(
        base_columns=names[:base_count],
        added_columns=(*names[base_count:], "DLR score"),
        base_statistic=found.base_statistic,
        full_statistic=found.full_statistic,
        statistic=found.statistic,
        degrees_of_freedom=found.degrees_of_freedom,
        p=found.p,
        adequacy=found.adequacy,
        method="Firth" if separated else "maximum likelihood",
    )


def _auc_difference(outcome: NDArray[np.int64], full: NDArray[np.float64], without: NDArray[np.float64]) -> Measure:
    events = int(outcome.sum())
    if not 0 < events < outcome.size:
        return Measure(value=None, reason=ONE_OUTCOME)
    found = compare_aucs_paired(outcome, full, without)
    if min(events, outcome.size - events) == 1:
        return Measure(value=found.difference, reason=SINGLE_PATIENT)
    return measured(found.difference, found.low, found.high, NO_SPREAD)


def _net_benefit(
    outcome: NDArray[np.int64], full: NDArray[np.float64], without: NDArray[np.float64], settings: SampleSettings
) -> tuple[NetBenefitDifference, ...]:
    bands = decision_bands(
        outcome,
        full,
        np.array(settings.table_thresholds),
        replicates=settings.replicates,
        rng=np.random.default_rng([settings.seed, 11]),
        other=without,
    )
    if bands.difference is None:
        return ()
    columns = zip(bands.threshold, bands.difference.value, bands.difference.low, bands.difference.high, strict=True)
    return tuple(
        NetBenefitDifference(threshold=float(t), difference=measured(float(v), float(low), float(high), NO_SPREAD))
        for t, v, low, high in columns
    )
