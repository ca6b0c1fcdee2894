from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from nodogram.errors import FeatureError, Reason, TrainingError
from nodogram.features import FeatureTable
from training.guard import FitScope, LabeledTable
from training.lasso import fit_lasso_path
from training.recipe import SelectionSettings, load_recipe
from training.selection import Selection, select, univariate_p_values

SOUND = load_recipe("sound").selection
PAPER = load_recipe("paper").selection


def labeled(values: NDArray[np.float64], outcome: NDArray[np.int64], names: tuple[str, ...] | None = None) -> LabeledTable:
    ids = tuple(f"p{i}" for i in range(len(values)))
    return LabeledTable(
        FeatureTable(ids, names or tuple(f"radiomics.f{j:04d}" for j in range(values.shape[1])), values), outcome
    )


def scope_of(data: LabeledTable) -> FitScope:
    return FitScope("final", frozenset(data.case_ids))


def run(data: LabeledTable, recipe: SelectionSettings, seed: int = 1, stable: frozenset[str] | None = None) -> Selection:
    return select(data, recipe, seed=seed, scope=scope_of(data), stable=stable)


def balanced(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.permutation((np.arange(count) % 5 < 2).astype(np.int64))


def planted(seed: int = 0, count: int = 160, features: int = 300) -> tuple[LabeledTable, set[str]]:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, features))
    first, second, third = (10, 120, 250) if features > 250 else (0, 1, 2)
    linear = 2.0 * values[:, first] - 2.0 * values[:, second] + 1.5 * values[:, third]
    outcome = (linear + rng.logistic(size=count) > 0).astype(np.int64)
    return labeled(values * 7.0 + 100.0, outcome), {f"radiomics.f{j:04d}" for j in (first, second, third)}


@pytest.mark.parametrize("count", [12, 60])
@pytest.mark.parametrize("test", ["student_t", "welch_t", "mann_whitney"])
def test_p_values_equal_scipy_column_by_column(test: str, count: int) -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(size=(count, 9)) ** 3
    values[:, 3:6] = np.round(values[:, 3:6])  # ties: here the Mann-Whitney test must not be exact, beside columns where it is
    outcome = balanced(count, rng)
    first, second = values[outcome == 0], values[outcome == 1]
    if test == "mann_whitney":
        expected = [stats.mannwhitneyu(first[:, j], second[:, j]).pvalue for j in range(9)]
    else:
        expected = [stats.ttest_ind(first[:, j], second[:, j], equal_var=test == "student_t").pvalue for j in range(9)]
    np.testing.assert_allclose(univariate_p_values(values, outcome, test), expected, rtol=1e-12)


def test_feature_constant_within_classes_has_p_zero_if_they_differ() -> None:
    outcome = np.array([0, 0, 0, 1, 1, 1])
    values = np.column_stack([outcome * 2.0, np.array([0.0, 1, 2, 0, 1, 2])])
    np.testing.assert_array_equal(univariate_p_values(values, outcome, "student_t"), [0.0, 1.0])


def test_transform_is_the_z_score_of_the_rows_seen() -> None:
    data, _ = planted()
    selection = run(data, SOUND)
    chosen = data.table.select(selection.names).values
    np.testing.assert_allclose(selection.mean, chosen.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(selection.scale, chosen.std(axis=0), rtol=1e-12)
    z = selection.transform(data.table)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-12)
    with pytest.raises(FeatureError) as caught:
        selection.transform(FeatureTable(data.case_ids, ("radiomics.other",), np.zeros((160, 1))))
    assert caught.value.reason is Reason.FEATURE_UNKNOWN


@pytest.mark.parametrize("recipe", [SOUND, PAPER, SOUND.model_copy(update={"lasso_rule": "one_se"})])
def test_planted_features_are_found(recipe: SelectionSettings) -> None:
    data, truth = planted()
    selection = run(data, recipe)
    assert truth <= set(selection.names)
    assert len(selection.names) <= 40
    signs = dict(zip(selection.names, np.sign(selection.coefficients), strict=True))
    assert (signs["radiomics.f0010"], signs["radiomics.f0120"], signs["radiomics.f0250"]) == (1.0, -1.0, 1.0)
    assert max(selection.p_values[selection.names.index(name)] for name in truth) < 0.05


def test_steps_follow_the_paper_and_their_counts_join() -> None:
    data, truth = planted()
    stable = frozenset(data.table.names[:280]) | truth
    selection = run(data, SOUND.model_copy(update={"maximum_features": 3}), stable=stable)
    names = [step.name for step in selection.steps]
    assert names == ["icc", "constant", "univariate", "correlation", "lasso", "maximum_features"]
    assert selection.steps[0].count_in == 300
    assert selection.steps[0].count_out == 280
    for before, after in zip(selection.steps, selection.steps[1:], strict=False):
        assert before.count_out == after.count_in
    assert selection.steps[-1].count_out == len(selection.names) == 3
    assert set(selection.names) == truth
    assert selection.names == tuple(sorted(selection.names))


