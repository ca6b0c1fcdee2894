"""The rules at their limits: closed forms, and what cannot be decided."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from example_gate import Values, expit, latent, outcomes, quick_plan
from scipy.special import logit
from scipy.stats import norm

from training.gate.decision import verdict_of
from training.gate.paired import PairedPredictions
from training.gate.rules import RuleResult, calibration, discrimination, judge, net_benefit, sample_size, subgroup


def paired(outcome: list[int] | Values, champion: Values, challenger: Values) -> PairedPredictions:
    ids = tuple(f"p{i}" for i in range(len(outcome)))
    return PairedPredictions(ids, np.asarray(outcome, dtype=np.int64), champion, challenger, 0)


@pytest.fixture(scope="module")
def example() -> PairedPredictions:
    true = latent(21, 300)
    noise = np.random.default_rng(22).normal(0, 0.7, true.size)
    return paired(outcomes(true, 23), expit(true + noise), expit(0.8 * true))


def test_the_difference_in_auc_is_delongs(example: PairedPredictions) -> None:
    """Placement values written out, as in DeLong et al. 1988."""
    cases, controls = example.outcome == 1, example.outcome == 0

    def placements(score: Values) -> tuple[Values, Values]:
        psi = (score[cases][:, None] > score[controls]) + 0.5 * (score[cases][:, None] == score[controls])
        return psi.mean(axis=1), psi.mean(axis=0)

    (first1, first0), (second1, second0) = placements(example.challenger), placements(example.champion)
    variance = np.var(first1 - second1, ddof=1) / cases.sum() + np.var(first0 - second0, ddof=1) / controls.sum()
    difference = first1.mean() - second1.mean()
    found = discrimination(example, quick_plan())
    assert found.value == pytest.approx(difference, abs=1e-12)
    assert found.low == pytest.approx(difference - norm.ppf(0.975) * np.sqrt(variance), abs=1e-10)


@pytest.mark.parametrize(("shift", "status"), [(-1e-9, "failed"), (1e-9, "passed")])
def test_the_lower_bound_decides_and_not_the_estimate(example: PairedPredictions, shift: float, status: str) -> None:
    reversed_roles = PairedPredictions(example.patient_id, example.outcome, example.challenger, example.champion, 0)
    bound = discrimination(reversed_roles, quick_plan()).low
    assert bound is not None
    assert bound < 0
    found = discrimination(reversed_roles, quick_plan(discrimination={"margin": -bound + shift}))
    assert found.status == status


def test_calibration_is_that_of_statsmodels(example: PairedPredictions) -> None:
    linear = logit(example.challenger)
    both = sm.GLM(example.outcome, sm.add_constant(linear), family=sm.families.Binomial()).fit()
    large = sm.GLM(example.outcome, np.ones((linear.size, 1)), family=sm.families.Binomial(), offset=linear).fit()
    slope, intercept = calibration(example, quick_plan())
    assert slope.value == pytest.approx(both.params[1], abs=1e-6)
    assert (slope.low, slope.high) == pytest.approx(tuple(both.conf_int()[1]), abs=1e-5)
    assert intercept.value == pytest.approx(large.params[0], abs=1e-6)


def test_an_interval_must_lie_inside_where_the_plan_says_so(example: PairedPredictions) -> None:
    slope, _ = calibration(example, quick_plan())
    assert slope.value is not None
    assert slope.low is not None
    assert slope.high is not None
    window = [(slope.value + slope.low) / 2, slope.high + 1]
    for judged_by, status in (("estimate", "passed"), ("interval", "failed")):
        plan = quick_plan(calibration={"slope": window, "intercept": [-9, 9], "judged_by": judged_by})
        assert next(calibration(example, plan)).status == status


def test_net_benefit_by_hand() -> None:
    """Ten patients: at 0.2 the champion treats all of them, the challenger leaves out two without the outcome."""
    outcome = [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    champion = np.full(10, 0.5)
    challenger = np.array([0.5] * 8 + [0.1] * 2)
    found = net_benefit(paired(outcome, champion, challenger), quick_plan())
    assert found.value == pytest.approx(2 / 10 * 0.2 / 0.8)
    # A resample can leave these two out, and can never make the challenger worse.
    assert found.low == 0
    assert found.status == "passed"


def test_a_lost_true_positive_costs_more_than_the_margin() -> None:
    outcome = [1, 0] * 100
    champion = np.array([0.6, 0.1] * 100)
    challenger = champion.copy()
    challenger[:20:2] = 0.1
    found = net_benefit(paired(outcome, champion, challenger), quick_plan())
    assert found.value == pytest.approx(-10 / 200)
    assert found.status == "failed"


def test_equal_predictions_are_not_inferior() -> None:
    true = latent(31, 200)
    same = expit(true)
    found = {r.rule: r for r in judge(paired(outcomes(true, 32), same, same), {}, quick_plan())}
    for name in ("discrimination", "net_benefit"):
        assert (found[name].value, found[name].low, found[name].high) == (0, 0, 0)
        assert found[name].status == "passed"


def test_too_few_patients_fail(example: PairedPredictions) -> None:
    plan = quick_plan(minimum_patients=301, minimum_events=2)
    assert [r.status for r in sample_size(example, plan)] == ["failed", "passed", "passed"]
    events = example.event_count
    plan = quick_plan(minimum_patients=300, minimum_events=events + 1)
    assert [r.status for r in sample_size(example, plan)][:2] == ["passed", "failed"]


def test_one_outcome_is_undecidable_and_undecidable_is_refused() -> None:
    same = np.linspace(0.1, 0.9, 120)
    rules = judge(paired([1] * 120, same, same), {}, quick_plan())
    found = {r.rule: r.status for r in rules}
    assert found["discrimination"] == found["calibration_slope"] == found["calibration_intercept"] == "undecidable"
    assert verdict_of(rules, quick_plan()) == "refused"
    assert all(r.text for r in rules)


def test_a_constant_challenger_has_no_slope() -> None:
    outcome = [1, 0] * 60
    rules = {r.rule: r for r in judge(paired(outcome, np.tile([0.6, 0.4], 60), np.full(120, 0.5)), {}, quick_plan())}
    assert rules["calibration_slope"].status == "undecidable"
    assert "cannot be estimated" in rules["calibration_slope"].text
    assert rules["discrimination"].status == "failed"


def judged_subgroup(judged_by: str, challenger: Values, minimum: int = 10) -> RuleResult:
    declared = [{"name": "some", "column": "age_years", "low": 60}]
    rule = {"minimum_events": minimum, "judged_by": judged_by, "floor": 0.6, "margin": 0.1, "declared": declared}
    plan = quick_plan(subgroups=rule)
    outcome = [0] * 20 + [1] * 20
    champion = np.linspace(0.1, 0.9, 40)
    return subgroup(paired(outcome, champion, challenger), plan.subgroups.declared[0], plan)


def test_a_subgroup_is_held_against_the_floor_or_the_champion() -> None:
    # Of 400 pairs, 100 are turned round by the five weakest with the outcome that score below everybody: 0.75.
    weaker = np.linspace(0.1, 0.9, 40)
    weaker[20:25] = 0.01
    floor, champion = judged_subgroup("floor", weaker), judged_subgroup("champion", weaker)
    assert floor.value == 0.75
    assert floor.comparison == 1.0
    assert floor.status == "passed"
    assert champion.value == -0.25
    assert champion.status == "failed"


def test_a_small_subgroup_is_shown_and_decides_nothing() -> None:
    found = judged_subgroup("floor", np.linspace(0.9, 0.1, 40), minimum=21)
    assert found.status == "not_judged"
    assert "20 patients with and 20 without" in found.text
    assert verdict_of((found,), quick_plan()) == "promoted"


def test_subgroups_that_are_all_too_small_guard_nobody(example: PairedPredictions) -> None:
    declared = [{"name": "some", "column": "age_years", "low": 60}]
    rule = {"minimum_events": 10, "judged_by": "floor", "floor": 0.6, "margin": 0.1, "declared": declared}
    rules = judge(example, {"some": np.zeros(300, dtype=np.bool_)}, quick_plan(subgroups=rule))
    assert [(r.subject, r.status) for r in rules[-2:]] == [("some", "not_judged"), ("all", "undecidable")]
    assert verdict_of(rules, quick_plan()) == "refused"
