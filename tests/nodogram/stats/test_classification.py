from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binom, binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    class_likelihood_ratios,
    f1_score,
    matthews_corrcoef,
)

from nodogram.stats.classification import (
    Confusion,
    Interval,
    Proportion,
    bootstrap_table,
    confusion,
    predictive_values,
    threshold_for_sensitivity,
    youden_threshold,
)


@pytest.mark.parametrize(("count", "total"), [(0, 10), (10, 10), (27, 44), (1, 3), (66, 67)])
def test_wilson_interval_equals_scipy(count: int, total: int) -> None:
    interval = binomtest(count, total).proportion_ci(method="wilson")
    found = Proportion.of(count, total)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert found.value == count / total


def test_empty_denominator_has_no_value() -> None:
    table = Confusion(0, 3, 0, 4)
    assert table.ppv.value is None
    assert table.mcc is None
    assert table.f1 == 0
    assert table.no_information_rate == pytest.approx(4 / 7)


def test_closed_forms() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=5, true_negative=45)
    assert table.sensitivity.value == 0.8
    assert table.specificity.value == 0.9
    assert table.f1 == pytest.approx(2 * 40 / (2 * 40 + 15))
    assert table.mcc == pytest.approx((40 * 45 - 10 * 5) / np.sqrt(45 * 50 * 50 * 55))


def test_thresholds() -> None:
    outcome = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    assert youden_threshold(outcome, probability) == 0.6
    assert threshold_for_sensitivity(outcome, probability, 0.75) == 0.6
    assert threshold_for_sensitivity(outcome, probability, 0.76) == 0.4
    assert confusion(outcome, probability, 0.4).sensitivity.value == 1.0


def test_likelihood_ratios_with_intervals_by_hand() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=5, true_negative=45)
    positive, negative = table.positive_likelihood_ratio, table.negative_likelihood_ratio
    assert (positive.value, negative.value) == pytest.approx((0.8 / 0.1, 0.2 / 0.9))
    error = np.sqrt(1 / 40 - 1 / 50 + 1 / 5 - 1 / 50)
    assert (positive.low, positive.high) == pytest.approx(
        (8 * np.exp(-1.959964 * error), 8 * np.exp(1.959964 * error)), rel=1e-6
    )
    assert negative.low is not None
    assert negative.low < 0.2 / 0.9


def test_likelihood_ratios_without_false_positives() -> None:
    table = Confusion(true_positive=4, false_negative=0, false_positive=0, true_negative=6)
    assert table.positive_likelihood_ratio.value is None
    assert (table.negative_likelihood_ratio.value, table.negative_likelihood_ratio.high) == (0.0, None)


def test_no_information_rate_and_its_p() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=5, true_negative=45)
    assert table.no_information_rate == 0.5
    assert table.better_than_no_information_p == pytest.approx(binom.sf(84, 100, 0.5), rel=1e-12)
    assert Confusion(0, 3, 0, 7).better_than_no_information_p == pytest.approx(binom.sf(6, 10, 0.7))


def test_balanced_accuracy_by_hand() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=5, true_negative=45)
    found = table.balanced_accuracy
    sensitivity, specificity = (binomtest(k, 50).proportion_ci(method="wilson") for k in (40, 45))
    assert found.value == pytest.approx(0.85)
    assert found.low == pytest.approx(0.85 - np.hypot(0.8 - sensitivity.low, 0.9 - specificity.low) / 2)
    assert found.high == pytest.approx(0.85 + np.hypot(sensitivity.high - 0.8, specificity.high - 0.9) / 2)
    assert Confusion(0, 0, 3, 4).balanced_accuracy == Interval(None, None, None)


def test_measures_equal_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    outcome, probability = rng.integers(0, 2, 90), rng.random(90)
    table, called = confusion(outcome, probability, 0.4), (probability >= 0.4).astype(int)
    assert table.f1 == pytest.approx(f1_score(outcome, called))
    assert table.mcc == pytest.approx(matthews_corrcoef(outcome, called))
    assert table.accuracy.value == pytest.approx(accuracy_score(outcome, called))
    assert table.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(outcome, called))
    positive, negative = class_likelihood_ratios(outcome, called)
    assert table.positive_likelihood_ratio.value == pytest.approx(positive)
    assert table.negative_likelihood_ratio.value == pytest.approx(negative)


