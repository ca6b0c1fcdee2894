"""Explanations against closed forms, Shapley's definition by enumeration, and SciPy's and Matplotlib's own numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pytest
from example_network import CHANNELS, PIXELS, SIDE, network_features, write_network
from matplotlib.cbook import boxplot_stats
from numpy.typing import NDArray
from scipy import stats
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC

from nodogram.clinical import ClinicalPredictor
from nodogram.dlr import expit
from nodogram.features import FeatureTable
from nodogram.nomogram import Nomogram, NomogramTerm
from training.chain import fit_chain
from training.classifiers import ConstantClassifier, FittedClassifier, as_seen, fit_all
from training.crossfit import FinalFit, TrainingData
from training.evidence import attribution
from training.evidence.attribution import Output, branch_attribution, shap_values
from training.evidence.explanation import (
    Explanation,
    box,
    contribution_shares,
    correlation_matrix,
    explain,
    nomogram_contributions,
)
from training.guard import FitScope
from training.nomogram_model import FittedNomogram
from training.recipe import Recipe, load_recipe
from training.scoring import fit_stage
from training.splits import Split

SOUND = load_recipe("sound")
ALGORITHMS = SOUND.classifiers.names


# What moves the nomogram


def test_shares_of_two_independent_predictors_have_a_closed_form() -> None:
    # 10 ± 3 and -4 ± 1 in all four pairs: contributions of mean absolute 3 and 1, variances 9 and 1, uncorrelated.
    contributions = np.array([[13.0, -3.0], [13.0, -5.0], [7.0, -3.0], [7.0, -5.0]])
    found = contribution_shares(contributions, [("dlr_score", "DLR score"), ("ct", "CT")], points_per_log_odds=5.0)
    assert found.patient_count == 4
    assert found.standard_deviation == pytest.approx(np.sqrt(10))
    first, second = found.predictors
    assert (first.mean_absolute, second.mean_absolute) == pytest.approx((3.0, 1.0))
    assert (first.mean_absolute_points, second.mean_absolute_points) == pytest.approx((15.0, 5.0))
    assert (first.absolute_share, second.absolute_share) == pytest.approx((0.75, 0.25))
    assert (first.variance_share, second.variance_share) == pytest.approx((0.9, 0.1))


def test_a_predictor_that_works_against_the_others_has_a_negative_share_of_the_variance() -> None:
    first = np.array([-2.0, 0.0, 2.0])
    found = contribution_shares(np.column_stack([first, -first / 2]), [("a", "A"), ("b", "B")], points_per_log_odds=1.0)
    assert [p.variance_share for p in found.predictors] == pytest.approx([2.0, -1.0])
    assert [p.absolute_share for p in found.predictors] == pytest.approx([2 / 3, 1 / 3])


def test_shares_sum_to_one() -> None:
    contributions = np.random.default_rng(1).normal(size=(50, 6)) @ np.random.default_rng(2).normal(size=(6, 6))
    found = contribution_shares(contributions, [(str(j), str(j)) for j in range(6)], points_per_log_odds=1.0)
    assert sum(p.absolute_share or 0 for p in found.predictors) == pytest.approx(1.0)
    assert sum(p.variance_share or 0 for p in found.predictors) == pytest.approx(1.0)


@pytest.mark.parametrize("count", [1, 5])
def test_a_constant_linear_predictor_has_no_shares(count: int) -> None:
    found = contribution_shares(np.full((count, 2), 0.3), [("a", "A"), ("b", "B")], points_per_log_odds=0.0)
    assert found.standard_deviation == pytest.approx(0.0)
    assert {(p.absolute_share, p.variance_share) for p in found.predictors} == {(None, None)}


def test_contributions_add_up_to_the_reading() -> None:
    nomogram = Nomogram(
        intercept=-1.0,
        terms=(
            NomogramTerm(predictor="dlr_score", label="DLR score", kind="continuous", coefficient=1.7, low=-3, high=2),
            NomogramTerm(predictor="ct", label="CT", kind="categorical", levels=("no", "yes"), level_coefficients=(0.0, 1.2)),
        ),
    )
    rows: list[dict[str, float | str]] = [{"dlr_score": 0.4, "ct": "yes"}, {"dlr_score": -2.0, "ct": "no"}]
    found = nomogram_contributions(nomogram, rows).sum(axis=1) - 1.0
    assert found == pytest.approx([nomogram.read(row).linear_predictor for row in rows])


# What moves the classifiers


def fitted_on(count: int, features: int, names: tuple[str, ...] = ALGORITHMS) -> dict[str, FittedClassifier]:
    rng = np.random.default_rng(count)
    y = (np.arange(count) % 5 < 2).astype(np.int64)
    X = rng.normal(size=(count, features))
    X[:, :2] += 1.2 * y[:, None]
    ids = tuple(f"p{i}" for i in range(count))
    settings = SOUND.classifiers.model_copy(update={"names": names, "inner_folds": 3})
    return {f.name: f for f in fit_all(X, y, ids, settings, seed=3, scope=FitScope("final", frozenset(ids)))}


@pytest.fixture(scope="module")
def seven() -> dict[str, FittedClassifier]:
    return fitted_on(60, 3)


@pytest.fixture(scope="module")
def wide() -> dict[str, FittedClassifier]:
    return fitted_on(40, 11)


def shapley(output: Output, background: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Enumerate Shapley's definition: absent features take the values of every background row in turn."""
    count = rows.shape[1]
    value = {}
    for size in range(count + 1):
        for present in combinations(range(count), size):
            mixed = np.repeat(background[None], len(rows), axis=0)
            mixed[:, :, present] = rows[:, None, present]
            value[present] = output(mixed.reshape(-1, count)).reshape(len(rows), -1).mean(axis=1)
    result = np.zeros(rows.shape)
    for j in range(count):
        for present, worth in value.items():
            if j in present:
                weight = factorial(len(present) - 1) * factorial(count - len(present)) / factorial(count)
                result[:, j] += weight * (worth - value[tuple(k for k in present if k != j)])
    return result


