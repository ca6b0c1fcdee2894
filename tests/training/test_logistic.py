from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from nodogram.errors import Reason, TrainingError
from training.logistic import fit_logistic, is_separated


def simulate(seed: int, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    design = np.column_stack([rng.normal(size=n), rng.integers(0, 2, n)])
    outcome = (rng.random(n) < expit(-0.3 + 0.8 * design[:, 0] + 0.9 * design[:, 1])).astype(np.int64)
    return design, outcome


def test_wald_table_equals_statsmodels() -> None:
    design, outcome = simulate(1)
    found = fit_logistic(design, ("a", "b"), outcome, interval="wald", separation="stop")
    fit = sm.Logit(outcome, sm.add_constant(design)).fit(disp=0)
    assert (found.intercept, *found.coefficient) == pytest.approx(tuple(fit.params), rel=1e-8)
    assert found.p_value == pytest.approx(tuple(fit.pvalues[1:]), rel=1e-6)
    assert np.log(found.low) == pytest.approx(fit.conf_int()[1:, 0], rel=1e-6)


def test_profile_interval_solves_the_likelihood_equation() -> None:
    """The bound of one binary predictor, found by maximizing over the intercept in closed form."""
    a, b, c, d = 12, 5, 7, 20
    design = np.repeat([1.0, 1.0, 0.0, 0.0], [a, b, c, d])[:, None]
    outcome = np.repeat([1, 0, 1, 0], [a, b, c, d])
    found = fit_logistic(design, ("x",), outcome, interval="profile", separation="stop")

    def best(beta: float) -> float:
        def slope(alpha: float) -> float:
            return a + c - (a + b) * expit(alpha + beta) - (c + d) * expit(alpha)

        alpha = brentq(slope, -30, 30)
        linear = alpha + beta * design[:, 0]
        return float(np.sum(outcome * linear - np.logaddexp(0, linear)))

    top = best(np.log(a * d / (b * c)))
    for bound in (found.low[0], found.high[0]):
        assert 2 * (top - best(np.log(bound))) == pytest.approx(3.841459, abs=1e-5)
    assert found.odds_ratio[0] == pytest.approx(a * d / (b * c))


@given(cells=st.tuples(*[st.integers(1, 30)] * 4))
def test_firth_of_a_two_by_two_table_adds_one_half_to_each_cell(cells: tuple[int, int, int, int]) -> None:
    """Closed form for a saturated model (Heinze, Schemper 2002); forced by a cell of zero."""
    _, b, c, d = cells
    design = np.repeat([1.0, 0.0, 0.0], [b, c, d])[:, None]
    outcome = np.repeat([0, 1, 0], [b, c, d])
    found = fit_logistic(design, ("x",), outcome, interval="profile", separation="firth")
    assert found.method == "Firth"
    assert found.coefficient[0] == pytest.approx(np.log(0.5 * (d + 0.5) / ((b + 0.5) * (c + 0.5))), abs=1e-6)
    assert found.low[0] < found.odds_ratio[0] < found.high[0]
    assert any("separate" in note for note in found.notes)


def test_separation_is_found_and_can_stop_the_run() -> None:
    x = np.linspace(-1, 1, 20)[:, None]
    complete = (x[:, 0] > 0.05).astype(np.int64)
    assert is_separated(np.column_stack([np.ones(20), x]), complete)
    overlapping = complete.copy()
    overlapping[3] = 1
    assert not is_separated(np.column_stack([np.ones(20), x]), overlapping)
    with pytest.raises(TrainingError, match="separated by x") as caught:
        fit_logistic(x, ("x",), complete, interval="wald", separation="stop")
    assert caught.value.reason is Reason.MODEL_FIT_FAILED


def test_separation_through_a_combination_is_found() -> None:
    rng = np.random.default_rng(4)
    design = rng.normal(size=(40, 2)) * [1.0, 1e4]
    outcome = (design @ [1.0, 1e-4] > 0).astype(np.int64)
    assert is_separated(np.column_stack([np.ones(40), design]), outcome)


def test_constant_column_is_reported_and_has_no_effect() -> None:
    design, outcome = simulate(2)
    found = fit_logistic(
        np.column_stack([design, np.ones(len(outcome))]), ("a", "b", "c"), outcome, interval="profile", separation="firth"
    )
    assert found.coefficient[2] == 0
    assert np.isnan(found.low[2])
    assert found.notes == ("c is the same for all patients: coefficient 0",)
    alone = fit_logistic(design, ("a", "b"), outcome, interval="profile", separation="firth")
    assert found.coefficient[:2] == alone.coefficient


def test_firth_reproduces_the_published_endometrial_example() -> None:
    """NV separates; coefficients and penalized profile intervals as printed by the R package logistf."""
    rows = np.loadtxt(Path(__file__).parents[1] / "golden" / "endometrial.csv", delimiter=",", skiprows=1)
    found = fit_logistic(rows[:, :3], ("NV", "PI", "EH"), rows[:, 3].astype(np.int64), interval="wald", separation="firth")
    assert (found.method, found.interval) == ("Firth", "profile")
    assert (*found.coefficient, found.intercept) == pytest.approx((2.92927330, -0.03475175, -2.60416387, 3.77455951), abs=1e-6)
    assert np.log(found.low) == pytest.approx([0.6097244, -0.1244587, -4.3651832], abs=1e-6)
    assert np.log(found.high) == pytest.approx([7.85463171, 0.04045547, -1.23272106], abs=1e-6)


@pytest.mark.parametrize("separated", [False, True])
def test_without_an_interval_the_coefficients_are_the_same(separated: bool) -> None:
    design, outcome = simulate(5)
    if separated:
        outcome = (design[:, 0] > 0.1).astype(np.int64)
    whole = fit_logistic(design, ("a", "b"), outcome, interval="profile", separation="firth")
    found = fit_logistic(design, ("a", "b"), outcome, interval=None, separation="firth")
    assert (found.intercept, found.coefficient, found.standard_error) == (
        whole.intercept,
        whole.coefficient,
        whole.standard_error,
    )
    assert (found.log_likelihood, found.method, found.notes) == (whole.log_likelihood, whole.method, whole.notes)
    assert np.isnan([found.low, found.high, found.p_value]).all()


@pytest.mark.parametrize("interval", ["wald", "profile"])
@pytest.mark.parametrize("separated", [False, True])
def test_units_of_a_column_change_nothing_but_its_units(interval: str, separated: bool) -> None:
    design, outcome = simulate(5)
    if separated:
        outcome = (design[:, 0] > 0.1).astype(np.int64)
    kwargs = {"interval": interval, "separation": "firth"}
    plain = fit_logistic(design, ("a", "b"), outcome, **kwargs)
    scaled = fit_logistic(design * [1e-5, 1.0] + [300.0, 0.0], ("a", "b"), outcome, **kwargs)
    assert scaled.coefficient[0] * 1e-5 == pytest.approx(plain.coefficient[0], rel=1e-5)
    assert scaled.coefficient[1] == pytest.approx(plain.coefficient[1], rel=1e-4, abs=1e-5)
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-4)
    assert (scaled.low[1], scaled.high[1]) == pytest.approx((plain.low[1], plain.high[1]), rel=1e-4)


