"""An observed statistic against the values it takes where nothing is to be found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.discrimination import auc
from training.evidence.honesty_result import NullTest
from training.evidence.optimism import distribution

# AUCs that differ by less are the same number, added up in another order.
SAME = 1e-12


def permutation_p(observed: float, null: Sequence[float]) -> float:
    """Return the one-sided p-value (1 + number of null values at least as large) / (1 + number of null values).

    The observed arrangement is one of those possible, so p is never 0.

    References
    ----------
    Phipson, Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    return (1 + sum(value >= observed - SAME for value in null)) / (1 + len(null))


def null_test(observed: float, null: Sequence[float]) -> NullTest:
    """Return a statistic with its null distribution and p-value."""
    return NullTest(observed=observed, null=tuple(null), distribution=distribution(null), p=permutation_p(observed, null))


def within_fold_auc(outcome: NDArray[np.int64], score: NDArray[np.float64], fold: NDArray[np.int64]) -> float | None:
    """Return the share of pairs ranked rightly among pairs of the same fold; ``None`` where no fold has both outcomes.

    Scores of different folds come from different models. Where these differ in level, most of all where a score is constant
    within a fold, the pooled AUC is not one half by chance but below, because a fold with more events was scored by a model
    that learned from fewer (Parker, Guenter, Bedo 2007, doi:10.1186/1471-2105-8-326).

    Parameters
    ----------
    outcome, score, fold
        (n,).
    """
    right, pairs = 0.0, 0
    for k in np.unique(fold):
        labels = outcome[fold == k]
        count = int(labels.sum() * (labels.size - labels.sum()))
        if count:
            right += count * auc(labels, score[fold == k])
            pairs += count
    return right / pairs if pairs else None
