"""Population stability: by hand, against what chance does, and against the server's monitor."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import chi2

from nodogram.bundle import PredictorReference
from serving.drift import Bins as ServerBins
from serving.drift import smoothed, stability_index
from training.external.stability import Bins, chance_stability, population_stability


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
    "reference",
    [
        PredictorReference(predictor="age", deciles=(1.0, 2.0, 2.0, 2.0, 5.0, 6.0, 7.0, 8.0, 8.0)),
        PredictorReference(predictor="site", levels=("a", "b", "c"), shares=(0.2, 0.3, 0.5)),
    ],
)
def test_the_server_counts_and_measures_the_same(reference: PredictorReference) -> None:
    own, server = Bins.of(reference), ServerBins.of(reference)
    assert (own.edges, own.levels, own.shares) == (server.edges, server.levels, server.shares)
    values: list[float | str] = ["a", "b", "c", "c", "d"] if reference.levels else [0.0, 1.0, 2.0, 2.5, 8.0, 9.0]
    expected = [0] * len(server.shares)
    for value in values:
        place = server.index(value)
        if place is not None:
            expected[place] += 1
    counts = own.counts(values)
    assert counts == tuple(expected)
    total = sum(counts)
    by_server = stability_index(smoothed(counts), smoothed([share * total for share in server.shares]))
    assert population_stability(counts, own.shares) == pytest.approx(by_server, rel=1e-12)
