"""Spearman's rho against scipy, its interval by hand and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from nodogram.stats.rank_correlation import spearman_interval


def test_rho_agrees_with_scipy_and_the_interval_with_its_formula() -> None:
    rng = np.random.default_rng(0)
    first = np.round(rng.normal(size=40), 1)
    second = np.round(first + rng.normal(size=40), 1)  # with ties
    found = spearman_interval(first, second)
    rho = float(spearmanr(first, second).statistic)
    assert found.rho == pytest.approx(rho, abs=1e-12)
    half = 1.959963985 * np.sqrt((1 + rho**2 / 2) / 37)
    z = 0.5 * np.log((1 + rho) / (1 - rho))
    bounds = [(np.exp(2 * v) - 1) / (np.exp(2 * v) + 1) for v in (z - half, z + half)]
    assert (found.low, found.high) == pytest.approx(bounds, abs=1e-9)


def test_the_interval_covers() -> None:
    """Normal pairs with correlation 0.6, whose rank correlation is 6/π asin(0.3)."""
    rng = np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(0.3)
    covered = 0
    for _ in range(1500):
        first = rng.normal(size=50)
        found = spearman_interval(first, 0.6 * first + 0.8 * rng.normal(size=50))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 1500 <= 0.97


def test_what_has_no_correlation_has_none() -> None:
    line = np.arange(10.0)
    assert spearman_interval(line, np.zeros(10)).rho is None
    assert spearman_interval(line[:3], line[:3]).rho is None
    whole = spearman_interval(line, -(line**3))
    assert whole.rho == pytest.approx(-1.0)
    assert (whole.low, whole.high) == (None, None)
    with pytest.raises(ValueError, match="two finite quantities"):
        spearman_interval(line, line[:5])
