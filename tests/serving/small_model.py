"""A model without files whose predictions can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
)
from nodogram.case import NoteCode, QualityNote
from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import BranchDocument, DlrDocument, DlrModel, DlrScore
from nodogram.features import FeatureVector
from nodogram.nomogram import SCORE, Nomogram, NomogramTerm
from nodogram.predict import Prediction
from training.recipe import load_recipe

DIGEST = "0123456789abcdef" * 4
STAGE_S = {"decode": 0.2, "prepare": 0.1, "radiomics": 1.5, "queue": 0.003, "backbone": 0.04, "fuse": 0.0007}
NO_FEATURES = FeatureVector((), np.empty(0))

NOMOGRAM = Nomogram(
    intercept=0.0,
    terms=(
        NomogramTerm(predictor=SCORE, label="DLR score", kind="continuous", coefficient=1.0, low=-2.0, high=2.0),
        NomogramTerm(
            predictor="tumour_site",
            label="Site",
            kind="categorical",
            levels=("glottic", "supraglottic"),
            level_coefficients=(0.0, 1.0),
        ),
        NomogramTerm(predictor="age_years", label="Age", unit="years", kind="continuous", coefficient=0.1, low=40.0, high=80.0),
    ),
)
REFERENCE = Reference(
    predictors=(
        PredictorReference(predictor=SCORE, deciles=(-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28)),
        PredictorReference(predictor="tumour_site", levels=("glottic", "supraglottic"), shares=(0.5, 0.5)),
        PredictorReference(predictor="age_years", deciles=(45.0, 50.0, 55.0, 58.0, 60.0, 62.0, 65.0, 70.0, 75.0)),
    )
)


def small_bundle() -> ModelBundle:
    """Return a model of a constant score, a site and an age that needs neither radiomics nor a network."""
    document = DlrDocument(
        branches=(
            BranchDocument(
                name="dlr", features=(), mean=(), scale=(), classifier_name="none", format="constant", constant_probability=0.5
            ),
        ),
        fusion="single",
    )
    return ModelBundle(
        folder=Path(),
        manifest=_manifest(),
        radiomics=None,
        backbone=None,
        dlr=DlrModel.load(Path(), document),
        nomogram=NOMOGRAM,
        reference=REFERENCE,
        known_answers=(),
    )


def small_prediction(
    score: float = 0.0, site: str = "glottic", age: float | None = 60.0, notes: tuple[NoteCode, ...] = ()
) -> Prediction:
    """Return what the model says; without an age it gives the score alone."""
    reading = None if age is None else NOMOGRAM.read({SCORE: score, "tumour_site": site, "age_years": age})
    return Prediction(
        case_id="SECRET-CASE",
        outcome="lnm",
        probability=None if reading is None else reading.probability,
        reading=reading,
        dlr=DlrScore((("dlr", 0.5),), 0.5, score, score),
        threshold=0.5,
        notes=tuple(QualityNote(code, "a remark") for code in notes),
        features=NO_FEATURES,
        bundle_digest=DIGEST,
        stage_s=dict(STAGE_S),
    )


def _manifest() -> BundleManifest:
    summary = TrainingSummary(
        recipe_name="sound",
        recipe_digest="0" * 64,
        seed=1,
        development_count=400,
        development_event_count=200,
        test_count=100,
        split_digest="0" * 64,
        classifier="none",
        initial_weights="none",
        notes=(),
    )
    return BundleManifest(
        format_version=1,
        name="small",
        created="2025-01-01T00:00:00+00:00",
        digest=DIGEST,
        nodogram_version="0.1.0",
        intended_use="tests",
        outcome=Outcome(name="lnm", positive_label="N+", provenance="pathology"),
        settings=load_recipe("sound").model,
        predictors=(
            ClinicalPredictor(
                name="tumour_site", label="Site", type="categorical", levels=("glottic", "supraglottic"), reference="glottic"
            ),
            ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(0, 120)),
        ),
        thresholds=(Threshold(name="decision", value=0.5, rule="fixed"),),
        acquisition=AcquisitionEnvelope(slice_spacing_mm=(0.1, 9), pixel_spacing_mm=(0.1, 9), region_volume_cm3=(0, 999)),
        training=summary,
        software={},
        tolerances=Tolerances(),
        files={},
    )
