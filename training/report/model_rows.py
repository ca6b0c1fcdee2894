"""Which model goes into which table and figure, and what it is called there."""

from __future__ import annotations

from collections.abc import Sequence

from training.model_names import FEATURE_SETS, SAMPLES
from training.results import FeatureSet, ModelPerformance, Sample


def algorithm_rows(models: Sequence[ModelPerformance], feature_set: FeatureSet) -> tuple[ModelPerformance, ...]:
    """Return the algorithms compared on one feature set, sample by sample; empty where nothing was compared."""
    rows = [m for m in models if m.feature_set == feature_set and m.classifier is not None]
    if len({m.classifier for m in rows}) < 2:
        return ()
    return tuple(m for sample in SAMPLES for m in rows if m.sample == sample)


def compared_feature_sets(models: Sequence[ModelPerformance]) -> tuple[FeatureSet, ...]:
    """Return the feature sets on which algorithms were compared: the parts of Table 4."""
    return tuple(f for f in FEATURE_SETS if algorithm_rows(models, f))


def chosen_row(models: Sequence[ModelPerformance], feature_set: FeatureSet, sample: Sample) -> ModelPerformance | None:
    """Return the model the recipe chose for a feature set; a fused one, which has no algorithm of its own, comes first."""
    rows = [m for m in models if m.chosen and m.feature_set == feature_set and m.sample == sample]
    return min(rows, key=lambda m: m.classifier is not None, default=None)


def final_rows(models: Sequence[ModelPerformance]) -> tuple[ModelPerformance, ...]:
    """Return the models of Table 5, sample by sample, the nomogram last."""
    rows = (chosen_row(models, feature_set, sample) for sample in SAMPLES for feature_set in FEATURE_SETS)
    return tuple(row for row in rows if row is not None)
