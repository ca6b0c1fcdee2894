"""What a finished run leaves behind, and what it does about patients it cannot use."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nodogram.bundle import load_bundle
from nodogram.errors import CohortError, Reason
from nodogram.stats.discrimination import auc
from training.cohort import load_cohort
from training.evaluate import predict_patients
from training.progress import RunProgress
from training.results import RunResults, load_results
from training.run import PHASES, RunOptions, train_run


@pytest.fixture(scope="module")
def results(tiny_run: Path) -> RunResults:
    return load_results(tiny_run)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_everything_promised_is_there(tiny_run: Path, results: RunResults) -> None:
    assert (tiny_run / "report" / "index.html").stat().st_size > 50_000
    assert {p.suffix for p in (tiny_run / "figures").iterdir()} == {".png", ".svg"}
    assert len(list((tiny_run / "tables").glob("table[1-5]_*.csv"))) == 5
    table = pq.read_table(tiny_run / "features.parquet")
    assert table.num_rows == 40
    assert table.num_columns == 1 + 200
    assert results.bundle_digest == load_bundle(tiny_run / "bundle").digest


def test_predictions_are_those_the_performance_was_measured_on(tiny_run: Path, results: RunResults) -> None:
    columns = {
        "development_apparent": "probability_apparent",
        "development_out_of_fold": "probability_oof",
        "test": "probability",
    }
    predictions = rows(tiny_run)
    assert {r["split"] for r in predictions} == {"development", "test"}
    for model in results.models:
        if model.feature_set == "nomogram":
            used = [r for r in predictions if r[columns[model.sample]]]
            outcome = np.array([int(r["outcome"]) for r in used])
            score = np.array([float(r[columns[model.sample]]) for r in used])
            assert auc(outcome, score) == pytest.approx(model.auc.value)
            assert model.patient_count == len(used)


def test_every_algorithm_is_reported_on_every_sample(results: RunResults) -> None:
    found = {(m.feature_set, m.classifier, m.sample) for m in results.models if m.classifier}
    samples = ("development_apparent", "development_out_of_fold", "test")
    for feature_set in ("radiomics", "deep", "dlr"):
        for classifier in results.recipe.classifiers.names:
            assert all((feature_set, classifier, sample) in found for sample in samples)


def test_the_bundle_answers_the_same_on_any_number_of_processes(tiny_run: Path, tiny_cohort: Path) -> None:
    test = {r["patient_id"]: float(r["probability"]) for r in rows(tiny_run) if r["split"] == "test"}
    patients = [p for p in load_cohort(tiny_cohort).patients if p.patient_id in test][:3]
    served = predict_patients(tiny_run / "bundle", patients, 1, RunProgress(PHASES))
    assert served == pytest.approx({p.patient_id: test[p.patient_id] for p in patients}, abs=1e-9)


def test_strict_stops_at_the_first_patient_that_cannot_be_used(uneven_cohort: Path, tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError) as caught:
        train_run(uneven_cohort, str(tiny_recipe), tmp_path / "run", RunOptions(False, 1, strict=True), RunProgress(PHASES))
    assert caught.value.reason is Reason.CLINICAL_VALUE_INVALID


def test_without_strict_the_others_are_trained_on_and_the_flow_says_why(uneven_run: Path) -> None:
    found = load_results(uneven_run)
    flow = {step.label: step for step in found.flow}
    assert flow["Listed in the cohort table"].count == 40
    assert flow["Complete rows"].excluded == (("CLINICAL_VALUE_INVALID", 1),)
    assert flow["Usable image and outline"].excluded == (("UNREADABLE_FILE", 1),)
    assert len(rows(uneven_run)) == 38
    assert any("2 patients" in warning for warning in found.warnings)
    assert load_bundle(uneven_run / "bundle").backbone is None
