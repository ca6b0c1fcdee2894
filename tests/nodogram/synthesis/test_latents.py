"""The planted signal against its closed forms, and its absence at signal 0."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from nodogram.synthesis.latents import (
    CT_REPORTED_LNM_SHARES,
    HETEROGENEITY_SHIFT,
    PREVALENCE,
    SIZE_SHIFT,
    SUPRAGLOTTIC_SHARES,
    PatientLatents,
    draw_latents,
    stratified_outcomes,
)

COUNT = 4000
# Hanley and McNeil's standard error of an AUC of 0.75 at this size is 0.008; three of them.
AUC_TOLERANCE = 0.024


def draw_many(signal: float, count: int = COUNT) -> list[PatientLatents]:
    rng = np.random.default_rng(20)
    return [draw_latents(rng, signal=signal) for _ in range(count)]


def auc(outcome: np.ndarray, score: np.ndarray) -> float:
    events = int(outcome.sum())
    rank_sum = rankdata(score)[outcome == 1].sum()
    return float((rank_sum - events * (events + 1) / 2) / (events * (len(outcome) - events)))


def binary_auc(shares: list[tuple[float, float]]) -> float:
    """Area under the ROC curve of the likelihood ratio of independent yes/no findings."""
    cells = []
    for pattern in itertools.product((0, 1), repeat=len(shares)):
        low, high = (np.prod([s[y] if p else 1 - s[y] for s, p in zip(shares, pattern, strict=True)]) for y in (0, 1))
        cells.append((high / low, low, high))
    below, area = 0.0, 0.0
    for _, low, high in sorted(cells):
        area += high * (below + low / 2)
        below += low
    return float(area)


@pytest.fixture(scope="module")
def strong() -> tuple[np.ndarray, list[PatientLatents]]:
    drawn = draw_many(1.0)
    return np.array([p.outcome for p in drawn]), drawn


def test_image_latents_reach_their_closed_form(strong: tuple[np.ndarray, list[PatientLatents]]) -> None:
    outcome, drawn = strong
    for name, shift in (("heterogeneity", HETEROGENEITY_SHIFT), ("log_size", SIZE_SHIFT)):
        expected = norm.cdf(shift / np.sqrt(2))
        assert auc(outcome, np.array([getattr(p, name) for p in drawn])) == pytest.approx(expected, abs=AUC_TOLERANCE)


def test_clinical_model_reaches_its_closed_form(strong: tuple[np.ndarray, list[PatientLatents]]) -> None:
    outcome, drawn = strong
    expected = binary_auc([CT_REPORTED_LNM_SHARES, SUPRAGLOTTIC_SHARES])
    assert 0.75 <= expected <= 0.80
    assert auc(outcome, np.array([p.clinical_log_odds(1.0) for p in drawn])) == pytest.approx(expected, abs=AUC_TOLERANCE)


def test_ideal_observer_at_full_signal(strong: tuple[np.ndarray, list[PatientLatents]]) -> None:
    outcome, drawn = strong
    assert auc(outcome, np.array([p.log_odds(1.0) for p in drawn])) >= 0.95


@pytest.mark.parametrize("signal", [0.3, 1.0])
def test_log_odds_are_calibrated(signal: float) -> None:
    drawn = draw_many(signal)
    outcome = np.array([p.outcome for p in drawn])
    probability = 1 / (1 + np.exp(-np.array([p.log_odds(signal) for p in drawn])))
    for part in (probability < PREVALENCE, probability >= PREVALENCE):
        assert (outcome - probability)[part].mean() == pytest.approx(0, abs=0.025)


def test_signal_orders_the_ideal_observer() -> None:
    areas = []
    for signal in (0.0, 0.5, 1.0):
        drawn = draw_many(signal)
        areas.append(auc(np.array([p.outcome for p in drawn]), np.array([p.log_odds(signal) for p in drawn])))
    assert areas[0] == 0.5
    assert areas[0] < areas[1] < areas[2]


def test_without_signal_nothing_is_correlated_with_the_outcome() -> None:
    drawn = draw_many(0.0, 2000)
    outcome = np.array([p.outcome for p in drawn], dtype=float)
    assert outcome.mean() == pytest.approx(PREVALENCE, abs=0.035)
    columns = {
        "heterogeneity": [p.heterogeneity for p in drawn],
        "log_size": [p.log_size for p in drawn],
        "age": [p.age_years for p in drawn],
        **{
            name: [float(getattr(p, name) == level) for p in drawn]
            for name, level in (
                ("ct_reported_lnm", "yes"), ("tumor_site", "glottic"), ("sex", "male"), ("t_stage", "T3-4"), ("side", "left")
            )
        },
    }  # fmt: skip
    for name, values in columns.items():
        # Four standard errors of a correlation of independent columns.
        assert abs(np.corrcoef(values, outcome)[0, 1]) < 4 / np.sqrt(len(drawn)), name


@given(st.integers(0, 2**31))
def test_without_signal_the_outcome_changes_nothing_at_all(seed: int) -> None:
    low, high = (draw_latents(np.random.default_rng(seed), signal=0.0, outcome=y) for y in (0, 1))
    assert dataclasses.replace(low, outcome=1) == high


@given(st.integers(0, 2**31))
def test_giving_the_outcome_that_would_be_drawn_changes_nothing(seed: int) -> None:
    drawn = draw_latents(np.random.default_rng(seed), signal=0.7)
    assert draw_latents(np.random.default_rng(seed), signal=0.7, outcome=drawn.outcome) == drawn


@given(st.integers(2, 300), st.integers(0, 1000))
def test_outcomes_are_stratified(count: int, seed: int) -> None:
    outcomes = stratified_outcomes(np.random.default_rng(seed), count)
    assert len(outcomes) == count
    assert 1 <= sum(outcomes) <= count - 1
    assert abs(sum(outcomes) - PREVALENCE * count) <= 0.5


@pytest.mark.parametrize(("signal", "outcome"), [(-0.1, None), (1.1, None), (float("nan"), None), (0.5, 2)])
def test_arguments_out_of_range(signal: float, outcome: int | None) -> None:
    with pytest.raises(ValueError, match="required"):
        draw_latents(np.random.default_rng(0), signal=signal, outcome=outcome)
