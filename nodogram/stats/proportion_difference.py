"""Differences of two shares, of different patients or of the same ones, and the exact test of paired decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from nodogram.stats.classification import Proportion


@dataclass(frozen=True)
class ProportionDifference:
    """First share minus second, -1 to 1, with its interval; all ``None`` where one of them has no patients."""

    value: float | None
    low: float | None
    high: float | None


def independent_difference(first: Proportion, second: Proportion) -> ProportionDifference:
    """Return the difference of shares of different patients with the square-and-add interval of their Wilson bounds.

    Parameters
    ----------
    first, second
        Of the level of coverage that is wanted.

    References
    ----------
    Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, method 10.
    """
    return _square_and_add(first, second, 0.0)


@dataclass(frozen=True)
class PairedDecisions:
    """Patients by what two decisions said of them.

    Attributes
    ----------
    both, neither
        Patients of whom both said yes, or neither did.
    first_only, second_only
        Patients on whom they disagreed.
    """

    both: int
    first_only: int
    second_only: int
    neither: int

    @property
    def total(self) -> int:
        """Number of patients."""
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def p(self) -> float:
        """Two-sided exact p of McNemar's test, not adjusted for multiplicity; 1 where they never disagreed.

        References
        ----------
        McNemar 1947, doi:10.1007/BF02295996. Exact form: Liddell 1983, doi:10.1136/jech.37.1.82.
        """
        disagreed = self.first_only + self.second_only
        return float(binomtest(self.first_only, disagreed, 0.5).pvalue) if disagreed else 1.0

    def difference(self, level: float = 0.95) -> ProportionDifference:
        """Return the difference of the shares of yes with Newcombe's interval for paired data.

        References
        ----------
        Newcombe 1998, doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C, method 10.
        """
        first, second = (
            Proportion.of(count, self.total, level) for count in (self.both + self.first_only, self.both + self.second_only)
        )
        return _square_and_add(first, second, self._correlation())

    def _correlation(self) -> float:
        """Return the correlation of the decisions, where positive with Newcombe's correction for continuity."""
        yes = self.both + self.first_only, self.both + self.second_only
        product = float(yes[0] * yes[1] * (self.total - yes[0]) * (self.total - yes[1]))
        excess = float(self.both * self.neither - self.first_only * self.second_only)
        if excess > 0:
            excess = max(excess - self.total / 2, 0.0)
        return excess / float(np.sqrt(product)) if product else 0.0


def _square_and_add(first: Proportion, second: Proportion, correlation: float) -> ProportionDifference:
    if first.value is None or first.low is None or first.high is None:
        return ProportionDifference(None, None, None)
    if second.value is None or second.low is None or second.high is None:
        return ProportionDifference(None, None, None)
    value = first.value - second.value
    below = _length(first.value - first.low, second.high - second.value, correlation)
    above = _length(first.high - first.value, second.value - second.low, correlation)
    return ProportionDifference(value, max(-1.0, value - below), min(1.0, value + above))


def _length(first: float, second: float, correlation: float) -> float:
    return float(np.sqrt(max(first**2 + second**2 - 2 * correlation * first * second, 0.0)))
