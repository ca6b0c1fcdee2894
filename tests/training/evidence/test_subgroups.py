"""Subgroups: how patients are divided, what is measured of each level, gaps and heterogeneity."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from nodogram.case import Acquisition
from nodogram.clinical import ClinicalPredictor
from nodogram.stats.calibration import calibration_line
from nodogram.stats.discrimination import auc_interval
from training.evidence.characteristics import Characteristic, characteristics, node_negative_patients
from training.evidence.sample import NO_EVENT, ONE_OUTCOME
from training.evidence.sample_result import SampleSettings
from training.evidence.subgroup_result import WARNING, SubgroupTable
from training.evidence.subgroups import (
    NO_SUCH_PATIENT,
    NOT_RECORDED,
    TOO_FEW,
    TOO_FEW_LEVELS,
    subgroup_table,
)

REPORT = ClinicalPredictor(
    name="ct_reported_lnm", label="CT-reported LNM", type="categorical", levels=("no", "yes"), reference="no"
)
STAGE = ClinicalPredictor(name="t_stage", label="T stage", type="categorical", levels=("T1", "T2", "T3"), reference="T2")
AGE = ClinicalPredictor(name="age_years", label="Age", type="continuous", unit="years", range=(0, 120))
IDS = tuple(f"p{i}" for i in range(10))
QUICK = SampleSettings(replicates=50)


def acquired(manufacturer: str | None = "A", spacing: float = 1.0, volume: float = 5.0) -> Acquisition:
    return Acquisition(spacing, 0.5, volume, 120.0, manufacturer, "B30f")


def divided(**changes: object) -> dict[str, Characteristic]:
    given: dict[str, object] = {
        "predictors": (REPORT, STAGE, AGE),
        "records": {
            c: {"ct_reported_lnm": "yes" if i < 4 else "no", "t_stage": ("T1", "T3")[i % 2], "age_years": 50.0 + i}
            for i, c in enumerate(IDS)
        },
        "centre": {c: ("north", "south", "south")[i % 3] for i, c in enumerate(IDS)},
        "acquisition": {c: acquired("A" if i % 4 else "B", 1.0, 1.0 + i) for i, c in enumerate(IDS)},
        "development": IDS[:6],
    }
    return {c.name: c for c in characteristics(**{**given, **changes})}  # type: ignore[arg-type]


def test_patients_are_divided_by_everything_that_is_known() -> None:
    found = divided()
    assert list(found) == ["ct_reported_lnm", "t_stage", "age_years", "centre", "manufacturer", "volume"]
    assert (found["ct_reported_lnm"].levels, found["ct_reported_lnm"].reference) == (("no", "yes"), "no")
    # A level nobody has is no level, and cannot be the reference.
    assert (found["t_stage"].levels, found["t_stage"].reference) == (("T1", "T3"), "T1")
    assert (found["centre"].levels, found["centre"].reference) == (("north", "south"), "south")
    assert (found["manufacturer"].levels, found["manufacturer"].reference) == (("A", "B"), "A")


def test_a_continuous_finding_is_split_at_the_median_of_the_development_patients() -> None:
    found = divided()["age_years"]
    assert found.levels == ("< 52.5 years", "≥ 52.5 years")
    assert [found.level_of[c] == "< 52.5 years" for c in IDS] == [True] * 3 + [False] * 7
    assert found.rule == "split at the median of the development patients"
    skewed = {c: {"age_years": 50.0 if i < 7 else 60.0} for i, c in enumerate(IDS)}
    assert divided(predictors=(AGE,), records=skewed)["age_years"].levels == ("≤ 50 years", "> 50 years")


def test_what_is_not_known_or_the_same_for_all_divides_nobody() -> None:
    records = {c: {"age_years": 50.0 + i} if i else {"age_years": float("nan")} for i, c in enumerate(IDS)}
    found = divided(records=records, centre=dict.fromkeys(IDS), acquisition={c: acquired(None) for c in IDS})
    assert list(found) == ["age_years"]
    assert "p0" not in found["age_years"].level_of


def test_node_negative_patients_are_those_at_the_reference_of_the_report() -> None:
    records = {"a": {"ct_reported_lnm": "no"}, "b": {"ct_reported_lnm": "yes"}, "c": {"ct_reported_lnm": ""}}
    assert node_negative_patients((AGE, REPORT), records) == frozenset({"a"})
    assert node_negative_patients((AGE,), records) is None


def scored(n: int = 240, seed: int = 0) -> tuple[dict[str, int], dict[str, float], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    linear = rng.normal(-0.4, 1.5, n)
    labels = (rng.random(n) < expit(linear)).astype(np.int64)
    ids = [f"p{i}" for i in range(n)]
    return (
        dict(zip(ids, labels.tolist(), strict=True)),
        dict(zip(ids, expit(linear).tolist(), strict=True)),
        labels,
        expit(linear),
    )


def three_levels(ids: list[str], name: str = "stage") -> Characteristic:
    return Characteristic(
        name, name.capitalize(), "as recorded", ("x", "y", "z"), "y", {c: "xyz"[i % 3] for i, c in enumerate(ids)}
    )


def test_every_level_is_measured_on_its_own_patients() -> None:
    outcome, probability, labels, values = scored()
    table = subgroup_table("test", outcome, probability, 0.35, [three_levels(list(outcome))], node_negative=None)
    found = table.characteristics[0]
    assert [row.level for row in found.rows] == ["x", "y", "z"]
    assert sum(row.patient_count for row in found.rows) == table.overall.patient_count == 240
    for k, row in enumerate(found.rows):
        y, p = labels[k::3], values[k::3]
        area = auc_interval(y, p)
        assert (row.auc.value, row.auc.low, row.auc.high) == pytest.approx((area.auc, area.low, area.high))
        hits, events = int(((p >= 0.35) & (y == 1)).sum()), int(y.sum())
        assert (row.sensitivity.low, row.sensitivity.high) == pytest.approx(proportion_confint(hits, events, method="wilson"))
        cleared = int(((p < 0.35) & (y == 0)).sum())
        assert row.specificity.value == pytest.approx(cleared / (80 - events))
        assert row.observed_to_expected.value == pytest.approx(events / p.sum())
        assert row.in_the_large.value == pytest.approx(calibration_line(y, p).intercept)
    assert SubgroupTable.model_validate_json(table.model_dump_json()) == table
    assert table.warning == WARNING


def test_gaps_are_level_minus_reference_with_newcombes_interval() -> None:
    outcome, probability, labels, values = scored(seed=1)
    found = subgroup_table("test", outcome, probability, 0.35, [three_levels(list(outcome))], node_negative=None)
    gaps = found.characteristics[0].gaps
    assert [(gap.level, gap.reference) for gap in gaps] == [("x", "y"), ("z", "y")]
    counts = [(int(((p >= 0.35) & (y == 1)).sum()), int(y.sum())) for y, p in ((labels[k::3], values[k::3]) for k in range(3))]
    for gap, k in zip(gaps, (0, 2), strict=True):
        expected = confint_proportions_2indep(*counts[k], *counts[1], method="newcomb", compare="diff")
        assert (gap.sensitivity.low, gap.sensitivity.high) == pytest.approx(expected, abs=1e-9)
        assert gap.sensitivity.value == pytest.approx(counts[k][0] / counts[k][1] - counts[1][0] / counts[1][1])


def test_heterogeneity_is_cochrans_q_of_the_logits_and_adjusted_over_characteristics() -> None:
    outcome, probability, labels, values = scored(seed=2)
    ids = list(outcome)
    halves = Characteristic("half", "Half", "as recorded", ("a", "b"), "a", {c: "ab"[i % 2] for i, c in enumerate(ids)})
    table = subgroup_table("test", outcome, probability, 0.35, [three_levels(ids), halves], node_negative=None)
    stage, half = (c.heterogeneity for c in table.characteristics)
    assert stage is not None
    assert half is not None
    areas = [auc_interval(labels[k::2], values[k::2]) for k in range(2)]
    spread = sum((a.standard_error / (a.auc * (1 - a.auc))) ** 2 for a in areas)
    assert half.statistic == pytest.approx((logit(areas[0].auc) - logit(areas[1].auc)) ** 2 / spread)
    assert (stage.degrees_of_freedom, half.degrees_of_freedom) == (2, 1)
    expected = multipletests([stage.p, half.p], method="holm")[1]
    assert (stage.adjusted_p, half.adjusted_p) == pytest.approx(tuple(expected))


def test_levels_alike_are_seldom_found_to_differ_and_others_are() -> None:
    alike = []
    for seed in range(80):
        outcome, probability, *_ = scored(150, seed)
        table = subgroup_table("test", outcome, probability, 0.3, [three_levels(list(outcome))], node_negative=None)
        found = table.characteristics[0].heterogeneity
        assert found is not None
        alike.append(found.p < 0.05)
    assert sum(alike) <= 10  # 4 expected
    outcome, probability, *_ = scored(300, 3)
    for i, c in enumerate(outcome):
        if i % 3 == 0:
            probability[c] = 1 - probability[c]
    table = subgroup_table("test", outcome, probability, 0.3, [three_levels(list(outcome))], node_negative=None)
    found = table.characteristics[0].heterogeneity
    assert found is not None
    assert found.p < 1e-6
    assert found.i_squared > 0.8


def test_small_levels_say_why_something_is_missing() -> None:
    outcome = {f"p{i}": int(i < 8) for i in range(20)}
    probability = {c: 0.2 + 0.03 * i for i, c in enumerate(outcome)}
    level = {c: "few" if i in (0, 8) else "none" if i in (9, 10) else "rest" for i, c in enumerate(outcome)}
    del level["p19"]
    kinds = Characteristic("kind", "Kind", "as recorded", ("few", "none", "rest", "absent"), "rest", level)
    found = subgroup_table("test", outcome, probability, 0.3, [kinds], node_negative=None).characteristics[0]
    few, none, rest, absent = found.rows
    assert (few.auc.reason, none.auc.reason, rest.auc.reason) == (TOO_FEW, TOO_FEW, None)
    assert (none.sensitivity.reason, none.in_the_large.reason) == (NO_EVENT, ONE_OUTCOME)
    assert (absent.patient_count, absent.observed_to_expected.value) == (0, None)
    assert found.missing_count == 1
    assert (found.heterogeneity, found.heterogeneity_reason) == (None, TOO_FEW_LEVELS)
    gap = next(g for g in found.gaps if g.level == "none")
    assert gap.sensitivity.reason == f"in one of the levels, {NO_EVENT}"
    assert gap.specificity.value is not None


def test_node_negative_patients_get_the_whole_evidence() -> None:
    outcome, probability, labels, values = scored(90)
    negative = frozenset(list(outcome)[::2]) | {"a patient of another sample"}
    table = subgroup_table("test", outcome, probability, 0.3, [], node_negative=negative, settings=QUICK)
    assert table.node_negative is not None
    assert (table.node_negative.patient_count, table.node_negative.event_count) == (45, int(labels[::2].sum()))
    avoided = table.node_negative.utility.per_hundred[2].avoided
    assert avoided.value == pytest.approx(100 * (values[::2] < 0.2).mean())
    absent = subgroup_table("test", outcome, probability, 0.3, [], node_negative=frozenset())
    assert (absent.node_negative, absent.node_negative_reason) == (None, NO_SUCH_PATIENT)
    assert subgroup_table("test", outcome, probability, 0.3, [], node_negative=None).node_negative_reason == NOT_RECORDED


def test_the_apparent_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="out of fold or on test patients"):
        subgroup_table("development_apparent", {"a": 1}, {"a": 0.5}, 0.3, [], node_negative=None)


def test_a_division_needs_two_levels_and_its_reference() -> None:
    with pytest.raises(ValueError, match="at least two levels"):
        Characteristic("x", "X", "as recorded", ("a",), "a", {})
    with pytest.raises(ValueError, match="the reference"):
        Characteristic("x", "X", "as recorded", ("a", "b"), "c", {})
