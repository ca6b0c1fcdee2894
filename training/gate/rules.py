"""The rules, one function each: a figure with its interval, the limit it is held against, and what follows.

What cannot be measured is undecidable, and undecidable does not pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.bundle import ModelBundle
from nodogram.errors import NodogramError
from nodogram.self_test import KnownAnswerResult, reproduce
from nodogram.settings import Settings
from nodogram.stats.calibration import calibration_line
from nodogram.stats.discrimination import auc_interval, compare_aucs_paired
from nodogram.stats.net_benefit import decision_bands
from training.gate.paired import PairedPredictions
from training.gate.plan import DeclaredSubgroup, GatePlan

RuleName = Literal[
    "sample_size", "discrimination", "calibration_slope", "calibration_intercept", "net_benefit", "subgroup", "self_test"
]
Status = Literal["passed", "failed", "undecidable", "not_judged"]

ONE_OUTCOME = "with patients of one outcome only it cannot be measured"


class RuleResult(Settings):
    """What one rule found.

    Attributes
    ----------
    subject
        Which subgroup, or what was counted; empty where the rule has one subject.
    status
        ``not_judged`` is shown and decides nothing: a subgroup too small to be judged.
    value, low, high
        Figure and interval; ``None`` where there is none.
    limit_low, limit_high
        What ``judged`` must lie between; ``None`` is open.
    judged
        What of the figure is held against the limit.
    comparison
        The same for the champion, where the rule does not compare by itself.
    text
        The same in a sentence.
    """

    rule: RuleName
    subject: str = ""
    status: Status
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit_low: float | None = None
    limit_high: float | None = None
    judged: Literal["estimate", "lower_bound", "interval"]
    comparison: float | None = None
    method: str
    text: str


def judge(paired: PairedPredictions, subgroups: Mapping[str, NDArray[np.bool_]], plan: GatePlan) -> tuple[RuleResult, ...]:
    """Apply every rule that looks at predictions.

    Parameters
    ----------
    subgroups
        (n,) of truth values by the name of each declared subgroup.
    """
    return (
        *sample_size(paired, plan),
        discrimination(paired, plan),
        *calibration(paired, plan),
        net_benefit(paired, plan),
        *(subgroup(paired.where(subgroups[s.name]), s, plan) for s in plan.subgroups.declared),
        *_subgroups_at_all(paired, subgroups, plan),
    )


def sample_size(paired: PairedPredictions, plan: GatePlan) -> Iterator[RuleResult]:
    """Count patients, those with and those without the outcome."""
    events = paired.event_count
    counts = (
        ("patients", paired.patient_count, plan.minimum_patients),
        ("patients with the outcome", events, plan.minimum_events),
        ("patients without the outcome", paired.patient_count - events, plan.minimum_events),
    )
    for subject, found, least in counts:
        yield RuleResult(
            rule="sample_size",
            subject=subject,
            status=_status(found >= least),
            value=found,
            limit_low=least,
            judged="estimate",
            method="count",
            text=f"{found} {subject}; at least {least} are required.",
        )


def discrimination(paired: PairedPredictions, plan: GatePlan) -> RuleResult:
    """Hold the lower bound of the paired difference in AUC, challenger less champion, against the margin."""
    margin = plan.discrimination.margin
    method = "DeLong, paired"
    if _one_outcome(paired):
        return _undecidable("discrimination", method, f"Difference in AUC: {ONE_OUTCOME}.", limit_low=-margin)
    found = compare_aucs_paired(paired.outcome, paired.challenger, paired.champion, plan.level)
    passed = found.low > -margin
    return RuleResult(
        rule="discrimination",
        status=_status(passed),
        value=found.difference,
        low=found.low,
        high=found.high,
        limit_low=-margin,
        judged="lower_bound",
        method=method,
        text=f"The AUC of the challenger less that of the champion is {_figure(found.difference, found.low, found.high)}; the "
        f"lower bound {'lies' if passed else 'does not lie'} above {_number(-margin)}.",
    )


def calibration(paired: PairedPredictions, plan: GatePlan) -> Iterator[RuleResult]:
    """Hold calibration slope and intercept of the challenger against their windows."""
    rule, method = plan.calibration, "logistic regression on the logit, Wald"
    windows: tuple[tuple[RuleName, str, tuple[float, float]], ...] = (
        ("calibration_slope", "calibration slope", rule.slope),
        ("calibration_intercept", "calibration in the large", rule.intercept),
    )
    try:
        line = None if _one_outcome(paired) else calibration_line(paired.outcome, paired.challenger, plan.level)
        reason = ONE_OUTCOME
    except ArithmeticError as error:
        line, reason = None, str(error)
    for name, words, window in windows:
        limits = {"limit_low": window[0], "limit_high": window[1]}
        if line is None:
            yield _undecidable(name, method, f"The {words} of the challenger: {reason}.", **limits)
            continue
        slope = (line.slope, line.slope_low, line.slope_high)
        value, low, high = slope if name == "calibration_slope" else (line.intercept, line.intercept_low, line.intercept_high)
        if value is None or low is None or high is None:
            text = f"The {words} of the challenger cannot be estimated: predictions are constant or separate the outcomes."
            yield _undecidable(name, method, text, **limits)
            continue
        lowest, highest = (low, high) if rule.judged_by == "interval" else (value, value)
        passed = window[0] <= lowest and highest <= window[1]
        yield RuleResult(
            rule=name,
            status=_status(passed),
            value=value,
            low=low,
            high=high,
            limit_low=window[0],
            limit_high=window[1],
            judged=rule.judged_by,
            method=method,
            text=f"The {words} of the challenger is {_figure(value, low, high)}; the {rule.judged_by} "
            f"{'lies' if passed else 'does not lie'} between {_number(window[0])} and {_number(window[1])}.",
        )


def net_benefit(paired: PairedPredictions, plan: GatePlan) -> RuleResult:
    """Hold the lower bound of the difference in net benefit, challenger less champion, against the margin."""
    rule = plan.net_benefit
    if paired.patient_count == 0:
        return _undecidable("net_benefit", "bootstrap", "Net benefit: there is no patient.", limit_low=-rule.margin)
    bands = decision_bands(
        paired.outcome,
        paired.challenger,
        np.array([rule.threshold]),
        replicates=plan.replicates,
        rng=np.random.default_rng(plan.seed),
        other=paired.champion,
        level=plan.level,
    )
    if bands.difference is None:
        raise AssertionError("another model was given")
    value, low, high = (float(v[0]) for v in (bands.difference.value, bands.difference.low, bands.difference.high))
    passed = low > -rule.margin
    return RuleResult(
        rule="net_benefit",
        subject=f"at a threshold of {rule.threshold:g}",
        status=_status(passed),
        value=value,
        low=low,
        high=high,
        limit_low=-rule.margin,
        judged="lower_bound",
        method=f"percentile bootstrap of patients, {plan.replicates} resamples",
        text=f"At a threshold of {rule.threshold:g} the net benefit of the challenger less that of the champion is "
        f"{_figure(value, low, high)}; the lower bound {'lies' if passed else 'does not lie'} above {_number(-rule.margin)}.",
    )


def subgroup(paired: PairedPredictions, declared: DeclaredSubgroup, plan: GatePlan) -> RuleResult:
    """Hold the AUC of the challenger in a subgroup against the floor, or against that of the champion there.

    Parameters
    ----------
    paired
        The patients of the subgroup alone.
    """
    rule, events = plan.subgroups, paired.event_count
    others = paired.patient_count - events
    against_champion = rule.judged_by == "champion"
    limit = -rule.margin if against_champion else rule.floor
    if min(events, others) < rule.minimum_events:
        return RuleResult(
            rule="subgroup",
            subject=declared.name,
            status="not_judged",
            limit_low=limit,
            judged="estimate",
            method="count",
            text=f"{declared.name}: {events} patients with and {others} without the outcome are too few to be judged; "
            f"{rule.minimum_events} of each are required.",
        )
    own = auc_interval(paired.outcome, paired.challenger, level=plan.level)
    before = auc_interval(paired.outcome, paired.champion, level=plan.level)
    difference = compare_aucs_paired(paired.outcome, paired.challenger, paired.champion, plan.level)
    shown = (difference.difference, difference.low, difference.high) if against_champion else (own.auc, own.low, own.high)
    passed = shown[0] >= limit
    what = "AUC of the challenger less that of the champion" if against_champion else "AUC of the challenger"
    return RuleResult(
        rule="subgroup",
        subject=declared.name,
        status=_status(passed),
        value=shown[0],
        low=shown[1],
        high=shown[2],
        limit_low=limit,
        judged="estimate",
        comparison=None if against_champion else before.auc,
        method="DeLong, paired" if against_champion else "DeLong on the logit scale",
        text=f"{declared.name}, {paired.patient_count} patients, {events} with the outcome: {what} is {_figure(*shown)}; the "
        f"estimate {'is' if passed else 'is not'} at least {_number(limit)}.",
    )


def self_test(bundle: ModelBundle) -> RuleResult:
    """Let the challenger reproduce its known answers here and now."""
    method = "known-answer cases through the full path"
    largest = bundle.manifest.tolerances.probability
    try:
        found = tuple(reproduce(bundle))
    except NodogramError as error:
        text = f"The challenger does not reproduce its known answers: {error.message}."
        return RuleResult(rule="self_test", status="failed", limit_high=largest, judged="estimate", method=method, text=text)
    return RuleResult(
        rule="self_test",
        status="passed",
        value=_farthest(found),
        limit_high=largest,
        judged="estimate",
        method=method,
        text=f"The challenger reproduces {len(found)} known {'answer' if len(found) == 1 else 'answers'}; a probability is off "
        f"by {_farthest(found):.1g} at most, {largest:.1g} is allowed.",
    )


def _subgroups_at_all(
    paired: PairedPredictions, subgroups: Mapping[str, NDArray[np.bool_]], plan: GatePlan
) -> Iterator[RuleResult]:
    """Say so where subgroups were declared and none is large enough: nothing would guard them."""
    least = plan.subgroups.minimum_events
    if not plan.subgroups.declared:
        return
    if not any(_smaller_class(paired.where(chosen)) >= least for chosen in subgroups.values()):
        text = "Subgroups: none of those declared is large enough to be judged."
        yield _undecidable("subgroup", "count", text).model_copy(update={"subject": "all"})


def _smaller_class(paired: PairedPredictions) -> int:
    return min(paired.event_count, paired.patient_count - paired.event_count)


def _one_outcome(paired: PairedPredictions) -> bool:
    return _smaller_class(paired) == 0


def _farthest(found: Iterable[KnownAnswerResult]) -> float:
    return max(result.probability_difference for result in found)


def _status(passed: bool) -> Status:
    return "passed" if passed else "failed"


def _undecidable(
    rule: RuleName, method: str, text: str, *, limit_low: float | None = None, limit_high: float | None = None
) -> RuleResult:
    return RuleResult(
        rule=rule,
        status="undecidable",
        limit_low=limit_low,
        limit_high=limit_high,
        judged="estimate",
        method=method,
        text=text,
    )


def _number(value: float) -> str:
    return f"{value:g}"


def _figure(value: float, low: float, high: float) -> str:
    joint = " to " if min(low, high) < 0 else "–"
    return f"{value:.3f} ({low:.3f}{joint}{high:.3f})"
