"""The nomogram: linear predictor, points and probability from one set of coefficients; pure arithmetic.

Points are the linear predictor in another unit: every predictor's contribution is measured from the value at which it is
smallest on its axis, and the predictor with the largest span is worth 100 points. So points table, formula and drawing
cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nodogram.errors import CohortError, Reason
from nodogram.settings import Settings

SCORE = "dlr_score"
FULL_SCALE_POINTS = 100.0


class NomogramTerm(Settings):
    """One predictor of the nomogram.

    Attributes
    ----------
    kind
        ``continuous``: ``coefficient`` per unit, drawn from ``low`` to ``high``; ``categorical``: one coefficient a level,
        0 for the reference.
    low, high
        Ends of the axis, in the predictor's unit; values beyond are legal and reported as out of range.
    levels, level_coefficients
        Same length; log odds relative to the reference level.
    """

    predictor: str
    label: str
    kind: Literal["continuous", "categorical"]
    unit: str | None = None
    coefficient: float = 0.0
    low: float = 0.0
    high: float = 0.0
    levels: tuple[str, ...] = ()
    level_coefficients: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> NomogramTerm:
        if self.kind == "continuous":
            if not self.low < self.high:
                raise ValueError(f"{self.predictor}: axis from {self.low} to {self.high} is empty")
            if self.levels or self.level_coefficients:
                raise ValueError(f"{self.predictor}: a continuous predictor has no levels")
            return self
        if len(self.levels) < 2 or len(self.levels) != len(self.level_coefficients):
            raise ValueError(f"{self.predictor}: at least two levels with one coefficient each are required")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"{self.predictor}: every level once")
        if 0.0 not in self.level_coefficients:
            raise ValueError(f"{self.predictor}: one level must be the reference, with coefficient 0")
        return self

    def linear_predictor(self, value: float | str) -> float:
        """Return the contribution to the log odds.

        Raises
        ------
        CohortError
            ``CLINICAL_VALUE_INVALID`` for a level that is not on the axis, or no finite number on a continuous one.
        """
        if self.kind == "continuous":
            return self.coefficient * self._number(value)
        if value not in self.levels:
            raise CohortError(
                Reason.CLINICAL_VALUE_INVALID, f"{self.predictor} is {value!r}; levels are {', '.join(self.levels)}"
            )
        return self.level_coefficients[self.levels.index(str(value))]

    @property
    def smallest(self) -> float:
        """Smallest contribution on the axis: 0 points."""
        return min(self._ends)

    @property
    def span(self) -> float:
        """Largest minus smallest contribution on the axis."""
        return max(self._ends) - min(self._ends)

    def is_out_of_range(self, value: float | str) -> bool:
        """Tell whether a value lies beyond the axis."""
        return self.kind == "continuous" and not self.low <= self._number(value) <= self.high

    def _number(self, value: float | str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise CohortError(Reason.CLINICAL_VALUE_INVALID, f"{self.predictor} is {value!r}; a finite number is required")
        return number

    @property
    def _ends(self) -> tuple[float, ...]:
        if self.kind == "categorical":
            return self.level_coefficients
        return self.coefficient * self.low, self.coefficient * self.high


@dataclass(frozen=True)
class Contribution:
    """What one predictor adds.

    Attributes
    ----------
    points
        0 at the smallest contribution on the axis; below 0 or above 100 only out of range.
    linear_predictor
        Log odds.
    """

    predictor: str
    label: str
    value: float | str
    points: float
    linear_predictor: float
    out_of_range: bool


@dataclass(frozen=True)
class NomogramReading:
    """One patient on the nomogram; ``total_points`` is the sum of the parts."""

    contributions: tuple[Contribution, ...]
    total_points: float
    linear_predictor: float
    probability: float


@dataclass(frozen=True)
class PointsEntry:
    """One line of the points table."""

    predictor: str
    label: str
    value: float | str
    points: float


class Nomogram(Settings):
    """A logistic model that can be read with a ruler.

    Attributes
    ----------
    intercept
        Log odds with every contribution at zero.
    terms
        The DLR score first.
    """

    intercept: float
    terms: Annotated[tuple[NomogramTerm, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Nomogram:
        names = [term.predictor for term in self.terms]
        if len(set(names)) != len(names):
            raise ValueError("every predictor once")
        if names[0] != SCORE:
            raise ValueError(f"the first term is {names[0]}; {SCORE} is required")
        return self

    @property
    def points_per_log_odds(self) -> float:
        """Points worth one unit of the linear predictor; 0 if no predictor has any effect."""
        largest = max(term.span for term in self.terms)
        return FULL_SCALE_POINTS / largest if largest > 0 else 0.0

    def read(self, values: Mapping[str, float | str]) -> NomogramReading:
        """Read the nomogram for one patient.

        Parameters
        ----------
        values
            A number or level for every predictor.

        Raises
        ------
        CohortError
            ``CLINICAL_PREDICTOR_MISSING`` or ``CLINICAL_VALUE_INVALID``.
        """
        missing = [term.predictor for term in self.terms if term.predictor not in values]
        if missing:
            raise CohortError(Reason.CLINICAL_PREDICTOR_MISSING, f"no value for {', '.join(missing)}")
        contributions = tuple(self._contribution(term, values[term.predictor]) for term in self.terms)
        linear = self.intercept + math.fsum(c.linear_predictor for c in contributions)
        return NomogramReading(contributions, math.fsum(c.points for c in contributions), linear, _expit(linear))

    def probability_at(self, total_points: float) -> float:
        """Return the probability, 0 to 1, a total of points stands for."""
        return _expit(self._linear_at(total_points))

    def points_at(self, probability: float) -> float:
        """Return the total points of a probability between 0 and 1, exclusive; NaN if no predictor has any effect."""
        scale = self.points_per_log_odds
        return (math.log(probability / (1 - probability)) - self._zero_points) * scale if scale else math.nan

    @property
    def largest_total_points(self) -> float:
        """Total with every predictor at its largest contribution on the axis."""
        return math.fsum(term.span for term in self.terms) * self.points_per_log_odds

    def points_table(self, divisions: int = 10) -> tuple[PointsEntry, ...]:
        """Return points for every level, and for ``divisions`` + 1 equidistant values of every continuous axis."""
        entries = []
        for term in self.terms:
            steps = range(divisions + 1)
            numbers = tuple(term.low + (term.high - term.low) * i / divisions for i in steps)
            for value in term.levels or numbers:
                points = self._contribution(term, value).points
                entries.append(PointsEntry(term.predictor, term.label, value, points))
        return tuple(entries)

    def formula(self) -> str:
        """Return the model as one line a reader can compute."""
        parts = [f"{self.intercept:.6g}"]
        for term in self.terms:
            if term.kind == "continuous":
                parts.append(_signed(term.coefficient, term.predictor))
            else:
                pairs = zip(term.levels, term.level_coefficients, strict=True)
                parts.extend(_signed(c, f'[{term.predictor} = "{level}"]') for level, c in pairs if c != 0)
        return f"logit(p) = {' '.join(parts)}"

    @property
    def _zero_points(self) -> float:
        """Linear predictor at a total of 0 points."""
        return self.intercept + math.fsum(term.smallest for term in self.terms)

    def _linear_at(self, total_points: float) -> float:
        scale = self.points_per_log_odds
        return self._zero_points + (total_points / scale if scale else 0.0)

    def _contribution(self, term: NomogramTerm, value: float | str) -> Contribution:
        linear = term.linear_predictor(value)
        points = (linear - term.smallest) * self.points_per_log_odds
        return Contribution(term.predictor, term.label, value, points, linear, term.is_out_of_range(value))


def _expit(linear: float) -> float:
    if linear >= 0:
        return 1.0 / (1.0 + math.exp(-linear))
    odds = math.exp(linear)
    return odds / (1.0 + odds)


def _signed(coefficient: float, factor: str) -> str:
    return f"{'-' if coefficient < 0 else '+'} {abs(coefficient):.6g} × {factor}"
