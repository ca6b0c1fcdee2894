"""Likelihood ratio and adequacy against statsmodels and logistf; scaled Brier score against its parts."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.stats import chi2

from nodogram.stats.calibration import scaled_brier_score
from nodogram.stats.incremental import likelihood_ratio_test, scaled_brier_difference
from training.logistic import fit_logistic

GOLDEN = Path(__file__).parents[2] / "golden"


def columns(file: str) -> dict[str, np.ndarray]:
    with (GOLDEN / file).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


@pytest.fixture(scope="module")
def births() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    found = columns("birthwt.csv")
    base = np.column_stack([found["age"], found["lwt"], found["race"] == 2, found["race"] == 3]).astype(np.float64)
    added = np.column_stack([found["smoke"], found["ht"]])
    return base, added, found["low"].astype(np.int64)


def test_birth_weight_against_statsmodels(births: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    base, added, outcome = births
    fits = [sm.Logit(outcome, sm.add_constant(X)).fit(disp=0) for X in (base, np.column_stack([base, added]))]
    found = likelihood_ratio_test(base, added, outcome)
    assert found is not None
    assert found.base_statistic == pytest.approx(fits[0].llr, abs=1e-7)
    assert found.full_statistic == pytest.approx(fits[1].llr, abs=1e-7)
    assert found.statistic == pytest.approx(2 * (fits[1].llf - fits[0].llf), abs=1e-7)
    assert found.degrees_of_freedom == 2
    assert found.p == pytest.approx(chi2.sf(found.statistic, 2))
    assert found.adequacy == pytest.approx(fits[0].llr / fits[1].llr, abs=1e-9)


def test_without_a_base_the_whole_model_is_tested(births: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    _, added, outcome = births
    found = likelihood_ratio_test(np.empty((outcome.size, 0)), added, outcome)
    assert found is not None
    assert found.statistic == pytest.approx(sm.Logit(outcome, sm.add_constant(added)).fit(disp=0).llr, abs=1e-7)
    assert (found.base_statistic, found.adequacy) == (0.0, 0.0)


def test_columns_that_follow_from_others_cost_no_degree_of_freedom(births: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    base, added, outcome = births
    plain = likelihood_ratio_test(base, added, outcome)
    doubled = likelihood_ratio_test(
        np.column_stack([base, np.full(outcome.size, 0.1)]), np.column_stack([added, added @ [2.0, -1.0] + base[:, 0]]), outcome
    )
    assert plain is not None
    assert doubled is not None
    assert doubled.degrees_of_freedom == 2
    assert doubled.statistic == pytest.approx(plain.statistic, abs=1e-6)
    assert likelihood_ratio_test(base, 3 * base[:, [1]] - 7, outcome) is None


def test_penalized_tests_as_printed_by_logistf() -> None:
    """Endometrial cancer, where NV separates: chi-squared of each column, and of all (``Likelihood ratio test=43.65582``)."""
    found = columns("endometrial.csv")
    outcome = found["HG"].astype(np.int64)
    X = np.column_stack([found["NV"], found["PI"], found["EH"]])
    profile = fit_logistic(X, ("NV", "PI", "EH"), outcome, interval="profile", separation="firth")
    printed = ((6.7985, 9.1237e-3), (0.7468285, 3.874822e-01), (17.75932, 2.506867e-05))
    for j, (statistic, p) in enumerate(printed):
        others = [i for i in range(3) if i != j]
        test = likelihood_ratio_test(X[:, others], X[:, [j]], outcome, penalty="jeffreys")
        assert test is not None
        assert (test.statistic, test.p) == pytest.approx((statistic, p), rel=1e-5)
        assert test.p == pytest.approx(profile.p_value[j], abs=1e-6)
        assert test.full_statistic == pytest.approx(43.65582, abs=5e-6)
        assert test.base_statistic + test.statistic == pytest.approx(test.full_statistic)
    whole = likelihood_ratio_test(np.empty((outcome.size, 0)), X, outcome, penalty="jeffreys")
    assert whole is not None
    assert whole.degrees_of_freedom == 3
    assert whole.p == pytest.approx(1.78586e-09, rel=1e-5)


def test_one_outcome_is_refused() -> None:
    with pytest.raises(ValueError, match="both at least once"):
        likelihood_ratio_test(np.zeros((4, 0)), np.arange(4.0)[:, None], np.zeros(4, dtype=np.int64))


def test_scaled_brier_difference_is_that_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(150)
    outcome = (rng.random(150) < truth).astype(np.int64)
    flat = np.full(150, 0.5)
    found = scaled_brier_difference(outcome, truth, flat, replicates=500, rng=np.random.default_rng(1))
    assert found.value == pytest.approx(scaled_brier_score(outcome, truth) - scaled_brier_score(outcome, flat))
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.value < found.high  # type: ignore[operator]
    turned = scaled_brier_difference(outcome, flat, truth, replicates=500, rng=np.random.default_rng(1))
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    one = scaled_brier_difference(np.ones(5, dtype=np.int64), flat[:5], flat[:5], replicates=10, rng=np.random.default_rng(1))
    assert (one.value, one.low) == (None, None)
