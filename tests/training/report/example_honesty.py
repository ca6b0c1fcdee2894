"""A document of refits made up by hand, so that what is printed and drawn can be foretold."""

from __future__ import annotations

import numpy as np

from training.evidence.honesty_result import (
    CentreEvidence,
    CentreRow,
    CentreSummary,
    ClassifierFrequency,
    FeatureFrequency,
    FrozenEvidence,
    FrozenModel,
    HonestyEvidence,
    ModelName,
    ModelOptimism,
    NoiseEvidence,
    NoiseModel,
    OptimismEvidence,
    PermutationEvidence,
    ReferencePerformance,
    RefitCount,
    RepeatedEvidence,
    RepeatedModel,
    SelectionEvidence,
)
from training.evidence.honesty_text import NETWORK_NOTES, methods
from training.evidence.null_distribution import null_test
from training.evidence.optimism import Resample, distribution, model_optimism
from training.evidence.sample_result import Measure
from training.recipe import load_recipe

MODELS: tuple[ModelName, ...] = ("clinical", "dlr", "nomogram")
APPARENT: dict[ModelName, float] = {"clinical": 0.72, "dlr": 0.95, "nomogram": 0.96}
HELD_OUT: dict[ModelName, float] = {"clinical": 0.70, "dlr": 0.68, "nomogram": 0.75}


def measure(value: float) -> Measure:
    return Measure(value=value, low=value - 0.1, high=min(value + 0.08, 1.0))


def example_honesty() -> HonestyEvidence:
    """Return evidence with every section filled and one resample that could not be fitted."""
    rng = np.random.default_rng(0)
    outcome = np.tile([0, 0, 1], 20)
    recipe = load_recipe("paper")
    return HonestyEvidence(
        settings=recipe.honesty,
        patient_count=60,
        event_count=20,
        fold_count=5,
        network="initial",
        network_note=NETWORK_NOTES["initial"],
        reference=tuple(_reference(model) for model in MODELS),
        optimism=OptimismEvidence(
            count=RefitCount(requested=31, fitted=30, failures=(("too few patients of a class", 1),)),
            reason=None,
            models=tuple(_optimism(model, outcome, rng) for model in MODELS),
        ),
        selection=_selection(rng),
        repeated=RepeatedEvidence(
            count=RefitCount(requested=5, fitted=5), reason=None, fold_count=5, models=tuple(_repeated(m, rng) for m in MODELS)
        ),
        permutation=PermutationEvidence(
            count=RefitCount(requested=99, fitted=99),
            reason=None,
            pooled=null_test(0.75, rng.normal(0.45, 0.08, 99).tolist()),
            within_folds=null_test(0.74, rng.normal(0.5, 0.08, 99).tolist()),
        ),
        noise=NoiseEvidence(
            count=RefitCount(requested=5, fitted=5),
            reason=None,
            clinical_out_of_fold=0.70,
            models=tuple(_noise(m, rng) for m in MODELS[1:]),
        ),
        frozen=FrozenEvidence(
            count=RefitCount(requested=1, fitted=1),
            reason=None,
            models=tuple(
                FrozenModel(
                    model=m, tuned=measure(0.77), frozen=measure(0.75), difference=Measure(value=0.02, low=-0.05, high=0.09)
                )
                for m in MODELS[1:]
            ),
        ),
        centres=_centres(),
        methods=methods(recipe, "initial", 5),
    )


def _reference(model: ModelName) -> ReferencePerformance:
    return ReferencePerformance(
        model=model,
        apparent_auc=measure(APPARENT[model]),
        apparent_brier=0.1,
        apparent_slope=Measure(value=None, reason="separated"),
        out_of_fold_auc=measure(HELD_OUT[model]),
        within_fold_auc=HELD_OUT[model] + 0.01,
        out_of_fold_brier=0.2,
        out_of_fold_slope=measure(0.9),
    )


def _optimism(model: ModelName, outcome: np.ndarray, rng: np.random.Generator) -> ModelOptimism:
    def predictions(strength: float) -> np.ndarray:
        return np.clip(0.35 + strength * (outcome - 0.33) + rng.normal(0, 0.15, outcome.size), 0.01, 0.99)

    resamples = [Resample(rng.integers(0, outcome.size, outcome.size), predictions(0.12)) for _ in range(30)]
    return model_optimism(model, outcome, predictions(0.3), resamples)


def _repeated(model: ModelName, rng: np.random.Generator) -> RepeatedModel:
    values = (HELD_OUT[model] + rng.normal(0, 0.02, 5)).tolist()
    return RepeatedModel(model=model, auc=tuple(values), distribution=distribution(values))


def _noise(model: ModelName, rng: np.random.Generator) -> NoiseModel:
    held_out, apparent = rng.normal(0.5, 0.05, 5).tolist(), rng.normal(0.93, 0.01, 5).tolist()
    return NoiseModel(
        model=model,
        out_of_fold=tuple(held_out),
        apparent=tuple(apparent),
        out_of_fold_distribution=distribution(held_out),
        apparent_distribution=distribution(apparent),
    )


def _selection(rng: np.random.Generator) -> SelectionEvidence:
    counts = sorted(rng.integers(1, 31, 25).tolist(), reverse=True)
    return SelectionEvidence(
        resamples=30,
        folds=25,
        candidate_count=1409,
        features=tuple(
            FeatureFrequency(
                name=f"radiomics.wavelet-LLH_glcm_ClusterShade{k}", resamples=count, folds=min(count, 25), in_final=k < 4
            )
            for k, count in enumerate(counts)
        ),
        classifiers=tuple(
            ClassifierFrequency(
                branch=branch, classifier=name, resamples=30 if name == "LR" else 0, folds=25, in_final=name == "LR"
            )
            for branch in ("radiomics", "deep")
            for name in ("LR", "SVM", "RF")
        ),
    )


def _centres() -> CentreEvidence:
    return CentreEvidence(
        count=RefitCount(requested=3, fitted=3),
        reason=None,
        rows=tuple(
            CentreRow(centre=f"Hospital {k + 1}", patient_count=20 + k, event_count=8, auc=measure(0.7 + 0.05 * k))
            for k in range(3)
        ),
        summary=CentreSummary(
            centre_count=3,
            auc=Measure(value=0.75, low=0.6, high=0.86),
            prediction=Measure(value=0.75, low=0.5, high=0.91),
            i_squared=0.2,
            tau_squared=0.01,
        ),
    )
