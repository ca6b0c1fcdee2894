"""Recalibration: closed forms, a known truth recovered, and the price of fitting and judging on the same patients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from training.evidence.sample import CONSTANT_PREDICTION, ONE_OUTCOME, SEPARATED
from training.external.recalibration import (
    RecalibrationEvidence,
    UpdateEvidence,
    UpdateForm,
    recalibration_evidence,
    updated_probability,
)


def two_levels() -> tuple[np.ndarray, np.ndarray]:
    """40 patients at 0.2, of whom 12 have the outcome; 60 at 0.6, of whom 30 have it."""
    probability = np.repeat([0.2, 0.6], [40, 60])
    outcome = np.concatenate([np.repeat([1, 0], [12, 28]), np.repeat([1, 0], [30, 30])])
    return outcome.astype(np.int64), probability


def of(found: RecalibrationEvidence, form: UpdateForm) -> UpdateEvidence:
    return next(update for update in found.updates if update.form == form)


def test_two_predictions_give_a_line_through_two_points() -> None:
    outcome, probability = two_levels()
    found = of(recalibration_evidence(outcome, probability, 0.4, written="none"), "logistic")
    slope = (logit(0.5) - logit(0.3)) / (logit(0.6) - logit(0.2))
    assert found.slope.value == pytest.approx(slope, abs=1e-9)
    assert found.intercept.value == pytest.approx(logit(0.3) - slope * logit(0.2), abs=1e-9)
    updated = updated_probability(outcome, probability, "logistic")
    assert updated is not None
    assert updated == pytest.approx(np.repeat([0.3, 0.5], [40, 60]), abs=1e-9)
    assert found.brier == pytest.approx((40 * 0.3 * 0.7 + 60 * 0.25) / 100, abs=1e-9)
    assert found.scaled_brier == pytest.approx(1 - found.brier / (0.42 * 0.58), abs=1e-9)


def test_one_prediction_is_moved_to_the_observed_share() -> None:
    outcome = np.repeat([1, 0], [30, 70]).astype(np.int64)
    probability = np.full(100, 0.1)
    found = recalibration_evidence(outcome, probability, 0.2, written="logistic")
    assert [update.form for update in found.updates] == ["none", "intercept"]
    assert found.reason == CONSTANT_PREDICTION
    assert found.written == "none"
    assert of(found, "intercept").intercept.value == pytest.approx(logit(0.3) - logit(0.1), abs=1e-9)
    assert of(found, "intercept").observed_to_expected.value == pytest.approx(1, abs=1e-9)
    assert of(found, "none").observed_to_expected.value == pytest.approx(3)
    # At the threshold of 0.2 nobody was positive, and after the update everybody is.
    assert (of(found, "none").sensitivity.value, of(found, "intercept").sensitivity.value) == (0, 1)


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (0.8, 1.0), (-0.5, 0.6), (0.3, 1.7)])
def test_the_distortion_of_simulated_probabilities_is_found(intercept: float, slope: float) -> None:
    rng = np.random.default_rng(3)
    linear = rng.normal(size=6_000)
    outcome = (rng.random(6_000) < expit(intercept + slope * linear)).astype(np.int64)
    found = recalibration_evidence(outcome, expit(linear), 0.5, written="logistic", resamples=4)
    logistic = of(found, "logistic")
    assert found.written == "logistic"
    assert logistic.slope.value == pytest.approx(slope, abs=0.12)
    assert logistic.intercept.value == pytest.approx(intercept, abs=0.09)
    assert logistic.ici < 0.03
    if slope == 1.0:
        assert of(found, "intercept").intercept.value == pytest.approx(intercept, abs=0.09)
    else:
        assert logistic.brier < of(found, "none").brier


def test_the_corrected_brier_score_is_nearer_to_new_patients() -> None:
    rng = np.random.default_rng(8)
    apparent, corrected, new = [], [], []
    for seed in range(40):
        linear = rng.normal(size=(2, 60))
        outcome = (rng.random((2, 60)) < expit(linear)).astype(np.int64)
        found = of(
            recalibration_evidence(outcome[0], expit(linear[0]), 0.5, written="none", seed=seed, resamples=40), "logistic"
        )
        large = rng.normal(size=5000)
        truth = rng.random(5000) < expit(large)
        assert found.slope.value is not None
        assert found.intercept.value is not None
        assert found.brier_corrected is not None
        apparent.append(found.brier)
        corrected.append(found.brier_corrected)
        new.append(np.mean((expit(found.intercept.value + found.slope.value * large) - truth) ** 2))
    assert np.mean(apparent) < np.mean(corrected)
    assert abs(np.mean(corrected) - np.mean(new)) < abs(np.mean(apparent) - np.mean(new))


def test_what_cannot_be_estimated_says_why() -> None:
    probability = np.linspace(0.1, 0.9, 20)
    one = recalibration_evidence(np.ones(20, dtype=np.int64), probability, 0.5, written="intercept")
    assert (one.updates, one.reason, one.written) == ((), ONE_OUTCOME, "none")
    separated = recalibration_evidence((probability > 0.5).astype(np.int64), probability, 0.5, written="logistic")
    assert (separated.reason, separated.written) == (SEPARATED, "none")
    assert updated_probability(np.ones(20, dtype=np.int64), probability, "intercept") is None
    assert updated_probability((probability > 0.5).astype(np.int64), probability, "none") is None
