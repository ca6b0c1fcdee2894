"""From refits to the sections of the document; every one a pure function of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.calibration import brier_score, calibration_line
from nodogram.stats.discrimination import IntervalMethod, auc, auc_interval, compare_aucs_paired
from training.crossfit import BranchSelection
from training.evidence.honesty_result import (
    ClassifierFrequency,
    FeatureFrequency,
    FrozenEvidence,
    FrozenModel,
    ModelName,
    NoiseEvidence,
    NoiseModel,
    NullTest,
    OptimismEvidence,
    PermutationEvidence,
    ReferencePerformance,
    RefitCount,
    RepeatedEvidence,
    RepeatedModel,
    SelectionEvidence,
)
from training.evidence.honesty_text import NO_NETWORK, SWITCHED_OFF, none_fitted
from training.evidence.null_distribution import null_test, within_fold_auc
from training.evidence.optimism import Resample, distribution, model_optimism
from training.evidence.refit_material import Probabilities, RefitKind, RefitMaterial, RefitResult
from training.evidence.sample_result import Measure
from training.recipe import HonestySettings, Recipe

MODELS: tuple[ModelName, ...] = ("clinical", "dlr", "nomogram")
SEPARATED = "the predictions are all the same or separate the outcomes"
SINGLE_PATIENT = "one of the outcomes has a single patient, from which no variance follows"
RADIOMICS = "radiomics."

Results = tuple[RefitResult, ...]
Outcome = NDArray[np.int64]


def of_kind(results: Results, kind: RefitKind) -> Results:
    """Return the refits of one kind, failed ones included."""
    return tuple(result for result in results if result.kind == kind)


def refit_count(refits: Results) -> RefitCount:
    """Count refits, and why some could not be fitted."""
    failures = Counter(refit.failure for refit in refits if refit.failure is not None)
    return RefitCount(requested=len(refits), fitted=len(refits) - failures.total(), failures=tuple(sorted(failures.items())))


def reference_performance(reference: RefitResult, outcome: Outcome, recipe: Recipe) -> tuple[ReferencePerformance, ...]:
    """Measure the procedure that the refits repeat, apparent and out of fold."""
    if reference.fitted is None or reference.out_of_fold is None:
        raise ValueError("the reference needs held-out scores and a final fit")
    fold, method = np.array(reference.fold), recipe.evaluation.auc_interval
    rows = []
    for model in models_of(reference.fitted):
        apparent, held_out = probability(reference.fitted, model), probability(reference.out_of_fold, model)
        rows.append(
            ReferencePerformance(
                model=model,
                apparent_auc=auc_measure(outcome, apparent, method),
                apparent_brier=brier_score(outcome, apparent),
                apparent_slope=_slope(outcome, apparent),
                out_of_fold_auc=auc_measure(outcome, held_out, method),
                within_fold_auc=within_fold_auc(outcome, held_out, fold),
                out_of_fold_brier=brier_score(outcome, held_out),
                out_of_fold_slope=_slope(outcome, held_out),
            )
        )
    return tuple(rows)


def optimism_evidence(
    results: Results, reference: RefitResult, outcome: Outcome, settings: HonestySettings
) -> OptimismEvidence:
    """Correct every model for optimism."""
    refits = of_kind(results, "bootstrap")
    count, fitted = refit_count(refits), [refit for refit in refits if refit.fitted is not None]
    reason = _absent(count, settings.bootstrap_resamples, "bootstrap_resamples")
    if reason is not None or reference.fitted is None:
        return OptimismEvidence(count=count, reason=reason)
    models = []
    for model in models_of(reference.fitted):
        resamples = [Resample(np.array(r.drawn), probability(r.fitted, model)) for r in fitted if r.fitted is not None]
        models.append(model_optimism(model, outcome, probability(reference.fitted, model), resamples))
    return OptimismEvidence(count=count, reason=None, models=tuple(models))


def selection_evidence(results: Results, reference: RefitResult, material: RefitMaterial) -> SelectionEvidence:
    """Count how often features were selected and algorithms chosen."""
    resamples = [r.final_selections for r in of_kind(results, "bootstrap") if r.failure is None]
    folds = [*reference.fold_selections, *(s for r in of_kind(results, "repeat") for s in r.fold_selections)]
    final = reference.final_selections
    in_resamples, in_folds = _features(resamples), _features(folds)
    chosen = _features([final])
    names = sorted({*in_resamples, *in_folds, *chosen}, key=lambda name: (-in_resamples[name], -in_folds[name], name))
    radiomics = material.data.radiomics
    return SelectionEvidence(
        resamples=len(resamples),
        folds=len(folds),
        candidate_count=0 if radiomics is None else len(radiomics.names),
        features=tuple(
            FeatureFrequency(name=name, resamples=in_resamples[name], folds=in_folds[name], in_final=name in chosen)
            for name in names
        ),
        classifiers=_classifiers(resamples, folds, final, material.recipe),
    )


def repeated_evidence(results: Results, settings: HonestySettings, fold_count: int) -> RepeatedEvidence:
    """Collect the out-of-fold AUC of every repeat."""
    refits = of_kind(results, "repeat")
    count = refit_count(refits)
    reason = _absent(count, settings.repeats, "repeats")
    if reason is not None:
        return RepeatedEvidence(count=count, reason=reason, fold_count=fold_count)
    models = []
    for model in _models_in(refits):
        values = _out_of_fold_aucs(refits, model)
        models.append(RepeatedModel(model=model, auc=values, distribution=distribution(values)))
    return RepeatedEvidence(count=count, reason=None, fold_count=fold_count, models=tuple(models))


def permutation_evidence(
    results: Results, reference: RefitResult, outcome: Outcome, settings: HonestySettings
) -> PermutationEvidence:
    """Compare the out-of-fold AUC of the nomogram with those of permuted outcomes."""
    refits = of_kind(results, "permutation")
    count = refit_count(refits)
    reason = _absent(count, settings.permutations, "permutations")
    if reason is not None or reference.out_of_fold is None:
        return PermutationEvidence(count=count, reason=reason)
    score = probability(reference.out_of_fold, "nomogram")
    return PermutationEvidence(
        count=count,
        reason=None,
        pooled=null_test(auc(outcome, score), _out_of_fold_aucs(refits, "nomogram")),
        within_folds=_within_folds(refits, within_fold_auc(outcome, score, np.array(reference.fold))),
    )


def noise_evidence(results: Results, reference: RefitResult, outcome: Outcome, settings: HonestySettings) -> NoiseEvidence:
    """Collect what the chain makes of noise, beside the clinical model that noise does not touch."""
    refits = of_kind(results, "noise")
    count = refit_count(refits)
    reason = _absent(count, settings.noise_runs, "noise_runs")
    if reason is not None or reference.out_of_fold is None:
        return NoiseEvidence(count=count, reason=reason)
    clinical = None
    if reference.out_of_fold.clinical is not None:
        clinical = auc(outcome, probability(reference.out_of_fold, "clinical"))
    models = []
    for model in ("dlr", "nomogram"):
        held_out = _out_of_fold_aucs(refits, model)
        apparent = tuple(auc(outcome, probability(r.fitted, model)) for r in refits if r.fitted is not None)
        models.append(
            NoiseModel(
                model=model,
                out_of_fold=held_out,
                apparent=apparent,
                out_of_fold_distribution=distribution(held_out),
                apparent_distribution=distribution(apparent),
            )
        )
    return NoiseEvidence(count=count, reason=None, clinical_out_of_fold=clinical, models=tuple(models))


def frozen_evidence(results: Results, own: RefitResult, outcome: Outcome, recipe: Recipe) -> FrozenEvidence:
    """Compare the run, fine-tuned, with the chain on the untuned network in the same folds."""
    refits = of_kind(results, "frozen")
    count = refit_count(refits)
    if not refits:
        return FrozenEvidence(count=count, reason=NO_NETWORK)
    if refits[0].out_of_fold is None or own.out_of_fold is None:
        return FrozenEvidence(count=count, reason=none_fitted(count.requested))
    method = recipe.evaluation.auc_interval
    models = []
    for model in ("dlr", "nomogram"):
        tuned, frozen = probability(own.out_of_fold, model), probability(refits[0].out_of_fold, model)
        difference = compare_aucs_paired(outcome, tuned, frozen)
        models.append(
            FrozenModel(
                model=model,
                tuned=auc_measure(outcome, tuned, method),
                frozen=auc_measure(outcome, frozen, method),
                difference=Measure(value=difference.difference, low=difference.low, high=difference.high),
            )
        )
    return FrozenEvidence(count=count, reason=None, models=tuple(models))


def auc_measure(outcome: Outcome, score: NDArray[np.float64], method: IntervalMethod) -> Measure:
    """Return the AUC (both outcomes present) with DeLong's interval, or without one where a class has a single patient."""
    found = auc_interval(outcome, score, method)
    if min(found.positive_count, found.negative_count) == 1:
        return Measure(value=found.auc, reason=SINGLE_PATIENT)
    return Measure(value=found.auc, low=found.low, high=found.high)


