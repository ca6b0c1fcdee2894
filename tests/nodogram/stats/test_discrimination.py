from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodogram.stats.discrimination import auc, auc_interval, compare_aucs_paired, roc_curve


def draw(seed: int, n: int = 60, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    outcome = np.r_[1, 0, rng.integers(0, 2, n - 2)]
    first = rng.normal(size=n) + outcome
    second = rng.normal(size=n) + 0.5 * outcome
    return outcome, np.round(first, 1) if ties else first, np.round(second, 1) if ties else second


def delong_by_definition(outcome: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairwise kernel and its covariance, written as in the 1988 paper: slow and obvious."""
    positive, negative = scores[:, outcome == 1], scores[:, outcome == 0]
    kernel = (positive[:, :, None] > negative[:, None, :]) + 0.5 * (positive[:, :, None] == negative[:, None, :])
    m, n = positive.shape[1], negative.shape[1]
    s10, s01 = np.cov(kernel.mean(axis=2)), np.cov(kernel.mean(axis=1))
    return kernel.mean(axis=(1, 2)), s10 / m + s01 / n


@given(seed=st.integers(0, 10_000))
def test_midranks_equal_the_definition(seed: int) -> None:
    outcome, first, second = draw(seed)
    if min(outcome.sum(), (1 - outcome).sum()) < 2:
        return
    areas, covariance = delong_by_definition(outcome, np.stack([first, second]))
    estimate = auc_interval(outcome, first, "delong")
    assert estimate.auc == pytest.approx(areas[0], abs=1e-12)
    assert estimate.standard_error**2 == pytest.approx(covariance[0, 0], abs=1e-12)
    comparison = compare_aucs_paired(outcome, first, second)
    assert comparison.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert comparison.z == pytest.approx((areas[0] - areas[1]) / np.sqrt(variance), rel=1e-9)


@given(seed=st.integers(0, 10_000))
def test_area_under_the_drawn_curve_is_the_auc(seed: int) -> None:
    outcome, score, _ = draw(seed)
    curve = roc_curve(outcome, score)
    assert np.trapezoid(curve.true_positive_rate, curve.false_positive_rate) == pytest.approx(auc(outcome, score), abs=1e-12)
    assert (curve.false_positive_rate[-1], curve.true_positive_rate[-1]) == (1.0, 1.0)


def test_limits() -> None:
    outcome = np.array([0] * 10 + [1] * 20)
    perfect = auc_interval(outcome, outcome.astype(float))
    # Exact one-sided bound of 10 out of 10 at 2.5 %: 0.025 ** (1 / 10)
    assert (perfect.auc, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(0.025**0.1)
    reversed_ = auc_interval(outcome, -outcome.astype(float))
    assert (reversed_.low, reversed_.auc, reversed_.high) == pytest.approx((0.0, 0.0, 1 - 0.025**0.1))
    constant = auc_interval(outcome, np.zeros(30))
    assert (constant.auc, constant.low, constant.high) == (0.5, 0.5, 0.5)
    same = compare_aucs_paired(outcome, np.zeros(30), np.zeros(30))
    assert (same.z, same.p) == (0.0, 1.0)


def test_logit_interval_stays_inside_and_contains_the_plain_one_at_the_low_side() -> None:
    outcome, score, _ = draw(3, n=30)
    score = score + 2.0 * outcome
    plain, logit_scale = auc_interval(outcome, score, "delong"), auc_interval(outcome, score, "delong_logit")
    assert 0 < logit_scale.low < plain.low < plain.auc < logit_scale.high < 1


@pytest.mark.parametrize("bad", [[0, 0, 0], [0, 1, 2]])
def test_one_class_is_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="both at least once"):
        auc(np.array(bad), np.array([0.1, 0.2, 0.3]))


def test_a_single_patient_of_a_class_leaves_the_interval_open() -> None:
    estimate = auc_interval(np.array([1, 0, 0, 0]), np.array([0.5, 0.1, 0.6, 0.2]))
    assert (estimate.auc, estimate.low, estimate.high) == (pytest.approx(2 / 3), 0.0, 1.0)
    assert np.isnan(estimate.standard_error)
    comparison = compare_aucs_paired(np.array([1, 0, 0]), np.array([0.5, 0.1, 0.6]), np.array([0.7, 0.1, 0.6]))
    assert (comparison.difference, comparison.low, comparison.high, comparison.p) == (-0.5, -1.0, 1.0, 1.0)


@given(seed=st.integers(0, 10_000), slope=st.floats(0.1, 10), offset=st.floats(-5, 5))
def test_only_the_order_of_scores_counts(seed: int, slope: float, offset: float) -> None:
    outcome, score, other = draw(seed)
    stretched = np.exp(slope * np.searchsorted(np.unique(score), score) / 30 + offset)
    assert auc_interval(outcome, stretched) == auc_interval(outcome, score)
    assert auc(outcome, -score) == pytest.approx(1 - auc(outcome, score), abs=1e-12)
    forward, backward = compare_aucs_paired(outcome, score, other), compare_aucs_paired(outcome, other, score)
    assert (forward.difference, forward.p) == (pytest.approx(-backward.difference), pytest.approx(backward.p))
