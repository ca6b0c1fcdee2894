"""Everything a run found out, as one typed document: what ``run.json`` holds and tables, figures and report are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from nodogram.settings import Settings
from training.recipe import Recipe

FeatureSet = Literal["clinical", "radiomics", "deep", "dlr", "nomogram"]
Sample = Literal["development_apparent", "development_out_of_fold", "test"]


class Estimate(Settings):
    """A value with its 95 % interval; bounds are ``None`` where no interval is defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class ModelPerformance(Settings):
    """One model on one sample: a row of Tables 4 and 5.

    Attributes
    ----------
    classifier
        Algorithm, or ``None`` where the feature set has just one model.
    chosen
        Whether this is the model the rule of the recipe chose.
    threshold
        Probability at and above which the case counts as positive; fixed before this sample was looked at, except on
        ``development_apparent``.
    """

    feature_set: FeatureSet
    classifier: str | None
    chosen: bool
    sample: Sample
    patient_count: int
    event_count: int
    threshold: float
    auc: Estimate
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    brier: float
    calibration_slope: Estimate
    calibration_intercept: Estimate
    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


class BaselineRow(Settings):
    """One line of a baseline table; ``level`` is ``None`` for continuous predictors and headings."""

    characteristic: str
    level: str | None
    groups: tuple[str, ...]
    test: str | None = None
    statistic: float | None = None
    p_value: float | None = None
    standardized_mean_difference: float | None = None


class BaselineTable(Settings):
    """Table 1 (by split) or 2 (by outcome)."""

    title: str
    group_names: tuple[str, ...]
    rows: tuple[BaselineRow, ...]


class OddsRatio(Settings):
    """One comparison of the clinical model: Table 3."""

    predictor: str
    comparison: str
    univariable: Estimate
    univariable_p: float | None
    multivariable: Estimate | None
    multivariable_p: float | None
    method: str


class SelectionCount(Settings):
    """Features entering and leaving one step of the selection."""

    branch: str
    step: str
    count_in: int
    count_out: int


class SelectedFeature(Settings):
    """A feature the final model uses; ``fold_count`` of ``folds`` refits chose it as well."""

    branch: str
    name: str
    coefficient: float
    mean: float
    standard_deviation: float
    fold_count: int
    folds: int


class LassoCurve(Settings):
    """Coefficient of one feature along the penalty path."""

    name: str
    coefficients: tuple[float, ...]


class LassoPath(Settings):
    """Penalty path and cross-validation curve of one branch."""

    branch: str
    penalty: tuple[float, ...]
    cv_loss: tuple[float, ...]
    cv_standard_error: tuple[float, ...]
    index_min: int
    index_one_se: int
    curves: tuple[LassoCurve, ...]


class FinetuneCurve(Settings):
    """Loss per epoch of one fine-tuning."""

    label: str
    train_loss: tuple[float, ...]
    validation_loss: tuple[float | None, ...]
    best_epoch: int


class FlowStep(Settings):
    """A box of the cohort flow with what left before it."""

    label: str
    count: int
    excluded: tuple[tuple[str, int], ...] = ()


class PointsRow(Settings):
    """One line of the nomogram's points table."""

    predictor: str
    value: str
    points: float


class ProbabilityRow(Settings):
    """Total points for a probability."""

    total_points: float
    probability: float


class NomogramSummary(Settings):
    """The fitted nomogram, printable."""

    formula: str
    coefficients: tuple[tuple[str, float], ...]
    method: str
    points: tuple[PointsRow, ...]
    probabilities: tuple[ProbabilityRow, ...]


class RunResults(Settings):
    """The document of one run.

    Attributes
    ----------
    score_calibration
        Slope and intercept of the calibrated logit of the DLR score.
    score_weights
        Share of each branch in the fused logit.
    split_from_cohort
        Whether the cohort table said who is for testing; otherwise patients were drawn.
    warnings
        Sentences every reader must see first: random weights, constant score, few events per predictor, excluded cases.
    """

    nodogram_version: str
    created: str
    cohort_title: str
    outcome_name: str
    outcome_provenance: str
    positive_label: str
    recipe: Recipe
    recipe_digest: str
    bundle_digest: str
    initial_weights: str
    device: str
    warnings: tuple[str, ...]
    flow: tuple[FlowStep, ...]
    baseline_by_split: BaselineTable
    baseline_by_outcome: BaselineTable
    odds_ratios: tuple[OddsRatio, ...]
    models: tuple[ModelPerformance, ...]
    selection_counts: tuple[SelectionCount, ...]
    selected_features: tuple[SelectedFeature, ...]
    lasso_paths: tuple[LassoPath, ...]
    finetune_curves: tuple[FinetuneCurve, ...]
    nomogram: NomogramSummary
    threshold: float
    threshold_rule: str
    score_calibration: tuple[float, float]
    score_weights: tuple[tuple[str, float], ...] = ()
    split_digest: str
    split_from_cohort: bool
    duration_s: float
    software: tuple[tuple[str, str], ...]


def load_results(run: Path) -> RunResults:
    """Read ``run.json`` of a finished run."""
    return RunResults.model_validate_json((run / "run.json").read_text(encoding="utf-8"))
