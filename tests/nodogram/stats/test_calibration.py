from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from nodogram.stats.calibration import brier_score, calibration_line, observed_to_expected, scaled_brier_score


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
