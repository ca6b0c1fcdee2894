from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from nodogram.stats.discrimination import (
    auc,
    auc_bootstrap_interval,
    auc_interval,
    auprc_interval,
    bootstrap_aucs,
    compare_aucs_paired,
    partial_auc,
    roc_curve,
)


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


@pytest.mark.parametrize("ties", [True, False])
def test_resampled_aucs_equal_ranking_every_resample(ties: bool) -> None:
    outcome, score, _ = draw(11, n=90, ties=ties)
    found = bootstrap_aucs(outcome, score, replicates=150, rng=np.random.default_rng(5))
    assert found.variance is not None
    rng = np.random.default_rng(5)
    rows = [
        members[rng.integers(0, members.size, (150, members.size))] for members in map(np.flatnonzero, (outcome, 1 - outcome))
    ]
    for i in range(150):
        drawn = np.concatenate([part[i] for part in rows])
        naive = auc_interval(outcome[drawn], score[drawn], "delong")
        assert found.auc[i] == pytest.approx(naive.auc, abs=1e-12)
        assert found.variance[i] == pytest.approx(naive.standard_error**2, abs=1e-12)


def test_resampled_aucs_in_parts_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, score, _ = draw(2, n=50)
    monkeypatch.setattr("nodogram.stats.resampling.CELLS_AT_ONCE", 320)
    found = bootstrap_aucs(outcome, score, replicates=400, rng=np.random.default_rng(1))
    assert found.variance is not None
    assert (found.auc.shape, found.variance.shape) == ((400,), (400,))
    assert found.auc.mean() == pytest.approx(auc(outcome, score), abs=4 * found.auc.std() / 20)


def test_bootstrap_agrees_with_delong_in_a_large_sample() -> None:
    outcome, score, _ = draw(4, n=800, ties=False)
    plain = auc_interval(outcome, score, "delong")
    found = auc_bootstrap_interval(outcome, score, replicates=4000, rng=np.random.default_rng(1))
    assert found.value == plain.auc
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.003)


def test_no_variance_from_a_single_patient() -> None:
    outcome, score = np.array([1, 0, 0, 0]), np.array([0.5, 0.1, 0.6, 0.2])
    found = bootstrap_aucs(outcome, score, replicates=20, rng=np.random.default_rng(1))
    assert found.variance is None
    assert set(np.round(3 * found.auc, 9)) <= {0.0, 1.0, 2.0, 3.0}


@given(seed=st.integers(0, 10_000))
def test_average_precision_equals_scikit_learn(seed: int) -> None:
    outcome, score, _ = draw(seed)
    found = auprc_interval(outcome, score)
    assert found.auprc == pytest.approx(average_precision_score(outcome, score), abs=1e-12)
    assert found.prevalence == outcome.mean()
    assert 0 <= found.low <= found.auprc <= found.high <= 1


def test_logit_interval_of_average_precision_by_hand() -> None:
    """Ranks 1 and 3 of five: (1/1 + 2/3) / 2 = 5/6; standard error of its logit 1 / sqrt(2 * 5/6 * 1/6)."""
    found = auprc_interval(np.array([1, 0, 1, 0, 0]), np.array([5.0, 4, 3, 2, 1]))
    assert found.auprc == pytest.approx(5 / 6)
    odds = 5 * np.exp(np.array([-1, 1]) * 1.959964 / np.sqrt(2 * 5 / 36))
    assert (found.low, found.high) == pytest.approx(tuple(odds / (1 + odds)), rel=1e-6)


def test_average_precision_at_its_ends() -> None:
    outcome = np.repeat([0, 1], [30, 20])
    perfect = auprc_interval(outcome, outcome.astype(float))
    assert (perfect.auprc, perfect.low, perfect.high) == (1.0, pytest.approx(0.025 ** (1 / 20)), 1.0)
    assert auprc_interval(outcome, np.zeros(50)).auprc == perfect.prevalence == 0.4


