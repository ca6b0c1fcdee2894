"""A bundle on disk that needs no training, and predictions made up for documents, both to be worked out by hand."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np

from nodogram import bundle
from nodogram.bundle import (
    AcquisitionEnvelope,
    BundleManifest,
    ModelBundle,
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
from nodogram.nomogram import SCORE, Nomogram, NomogramTerm
from training.cohort import Cohort, CohortDefinition, CohortPredictor, OutcomeDefinition, Patient
from training.external.cohort import ExternalCohort
from training.external.findings import Findings
from training.external.prediction import AcquisitionValues, Predicted, PredictedValue, StoredPrediction
from training.recipe import load_recipe

CT = ClinicalPredictor(
    name="ct_reported_lnm", label="Lymph nodes on CT report", type="categorical", levels=("no", "yes"), reference="no"
)
SITE = ClinicalPredictor(
    name="tumour_site", label="Site", type="categorical", levels=("glottic", "supraglottic"), reference="glottic"
)
AGE = ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(18, 110))
INTERCEPT, OF_CT, OF_SITE = -1.0, 1.5, 0.75


def write_clinical_bundle(folder: Path, *, slice_spacing_mm: tuple[float, float] = (0.5, 9.0)) -> Path:
    """Write a bundle whose score is constant, logit 0, and whose nomogram has two findings."""
    folder.mkdir(parents=True)
    terms = tuple(
        NomogramTerm(
            predictor=p.name, label=p.label, kind="categorical", levels=p.levels, level_coefficients=(0.0, coefficient)
        )
        for p, coefficient in ((CT, OF_CT), (SITE, OF_SITE))
    )
    score = NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=1.0, low=-2.0, high=2.0)
    bundle.write_document(folder / bundle.NOMOGRAM, Nomogram(intercept=INTERCEPT, terms=(score, *terms)))
    branch = BranchDocument(
        name="dlr", features=(), mean=(), scale=(), classifier_name="none", format="constant", constant_probability=0.5
    )
    bundle.write_document(folder / bundle.DLR, DlrDocument(branches=(branch,), fusion="single"))
    reference = Reference(
        predictors=(
            PredictorReference(predictor=SCORE, deciles=(-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28)),
            PredictorReference(predictor=CT.name, levels=CT.levels, shares=(0.6, 0.4)),
            PredictorReference(predictor=SITE.name, levels=SITE.levels, shares=(0.5, 0.5)),
        )
    )
    bundle.write_document(folder / bundle.REFERENCE, reference)
    manifest = _manifest(bundle.list_files(folder), slice_spacing_mm)
    bundle.write_document(folder / bundle.MANIFEST, manifest.model_copy(update={"digest": manifest.content_digest()}))
    load_bundle(folder)
    return folder


def clinical_probability(ct: str, site: str) -> float:
    """Return what that bundle says, by its formula."""
    linear = INTERCEPT + OF_CT * (ct == "yes") + OF_SITE * (site == "supraglottic")
    return 1 / (1 + math.exp(-linear))


def _manifest(files: dict[str, str], slice_spacing_mm: tuple[float, float]) -> BundleManifest:
    return BundleManifest(
        format_version=1,
        name="by-hand",
        created="2025-01-01T00:00:00+00:00",
        digest="",
        nodogram_version="0.1.0",
        intended_use="tests",
        outcome=Outcome(name="lymph-node metastasis", positive_label="pN+", provenance="pathology"),
        settings=load_recipe("sound").model,
        predictors=(CT, SITE),
        thresholds=(Threshold(name="decision", value=0.4, rule="fixed by hand"),),
        acquisition=AcquisitionEnvelope(
            slice_spacing_mm=slice_spacing_mm, pixel_spacing_mm=(0.1, 9), region_volume_cm3=(0, 999)
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
            notes=("made by hand",),
        ),
        software={},
        tolerances=Tolerances(),
        files=files,
    )


DEFINITION = CohortDefinition(
    title="Elsewhere <General> Hospital",
    outcome=OutcomeDefinition(name="lymph-node metastasis", positive_label="pN+", provenance="clinical"),
    predictors=(
        CohortPredictor(**CT.model_dump()),
        CohortPredictor(**SITE.model_dump()),
        CohortPredictor(**AGE.model_dump(), candidate=False),
    ),
)


def made_up_findings(model: ModelBundle, count: int = 120, *, seed: int = 4, missing: int = 0, shift: float = 0.0) -> Findings:
    """Return predictions that hold on average where ``shift`` is 0; above it the outcome is more frequent than predicted."""
    rng = np.random.default_rng(seed)
    predicted = []
    for i in range(count):
        score, ct, site = float(rng.normal()), str(rng.choice(CT.levels)), str(rng.choice(SITE.levels))
        linear = INTERCEPT + score + OF_CT * (ct == "yes") + OF_SITE * (site == "supraglottic")
        outcome = int(rng.random() < 1 / (1 + math.exp(-linear - shift)))
        unknown = i < missing
        clinical = {SITE.name: site, AGE.name: float(rng.integers(40, 80))} | ({} if unknown else {CT.name: ct})
        patient = Patient(
            f"SECRET-{i:03d}", Path("image"), Path("roi"), None, outcome, clinical, None, None, f"Center {i % 3}", None
        )
        values = [PredictedValue(predictor=SITE.name, value=site, out_of_range=False)]
        if not unknown:
            values.append(PredictedValue(predictor=CT.name, value=ct, out_of_range=False))
            values.append(PredictedValue(predictor=SCORE, value=score, out_of_range=abs(score) > 2))
        stored = StoredPrediction(
            probability=None if unknown else 1 / (1 + math.exp(-linear)),
            linear_predictor=None if unknown else linear,
            total_points=None if unknown else 100.0,
            dlr_probability=1 / (1 + math.exp(-score)),
            dlr_value=score,
            values=tuple(values),
            notes=("CLINICAL_PREDICTOR_MISSING",) if unknown else ("OUT_OF_RANGE",) if abs(score) > 2 else (),
            acquisition=AcquisitionValues(
                slice_spacing_mm=float(rng.choice([1.0, 3.0])),
                pixel_spacing_mm=0.5,
                region_volume_cm3=float(rng.lognormal(2, 0.5)),
                kvp=120.0,
                manufacturer="Maker",
                convolution_kernel=None,
            ),
        )
        predicted.append(Predicted(patient, stored))
    external = ExternalCohort(
        Cohort(DEFINITION, tuple(p.patient for p in predicted), Path()), Counter({"COHORT_INVALID": 2}), (), ("It differs.",)
    )
    return Findings(model, (), external, predicted, (), "none", replicates=40)
