"""Drift of the inputs: population stability index per nomogram predictor over a sliding window of predictions.

See :mod:`nodogram.stability` for the index and for what chance alone does to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from nodogram.bundle import Reference
from nodogram.stability import Bins, chance_quantile, population_stability

MINIMUM_PREDICTIONS = 50
"""With fewer values nothing is said of a predictor: five a decile is the least for which the χ² approximation serves."""


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
        chance = window.chance_quantile * (1 / count + 1 / self._development_count)
        return Drift(predictor, population_stability(window.counts, window.bins.shares), chance, count)


class _Window:
    """Ring of the bins of the last values, and how many there are in each."""

    def __init__(self, bins: Bins, length: int) -> None:
        self.bins = bins
        self.counts = [0] * len(bins.shares)
        self.indices: deque[int] = deque()
        self.chance_quantile = chance_quantile(len(bins.shares))
        self._length = length

    def add(self, value: float | str) -> None:
        index = self.bins.index(value)
        if index is None:
            return
        if len(self.indices) == self._length:
            self.counts[self.indices.popleft()] -= 1
        self.indices.append(index)
        self.counts[index] += 1
