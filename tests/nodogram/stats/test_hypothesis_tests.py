from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nodogram.stats.hypothesis_tests import compare_categorical, compare_continuous, holm, standardized_mean_difference


def test_small_tables_get_fishers_test() -> None:
    # The lady tasting tea, Fisher 1935: two-sided p = 34/70
    result = compare_categorical(np.array([[3, 1], [1, 3]]))
    assert result.name == "Fisher"
    assert result.p == pytest.approx(34 / 70)


def test_unused_levels_and_empty_groups_are_not_compared() -> None:
    assert compare_categorical(np.array([[10, 20], [0, 0]])).p == 1.0
    assert compare_categorical(np.array([[10, 0], [5, 0]])).name == "not defined"


def test_continuous_test_follows_the_distribution() -> None:
    rng = np.random.default_rng(0)
    normal = stats.norm.ppf((np.arange(40) + 0.5) / 40)
    assert compare_continuous(normal, normal + 0.3).name == "Student t"
    assert compare_continuous(np.exp(2 * normal), np.exp(2 * normal + rng.normal())).name == "Mann-Whitney U"
    assert compare_continuous(np.ones(5), np.ones(5)).p == 1.0


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_standardized_mean_difference_closed_forms() -> None:
    assert standardized_mean_difference(np.array([0.0, 2.0]), np.array([1.0, 3.0])) == pytest.approx(-1 / np.sqrt(2))
    half, fifth = np.repeat([1.0, 0.0], [5, 5]), np.repeat([1.0, 0.0], [2, 8])
    assert standardized_mean_difference(half, fifth) == pytest.approx(0.3 / np.sqrt((0.25 + 0.16) / 2))
    assert standardized_mean_difference(np.ones(4), np.ones(4)) is None
