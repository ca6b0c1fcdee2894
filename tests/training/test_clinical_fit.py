from __future__ import annotations

import numpy as np
import pytest

from nodogram.clinical import ClinicalPredictor
from nodogram.errors import CohortError, Reason
from training.clinical_fit import clinical_probability, clinical_tables, column_names, design_matrix
from training.recipe import load_recipe

STAGE = ClinicalPredictor(name="stage", label="T stage", type="categorical", levels=("T1", "T2", "T3"), reference="T2")
SEX = ClinicalPredictor(name="sex", label="Sex", type="categorical", levels=("female", "male"), reference="female")
AGE = ClinicalPredictor(name="age", label="Age", type="continuous", unit="years", range=(18, 110))
SOUND, PAPER = load_recipe("sound").clinical, load_recipe("paper").clinical


def cohort() -> tuple[list[dict[str, str | float]], np.ndarray]:
    """Events and others by stage: T1 2/18, T2 10/10, T3 15/5; sex has no association at all."""
    records: list[dict[str, str | float]] = []
    outcome = []
    for level, events, others in (("T1", 2, 18), ("T2", 10, 10), ("T3", 15, 5)):
        for i in range(events + others):
            records.append({"stage": level, "sex": ("female", "male")[i % 2], "age": 50.0 + i})
            outcome.append(int(i < events))
    return records, np.array(outcome)


def test_every_level_is_compared_with_its_reference() -> None:
    records, outcome = cohort()
    (stage,) = clinical_tables((STAGE,), records, outcome, PAPER).univariable
    assert stage.names == ("clinical.stage[T1]", "clinical.stage[T3]")
    assert stage.odds_ratio == pytest.approx(((2 / 18) / (10 / 10), (15 / 5) / (10 / 10)), rel=1e-6)
    error = np.sqrt(1 / 2 + 1 / 18 + 1 / 10 + 1 / 10)
    assert stage.low[0] == pytest.approx(2 / 18 * np.exp(-1.959964 * error), rel=1e-5)
    assert stage.high[0] == pytest.approx(2 / 18 * np.exp(1.959964 * error), rel=1e-5)


def test_another_reference_inverts_the_odds_ratio_and_nothing_else() -> None:
    records, outcome = cohort()
    flipped = SEX.model_copy(update={"reference": "male"})
    (one,), (other,) = (clinical_tables((p,), records, outcome, SOUND).univariable for p in (SEX, flipped))
    assert one.odds_ratio[0] * other.odds_ratio[0] == pytest.approx(1.0)
    assert one.low[0] * other.high[0] == pytest.approx(1.0, rel=1e-6)
    assert one.p_value[0] == pytest.approx(other.p_value[0])


def test_screening_follows_the_recipe() -> None:
    records, outcome = cohort()
    kept = clinical_tables((STAGE, SEX), records, outcome, PAPER)
    assert kept.kept == ("stage",)
    assert kept.multivariable is not None
    assert kept.multivariable.names == ("clinical.stage[T1]", "clinical.stage[T3]")
    everything = clinical_tables((STAGE, SEX), records, outcome, SOUND)
    assert everything.kept == ("stage", "sex")
    assert [fit.interval for fit in everything.univariable] == ["profile", "profile"]
    nothing = clinical_tables((SEX,), records, outcome, PAPER)
    assert (nothing.kept, nothing.multivariable) == ((), None)


def test_a_level_nobody_has_is_reported_not_refused() -> None:
    records, outcome = cohort()
    few = [i for i, r in enumerate(records) if r["stage"] != "T1"]
    (stage,) = clinical_tables((STAGE,), [records[i] for i in few], outcome[few], SOUND).univariable
    assert stage.coefficient[0] == 0.0
    assert stage.notes == ("clinical.stage[T1] is the same for all patients: coefficient 0",)


def test_saturated_model_predicts_the_share_of_each_level() -> None:
    records, outcome = cohort()
    asked: list[dict[str, str | float]] = [{"stage": level} for level in STAGE.levels]
    assert clinical_probability((STAGE,), records, outcome, asked, SOUND) == pytest.approx([0.1, 0.5, 0.75], abs=1e-8)


def test_design_names_its_columns_and_refuses_gaps() -> None:
    records, _ = cohort()
    design = design_matrix((AGE, STAGE), records[:2])
    assert column_names((AGE, STAGE)) == ("clinical.age", "clinical.stage[T1]", "clinical.stage[T3]")
    assert design.tolist() == [[50.0, 1.0, 0.0], [51.0, 1.0, 0.0]]
    with pytest.raises(CohortError, match="no value for age") as missing:
        design_matrix((AGE,), [{"stage": "T1"}])
    assert missing.value.reason is Reason.CLINICAL_PREDICTOR_MISSING
