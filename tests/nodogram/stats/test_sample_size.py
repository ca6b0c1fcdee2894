"""Sample size by Riley's criteria, against what pmsampsize and pmvalsampsize print.

Sources: R package pmsampsize 1.1 (tests/testthat/test_bin.R; the first is the example of its help page), Python package
pmsampsize 0.1 (tests), R package pmvalsampsize 0.1 and Python package pmvalsampsize 0.2 (help page and tests), Riley et al.
2021, doi:10.1002/sim.8806 (supplement: C = 0.81, prevalence 0.77). Programs that go from the C statistic to R² by simulating
10^6 patients, or find a standard error in steps, print numbers that differ from the exact ones by the error of that route;
each such test says by how much.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm

from nodogram.stats.sample_size import (
    affordable_parameters,
    cox_snell_from_auc,
    development_size,
    expected_shrinkage,
    largest_cox_snell,
    validation_size,
)

fraction = st.floats(0.02, 0.98)


@pytest.mark.parametrize(
    ("cox_snell", "parameters", "prevalence", "patients", "events_per_parameter"),
    [
        (0.288, 24, 0.174, (623, 662, 221, 662), 4.80),
        (0.55, 24, 0.174, (255, 532, 221, 532), 3.86),
        (0.288, 36, 0.174, (934, 992, 221, 992), 4.79),
        (0.288, 24, 0.25, (623, 590, 289, 623), 6.49),
    ],
)
def test_pmsampsize_from_cox_snell(
    cox_snell: float, parameters: int, prevalence: float, patients: tuple[int, ...], events_per_parameter: float
) -> None:
    size = development_size(parameters=parameters, prevalence=prevalence, cox_snell=cox_snell)
    assert (size.shrinkage_patients, size.optimism_patients, size.risk_patients, size.patients) == patients
    assert round(size.events_per_parameter, 2) == events_per_parameter


def test_pmsampsize_from_c_statistic() -> None:
    # The package rounds R² to four digits; its simulation happens to reach the same ones.
    cox_snell = round(cox_snell_from_auc(0.89, 0.174), 4)
    size = development_size(parameters=24, prevalence=0.174, cox_snell=cox_snell)
    assert (size.shrinkage_patients, size.optimism_patients, size.risk_patients, size.patients) == (615, 660, 221, 660)
    assert size.events == 115


@pytest.mark.parametrize(
    ("auc", "prevalence", "simulated"),
    [
        (0.81, 0.77, 0.2100957),
        (0.75, 0.0314, 0.02670039),
        (0.75, 0.0131, 0.01175451),
        (0.75, 0.15, 0.1028),
        (0.81, 0.18, 0.1818),
    ],
)
def test_published_simulations_of_cox_snell(auc: float, prevalence: float, simulated: float) -> None:
    # Standard error of a simulation of 10^6 patients: below 1 % where few have the outcome, 0.0012 where R² is large.
    assert cox_snell_from_auc(auc, prevalence) == pytest.approx(simulated, rel=0.014)


def test_bmj_example() -> None:
    # Riley et al. 2020, doi:10.1136/bmj.m441: 30 parameters, R² 0.05, 5 % with the outcome: 5249 patients.
    size = development_size(parameters=30, prevalence=0.05, cox_snell=0.05)
    assert size.patients == size.shrinkage_patients == 5249
    assert round(largest_cox_snell(0.05), 2) == 0.33
    assert round(size.events_per_parameter, 2) == 8.75


def test_cox_snell_against_simulated_patients() -> None:
    rng = np.random.default_rng(7)
    auc, prevalence, count = 0.8, 0.3, 400_000
    apart = np.sqrt(2) * norm.ppf(auc)
    outcome = rng.random(count) < prevalence
    score = rng.standard_normal(count) + apart * outcome
    probability = expit(logit(prevalence) + apart * score - apart**2 / 2)
    gained = np.where(outcome, np.log(probability / prevalence), np.log((1 - probability) / (1 - prevalence)))
    error = 2 * gained.std() / np.sqrt(count)
    assert cox_snell_from_auc(auc, prevalence) == pytest.approx(1 - np.exp(-2 * gained.mean()), abs=4 * error)


@given(auc=st.floats(0.501, 0.999), prevalence=fraction)
def test_cox_snell_is_symmetric_and_bounded(auc: float, prevalence: float) -> None:
    value = cox_snell_from_auc(auc, prevalence)
    assert 0 < value < largest_cox_snell(prevalence)
    assert value == pytest.approx(cox_snell_from_auc(auc, 1 - prevalence), rel=1e-9, abs=1e-12)


@given(parameters=st.integers(1, 3451), prevalence=fraction, auc=st.floats(0.55, 0.95))
def test_what_is_needed_is_what_can_be_afforded(parameters: int, prevalence: float, auc: float) -> None:
    cox_snell = cox_snell_from_auc(auc, prevalence)
    size = development_size(parameters=parameters, prevalence=prevalence, cox_snell=cox_snell)
    enough = max(size.shrinkage_patients, size.optimism_patients)
    assert affordable_parameters(patients=enough, prevalence=prevalence, cox_snell=cox_snell) >= parameters
    if enough > 1:
        assert affordable_parameters(patients=enough - 1, prevalence=prevalence, cox_snell=cox_snell) < parameters
    shrinkage = expected_shrinkage(patients=size.shrinkage_patients, parameters=parameters, cox_snell=cox_snell)
    assert 0.9 - 1e-9 <= shrinkage <= 1


def test_more_candidates_than_patients_shrink_to_almost_nothing() -> None:
    shrinkage = expected_shrinkage(patients=164, parameters=3451, cox_snell=0.3)
    assert shrinkage == pytest.approx(0.3, abs=1e-6)
    assert affordable_parameters(patients=10, prevalence=0.4, cox_snell=0.05) == 0


def test_pmvalsampsize_with_a_normal_linear_predictor() -> None:
    size = validation_size(prevalence=0.018, auc=0.8, ratio_width=1, linear_predictor=(-5, 2.5))
    assert size.auc_patients == 4252
    # Printed 905: the program raises the standard error in steps of 0.0001 and stops just beyond the width, at 0.2456.
    assert size.ratio_patients == 906
    assert np.ceil((1 - 0.018) / (0.018 * 0.2456**2)) == 905
    # Printed 4544 from 10^6 simulated linear predictors, 4501 from 1000.
    assert size.slope_patients == pytest.approx(4544, rel=0.004)
    assert size.patients == size.slope_patients


def test_pmvalsampsize_from_the_c_statistic() -> None:
    # Printed 17080 from 10^6 simulated patients, after a search for the mean in steps.
    assert validation_size(prevalence=0.018, auc=0.8, ratio_width=1).slope_patients == pytest.approx(17080, rel=0.005)


def test_pmvalsampsize_of_a_common_outcome() -> None:
    # R package 0.1.0, seed 123456: 2958.
    size = validation_size(prevalence=0.2, auc=0.78, linear_predictor=(-1.75, 1.22))
    assert size.patients == pytest.approx(2958, rel=0.001)


@given(prevalence=fraction, auc=st.floats(0.55, 0.95), width=st.floats(0.02, 0.3))
def test_smallest_count_for_the_auc_is_the_smallest(prevalence: float, auc: float, width: float) -> None:
    def reached(n: int) -> float:
        half = n / 2 - 1
        variance = auc * (1 - auc) * (1 + half * (1 - auc) / (2 - auc) + half * auc / (1 + auc))
        return float(2 * 1.96 * np.sqrt(variance / (n**2 * prevalence * (1 - prevalence))))

    n = validation_size(prevalence=prevalence, auc=auc, auc_width=width).auc_patients
    assert reached(n) <= width < reached(n - 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"parameters": 0},
        {"prevalence": 0.0},
        {"prevalence": 1.0},
        {"cox_snell": 0.0},
        {"cox_snell": 0.8},
        {"shrinkage": 1.0},
        {"shrinkage": 0.1},
        {"margin": 0.0},
        {"prevalence": float("nan")},
    ],
)
def test_nonsense_is_refused(arguments: dict[str, float]) -> None:
    good: dict[str, float] = {"parameters": 24, "prevalence": 0.174, "cox_snell": 0.288}
    with pytest.raises(ValueError, match="required"):
        development_size(**{**good, **arguments})  # type: ignore[arg-type]


def test_nonsense_is_refused_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"auc is 0\.5"):
        cox_snell_from_auc(0.5, 0.3)
    with pytest.raises(ValueError, match="0 patients"):
        expected_shrinkage(patients=0, parameters=3, cox_snell=0.2)
    with pytest.raises(ValueError, match="SD of the linear predictor"):
        validation_size(prevalence=0.3, auc=0.7, linear_predictor=(0.0, 0.0))
