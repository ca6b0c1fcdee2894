from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from nodogram.stats.calibration import (
    Recalibration,
    brier_intervals,
    brier_score,
    calibration_line,
    observed_to_expected,
    recalibrate,
    scaled_brier_score,
)
from nodogram.stats.classification import Proportion


def grouped() -> tuple[np.ndarray, np.ndarray]:
    """Groups in which exactly the predicted share has the outcome."""
    probability = np.repeat([0.2, 0.5, 0.8], 10)
    outcome = np.concatenate([np.r_[np.ones(k), np.zeros(10 - k)] for k in (2, 5, 8)]).astype(np.int64)
    return outcome, probability


def test_perfect_calibration_has_slope_one_and_intercept_zero() -> None:
    outcome, probability = grouped()
    line = calibration_line(outcome, probability)
    assert line.slope == pytest.approx(1.0, abs=1e-9)
    assert line.intercept == pytest.approx(0.0, abs=1e-9)
    assert line.joint_intercept == pytest.approx(0.0, abs=1e-9)


def test_known_distortion_is_found() -> None:
    outcome, probability = grouped()
    line = calibration_line(outcome, expit(2.0 * logit(probability)))
    assert line.slope == pytest.approx(0.5, abs=1e-9)


def test_equals_statsmodels() -> None:
    rng = np.random.default_rng(3)
    probability = rng.uniform(0.05, 0.95, 200)
    outcome = (rng.random(200) < probability**1.3).astype(np.int64)
    line = calibration_line(outcome, probability)
    fit = sm.Logit(outcome, sm.add_constant(logit(probability))).fit(disp=0)
    low, high = fit.conf_int()[1]
    assert (line.slope, line.slope_low, line.slope_high) == pytest.approx((fit.params[1], low, high), rel=1e-5)
    low, high = fit.conf_int()[0]
    found = (line.joint_intercept, line.joint_intercept_low, line.joint_intercept_high)
    assert found == pytest.approx((fit.params[0], low, high), rel=1e-5)
    large = sm.GLM(outcome, np.ones(200), family=sm.families.Binomial(), offset=logit(probability)).fit()
    assert line.intercept == pytest.approx(large.params[0], abs=1e-8)
    assert line.intercept_low == pytest.approx(large.conf_int()[0][0], rel=1e-5)


def test_no_slope_where_none_exists() -> None:
    outcome = np.array([0, 0, 1, 1])
    assert calibration_line(outcome, np.full(4, 0.3)).slope is None
    assert calibration_line(outcome, np.array([0.1, 0.2, 0.8, 0.9])).slope is None


def test_brier_closed_forms() -> None:
    outcome, probability = grouped()
    assert brier_score(outcome, probability) == pytest.approx((0.16 + 0.25 + 0.16) / 3)
    assert scaled_brier_score(outcome, np.full(30, 0.5)) == pytest.approx(0.0)
    assert scaled_brier_score(outcome, outcome.astype(float)) == 1.0


