"""ROC analysis against R package pROC: 113 patients with aneurysmal subarachnoid hemorrhage (its data set ``aSAH``).

Patients: Turck et al. 2010, doi:10.1007/s00134-009-1641-y; software: Robin et al. 2011, doi:10.1186/1471-2105-12-77. AUC 0.7314
with interval 0.6301 to 0.8326 (s100b) and p 0.02718 (wfns against s100b) are printed in its manual; the values with more
digits are those its own tests expect (``test-auc.R``, ``test-ci.auc.R``, ``test-roc.test.R``).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from nodogram.stats.discrimination import auc, auc_interval, compare_aucs_paired, partial_auc

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def asah() -> dict[str, np.ndarray]:
    with (GOLDEN / "asah.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]} | {
        "poor": np.array([int(row["poor"]) for row in rows])
    }


def test_the_cohort_is_the_printed_one(asah: dict[str, np.ndarray]) -> None:
    assert (asah["poor"].size, asah["poor"].sum()) == (113, 41)


@pytest.mark.parametrize(
    ("marker", "expected"), [("s100b", 0.73136856368563685), ("wfns", 0.823678861788618), ("ndka", 0.611957994579946)]
)
def test_auc(asah: dict[str, np.ndarray], marker: str, expected: float) -> None:
    assert auc(asah["poor"], asah[marker]) == pytest.approx(expected, abs=1e-14)


def test_delong_interval(asah: dict[str, np.ndarray]) -> None:
    found = auc_interval(asah["poor"], asah["s100b"], "delong")
    assert (round(found.auc, 4), round(found.low, 4), round(found.high, 4)) == (0.7314, 0.6301, 0.8326)
    found = auc_interval(asah["poor"], asah["ndka"], "delong")
    assert (found.low, found.high) == pytest.approx((0.501244999271703, 0.722670989888189), abs=1e-13)


@pytest.mark.parametrize(
    ("first", "second", "z", "p", "low", "high"),
    [
        ("wfns", "s100b", 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
        ("wfns", "ndka", 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
        ("ndka", "s100b", -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
    ],
)
def test_paired_delong(
    asah: dict[str, np.ndarray], first: str, second: str, z: float, p: float, low: float, high: float
) -> None:
    found = compare_aucs_paired(asah["poor"], asah[first], asah[second])
    assert (found.z, found.p, found.low, found.high) == pytest.approx((z, p, low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("marker", "zone", "area", "standardized"),
    [
        ("wfns", (0.9, 1.0), 0.0400999322493225, 0.68473648552275),
        ("wfns", (0.8, 0.9), 0.0609953703703703, 0.770561002178649),
        ("wfns", (0.0, 0.5), 0.483358739837398, 0.933434959349593),
        ("wfns", (0.0, 1.0), 0.823678861788618, 0.823678861788618),
        ("ndka", (0.8, 0.9), 0.0242547425474255, 0.554439662043679),
        ("ndka", (0.0, 0.5), 0.428523035230352, 0.714092140921409),
    ],
)
def test_partial_auc_with_focus_on_sensitivity(
    asah: dict[str, np.ndarray], marker: str, zone: tuple[float, float], area: float, standardized: float
) -> None:
    found = partial_auc(asah["poor"], asah[marker], replicates=200, rng=np.random.default_rng(0), sensitivity=zone)
    assert (found.area, found.standardized) == pytest.approx((area, standardized), abs=1e-13)
    assert found.low < found.standardized < found.high


def test_below_chance_stays_a_number_where_proc_gives_none(asah: dict[str, np.ndarray]) -> None:
    """ndka at sensitivity 0.9 to 1: area 0.00379 against 0.005 by chance. pROC warns and returns NA for the standardized one.

    The formula itself is defined there and falls below 0.5; without such values the resamples would be cut off at chance.
    """
    found = partial_auc(asah["poor"], asah["ndka"], replicates=200, rng=np.random.default_rng(0))
    assert found.area == pytest.approx(0.0037940379403794, abs=1e-15)
    assert found.standardized == pytest.approx((1 + (0.0037940379403794 - 0.005) / 0.095) / 2)
    assert found.standardized < 0.5