def output_of(fitted: FittedClassifier, unit: str) -> Output:
    def log_odds(Z: NDArray[np.float64]) -> NDArray[np.float64]:
        p = fitted.probability(Z)
        return np.log(p / (1 - p))

    return log_odds if unit == "log odds" else fitted.probability


@pytest.mark.parametrize("name", ALGORITHMS)
def test_shap_values_are_shapleys_and_add_up(seven: dict[str, FittedClassifier], name: str) -> None:
    fitted = seven[name]
    # Rows that float32 holds exactly, as all algorithms see them.
    background, rows = as_seen(fitted.design)[:20], as_seen(fitted.design)[30:38]
    found = shap_values(fitted, background, rows, seed=0)
    assert found.unit == ("probability" if name in ("RF", "ExtraTrees") else "log odds")
    output = output_of(fitted, found.unit)
    expected = output(rows)
    np.testing.assert_allclose(found.output, expected, atol=2e-6)
    np.testing.assert_allclose(found.base_value, output(background).mean(), atol=2e-6)
    assert found.additivity_gap < 2e-6
    np.testing.assert_allclose(found.base_value + found.values.sum(axis=1), expected, atol=4e-6)
    np.testing.assert_allclose(found.values, shapley(output, background, rows), atol=4e-6)
    assert np.abs(found.values).max() > 0.01


@pytest.mark.parametrize("name", ALGORITHMS)
def test_additivity_with_many_features(wide: dict[str, FittedClassifier], name: str) -> None:
    found = branch_attribution(wide[name], [f"radiomics.{j}" for j in range(11)], branch="radiomics", weight=0.5, seed=1)
    assert found.additivity_gap < 2e-6
    assert found.method in {"LR": ("linear",), "SVM": ("linear", "permutation"), "MLP": ("permutation",)}.get(name, ("tree",))
    means = [f.mean_absolute for f in found.features]
    assert means == sorted(means, reverse=True)
    assert {f.name for f in found.features} == {f"radiomics.{j}" for j in range(11)}


