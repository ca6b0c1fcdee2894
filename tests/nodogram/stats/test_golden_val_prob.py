"""Calibration against ``rms::val.prob``, as printed in the README of R package pmcalibration 0.2.0 (Rhodes).

Patients: ``set.seed(2345); sim_dat(1000, a1 = -1, a3 = 1)`` with prediction ``plogis(-1 + x1 + x2)``. ``val_prob.csv`` was made
from that definition with R's generators written anew (Mersenne Twister, inversion; ``rbinom`` of size 1 by inversion). Of the
six rows that are printed, x1 and x2 agree to all digits, and so do five outcomes: the fourth is printed as 0 and drawn as 1,
and only with 1 do the printed statistics come out (with 0 U:Chi-sq would be 2.796, not 2.566).
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, log_expit

from nodogram.stats.calibration import brier_score, calibration_line, recalibrate
from nodogram.stats.calibration_curve import calibration_errors
from nodogram.stats.discrimination import auc

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def patients() -> tuple[np.ndarray, np.ndarray]:
    """Outcome and linear predictor."""
    with (GOLDEN / "val_prob.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return np.array([int(r["outcome"]) for r in rows]), np.array([float(r["linear_predictor"]) for r in rows])


def test_printed_head(patients: tuple[np.ndarray, np.ndarray]) -> None:
    x1 = np.array([-1.19142464, 0.54930055, -0.06240514, 0.26544150, -0.23459751, -0.99727160])
    x2 = np.array([-0.9245914, -1.0019698, 1.5438665, 0.1632147, -1.2009388, -1.1899600])
    assert patients[1][:6] == pytest.approx(-1 + x1 + x2, abs=1e-7)
    assert list(np.flatnonzero(patients[0][:6] != [0, 0, 1, 0, 0, 0])) == [3]


def test_the_patients_are_those_of_the_printed_statistics(patients: tuple[np.ndarray, np.ndarray]) -> None:
    """D:Chi-sq, U:Chi-sq and Spiegelhalter's z, which nodogram does not report, from their definitions."""
    outcome, linear = patients
    p, share = expit(linear), outcome.mean()
    offered = float(np.where(outcome == 1, log_expit(linear), log_expit(-linear)).sum())
    null = outcome.size * (share * np.log(share) + (1 - share) * np.log(1 - share))
    fitted = sm.GLM(outcome, sm.add_constant(linear), family=sm.families.Binomial()).fit().llf
    z = ((outcome - p) * (1 - 2 * p)).sum() / np.sqrt(((1 - 2 * p) ** 2 * p * (1 - p)).sum())
    assert [round(v, 3) for v in (2 * (offered - null), 2 * (fitted - offered), z)] == [281.217, 2.566, -2.238]


def test_discrimination_brier_and_both_intercepts(patients: tuple[np.ndarray, np.ndarray]) -> None:
    outcome, linear = patients
    probability = expit(linear)
    line = calibration_line(outcome, probability)
    assert line.slope is not None
    assert line.joint_intercept is not None
    assert round(2 * auc(outcome, probability) - 1, 3) == 0.627
    assert round(auc(outcome, probability), 3) == 0.813
    assert round(brier_score(outcome, probability), 3) == 0.148
    # val.prob's Intercept belongs to the model that estimates the slope; logistic_cal prints -0.11 with the slope held at 1.
    assert (round(line.joint_intercept, 3), round(line.slope, 3)) == (-0.076, 1.062)
    assert round(line.intercept, 2) == -0.11


def test_intervals_differ_from_the_printed_ones_as_wald_does_from_profile(patients: tuple[np.ndarray, np.ndarray]) -> None:
    line = calibration_line(patients[0], expit(patients[1]))
    assert line.slope_low is not None
    assert line.slope_high is not None
    assert (line.intercept_high - line.intercept_low) / (2 * 1.959964) == pytest.approx(0.080, abs=5e-4)
    assert (line.slope_high - line.slope_low) / (2 * 1.959964) == pytest.approx(0.078, abs=5e-4)
    # Printed are profile intervals, -0.27 to 0.046 and 0.91 to 1.220.
    assert (line.intercept_low, line.intercept_high) == pytest.approx((-0.27, 0.046), abs=0.005)
    assert (line.slope_low, line.slope_high) == pytest.approx((0.91, 1.22), abs=0.005)


def test_distances_of_the_smooth_curve(patients: tuple[np.ndarray, np.ndarray]) -> None:
    """Printed: Emax 0.145, E90 0.073, Eavg 0.044, of a curve that leaves 0 to 1, as the README remarks; ours is kept inside."""
    outcome, probability = patients[0].astype(np.float64), expit(patients[1])
    smooth = sm.nonparametric.lowess(outcome, probability, frac=2 / 3, it=0, return_sorted=False)
    assert smooth.max() > 1
    free = np.abs(smooth - probability)
    assert [round(float(v), 3) for v in (free.max(), np.quantile(free, 0.9), free.mean())] == [0.145, 0.073, 0.044]
    kept = np.abs(np.clip(smooth, 0, 1) - probability)
    found = calibration_errors(patients[0], probability)
    expected = (kept.mean(), np.median(kept), np.quantile(kept, 0.9), kept.max())
    assert (found.ici, found.e50, found.e90, found.emax) == pytest.approx(expected, abs=1e-4)
    assert round(found.e90, 3) == 0.073
    assert (round(found.ici, 3), round(found.emax, 3)) == (0.043, 0.121)


def test_recalibration_takes_the_printed_line(patients: tuple[np.ndarray, np.ndarray]) -> None:
    found = recalibrate(patients[0], expit(patients[1]), "intercept_and_slope")
    assert found is not None
    assert (round(found.intercept, 3), round(found.slope, 3)) == (-0.076, 1.062)
