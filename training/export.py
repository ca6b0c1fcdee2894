"""The fitted model to a bundle on disk: parity checked before it counts, known answers recorded by the bundle itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from nodogram import __version__, bundle
from nodogram.bundle import (
    AcquisitionEnvelope,
    BundleManifest,
    Outcome,
    PredictorReference,
    Reference,
    Threshold,
    Tolerances,
    TrainingSummary,
)
from nodogram.case import Acquisition, ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import PROBABILITY_CLIP, BranchDocument, DlrDocument, DlrModel
from nodogram.errors import Reason, TrainingError
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.nomogram import SCORE
from nodogram.radiomics.manifest import build_manifest
from nodogram.self_test import IMAGE, ROI, known_answer, predict_known
from nodogram.synthesis.phantom import synthesize_patient
from training.chain import Branch
from training.classifier_export import export_classifier
from training.cohort import Cohort
from training.crossfit import FinalFit, TrainingData
from training.nomogram_model import branch_probabilities
from training.recipe import Recipe
from training.scoring import NomogramStage
from training.splits import Split

PROBABILITY_PARITY = 1e-6
# Small enough to be predicted at every server start, large enough for every filter's support.
KNOWN_ANSWER_MATRIX = 160
KNOWN_ANSWER_SLICES = 40
SOFTWARE = ("pyradiomics", "SimpleITK", "numpy", "scipy", "PyWavelets", "scikit-learn", "torch", "onnx", "onnxruntime")


@dataclass(frozen=True, eq=False)
class FittedModel:
    """All a bundle is made of."""

    final: FinalFit
    stage: NomogramStage
    split: Split
    data: TrainingData
    cohort: Cohort
    recipe: Recipe
    recipe_digest: str
    initial_weights: str
    threshold: float
    threshold_rule: str
    acquisitions: Sequence[Acquisition]
    records: Sequence[ClinicalRecord]
    development_score: Sequence[float]
    notes: tuple[str, ...]


def write_bundle(model: FittedModel, folder: Path) -> str:
    """Write the bundle, check it against the fitted model and put it in place in one step.

    Parameters
    ----------
    folder
        Final place; replaced only when the new bundle is whole.

    Returns
    -------
    digest : str
        SHA-256 (hex), the same for the same data, recipe and software.

    Raises
    ------
    TrainingError
        ``EXPORT_PARITY_FAILED`` with the difference found.
    """
    work = folder.with_name(folder.name + ".partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    document = _write_dlr(model, work)
    _write_parts(model, document, work)
    _write_manifest(model, work)
    _check_parity(model, DlrModel.load(work, document))
    _write_known_answers(model, work)
    digest = _write_manifest(model, work)
    shutil.rmtree(folder, ignore_errors=True)
    work.replace(folder)
    return digest


def software_versions() -> dict[str, str]:
    """Return the versions that shaped the model."""
    return {name: metadata.version(name) for name in SOFTWARE}


def _write_dlr(model: FittedModel, work: Path) -> DlrDocument:
    """Write the score; a branch without weight is left out, and with it all it would cost to compute."""
    calibration = model.stage.calibration
    used = [(b, w) for b, w in zip(model.final.chain.branches, calibration.weights, strict=True) if w > 0]
    document = DlrDocument(
        branches=tuple(_write_branch(branch, work) for branch, _ in used),
        fusion="single" if len(used) == 1 else "weighted",
        weights=None if len(used) == 1 else tuple(weight for _, weight in used),
        calibration_slope=calibration.slope,
        calibration_intercept=calibration.intercept,
        clip=PROBABILITY_CLIP,
        scale=model.recipe.score.scale,
    )
    bundle.write_document(work / bundle.DLR, document)
    return document


def _write_branch(branch: Branch, work: Path) -> BranchDocument:
    selection = branch.selection
    exported = export_classifier(branch.chosen, len(selection.names), work / f"dlr-{branch.name}")
    return BranchDocument(
        name=branch.name,
        features=selection.names,
        mean=tuple(float(v) for v in selection.mean),
        scale=tuple(float(v) for v in selection.scale),
        classifier_name=branch.chosen.name,
        format=exported.format,
        file=exported.file,
        constant_probability=exported.constant_probability,
    )


def _write_parts(model: FittedModel, document: DlrDocument, work: Path) -> None:
    if model.final.backbone_file is not None and any(n.startswith("deep.") for b in document.branches for n in b.features):
        shutil.copyfile(model.final.backbone_file, work / bundle.BACKBONE)
    if model.recipe.radiomics.enabled:
        bundle.write_document(work / bundle.RADIOMICS, build_manifest(model.recipe.model))
    bundle.write_document(work / bundle.NOMOGRAM, model.stage.fit.nomogram)
    bundle.write_document(work / bundle.REFERENCE, _reference(model))
    (work / bundle.MODEL_CARD).write_text(_model_card(model), encoding="utf-8")


def _write_manifest(model: FittedModel, work: Path) -> str:
    definition, chain = model.cohort.definition, model.final.chain
    outcome = Outcome(
        name=definition.outcome.name,
        positive_label=definition.outcome.positive_label,
        provenance=definition.outcome.provenance,
    )
    development = model.split.development
    manifest = BundleManifest(
        format_version=bundle.FORMAT_VERSION,
        name=f"{definition.slug}-{model.recipe.name}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        digest="",
        nodogram_version=__version__,
        intended_use=definition.intended_use,
        outcome=outcome,
        settings=model.recipe.model,
        predictors=model.stage.kept,
        thresholds=(Threshold(name="decision", value=model.threshold, rule=model.threshold_rule),),
        acquisition=_envelope(model.acquisitions),
        training=TrainingSummary(
            recipe_name=model.recipe.name,
            recipe_digest=model.recipe_digest,
            seed=model.recipe.seed,
            development_count=len(development),
            development_event_count=int(model.data.outcome_of(development).sum()),
            test_count=len(model.split.test),
            split_digest=model.split.digest,
            classifier=", ".join(
                f"{b.name}: {b.chosen.name} (weight {w:.2f})"
                for b, w in zip(chain.branches, model.stage.calibration.weights, strict=True)
            ),
            initial_weights=model.initial_weights,
            notes=model.notes,
        ),
        software=software_versions(),
        tolerances=Tolerances(),
        files=bundle.list_files(work),
    )
    final = manifest.model_copy(update={"digest": manifest.content_digest()})
    bundle.write_document(work / bundle.MANIFEST, final)
    return final.digest


def _check_parity(model: FittedModel, dlr: DlrModel) -> None:
    """Score the development patients with the written files and with the fitted objects."""
    ids = model.split.development
    tables = [t for t in (model.data.radiomics_of(ids), None if model.final.deep is None else model.final.deep.rows(ids)) if t]
    joined = tables[0] if len(tables) == 1 else tables[0].join(tables[1])
    written = np.array([s.value for s in dlr.score_table(joined)])
    fitted = model.stage.score(branch_probabilities(model.final, model.data, ids))
    difference = float(np.abs(_sigmoid(written, model) - _sigmoid(fitted, model)).max())
    if not difference <= PROBABILITY_PARITY:
        raise TrainingError(
            Reason.EXPORT_PARITY_FAILED,
            f"the exported DLR score differs from the fitted one by {difference:.2g}; "
            f"at most {PROBABILITY_PARITY:g} is allowed",
        )


def _sigmoid(score: np.ndarray, model: FittedModel) -> np.ndarray:
    return score if model.recipe.score.scale == "probability" else 1.0 / (1.0 + np.exp(-score))


def _write_known_answers(model: FittedModel, work: Path) -> None:
    """Let the bundle itself predict synthetic cases, and store what it said."""
    loaded = bundle.load_bundle(work)
    for number, high in enumerate((False, True), start=1):
        name = f"synthetic-{number}"
        folder = work / bundle.CASES / name
        folder.mkdir(parents=True)
        patient = synthesize_patient(
            np.random.default_rng([20250812, number]), signal=1.0, matrix=KNOWN_ANSWER_MATRIX, slice_count=KNOWN_ANSWER_SLICES
        )
        write_volume_file(folder / IMAGE, patient.volume)
        write_mask_file(folder / ROI, patient.mask)
        clinical = {p.name: _example_value(p, high) for p in model.stage.kept}
        prediction = predict_known(loaded, folder, clinical)
        bundle.write_document(folder / "expected.json", known_answer(name, prediction, clinical))


def _example_value(predictor: ClinicalPredictor, high: bool) -> str | float:
    if predictor.type == "categorical":
        return predictor.levels[-1] if high else str(predictor.reference)
    low, top = predictor.range or (0.0, 1.0)
    return round(low + (0.7 if high else 0.4) * (top - low), 3)


def _envelope(acquisitions: Sequence[Acquisition]) -> AcquisitionEnvelope:
    def span(values: list[float]) -> tuple[float, float]:
        return min(values), max(values)

    kvp = [a.kvp for a in acquisitions if a.kvp is not None]
    return AcquisitionEnvelope(
        slice_spacing_mm=span([a.slice_spacing_mm for a in acquisitions]),
        pixel_spacing_mm=span([a.pixel_spacing_mm for a in acquisitions]),
        region_volume_cm3=span([a.region_volume_cm3 for a in acquisitions]),
        kvp=span(kvp) if kvp else None,
        manufacturers=tuple(sorted({a.manufacturer for a in acquisitions if a.manufacturer})),
        convolution_kernels=tuple(sorted({a.convolution_kernel for a in acquisitions if a.convolution_kernel})),
    )


def _reference(model: FittedModel) -> Reference:
    """Deciles and level shares: aggregates from which no patient can be read."""

    def deciles(values: Sequence[float]) -> tuple[float, ...]:
        return tuple(float(v) for v in np.quantile(np.asarray(values, dtype=np.float64), np.linspace(0.1, 0.9, 9)))

    rows = [PredictorReference(predictor=SCORE, deciles=deciles(model.development_score))]
    for p in model.stage.kept:
        parsed = [p.parse(record[p.name]) for record in model.records]
        if p.type == "continuous":
            rows.append(PredictorReference(predictor=p.name, deciles=deciles([float(v) for v in parsed])))
        else:
            shares = tuple(sum(v == level for v in parsed) / len(parsed) for level in p.levels)
            rows.append(PredictorReference(predictor=p.name, levels=p.levels, shares=shares))
    return Reference(predictors=tuple(rows))


def _model_card(model: FittedModel) -> str:
    definition, development = model.cohort.definition, model.split.development
    events = int(model.data.outcome_of(development).sum())
    notes = "".join(f"- {note}\n" for note in model.notes) or "- none\n"
    predictors = "".join(f"- {p.label} (`{p.name}`)\n" for p in model.stage.kept) or "- none: the DLR score alone\n"
    return f"""# {definition.title}

Predicts: {definition.outcome.name} ({definition.outcome.positive_label}), known by {definition.outcome.provenance}.

Intended use: {definition.intended_use}

Not for use outside research without local validation. A probability outside the acquisition envelope carries a note.

## Training

{len(development)} development patients, {events} with the outcome; {len(model.split.test)} test patients.
Recipe `{model.recipe.name}` (SHA-256 {model.recipe_digest}), seed {model.recipe.seed}.
Backbone started from: {model.initial_weights}.

## Inputs

CT and tumor outline, and:

{predictors}
## Formula

    {model.stage.fit.nomogram.formula()}

Decision threshold {model.threshold:.4f}: {model.threshold_rule}.

## Read this first

{notes}"""
