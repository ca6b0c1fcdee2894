from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from nodogram.errors import NodogramError
from training.evidence.document import RunEvidence, load_evidence
from training.results import load_results


@pytest.fixture(scope="module")
def evidence(tiny_run: Path) -> RunEvidence:
    return load_evidence(tiny_run)


def _column(run: Path, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    with (run / "predictions.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split]
    return np.array([int(row["outcome"]) for row in rows]), np.array([float(row[name]) for row in rows])


@pytest.mark.parametrize(
    ("sample", "split", "column"),
    [
        ("development_apparent", "development", "probability_apparent"),
        ("development_out_of_fold", "development", "probability_oof"),
        ("test", "test", "probability"),
    ],
)
def test_what_is_measured_follows_from_the_predictions_written(
    tiny_run: Path, evidence: RunEvidence, sample: str, split: str, column: str
) -> None:
    outcome, probability = _column(tiny_run, split, column)
    found = evidence.of("nomogram", sample)  # type: ignore[arg-type]
    assert found is not None
    assert found.patient_count == len(outcome)
    assert found.event_count == outcome.sum()
    assert found.discrimination is not None
    assert found.discrimination.auc_logit.value == pytest.approx(roc_auc_score(outcome, probability))
    assert found.discrimination.auprc.value == pytest.approx(average_precision_score(outcome, probability))
    assert found.calibration.brier.value == pytest.approx(brier_score_loss(outcome, probability))
    threshold = load_results(tiny_run).threshold
    assert found.decisions.threshold == threshold
    assert found.decisions.true_positive == int(((probability >= threshold) & (outcome == 1)).sum())


def test_every_model_of_table_five_is_there_with_the_same_figures(tiny_run: Path, evidence: RunEvidence) -> None:
    rows = {(m.feature_set, m.sample): m for m in load_results(tiny_run).models if m.chosen}
    assert {(m.feature_set, m.sample) for m in evidence.models} == set(rows)
    for model in evidence.models:
        found = model.evidence.discrimination
        assert found is not None
        expected = [
            m.auc.value
            for m in load_results(tiny_run).models
            if m.chosen and (m.feature_set, m.sample) == (model.feature_set, model.sample)
        ]
        assert any(found.auc_logit.value == pytest.approx(value) for value in expected)


def test_comparisons_are_never_apparent(evidence: RunEvidence) -> None:
    samples = {family.sample for family in evidence.comparisons}
    assert samples == {"development_out_of_fold", "test"}
    assert {table.sample for table in evidence.subgroups} == samples
    assert {value.sample for value in evidence.incremental} == samples


def test_the_sample_size_counts_what_the_run_learned_from(tiny_run: Path, evidence: RunEvidence) -> None:
    at_hand = evidence.sample_size.at_hand
    assert at_hand is not None
    outcome, _ = _column(tiny_run, "development", "probability_oof")
    assert at_hand.counts.development_patients == len(outcome)
    assert at_hand.counts.development_events == outcome.sum()


def test_an_unfinished_run_has_no_evidence(tmp_path: Path) -> None:
    with pytest.raises(NodogramError, match="RUN_MISMATCH"):
        load_evidence(tmp_path)
