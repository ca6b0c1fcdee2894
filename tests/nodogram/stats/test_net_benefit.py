from __future__ import annotations

import numpy as np
import pytest

from nodogram.stats.net_benefit import decision_curve


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