def models_of(found: Probabilities) -> tuple[ModelName, ...]:
    """Return the models there are probabilities of."""
    return tuple(model for model in MODELS if model != "clinical" or found.clinical is not None)


def probability(found: Probabilities, model: ModelName) -> NDArray[np.float64]:
    """Return the probabilities (n,) of one model."""
    values = {"clinical": found.clinical, "dlr": found.dlr, "nomogram": found.nomogram}[model]
    if values is None:
        raise ValueError("the cohort has no clinical model")
    return np.array(values)


def _absent(count: RefitCount, requested: int, key: str) -> str | None:
    if not requested:
        return SWITCHED_OFF.format(key, 0)
    return None if count.fitted else none_fitted(count.requested)


def _slope(outcome: Outcome, values: NDArray[np.float64]) -> Measure:
    line = calibration_line(outcome, values)
    reason = SEPARATED if line.slope is None else None
    return Measure(value=line.slope, low=line.slope_low, high=line.slope_high, reason=reason)


def _models_in(refits: Results) -> tuple[ModelName, ...]:
    return next(models_of(refit.out_of_fold) for refit in refits if refit.out_of_fold is not None)


def _out_of_fold_aucs(refits: Results, model: ModelName) -> tuple[float, ...]:
    return tuple(auc(np.array(r.outcome), probability(r.out_of_fold, model)) for r in refits if r.out_of_fold is not None)


