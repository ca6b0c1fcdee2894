"""Simple models: cross-fitted as said, and blind to the patients they are measured on."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from nodogram.clinical import ClinicalPredictor
from training.evidence.baselines import ct_report, report_model, volume_model
from training.recipe import load_recipe
from training.splits import Fold, Split

REPORT = ClinicalPredictor(
    name="ct_reported_lnm", label="CT-reported LNM", type="categorical", levels=("no", "yes"), reference="no"
)
IDS = tuple(f"p{i}" for i in range(70))
DEVELOPMENT, TEST = IDS[:60], IDS[60:]
FOLDS = tuple(Fold(k, tuple(c for i, c in enumerate(DEVELOPMENT) if i % 3 != k), tuple(DEVELOPMENT[k::3])) for k in range(3))
SPLIT = Split(DEVELOPMENT, TEST, FOLDS, "digest")


def cohort(seed: int = 0) -> tuple[dict[str, float], dict[str, int]]:
    rng = np.random.default_rng(seed)
    volume = rng.lognormal(1.0, 0.8, len(IDS))
    outcome = (rng.random(len(IDS)) < 1 / (1 + np.exp(1.0 - np.log(volume)))).astype(int)
    return dict(zip(IDS, volume.tolist(), strict=True)), dict(zip(IDS, outcome.tolist(), strict=True))


def expected(fit_on: tuple[str, ...], score_on: tuple[str, ...], x: dict[str, float], y: dict[str, int]) -> np.ndarray:
    fit = sm.Logit([y[c] for c in fit_on], sm.add_constant(np.array([x[c] for c in fit_on]))).fit(disp=0)
    return np.asarray(fit.predict(sm.add_constant(np.array([x[c] for c in score_on]), has_constant="add")))


def test_volume_alone_is_a_cross_fitted_logistic_regression_on_its_logarithm() -> None:
    volume, outcome = cohort()
    found = volume_model(volume, outcome, SPLIT)
    logs = {c: float(np.log(v)) for c, v in volume.items()}
    assert tuple(found.out_of_fold) == tuple(found.apparent) == DEVELOPMENT
    assert list(found.test.values()) == pytest.approx(expected(DEVELOPMENT, TEST, logs, outcome))
    assert list(found.apparent.values()) == pytest.approx(expected(DEVELOPMENT, DEVELOPMENT, logs, outcome))
    for fold in FOLDS:
        held_out = [found.out_of_fold[c] for c in fold.held_out]
        assert held_out == pytest.approx(expected(fold.fit, fold.held_out, logs, outcome))


def test_the_outcome_of_a_held_out_patient_changes_nothing_said_of_that_patient() -> None:
    volume, outcome = cohort()
    changed = {**outcome, **{c: 1 - outcome[c] for c in (*FOLDS[0].held_out[:1], *TEST)}}
    first, second = volume_model(volume, outcome, SPLIT), volume_model(volume, changed, SPLIT)
    assert [second.out_of_fold[c] for c in FOLDS[0].held_out] == [first.out_of_fold[c] for c in FOLDS[0].held_out]
    assert second.out_of_fold[FOLDS[1].held_out[0]] != first.out_of_fold[FOLDS[1].held_out[0]]


def test_the_report_alone_predicts_the_share_of_each_level() -> None:
    _, outcome = cohort()
    records = {c: {"ct_reported_lnm": "yes" if i % 2 else "no"} for i, c in enumerate(IDS)}
    found = report_model(REPORT, records, outcome, SPLIT, load_recipe("sound").clinical)
    share = np.mean([outcome[c] for i, c in enumerate(DEVELOPMENT) if i % 2])
    assert [found.test[c] for i, c in enumerate(TEST) if i % 2] == pytest.approx([share] * 5)
    assert (found.name, found.label) == ("ct_reported_lnm", "CT-reported LNM alone")


def test_patients_without_a_report_are_left_out() -> None:
    _, outcome = cohort()
    records = {c: {} if i % 7 == 0 else {"ct_reported_lnm": "yes" if i % 2 else "no"} for i, c in enumerate(IDS)}
    found = report_model(REPORT, records, outcome, SPLIT, load_recipe("sound").clinical)
    assert set(found.out_of_fold) == {c for i, c in enumerate(DEVELOPMENT) if i % 7}
    none = report_model(REPORT, {c: {} for c in IDS}, outcome, SPLIT, load_recipe("sound").clinical)
    assert (none.apparent, none.out_of_fold, none.test) == ({}, {}, {})


def test_the_report_is_found_by_its_name() -> None:
    age = ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(0, 120))
    assert ct_report((age, REPORT)) == REPORT
    assert ct_report((age,)) is None
