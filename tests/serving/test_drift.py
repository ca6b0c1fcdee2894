"""The stability index against sums done by hand, and how often chance alone would raise an alarm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodogram.bundle import PredictorReference, Reference
from nodogram.stability import Bins, smoothed, stability_index
from serving.drift import MINIMUM_PREDICTIONS, DriftMonitor

DECILES = PredictorReference(predictor="score", deciles=tuple(float(v) for v in range(1, 10)))
LEVELS = PredictorReference(predictor="site", levels=("a", "b"), shares=(0.5, 0.5))


def monitor(*rows: PredictorReference, window: int = 1000, development_count: int = 400) -> DriftMonitor:
    return DriftMonitor(Reference(predictors=rows), development_count, window)


def psi(of: DriftMonitor, predictor: str) -> float:
    return next(drift.psi for drift in of.figures() if drift.predictor == predictor)


def test_two_bins_by_hand() -> None:
    """(0.8 - 0.5) ln(0.8/0.5) + (0.2 - 0.5) ln(0.2/0.5) = 0.3 (ln 1.6 + ln 2.5) = 0.3 ln 4."""
    assert stability_index((0.8, 0.2), (0.5, 0.5)) == pytest.approx(0.3 * math.log(4), abs=1e-15)


shares = st.lists(st.integers(1, 1000), min_size=2, max_size=12)


@given(st.data())
def test_it_is_symmetric_never_negative_and_zero_for_the_same(data: st.DataObject) -> None:
    first = smoothed(data.draw(shares))
    second = smoothed(data.draw(st.lists(st.integers(1, 1000), min_size=len(first), max_size=len(first))))
    assert stability_index(first, second) == pytest.approx(stability_index(second, first), rel=1e-12)
    assert stability_index(first, second) >= 0
    assert stability_index(first, first) == 0


def test_smoothing_adds_one_half_to_every_count() -> None:
    assert smoothed((0, 3, 6)) == pytest.approx((0.5 / 10.5, 3.5 / 10.5, 6.5 / 10.5), abs=1e-15)


def test_a_window_like_the_development_data_has_no_drift() -> None:
    watch = monitor(DECILES, LEVELS)
    for turn in range(20):
        for decile in range(10):
            watch.update({"score": decile + 0.5, "site": "ab"[(turn + decile) % 2]})
    assert [drift.psi for drift in watch.figures()] == pytest.approx([0.0, 0.0], abs=1e-15)
    assert [drift.count for drift in watch.figures()] == [200, 200]


def test_a_level_gone_is_a_finite_figure_done_by_hand() -> None:
    """100 of 100 in one of two equal levels: shares 100.5/101 and 0.5/101 against one half."""
    watch = monitor(LEVELS)
    for _ in range(100):
        watch.update({"site": "a"})
    assert psi(watch, "site") == pytest.approx((100.5 - 50.5) / 101 * math.log(100.5 / 0.5), rel=1e-12)


def test_the_further_the_shift_the_larger_the_figure() -> None:
    figures = []
    for shift in (0.0, 0.5, 1.5, 4.0):
        watch = monitor(DECILES)
        for value in np.linspace(0.05, 9.95, 100):
            watch.update({"score": float(value) + shift})
        figures.append(psi(watch, "score"))
    assert figures == sorted(figures)
    assert figures[0] < 0.01
    assert figures[-1] > 1


def test_the_window_forgets() -> None:
    watch = monitor(LEVELS, window=60)
    for site in "b" * 500 + "ab" * 30:
        watch.update({"site": site})
    assert watch.predictions == 60
    assert psi(watch, "site") == pytest.approx(0, abs=1e-15)


def test_nothing_is_said_of_few_values() -> None:
    watch = monitor(DECILES, LEVELS)
    for _ in range(MINIMUM_PREDICTIONS - 1):
        watch.update({"score": 0.0})
    assert watch.figures() == ()
    watch.update({"score": 0.0})
    assert [drift.predictor for drift in watch.figures()] == ["score"]


def test_levels_and_predictors_the_development_data_does_not_know_are_left_out() -> None:
    watch = monitor(LEVELS)
    for site in "ab" * 25 + "c" * 25:
        watch.update({"site": site, "unheard of": 1.0})
    assert [(drift.predictor, drift.count) for drift in watch.figures()] == [("site", 50)]


def test_equal_deciles_share_one_bin() -> None:
    """Deciles 1, 2, 2, 2, 3...: 30 % of the patients lie above 1 and at most at 2."""
    bins = Bins.of(PredictorReference(predictor="age", deciles=(1.0, 2.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)))
    assert bins.edges == (1, 2, 3, 4, 5, 6, 7)
    assert bins.shares == pytest.approx((0.1, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1))
    assert [bins.index(value) for value in (0.5, 1, 1.5, 2, 2.5, 7, 8)] == [0, 0, 1, 1, 2, 6, 7]


def test_a_score_that_never_varied_is_not_watched() -> None:
    watch = monitor(PredictorReference(predictor="score", deciles=(0.3,) * 9))
    for _ in range(100):
        watch.update({"score": 0.3})
    assert watch.figures() == ()


@pytest.mark.parametrize(("development_count", "count"), [(84, 500), (400, 50)])
def test_chance_exceeds_its_figure_in_one_window_of_a_hundred(development_count: int, count: int) -> None:
    """Yurdakul and Naranjo's distribution, by simulation without drift: 1 % give or take three standard errors."""
    rng = np.random.default_rng(20)
    windows = 600
    exceeded = 0
    for _ in range(windows):
        deciles = np.quantile(rng.normal(size=development_count), np.linspace(0.1, 0.9, 9))
        row = PredictorReference(predictor="score", deciles=tuple(float(v) for v in deciles))
        watch = monitor(row, window=count, development_count=development_count)
        for value in rng.normal(size=count):
            watch.update({"score": float(value)})
        (drift,) = watch.figures()
        exceeded += drift.psi > drift.chance
    assert exceeded / windows < 0.01 + 3 * math.sqrt(0.01 * 0.99 / windows)
