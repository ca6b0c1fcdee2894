from __future__ import annotations

import numpy as np
import pytest

from nodogram.stats.net_benefit import (
    ELECTIVE_NECK_DISSECTION,
    TABLE_THRESHOLDS,
    ThresholdRange,
    decision_bands,
    decision_curve,
    per_hundred,
)


def test_by_hand() -> None:
    outcome = np.array([1, 1, 0, 0, 0])
    probability = np.array([0.9, 0.4, 0.6, 0.2, 0.1])
    curve = decision_curve(outcome, probability, np.array([0.2, 0.5]))
    # t = 0.2: all but one treated, 2 true and 2 false positives; t = 0.5: 1 true and 1 false positive
    assert curve.model == pytest.approx([2 / 5 - 2 / 5 * 0.25, 1 / 5 - 1 / 5])
    assert curve.treat_all == pytest.approx([2 / 5 - 3 / 5 * 0.25, 2 / 5 - 3 / 5])


def test_a_perfect_model_gains_the_prevalence_everywhere() -> None:
    outcome = np.array([1, 0, 0, 1])
    curve = decision_curve(outcome, outcome.astype(float), np.linspace(0.05, 0.95, 10))
    assert curve.model == pytest.approx(0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        decision_curve(outcome, outcome.astype(float), np.array([1.0]))


def test_interventions_avoided_by_hand() -> None:
    """t = 0.5: 2 of 5 treated; net benefit 0 against -0.2 for all: 20 fewer interventions per 100 at equal metastases."""
    outcome, probability = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.4, 0.6, 0.2, 0.1])
    assert decision_curve(outcome, probability, np.array([0.5])).interventions_avoided == pytest.approx([20.0])
    # Nobody with the outcome below 0.2: all who are not treated are avoided, 1 of 5.
    assert decision_curve(outcome, probability, np.array([0.15])).interventions_avoided == pytest.approx([20.0])


def test_band_approaches_the_normal_one() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random(600)
    outcome = (rng.random(600) < probability).astype(np.int64)
    threshold = np.array([0.1, 0.2, 0.4])
    found = decision_bands(outcome, probability, threshold, replicates=4000, rng=rng, other=np.full(600, 0.3))
    odds = threshold / (1 - threshold)
    worth = np.where(probability[:, None] >= threshold, outcome[:, None] - (1 - outcome[:, None]) * odds, 0)
    half = 1.96 * worth.std(axis=0) / np.sqrt(600)
    assert found.model.value == pytest.approx(decision_curve(outcome, probability, threshold).model)
    assert found.model.low == pytest.approx(found.model.value - half, abs=0.004)
    assert found.model.high == pytest.approx(found.model.value + half, abs=0.004)
    assert found.difference is not None
    constant = decision_curve(outcome, np.full(600, 0.3), threshold).model
    assert found.difference.value == pytest.approx(found.model.value - constant)
    avoided = decision_curve(outcome, probability, threshold).interventions_avoided
    assert found.interventions_avoided.value == pytest.approx(avoided)


def test_difference_to_itself_is_nil() -> None:
    outcome, probability = np.array([0, 1, 1]), np.array([0.2, 0.4, 0.9])
    found = decision_bands(
        outcome, probability, np.array([0.3]), replicates=20, rng=np.random.default_rng(0), other=probability
    )
    assert found.difference is not None
    assert (found.difference.low, found.difference.high) == ([0.0], [0.0])
    assert decision_bands(outcome, probability, np.array([0.3]), replicates=5, rng=np.random.default_rng(0)).difference is None


def test_per_hundred_by_hand() -> None:
    probability = np.array([0.05, 0.12, 0.12, 0.17, 0.25, 0.25, 0.6, 0.7, 0.8, 0.9])
    outcome = np.array([0, 0, 1, 0, 0, 1, 1, 1, 0, 1])
    rows = per_hundred(outcome, probability)
    assert tuple(row.threshold for row in rows) == TABLE_THRESHOLDS
    assert [row.avoided.count for row in rows] == [1, 3, 4, 6]
    assert [row.missed.count for row in rows] == [0, 1, 1, 2]
    assert [row.avoided_rightly.count for row in rows] == [1, 2, 3, 4]
    assert {row.missed.total for row in rows} == {10}
    # At the threshold itself a patient is treated.
    assert per_hundred(outcome, probability, (0.25,))[0].avoided.count == 4


def test_range_includes_its_ends_and_the_table() -> None:
    grid = ELECTIVE_NECK_DISSECTION.grid()
    assert (grid[0], grid[-1], grid.size) == (0.05, 0.5, 46)
    assert set(TABLE_THRESHOLDS) <= set(grid.tolist())
    assert ThresholdRange(0.1, 0.3, "").grid(0.1).tolist() == [0.1, 0.2, 0.3]
    assert "Weiss" in ELECTIVE_NECK_DISSECTION.reason
