"""The nomogram of the bundle together with the probabilities it was learned from and is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.stats.classification import threshold_for_sensitivity, youden_threshold
from training.cohort import Cohort
from training.crossfit import FinalFit, FoldResult, TrainingData
from training.recipe import EvaluationSettings, Recipe
from training.scoring import NomogramStage, PatientScores, fit_stage, held_out_scores
from training.splits import Split


@dataclass(frozen=True, eq=False)
class FittedNomogram:
    """The nomogram of the bundle with what it was learned from.

    Attributes
    ----------
    held_out
        DLR and nomogram probability of each development patient from fits that did not see the patient.
    apparent
        The same from resubstituted branch probabilities: optimistic.
    development_score
        The scores the nomogram was fitted on, in the order of the development patients.
    """

    stage: NomogramStage
    candidates: tuple[ClinicalPredictor, ...]
    records: Mapping[str, ClinicalRecord]
    held_out: Mapping[str, PatientScores]
    apparent: Mapping[str, PatientScores]
    development_score: tuple[float, ...]
    threshold: float
    threshold_rule: str


def fit_nomogram_model(
    folds: tuple[FoldResult, ...], final: FinalFit, split: Split, data: TrainingData, cohort: Cohort, recipe: Recipe
) -> FittedNomogram:
    """Fit calibration, clinical model, nomogram and threshold on the development patients."""
    ids = split.development
    records: dict[str, ClinicalRecord] = {p.patient_id: p.clinical for p in cohort.patients}
    candidates = cohort.definition.candidates
    out_of_fold = {c: p for fold in folds for c, p in zip(fold.held_out, fold.dlr_held_out, strict=True)}
    resubstituted = branch_probabilities(final, data, ids)
    learned = np.array([out_of_fold[c] for c in ids]) if recipe.score.source == "out_of_fold" else resubstituted
    everyone = data.case_ids
    development_records = [records[c] for c in ids]
    stage = fit_stage(
        learned,
        data.outcome_of(ids),
        development_records,
        candidates,
        recipe,
        screening=([records[c] for c in everyone], data.outcome_of(everyone)) if recipe.clinical.selected_on == "all" else None,
    )
    held_out = held_out_scores(folds, data.outcome, records, candidates, recipe)
    pairs = zip(ids, stage.dlr_probability(resubstituted), stage.probability(resubstituted, development_records), strict=True)
    apparent = {c: PatientScores(float(d), float(p)) for c, d, p in pairs}
    source = held_out if recipe.evaluation.threshold_from == "out_of_fold" else apparent
    threshold, rule = freeze_threshold(data.outcome_of(ids), np.array([source[c].nomogram for c in ids]), recipe.evaluation)
    return FittedNomogram(
        stage=stage,
        candidates=candidates,
        records=records,
        held_out=held_out,
        apparent=apparent,
        development_score=tuple(float(s) for s in stage.score(learned)),
        threshold=threshold,
        threshold_rule=rule,
    )


def branch_probabilities(final: FinalFit, data: TrainingData, case_ids: tuple[str, ...]) -> NDArray[np.float64]:
    """Return what the branches of the final chain say of the given patients, (n, n_branches)."""
    deep = None if final.deep is None else final.deep.rows(case_ids)
    return final.chain.branch_probabilities(data.radiomics_of(case_ids), deep)


def freeze_threshold(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], settings: EvaluationSettings
) -> tuple[float, str]:
    """Return the decision threshold by the rule of the recipe, and the rule in words.

    Parameters
    ----------
    outcome
        (n,), 0 or 1.
    probability
        (n,), of the development sample the recipe names.
    """
    sample = "out-of-fold" if settings.threshold_from == "out_of_fold" else "apparent"
    if settings.threshold_rule == "youden":
        return youden_threshold(outcome, probability), f"maximum Youden index on {sample} development probabilities"
    value = threshold_for_sensitivity(outcome, probability, settings.minimum_sensitivity)
    return (
        value,
        f"highest threshold with sensitivity of at least {settings.minimum_sensitivity:.2f} "
        f"on {sample} development probabilities",
    )
