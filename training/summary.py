"""What a run found, gathered into the document that tables, figures and report are made of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nodogram import __version__
from nodogram.clinical import ClinicalPredictor
from nodogram.nomogram import Nomogram
from training.baseline_table import baseline_table
from training.chain import Branch, Chain
from training.clinical_fit import ClinicalFit
from training.cohort import Cohort, Patient
from training.crossfit import FinalFit, FoldResult
from training.lasso import LassoPath as FittedPath
from training.logistic import LogisticFit
from training.nomogram_model import FittedNomogram
from training.recipe import Recipe
from training.results import (
    BaselineTable,
    Estimate,
    FlowStep,
    LassoCurve,
    LassoPath,
    ModelPerformance,
    NomogramSummary,
    OddsRatio,
    PointsRow,
    ProbabilityRow,
    RunResults,
    SelectedFeature,
    SelectionCount,
)
from training.splits import Split

# Features whose curve stays at zero along the whole path say nothing; of the others the strongest are drawn.
MAXIMUM_LASSO_CURVES = 40
PRINTED_PROBABILITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, eq=False)
class Findings:
    """The fitted objects a run ends with."""

    cohort: Cohort
    patients: tuple[Patient, ...]
    recipe: Recipe
    recipe_digest: str
    bundle_digest: str
    initial_weights: str
    warnings: tuple[str, ...]
    flow: tuple[FlowStep, ...]
    split: Split
    folds: tuple[FoldResult, ...]
    final: FinalFit
    fitted: FittedNomogram
    models: tuple[ModelPerformance, ...]


def run_results(findings: Findings, *, created: str, duration_s: float, software: tuple[tuple[str, str], ...]) -> RunResults:
    """Gather the document of a run."""
    definition, fitted, chain = findings.cohort.definition, findings.fitted, findings.final.chain
    return RunResults(
        nodogram_version=__version__,
        created=created,
        cohort_title=definition.title,
        outcome_name=definition.outcome.name,
        outcome_provenance=definition.outcome.provenance,
        positive_label=definition.outcome.positive_label,
        recipe=findings.recipe,
        recipe_digest=findings.recipe_digest,
        bundle_digest=findings.bundle_digest,
        initial_weights=findings.initial_weights,
        device=findings.final.device,
        warnings=findings.warnings,
        flow=findings.flow,
        baseline_by_split=_by_split(findings),
        baseline_by_outcome=_by_outcome(findings),
        odds_ratios=odds_ratios(fitted.candidates, fitted.stage.clinical),
        models=findings.models,
        selection_counts=_selection_counts(chain),
        selected_features=_selected_features(chain, findings.folds),
        lasso_paths=tuple(_lasso_path(b.name, p) for b in _all_branches(chain) if (p := b.selection.lasso_path) is not None),
        finetune_curves=tuple(c for c in (*(f.finetune for f in findings.folds), findings.final.finetune) if c is not None),
        nomogram=nomogram_summary(fitted.stage.fit.nomogram, fitted.stage.fit.fit),
        threshold=fitted.threshold,
        threshold_rule=fitted.threshold_rule,
        score_calibration=(fitted.stage.calibration.slope, fitted.stage.calibration.intercept),
        score_weights=tuple(zip((b.name for b in chain.branches), fitted.stage.calibration.weights, strict=True)),
        split_digest=findings.split.digest,
        split_from_cohort=all(p.split is not None for p in findings.patients),
        duration_s=duration_s,
        software=software,
    )


def odds_ratios(predictors: Sequence[ClinicalPredictor], fit: ClinicalFit | None) -> tuple[OddsRatio, ...]:
    """Return Table 3: one line per comparison with the reference level, univariable and multivariable."""
    if fit is None:
        return ()
    rows = []
    for predictor, single in zip(predictors, fit.univariable, strict=True):
        for position, column in enumerate(single.names):
            joint = fit.multivariable
            at = joint.names.index(column) if joint is not None and column in joint.names else None
            rows.append(
                OddsRatio(
                    predictor=predictor.label,
                    comparison=_comparison(predictor, position),
                    univariable=_odds_ratio(single, position),
                    univariable_p=_number(single.p_value[position]),
                    multivariable=None if joint is None or at is None else _odds_ratio(joint, at),
                    multivariable_p=None if joint is None or at is None else _number(joint.p_value[at]),
                    method=f"{single.method}, {'profile likelihood' if single.interval == 'profile' else 'Wald'} interval",
                )
            )
    return tuple(rows)


def nomogram_summary(nomogram: Nomogram, fit: LogisticFit) -> NomogramSummary:
    """Return the nomogram in printable form."""
    points = tuple(
        PointsRow(predictor=e.label, value=f"{e.value:.4g}" if isinstance(e.value, float) else str(e.value), points=e.points)
        for e in nomogram.points_table()
    )
    totals = ((nomogram.points_at(p), p) for p in PRINTED_PROBABILITIES)
    largest = nomogram.largest_total_points
    return NomogramSummary(
        formula=nomogram.formula(),
        coefficients=(("intercept", fit.intercept), *zip(fit.names, fit.coefficient, strict=True)),
        method=fit.method,
        points=points,
        probabilities=tuple(ProbabilityRow(total_points=t, probability=p) for t, p in totals if 0 <= t <= largest),
    )


def _comparison(predictor: ClinicalPredictor, position: int) -> str:
    if predictor.type == "continuous":
        return f"per {predictor.unit}" if predictor.unit else "per unit"
    others = [level for level in predictor.levels if level != predictor.reference]
    return f"{others[position]} vs {predictor.reference}"


def _odds_ratio(fit: LogisticFit, position: int) -> Estimate:
    return Estimate(value=_number(fit.odds_ratio[position]), low=_number(fit.low[position]), high=_number(fit.high[position]))


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity; an unbounded interval end is printed as undefined."""
    return value if math.isfinite(value) else None


