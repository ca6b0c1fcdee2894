from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from nodogram.clinical import ClinicalPredictor
from training.baseline_table import baseline_table

PAPER = json.loads((Path(__file__).parents[1] / "golden" / "paper_tables.json").read_text(encoding="utf-8"))
SEX = ClinicalPredictor(name="sex", label="Sex", type="categorical", levels=("male", "female"), reference="male")
SITE = ClinicalPredictor(
    name="site", label="Site", type="categorical", levels=("glottic", "supraglottic", "other"), reference="glottic"
)
AGE = ClinicalPredictor(name="age", label="Age", type="continuous", unit="years", range=(18, 110))


def of_sex(men: int, women: int) -> list[dict[str, str | float]]:
    return [{"sex": "male"}] * men + [{"sex": "female"}] * women


def test_sex_in_table_1_of_the_paper() -> None:
    row = next(r for r in PAPER["table1"] if r["name"] == "sex")
    (m1, m2), (f1, f2) = row["counts"]
    table = baseline_table("Table 1", (SEX,), [("Training", of_sex(m1, f1)), ("Validation", of_sex(m2, f2))])
    heading, male, female = table.rows
    assert table.group_names == ("Training (n = 164)", "Validation (n = 71)")
    assert heading.test == "chi-squared"
    assert f"{heading.statistic:.3f}" == f"{row['chi2']:.3f}"
    assert f"{heading.p_value:.3f}" == row["p"]
    assert male.groups == ("133 (81.1 %)", "59 (83.1 %)")
    assert female.groups == ("31 (18.9 %)", "12 (16.9 %)")
    p1, p2 = f1 / 164, f2 / 71
    expected = (p1 - p2) / np.sqrt((p1 * (1 - p1) + p2 * (1 - p2)) / 2)
    assert heading.standardized_mean_difference == pytest.approx(expected)


def test_small_counts_are_compared_exactly() -> None:
    table = baseline_table("t", (SEX,), [("a", of_sex(3, 1)), ("b", of_sex(1, 3))])
    assert (table.rows[0].test, table.rows[0].statistic) == ("Fisher", None)
    assert table.rows[0].p_value == pytest.approx(34 / 70)


def test_normal_ages_get_students_test_and_skewed_ones_ranks() -> None:
    normal = 60 + 8 * stats.norm.ppf((np.arange(40) + 0.5) / 40)
    skewed = 40 + 5 * stats.expon.ppf((np.arange(40) + 0.5) / 40)

    def row(first: np.ndarray, second: np.ndarray):
        groups = [(name, [{"age": float(a)} for a in ages]) for name, ages in (("a", first), ("b", second))]
        return baseline_table("t", (AGE,), groups).rows[0]

    even = row(normal, normal + 4)
    assert (even.test, even.p_value) == ("Student t", pytest.approx(stats.ttest_ind(normal, normal + 4).pvalue))
    assert even.characteristic == "Age, years, mean ± SD"
    assert even.groups == (f"60.00 ± {normal.std(ddof=1):.2f}", f"64.00 ± {normal.std(ddof=1):.2f}")
    assert even.standardized_mean_difference == pytest.approx(-4 / normal.std(ddof=1))
    uneven = row(skewed, normal)
    assert (uneven.test, uneven.p_value) == ("Mann-Whitney U", pytest.approx(stats.mannwhitneyu(skewed, normal).pvalue))


def test_missing_values_are_counted_and_left_out() -> None:
    first: list[dict[str, str | float]] = [{"sex": "male", "age": 60.0}, {"sex": "", "age": 62.0}, {"sex": "female"}]
    second: list[dict[str, str | float]] = [{"sex": "male", "age": 50.0}, {"sex": "female", "age": float("nan")}]
    rows = baseline_table("t", (SEX, AGE), [("a", first), ("b", second)]).rows
    assert [(r.level, r.groups) for r in rows[1:4]] == [
        ("male", ("1 (50.0 %)", "1 (50.0 %)")),
        ("female", ("1 (50.0 %)", "1 (50.0 %)")),
        ("missing", ("1", "0")),
    ]
    assert (rows[4].groups, rows[4].test) == (("61.00 ± 1.41", "–"), "not defined")
    assert (rows[5].level, rows[5].groups) == ("missing", ("1", "1"))


def test_one_group_is_described_without_a_test() -> None:
    rows = baseline_table("t", (SEX,), [("all", of_sex(3, 1))]).rows
    assert (rows[0].test, rows[0].p_value, rows[0].standardized_mean_difference) == (None, None, None)


def test_more_than_two_levels_have_a_test_but_no_single_difference() -> None:
    groups = [
        (name, [{"site": level} for level, n in zip(SITE.levels, counts, strict=True) for _ in range(n)])
        for name, counts in (("a", (10, 20, 0)), ("b", (20, 10, 0)))
    ]
    heading = baseline_table("t", (SITE,), groups).rows[0]
    # The level nobody has takes no part: chi-squared of [[10, 20], [20, 10]] is 20/3.
    assert heading.statistic == pytest.approx(20 / 3)
    assert heading.standardized_mean_difference is None