def test_a_logistic_regression_has_a_closed_form(seven: dict[str, FittedClassifier]) -> None:
    fitted = seven["LR"]
    design = as_seen(fitted.design)
    found = shap_values(fitted, design, design, seed=0)
    coefficient = fitted.estimator.coef_[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.values, coefficient * (design - design.mean(axis=0)), atol=1e-12)
    summary = branch_attribution(fitted, ("a", "b", "c"), branch="dlr", weight=1.0, seed=0)
    strongest = summary.features[0]
    place = ("a", "b", "c").index(strongest.name)
    assert strongest.mean_absolute == pytest.approx(np.abs(found.values[:, place]).mean())
    assert (summary.explained_count, summary.background_count) == (60, 60)


@pytest.mark.parametrize(("kernel", "method"), [("linear", "linear"), ("rbf", "exact"), ("poly", "exact")])
def test_kernel_machines(seven: dict[str, FittedClassifier], kernel: str, method: str) -> None:
    design = as_seen(seven["SVM"].design)
    outcome = (np.arange(60) % 5 < 2).astype(np.int64)
    estimator = CalibratedClassifierCV(SVC(kernel=kernel), method="sigmoid", cv=3, ensemble=False).fit(design, outcome)
    fitted = replace(seven["SVM"], estimator=estimator)
    found = shap_values(fitted, design[:15], design[40:46], seed=0)
    output = output_of(fitted, "log odds")
    assert found.method == method
    np.testing.assert_allclose(found.output, output(design[40:46]), atol=1e-9)
    np.testing.assert_allclose(found.values, shapley(output, design[:15], design[40:46]), atol=1e-9)


def test_rows_of_two_features_cannot_be_put_together(seven: dict[str, FittedClassifier]) -> None:
    found = branch_attribution(seven["RF"], ("a", "b", "c"), branch="dlr", weight=1.0, seed=0)
    assert (found.explained_count, found.background_count) == (60, 50)
    for feature in found.features:
        assert list(feature.shap) == sorted(feature.shap)
        assert len(feature.value) == len(feature.shap) == 60


