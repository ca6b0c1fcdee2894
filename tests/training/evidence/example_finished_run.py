"""A finished run on feature tables alone, small enough to be refitted many times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nodogram.features import FeatureTable
from training.cohort import Cohort, CohortDefinition, CohortPredictor, OutcomeDefinition, Patient
from training.crossfit import TrainingData, fit_final, fit_fold
from training.evidence.honesty import FinishedRun
from training.nomogram_model import fit_nomogram_model
from training.recipe import Recipe, load_recipe
from training.splits import make_split
from training.weights import InitialWeights

AGE = CohortPredictor(name="age", label="Age", type="continuous", unit="years", range=(18.0, 99.0))
REPORT = CohortPredictor(
    name="report", label="CT report", type="categorical", levels=("negative", "positive"), reference="negative"
)
NO_WEIGHTS = InitialWeights("none", "random initialization", None, None)


def small_recipe(honesty: Mapping[str, object], *, network: bool = False, source: str = "out_of_fold") -> Recipe:
    """Return ``sound`` with one algorithm and three folds, and a network only if asked for."""
    sound = load_recipe("sound")
    settings = {
        "network": "refit",
        "bootstrap_resamples": 0,
        "repeats": 0,
        "permutations": 0,
        "noise_runs": 0,
        "leave_one_centre_out": False,
    }
    return Recipe.model_validate(
        sound.model_dump()
        | {
            "name": "small",
            "split": {"test_fraction": 0.25, "folds": 3},
            "network": sound.network.model_dump() | {"enabled": network, "resize_px": 64, "input_px": 48},
            "finetune": sound.finetune.model_dump() | {"initial_weights": ["none"], "maximum_epochs": 1},
            "selection": sound.selection.model_dump() | {"lasso": "linear", "lasso_folds": 3, "maximum_features": 5},
            "classifiers": sound.classifiers.model_dump() | {"names": ["LR"], "inner_folds": 3},
            "score": sound.score.model_dump() | {"source": source},
            "clinical": sound.clinical.model_dump() | {"interval": "wald"},
            "honesty": settings | dict(honesty),
        }
    )


def finished_run(
    folder: Path,
    recipe: Recipe,
    *,
    patient_count: int = 60,
    feature_count: int = 12,
    signal: float = 1.0,
    clinical_signal: float = 1.0,
    centre_count: int = 0,
    clinical: bool = True,
    seed: int = 0,
) -> FinishedRun:
    """Fit a run to patients whose first two features, and whose CT report, tell of the outcome."""
    rng = np.random.default_rng(seed)
    outcome = rng.permutation(np.arange(patient_count) % 5 < 2).astype(int)
    values = rng.normal(size=(patient_count, feature_count))
    values[:, :2] += signal * outcome[:, None]
    said = rng.random(patient_count) < 0.5 + 0.3 * clinical_signal * (outcome - 0.5)
    patients = tuple(
        Patient(
            patient_id=f"p{i:03d}",
            image=folder / "image",
            roi=folder / "roi",
            roi_name=None,
            outcome=int(outcome[i]),
            clinical={"age": float(rng.integers(40, 80)), "report": "positive" if said[i] else "negative"},
            roi_reader_b=None,
            roi_repeat=None,
            centre=f"center {i % centre_count}" if centre_count else None,
            split=None,
        )
        for i in range(patient_count)
    )
    ids = tuple(p.patient_id for p in patients)
    pixels = None
    if recipe.network.enabled:
        size = recipe.network.resize_px
        pixels = rng.random((patient_count, 3, size, size), dtype=np.float32) * (0.7 + 0.3 * outcome[:, None, None, None])
    data = TrainingData(
        case_ids=ids,
        outcome={p.patient_id: p.outcome for p in patients},
        radiomics=FeatureTable(ids, tuple(f"radiomics.f{j:02d}" for j in range(feature_count)), values),
        pixels=None if pixels is None else pixels.astype(np.float32),
        repeated=None,
    )
    definition = CohortDefinition(
        title="example",
        outcome=OutcomeDefinition(name="metastasis", positive_label="pN+", provenance="pathology"),
        predictors=(AGE, REPORT) if clinical else (),
    )
    split = make_split(patients, recipe.split, recipe.seed)
    folds = tuple(
        fit_fold(fold, data, recipe, NO_WEIGHTS, folder / f"fold-{fold.index}", jobs=1, resume=False) for fold in split.folds
    )
    final = fit_final(split, data, recipe, NO_WEIGHTS, folder / "final", jobs=1, resume=False)
    fitted = fit_nomogram_model(folds, final, split, data, Cohort(definition, patients, folder), recipe)
    return FinishedRun(data, split, recipe, NO_WEIGHTS, folds, final, fitted, {p.patient_id: p.centre for p in patients})