def test_unstable_and_constant_features_never_enter() -> None:
    data, _ = planted()
    values = data.table.values.copy()
    values[:, 5] = 0.1
    values[:, 6] = 1e9 + 1e-7 * values[:, 6]
    data = labeled(values, data.outcome)
    selection = run(data, SOUND, stable=frozenset(data.table.names) - {"radiomics.f0010"})
    assert "radiomics.f0010" not in selection.names
    assert {step.name: step.count_in - step.count_out for step in selection.steps}["constant"] == 2


def correlated(seed: int = 3) -> LabeledTable:
    rng = np.random.default_rng(seed)
    outcome = balanced(80, rng)
    base = rng.normal(size=(80, 6)) + 0.8 * outcome[:, None]
    copies = np.hstack([base, base + 0.15 * rng.normal(size=base.shape), np.exp(base), base[:, :2]])
    return labeled(copies, outcome)


def kept_by_correlation(data: LabeledTable, keeps: str) -> set[str]:
    # The penalty path lists what entered the LASSO, which is what the correlation step left.
    recipe = SOUND.model_copy(update={"univariate_test": "none", "correlation_keeps": keeps})
    path = run(data, recipe).lasso_path
    assert path is not None
    return set(path.names)


def test_smallest_p_does_not_depend_on_column_order() -> None:
    data = correlated()
    reference = kept_by_correlation(data, "smallest_p")
    for seed in range(2):
        order = np.random.default_rng(seed).permutation(len(data.table.names))
        shuffled = data.select(tuple(data.table.names[i] for i in order))
        assert kept_by_correlation(shuffled, "smallest_p") == reference


@pytest.mark.parametrize("keeps", ["first", "smallest_p"])
def test_correlation_leaves_no_pair_above_and_drops_nothing_else(keeps: str) -> None:
    data = correlated()
    names, rho = data.table.names, np.abs(stats.spearmanr(data.table.values).statistic)
    kept = kept_by_correlation(data, keeps)
    position = [names.index(name) for name in kept]
    among = rho[np.ix_(position, position)] - np.eye(len(position))
    assert among.max() <= 0.9
    for j, name in enumerate(names):
        if name not in kept:
            assert rho[j, position].max() > 0.9
    if keeps == "first":
        assert set(names[:6]) <= kept


def test_correlation_across_blocks() -> None:
    rng = np.random.default_rng(0)
    outcome = balanced(60, rng)
    base = rng.normal(size=(60, 300)) + 0.1 * outcome[:, None]
    kept = kept_by_correlation(labeled(np.hstack([base, -base]), outcome), "first")
    assert kept == {f"radiomics.f{j:04d}" for j in range(300)}


def test_benjamini_hochberg_is_stricter() -> None:
    data, truth = planted()
    strict = run(data, SOUND.model_copy(update={"false_discovery_control": "benjamini_hochberg"}))
    p = univariate_p_values(data.table.values, data.outcome, "mann_whitney")
    ordered = np.sort(p)
    passing = np.flatnonzero(ordered <= 0.05 * np.arange(1, 301) / 300)
    assert {s.name: s.count_out for s in strict.steps}["univariate"] == passing.max() + 1
    assert truth <= set(strict.names)


def test_noise_under_strict_settings_selects_nothing() -> None:
    rng = np.random.default_rng(8)
    data = labeled(rng.normal(size=(100, 400)), balanced(100, rng))
    strict = {"false_discovery_control": "benjamini_hochberg", "univariate_alpha": 0.001}
    selection = run(data, SOUND.model_copy(update=strict))
    assert selection.names == ()
    assert selection.lasso_path is None
    assert selection.transform(data.table).shape == (100, 0)
    assert selection.steps[-1].count_out == 0


def test_no_feature_at_all_is_an_empty_selection() -> None:
    data = labeled(np.empty((10, 0)), np.arange(10) % 2)
    assert run(data, SOUND).names == ()


def test_held_out_patient_is_refused() -> None:
    data, _ = planted(count=60, features=5)
    with pytest.raises(TrainingError) as caught:
        select(data, SOUND, seed=1, scope=FitScope("fold 1", frozenset(data.case_ids[:-1])))
    assert caught.value.reason is Reason.HELD_OUT_PATIENT_IN_FIT


