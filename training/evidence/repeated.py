"""Repeated readings of development patients: two outlines of one tumor where there are, perturbed ones where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed, parallel_config
from numpy.typing import NDArray

from nodogram.case import Case
from nodogram.deep.embed import DEEP_FEATURE_NAMES, OnnxBackbone
from nodogram.errors import NodogramError
from nodogram.features import FeatureTable, FeatureVector
from nodogram.imaging.crop import center_crop
from nodogram.imaging.load import load_case
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.settings import ModelSettings
from training.cohort import Patient
from training.crossfit import FinalFit, TrainingData
from training.evidence.agreement import AgreementReport, IccForm, OutlineAgreement, agreement_report, compare_outlines
from training.evidence.contours import ContourPerturbation, perturbed_cases
from training.extraction import ExtractedCase
from training.nomogram_model import FittedNomogram
from training.progress import RunProgress
from training.recipe import Recipe
from training.splits import Split

# With fewer patients no agreement can be estimated.
MINIMUM_PATIENTS = 2


@dataclass(frozen=True, eq=False)
class Reading:
    """Features and crops of one outline for each of some patients; see :class:`training.crossfit.TrainingData`."""

    radiomics: FeatureTable | None
    pixels: NDArray[np.float32] | None


def gather_agreement(
    patients: Sequence[Patient],
    split: Split,
    data: TrainingData,
    second: Mapping[str, ExtractedCase],
    final: FinalFit,
    fitted: FittedNomogram,
    recipe: Recipe,
    *,
    jobs: int,
    progress: RunProgress,
) -> AgreementReport | None:
    """Compare repeated readings of development patients: features of both kinds, final score and, of two readers, outlines.

    Parameters
    ----------
    second
        Cases of a second outline by patient, drawn by another reader or by the same one later.

    Returns
    -------
    report : AgreementReport or None
        ``None`` if there is no second outline and the recipe perturbs none.
    """
    by_id = {p.patient_id: p for p in patients}
    both = tuple(c for c in split.development if c in second)
    if len(both) >= MINIMUM_PATIENTS:
        readings = (
            _first_reading(data, both),
            _stacked(both, [(second[c].radiomics, second[c].pixels) for c in both], recipe.model),
        )
        outlines = _compare([by_id[c] for c in both], jobs, progress)
        is_other_reader = any(by_id[c].roi_reader_b is not None for c in both)
        source = "outlines of two readers" if is_other_reader else "outlines drawn twice by one reader"
        return _report(both, readings, final, fitted, recipe, source, "ICC(2,1)", outlines)
    if not recipe.agreement.perturbed_patients:
        return None
    return _perturbed(by_id, split, final, fitted, recipe, jobs, progress)


def _report(
    ids: tuple[str, ...],
    readings: Sequence[Reading],
    final: FinalFit,
    fitted: FittedNomogram,
    recipe: Recipe,
    source: str,
    form: IccForm,
    outlines: Sequence[OutlineAgreement] = (),
) -> AgreementReport:
    deep = [_embedded(ids, reading.pixels, final, recipe) for reading in readings]
    scores = [
        fitted.stage.score(final.chain.branch_probabilities(reading.radiomics, table))
        for reading, table in zip(readings, deep, strict=True)
    ]
    return agreement_report(
        [_joined(reading.radiomics, table) for reading, table in zip(readings, deep, strict=True)],
        source=source,
        form=form,
        threshold=recipe.selection.icc_threshold,
        bound=recipe.selection.icc_bound,
        scores=np.column_stack(scores),
        outlines=outlines,
    )


def _first_reading(data: TrainingData, ids: tuple[str, ...]) -> Reading:
    return Reading(data.radiomics_of(ids), None if data.pixels is None else data.pixels_of(ids))


def _embedded(ids: tuple[str, ...], pixels: NDArray[np.float32] | None, final: FinalFit, recipe: Recipe) -> FeatureTable | None:
    if pixels is None or final.backbone_file is None:
        return None
    backbone = OnnxBackbone.load(final.backbone_file)
    return FeatureTable(ids, DEEP_FEATURE_NAMES, backbone.embed(center_crop(pixels, recipe.network.input_px)).features)


def _joined(radiomics: FeatureTable | None, deep: FeatureTable | None) -> FeatureTable:
    if radiomics is None or deep is None:
        table = deep if radiomics is None else radiomics
        if table is None:
            raise ValueError("neither radiomics nor a network: there is nothing to compare")
        return table
    return radiomics.join(deep)


def _compare(patients: Sequence[Patient], jobs: int, progress: RunProgress) -> tuple[OutlineAgreement, ...]:
    """Compare both outlines of each patient on the grid of the image; a pair that cannot be read again is left out."""
    runner = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    found = []
    with progress.steps("compare outlines", len(patients)) as advance:
        for comparison in runner(delayed(_compare_one)(p) for p in patients):
            found.append(comparison)
            advance("")
    return tuple(c for c in found if c is not None)


def _compare_one(patient: Patient) -> OutlineAgreement | None:
    other = patient.roi_reader_b or patient.roi_repeat
    if other is None:
        return None
    try:
        first, second = (
            load_case(patient.patient_id, patient.image, roi, roi_name=patient.roi_name) for roi in (patient.roi, other)
        )
    except NodogramError:
        return None
    return compare_outlines(patient.patient_id, first.mask, second.mask)


def _perturbed(
    by_id: Mapping[str, Patient],
    split: Split,
    final: FinalFit,
    fitted: FittedNomogram,
    recipe: Recipe,
    jobs: int,
    progress: RunProgress,
) -> AgreementReport | None:
    settings = recipe.agreement
    drawn = np.random.default_rng(recipe.seed).permutation(len(split.development))[: settings.perturbed_patients]
    chosen = [by_id[split.development[i]] for i in np.sort(drawn)]
    perturbation = ContourPerturbation(count=settings.perturbed_outlines, seed=recipe.seed)
    with parallel_config(backend="loky", inner_max_num_threads=1):
        runner = Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    found: dict[str, list[tuple[FeatureVector, NDArray[np.float32] | None]]] = {}
    with progress.steps("perturb outlines", len(chosen)) as advance:
        work = (delayed(_perturb_one)(p, recipe.model, perturbation) for p in chosen)
        for patient, readings in zip(chosen, runner(work), strict=True):
            if readings is not None:
                found[patient.patient_id] = readings
            advance("")
    ids = tuple(found)
    if len(ids) < MINIMUM_PATIENTS:
        return None
    readings = [_stacked(ids, [found[c][k] for c in ids], recipe.model) for k in range(perturbation.count)]
    refused = len(chosen) - len(ids)
    source = f"outlines perturbed at random, {perturbation.count} of each patient" + (
        f"; {refused} patients whose perturbed outlines could not be used are left out" if refused else ""
    )
    return _report(ids, readings, final, fitted, recipe, source, "ICC(1,1)")


def _stacked(
    ids: tuple[str, ...], readings: Sequence[tuple[FeatureVector, NDArray[np.float32] | None]], settings: ModelSettings
) -> Reading:
    pixels = [p for _, p in readings if p is not None]
    return Reading(
        FeatureTable.from_vectors(ids, [vector for vector, _ in readings]) if settings.radiomics.enabled else None,
        np.stack(pixels) if settings.network.enabled else None,
    )


def _perturb_one(
    patient: Patient, settings: ModelSettings, perturbation: ContourPerturbation
) -> list[tuple[FeatureVector, NDArray[np.float32] | None]] | None:
    try:
        case = load_case(patient.patient_id, patient.image, patient.roi, roi_name=patient.roi_name)
        return [_measured(perturbed, settings) for perturbed in perturbed_cases(case, perturbation)]
    except NodogramError:
        return None


def _measured(case: Case, settings: ModelSettings) -> tuple[FeatureVector, NDArray[np.float32] | None]:
    prepared = prepare(case, settings)
    features = extract(prepared, settings) if settings.radiomics.enabled else FeatureVector((), np.empty(0))
    return features, None if prepared.crop is None else prepared.crop.pixels
