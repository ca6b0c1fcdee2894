"""Drift of the inputs: population stability index per nomogram predictor over a sliding window of predictions.

With the shares p of the window and q of the development data in the same bins, PSI = Σ (p - q) ln(p / q): the symmetric
divergence of Jeffreys. Common reading: below 0.1 little, above 0.25 much has changed [1]_. A short window exceeds both by
chance alone, so every figure comes with the value that chance exceeds in one window of a hundred [2]_.

References
----------
.. [1] N. Siddiqi, Credit Risk Scorecards, Wiley 2006, doi:10.1002/9781119201731.
.. [2] B. Yurdakul, J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model Validation
   14(4), 2020, doi:10.21314/JRMV.2020.227: without drift PSI is distributed as (1/n + 1/m) χ² with (bins - 1) degrees of
   freedom, n and m being the numbers of observations.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.stats import chi2

from nodogram.bundle import PredictorReference, Reference

MINIMUM_PREDICTIONS = 50
"""With fewer values nothing is said of a predictor: five a decile is the least for which the χ² approximation serves."""

CHANCE_LEVEL = 0.99
_DECILE_COUNT = 9
# Added to every count of both distributions (Jeffreys' prior), so that an empty bin is finite and agreement stays exactly 0.
_PSEUDO_COUNT = 0.5


@dataclass(frozen=True)
class Drift:
    """How far one predictor has moved.

    Attributes
    ----------
    predictor
        Name in the nomogram.
    psi
        Population stability index, 0 without drift.
    chance
        What it exceeds in one window of a hundred without any drift.
    count
        Values in the window.
    """

    predictor: str
    psi: float
    chance: float
    count: int


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


class DriftMonitor:
    """The last values of every predictor, counted in the bins of the development data.

    An update costs a search among at most ten bins a predictor, whatever the length of the window.

    Parameters
    ----------
    reference
        Development distributions, as stored in the bundle.
    development_count
        Patients they were taken from.
    window
        Values of each predictor looked back on.

    Attributes
    ----------
    predictions
        Predictions looked back on at the moment.
    """

    def __init__(self, reference: Reference, development_count: int, window: int) -> None:
        self._development_count = development_count
        self._length = window
        self.predictions = 0
        # A number that hardly varied in development has one decile only, and there is nothing to compare.
        varied = [row for row in reference.predictors if len(set(row.levels or row.deciles)) > 1]
        self._windows = {row.predictor: _Window(Bins.of(row), window) for row in varied}

    def update(self, values: Mapping[str, float | str]) -> None:
        """Take the values of one prediction; predictors without one keep their window."""
        self.predictions = min(self.predictions + 1, self._length)
        for predictor, value in values.items():
            window = self._windows.get(predictor)
            if window is not None:
                window.add(value)

    def figures(self) -> tuple[Drift, ...]:
        """Return the drift of every predictor with at least :data:`MINIMUM_PREDICTIONS` values."""
        return tuple(
            self._figure(predictor, window)
            for predictor, window in self._windows.items()
            if len(window.indices) >= MINIMUM_PREDICTIONS
        )

    def _figure(self, predictor: str, window: _Window) -> Drift:
        count = len(window.indices)
        observed = smoothed(window.counts)
        expected = smoothed([share * count for share in window.bins.shares])
        chance = window.chance_quantile * (1 / count + 1 / self._development_count)
        return Drift(predictor, stability_index(observed, expected), chance, count)


class _Window:
    """Ring of the bins of the last values, and how many there are in each."""

    def __init__(self, bins: Bins, length: int) -> None:
        self.bins = bins
        self.counts = [0] * len(bins.shares)
        self.indices: deque[int] = deque()
        self.chance_quantile = float(chi2.ppf(CHANCE_LEVEL, len(bins.shares) - 1))
        self._length = length

    def add(self, value: float | str) -> None:
        index = self.bins.index(value)
        if index is None:
            return
        if len(self.indices) == self._length:
            self.counts[self.indices.popleft()] -= 1
        self.indices.append(index)
        self.counts[index] += 1


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
