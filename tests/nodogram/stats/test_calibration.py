from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from nodogram.stats.calibration import (
    brier_score,
    calibration_line,
    grouped_calibration,
    observed_to_expected,
    scaled_brier_score,
    smoothed_calibration,
)


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
    assert observed_to_expected(outcome, probability) == pytest.approx(1.0)


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


def test_groups_of_a_calibrated_prediction_lie_on_the_diagonal() -> None:
    outcome, probability = grouped()
    found = grouped_calibration(outcome, probability, group_count=3)
    assert found.predicted == pytest.approx([0.2, 0.5, 0.8])
    assert [(g.count, g.total) for g in found.observed] == [(2, 10), (5, 10), (8, 10)]


def test_equal_predictions_stay_in_one_group() -> None:
    probability = np.r_[np.full(50, 0.3), np.linspace(0.4, 0.9, 10)]
    outcome = (np.arange(60) % 3 == 0).astype(np.int64)
    found = grouped_calibration(outcome, probability, group_count=10)
    assert found.observed[0].total == 50
    assert sum(g.total for g in found.observed) == 60
    assert (np.diff(found.predicted) > 0).all()


def test_smooth_curve_equals_lowess_of_statsmodels() -> None:
    rng = np.random.default_rng(8)
    probability = rng.uniform(0.05, 0.95, 150)
    outcome = (rng.random(150) < probability).astype(np.int64)
    found = smoothed_calibration(outcome, probability, span=0.6, point_count=21)
    expected = sm.nonparametric.lowess(outcome.astype(float), probability, frac=0.6, it=0, xvals=found.predicted)
    assert found.observed == pytest.approx(np.clip(expected, 0, 1), abs=1e-6)


def test_smooth_curve_of_two_predictions_is_their_shares() -> None:
    probability, outcome = np.repeat([0.2, 0.8], 10), np.r_[np.repeat([1, 0], [3, 7]), np.repeat([1, 0], [6, 4])]
    found = smoothed_calibration(outcome, probability, point_count=2, span=0.5)
    assert found.observed == pytest.approx([0.3, 0.6])
    assert smoothed_calibration(outcome, np.full(20, 0.5), point_count=2).observed == pytest.approx([0.45, 0.45])