def test_one_outcome_alone_is_refused() -> None:
    data = labeled(np.random.default_rng(0).normal(size=(10, 3)), np.array([1] + [0] * 9))
    with pytest.raises(TrainingError) as caught:
        run(data, SOUND)
    assert caught.value.reason is Reason.MODEL_FIT_FAILED
    assert "1 of 10" in caught.value.message


@pytest.mark.parametrize("recipe", [SOUND, PAPER])
def test_few_rows_reduce_the_folds_and_say_so(recipe: SelectionSettings) -> None:
    rng = np.random.default_rng(1)
    outcome = np.array([0, 1] * 5)
    selection = run(labeled(rng.normal(size=(10, 20)) + 2 * outcome[:, None] * (np.arange(20) < 2), outcome), recipe)
    assert selection.lasso_path is not None
    assert any("5 folds instead of 10" in note for note in selection.notes)


def test_same_seed_same_selection() -> None:
    data, _ = planted(count=80, features=30)
    first, second = run(data, SOUND), run(data, SOUND)
    assert first.names == second.names
    np.testing.assert_array_equal(first.coefficients, second.coefficients)


def test_linear_path_is_the_soft_threshold_on_orthogonal_features() -> None:
    n, k = 64, 6
    signs = np.array([[1.0]])
    while signs.shape[0] < n:  # Hadamard: columns of +-1, orthogonal, all but the first with mean 0
        signs = np.block([[signs, signs], [signs, -signs]])
    z = signs[:, 1 : k + 1]
    rng = np.random.default_rng(0)
    outcome = (z[:, 0] + 0.7 * z[:, 1] + rng.normal(size=n) > 0).astype(np.int64)
    path = fit_lasso_path(z, outcome, tuple("abcdef"), kind="linear", folds=5, seed=0)
    correlation = z.T @ outcome / n
    expected = np.sign(correlation) * np.maximum(np.abs(correlation) - path.lambdas[:, None], 0.0)
    np.testing.assert_allclose(path.coefficients, expected, atol=1e-6)
    assert path.lambdas[0] == pytest.approx(np.abs(correlation).max())


def test_logistic_path_meets_the_optimality_conditions() -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(size=(120, 15))
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    outcome = (z[:, 0] - z[:, 1] + rng.logistic(size=120) > 0.4).astype(np.int64)
    path = fit_lasso_path(z, outcome, tuple("abcdefghijklmno"), kind="logistic", folds=5, seed=0)
    assert not path.coefficients[0].any()
    for penalty, beta in zip(path.lambdas[1::8], path.coefficients[1::8], strict=True):
        # Refit the intercept alone, by Newton's method, at the coefficients found.
        offset, intercept = z @ beta, 0.0
        for _ in range(50):
            p = 1 / (1 + np.exp(-(intercept + offset)))
            intercept += (outcome - p).sum() / (p * (1 - p)).sum()
        gradient = z.T @ (outcome - p) / len(outcome)
        active = beta != 0
        # 2 % for liblinear's stopping rule and its slight penalty on the intercept.
        np.testing.assert_allclose(gradient[active], penalty * np.sign(beta[active]), rtol=0.02)
        assert np.abs(gradient).max() <= 1.02 * penalty


@pytest.mark.parametrize("kind", ["linear", "logistic"])
def test_one_standard_error_rule_is_the_sparser(kind: str) -> None:
    data, _ = planted(features=40)
    z = (data.table.values - data.table.values.mean(axis=0)) / data.table.values.std(axis=0)
    path = fit_lasso_path(z, data.outcome, data.table.names, kind=kind, folds=10, seed=0)  # type: ignore[arg-type]
    assert path.coefficients.shape == (50, 40)
    assert (np.diff(path.lambdas) < 0).all()
    assert path.index_min == np.argmin(path.cv_mean)
    assert path.index_one_se <= path.index_min
    limit = path.cv_mean[path.index_min] + path.cv_se[path.index_min]
    assert path.cv_mean[path.index_one_se] <= limit
    assert (path.cv_mean[: path.index_one_se] > limit).all()


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_units_do_not_matter(scale: float, shift: float) -> None:
    data, _ = planted(count=60, features=8)
    moved = labeled(data.table.values * scale + shift, data.outcome)
    assert run(moved, PAPER).names == run(data, PAPER).names


def test_a_study_sized_table_takes_seconds() -> None:
    rng = np.random.default_rng(1)
    latent = rng.normal(size=(160, 40))
    data = labeled(0.7 * latent @ rng.normal(size=(40, 3451)) + rng.normal(size=(160, 3451)), balanced(160, rng))
    start = time.process_time()
    run(data, SOUND)
    assert time.process_time() - start < 30  # about 2 s on one free core
