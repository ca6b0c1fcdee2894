"""How much of a performance is the model and how much is fitting, as one typed document."""

from __future__ import annotations

from typing import Literal

from nodogram.settings import Settings
from training.evidence.sample_result import Measure, Method, Values
from training.recipe import HonestySettings

ModelName = Literal["clinical", "dlr", "nomogram"]
MeasureName = Literal["auc", "brier", "slope"]
NetworkUse = Literal["refit", "initial", "none"]


class RefitCount(Settings):
    """Refits asked for and those that could be fitted.

    Attributes
    ----------
    failures
        Why some could not, with their number.
    """

    requested: int
    fitted: int
    failures: tuple[tuple[str, int], ...] = ()


class Distribution(Settings):
    """Values over refits. The percentiles show how they spread; they are no confidence interval.

    Attributes
    ----------
    count
        Refits in which the value was defined; the rest is ``None`` if there is none, ``sd`` also if there is one.
    low, high
        2.5th and 97.5th percentile.
    """

    count: int
    mean: float | None
    sd: float | None
    low: float | None
    median: float | None
    high: float | None


class ReferencePerformance(Settings):
    """One model of the very procedure the refits repeat.

    Attributes
    ----------
    apparent_auc, apparent_brier, apparent_slope
        Of the final model on the development patients it was fitted on: optimistic.
    out_of_fold_auc, out_of_fold_brier, out_of_fold_slope
        Pooled over the folds.
    within_fold_auc
        Only pairs of patients that one and the same fold model scored; free of shifts between the models of different folds.
    """

    model: ModelName
    apparent_auc: Measure
    apparent_brier: float
    apparent_slope: Measure
    out_of_fold_auc: Measure
    within_fold_auc: float | None
    out_of_fold_brier: float
    out_of_fold_slope: Measure


class CorrectedMeasure(Settings):
    """Harrell's correction of one measure.

    Attributes
    ----------
    apparent
        Of the final model on its own patients.
    in_resample, on_original
        Of the model of each resample, on the resample and on the original patients.
    optimism
        Their difference.
    standard_error
        Of the mean optimism, from the number of resamples (Monte Carlo) alone.
    corrected
        ``apparent`` less the mean optimism; of the slope: the shrinkage factor. ``None`` with the reason.
    """

    measure: MeasureName
    apparent: float | None
    in_resample: Values
    on_original: Values
    optimism: Distribution
    standard_error: float | None
    corrected: float | None
    reason: str | None = None


class PlusEstimate(Settings):
    """The .632+ estimate of one measure.

    Attributes
    ----------
    out_of_bag
        Mean over patients a resample did not draw.
    no_information
        Expected if predictions and outcomes had nothing to do with each other.
    overfitting_rate, weight
        0 (none) to 1, and the weight 0.632 to 1 it gives to ``out_of_bag``.
    value
        ``None`` with the reason.
    """

    measure: MeasureName
    apparent: float
    out_of_bag: float | None
    no_information: float
    overfitting_rate: float | None
    weight: float | None
    value: float | None
    reason: str | None = None


class ModelOptimism(Settings):
    """Both corrections of one model.

    Attributes
    ----------
    out_of_bag_slope
        Calibration slope of the predictions for patients not drawn, all resamples together; ``None`` where none exists.
    """

    model: ModelName
    corrected: tuple[CorrectedMeasure, ...]
    plus: tuple[PlusEstimate, ...]
    out_of_bag_slope: float | None


class OptimismEvidence(Settings):
    """Whole-chain bootstrap; ``reason`` says why there is none."""

    count: RefitCount
    reason: str | None
    models: tuple[ModelOptimism, ...] = ()


class FeatureFrequency(Settings):
    """How often a feature was selected, of the resamples and folds counted in :class:`SelectionEvidence`."""

    name: str
    resamples: int
    folds: int
    in_final: bool


class ClassifierFrequency(Settings):
    """How often an algorithm was chosen in a branch of the score."""

    branch: str
    classifier: str
    resamples: int
    folds: int
    in_final: bool


