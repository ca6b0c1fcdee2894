"""How numbers are printed, decided once for CSV tables, figures and page."""

from __future__ import annotations

import math
from typing import Protocol

UNDEFINED = "–"
# Beyond this an estimate tells "very large" and nothing more; four figures and decimals would pretend otherwise.
LARGE = 1000.0
SMALLEST_P = 0.001


class Bounded(Protocol):
    """A value with its interval; each may be undefined."""

    @property
    def value(self) -> float | None:
        """The estimate."""

    @property
    def low(self) -> float | None:
        """Lower bound."""

    @property
    def high(self) -> float | None:
        """Upper bound."""


def number(value: float | None, decimals: int = 3) -> str:
    """Print a number with fixed decimals; ``–`` for an undefined one, never a negative zero."""
    if value is None or not math.isfinite(value):
        return UNDEFINED
    if abs(value) >= LARGE:
        return f"{value:.3g}"
    text = f"{value:.{decimals}f}"
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def interval(estimate: Bounded | None, decimals: int = 3) -> str:
    """Print ``value (low–high)``; bounds below zero are joined by "to", so that no dash can be read as a minus."""
    if estimate is None or estimate.value is None:
        return UNDEFINED
    text = number(estimate.value, decimals)
    if estimate.low is None or estimate.high is None:
        return text
    joint = " to " if min(estimate.low, estimate.high) < 0 else "–"
    return f"{text} ({number(estimate.low, decimals)}{joint}{number(estimate.high, decimals)})"


def p_value(p: float | None) -> str:
    """Print a p-value in [0, 1] with three decimals, ``<0.001`` below and ``>0.999`` above."""
    if p is None or not math.isfinite(p):
        return UNDEFINED
    if p < SMALLEST_P:
        return "<0.001"
    return ">0.999" if p > 1 - SMALLEST_P else f"{p:.3f}"


def measured(value: float) -> str:
    """Print a quantity of unknown magnitude, such as a feature's mean, with four digits."""
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Print a duration, s, in the unit a reader would choose."""
    minute, hour = 60.0, 3600.0
    if seconds < minute:
        return f"{seconds:.0f} s"
    return f"{seconds / minute:.0f} min" if seconds < 2 * hour else f"{seconds / hour:.1f} h"


def yes_no(value: bool) -> str:
    """Print a truth value."""
    return "yes" if value else "no"
