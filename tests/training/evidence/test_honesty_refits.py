"""Refits: who may be learned from, copies that stay together, and what a refit must reproduce."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_finished_run import finished_run, small_recipe

from nodogram.errors import Reason, TrainingError
from training.evidence.honesty import FinishedRun, refit_materials, run_as_refit
from training.evidence.refit_material import RefitMaterial
from training.evidence.refit_models import held_out_probabilities
from training.evidence.refits import RefitTask, cross_fit, deal_folds, draw_rows, fit_rows, hidden, noise_material, run_refit
from training.guard import FitScope


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return finished_run(tmp_path_factory.mktemp("run"), small_recipe({}), centre_count=2)


@pytest.fixture(scope="module")
def material(run: FinishedRun) -> RefitMaterial:
    return refit_materials(run)[0]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_refit_in_the_folds_of_the_run_is_the_run(run: FinishedRun, material: RefitMaterial) -> None:
    """Same rows, folds and seeds, so the refit must give the numbers of the run to the last digit."""
    again, own = run_refit(RefitTask("frozen", 0), material), run_as_refit(run, material)
    assert again.out_of_fold == own.out_of_fold
    assert again.fitted == own.fitted
    assert again.fold_selections == own.fold_selections
    assert again.final_selections == own.final_selections


def test_the_run_in_this_form_is_what_the_run_says_of_itself(run: FinishedRun, material: RefitMaterial) -> None:
    own = run_as_refit(run, material)
    assert own.out_of_fold is not None
    assert own.fitted is not None
    assert own.out_of_fold.nomogram == tuple(run.fitted.held_out[c].nomogram for c in material.case_ids)
    assert own.out_of_fold.dlr == tuple(run.fitted.held_out[c].dlr for c in material.case_ids)
    assert own.fitted.nomogram == pytest.approx([run.fitted.apparent[c].nomogram for c in material.case_ids])
    assert own.fitted.dlr == pytest.approx([run.fitted.apparent[c].dlr for c in material.case_ids])


def test_test_patients_are_not_in_the_material(run: FinishedRun, material: RefitMaterial) -> None:
    assert set(material.case_ids) == set(run.split.development)
    assert not set(material.records) & set(run.split.test)
    assert material.data.radiomics is not None
    assert not set(material.data.radiomics.case_ids) & set(run.split.test)


@pytest.mark.parametrize("index", range(8))
def test_copies_of_a_patient_are_never_torn_apart(material: RefitMaterial, index: int) -> None:
    task = RefitTask("bootstrap", index)
    rows = draw_rows(task, material, rng(index))
    assert max(Counter(rows.patients).values()) > 1
    assert len(set(rows.labels)) == len(rows.labels) == len(material.case_ids)
    for fit, out in deal_folds(task, rows, material, seed=index):
        assert not {rows.patients[i] for i in fit} & {rows.patients[i] for i in out}
        assert sorted([*fit, *out]) == list(range(len(rows.labels)))
    assert set(rows.patients) | hidden(task, rows) == set(material.case_ids)
    assert not set(rows.patients) & hidden(task, rows)


def test_a_patient_not_drawn_is_refused_by_the_guard(material: RefitMaterial) -> None:
    task = RefitTask("bootstrap", 0)
    rows = draw_rows(task, material, rng())
    scope = FitScope("resample", frozenset(material.case_ids) - hidden(task, rows), rows.patient_of)
    everyone = draw_rows(RefitTask("repeat", 0), material, rng())
    scope_of_all = replace(scope, patient_of=everyone.patient_of)
    with pytest.raises(TrainingError, match="reached the fit") as caught:
        fit_rows(everyone, np.arange(len(everyone.labels)), scope_of_all, material, seed=1)
    assert caught.value.reason is Reason.HELD_OUT_PATIENT_IN_FIT


def test_a_copy_of_a_held_out_patient_is_refused_by_the_guard(material: RefitMaterial) -> None:
    task = RefitTask("bootstrap", 0)
    rows = draw_rows(task, material, rng())
    twice = next(patient for patient, count in Counter(rows.patients).items() if count > 1)
    first, *others = [i for i, patient in enumerate(rows.patients) if patient == twice]
    torn = [(np.setdiff1d(np.arange(len(rows.labels)), [first]), np.array([first]))]
    assert others
    with pytest.raises(TrainingError) as caught:
        cross_fit(task, rows, torn, material, seed=1)
    assert caught.value.reason is Reason.HELD_OUT_PATIENT_IN_FIT


def test_patients_of_a_center_left_out_are_not_among_the_rows(material: RefitMaterial) -> None:
    gone = frozenset(material.folds[0].held_out)
    result = run_refit(RefitTask("centre", 0, gone), material)
    assert result.failure is None
    assert result.fitted is not None
    assert not {material.case_ids[i] for i in result.drawn} & gone
    assert len(result.fitted.nomogram) == len(material.case_ids)


def test_permutation_keeps_patients_findings_and_number_of_events(material: RefitMaterial) -> None:
    rows = draw_rows(RefitTask("permutation", 0), material, rng(1))
    assert rows.patients == material.case_ids
    assert rows.outcome.sum() == material.outcome.sum()
    assert (rows.outcome != material.outcome).any()
    fits = deal_folds(RefitTask("permutation", 0), rows, material, seed=2)
    shares = [rows.outcome[out].mean() for _, out in fits]
    assert max(shares) - min(shares) < 0.1, "folds must be stratified by the permuted outcome"


def test_nothing_but_the_permuted_outcome_is_looked_at(material: RefitMaterial) -> None:
    """With every real outcome turned over, the same permuted rows give the same refit."""
    task = RefitTask("permutation", 0)
    rows = draw_rows(task, material, rng(1))
    turned = {c: 1 - y for c, y in material.data.outcome.items()}
    blind = replace(material, data=replace(material.data, outcome=turned))
    folds = deal_folds(task, rows, material, seed=2)
    for fold, blind_fold in zip(folds, deal_folds(task, rows, blind, seed=2), strict=True):
        assert np.array_equal(fold[1], blind_fold[1])
    results, blind_results = (cross_fit(task, rows, folds, m, seed=2) for m in (material, blind))
    assert results == blind_results
    assert held_out_probabilities(rows, results, material) == held_out_probabilities(rows, results, blind)


def test_noise_replaces_every_feature_and_nothing_else(material: RefitMaterial) -> None:
    noise = noise_material(material, rng())
    assert noise.data.radiomics is not None
    assert material.data.radiomics is not None
    assert noise.data.radiomics.names == material.data.radiomics.names
    assert not np.isclose(noise.data.radiomics.values, material.data.radiomics.values).any()
    assert abs(noise.data.radiomics.values.std() - 1) < 0.1
    assert noise.records is material.records
    assert noise.data.outcome == material.data.outcome


def test_a_resample_without_an_outcome_is_returned_with_its_reason(material: RefitMaterial) -> None:
    outcome = {c: int(i < 1) for i, c in enumerate(material.case_ids)}
    result = run_refit(RefitTask("bootstrap", 0), replace(material, data=replace(material.data, outcome=outcome)))
    assert result.failure is not None
    assert result.fitted is None


def test_same_task_same_numbers(material: RefitMaterial) -> None:
    task = RefitTask("bootstrap", 2)
    assert run_refit(task, material) == run_refit(task, material)
    assert run_refit(task, material).drawn != run_refit(RefitTask("bootstrap", 3), material).drawn


def test_a_resubstituted_score_needs_no_folds_in_a_resample(tmp_path: Path) -> None:
    run = finished_run(tmp_path, small_recipe({}, source="apparent"))
    material, _ = refit_materials(run)
    result = run_refit(RefitTask("bootstrap", 0), material)
    assert (result.fold, result.fold_selections, result.out_of_fold) == ((), (), None)
    assert result.fitted is not None
    assert run_refit(RefitTask("repeat", 0), material).out_of_fold is not None