class SelectionEvidence(Settings):
    """What resamples and folds selected.

    Attributes
    ----------
    resamples, folds
        Chains looked at: final ones of the resamples; those of the folds of the run and of the repeats.
    candidate_count
        Radiomic features there were to select from.
    features
        Those selected at least once, most frequent first.
    classifiers
        Every algorithm of the recipe, branch by branch.
    """

    resamples: int
    folds: int
    candidate_count: int
    features: tuple[FeatureFrequency, ...]
    classifiers: tuple[ClassifierFrequency, ...]


class RepeatedModel(Settings):
    """Out-of-fold AUC of one model, pooled over the folds, one per repeat."""

    model: ModelName
    auc: Values
    distribution: Distribution


class RepeatedEvidence(Settings):
    """Repeated stratified cross-validation of the whole chain."""

    count: RefitCount
    reason: str | None
    fold_count: int
    models: tuple[RepeatedModel, ...] = ()


class NullTest(Settings):
    """A statistic against what permuted outcomes give; ``p`` is one-sided and not adjusted."""

    observed: float
    null: Values
    distribution: Distribution
    p: float


class PermutationEvidence(Settings):
    """Out-of-fold AUC of the nomogram with permuted outcomes.

    Attributes
    ----------
    pooled, within_folds
        As in :class:`ReferencePerformance`.
    """

    count: RefitCount
    reason: str | None
    pooled: NullTest | None = None
    within_folds: NullTest | None = None


class NoiseModel(Settings):
    """AUC of one model with noise for features, one per run."""

    model: ModelName
    out_of_fold: Values
    apparent: Values
    out_of_fold_distribution: Distribution
    apparent_distribution: Distribution


class NoiseEvidence(Settings):
    """Noise instead of radiomic and deep features.

    Attributes
    ----------
    clinical_out_of_fold
        AUC of the clinical model alone in the same folds, which noise does not touch; ``None`` without candidates.
    """

    count: RefitCount
    reason: str | None
    clinical_out_of_fold: float | None = None
    models: tuple[NoiseModel, ...] = ()


class FrozenModel(Settings):
    """Out-of-fold AUC of one model with and without fine-tuning, and their difference (tuned less untuned)."""

    model: ModelName
    tuned: Measure
    frozen: Measure
    difference: Measure


class FrozenEvidence(Settings):
    """The untuned network as a baseline."""

    count: RefitCount
    reason: str | None
    models: tuple[FrozenModel, ...] = ()


class CentreRow(Settings):
    """Nomogram fitted without one center, measured there."""

    centre: str
    patient_count: int
    event_count: int
    auc: Measure


class CentreSummary(Settings):
    """Random-effects summary over centers.

    Attributes
    ----------
    centre_count
        Centers in it.
    auc
        Mean AUC with its Hartung-Knapp interval.
    prediction
        Mean AUC with the interval in which the AUC of a new center is expected.
    i_squared
        Share of the variance between centers that is not chance, 0 to 1.
    tau_squared
        Variance between centers on the logit scale.
    """

    centre_count: int
    auc: Measure
    prediction: Measure
    i_squared: float
    tau_squared: float


class CentreEvidence(Settings):
    """Leave-one-center-out among the development patients."""

    count: RefitCount
    reason: str | None
    rows: tuple[CentreRow, ...] = ()
    summary: CentreSummary | None = None
    summary_reason: str | None = None


class HonestyEvidence(Settings):
    """What refits of the whole procedure say about the numbers of a run.

    Attributes
    ----------
    network
        What the refits did with the network: fine-tuned it again, took the untuned one, or had none.
    network_note
        The same in a sentence, for every caption.
    reference
        The procedure the refits repeat: the run itself or, where they do not fine-tune, the chain on the untuned network.
    """

    settings: HonestySettings
    patient_count: int
    event_count: int
    fold_count: int
    network: NetworkUse
    network_note: str
    reference: tuple[ReferencePerformance, ...]
    optimism: OptimismEvidence
    selection: SelectionEvidence
    repeated: RepeatedEvidence
    permutation: PermutationEvidence
    noise: NoiseEvidence
    frozen: FrozenEvidence
    centres: CentreEvidence
    methods: tuple[Method, ...]
