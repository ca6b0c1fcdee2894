"""From files to the document: what the run said, what the formula says, what a kill cannot change."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_external import clinical_probability, write_clinical_bundle

from nodogram.bundle import load_bundle
from nodogram.errors import NodogramError, Reason
from training.external.evaluation import PHASES, EvaluationOptions, evaluate_bundle, own_performance
from training.external.signature import read_evaluation, verify
from training.progress import RunProgress
from training.results import load_results

PATIENTS = 30
# As the fixtures call it, in a process of its own that can be killed.
COMMAND = """
import sys
from pathlib import Path
from training.external.evaluation import PHASES, EvaluationOptions, evaluate_bundle
from training.progress import RunProgress
options = EvaluationOptions(resume=len(sys.argv) > 4, recalibrate="intercept", replicates=40)
evaluate_bundle(*map(Path, sys.argv[1:4]), options, RunProgress(PHASES))
"""


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def evaluated(bundle: Path, cohort: Path, out: Path, **options: Any) -> Path:
    evaluate_bundle(bundle, cohort, out, EvaluationOptions(replicates=40, **options), RunProgress(PHASES))
    return out


@pytest.fixture(scope="module")
def done(clinical_bundle: Path, small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(clinical_bundle, small_cohort, tmp_path_factory.mktemp("done") / "out", recalibrate="intercept")


def test_everything_promised_is_there(done: Path) -> None:
    assert (done / "report" / "index.html").stat().st_size > 20_000
    assert {p.suffix for p in (done / "figures").iterdir()} == {".png", ".svg"}
    assert {"performance.csv", "measures.csv", "recalibration.csv", "case_mix.csv"} <= {
        p.name for p in (done / "tables").iterdir()
    }
    assert not list(done.rglob("*.partial"))


def test_probabilities_are_those_of_the_formula(done: Path, small_cohort: Path) -> None:
    found = {row["patient_id"]: row for row in lines(done / "predictions.csv")}
    clinical = {row["patient_id"]: row for row in lines(small_cohort / "cohort.csv")}
    assert len(found) == PATIENTS - 1
    refused = [row for row in found.values() if row["refused"]]
    assert [row["refused"] for row in refused] == ["UNREADABLE_FILE"]
    alone = [row for row in found.values() if not row["probability"] and not row["refused"]]
    assert [row["notes"].split() for row in alone] == [["CLINICAL_PREDICTOR_MISSING"]]
    assert float(alone[0]["dlr_probability"]) == 0.5
    predicted = [row for row in found.values() if row["probability"]]
    assert len(predicted) == PATIENTS - 3
    for row in predicted:
        record = clinical[row["patient_id"]]
        expected = clinical_probability(record["ct_reported_lnm"], record["tumour_site"])
        assert float(row["probability"]) == pytest.approx(expected, abs=1e-12)
        assert row["outcome"] == record["outcome"]


def test_the_document_counts_and_names_nobody(done: Path, small_cohort: Path, clinical_bundle: Path) -> None:
    text = (done / "evaluation.json").read_text(encoding="utf-8")
    document = read_evaluation(text)
    assert verify(text, None).status == "unchanged"
    flow = {step.label: (step.count, step.excluded) for step in document.flow}
    assert flow["Listed in the cohort table"] == (PATIENTS, ())
    assert flow["Readable rows"] == (PATIENTS - 1, (("OUTCOME_INVALID", 1),))
    assert flow["Predicted: DLR score"] == (PATIENTS - 2, (("UNREADABLE_FILE", 1),))
    assert flow["Every clinical finding known: nomogram"] == (PATIENTS - 3, (("CLINICAL_PREDICTOR_MISSING", 1),))
    assert document.bundle.digest == load_bundle(clinical_bundle).digest
    page = (done / "report" / "index.html").read_text(encoding="utf-8")
    tables = "".join(p.read_text(encoding="utf-8") for p in (done / "tables").iterdir())
    for row in lines(small_cohort / "cohort.csv"):
        for secret in (row["patient_id"], row["image"], row["roi"]):
            assert secret not in text
            assert secret not in page
            assert secret not in tables
    assert str(small_cohort) not in text
    assert document.bundle.own == ()


def test_killed_and_resumed_is_the_same_document(clinical_bundle: Path, small_cohort: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", COMMAND, str(clinical_bundle), str(small_cohort), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    store = out / "work" / "patients"
    deadline = time.monotonic() + 120
    while len(list(store.glob("*.json"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {p.name: p.stat().st_mtime_ns for p in store.glob("*.json")}
    assert 3 <= len(kept) < PATIENTS - 2
    assert not (out / "evaluation.json").exists()
    with pytest.raises(NodogramError, match="--resume") as caught:
        evaluated(clinical_bundle, small_cohort, out)
    assert caught.value.reason is Reason.RUN_EXISTS
    subprocess.run([*command, "resume"], check=True, capture_output=True, timeout=200)
    assert {p.name: p.stat().st_mtime_ns for p in store.glob("*.json")}.items() >= kept.items()
    first, second = (json.loads((folder / "evaluation.json").read_text(encoding="utf-8")) for folder in (done, out))
    for whole in (first, second):
        del whole["evaluation"]["created"]
    assert first["evaluation"] == second["evaluation"]
    assert (done / "predictions.csv").read_bytes() == (out / "predictions.csv").read_bytes()


def test_a_damaged_prediction_is_made_again(clinical_bundle: Path, small_cohort: Path, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    for path in (out / "work" / "patients").glob("*.json"):
        path.write_text("{", encoding="utf-8")
        break
    evaluated(clinical_bundle, small_cohort, out, resume=True, recalibrate="intercept")
    assert (done / "predictions.csv").read_bytes() == (out / "predictions.csv").read_bytes()


def test_a_folder_of_another_bundle_or_cohort_is_refused(
    clinical_bundle: Path, small_cohort: Path, done: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(done / "work", out / "work")
    other = write_clinical_bundle(tmp_path / "bundle", slice_spacing_mm=(0.1, 0.2))
    with pytest.raises(NodogramError, match="another bundle;") as caught:
        evaluated(other, small_cohort, out, resume=True)
    assert caught.value.reason is Reason.RUN_MISMATCH


def test_every_image_outside_the_envelope_is_counted(small_cohort: Path, tmp_path: Path) -> None:
    thin = write_clinical_bundle(tmp_path / "bundle", slice_spacing_mm=(0.1, 0.2))
    document = evaluate_bundle(thin, small_cohort, tmp_path / "out", EvaluationOptions(replicates=40), RunProgress(PHASES))
    counts = {note.code: note.patient_count for note in document.case_mix.notes}
    assert counts["OUTSIDE_ACQUISITION_ENVELOPE"] == PATIENTS - 2
    assert any(text.startswith(f"{PATIENTS - 2} patients were predicted with images unlike") for text in document.statements)


def test_what_does_not_fit_is_refused_before_anything_is_written(
    clinical_bundle: Path, small_cohort: Path, tmp_path: Path
) -> None:
    strange = tmp_path / "cohort"
    shutil.copytree(small_cohort, strange, ignore=shutil.ignore_patterns("*.nii.gz"))
    text = (small_cohort / "cohort.toml").read_text(encoding="utf-8")
    (strange / "cohort.toml").write_text(text.replace("ct_reported_lnm", "ct_lnm"), encoding="utf-8")
    table = (small_cohort / "cohort.csv").read_text(encoding="utf-8")
    (strange / "cohort.csv").write_text(table.replace("ct_reported_lnm", "ct_lnm"), encoding="utf-8")
    with pytest.raises(NodogramError) as caught:
        evaluated(clinical_bundle, strange, tmp_path / "out")
    assert caught.value.reason is Reason.CLINICAL_PREDICTOR_UNKNOWN
    assert not (tmp_path / "out").exists()


def test_the_run_says_the_same_of_its_own_test_patients(tiny_run: Path, tiny_cohort: Path, tmp_path: Path) -> None:
    out = evaluated(tiny_run / "bundle", tiny_cohort, tmp_path / "out", jobs=2)
    own = {row["patient_id"]: row["probability"] for row in lines(tiny_run / "predictions.csv") if row["split"] == "test"}
    found = {row["patient_id"]: row["probability"] for row in lines(out / "predictions.csv")}
    assert len(own) == 12
    assert {p: float(found[p]) for p in own} == pytest.approx({p: float(v) for p, v in own.items()}, abs=1e-9)
    document = read_evaluation((out / "evaluation.json").read_text(encoding="utf-8"))
    assert {(m.feature_set, m.sample) for m in document.bundle.own} == {
        (score, sample) for score in ("nomogram", "dlr") for sample in ("development_out_of_fold", "test")
    }
    results = load_results(tiny_run)
    for own_row in document.bundle.own:
        row = next(
            m for m in results.models if (m.feature_set, m.sample, m.classifier) == (own_row.feature_set, own_row.sample, None)
        )
        assert (own_row.auc, own_row.threshold) == (row.auc, row.threshold)
    assert all(m.true_positive_rate == () for m in document.bundle.own)


def test_a_run_of_another_bundle_is_refused(tiny_run: Path, clinical_bundle: Path, tmp_path: Path) -> None:
    digest = load_bundle(clinical_bundle).digest
    assert own_performance(clinical_bundle, digest, None) == ()
    assert own_performance(tiny_run / "bundle", digest, None) == ()
    for run in (tiny_run, tmp_path):
        with pytest.raises(NodogramError) as caught:
            own_performance(clinical_bundle, digest, run)
        assert caught.value.reason is Reason.RUN_MISMATCH


def test_options_hold_no_key_in_their_text() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    assert "key" not in repr(replace(EvaluationOptions(), key=Ed25519PrivateKey.generate())).lower()
