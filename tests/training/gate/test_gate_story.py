"""Retraining: a better, an equal, a worse and a miscalibrated challenger; what the ledger says afterwards; the way back."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from example_gate import (
    APPROVER,
    KEY,
    Story,
    aged,
    break_known_answer,
    make_bundle,
    quick_plan,
    write_cohort,
    write_evaluation,
)

from nodogram.errors import NodogramError, Reason
from nodogram.stats.calibration import calibration_line
from nodogram.stats.discrimination import auc
from training.external.signature import fingerprint
from training.gate.decision import GateDecision
from training.gate.ledger import LedgerLine, append, load_state, roll_back
from training.gate.ledger_check import check_ledger
from training.gate.plan import GatePlan
from training.gate.rules import RuleResult
from training.gate.run import GateInputs, approve, decide, decision_file, run_gate


def rule_of(line: LedgerLine, name: str) -> RuleResult:
    event = line.entry.event
    assert isinstance(event, GateDecision)
    return next(rule for rule in event.rules if rule.rule == name)


def verdict(line: LedgerLine) -> str:
    event = line.entry.event
    assert isinstance(event, GateDecision)
    return event.verdict


@pytest.mark.parametrize(
    ("name", "expected", "failed"),
    [
        ("better", "promoted", set()),
        ("equal", "promoted", set()),
        ("worse", "refused", {"discrimination", "net_benefit", "calibration_slope"}),
        ("miscalibrated", "refused", {"calibration_slope", "calibration_intercept"}),
    ],
)
def test_each_challenger_gets_what_it_deserves(
    story: Story, tmp_path: Path, name: str, expected: str, failed: set[str]
) -> None:
    line = run_gate(story.inputs(name), quick_plan(), tmp_path / "ledger.jsonl", KEY)
    event = line.entry.event
    assert isinstance(event, GateDecision)
    assert event.verdict == expected
    assert {rule.rule for rule in event.failures} == failed
    # Every figure is in the file, and is the one that the library computes of the same predictions.
    stored = json.loads((tmp_path / "ledger.jsonl").read_text(encoding="utf-8"))["entry"]["event"]
    figures = {rule["rule"]: rule for rule in stored["rules"]}
    outcome = story.outcome
    difference = auc(outcome, story.probability[name]) - auc(outcome, story.probability["champion"])
    line_found = calibration_line(outcome, story.probability[name])
    assert figures["discrimination"]["value"] == pytest.approx(difference, abs=1e-12)
    assert figures["discrimination"]["limit_low"] == -0.05
    assert figures["calibration_slope"]["value"] == pytest.approx(line_found.slope, abs=1e-12)
    assert figures["calibration_intercept"]["value"] == pytest.approx(line_found.intercept, abs=1e-12)
    assert figures["self_test"]["status"] == "passed"
    assert stored["champion"]["digest"] == story.digest("champion")
    assert stored["challenger"]["digest"] == story.digest(name)
    assert "SECRET" not in (tmp_path / "ledger.jsonl").read_text(encoding="utf-8")


def test_a_miscalibrated_challenger_fails_although_it_ranks_better(story: Story, tmp_path: Path) -> None:
    line = run_gate(story.inputs("miscalibrated"), quick_plan(), tmp_path / "ledger.jsonl", KEY)
    found = rule_of(line, "discrimination")
    assert found.status == "passed"
    assert found.value is not None
    assert found.value > 0


def test_the_champion_follows_the_ledger_and_a_rollback_restores_the_former_digest(story: Story, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    plan = quick_plan()
    run_gate(story.inputs("better"), plan, ledger, KEY)
    assert load_state(ledger).champion == story.digest("better")
    run_gate(story.inputs("worse", champion="better"), plan, ledger, KEY)
    assert load_state(ledger).champion == story.digest("better")
    roll_back(ledger, KEY, "complaints of the tumor board")
    state = load_state(ledger)
    assert (state.champion, state.former) == (story.digest("champion"), story.digest("better"))
    roll_back(ledger, KEY)
    assert load_state(ledger).champion == story.digest("better")
    found = check_ledger(ledger, [KEY.public_key()])
    assert found.is_whole, found.problem
    assert found.line_count == 4


def test_nothing_can_be_rolled_back_in_a_new_ledger(tmp_path: Path) -> None:
    with pytest.raises(NodogramError, match="no champion before"):
        roll_back(tmp_path / "ledger.jsonl", KEY)
    assert (tmp_path / "ledger.jsonl").read_bytes() == b""


def _append_decision(text: str, ledger: str, start: str, answers: multiprocessing.Queue[str]) -> None:
    decision = GateDecision.model_validate_json(text)
    while not Path(start).exists():
        pass
    try:
        append(Path(ledger), lambda _: decision, KEY)
    except NodogramError as error:
        answers.put(error.reason.value)
    else:
        answers.put("appended")


def test_of_two_promotions_at_once_one_wins(story: Story, tmp_path: Path) -> None:
    ledger, start = tmp_path / "ledger.jsonl", tmp_path / "start"
    plan = quick_plan()
    texts = [decide(story.inputs(name), plan).model_dump_json() for name in ("better", "equal")]
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[str] = context.Queue()
    racers = [context.Process(target=_append_decision, args=(t, str(ledger), str(start), answers)) for t in texts * 2]
    for racer in racers:
        racer.start()
    start.touch()
    said = [answers.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert sorted(said) == ["RUN_MISMATCH", "RUN_MISMATCH", "RUN_MISMATCH", "appended"]
    found = check_ledger(ledger)
    assert found.is_whole
    assert found.line_count == 1
    assert found.state.champion in (story.digest("better"), story.digest("equal"))


def test_refusals_of_a_former_champion_are_kept_and_promotions_are_not(story: Story, tmp_path: Path) -> None:
    ledger, plan = tmp_path / "ledger.jsonl", quick_plan()
    run_gate(story.inputs("better"), plan, ledger, KEY)
    assert verdict(run_gate(story.inputs("worse"), plan, ledger, KEY)) == "refused"
    with pytest.raises(NodogramError, match="another decision came first") as refused:
        run_gate(story.inputs("equal"), plan, ledger, KEY)
    assert refused.value.reason is Reason.RUN_MISMATCH
    assert check_ledger(ledger).line_count == 2


def approval_plan() -> GatePlan:
    return quick_plan(approval={"required": True, "key": fingerprint(APPROVER.public_key())})


def test_a_person_confirms_with_the_key_the_plan_names(story: Story, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    waiting = run_gate(story.inputs("better"), approval_plan(), ledger, KEY)
    assert verdict(waiting) == "awaiting_approval"
    assert load_state(ledger).champion == story.digest("champion")
    with pytest.raises(NodogramError, match="the plan names"):
        approve(ledger, KEY)
    confirmed = approve(ledger, APPROVER, note="seen in the meeting")
    assert load_state(ledger).champion == story.digest("better")
    assert decision_file(ledger, confirmed) == f"{waiting.text}\n{confirmed.text}\n"
    assert check_ledger(ledger, [KEY.public_key()]).is_whole
    with pytest.raises(NodogramError, match="0 decisions wait"):
        approve(ledger, APPROVER)


def test_a_person_may_say_no(story: Story, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    run_gate(story.inputs("better"), approval_plan(), ledger, KEY)
    approve(ledger, APPROVER, reject=True)
    assert load_state(ledger).champion == story.digest("champion")
    assert load_state(ledger).pending == ()


def test_figures_that_fail_wait_for_nobody(story: Story, tmp_path: Path) -> None:
    assert verdict(run_gate(story.inputs("worse"), approval_plan(), tmp_path / "ledger.jsonl", KEY)) == "refused"


def test_a_bundle_that_does_not_reproduce_is_refused(story: Story, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", -2.0)
    break_known_answer(bundle)
    evaluation = write_evaluation(tmp_path / "evaluation", bundle, story.folder / "cohort", story.probability["better"])
    inputs = GateInputs(story.folder / "champion" / "evaluation", evaluation, bundle)
    line = run_gate(inputs, quick_plan(), tmp_path / "ledger.jsonl", KEY)
    assert verdict(line) == "refused"
    assert rule_of(line, "self_test").status == "failed"
    assert "probability off by" in rule_of(line, "self_test").text


def test_subgroups_come_from_the_cohort(story: Story, tmp_path: Path) -> None:
    declared = [
        {"name": "60 and older", "column": "age_years", "low": 60},
        {"name": "CT positive", "column": "ct_reported_lnm", "level": "yes"},
        {"name": "first center", "column": "centre", "level": "Center 0"},
        {"name": "nobody", "column": "age_years", "low": 100},
    ]
    subgroups = {"minimum_events": 10, "judged_by": "floor", "floor": 0.6, "margin": 0.1, "declared": declared}
    line = run_gate(story.inputs("better"), quick_plan(subgroups=subgroups), tmp_path / "ledger.jsonl", KEY)
    event = line.entry.event
    assert isinstance(event, GateDecision)
    found = {rule.subject: rule for rule in event.rules if rule.rule == "subgroup"}
    old = aged() >= 60
    outcome, probability = story.outcome, story.probability["better"]
    assert found["60 and older"].value == pytest.approx(auc(outcome[old], probability[old]), abs=1e-12)
    odd = np.arange(outcome.size) % 2 == 1
    assert found["CT positive"].value == pytest.approx(auc(outcome[odd], probability[odd]), abs=1e-12)
    assert found["first center"].status == "passed"
    assert found["nobody"].status == "not_judged"
    assert event.verdict == "promoted"


def test_subgroups_need_the_very_cohort(story: Story, tmp_path: Path) -> None:
    declared = [{"name": "60 and older", "column": "age_years", "low": 60}]
    subgroups = {"minimum_events": 10, "judged_by": "floor", "floor": 0.6, "margin": 0.1, "declared": declared}
    plan = quick_plan(subgroups=subgroups)
    other = write_cohort(tmp_path / "other", story.outcome, aged() + 1)
    given = story.inputs("better")
    with pytest.raises(NodogramError, match="the cohort given is"):
        decide(GateInputs(given.champion, given.challenger, given.bundle, other), plan)
    with pytest.raises(NodogramError, match="the cohort is needed"):
        decide(GateInputs(given.champion, given.challenger, given.bundle), plan)
