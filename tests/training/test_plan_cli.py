"""``nodogram plan``: what is needed beside what is there; codes for nonsense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nodogram.errors import NodogramError, Reason
from nodogram.synthesis.cohort import write_cohort
from training.evidence.sample_size import CohortCounts, SampleSizePlan, plan_sample_size
from training.plan_cli import plan

PUBLISHED = ("--prevalence", "0.174", "--candidates", "24", "--r2", "0.288")


def run(*arguments: object) -> str:
    app = typer.Typer()
    app.command()(plan)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def plan_of(*arguments: object) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--json"))
    assert SampleSizePlan.model_validate(document)
    return document


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan") / "c"
    return write_cohort(folder, patient_count=20, seed=2, signal=1.0, image_format="nifti", matrix=48, slice_count=20)


def test_published_example() -> None:
    found = plan_of(*PUBLISHED)
    need = found["nomogram"]
    assert [need[key] for key in ("shrinkage_patients", "optimism_patients", "risk_patients", "patients")] == [
        623,
        662,
        221,
        662,
    ]
    assert (need["events"], round(need["events_per_candidate"], 2)) == (116, 4.8)
    assert found["at_hand"] is None
    assert found["validation"] is None


def test_table_and_words() -> None:
    text = run(*PUBLISHED)
    assert "24 candidate parameters" in text
    assert [line.split("│")[2].strip() for line in text.splitlines() if line.startswith("│")] == ["623", "662", "221", "662"]
    assert "needs 662 patients to be developed, 116 of them with the outcome" in " ".join(text.split())
    assert "1,316 radiomic features" in text


def test_cohort_counts_patients_events_and_candidates(cohort: Path) -> None:
    found = plan_of("--cohort", cohort, "--auc", "0.85")
    counts = found["at_hand"]["counts"]
    assert counts["development_patients"] + counts["test_patients"] == 20
    assert counts["test_patients"] == 6
    # Two findings with two levels each, and the score.
    assert found["nomogram"]["candidates"] == 3
    events = counts["development_events"] + counts["test_events"]
    assert found["prevalence"] == pytest.approx(events / 20)
    assert found["at_hand"]["missing_patients"] == found["nomogram"]["patients"] - 14
    assert [branch["candidates"] for branch in found["branches"]] == [1316, 2048]
    assert found["branches"][0]["events_per_candidate"] == pytest.approx(counts["development_events"] / 1316)
    text = run("--cohort", cohort, "--auc", "0.85", "--prevalence", "0.4", "--candidates", "5")
    assert "at hand, to learn from" in text
    assert "prevalence 0.4" in text
    assert "patients too few" in text


def test_enough_is_called_enough() -> None:
    counts = CohortCounts(development_patients=700, development_events=122, test_patients=0, test_events=0)
    found = plan_sample_size(prevalence=0.174, candidates=24, cox_snell=0.288, cohort=counts)
    assert found.at_hand is not None
    assert found.at_hand.missing_patients == 0
    assert found.at_hand.affordable_candidates >= 24
    assert 0.9 < found.at_hand.shrinkage < 0.95
    assert any("enough by all three criteria" in statement for statement in found.statements)


def test_no_word_claims_more_than_it_knows(cohort: Path) -> None:
    assert "significan" not in run("--cohort", cohort, "--auc", "0.8").lower()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--prevalence", "0.4", "--candidates", "3", "--auc", "0.8", "--r2", "0.2"),
        ("--prevalence", "0.4", "--auc", "0.8"),
        ("--candidates", "3", "--auc", "0.8"),
        ("--prevalence", "1.4", "--candidates", "3", "--auc", "0.8"),
        ("--prevalence", "nan", "--candidates", "3", "--auc", "0.8"),
        ("--prevalence", "0.4", "--candidates", "0", "--auc", "0.8"),
        ("--prevalence", "0.4", "--candidates", "3", "--auc", "0.4"),
        ("--prevalence", "0.05", "--candidates", "3", "--r2", "0.5"),
    ],
)
def test_nonsense_has_a_code(arguments: tuple[str, ...]) -> None:
    with pytest.raises(NodogramError) as caught:
        run(*arguments)
    assert caught.value.reason is Reason.SETTINGS_INVALID


def test_faults_of_files_keep_their_codes(tmp_path: Path) -> None:
    with pytest.raises(NodogramError) as caught:
        run("--cohort", tmp_path, "--auc", "0.8")
    assert caught.value.reason is Reason.FILE_NOT_FOUND
    with pytest.raises(NodogramError) as caught:
        run(*PUBLISHED, "--recipe", "nothing")
    assert caught.value.reason is Reason.RECIPE_INVALID


def test_without_a_performance_the_recipe_says_what_to_expect() -> None:
    from training.recipe import load_recipe

    expected = load_recipe("sound").evaluation.anticipated_auc
    found = plan_of("--prevalence", "0.4", "--candidates", "3")
    assert found == plan_of("--prevalence", "0.4", "--candidates", "3", "--auc", str(expected))
