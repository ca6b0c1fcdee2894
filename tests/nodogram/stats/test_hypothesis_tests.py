from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nodogram.stats.hypothesis_tests import (
    benjamini_hochberg,
    compare_categorical,
    compare_continuous,
    compare_means,
    compare_ranks,
    holm,
    is_normal,
    standardized_mean_difference,
    student_t_from_summary,
)


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


def test_benjamini_hochberg_published_example() -> None:
    """The 15 p-values of the 1995 paper: at a rate of 5 % the four smallest are rejected."""
    p = np.array(
        [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    )
    adjusted = benjamini_hochberg(p)
    assert int((adjusted <= 0.05).sum()) == 4
    assert adjusted == pytest.approx(stats.false_discovery_control(p))
    shuffled = np.random.default_rng(0).permutation(15)
    assert benjamini_hochberg(p[shuffled]) == pytest.approx(adjusted[shuffled])
    assert int((holm(p) <= 0.05).sum()) == 3


def test_yates_correction_by_hand() -> None:
    counts = np.array([[20, 10], [15, 25]])
    n, product = 70, 30 * 40 * 35 * 35
    assert compare_categorical(counts).statistic == pytest.approx(n * (20 * 25 - 10 * 15) ** 2 / product)
    assert compare_categorical(counts, yates=True).statistic == pytest.approx(n * (20 * 25 - 10 * 15 - n / 2) ** 2 / product)


def test_students_and_welchs_t_by_hand() -> None:
    first, second = np.array([1.0, 2.0, 3.0]), np.array([2.0, 6.0, 10.0, 14.0])
    v1, v2 = first.var(ddof=1), second.var(ddof=1)
    welch = compare_means(first, second, equal_variances=False)
    assert (welch.name, welch.statistic) == ("Welch t", pytest.approx(-6 / np.sqrt(v1 / 3 + v2 / 4)))
    degrees = (v1 / 3 + v2 / 4) ** 2 / ((v1 / 3) ** 2 / 2 + (v2 / 4) ** 2 / 3)
    assert welch.p == pytest.approx(2 * stats.t.sf(abs(welch.statistic), degrees))
    student = compare_means(first, second, equal_variances=True)
    assert student.statistic == pytest.approx(-6 / np.sqrt((2 * v1 + 3 * v2) / 5 * (1 / 3 + 1 / 4)))
    summary = student_t_from_summary(2.0, float(np.sqrt(v1)), 3, 8.0, float(np.sqrt(v2)), 4)
    assert (summary.statistic, summary.p) == (pytest.approx(student.statistic), pytest.approx(student.p))


def test_rank_test_by_hand() -> None:
    # Of the 20 ways to place three ranks, one is as extreme on each side.
    result = compare_ranks(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
    assert (result.statistic, result.p) == (0.0, pytest.approx(2 / 20))


def test_normality_gate() -> None:
    assert is_normal(stats.norm.ppf((np.arange(30) + 0.5) / 30))
    assert not is_normal(np.arange(30.0) ** 4)
    assert not is_normal(np.ones(10))