def _within_folds(refits: Results, observed: float | None) -> NullTest | None:
    found = [
        within_fold_auc(np.array(r.outcome), probability(r.out_of_fold, "nomogram"), np.array(r.fold))
        for r in refits
        if r.out_of_fold is not None
    ]
    null = [value for value in found if value is not None]
    return null_test(observed, null) if observed is not None and null else None


def _features(chains: Iterable[Sequence[BranchSelection]]) -> Counter[str]:
    """Count the chains in which some branch of the score selected each radiomic feature."""
    return Counter(name for chain in chains for name in {n for b in chain for n in b.names if n.startswith(RADIOMICS)})


def _classifiers(
    resamples: Sequence[Sequence[BranchSelection]],
    folds: Sequence[Sequence[BranchSelection]],
    final: Sequence[BranchSelection],
    recipe: Recipe,
) -> tuple[ClassifierFrequency, ...]:
    in_resamples, in_folds = ([(b.branch, b.classifier) for chain in chains for b in chain] for chains in (resamples, folds))
    return tuple(
        ClassifierFrequency(
            branch=branch.branch,
            classifier=name,
            resamples=in_resamples.count((branch.branch, name)),
            folds=in_folds.count((branch.branch, name)),
            in_final=branch.classifier == name,
        )
        for branch in final
        for name in recipe.classifiers.names
    )
