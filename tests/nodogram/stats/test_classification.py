from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from nodogram.stats.classification import Confusion, Proportion, confusion, threshold_for_sensitivity, youden_threshold


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
