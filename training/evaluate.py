"""How well every model does, on which sample, honestly labeled; the test split through the reloaded bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray

from nodogram.bundle import ModelBundle, load_bundle
from nodogram.case import ClinicalRecord
from nodogram.errors import Reason, TrainingError
from nodogram.imaging.load import load_case
from nodogram.predict import predict
from nodogram.stats.calibration import brier_score, calibration_line
from nodogram.stats.classification import Proportion, confusion
from nodogram.stats.discrimination import auc_interval, roc_curve
from training.clinical_fit import clinical_probability
from training.cohort import Patient
from training.crossfit import FinalFit, FoldResult, TrainingData
from training.nomogram_model import FittedNomogram, branch_probabilities, freeze_threshold
from training.progress import RunProgress
from training.recipe import EvaluationSettings, Recipe
from training.results import Estimate, FeatureSet, ModelPerformance, Sample
from training.splits import Split

# The probability of a test patient may differ between the bundle and the fitted objects by no more than this.
SERVED_PARITY = 1e-6

Scores = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Performance of every model, and the predictions behind it.

    Attributes
    ----------
    scored
        The models with their probabilities.
    development
        ``(dlr_score_oof, probability_apparent, probability_oof)`` by patient.
    test
        Probability by patient, from the reloaded bundle.
    """

    models: tuple[ModelPerformance, ...]
    scored: tuple[Scored, ...]
    development: Mapping[str, tuple[float, float, float]]
    test: Scores


@dataclass(frozen=True, eq=False)
class Scored:
    """One model with its probabilities on each sample."""

    feature_set: FeatureSet
    classifier: str | None
    chosen: bool
    apparent: Scores
    out_of_fold: Scores
    test: Scores


def evaluate_run(
    bundle: Path,
    patients: tuple[Patient, ...],
    split: Split,
    data: TrainingData,
    folds: tuple[FoldResult, ...],
    final: FinalFit,
    fitted: FittedNomogram,
    recipe: Recipe,
    jobs: int,
    progress: RunProgress,
) -> Evaluation:
    """Evaluate every model of a run."""
    served = predict_patients(bundle, [p for p in patients if p.patient_id in set(split.test)], jobs, progress)
    dlr_test = _check_served(served, split, data, final, fitted)
    models = [
        *_chain_models(split, data, folds, final),
        *_stacked_models(split, data, folds, fitted, recipe, served, dlr_test),
    ]
    rows = [row for model in models for row in performance_rows(model, data.outcome, recipe.evaluation)]
    development = {
        c: (fitted.held_out[c].dlr, fitted.apparent[c].nomogram, fitted.held_out[c].nomogram) for c in split.development
    }
    return Evaluation(tuple(rows), tuple(models), development, served)


def predict_patients(bundle: Path, patients: Sequence[Patient], jobs: int, progress: RunProgress) -> dict[str, float]:
    """Predict patients from their files through the bundle, as a user would."""
    if not patients:
        return {}
    results: dict[str, float] = {}
    runner = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    with progress.steps("predict", len(patients)) as advance:
        for patient, probability in zip(patients, runner(delayed(_predict_one)(bundle, p) for p in patients), strict=True):
            results[patient.patient_id] = probability
            advance("")
    return results


def performance_rows(model: Scored, outcome: Mapping[str, int], settings: EvaluationSettings) -> list[ModelPerformance]:
    """Measure one model on each sample it has probabilities for, at the threshold frozen by the recipe's rule."""
    source = model.out_of_fold if settings.threshold_from == "out_of_fold" else model.apparent
    threshold, _ = freeze_threshold(_labels(source, outcome), _values(source), settings)
    samples: tuple[tuple[Sample, Scores], ...] = (
        ("development_apparent", model.apparent),
        ("development_out_of_fold", model.out_of_fold),
        ("test", model.test),
    )
    return [
        _performance(model, sample, _labels(scores, outcome), _values(scores), threshold, settings)
        for sample, scores in samples
        if scores
    ]


def _performance(
    model: Scored,
    sample: Sample,
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    settings: EvaluationSettings,
) -> ModelPerformance:
    table = confusion(outcome, probability, threshold)
    both = 0 < outcome.sum() < outcome.size
    area = auc_interval(outcome, probability, method=settings.auc_interval) if both else None
    curve = roc_curve(outcome, probability) if both else None
    line = calibration_line(outcome, probability) if both else None
    return ModelPerformance(
        feature_set=model.feature_set,
        classifier=model.classifier,
        chosen=model.chosen,
        sample=sample,
        patient_count=int(outcome.size),
        event_count=int(outcome.sum()),
        threshold=threshold,
        auc=Estimate(value=None) if area is None else Estimate(value=area.auc, low=area.low, high=area.high),
        accuracy=_estimate(table.accuracy),
        sensitivity=_estimate(table.sensitivity),
        specificity=_estimate(table.specificity),
        ppv=_estimate(table.ppv),
        npv=_estimate(table.npv),
        brier=brier_score(outcome, probability),
        calibration_slope=Estimate(value=None)
        if line is None
        else Estimate(value=line.slope, low=line.slope_low, high=line.slope_high),
        calibration_intercept=Estimate(value=None)
        if line is None
        else Estimate(value=line.intercept, low=line.intercept_low, high=line.intercept_high),
        false_positive_rate=() if curve is None else tuple(float(v) for v in curve.false_positive_rate),
        true_positive_rate=() if curve is None else tuple(float(v) for v in curve.true_positive_rate),
    )


