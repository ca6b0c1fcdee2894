"""Areas under curves from how often each distinct score occurs: of many resamples at once, none of them ever ranked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.resampling import replicate_chunks, resampled_counts

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ScoreCounts:
    """Patients by distinct score, one row a sample; every row has the same number of patients of each class.

    Attributes
    ----------
    positive, negative
        float64 (r, n_scores) of whole numbers, scores ascending.
    """

    positive: Values
    negative: Values

    @property
    def positive_count(self) -> float:
        """Patients with the outcome in each sample."""
        return float(self.positive[0].sum())

    @property
    def negative_count(self) -> float:
        """Patients without."""
        return float(self.negative[0].sum())


def observed_counts(outcome: NDArray[np.int64], score: Values) -> ScoreCounts:
    """Return the counts of the patients themselves, as a single row.

    Parameters
    ----------
    outcome, score
        (n,), 0 or 1, and finite.
    """
    levels, code = np.unique(score, return_inverse=True)
    counts = [np.bincount(code[outcome == label], minlength=levels.size)[None, :] for label in (1, 0)]
    return ScoreCounts(counts[0].astype(np.float64), counts[1].astype(np.float64))


def stratified_counts(
    outcome: NDArray[np.int64], score: Values, *, replicates: int, rng: np.random.Generator
) -> Iterator[ScoreCounts]:
    """Yield the counts of resamples that keep the size of both classes, some rows at a time.

    Parameters
    ----------
    outcome, score
        (n,), 0 or 1, both present, and finite.
    """
    levels, code = np.unique(score, return_inverse=True)
    for rows in replicate_chunks(replicates, outcome.size):
        drawn = [resampled_counts(code[outcome == label], levels.size, replicates=rows, rng=rng) for label in (1, 0)]
        yield ScoreCounts(drawn[0].astype(np.float64), drawn[1].astype(np.float64))


def roc_areas(counts: ScoreCounts) -> tuple[Values, Values]:
    """Return the AUC (r,) and DeLong's variance (r,); the variance is 0 from a class of one, where it cannot be estimated.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, doi:10.2307/2531595.
    """
    m, n = counts.positive_count, counts.negative_count
    # Twice the patients of the other class that one with this score beats, ties counting one: whole numbers, so sums are exact.
    beaten = 2 * np.cumsum(counts.negative, axis=1) - counts.negative
    beating = 2 * (m - np.cumsum(counts.positive, axis=1)) + counts.positive
    wins = np.einsum("rk,rk->r", counts.positive, beaten)
    variance = np.zeros(wins.size)
    for own, twice, count, other in ((counts.positive, beaten, m, n), (counts.negative, beating, n, m)):
        squares = np.einsum("rk,rk->r", own, twice * twice)
        variance += (squares - wins**2 / count) / (max(count - 1, 1) * count * (2 * other) ** 2)
    return wins / (2 * m * n), variance


def partial_roc_areas(counts: ScoreCounts, sensitivity: tuple[float, float]) -> Values:
    """Return specificity integrated over sensitivity from the first to the second value given, (r,)."""
    rise, run = (part[:, ::-1] / part[0].sum() for part in (counts.positive, counts.negative))
    end, far = np.cumsum(rise, axis=1), np.cumsum(run, axis=1)
    start, near = end - rise, far - run
    lower, upper = (np.clip(edge, *sensitivity) for edge in (start, end))
    # Scores tied across classes are joined by a straight line, whose mean lies at its middle.
    slope = np.divide(run, rise, out=np.zeros_like(run), where=rise > 0)
    false_positive = near + slope * ((lower + upper) / 2 - start)
    return np.asarray(((upper - lower) * (1 - false_positive)).sum(axis=1), dtype=np.float64)


def average_precisions(counts: ScoreCounts) -> Values:
    """Return the average precision (r,): precision at each distinct score, weighted by the recall gained there."""
    hits = np.cumsum(counts.positive[:, ::-1], axis=1)
    calls = hits + np.cumsum(counts.negative[:, ::-1], axis=1)
    precision = hits / np.maximum(calls, 1)
    return np.asarray((counts.positive[:, ::-1] * precision).sum(axis=1) / counts.positive_count, dtype=np.float64)
