"""Differences of shares against Newcombe's own tables, Altman's worked example, R package contingencytables and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep

from nodogram.stats.classification import Proportion
from nodogram.stats.proportion_difference import PairedDecisions, independent_difference


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)],
)
def test_independent_shares_as_published(first: tuple[int, int], second: tuple[int, int], low: float, high: float) -> None:
    """Newcombe 1998 (independent), method 10, contrasts (a) and (b)."""
    found = independent_difference(Proportion.of(*first), Proportion.of(*second))
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_independent_shares_agree_with_statsmodels(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = independent_difference(Proportion.of(a, n), Proportion.of(b, m))
    expected = confint_proportions_2indep(a, n, b, m, method="newcomb", compare="diff")
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
    turned = independent_difference(Proportion.of(b, m), Proportion.of(a, n))
    assert (turned.low, turned.high) == pytest.approx((-expected[1], -expected[0]), abs=1e-9)


def test_without_patients_there_is_no_difference() -> None:
    found = independent_difference(Proportion.of(0, 0), Proportion.of(3, 4))
    assert (found.value, found.low, found.high) == (None, None, None)


@pytest.mark.parametrize(
    ("table", "low", "high", "digits"),
    [
        # Newcombe 1998 (paired), method 10
        ((36, 12, 2, 0), 0.0569, 0.3404, 4),
        ((18, 12, 2, 18), 0.0562, 0.3290, 4),
        # Altman et al. 2000, Statistics with Confidence, chapter 6
        ((14, 5, 0, 22), 0.011, 0.226, 3),
        # Cavo et al. 2012 as in R package contingencytables, chapter 8
        ((59, 6, 16, 80), -0.1186, -0.0046, 4),
    ],
)
def test_paired_shares_as_published(table: tuple[int, int, int, int], low: float, high: float, digits: int) -> None:
    found = PairedDecisions(*table).difference()
    assert found.value == pytest.approx((table[1] - table[2]) / sum(table))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.51 * 10**-digits)


def test_decisions_that_never_differ_leave_a_difference_of_zero() -> None:
    """One minus the Wilson half width on either side would be far too wide; all of it cancels but the correction."""
    found = PairedDecisions(30, 0, 0, 30).difference()
    assert found.value == 0.0
    assert -0.05 < found.low < 0.0 < found.high < 0.05  # type: ignore[operator]
    assert PairedDecisions(30, 0, 0, 30).p == 1.0


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_exact_mcnemar_agrees_with_statsmodels(both: int, first: int, second: int, neither: int) -> None:
    expected = mcnemar([[both, first], [second, neither]], exact=True).pvalue if first + second else 1.0
    assert PairedDecisions(both, first, second, neither).p == pytest.approx(min(expected, 1.0), abs=1e-12)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_paired_interval_holds_its_value_and_turns_with_the_table(a: int, b: int, c: int, d: int) -> None:
    if a + b + c + d == 0:
        assert PairedDecisions(a, b, c, d).difference().value is None
        return
    found, turned = PairedDecisions(a, b, c, d).difference(), PairedDecisions(a, c, b, d).difference()
    values = (found.low, found.value, found.high)
    assert None not in values
    assert list(values) == sorted(values)  # type: ignore[type-var]
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=1e-12)  # type: ignore[operator]


def test_paired_interval_covers() -> None:
    """Two readers of 60 patients who agree more often than chance: about 95 of 100 intervals hold the true difference."""
    rng = np.random.default_rng(0)
    cells = np.array([0.5, 0.2, 0.1, 0.2])
    drawn = rng.multinomial(60, cells, size=1500)
    found = [PairedDecisions(*(int(v) for v in row)).difference() for row in drawn]
    covered = np.mean([f.low <= 0.1 <= f.high for f in found if f.low is not None and f.high is not None])
    assert 0.93 <= covered <= 0.97