def _chain_models(split: Split, data: TrainingData, folds: tuple[FoldResult, ...], final: FinalFit) -> list[Scored]:
    """All algorithms on radiomics, deep and fused features."""
    apparent = _final_probabilities(final, data, split.development)
    test = _final_probabilities(final, data, split.test) if split.test else {}
    pooled: dict[tuple[FeatureSet, str], dict[str, float]] = {}
    for fold in folds:
        for model in fold.models:
            pooled.setdefault((model.feature_set, model.classifier), {}).update(zip(fold.held_out, model.held_out, strict=True))
    return [
        Scored(
            feature_set,
            classifier,
            final.chain.is_chosen(feature_set, classifier),
            scores,
            pooled[feature_set, classifier],
            test.get((feature_set, classifier), {}),
        )
        for (feature_set, classifier), scores in apparent.items()
    ]


def _final_probabilities(
    final: FinalFit, data: TrainingData, case_ids: tuple[str, ...]
) -> dict[tuple[FeatureSet, str], dict[str, float]]:
    deep = None if final.deep is None else final.deep.rows(case_ids)
    models = final.chain.model_probabilities(data.radiomics_of(case_ids), deep)
    return {(m.feature_set, m.classifier): _by_id(case_ids, m.probability) for m in models}


def _stacked_models(
    split: Split,
    data: TrainingData,
    folds: tuple[FoldResult, ...],
    fitted: FittedNomogram,
    recipe: Recipe,
    served: Scores,
    dlr_test: Scores,
) -> list[Scored]:
    """Clinical model, chosen DLR score and nomogram."""
    models = [
        Scored(
            "dlr",
            None,
            chosen=True,
            apparent={c: s.dlr for c, s in fitted.apparent.items()},
            out_of_fold={c: s.dlr for c, s in fitted.held_out.items()},
            test=dlr_test,
        )
    ]
    if fitted.stage.kept:
        models.insert(0, _clinical_model(split, data, folds, fitted, recipe))
    models.append(
        Scored(
            "nomogram",
            None,
            chosen=True,
            apparent={c: s.nomogram for c, s in fitted.apparent.items()},
            out_of_fold={c: s.nomogram for c, s in fitted.held_out.items()},
            test=served,
        )
    )
    return models


def _clinical_model(
    split: Split, data: TrainingData, folds: tuple[FoldResult, ...], fitted: FittedNomogram, recipe: Recipe
) -> Scored:
    kept, records = fitted.stage.kept, fitted.records

    def scores(fit_on: tuple[str, ...], score_on: tuple[str, ...]) -> dict[str, float]:
        probability = clinical_probability(
            kept, [records[c] for c in fit_on], data.outcome_of(fit_on), [records[c] for c in score_on], recipe.clinical
        )
        return _by_id(score_on, probability)

    held_out: dict[str, float] = {}
    for fold in folds:
        held_out.update(scores(fold.fit, fold.held_out))
    test = scores(split.development, split.test) if split.test else {}
    return Scored(
        "clinical", None, chosen=True, apparent=scores(split.development, split.development), out_of_fold=held_out, test=test
    )


def _check_served(
    served: Scores, split: Split, data: TrainingData, final: FinalFit, fitted: FittedNomogram
) -> dict[str, float]:
    """Refuse a bundle that does not say of the test patients what the fitted objects say; return their DLR probability."""
    if not served:
        return {}
    branches = branch_probabilities(final, data, split.test)
    expected = fitted.stage.probability(branches, [fitted.records[c] for c in split.test])
    difference = float(np.abs(expected - np.array([served[c] for c in split.test])).max())
    if not difference <= SERVED_PARITY:
        raise TrainingError(
            Reason.EXPORT_PARITY_FAILED,
            f"the reloaded bundle differs from the fitted model by {difference:.2g} on the test patients; "
            f"at most {SERVED_PARITY:g} is allowed",
        )
    return _by_id(split.test, fitted.stage.dlr_probability(branches))


@lru_cache(maxsize=2)
def _loaded(bundle: Path) -> ModelBundle:
    return load_bundle(bundle, threads=1)


def _predict_one(bundle: Path, patient: Patient) -> float:
    known = {p.name for p in _loaded(bundle).manifest.predictors}
    clinical: ClinicalRecord = {name: value for name, value in patient.clinical.items() if name in known}
    case = load_case(patient.patient_id, patient.image, patient.roi, roi_name=patient.roi_name, clinical=clinical)
    probability = predict(case, _loaded(bundle)).probability
    if probability is None:
        raise TrainingError(Reason.CLINICAL_PREDICTOR_MISSING, "a test patient lacks a clinical predictor")
    return probability


def _estimate(proportion: Proportion) -> Estimate:
    return Estimate(value=proportion.value, low=proportion.low, high=proportion.high)


def _by_id(case_ids: tuple[str, ...], values: NDArray[np.float64]) -> dict[str, float]:
    return dict(zip(case_ids, (float(v) for v in values), strict=True))


def _labels(scores: Scores, outcome: Mapping[str, int]) -> NDArray[np.int64]:
    return np.array([outcome[c] for c in scores], dtype=np.int64)


def _values(scores: Scores) -> NDArray[np.float64]:
    return np.array(list(scores.values()), dtype=np.float64)
