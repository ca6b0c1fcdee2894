"""From branch probabilities of a refit to those of its clinical model, DLR score and nomogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nodogram.case import ClinicalRecord
from training.clinical_fit import clinical_probability, clinical_tables
from training.crossfit import FoldResult
from training.evidence.refit_material import Probabilities, RefitMaterial, Rows, Values
from training.scoring import fit_stage, held_out_scores


def held_out_probabilities(rows: Rows, folds: tuple[FoldResult, ...], material: RefitMaterial) -> Probabilities:
    """Return the probabilities of each row from models that did not see its patient.

    Parameters
    ----------
    folds
        Cross-fitting results under the names of the rows.
    """
    outcome = dict(zip(rows.labels, (int(y) for y in rows.outcome), strict=True))
    records = {label: material.records[patient] for label, patient in rows.patient_of.items()}
    scores = held_out_scores(folds, outcome, records, material.candidates, material.recipe)
    return Probabilities(
        clinical=_clinical_held_out(folds, rows.labels, outcome, records, material) if material.candidates else None,
        dlr=tuple(scores[label].dlr for label in rows.labels),
        nomogram=tuple(scores[label].nomogram for label in rows.labels),
    )


def fitted_probabilities(
    rows: Rows, folds: tuple[FoldResult, ...], everyone: NDArray[np.float64], material: RefitMaterial
) -> Probabilities:
    """Fit calibration, clinical model and nomogram on all rows and return the probabilities of every development patient.

    Parameters
    ----------
    folds
        Where the recipe takes the score out of fold, the cross-fitting results it is taken from.
    everyone
        (n_patients, n_branches) from the final chain.

    Notes
    -----
    Clinical predictors are screened on the rows alone, also where the recipe screens on all patients.
    """
    recipe, patients = material.recipe, material.case_ids
    learned = everyone[rows.position]
    if recipe.score.source == "out_of_fold":
        pooled = {label: p for fold in folds for label, p in zip(fold.held_out, fold.dlr_held_out, strict=True)}
        learned = np.array([pooled[label] for label in rows.labels])
    records = material.records_of(rows.patients)
    stage = fit_stage(learned, rows.outcome, records, material.candidates, recipe, with_interval=False)
    clinical = None
    if material.candidates:
        clinical = _clinical(records, rows.outcome, material.records_of(patients), material)
    return Probabilities(
        clinical=clinical,
        dlr=_floats(stage.dlr_probability(everyone)),
        nomogram=_floats(stage.probability(everyone, material.records_of(patients))),
    )


def _clinical_held_out(
    folds: tuple[FoldResult, ...],
    labels: tuple[str, ...],
    outcome: Mapping[str, int],
    records: Mapping[str, ClinicalRecord],
    material: RefitMaterial,
) -> Values:
    found: dict[str, float] = {}
    for fold in folds:
        fit_outcome = np.array([outcome[label] for label in fold.fit], dtype=np.int64)
        scored = [records[label] for label in fold.held_out]
        values = _clinical([records[label] for label in fold.fit], fit_outcome, scored, material)
        found |= dict(zip(fold.held_out, values, strict=True))
    return tuple(found[label] for label in labels)


def _clinical(
    fit_records: Sequence[ClinicalRecord],
    fit_outcome: NDArray[np.int64],
    records: Sequence[ClinicalRecord],
    material: RefitMaterial,
) -> Values:
    """Screen and fit the clinical model on some patients and score others; nothing kept leaves the prevalence."""
    settings, kept = material.recipe.clinical, material.candidates
    if settings.screening != "none":
        names = clinical_tables(material.candidates, fit_records, fit_outcome, settings).kept
        kept = tuple(p for p in material.candidates if p.name in names)
    if not kept:
        return (float(fit_outcome.mean()),) * len(records)
    return _floats(clinical_probability(kept, fit_records, fit_outcome, records, settings))


def _floats(values: NDArray[np.float64]) -> Values:
    return tuple(float(v) for v in values)
