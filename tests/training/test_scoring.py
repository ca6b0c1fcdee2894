from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from training.recipe import Recipe, load_recipe
from training.scoring import calibrate, calibrated_logit

SOUND = load_recipe("sound")


def with_rule(rule: str) -> Recipe:
    return SOUND.model_copy(update={"fusion": SOUND.fusion.model_copy(update={"rule": rule})})


def simulate(n: int = 4000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outcome, a branch whose logit is twice too large, and a branch of noise."""
    rng = np.random.default_rng(0)
    linear = rng.normal(size=n)
    outcome = (rng.random(n) < expit(0.3 + linear)).astype(np.int64)
    return outcome, expit(2.0 * linear), expit(rng.normal(size=n))


def test_overconfidence_is_taken_back() -> None:
    outcome, good, _ = simulate()
    found = calibrate(good[:, None], outcome, SOUND)
    assert found.weights == (1.0,)
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.intercept == pytest.approx(0.3, abs=0.08)


def test_a_branch_of_noise_gets_next_to_no_weight_and_one_of_anti_signal_none() -> None:
    outcome, good, noise = simulate()
    stacked = calibrate(np.column_stack([good, noise]), outcome, SOUND)
    assert stacked.weights[0] > 0.9
    reversed_ = calibrate(np.column_stack([good, 1 - good]), outcome, SOUND)
    assert reversed_.weights == (1.0, 0.0)
    assert sum(stacked.weights) == pytest.approx(1.0)
    averaged = calibrate(np.column_stack([good, noise]), outcome, with_rule("decision"))
    assert averaged.weights == (0.5, 0.5)
    scores = [calibrated_logit(np.column_stack([good, noise]), c) for c in (stacked, averaged)]
    assert roc_auc_score(outcome, scores[0]) > roc_auc_score(outcome, scores[1])


def test_no_branch_better_than_chance_gives_the_prevalence() -> None:
    outcome, good, _ = simulate()
    found = calibrate((1 - good)[:, None], outcome, SOUND)
    assert found.slope == 0.0
    assert "no better than chance" in found.note
    assert expit(calibrated_logit(good[:, None], found)) == pytest.approx(outcome.mean())


def test_separated_scores_stay_finite() -> None:
    outcome = np.repeat([0, 1], 10)
    found = calibrate(np.repeat([0.01, 0.99], 10)[:, None], outcome, SOUND)
    assert 0 < found.slope < 5


def test_no_calibration_means_none() -> None:
    outcome, good, noise = simulate()
    paper = load_recipe("paper")
    found = calibrate(np.column_stack([good, noise]), outcome, paper)
    assert (found.weights, found.slope, found.intercept) == ((0.5, 0.5), 1.0, 0.0)
