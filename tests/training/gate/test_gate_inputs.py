"""What must not be compared is refused, and plans say what is wrong with them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from example_gate import KEY, Story, aged, make_bundle, quick_plan, write_cohort, write_evaluation

from nodogram.errors import NodogramError, Reason
from training.gate.paired import pair, read_evaluated
from training.gate.plan import load_plan
from training.gate.run import GateInputs, decide


def test_patients_are_paired_by_identifier(story: Story) -> None:
    champion = read_evaluated(story.folder / "champion" / "evaluation")
    challenger = read_evaluated(story.folder / "better" / "evaluation")
    found = pair(champion, challenger)
    assert found.patient_id == tuple(f"SECRET-{i:03d}" for i in range(400))
    assert np.array_equal(found.outcome, story.outcome)
    assert np.array_equal(found.champion, story.probability["champion"])
    assert np.array_equal(found.challenger, story.probability["better"])


def test_a_bundle_is_not_compared_with_itself(story: Story) -> None:
    same = read_evaluated(story.folder / "champion" / "evaluation")
    with pytest.raises(NodogramError, match="the same bundle"):
        pair(same, same)


def test_another_cohort_is_refused(story: Story, tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", story.outcome, aged() + 1)
    bundle = story.folder / "better" / "bundle"
    other = read_evaluated(write_evaluation(tmp_path / "out", bundle, cohort, story.probability["better"]))
    with pytest.raises(NodogramError, match="different cohorts") as refused:
        pair(read_evaluated(story.folder / "champion" / "evaluation"), other)
    assert refused.value.reason is Reason.RUN_MISMATCH


def test_patients_only_one_of_them_predicts_are_refused_and_counted(story: Story, tmp_path: Path) -> None:
    fewer = story.probability["better"].copy()
    fewer[:3] = np.nan
    bundle = story.folder / "better" / "bundle"
    out = write_evaluation(tmp_path / "out", bundle, story.folder / "cohort", fewer)
    with pytest.raises(
        NodogramError, match="3 patients were predicted by the champion alone and 0 by the challenger"
    ) as refused:
        pair(read_evaluated(story.folder / "champion" / "evaluation"), read_evaluated(out))
    assert "SECRET" not in refused.value.message


def test_patients_neither_predicts_are_left_out_and_said(story: Story, tmp_path: Path) -> None:
    inputs = []
    for name in ("champion", "better"):
        fewer = story.probability[name].copy()
        fewer[:3] = np.nan
        bundle = story.folder / name / "bundle"
        inputs.append(write_evaluation(tmp_path / name, bundle, story.folder / "cohort", fewer))
    decision = decide(GateInputs(inputs[0], inputs[1], story.folder / "better" / "bundle"), quick_plan())
    assert (decision.cohort.patient_count, decision.cohort.excluded_count) == (397, 3)
    assert any("3 patients" in warning for warning in decision.warnings)


@pytest.mark.parametrize("change", ["outcome", "identifier"])
def test_a_table_that_was_edited_is_refused(story: Story, tmp_path: Path, change: str) -> None:
    outcome = story.outcome[5]
    old = f"SECRET-005,{outcome}"
    new = f"SECRET-005,{1 - outcome}" if change == "outcome" else f"SECRET-006,{outcome}"
    folder = tmp_path / "evaluation"
    shutil.copytree(story.folder / "better" / "evaluation", folder)
    table = folder / "predictions.csv"
    text = table.read_text(encoding="utf-8")
    assert old in text
    table.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(NodogramError):
        read_evaluated(folder)


def test_a_swapped_pair_of_probabilities_is_found_by_the_auc(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(story.folder / "better" / "evaluation", folder)
    table = folder / "predictions.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    rows = [line.split(",") for line in lines]
    low, high = (min(rows[1:], key=lambda r: float(r[5])), max(rows[1:], key=lambda r: float(r[5])))
    low[5], high[5] = high[5], low[5]
    table.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    with pytest.raises(NodogramError, match="has an AUC of"):
        read_evaluated(folder)


def test_an_evaluation_that_was_changed_or_signed_by_another_is_refused(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(story.folder / "better" / "evaluation", folder)
    read_evaluated(folder, KEY.public_key())
    with pytest.raises(NodogramError, match="NOT SIGNED BY THE KEY GIVEN"):
        read_evaluated(folder, Ed25519PrivateKey.generate().public_key())
    document = folder / "evaluation.json"
    document.write_text(document.read_text(encoding="utf-8").replace("Locked test set", "Other test set"), encoding="utf-8")
    with pytest.raises(NodogramError, match="CHANGED"):
        read_evaluated(folder)


def test_a_folder_without_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodogramError) as refused:
        read_evaluated(tmp_path)
    assert refused.value.reason is Reason.FILE_NOT_FOUND


def test_the_bundle_must_be_the_one_evaluated(story: Story, tmp_path: Path) -> None:
    given = story.inputs("better")
    other = make_bundle(tmp_path / "bundle", -7.0, known=False)
    with pytest.raises(NodogramError, match="the bundle given is"):
        decide(GateInputs(given.champion, given.challenger, other), quick_plan())


def test_the_plan_locks_the_test_set(story: Story) -> None:
    with pytest.raises(NodogramError, match="the plan locks the cohort 00000000"):
        decide(story.inputs("better"), quick_plan(cohort_digest="0" * 64))
    evaluation = json.loads((story.folder / "better" / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    digest = evaluation["evaluation"]["cohort"]["digest"]
    found = decide(story.inputs("better"), quick_plan(cohort_digest=digest))
    assert not any("locks no test set" in warning for warning in found.warnings)


def test_a_decision_names_the_files_it_comes_from(story: Story) -> None:
    found = decide(story.inputs("better"), quick_plan())
    table = story.folder / "better" / "evaluation" / "predictions.csv"
    assert found.challenger.predictions_digest == hashlib.sha256(table.read_bytes()).hexdigest()
    assert found.plan_digest == quick_plan().digest()
    assert dict(found.software)["nodogram"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("margin = 0.05", "margin = 0.05\nmarjin = 1", "discrimination.marjin"),
        ("slope = [0.7, 1.4]", "slope = [1.4, 0.7]", "below the upper"),
        ("required = false", "required = true", "name a key exactly where approval is required"),
        ("declared = []", 'declared = [{ name = "x", column = "centre" }]', "give a level"),
        ("threshold = 0.2", "threshold = 1.0", "net_benefit.threshold"),
        ('cohort_digest = "any"', 'cohort_digest = "0"', "cohort_digest"),
        ("version = 1", "version = ", "is not TOML"),
    ],
)
def test_a_wrong_plan_says_what_is_wrong(tmp_path: Path, old: str, new: str, message: str) -> None:
    shipped = Path(__file__).parents[3] / "training" / "gate" / "plans" / "default.toml"
    text = shipped.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "plan.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(NodogramError, match=message) as refused:
        load_plan(str(path))
    assert refused.value.reason is Reason.SETTINGS_INVALID


def test_any_change_of_a_plan_changes_its_digest() -> None:
    assert load_plan("default").digest() != quick_plan().digest()
    assert quick_plan().digest() == quick_plan().digest()
