from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.special import expit

from nodogram.stats.logistic import LikelihoodMaximum, log_likelihood, maximize_likelihood


def simulate(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = np.column_stack([np.ones(n), rng.normal(size=n), rng.integers(0, 2, n)])
    return design, (rng.random(n) < expit(design @ [-0.3, 1.0, 0.7])).astype(np.int64)


def reached(maximum: LikelihoodMaximum | None) -> LikelihoodMaximum:
    assert maximum is not None
    return maximum


@given(seed=st.integers(0, 500), penalty=st.sampled_from(["none", "jeffreys"]), held=st.floats(-3, 3))
def test_gradient_vanishes_where_coefficients_are_free(seed: int, penalty: str, held: float) -> None:
    design, outcome = simulate(seed)
    free = np.array([True, True, False])
    found = reached(maximize_likelihood(design, outcome, penalty=penalty, start=np.array([0.0, 0.0, held]), free=free))
    gradient = approx_fprime(found.beta, lambda b: log_likelihood(design, outcome, b, penalty), 1e-7)
    assert found.beta[2] == held
    assert np.abs(gradient[free]).max() < 1e-3
    assert found.covariance.shape == (2, 2)


def test_two_by_two_table_in_closed_form() -> None:
    a, b, c, d = 12, 5, 7, 20
    design = np.column_stack([np.ones(44), np.repeat([1.0, 1.0, 0.0, 0.0], [a, b, c, d])])
    outcome = np.repeat([1, 0, 1, 0], [a, b, c, d])
    found = reached(maximize_likelihood(design, outcome))
    assert found.beta == pytest.approx([np.log(c / d), np.log(a * d / (b * c))])
    assert found.covariance[1, 1] == pytest.approx(1 / a + 1 / b + 1 / c + 1 / d)
    penalized = reached(maximize_likelihood(design, outcome, penalty="jeffreys"))
    assert penalized.beta[1] == pytest.approx(np.log((a + 0.5) * (d + 0.5) / ((b + 0.5) * (c + 0.5))), abs=1e-6)


def test_maximum_far_from_the_start_is_reached() -> None:
    """Held 60 standard errors away, the free coefficients must follow; a search that stops early shows here."""
    design, outcome = simulate(1)
    far = reached(
        maximize_likelihood(
            design, outcome, penalty="jeffreys", start=np.array([0.0, 0.0, -15.0]), free=np.array([True, True, False])
        )
    )
    near = reached(
        maximize_likelihood(
            design, outcome, penalty="jeffreys", start=far.beta + np.array([0.1, 0.1, 0.0]), free=np.array([True, True, False])
        )
    )
    assert far.log_likelihood == pytest.approx(near.log_likelihood, abs=1e-8)