def test_permutations_come_close_to_the_exact_values(
    seven: dict[str, FittedClassifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = seven["MLP"]
    rows = as_seen(fitted.design)[:20]
    exact = shap_values(fitted, rows, rows, seed=0)
    monkeypatch.setattr(attribution, "EXACT_FEATURES", 2)
    drawn = shap_values(fitted, rows, rows, seed=0)
    again = shap_values(fitted, rows, rows, seed=0)
    assert (exact.method, drawn.method) == ("exact", "permutation")
    np.testing.assert_array_equal(drawn.values, again.values)
    np.testing.assert_allclose(drawn.values, exact.values, atol=0.1 * np.abs(exact.values).max())


def test_many_rows_are_thinned(seven: dict[str, FittedClassifier]) -> None:
    fitted = replace(seven["LR"], design=np.tile(seven["LR"].design, (5, 1)))
    found = branch_attribution(fitted, ("a", "b", "c"), branch="dlr", weight=1.0, seed=0)
    assert (found.explained_count, found.background_count) == (200, 100)
    assert branch_attribution(fitted, ("a", "b", "c"), branch="dlr", weight=1.0, seed=0) == found


@pytest.mark.parametrize("features", [0, 2])
def test_a_constant_moves_nothing(features: int) -> None:
    fitted = FittedClassifier(
        "SVM", (), 0.5, 0.0, 0.5, ConstantClassifier(0.25), np.zeros((5, features), np.float32), tuple("abcde")
    )
    found = branch_attribution(fitted, ("a", "b")[:features], branch="radiomics", weight=1.0, seed=0)
    assert found.method == "constant"
    assert expit(np.array(found.base_value)) == pytest.approx(0.25)
    assert [f.mean_absolute for f in found.features] == [0.0] * features


@pytest.mark.parametrize("name", ["XGBoost", "LightGBM", "RF"])
def test_trees_on_few_rows(name: str) -> None:
    """Eight rows give boosted trees without a split."""
    found = branch_attribution(fitted_on(8, 2, (name,))[name], ("a", "b"), branch="deep", weight=1.0, seed=0)
    assert found.additivity_gap < 1e-6


# Features by outcome, and among themselves


@pytest.mark.parametrize("values", [(1.0, 2.0, 3.0, 4.0, 50.0), (5.0,), (2.0, 2.0, 2.0), (-9.0, 0.0, 0.1, 0.2, 0.3, 9.0)])
def test_boxes_are_those_of_matplotlib(values: tuple[float, ...]) -> None:
    (expected,) = boxplot_stats(np.array(values))
    found = box(np.array(values))
    assert (found.low, found.high) == pytest.approx((expected["whislo"], expected["whishi"]))
    assert (found.lower_quartile, found.median, found.upper_quartile) == pytest.approx(
        (expected["q1"], expected["med"], expected["q3"])
    )
    assert found.points == tuple(sorted(values))


def test_large_groups_are_thinned_but_keep_their_ends_and_no_patients_have_no_box() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    found = box(values)
    assert (found.count, len(found.points)) == (1000, 150)
    assert (found.points[0], found.points[-1]) == pytest.approx((values.min(), values.max()), rel=1e-4)
    empty = box(np.empty(0))
    assert (empty.count, empty.median, empty.points) == (0, None, ())


def test_correlations_are_scipys_with_similar_features_side_by_side() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 30))
    values = np.round(np.column_stack([a, b, -a + 0.1 * rng.normal(size=30), b + 0.1 * rng.normal(size=30), np.ones(30)]), 1)
    names = tuple(f"radiomics.{c}" for c in "abcde")
    found = correlation_matrix(FeatureTable(tuple(str(i) for i in range(30)), names, values))
    assert found is not None
    place = {name: i for i, name in enumerate(found.names)}
    assert abs(place["radiomics.a"] - place["radiomics.c"]) == 1
    assert abs(place["radiomics.b"] - place["radiomics.d"]) == 1
    for i, first in enumerate(names[:4]):
        for j, second in enumerate(names[:4]):
            expected = stats.spearmanr(values[:, i], values[:, j]).statistic
            assert found.rho[place[first]][place[second]] == pytest.approx(expected)
    assert {found.rho[place["radiomics.e"]][j] for j in range(5)} == {None}


def test_one_feature_has_no_correlation() -> None:
    assert correlation_matrix(FeatureTable(("p", "q"), ("radiomics.a",), np.array([[1.0], [2.0]]))) is None


# The whole


@dataclass(frozen=True)
class Finished:
    """What a run has at its end, made small."""

    final: FinalFit
    fitted: FittedNomogram
    split: Split
    data: TrainingData
    recipe: Recipe


