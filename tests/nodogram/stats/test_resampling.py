from __future__ import annotations

import numpy as np
import pytest

from nodogram.stats.discrimination import auc
from nodogram.stats.resampling import bootstrap_interval, percentile_interval, replicate_chunks, resampled_counts


def test_interval_of_a_mean_approaches_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    outcome = np.repeat([0, 1], 200)
    found = bootstrap_interval(outcome, values, lambda _, v: float(v.mean()), replicates=2000, rng=np.random.default_rng(2))
    # Stratified: only the spread inside the classes counts.
    error = np.sqrt(sum(values[outcome == k].var() / 200 for k in (0, 1)) / 4)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.02)


def test_classes_keep_their_size_and_rows_stay_together() -> None:
    outcome = np.repeat([0, 1], [7, 3])
    scores = np.column_stack([np.arange(10.0), np.arange(10.0) ** 2])

    def statistic(labels: np.ndarray, drawn: np.ndarray) -> float:
        assert (labels.sum(), labels.size) == (3, 10)
        assert (drawn[:, 1] == drawn[:, 0] ** 2).all()
        assert ((drawn[:, 0] >= 7) == (labels == 1)).all()
        return 0.0

    assert bootstrap_interval(outcome, scores, statistic, replicates=20, rng=np.random.default_rng(0)).replicate_count == 20


def test_same_generator_same_interval() -> None:
    rng = np.random.default_rng(3)
    outcome, score = rng.integers(0, 2, 50), rng.normal(size=50)
    first, second = (
        bootstrap_interval(outcome, score, auc, replicates=50, rng=np.random.default_rng(4), level=0.9) for _ in range(2)
    )
    assert first == second
    assert 0 <= first.low < first.value < first.high <= 1


def test_resamples_without_a_value_are_left_out() -> None:
    outcome, score = np.repeat([0, 1], 20), np.repeat([0.0, 1.0], [1, 39])
    found = bootstrap_interval(
        outcome, score, lambda _, s: float(s.mean()) if s.min() == 0 else np.nan, replicates=200, rng=np.random.default_rng(5)
    )
    assert 0 < found.replicate_count < 200
    assert found.high <= 39 / 40
    with pytest.raises(ValueError, match="at least one is required"):
        bootstrap_interval(outcome, score, auc, replicates=0, rng=np.random.default_rng(6))


def test_too_few_resamples_with_a_value_give_no_interval() -> None:
    values = np.r_[np.full(49, 0.5), np.full(51, np.nan)]
    found = percentile_interval(0.5, values)
    assert (found.value, found.low, found.high, found.replicate_count) == (0.5, None, None, 49)
    assert percentile_interval(np.nan, np.ones(10)).value is None
    assert percentile_interval(1.0, np.arange(101.0), 0.9).low == pytest.approx(5.0)


def test_counts_of_resamples() -> None:
    code = np.array([0, 0, 2, 2, 2, 3])
    counts = resampled_counts(code, 5, replicates=20_000, rng=np.random.default_rng(0))
    assert counts.shape == (20_000, 5)
    assert (counts.sum(axis=1) == 6).all()
    share = np.array([2, 0, 3, 0 + 1, 0]) / 6
    assert counts.mean(axis=0) == pytest.approx(6 * share, abs=0.05)
    assert counts.var(axis=0) == pytest.approx(6 * share * (1 - share), abs=0.06)


@pytest.mark.parametrize(("replicates", "cells"), [(1, 1), (2000, 1000), (10, 10**9), (7, 1 << 21)])
def test_chunks_sum_to_all_resamples(replicates: int, cells: int) -> None:
    chunks = list(replicate_chunks(replicates, cells))
    assert sum(chunks) == replicates
    assert all(rows * cells <= 1 << 22 or rows == 1 for rows in chunks)