def test_impossible_input_is_refused() -> None:
    with pytest.raises(ValueError, match="both at least once"):
        calibration_line(np.zeros(3, dtype=np.int64), np.array([0.1, 0.2, 0.3]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration_line(np.array([0, 1]), np.array([0.1, 1.2]))


def test_overestimated_risk_has_a_negative_intercept_in_closed_form() -> None:
    outcome = np.repeat([1, 0], [20, 80])
    line = calibration_line(outcome, np.full(100, 0.4))
    assert line.intercept == pytest.approx(logit(0.2) - logit(0.4), abs=1e-9)
    half = 1.959964 / np.sqrt(100 * 0.2 * 0.8)
    assert (line.intercept_low, line.intercept_high) == pytest.approx((line.intercept - half, line.intercept + half), abs=1e-6)


def test_quasi_separated_predictions_have_no_slope() -> None:
    assert calibration_line(np.array([0, 0, 1, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8, 0.9])).slope is None


def test_observed_to_expected_is_wilson_over_the_mean_prediction() -> None:
    outcome = np.repeat([1, 0], [20, 80])
    found = observed_to_expected(outcome, np.full(100, 0.4))
    share = Proportion.of(20, 100)
    assert share.low is not None
    assert share.high is not None
    assert (found.observed, found.expected, found.ratio) == (20, pytest.approx(40), pytest.approx(0.5))
    assert (found.low, found.high) == pytest.approx((share.low / 0.4, share.high / 0.4))


def test_without_events_or_expectation() -> None:
    none = observed_to_expected(np.zeros(10, dtype=np.int64), np.full(10, 0.5))
    assert (none.ratio, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(3.841459 / (10 + 3.841459) / 0.5, rel=1e-6)
    nothing = observed_to_expected(np.array([0, 1]), np.zeros(2))
    assert (nothing.ratio, nothing.low, nothing.high) == (None, None, None)


def test_brier_intervals_approach_the_normal_one() -> None:
    rng = np.random.default_rng(4)
    probability = rng.uniform(0.05, 0.95, 500)
    outcome = (rng.random(500) < probability).astype(np.int64)
    found = brier_intervals(outcome, probability, replicates=4000, rng=rng)
    assert found.brier.value == pytest.approx(brier_score(outcome, probability), abs=1e-15)
    assert found.scaled.value == pytest.approx(scaled_brier_score(outcome, probability), abs=1e-14)
    half = 1.96 * ((probability - outcome) ** 2).std() / np.sqrt(500)
    assert found.brier.value is not None
    assert (found.brier.low, found.brier.high) == pytest.approx(
        (found.brier.value - half, found.brier.value + half), abs=1.5e-3
    )
    assert found.scaled.low is not None
    assert found.scaled.high is not None
    assert found.scaled.low < found.scaled.value < found.scaled.high


def test_scaled_brier_of_one_outcome_is_not_defined() -> None:
    found = brier_intervals(np.zeros(5, dtype=np.int64), np.full(5, 0.2), replicates=50, rng=np.random.default_rng(0))
    assert found.brier.value == pytest.approx(0.04)
    assert (found.scaled.value, found.scaled.low, found.scaled.replicate_count) == (None, None, 0)


def test_recalibration_undoes_a_known_distortion() -> None:
    outcome, probability = grouped()
    shifted = recalibrate(outcome, expit(logit(probability) + 0.7), "intercept")
    assert shifted is not None
    assert (shifted.intercept, shifted.slope) == (pytest.approx(-0.7, abs=1e-9), 1.0)
    distorted = expit(2.0 * logit(probability) + 0.5)
    both = recalibrate(outcome, distorted, "intercept_and_slope")
    assert both is not None
    assert (both.intercept, both.slope) == pytest.approx((-0.25, 0.5), abs=1e-8)
    assert both.apply(distorted) == pytest.approx(probability, abs=1e-9)


def test_recalibrated_probabilities_are_calibrated_where_they_were_fitted() -> None:
    rng = np.random.default_rng(12)
    probability = rng.uniform(0.02, 0.98, 300)
    outcome = (rng.random(300) < 0.5 * probability).astype(np.int64)
    moved = recalibrate(outcome, probability)
    assert moved is not None
    assert moved.apply(probability).sum() == pytest.approx(outcome.sum(), abs=1e-6)
    stretched = recalibrate(outcome, probability, "intercept_and_slope")
    assert stretched is not None
    line = calibration_line(outcome, stretched.apply(probability))
    assert (line.slope, line.intercept, line.joint_intercept) == pytest.approx((1.0, 0.0, 0.0), abs=1e-6)


def test_recalibration_that_cannot_be_estimated() -> None:
    assert recalibrate(np.zeros(4, dtype=np.int64), np.full(4, 0.3)) is None
    separated = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert recalibrate(*separated, "intercept_and_slope") is None
    assert recalibrate(*separated, "intercept") is not None
    assert recalibrate(np.array([0, 1, 1]), np.full(3, 0.3), "intercept_and_slope") is None
    ends = Recalibration(0.0, 1.0).apply(np.array([0.0, 1.0]))
    assert ends == pytest.approx([1e-6, 1 - 1e-6])