def test_predictive_values_at_the_prevalence_of_the_sample_are_those_of_the_sample() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=15, true_negative=85)
    found = predictive_values(table, 50 / 150)
    assert (found.ppv.value, found.npv.value) == pytest.approx((table.ppv.value, table.npv.value))


def test_predictive_values_by_bayes() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=5, true_negative=45)
    found = predictive_values(table, 0.1)
    assert found.ppv.value == pytest.approx(0.8 * 0.1 / (0.8 * 0.1 + 0.1 * 0.9))
    assert found.npv.value == pytest.approx(0.9 * 0.9 / (0.9 * 0.9 + 0.2 * 0.1))
    with pytest.raises(ValueError, match="exclusive"):
        predictive_values(table, 1.0)


def test_intervals_of_predictive_values_by_the_printed_formula() -> None:
    """Donner, Zou 2012: the ratio of two shares with bounds (l, u) each, before it is rearranged against division by zero."""
    table = Confusion(true_positive=40, false_negative=10, false_positive=5, true_negative=45)
    a, b = 0.8, 0.1
    first, second = (binomtest(k, 50).proportion_ci(method="wilson") for k in (40, 5))
    low = (a * b - np.sqrt((a * b) ** 2 - first.low * second.high * (2 * a - first.low) * (2 * b - second.high))) / (
        second.high * (2 * b - second.high)
    )
    high = (a * b + np.sqrt((a * b) ** 2 - first.high * second.low * (2 * a - first.high) * (2 * b - second.low))) / (
        second.low * (2 * b - second.low)
    )
    found = predictive_values(table, 0.2).ppv
    assert (found.low, found.high) == pytest.approx((low / (low + 4), high / (high + 4)), rel=1e-12)


@given(cells=st.tuples(*[st.integers(0, 12)] * 4), prevalence=st.floats(0.01, 0.99))
def test_predictive_values_of_any_table_are_ordered_and_inside(cells: tuple[int, int, int, int], prevalence: float) -> None:
    found = predictive_values(Confusion(*cells), prevalence)
    tp, fn, fp, tn = cells
    for interval, called in ((found.ppv, tp + fp), (found.npv, tn + fn)):
        if not (tp + fn and fp + tn and called):
            assert interval == Interval(None, None, None)
            continue
        assert interval.value is not None
        assert interval.low is not None
        assert interval.high is not None
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_logit_interval_of_mercaldo_is_close_in_a_large_sample() -> None:
    table = Confusion(true_positive=800, false_negative=200, false_positive=150, true_negative=850)
    found = predictive_values(table, 0.3).ppv
    assert found.value is not None
    error = np.sqrt(0.2 / 800 + 0.85 / 150)
    expected = expit(logit(found.value) + np.array([-1.959964, 1.959964]) * error)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=2e-3)


def test_bootstrap_of_the_table_equals_that_of_its_patients() -> None:
    table = Confusion(true_positive=40, false_negative=10, false_positive=15, true_negative=85)
    found = bootstrap_table(table, replicates=4000, rng=np.random.default_rng(1))
    outcome, called = np.repeat([1, 1, 0, 0], [40, 10, 15, 85]), np.repeat([1, 0, 1, 0], [40, 10, 15, 85])
    rows = np.random.default_rng(2).integers(0, 150, (400, 150))
    f1 = [f1_score(outcome[r], called[r]) for r in rows]
    mcc = [matthews_corrcoef(outcome[r], called[r]) for r in rows]
    assert (found.f1.value, found.mcc.value) == (pytest.approx(table.f1), pytest.approx(table.mcc))
    assert (found.f1.low, found.f1.high) == pytest.approx(tuple(np.quantile(f1, [0.025, 0.975])), abs=0.02)
    assert (found.mcc.low, found.mcc.high) == pytest.approx(tuple(np.quantile(mcc, [0.025, 0.975])), abs=0.02)


def test_bootstrap_of_tables_without_measure() -> None:
    found = bootstrap_table(Confusion(0, 0, 0, 5), replicates=100, rng=np.random.default_rng(1))
    assert (found.f1.value, found.mcc.value, found.f1.low, found.mcc.replicate_count) == (None, None, None, 0)
    rare = bootstrap_table(Confusion(1, 0, 0, 1), replicates=2000, rng=np.random.default_rng(1))
    assert rare.mcc.value == 1.0
    # Two patients of one kind are drawn half of the time.
    assert rare.mcc.replicate_count == pytest.approx(1000, abs=90)
