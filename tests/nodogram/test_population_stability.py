"""Population stability: by hand, and against what chance does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from nodogram.bundle import PredictorReference
from nodogram.stability import Bins, chance_stability, population_stability


def test_two_levels_by_hand() -> None:
    observed, expected = (30.5 / 101, 70.5 / 101), (50.5 / 101, 50.5 / 101)
    index = sum((p - q) * math.log(p / q) for p, q in zip(observed, expected, strict=True))
    assert population_stability((30, 70), (0.5, 0.5)) == pytest.approx(index, rel=1e-12)
    assert population_stability((50, 50), (0.5, 0.5)) == 0


def test_chance_exceeds_its_limit_once_in_a_hundred() -> None:
    rng = np.random.default_rng(11)
    shares = np.full(10, 0.1)
    development, here = 400, 300
    limit = chance_stability(10, here, development)
    assert limit == pytest.approx(21.666 * (1 / 300 + 1 / 400), rel=1e-4)
    assert chi2.ppf(0.99, 9) == pytest.approx(21.666, rel=1e-4)
    exceeded = [
        population_stability(tuple(rng.multinomial(here, shares)), rng.multinomial(development, shares) / development) > limit
        for _ in range(4000)
    ]
    assert 0.005 < np.mean(exceeded) < 0.017


@pytest.mark.parametrize(
    ("reference", "values", "counts"),
    [
        # The decile 2 is one edge for three ranks, and a value on an edge belongs to the bin below it.
        (
            PredictorReference(predictor="age", deciles=(1.0, 2.0, 2.0, 2.0, 5.0, 6.0, 7.0, 8.0, 8.0)),
            (0.0, 1.0, 2.0, 2.5, 8.0, 9.0),
            (2, 1, 1, 0, 0, 1, 1),
        ),
        (
            PredictorReference(predictor="site", levels=("a", "b", "c"), shares=(0.2, 0.3, 0.5)),
            ("a", "b", "c", "c", "d"),
            (1, 1, 2),
        ),
    ],
)
def test_values_are_counted_in_the_bins_of_development(
    reference: PredictorReference, values: tuple[float | str, ...], counts: tuple[int, ...]
) -> None:
    bins = Bins.of(reference)
    assert bins.counts(values) == counts
    assert sum(bins.shares) == pytest.approx(1)