def _by_split(findings: Findings) -> BaselineTable:
    roles = {**dict.fromkeys(findings.split.development, "Development"), **dict.fromkeys(findings.split.test, "Test")}
    groups = [
        (name, [p.clinical for p in findings.patients if roles[p.patient_id] == name])
        for name in ("Development", "Test")
        if name in roles.values()
    ]
    return baseline_table("Clinical characteristics by split", findings.cohort.definition.predictors, groups)


def _by_outcome(findings: Findings) -> BaselineTable:
    definition = findings.cohort.definition
    labels = ((1, definition.outcome.positive_label), (0, f"not {definition.outcome.positive_label}"))
    groups = [(label, [p.clinical for p in findings.patients if p.outcome == value]) for value, label in labels]
    return baseline_table(f"Clinical characteristics by {definition.outcome.name}", definition.predictors, groups)


def _all_branches(chain: Chain) -> tuple[Branch, ...]:
    """Return the branches of the score and, where it is not one of them, the conventional radiomics model."""
    extra = (
        [chain.radiomics]
        if chain.radiomics is not None and chain.radiomics.name not in {b.name for b in chain.branches}
        else []
    )
    return (*extra, *chain.branches)


def _selection_counts(chain: Chain) -> tuple[SelectionCount, ...]:
    return tuple(
        SelectionCount(branch=b.name, step=s.name, count_in=s.count_in, count_out=s.count_out)
        for b in _all_branches(chain)
        for s in b.selection.steps
    )


def _selected_features(chain: Chain, folds: tuple[FoldResult, ...]) -> tuple[SelectedFeature, ...]:
    """Deep features of different folds live in different spaces, so only radiomic names are counted across folds."""
    seen = Counter((s.branch, name) for fold in folds for s in fold.selections for name in s.names)
    return tuple(
        SelectedFeature(
            branch=b.name,
            name=name,
            coefficient=float(b.selection.coefficients[i]),
            mean=float(b.selection.mean[i]),
            standard_deviation=float(b.selection.scale[i]),
            fold_count=seen[b.name, name] if name.startswith("radiomics.") else 0,
            folds=len(folds) if name.startswith("radiomics.") else 0,
        )
        for b in chain.branches
        for i, name in enumerate(b.selection.names)
    )


def _lasso_path(branch: str, path: FittedPath) -> LassoPath:
    strength = np.abs(path.coefficients).max(axis=0)
    drawn = [int(j) for j in np.argsort(-strength, kind="stable")[:MAXIMUM_LASSO_CURVES] if strength[j] > 0]
    return LassoPath(
        branch=branch,
        penalty=tuple(float(v) for v in path.lambdas),
        cv_loss=tuple(float(v) for v in path.cv_mean),
        cv_standard_error=tuple(float(v) for v in path.cv_se),
        index_min=path.index_min,
        index_one_se=path.index_one_se,
        curves=tuple(
            LassoCurve(name=path.names[j], coefficients=tuple(float(v) for v in path.coefficients[:, j])) for j in drawn
        ),
    )
