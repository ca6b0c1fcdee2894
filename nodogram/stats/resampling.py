"""Patient-level resampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.int64], NDArray[np.float64]], float]

# Resamples worked on at once hold at most this many counts, so that memory does not grow with their number.
CELLS_AT_ONCE = 1 << 22
# Share of resamples in which a statistic must be defined for its quantiles to stand for all of them.
SMALLEST_DEFINED = 0.5


@dataclass(frozen=True)
class BootstrapInterval:
    """Percentile interval of a statistic.

    Attributes
    ----------
    value
        The statistic of the patients themselves; ``None`` where it is not defined.
    low, high
        Quantiles of the resamples; ``None`` where the statistic was not defined in at least half of them.
    replicate_count
        Resamples in which the statistic was defined.
    """

    value: float | None
    low: float | None
    high: float | None
    replicate_count: int


def bootstrap_interval(
    outcome: NDArray[np.int64],
    score: NDArray[np.float64],
    statistic: Statistic,
    *,
    replicates: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> BootstrapInterval:
    """Return the percentile interval of a statistic from a bootstrap stratified by outcome.

    Parameters
    ----------
    outcome
        (n,), 0 or 1, one row a patient.
    score
        (n,) or (n, k): rows are drawn whole, so that several scores of a patient stay together.
    statistic
        Function of resampled outcome and score; NaN where it is not defined, which leaves that resample out.
    replicates
        Number of resamples; 2000 for a figure that is printed.

    References
    ----------
    Efron, Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    _check_replicates(replicates)
    groups = [np.flatnonzero(outcome == label) for label in (0, 1)]
    values = np.empty(replicates)
    for i in range(replicates):
        rows = np.concatenate([rng.choice(group, group.size) for group in groups if group.size])
        values[i] = statistic(outcome[rows], score[rows])
    return percentile_interval(statistic(outcome, score), values, level)


def percentile_interval(value: float, replicates: NDArray[np.float64], level: float = 0.95) -> BootstrapInterval:
    """Return the percentile interval that resampled values of a statistic give.

    Parameters
    ----------
    value
        The statistic of the patients themselves; NaN where it is not defined.
    replicates
        (r,), NaN where it was not defined.
    """
    defined = replicates[np.isfinite(replicates)]
    found = float(value) if np.isfinite(value) else None
    if found is None or defined.size < max(SMALLEST_DEFINED * replicates.size, 1):
        return BootstrapInterval(found, None, None, int(defined.size))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return BootstrapInterval(found, float(low), float(high), int(defined.size))


def resampled_counts(
    code: NDArray[np.int64], code_count: int, *, replicates: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw patients with replacement and count how often each code came up.

    A statistic that looks at patients through their codes alone, say ranks, needs no more of a resample than these counts.

    Parameters
    ----------
    code
        (n,), 0 to ``code_count`` - 1, one per patient; patients may share a code.

    Returns
    -------
    counts : ndarray
        int64 (replicates, code_count); every row sums to n.
    """
    _check_replicates(replicates)
    drawn = code[rng.integers(0, code.size, (replicates, code.size))]
    drawn += code_count * np.arange(replicates)[:, None]
    return np.bincount(drawn.ravel(), minlength=replicates * code_count).reshape(replicates, code_count)


def replicate_chunks(replicates: int, cells_per_replicate: int) -> Iterator[int]:
    """Yield numbers of resamples that sum to ``replicates``, each small enough to be held in memory at once.

    Parameters
    ----------
    cells_per_replicate
        Counts a single resample needs.
    """
    _check_replicates(replicates)
    most = max(CELLS_AT_ONCE // max(cells_per_replicate, 1), 1)
    for start in range(0, replicates, most):
        yield min(most, replicates - start)


def _check_replicates(replicates: int) -> None:
    if replicates < 1:
        raise ValueError(f"{replicates} resamples; at least one is required")