@given(seed=st.integers(0, 10_000), sensitivity=st.sampled_from([0.6, 0.9, 0.95]))
def test_zone_of_sensitivity_is_the_zone_of_specificity_of_the_reversed_score(seed: int, sensitivity: float) -> None:
    outcome, score, _ = draw(seed)
    found = partial_auc(outcome, score, replicates=1, rng=np.random.default_rng(0), sensitivity=(sensitivity, 1.0))
    assert found.standardized == pytest.approx(roc_auc_score(1 - outcome, -score, max_fpr=1 - sensitivity), abs=1e-12)


@pytest.mark.parametrize(("score", "expected"), [(np.repeat([0.0, 1.0], 20), 1.0), (np.zeros(40), 0.5)])
def test_standardized_partial_auc_is_1_if_perfect_and_half_by_chance(score: np.ndarray, expected: float) -> None:
    found = partial_auc(np.repeat([0, 1], 20), score, replicates=50, rng=np.random.default_rng(0))
    assert (found.low, found.standardized, found.high) == pytest.approx((expected, expected, expected), abs=1e-12)


def test_partial_auc_by_hand() -> None:
    """Sensitivity 0.5 is reached at specificity 1, and 1 at specificity 0.5: the area over 0.5 to 1 is 0.25."""
    found = partial_auc(
        np.array([1, 0, 1, 0]),
        np.array([4.0, 3.0, 2.0, 1.0]),
        replicates=10,
        rng=np.random.default_rng(0),
        sensitivity=(0.5, 1.0),
    )
    assert found.area == pytest.approx(0.25)
    assert found.standardized == pytest.approx((1 + (0.25 - 0.125) / (0.5 - 0.125)) / 2)
    with pytest.raises(ValueError, match="must rise"):
        partial_auc(np.array([1, 0]), np.array([0.1, 0.2]), replicates=1, rng=np.random.default_rng(0), sensitivity=(1.0, 0.9))


def test_interval_of_the_partial_auc_from_resamples_ranked_one_by_one() -> None:
    outcome, score, _ = draw(21, n=70)
    found = partial_auc(outcome, score, replicates=200, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    rows = [
        members[rng.integers(0, members.size, (200, members.size))] for members in map(np.flatnonzero, (outcome, 1 - outcome))
    ]
    values = []
    for i in range(200):
        drawn = np.concatenate([part[i] for part in rows])
        standardized = roc_auc_score(1 - outcome[drawn], -score[drawn], max_fpr=1 - 0.9)
        values.append((0.005 + (2 * standardized - 1) * 0.095) / 0.1)
    negatives, positives = int((1 - outcome).sum()), int(outcome.sum())
    least = 1 / (2 * negatives * np.ceil(0.1 * positives))
    high, low = np.quantile(logit(np.clip(values, least, 1 - least)), [0.975, 0.025])
    bounds = 0.1 * expit(2 * logit(found.area / 0.1) - np.array([high, low]))
    assert (found.low, found.high) == pytest.approx(tuple((1 + (bounds - 0.005) / 0.095) / 2), rel=1e-9)


def test_interval_of_the_partial_auc_covers() -> None:
    """Binormal scores, 235 patients: the true area between sensitivities 0.9 and 1 by integration of the known curve.

    Counted over 1,500 samples: 93 % here, 91 % of 71 patients; percentile intervals 91 % and 83 %.
    """
    at = np.linspace(0.9, 1, 20_001)[1:-1]
    truth = (1 + (np.trapezoid(norm.cdf(norm.ppf(1 - at) + 1.5), at) - 0.005) / 0.095) / 2
    rng = np.random.default_rng(7)
    outcome = np.repeat([1, 0], [100, 135])
    hits = 0
    for _ in range(200):
        found = partial_auc(outcome, rng.normal(size=235) + 1.5 * outcome, replicates=200, rng=rng)
        hits += found.low <= truth <= found.high
    assert 175 <= hits <= 198
