"""The whole document: complete, the same however it was computed, and right about noise."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_finished_run import finished_run, small_recipe
from rich.console import Console

from nodogram.features import FeatureTable
from nodogram.stats.discrimination import auc
from training.evidence.honesty import FinishedRun, gather_honesty
from training.evidence.honesty_result import HonestyEvidence
from training.evidence.refit_material import RefitResult
from training.progress import RunProgress

ASKED = {"bootstrap_resamples": 4, "repeats": 2, "permutations": 5, "noise_runs": 1, "leave_one_centre_out": True}


def gather(run: FinishedRun, work: Path, *, jobs: int = 1, resume: bool = False) -> HonestyEvidence:
    return gather_honesty(run, work, jobs=jobs, resume=resume, progress=RunProgress(1, Console(file=io.StringIO())))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finished_run(tmp_path_factory.mktemp("run"), small_recipe(ASKED), centre_count=3)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def evidence(run: FinishedRun, work: Path) -> HonestyEvidence:
    return gather(run, work)


def test_everything_asked_for_is_there(evidence: HonestyEvidence) -> None:
    assert evidence.network == "none"
    assert [row.model for row in evidence.reference] == ["clinical", "dlr", "nomogram"]
    assert evidence.optimism.count.requested == 4
    assert [m.model for m in evidence.optimism.models] == ["clinical", "dlr", "nomogram"]
    assert len(evidence.repeated.models[-1].auc) == 2
    assert evidence.permutation.pooled is not None
    assert evidence.permutation.within_folds is not None
    assert len(evidence.permutation.pooled.null) == 5
    assert 1 / 6 <= evidence.permutation.pooled.p <= 1
    assert len(evidence.noise.models[0].out_of_fold) == 1
    assert [row.centre for row in evidence.centres.rows] == ["center 0", "center 1", "center 2"]
    assert sum(row.patient_count for row in evidence.centres.rows) == evidence.patient_count
    assert evidence.frozen.reason is not None
    described = [method.measure for method in evidence.methods]
    assert len(described) == 9
    assert "untuned network" not in described


def test_observed_is_the_out_of_fold_auc_of_the_run(run: FinishedRun, evidence: HonestyEvidence) -> None:
    ids = run.split.development
    expected = auc(run.data.outcome_of(ids), np.array([run.fitted.held_out[c].nomogram for c in ids]))
    assert evidence.permutation.pooled is not None
    assert evidence.permutation.pooled.observed == expected
    assert evidence.reference[-1].out_of_fold_auc.value == expected


def test_noise_leaves_the_clinical_model_as_it_is(evidence: HonestyEvidence) -> None:
    assert evidence.noise.clinical_out_of_fold == evidence.reference[0].out_of_fold_auc.value


def test_frequencies_are_counts_of_stored_refits(evidence: HonestyEvidence, work: Path) -> None:
    resamples = [RefitResult.model_validate_json(p.read_text()) for p in sorted(work.glob("bootstrap-*.json"))]
    found = evidence.selection
    assert (found.resamples, found.folds) == (4, 3 + 2 * 3)
    for feature in found.features:
        assert feature.resamples == sum(any(feature.name in b.names for b in r.final_selections) for r in resamples)
        assert feature.folds <= found.folds
    signal = {f.name: f for f in found.features}
    assert max(signal["radiomics.f00"].resamples, signal["radiomics.f01"].resamples) >= 3
    assert sum(row.resamples for row in found.classifiers) == 4


def test_a_resumed_document_is_the_same_and_redoes_only_what_is_missing(
    run: FinishedRun, evidence: HonestyEvidence, work: Path
) -> None:
    (work / "bootstrap-0002.json").unlink()
    (work / "permutation-0005.json").unlink()
    kept = {path: path.stat().st_mtime_ns for path in work.glob("*.json")}
    assert gather(run, work, resume=True) == evidence
    assert (work / "bootstrap-0002.json").is_file()
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


def test_two_processes_give_the_document_of_one(run: FinishedRun, evidence: HonestyEvidence, tmp_path: Path) -> None:
    assert gather(run, tmp_path, jobs=2).model_dump_json() == evidence.model_dump_json()


def test_features_of_test_patients_do_not_matter(run: FinishedRun, evidence: HonestyEvidence, tmp_path: Path) -> None:
    table = run.data.radiomics
    assert table is not None
    values = table.values.copy()
    values[[table.case_ids.index(c) for c in run.split.test]] = 1e3
    other = replace(run, data=replace(run.data, radiomics=FeatureTable(table.case_ids, table.names, values)))
    assert gather(other, tmp_path) == evidence


def test_a_damaged_resample_is_counted_with_its_reason(run: FinishedRun, evidence: HonestyEvidence, work: Path) -> None:
    path = work / "bootstrap-0001.json"
    whole = path.read_text()
    path.write_text(RefitResult(kind="bootstrap", index=0, failure="too few patients").model_dump_json())
    found = gather(run, work, resume=True)
    path.write_text(whole)
    count = found.optimism.count
    assert (count.requested, count.fitted, count.failures) == (4, 3, (("too few patients", 1),))
    assert found.optimism.models[0].corrected[0].optimism.count == 3
    assert found.selection.resamples == 3
    assert found != evidence


def test_what_is_switched_off_says_so(tmp_path: Path) -> None:
    found = gather(finished_run(tmp_path, small_recipe({}), clinical=False), tmp_path / "work")
    sections = (found.optimism, found.repeated, found.permutation, found.noise, found.centres)
    assert all("switched off" in (section.reason or "") for section in sections)
    assert [row.model for row in found.reference] == ["dlr", "nomogram"]
    assert found.selection.resamples == 0
    assert found.selection.folds == 3
    assert [method.measure for method in found.methods] == ["refits", "frequency of selection"]


def test_one_center_is_not_left_out(tmp_path: Path) -> None:
    found = gather(finished_run(tmp_path, small_recipe({"leave_one_centre_out": True}), centre_count=1), tmp_path / "work")
    assert found.centres.count.requested == 0
    assert "fewer than 2 centers" in (found.centres.reason or "")


def test_of_pure_noise_only_the_apparent_figure_is_high(tmp_path: Path) -> None:
    """Many features without signal and no clinical findings: the truth is an AUC of one half."""
    recipe = small_recipe({"bootstrap_resamples": 10, "permutations": 8, "repeats": 2}, source="apparent")
    run = finished_run(tmp_path, recipe, patient_count=80, feature_count=150, signal=0.0, clinical=False, seed=4)
    found = gather(run, tmp_path / "work", jobs=2)
    auc_of = next(c for c in found.optimism.models[-1].corrected if c.measure == "auc")
    plus = next(p for p in found.optimism.models[-1].plus if p.measure == "auc")
    assert auc_of.apparent is not None
    assert auc_of.corrected is not None
    assert plus.value is not None
    assert auc_of.apparent > 0.72
    assert auc_of.corrected < auc_of.apparent - 0.1
    assert plus.value == pytest.approx(0.5, abs=0.13)
    assert found.repeated.models[-1].distribution.mean == pytest.approx(0.5, abs=0.15)
    assert found.permutation.pooled is not None
    assert found.permutation.pooled.p > 0.05


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finished_run(tmp_path_factory.mktemp("tuned"), small_recipe({}, network=True), patient_count=32)


@pytest.mark.parametrize("mode", ["initial", "refit"])
def test_the_untuned_network_is_always_a_baseline(tuned: FinishedRun, tmp_path: Path, mode: str) -> None:
    run = replace(tuned, recipe=small_recipe({"network": mode, "permutations": 1}, network=True))
    found = gather(run, tmp_path / "work")
    assert found.network == mode
    nomogram = found.frozen.models[-1]
    ids = run.split.development
    observed = auc(run.data.outcome_of(ids), np.array([run.fitted.held_out[c].nomogram for c in ids]))
    assert nomogram.tuned.value == observed
    assert nomogram.frozen.value is not None
    assert nomogram.difference.value == pytest.approx(observed - nomogram.frozen.value)
    assert found.permutation.pooled is not None
    expected = observed if mode == "refit" else nomogram.frozen.value
    assert found.permutation.pooled.observed == pytest.approx(expected)