def finished(*, network: bool, test: bool = True, count: int = 60) -> Finished:
    rng = np.random.default_rng(8)
    ids = tuple(f"secret-{i}" for i in range(count))
    outcome = (np.arange(count) % 5 < 2).astype(np.int64)
    values = rng.normal(size=(count, 12))
    values[:, :2] += 1.5 * outcome[:, None]
    radiomics = FeatureTable(ids, tuple(f"radiomics.original_firstorder_F{j}" for j in range(12)), values)
    pixels = np.resize(PIXELS, (count, 3, SIDE, SIDE)) * rng.random((count, 1, 1, 1), dtype=np.float32)
    pixels[outcome == 1] *= 0.6
    deep = FeatureTable(ids, tuple(f"deep.{j:04d}" for j in range(CHANNELS)), network_features(pixels)) if network else None
    data = TrainingData(ids, dict(zip(ids, outcome.tolist(), strict=True)), radiomics, pixels if network else None, None)
    development = ids[: count * 2 // 3] if test else ids
    split = Split(development, ids[len(development) :], (), "0" * 64)
    recipe = SOUND.model_copy(
        update={
            "classifiers": SOUND.classifiers.model_copy(update={"names": ("LR",)}),
            "network": SOUND.network.model_copy(update={"enabled": network, "input_px": SIDE, "resize_px": SIDE}),
        }
    )
    rows, truth = data.radiomics_of(development), data.outcome_of(development)
    chain = fit_chain(
        rows,
        None if deep is None else deep.rows(development),
        truth,
        recipe,
        scope=split.scope,
        stable=None,
        seed=1,
        jobs=1,
    )
    final = FinalFit(chain, deep, None, None, "cpu")
    predictor = ClinicalPredictor(name="ct", label="CT report", type="categorical", levels=("no", "yes"), reference="no")
    records = {c: {"ct": "yes" if (i % 5 < 2) ^ (i % 7 == 0) else "no"} for i, c in enumerate(ids)}
    branches = chain.branch_probabilities(rows, None if deep is None else deep.rows(development))
    stage = fit_stage(branches, truth, [records[c] for c in development], (predictor,), recipe, with_interval=False)
    fitted = FittedNomogram(
        stage=stage,
        candidates=(predictor,),
        records=records,
        held_out={},
        apparent={},
        development_score=tuple(float(s) for s in stage.score(branches)),
        threshold=0.5,
        threshold_rule="none",
    )
    return Finished(final, fitted, split, data, recipe)


def explained(run: Finished, bundle: Path) -> Explanation:
    return explain(run.final, run.fitted, run.split, run.data, run.recipe, bundle, threads=1)


def test_a_run_is_explained_without_naming_anyone(tmp_path: Path) -> None:
    write_network(tmp_path / "backbone.onnx")
    run = finished(network=True)
    found = explained(run, tmp_path)
    document = found.model_dump_json()
    assert Explanation.model_validate_json(document) == found
    assert "secret" not in document
    assert explained(run, tmp_path) == found, "the same run gives the same document"
    assert [p.predictor for p in found.contribution.predictors] == ["dlr_score", "ct"]
    assert found.contribution.patient_count == 40
    assert sum(p.absolute_share or 0 for p in found.contribution.predictors) == pytest.approx(1.0)
    assert [a.branch for a in found.attributions] == [
        b.name for b, w in zip(run.final.chain.branches, run.fitted.stage.calibration.weights, strict=True) if w > 0
    ]
    assert all(a.additivity_gap < 1e-9 for a in found.attributions)
    assert {b.sample for b in found.boxes} == {"development", "test"}
    first = found.boxes[0]
    assert (first.without_outcome.count, first.with_outcome.count) == (24, 16)
    assert found.activation is not None
    assert (found.activation.sample, found.activation.patient_count) == ("test", 20)
    assert sum(found.activation.counts) == 20
    assert all(0 <= (c.nomogram_probability or 0) <= 1 for c in found.activation.cases)
    sheet = found.without_pictures().activation
    assert sheet is not None
    assert all(c.picture is None for c in sheet.cases)


def test_development_patients_are_standardized_as_the_model_sees_them(tmp_path: Path) -> None:
    run = finished(network=False)
    found = explained(run, tmp_path)
    row = next(b for b in found.boxes if b.sample == "development")
    values = np.array(row.without_outcome.points + row.with_outcome.points)
    assert values.mean() == pytest.approx(0.0, abs=1e-4)
    assert values.std() == pytest.approx(1.0, abs=1e-4)


def test_without_network_and_without_test_patients(tmp_path: Path) -> None:
    found = explained(finished(network=False, test=False), tmp_path)
    assert found.activation is None
    assert {b.sample for b in found.boxes} == {"development"}
    assert found.notes == ()


def test_without_test_patients_the_sheet_says_apparent(tmp_path: Path) -> None:
    write_network(tmp_path / "backbone.onnx")
    found = explained(finished(network=True, test=False), tmp_path)
    assert found.activation is not None
    assert found.activation.sample == "development, apparent"


def test_a_lost_backbone_is_said(tmp_path: Path) -> None:
    found = explained(finished(network=True), tmp_path)
    assert found.activation is None
    assert "the backbone was not kept, so there are no activation maps" in found.notes
