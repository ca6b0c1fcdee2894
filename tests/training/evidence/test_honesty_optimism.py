"""Corrections for optimism against closed forms and against the same sums written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from training.evidence.optimism import (
    Resample,
    distribution,
    model_optimism,
    no_information_brier,
    performance,
    plus_estimate,
)

OUTCOME = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])


def simulated(count: int = 12, seed: int = 3) -> tuple[np.ndarray, list[Resample]]:
    rng = np.random.default_rng(seed)
    apparent = np.clip(0.3 + 0.3 * OUTCOME + rng.normal(0, 0.15, OUTCOME.size), 0.01, 0.99)
    resamples = [
        Resample(
            rng.integers(0, OUTCOME.size, OUTCOME.size),
            np.clip(0.3 + 0.3 * OUTCOME + rng.normal(0, 0.25, OUTCOME.size), 0.01, 0.99),
        )
        for _ in range(count)
    ]
    return apparent, [r for r in resamples if 0 < OUTCOME[r.drawn].sum() < OUTCOME.size]


def test_plus_without_overfitting_is_the_apparent_error() -> None:
    found = plus_estimate(0.2, 0.2, 0.5)
    assert [found.value, found.overfitting_rate, found.weight] == pytest.approx([0.2, 0.0, 0.632])


def test_plus_with_total_overfitting_is_the_no_information_error() -> None:
    # One nearest neighbor on labels of no meaning: no apparent error, 0.5 out of bag; .632 would say 0.316.
    found = plus_estimate(0.0, 0.5, 0.5)
    assert [found.value, found.overfitting_rate, found.weight] == pytest.approx([0.5, 1.0, 1.0])
    assert plus_estimate(0.0, 0.7, 0.5).value == pytest.approx(0.5)


def test_plus_between_the_limits_follows_the_published_formula() -> None:
    # Efron, Tibshirani 1997: .632 estimate + (Err1 - err) * .368 * .632 * R / (1 - .368 R)
    err, outside, none = 0.1, 0.3, 0.5
    rate = (outside - err) / (none - err)
    expected = 0.368 * err + 0.632 * outside + (outside - err) * 0.368 * 0.632 * rate / (1 - 0.368 * rate)
    assert plus_estimate(err, outside, none).value == pytest.approx(expected)


@given(err=st.floats(0, 1), outside=st.floats(0, 1), none=st.floats(0, 1))
def test_plus_stays_between_apparent_and_capped_error(err: float, outside: float, none: float) -> None:
    found = plus_estimate(err, outside, none)
    capped = min(outside, none)
    assert min(err, capped) - 1e-12 <= found.value <= max(err, capped) + 1e-12
    assert 0 <= found.overfitting_rate <= 1
    assert 0.632 - 1e-12 <= found.weight <= 1 + 1e-12


def test_no_information_brier_is_the_mean_over_all_pairs() -> None:
    apparent, _ = simulated()
    pairs = [(y - p) ** 2 for y in OUTCOME for p in apparent]
    assert no_information_brier(OUTCOME, apparent) == pytest.approx(np.mean(pairs))


def test_harrell_is_apparent_less_the_mean_difference() -> None:
    apparent, resamples = simulated()
    found = model_optimism("nomogram", OUTCOME, apparent, resamples)
    auc, brier, slope = found.corrected
    differences = [
        roc_auc_score(OUTCOME[r.drawn], r.probability[r.drawn]) - roc_auc_score(OUTCOME, r.probability) for r in resamples
    ]
    assert auc.corrected == pytest.approx(roc_auc_score(OUTCOME, apparent) - np.mean(differences))
    assert auc.optimism.low == pytest.approx(np.quantile(differences, 0.025))
    assert auc.standard_error == pytest.approx(np.std(differences, ddof=1) / np.sqrt(len(resamples)))
    assert auc.optimism.count == len(resamples) == len(auc.in_resample)
    errors = [
        np.mean((OUTCOME[r.drawn] - r.probability[r.drawn]) ** 2) - np.mean((OUTCOME - r.probability) ** 2) for r in resamples
    ]
    assert brier.corrected == pytest.approx(np.mean((OUTCOME - apparent) ** 2) - np.mean(errors))
    assert slope.measure == "slope"


def test_out_of_bag_error_is_averaged_by_patient_first() -> None:
    apparent, resamples = simulated()
    brier = model_optimism("dlr", OUTCOME, apparent, resamples).plus[1]
    by_patient = []
    for i in range(OUTCOME.size):
        errors = [(OUTCOME[i] - r.probability[i]) ** 2 for r in resamples if i not in r.drawn]
        if errors:
            by_patient.append(np.mean(errors))
    assert brier.out_of_bag == pytest.approx(np.mean(by_patient))


def test_out_of_bag_auc_skips_resamples_that_leave_out_one_outcome() -> None:
    apparent, resamples = simulated()
    everyone = Resample(np.arange(OUTCOME.size), apparent)
    found = model_optimism("dlr", OUTCOME, apparent, [everyone, *resamples]).plus[0]
    areas = []
    for r in resamples:
        out = np.setdiff1d(np.arange(OUTCOME.size), r.drawn)
        if 0 < OUTCOME[out].sum() < out.size:
            areas.append(roc_auc_score(OUTCOME[out], r.probability[out]))
    assert found.out_of_bag == pytest.approx(np.mean(areas))
    nothing = model_optimism("dlr", OUTCOME, apparent, [everyone]).plus
    assert all(p.value is None and p.reason for p in nothing)


def test_a_slope_of_separated_predictions_is_missing_with_its_reason() -> None:
    separated = np.where(OUTCOME == 1, 0.9, 0.1)
    assert performance("slope", OUTCOME, separated) is None
    _, resamples = simulated()
    slope = model_optimism("nomogram", OUTCOME, separated, resamples).corrected[2]
    assert slope.corrected is None
    assert "separate" in (slope.reason or "")


def test_distribution_of_nothing_and_of_one() -> None:
    assert distribution([]).mean is None
    one = distribution([0.5])
    assert (one.mean, one.sd, one.low, one.count) == (0.5, None, 0.5, 1)
