"""Statistics turned into measures that say why something is missing."""

from __future__ import annotations

from nodogram.stats.classification import Proportion
from training.evidence.sample_result import Measure

NO_INTERVAL = "its variance is zero in these patients"


def measured(value: float | None, low: float | None, high: float | None, reason: str) -> Measure:
    """Return a measure; the reason is kept only where something is missing.

    An interval of no width is none: it comes from a variance of zero, and is left out.
    """
    if value is not None and low is not None and low == high:
        return Measure(value=value, reason=NO_INTERVAL)
    whole = value is not None and low is not None and high is not None
    return Measure(value=value, low=low, high=high, reason=None if whole else reason)


def measured_share(share: Proportion, reason: str) -> Measure:
    """Return a share with its interval."""
    return measured(share.value, share.low, share.high, reason)
