"""How far a distribution has moved from the development patients: the population stability index (PSI).

With the shares p here and q in development, in the same bins, PSI = Σ (p - q) ln(p / q): the symmetric divergence of Jeffreys.
Common reading: below 0.1 little, above 0.25 much has changed [1]_. Few patients exceed both by chance alone, so the index comes
with the value that chance exceeds once in a hundred [2]_.

References
----------
.. [1] N. Siddiqi, Credit Risk Scorecards, Wiley 2006, doi:10.1002/9781119201731.
.. [2] B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation
   14(4), 2020, doi:10.21314/JRMV.2020.227: without a difference PSI is distributed as (1/n + 1/m) χ² with (bins - 1) degrees
   of freedom, n and m being the numbers of observations.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.stats import chi2

from nodogram.bundle import PredictorReference

CHANCE_LEVEL = 0.99
_DECILE_COUNT = 9
# Added to every count of both distributions (Jeffreys' prior), so that an empty bin is finite and agreement stays exactly 0.
_PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class Bins:
    """Where values of one predictor are counted.

    Attributes
    ----------
    edges
        Ascending upper ends, each included in its bin, of all bins but the last; empty for levels.
    levels
        One bin each; empty for numbers.
    shares
        Of the development data, per bin; their sum is 1.
    """

    edges: tuple[float, ...]
    levels: tuple[str, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, reference: PredictorReference) -> Bins:
        """Return a bin per level, or ten of equal probability between the deciles; equal deciles share one bin."""
        if reference.levels:
            return cls((), reference.levels, reference.shares)
        # A value so frequent that several deciles fall on it: P(x <= edge) is at least that of the last of them.
        below = {edge: rank for rank, edge in enumerate(reference.deciles, start=1)}
        cumulative = [0, *below.values(), _DECILE_COUNT + 1]
        shares = tuple((high - low) / (_DECILE_COUNT + 1) for low, high in pairwise(cumulative))
        return cls(tuple(below), (), shares)

    def index(self, value: float | str) -> int | None:
        """Return the bin of a value; ``None`` for a level the development data does not know."""
        if self.levels:
            return self.levels.index(str(value)) if value in self.levels else None
        return bisect_left(self.edges, float(value))

    def counts(self, values: Sequence[float | str]) -> tuple[int, ...]:
        """Count values in each bin; levels the development data does not know are left out."""
        found = [0] * len(self.shares)
        for value in values:
            place = self.index(value)
            if place is not None:
                found[place] += 1
        return tuple(found)


def population_stability(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Return the population stability index of counts here against shares in development, 0 or more.

    Parameters
    ----------
    counts
        Per bin, some patient in all.
    shares
        Per bin; their sum is 1.
    """
    total = sum(counts)
    return stability_index(smoothed(counts), smoothed([share * total for share in shares]))


def stability_index(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the population stability index of two distributions over the same bins, 0 or more.

    Parameters
    ----------
    first, second
        Shares per bin, all above 0; their order does not matter.
    """
    return math.fsum((p - q) * math.log(p / q) for p, q in zip(first, second, strict=True))


def smoothed(counts: Sequence[float]) -> tuple[float, ...]:
    """Return shares per bin, all above 0: each count plus one half, over their sum."""
    total = math.fsum(counts) + _PSEUDO_COUNT * len(counts)
    return tuple((count + _PSEUDO_COUNT) / total for count in counts)


def chance_stability(bin_count: int, count: int, development_count: int) -> float:
    """Return the index that two samples of one population exceed once in a hundred times."""
    return chance_quantile(bin_count) * (1 / count + 1 / development_count)


def chance_quantile(bin_count: int) -> float:
    """Return the quantile of χ² behind :func:`chance_stability`."""
    return float(chi2.ppf(CHANCE_LEVEL, bin_count - 1))
