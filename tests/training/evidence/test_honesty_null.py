"""The null distribution: its p-value, and AUCs that stay within a fold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodogram.stats.discrimination import auc
from training.evidence.null_distribution import null_test, permutation_p, within_fold_auc


def test_p_counts_the_real_arrangement() -> None:
    assert permutation_p(0.9, [0.5] * 99) == pytest.approx(0.01)
    assert permutation_p(0.5, [0.5] * 99) == 1.0
    assert permutation_p(0.8, [0.9, 0.8, 0.7]) == pytest.approx(3 / 4)
    assert permutation_p(0.8, []) == 1.0


def test_values_that_differ_by_rounding_are_ties() -> None:
    assert permutation_p(0.1 + 0.2, [0.3]) == 1.0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_p_of_exchangeable_values_is_never_too_small(values: list[float]) -> None:
    """Each of the values as the observed one in turn: at most a share alpha of the p-values is at or below alpha."""
    p = [permutation_p(v, values[:i] + values[i + 1 :]) for i, v in enumerate(values)]
    for alpha in (0.05, 0.1, 0.25, 0.5):
        assert np.mean([value <= alpha + 1e-12 for value in p]) <= alpha + 1e-9


def test_within_folds_counts_pairs_of_one_fold() -> None:
    rng = np.random.default_rng(1)
    outcome, score, fold = rng.integers(0, 2, 40), rng.normal(size=40), rng.integers(0, 4, 40)
    pairs = [
        float(score[i] > score[j]) + 0.5 * float(score[i] == score[j])
        for i in range(40)
        for j in range(40)
        if outcome[i] == 1 and outcome[j] == 0 and fold[i] == fold[j]
    ]
    assert within_fold_auc(outcome, score, fold) == pytest.approx(np.mean(pairs))
    assert within_fold_auc(outcome, score, np.zeros(40, dtype=np.int64)) == pytest.approx(auc(outcome, score))


def test_held_out_prevalence_is_chance_within_folds_and_less_when_pooled() -> None:
    outcome, fold = np.array([1, 1, 0, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 1])
    score = np.where(fold == 0, outcome[fold == 1].mean(), outcome[fold == 0].mean())
    assert within_fold_auc(outcome, score, fold) == 0.5
    assert auc(outcome, score) == pytest.approx(1 / 3)
    assert within_fold_auc(np.array([1, 1, 0, 0]), np.arange(4.0), np.array([0, 0, 1, 1])) is None


def test_test_keeps_its_null_values() -> None:
    found = null_test(0.7, [0.4, 0.5, 0.6])
    assert found.null == (0.4, 0.5, 0.6)
    assert found.distribution.median == 0.5
    assert found.p == 0.25
