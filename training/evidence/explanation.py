"""What the final model rests on: predictors of the nomogram, features of the DLR score, and where the network looked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from nodogram.features import FeatureTable
from nodogram.imaging.crop import center_crop
from nodogram.nomogram import SCORE, Nomogram
from nodogram.settings import Settings
from training.chain import Branch
from training.crossfit import FinalFit, TrainingData
from training.evidence.activation_maps import ActivationModel, ActivationSheet, activation_sheet, head_threshold
from training.evidence.attribution import BranchAttribution, branch_attribution
from training.nomogram_model import FittedNomogram, branch_probabilities
from training.recipe import Recipe
from training.splits import Split

# A figure with more rows is not read; the features with the largest LASSO coefficients are kept.
SHOWN_FEATURES = 24
POINTS_LIMIT = 150
# Spread of the linear predictor below which no share of it is defined, log odds.
FLAT = 1e-9

FeatureSample = Literal["development", "test"]


class PredictorShare(Settings):
    """How much one predictor moves the nomogram.

    Attributes
    ----------
    mean_absolute
        Mean abs(contribution - mean contribution), log odds.
    mean_absolute_points
        The same in points of the nomogram.
    absolute_share
        Part of the sum of ``mean_absolute`` over predictors; ``None`` if no predictor moves anything.
    variance_share
        Covariance of the contribution with the linear predictor over the variance of the latter: negative where a predictor
        works against the others; ``None`` if the linear predictor is constant.
    """

    predictor: str
    label: str
    mean_absolute: float
    mean_absolute_points: float
    absolute_share: float | None
    variance_share: float | None


class ContributionShares(Settings):
    """Shares of all predictors over a set of patients; each kind of share sums to 1.

    Attributes
    ----------
    standard_deviation
        Of the linear predictor (divisor n), log odds.
    """

    patient_count: int
    standard_deviation: float
    predictors: tuple[PredictorShare, ...]


class Box(Settings):
    """A box plot by Tukey 1977: quartiles, and whiskers to the last value within 1.5 interquartile ranges.

    Attributes
    ----------
    low, lower_quartile, median, upper_quartile, high
        ``None`` without patients.
    points
        Values in ascending order, at most 150 of them.
    """

    count: int
    low: float | None
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None
    high: float | None
    points: tuple[float, ...]


class FeatureBoxes(Settings):
    """One selected feature by outcome, standardized as the model sees it.

    Attributes
    ----------
    sample
        ``development`` patients are those it was selected on: there the groups differ by construction.
    without_outcome, with_outcome
        Patients with outcome 0 and 1.
    """

    branch: str
    name: str
    sample: FeatureSample
    without_outcome: Box
    with_outcome: Box


class CorrelationMatrix(Settings):
    """Spearman correlation of selected features, similar ones side by side.

    Attributes
    ----------
    rho
        Row by row; ``None`` where a feature is constant.
    """

    patient_count: int
    names: tuple[str, ...]
    rho: tuple[tuple[float | None, ...], ...]


class Explanation(Settings):
    """Everything that explains a final model.

    Attributes
    ----------
    attributions
        One per branch with a weight in the score.
    correlation
        ``None`` with fewer than two selected features.
    activation
        ``None`` without a network.
    notes
        What was left out, and why.
    """

    contribution: ContributionShares
    attributions: tuple[BranchAttribution, ...]
    boxes: tuple[FeatureBoxes, ...]
    correlation: CorrelationMatrix | None
    activation: ActivationSheet | None
    notes: tuple[str, ...] = ()

    def without_pictures(self) -> Explanation:
        """Return the document without images of patients, to be sent elsewhere."""
        sheet = self.activation
        return self.model_copy(update={"activation": None if sheet is None else sheet.without_pictures()})


def explain(
    final: FinalFit, fitted: FittedNomogram, split: Split, data: TrainingData, recipe: Recipe, bundle: Path, *, threads: int = 2
) -> Explanation:
    """Explain the model at the end of a run.

    Parameters
    ----------
    bundle
        Folder with ``backbone.onnx``, if the score uses deep features.
    threads
        Of ONNX Runtime.
    """
    weighted = [(b, w) for b, w in zip(final.chain.branches, fitted.stage.calibration.weights, strict=True) if w > 0]
    notes = [
        f"the branch {b.name} has no weight in the score and is not explained"
        for b in final.chain.branches
        if b not in [used for used, _ in weighted]
    ]
    development = _table(final, data, split.development)
    shown = _strongest([b for b, _ in weighted])
    selected = sum(len(b.selection.names) for b, _ in weighted)
    if len(shown) < selected:
        notes.append(
            f"box plots and correlations show {len(shown)} of {selected} selected features: those with the largest coefficients"
        )
    activation, without = _activation(final, fitted, split, data, recipe, bundle, threads)
    return Explanation(
        contribution=_nomogram_shares(fitted, split),
        attributions=tuple(
            branch_attribution(b.chosen, b.selection.names, branch=b.name, weight=float(w), seed=recipe.seed)
            for b, w in weighted
        ),
        boxes=_boxes(shown, final, split, data),
        correlation=correlation_matrix(development.select(tuple(dict.fromkeys(name for _, name in shown)))),
        activation=activation,
        notes=(*notes, *without),
    )


def contribution_shares(
    contributions: NDArray[np.float64], predictors: Sequence[tuple[str, str]], *, points_per_log_odds: float
) -> ContributionShares:
    """Return how much each predictor moves the linear predictor.

    Parameters
    ----------
    contributions
        float64 (n, n_predictors), log odds, n at least 1.
    predictors
        (name, label) of each column.
    """
    centered = contributions - contributions.mean(axis=0)
    linear = centered.sum(axis=1)
    spread = np.abs(centered).mean(axis=0)
    total, variance = float(spread.sum()), float(np.mean(linear**2))
    covariance = centered.T @ linear / len(linear)
    return ContributionShares(
        patient_count=len(contributions),
        standard_deviation=float(np.sqrt(variance)),
        predictors=tuple(
            PredictorShare(
                predictor=name,
                label=label,
                mean_absolute=float(spread[j]),
                mean_absolute_points=float(spread[j] * points_per_log_odds),
                absolute_share=float(spread[j] / total) if total > FLAT else None,
                variance_share=float(covariance[j] / variance) if np.sqrt(variance) > FLAT else None,
            )
            for j, (name, label) in enumerate(predictors)
        ),
    )


def nomogram_contributions(nomogram: Nomogram, values: Sequence[dict[str, float | str]]) -> NDArray[np.float64]:
    """Return the contribution of each term, float64 (n, n_terms), log odds, for one reading a patient."""
    return np.array([[term.linear_predictor(row[term.predictor]) for term in nomogram.terms] for row in values])


def box(values: NDArray[np.float64]) -> Box:
    """Summarize values (n,); n may be 0."""
    if values.size == 0:
        return Box(count=0, low=None, lower_quartile=None, median=None, upper_quartile=None, high=None, points=())
    lower, median, upper = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = 1.5 * (upper - lower)
    inside = values[(values >= lower - reach) & (values <= upper + reach)]
    ordered = np.sort(values)
    if ordered.size > POINTS_LIMIT:
        # Every so many-th of the ordered values: the ends stay, and the shape does.
        ordered = ordered[np.linspace(0, ordered.size - 1, POINTS_LIMIT).round().astype(np.intp)]
    return Box(
        count=values.size,
        low=float(inside.min()),
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        high=float(inside.max()),
        points=tuple(float(f"{v:.5g}") for v in ordered),
    )


def correlation_matrix(table: FeatureTable) -> CorrelationMatrix | None:
    """Return Spearman correlations in the order of an average-linkage clustering on 1 - abs(rho).

    Optimal leaf ordering (Bar-Joseph et al. 2001, doi:10.1093/bioinformatics/17.suppl_1.S22) decides which of the equivalent
    orders is taken. ``None`` with fewer than two features or patients.
    """
    count = len(table.names)
    if count < 2 or len(table.case_ids) < 2:
        return None
    # Spearman's rho is Pearson's correlation of midranks.
    ranks = stats.rankdata(table.values, axis=0)
    ranks -= ranks.mean(axis=0)
    norm = np.linalg.norm(ranks, axis=0)
    defined = norm > 0
    unit = ranks / np.where(defined, norm, 1.0)
    rho = np.clip(unit.T @ unit, -1.0, 1.0)
    distance = 1.0 - np.abs(rho)
    np.fill_diagonal(distance, 0.0)
    order = leaves_list(linkage(squareform(distance, checks=False), "average", optimal_ordering=True))
    known = defined[:, None] & defined
    return CorrelationMatrix(
        patient_count=len(table.case_ids),
        names=tuple(table.names[i] for i in order),
        rho=tuple(tuple(float(rho[i, j]) if known[i, j] else None for j in order) for i in order),
    )


def _nomogram_shares(fitted: FittedNomogram, split: Split) -> ContributionShares:
    nomogram, kept = fitted.stage.fit.nomogram, fitted.stage.kept
    values: list[dict[str, float | str]] = [
        {SCORE: score, **{p.name: p.parse(fitted.records[c][p.name]) for p in kept}}
        for c, score in zip(split.development, fitted.development_score, strict=True)
    ]
    return contribution_shares(
        nomogram_contributions(nomogram, values),
        [(term.predictor, term.label) for term in nomogram.terms],
        points_per_log_odds=nomogram.points_per_log_odds,
    )


def _strongest(branches: Sequence[Branch]) -> list[tuple[Branch, str]]:
    """Return the selected features to show, in the order of branches and tables."""
    every = [(b, name, abs(c)) for b in branches for name, c in zip(b.selection.names, b.selection.coefficients, strict=True)]
    largest = sorted(range(len(every)), key=lambda i: -every[i][2])[:SHOWN_FEATURES]
    return [(every[i][0], every[i][1]) for i in sorted(largest)]


def _boxes(shown: Sequence[tuple[Branch, str]], final: FinalFit, split: Split, data: TrainingData) -> tuple[FeatureBoxes, ...]:
    samples: list[tuple[FeatureSample, tuple[str, ...]]] = [("development", split.development), ("test", split.test)]
    result = []
    for sample, ids in samples:
        if not ids:
            continue
        table, outcome = _table(final, data, ids), data.outcome_of(ids)
        for branch, name in shown:
            z = branch.selection.transform(table)[:, branch.selection.names.index(name)]
            result.append(
                FeatureBoxes(
                    branch=branch.name,
                    name=name,
                    sample=sample,
                    without_outcome=box(z[outcome == 0]),
                    with_outcome=box(z[outcome == 1]),
                )
            )
    return tuple(result)


def _activation(
    final: FinalFit, fitted: FittedNomogram, split: Split, data: TrainingData, recipe: Recipe, bundle: Path, threads: int
) -> tuple[ActivationSheet | None, tuple[str, ...]]:
    """Map test patients; without any, development patients, who are marked as such."""
    if final.deep is None:
        return None, ()
    # A bundle whose score gives the network no weight does not hold it.
    backbone = next((p for p in (bundle / "backbone.onnx", final.backbone_file) if p is not None and p.is_file()), None)
    if backbone is None:
        return None, ("the backbone was not kept, so there are no activation maps",)
    ids = split.test or split.development
    model, learned = ActivationModel.load(backbone, threads), split.development
    sheet = activation_sheet(
        model,
        center_crop(data.pixels_of(ids), recipe.network.input_px),
        final.deep.rows(ids).values,
        data.outcome_of(ids),
        threshold=head_threshold(model.log_odds(final.deep.rows(learned).values), data.outcome_of(learned)),
        sample="test" if split.test else "development, apparent",
        nomogram_probability=fitted.stage.probability(branch_probabilities(final, data, ids), [fitted.records[c] for c in ids]),
    )
    return sheet, ()


def _table(final: FinalFit, data: TrainingData, ids: tuple[str, ...]) -> FeatureTable:
    """Return all features of some patients."""
    sources = [t for t in (data.radiomics_of(ids), None if final.deep is None else final.deep.rows(ids)) if t is not None]
    return sources[0] if len(sources) == 1 else sources[0].join(sources[1])