def test_a_column_determined_by_others_is_reported_and_has_no_effect() -> None:
    design, outcome = simulate(3)
    repeated = np.column_stack([design, 1.0 - design[:, 1]])
    found = fit_logistic(repeated, ("a", "b", "not b"), outcome, interval="profile", separation="stop")
    alone = fit_logistic(design, ("a", "b"), outcome, interval="profile", separation="stop")
    assert found.coefficient == (*alone.coefficient, 0.0)
    assert np.isnan(found.high[2])
    assert found.notes == ("not b is determined by the columns before it: coefficient 0",)


def test_one_outcome_only_and_values_that_are_not_finite_are_refused() -> None:
    design, outcome = simulate(4)
    with pytest.raises(TrainingError, match="120 of 120 patients have the outcome") as one:
        fit_logistic(design, ("a", "b"), np.ones_like(outcome), interval="wald", separation="firth")
    assert one.value.reason is Reason.MODEL_FIT_FAILED
    design[7, 0] = np.nan
    with pytest.raises(TrainingError, match="not finite"):
        fit_logistic(design, ("a", "b"), outcome, interval="wald", separation="firth")


def test_without_any_predictor_the_intercept_is_the_logit_of_the_prevalence() -> None:
    outcome = np.repeat([0, 1], [30, 10])
    found = fit_logistic(np.empty((40, 0)), (), outcome, interval="profile", separation="firth")
    assert found.intercept == pytest.approx(np.log(1 / 3), abs=1e-9)
