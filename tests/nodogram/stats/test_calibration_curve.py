from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from nodogram.stats.calibration_curve import (
    calibration_band,
    calibration_errors,
    grouped_calibration,
    smoothed_calibration,
)


def grouped() -> tuple[np.ndarray, np.ndarray]:
    """Groups in which exactly the predicted share has the outcome."""
    probability = np.repeat([0.2, 0.5, 0.8], 10)
    outcome = np.concatenate([np.r_[np.ones(k), np.zeros(10 - k)] for k in (2, 5, 8)]).astype(np.int64)
    return outcome, probability


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.05, 0.95, n)
    return (rng.random(n) < probability).astype(np.int64), probability


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
    assert smoothed_calibration(outcome, np.full(20, 0.5), point_count=2).observed == pytest.approx([0.45])


def test_no_distance_where_groups_are_calibrated() -> None:
    errors = calibration_errors(*grouped(), span=1 / 3)
    assert (errors.ici, errors.e50, errors.e90, errors.emax) == pytest.approx((0, 0, 0, 0), abs=1e-12)


def test_distances_by_hand() -> None:
    """Shares 0.3 and 0.6 where 0.2 and 0.8 were predicted: ten patients 0.1 off and ten 0.2."""
    probability, outcome = np.repeat([0.2, 0.8], 10), np.r_[np.repeat([1, 0], [3, 7]), np.repeat([1, 0], [6, 4])]
    errors = calibration_errors(outcome, probability, span=0.5)
    assert (errors.ici, errors.e50, errors.e90, errors.emax) == pytest.approx((0.15, 0.15, 0.2, 0.2))


def test_curve_between_its_points_equals_lowess_at_every_patient() -> None:
    outcome, probability = drawn(400, 1)
    smooth = sm.nonparametric.lowess(outcome.astype(float), probability, frac=2 / 3, it=0, return_sorted=False)
    distance = np.abs(np.clip(smooth, 0, 1) - probability)
    found = calibration_errors(outcome, probability)
    assert (found.ici, found.emax) == pytest.approx((distance.mean(), distance.max()), abs=2e-5)


def test_band_of_one_prediction_is_the_interval_of_its_share() -> None:
    outcome = np.repeat([1, 0], [80, 120])
    found = calibration_band(outcome, np.full(200, 0.3), replicates=4000, rng=np.random.default_rng(2))
    half = 1.96 * np.sqrt(0.4 * 0.6 / 200)
    assert (found.predicted.tolist(), found.observed.tolist()) == ([0.3], [pytest.approx(0.4)])
    assert (found.low[0], found.high[0]) == pytest.approx((0.4 - half, 0.4 + half), abs=0.008)


def test_band_equals_refitting_each_resample_with_the_same_reach() -> None:
    """Naive route: draw patients, fit the weighted line at one point with the weights the whole sample gave."""
    outcome, probability = drawn(60, 3)
    found = calibration_band(outcome, probability, replicates=300, rng=np.random.default_rng(9), point_count=5)
    levels, code = np.unique(probability, return_inverse=True)
    rows = np.random.default_rng(9).integers(0, 60, (300, 60))
    for i, x in enumerate(found.predicted):
        distance = np.abs(probability - x)
        weight = (1 - np.minimum(distance / np.sort(distance)[39], 1) ** 3) ** 3
        fits = []
        for draw in rows:
            root = np.sqrt(weight[draw])
            design = np.column_stack([np.ones(60), probability[draw] - x])
            fits.append(np.linalg.lstsq(design * root[:, None], outcome[draw] * root, rcond=None)[0][0])
        low, high = np.quantile(np.clip(fits, 0, 1), [0.025, 0.975])
        assert (found.low[i], found.high[i]) == pytest.approx((low, high), abs=1e-7)
    assert levels[code].tolist() == probability.tolist()


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_patients(n: int) -> None:
    outcome, probability = np.arange(n) % 2, np.linspace(0.2, 0.8, n)
    found = calibration_band(outcome, probability, replicates=50, rng=np.random.default_rng(0))
    for values in (found.observed, found.low, found.high):
        assert ((values >= 0) & (values <= 1)).all()
    assert np.isfinite(calibration_errors(outcome, probability).emax)
