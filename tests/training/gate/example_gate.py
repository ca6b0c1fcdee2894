"""Two bundles, a locked cohort on disk and evaluations of made-up predictions, as ``nodogram evaluate`` writes them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from nodogram import bundle
from nodogram.bundle import (
    AcquisitionEnvelope,
    BundleManifest,
    Outcome,
    PredictorReference,
    Reference,
    Threshold,
    Tolerances,
    TrainingSummary,
    load_bundle,
)
from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import BranchDocument, DlrDocument
from nodogram.imaging.volume_file import write_mask_file, write_volume_file
from nodogram.nomogram import SCORE, Nomogram, NomogramTerm
from nodogram.self_test import IMAGE, ROI, known_answer, predict_known
from nodogram.synthesis.phantom import synthesize_patient
from training.external.cohort import read_external_cohort
from training.external.findings import Findings, make_document
from training.external.prediction import AcquisitionValues, Predicted, PredictedValue, StoredPrediction
from training.external.prediction_table import predictions_csv
from training.external.signature import sealed_text
from training.gate.plan import GatePlan, load_plan
from training.gate.run import GateInputs
from training.recipe import load_recipe

PATIENT_COUNT = 400
CT = ClinicalPredictor(name="ct_reported_lnm", label="CT", type="categorical", levels=("no", "yes"), reference="no")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
APPROVER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))

DESCRIPTION = """title = "Locked test set"
intended_use = "tests"
[outcome]
name = "lymph-node metastasis"
positive_label = "pN+"
provenance = "pathology"
[[predictors]]
name = "ct_reported_lnm"
label = "CT"
type = "categorical"
levels = ["no", "yes"]
reference = "no"
candidate = true
[[predictors]]
name = "age_years"
label = "Age"
type = "continuous"
unit = "years"
range = [18, 110]
candidate = false
"""

Values = NDArray[np.float64]


def make_bundle(folder: Path, intercept: float, *, known: bool = True) -> Path:
    """Write a bundle with a constant score and one finding; another intercept makes another digest."""
    folder.mkdir(parents=True)
    terms = (
        NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=1.0, low=-2.0, high=2.0),
        NomogramTerm(predictor=CT.name, label=CT.label, kind="categorical", levels=CT.levels, level_coefficients=(0.0, 1.0)),
    )
    bundle.write_document(folder / bundle.NOMOGRAM, Nomogram(intercept=intercept, terms=terms))
    branch = BranchDocument(
        name="dlr", features=(), mean=(), scale=(), classifier_name="none", format="constant", constant_probability=0.5
    )
    bundle.write_document(folder / bundle.DLR, DlrDocument(branches=(branch,), fusion="single"))
    deciles = (-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28)
    references = (
        PredictorReference(predictor=SCORE, deciles=deciles),
        PredictorReference(predictor=CT.name, levels=CT.levels, shares=(0.6, 0.4)),
    )
    bundle.write_document(folder / bundle.REFERENCE, Reference(predictors=references))
    _write_manifest(folder)
    if known:
        _write_known_answer(folder)
        _write_manifest(folder)
    return folder


def break_known_answer(folder: Path) -> None:
    """Let the bundle expect something else than it computes, with every digest right."""
    path = folder / bundle.CASES / "one" / "expected.json"
    answer = load_bundle(folder).known_answers[0]
    bundle.write_document(path, answer.model_copy(update={"probability": 0.123}))
    _write_manifest(folder)


def _write_known_answer(folder: Path) -> None:
    case = folder / bundle.CASES / "one"
    case.mkdir(parents=True)
    patient = synthesize_patient(np.random.default_rng(1), signal=1.0, matrix=96, slice_count=24)
    write_volume_file(case / IMAGE, patient.volume)
    write_mask_file(case / ROI, patient.mask)
    predictors: dict[str, str | float] = {CT.name: "yes"}
    _write_manifest(folder)
    prediction = predict_known(load_bundle(folder), case, predictors)
    bundle.write_document(case / "expected.json", known_answer("one", prediction, predictors))


def _write_manifest(folder: Path) -> None:
    manifest = BundleManifest(
        format_version=1,
        name="by-hand",
        created="2025-01-01T00:00:00+00:00",
        digest="",
        nodogram_version="0.1.0",
        intended_use="tests",
        outcome=Outcome(name="lymph-node metastasis", positive_label="pN+", provenance="pathology"),
        settings=load_recipe("sound").model,
        predictors=(CT,),
        thresholds=(Threshold(name="decision", value=0.4, rule="fixed by hand"),),
        acquisition=AcquisitionEnvelope(
            slice_spacing_mm=(0.5, 9.0), pixel_spacing_mm=(0.1, 9.0), region_volume_cm3=(0.0, 999.0)
        ),
        training=TrainingSummary(
            recipe_name="sound",
            recipe_digest="0" * 64,
            seed=1,
            development_count=200,
            development_event_count=80,
            test_count=50,
            split_digest="0" * 64,
            classifier="none",
            initial_weights="none",
            notes=(),
        ),
        software={},
        tolerances=Tolerances(),
        files=bundle.list_files(folder),
    )
    bundle.write_document(folder / bundle.MANIFEST, manifest.model_copy(update={"digest": manifest.content_digest()}))


def latent(seed: int = 11, count: int = PATIENT_COUNT) -> Values:
    """Return the log odds every patient really has, (n,)."""
    return np.random.default_rng(seed).normal(-0.4, 1.3, count)


def outcomes(log_odds: Values, seed: int = 12) -> NDArray[np.int64]:
    """Draw outcomes that really have these log odds."""
    return (np.random.default_rng(seed).random(log_odds.size) < expit(log_odds)).astype(np.int64)


def expit(log_odds: Values) -> Values:
    """Return probabilities of log odds."""
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def write_cohort(folder: Path, outcome: NDArray[np.int64], ages: Values) -> Path:
    """Write the locked test set; its images are empty, because nobody reads them again."""
    folder.mkdir(parents=True)
    (folder / "cohort.toml").write_text(DESCRIPTION, encoding="utf-8")
    (folder / "roi.nii.gz").touch()
    with (folder / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["patient_id", "image", "roi", "roi_name", "outcome", "ct_reported_lnm", "age_years", "centre"])
        for i, (event, age) in enumerate(zip(outcome, ages, strict=True)):
            image = f"ct-{i:03d}.nii.gz"
            (folder / image).touch()
            row = [f"SECRET-{i:03d}", image, "roi.nii.gz", "", event, "yes" if i % 2 else "no", age, f"Center {i % 3}"]
            writer.writerow(row)
    return folder


def write_evaluation(out: Path, model: Path, cohort: Path, probability: Values) -> Path:
    """Write what ``nodogram evaluate`` writes, for probabilities that are made up; NaN has no nomogram."""
    loaded = load_bundle(model)
    external = read_external_cohort(cohort, loaded.manifest)
    predicted = [
        Predicted(patient, _stored(float(p))) for patient, p in zip(external.cohort.patients, probability, strict=True)
    ]
    document = make_document(Findings(loaded, (), external, predicted, (), "none", replicates=40))
    out.mkdir(parents=True)
    (out / "predictions.csv").write_text(predictions_csv(predicted, (), "none"), encoding="utf-8")
    (out / "evaluation.json").write_text(sealed_text(document, KEY), encoding="utf-8")
    return out


def _stored(probability: float) -> StoredPrediction:
    known = np.isfinite(probability)
    return StoredPrediction(
        probability=probability if known else None,
        linear_predictor=float(np.log(probability / (1 - probability))) if known else None,
        total_points=100.0 if known else None,
        dlr_probability=0.5,
        dlr_value=0.0,
        values=(PredictedValue(predictor=SCORE, value=0.0, out_of_range=False),) if known else (),
        notes=(),
        acquisition=AcquisitionValues(
            slice_spacing_mm=1.0,
            pixel_spacing_mm=0.5,
            region_volume_cm3=5.0,
            kvp=120.0,
            manufacturer="Maker",
            convolution_kernel=None,
        ),
    )


def quick_plan(**changes: object) -> GatePlan:
    """Return the shipped plan with fewer resamples and other changes."""
    plan = load_plan("default")
    return GatePlan.model_validate({**plan.model_dump(mode="json"), "replicates": 300, **changes})


def aged(count: int = PATIENT_COUNT) -> Values:
    """Return ages in whole years, (n,)."""
    return np.random.default_rng(13).integers(40, 80, count).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Story:
    """Bundles and evaluations by name; the champion is ``champion``."""

    folder: Path
    outcome: NDArray[np.int64]
    probability: dict[str, Values]

    def inputs(self, name: str, champion: str = "champion") -> GateInputs:
        return GateInputs(
            self.folder / champion / "evaluation",
            self.folder / name / "evaluation",
            self.folder / name / "bundle",
            self.folder / "cohort",
        )

    def digest(self, name: str) -> str:
        return load_bundle(self.folder / name / "bundle").digest
