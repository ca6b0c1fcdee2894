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
from training.scoring import NomogramStage, fit_stage, held_out_nomogram
from training.splits import Split


@dataclass(frozen=True, eq=False)
class FittedNomogram:
    """The nomogram of the bundle with what it was learned from.

    Attributes
    ----------
    out_of_fold
        DLR probability of each development patient from the fold that held the patient out, uncalibrated.
    held_out_probability
        Nomogram probability of each development patient from a nomogram that did not see the patient.
    apparent_probability
        Nomogram probability of each development patient from resubstituted DLR scores: optimistic.
    development_score
        The scores the nomogram was fitted on, in the order of the development patients.
    """

    stage: NomogramStage
    candidates: tuple[ClinicalPredictor, ...]
    records: Mapping[str, ClinicalRecord]
    out_of_fold: Mapping[str, float]
    apparent: Mapping[str, float]
    held_out_probability: Mapping[str, float]
    apparent_probability: Mapping[str, float]
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
    chain = final.chain.probability(data.radiomics_of(ids), None if final.deep is None else final.deep.rows(ids))
    apparent = dict(zip(ids, (float(p) for p in chain), strict=True))
    learned = out_of_fold if recipe.score.source == "out_of_fold" else apparent
    everyone = data.case_ids
    stage = fit_stage(
        np.array([learned[c] for c in ids]),
        data.outcome_of(ids),
        [records[c] for c in ids],
        candidates,
        recipe,
        screening=([records[c] for c in everyone], data.outcome_of(everyone)) if recipe.clinical.selected_on == "all" else None,
    )
    held_out = held_out_nomogram(folds, data.outcome, records, candidates, recipe)
    resubstituted = stage.probability(np.array([apparent[c] for c in ids]), [records[c] for c in ids])
    apparent_probability = dict(zip(ids, (float(p) for p in resubstituted), strict=True))
    source = held_out if recipe.evaluation.threshold_from == "out_of_fold" else apparent_probability
    threshold, rule = freeze_threshold(data.outcome_of(ids), np.array([source[c] for c in ids]), recipe.evaluation)
    return FittedNomogram(
        stage=stage,
        candidates=candidates,
        records=records,
        out_of_fold=out_of_fold,
        apparent=apparent,
        held_out_probability=held_out,
        apparent_probability=apparent_probability,
        development_score=tuple(float(s) for s in stage.score(np.array([learned[c] for c in ids]))),
        threshold=threshold,
        threshold_rule=rule,
    )


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
