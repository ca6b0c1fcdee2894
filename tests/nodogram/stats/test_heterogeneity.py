"""Cochran's Q against the BCG trials as analyzed by R package metafor, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from nodogram.stats.heterogeneity import cochran_q

# Colditz et al. 1994, doi:10.1001/jama.1994.03510330076038: vaccinated with and without tuberculosis, then controls.
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    dtype=np.float64,
)


def test_bcg_trials_as_printed_by_metafor() -> None:
    """``rma(measure="RR", data=dat.bcg, method="EE")``: pooled -0.4303, Q(df = 12) = 152.2330, I² = 92.12 %."""
    a, b, c, d = BCG.T
    log_ratio = np.log(a / (a + b)) - np.log(c / (c + d))
    error = np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))
    found = cochran_q(log_ratio, error)
    assert found.pooled == pytest.approx(-0.4303, abs=5e-5)
    assert found.statistic == pytest.approx(152.2330, abs=5e-5)
    assert found.degrees_of_freedom == 12
    assert 100 * found.i_squared == pytest.approx(92.12, abs=5e-3)
    assert found.p < 1e-4


def test_two_groups_by_hand() -> None:
    """Q of two groups is the squared z of their difference."""
    found = cochran_q(np.array([1.0, 0.2]), np.array([0.3, 0.4]))
    assert found.statistic == pytest.approx((0.8 / 0.5) ** 2)
    assert found.p == pytest.approx(chi2.sf(2.56, 1))
    assert found.i_squared == pytest.approx(1 - 1 / 2.56)


def test_equal_groups_do_not_differ() -> None:
    found = cochran_q(np.array([0.7, 0.7, 0.7]), np.array([0.1, 0.2, 0.3]))
    assert found.statistic == pytest.approx(0.0, abs=1e-20)
    assert found.p == pytest.approx(1.0)
    assert found.i_squared == 0.0


def test_p_is_uniform_where_groups_are_alike() -> None:
    rng = np.random.default_rng(1)
    error = np.array([0.2, 0.5, 0.3])
    p = [cochran_q(rng.normal(0.4, error), error).p for _ in range(600)]
    assert kstest(p, "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    ("estimate", "error"),
    [([0.1], [0.1]), ([0.1, 0.2], [0.1, 0.0]), ([0.1, np.inf], [0.1, 0.1]), ([0.1, 0.2], [0.1, 0.1, 0.1])],
)
def test_what_cannot_be_tested_is_refused(estimate: list[float], error: list[float]) -> None:
    with pytest.raises(ValueError, match=r"two groups each|must be finite"):
        cochran_q(np.array(estimate), np.array(error))
