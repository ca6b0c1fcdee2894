"""Decisions at a threshold: confusion matrix, its proportions with Wilson intervals, and rules that fix a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm

from nodogram.stats.discrimination import roc_curve
from nodogram.stats.resampling import BootstrapInterval, percentile_interval


@dataclass(frozen=True)
class Proportion:
    """A share with its Wilson interval; all ``None`` where the denominator is zero.

    References
    ----------
    Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """

    count: int
    total: int
    value: float | None
    low: float | None
    high: float | None

    @staticmethod
    def of(count: int, total: int, level: float = 0.95) -> Proportion:
        """Return count / total with its interval."""
        if total == 0:
            return Proportion(count, total, None, None, None)
        z2 = float(norm.ppf(0.5 + level / 2)) ** 2
        share = count / total
        center = (share + z2 / (2 * total)) / (1 + z2 / total)
        half = float(np.sqrt(z2 * (share * (1 - share) / total + z2 / (4 * total**2)))) / (1 + z2 / total)
        # At 0 and n the closed form ends exactly at the bound; rounding must not push it past.
        low = 0.0 if count == 0 else center - half
        high = 1.0 if count == total else center + half
        return Proportion(count, total, share, low, high)


@dataclass(frozen=True)
class LikelihoodRatio:
    """How much a decision changes the odds of the outcome, with its log-normal interval.

    All ``None`` where it is not defined; the bounds alone where a count of zero leaves no standard error.

    References
    ----------
    Simel, Samsa, Matchar 1991, doi:10.1016/0895-4356(91)90128-V.
    """

    value: float | None
    low: float | None
    high: float | None

    @staticmethod
    def of(numerator: Proportion, denominator: Proportion, level: float = 0.95) -> LikelihoodRatio:
        """Return the ratio of two independent shares with its interval."""
        if numerator.value is None or not denominator.value:
            return LikelihoodRatio(None, None, None)
        value = numerator.value / denominator.value
        if numerator.count == 0:
            return LikelihoodRatio(value, None, None)
        variance = sum(1 / share.count - 1 / share.total for share in (numerator, denominator))
        factor = float(np.exp(norm.ppf(0.5 + level / 2) * np.sqrt(variance)))
        return LikelihoodRatio(value, value / factor, value * factor)


@dataclass(frozen=True)
class Interval:
    """A value with its interval, 0 to 1; all ``None`` where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PredictiveValues:
    """What a decision would mean where the outcome is as common as ``prevalence``."""

    prevalence: float
    ppv: Interval
    npv: Interval


@dataclass(frozen=True)
class TableBootstrap:
    """Percentile intervals of measures of a 2x2 table, from resamples of its patients."""

    f1: BootstrapInterval
    mcc: BootstrapInterval


@dataclass(frozen=True)
class Confusion:
    """Counts of a 2x2 decision table and what follows from them."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @property
    def total(self) -> int:
        """Number of patients."""
        return self.true_positive + self.false_negative + self.false_positive + self.true_negative

    @property
    def accuracy(self) -> Proportion:
        """Share decided correctly."""
        return Proportion.of(self.true_positive + self.true_negative, self.total)

    @property
    def no_information_rate(self) -> float:
        """Accuracy of always naming the larger class."""
        events = self.true_positive + self.false_negative
        return max(events, self.total - events) / self.total

    @property
    def better_than_no_information_p(self) -> float:
        """One-sided exact binomial p of the accuracy against the no-information rate, not adjusted for multiplicity."""
        correct = self.true_positive + self.true_negative
        return float(binomtest(correct, self.total, self.no_information_rate, alternative="greater").pvalue)

    @property
    def balanced_accuracy(self) -> Interval:
        """Mean of sensitivity and specificity, with the square-and-add interval of their Wilson bounds.

        References
        ----------
        Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
        """
        below = above = value = 0.0
        for share in (self.sensitivity, self.specificity):
            if share.value is None or share.low is None or share.high is None:
                return Interval(None, None, None)
            value += share.value / 2
            below += (share.value - share.low) ** 2
            above += (share.high - share.value) ** 2
        return Interval(value, value - np.sqrt(below) / 2, value + np.sqrt(above) / 2)

    @property
    def sensitivity(self) -> Proportion:
        """Share of positives found."""
        return Proportion.of(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> Proportion:
        """Share of negatives cleared."""
        return Proportion.of(self.true_negative, self.true_negative + self.false_positive)

    @property
    def ppv(self) -> Proportion:
        """Positive predictive value at the prevalence of these patients."""
        return Proportion.of(self.true_positive, self.true_positive + self.false_positive)

    @property
    def npv(self) -> Proportion:
        """Negative predictive value at the prevalence of these patients."""
        return Proportion.of(self.true_negative, self.true_negative + self.false_negative)

    @property
    def positive_likelihood_ratio(self) -> LikelihoodRatio:
        """Sensitivity / (1 - specificity)."""
        negatives = self.true_negative + self.false_positive
        return LikelihoodRatio.of(self.sensitivity, Proportion.of(self.false_positive, negatives))

    @property
    def negative_likelihood_ratio(self) -> LikelihoodRatio:
        """(1 - sensitivity) / specificity."""
        positives = self.true_positive + self.false_negative
        return LikelihoodRatio.of(Proportion.of(self.false_negative, positives), self.specificity)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of sensitivity and PPV."""
        denominator = 2 * self.true_positive + self.false_positive + self.false_negative
        return 2 * self.true_positive / denominator if denominator else None

    @property
    def mcc(self) -> float | None:
        """Matthews correlation coefficient."""
        tp, fn, fp, tn = self.true_positive, self.false_negative, self.false_positive, self.true_negative
        denominator = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        return float((tp * tn - fp * fn) / np.sqrt(float(denominator))) if denominator else None


def predictive_values(table: Confusion, prevalence: float, level: float = 0.95) -> PredictiveValues:
    """Return PPV and NPV by Bayes' theorem for a prevalence taken as known.

    Both depend on these patients through a ratio of two shares alone, the likelihood ratio: its interval follows from their
    Wilson intervals (MOVER-R) and is carried over. Unlike logit intervals it needs no patients added where a count is zero.

    Parameters
    ----------
    table
        Decisions; both classes present, or nothing is defined.
    prevalence
        0 to 1, exclusive.

    References
    ----------
    Donner, Zou 2012, doi:10.1177/0962280210383082. Bayes' theorem with a known prevalence: Mercaldo, Lau, Zhou 2007,
    doi:10.1002/sim.2677.
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"prevalence {prevalence} must lie between 0 and 1, exclusive")
    events = table.true_positive + table.false_negative
    odds = prevalence / (1 - prevalence)
    found, cleared = table.true_positive, table.true_negative
    missed, alarmed = table.false_negative, table.false_positive
    return PredictiveValues(
        prevalence,
        ppv=_bayes(Proportion.of(found, events, level), Proportion.of(alarmed, table.total - events, level), odds),
        npv=_bayes(Proportion.of(cleared, table.total - events, level), Proportion.of(missed, events, level), 1 / odds),
    )


def bootstrap_table(table: Confusion, *, replicates: int, rng: np.random.Generator, level: float = 0.95) -> TableBootstrap:
    """Return percentile intervals of F1 and MCC; patients are drawn from all, so that prevalence varies as well.

    Parameters
    ----------
    table
        Decisions on at least one patient.
    """
    cells = np.array([table.true_positive, table.false_negative, table.false_positive, table.true_negative])
    drawn = rng.multinomial(table.total, cells / table.total, size=replicates).astype(np.float64)
    tp, fn, fp, tn = drawn.T
    with np.errstate(invalid="ignore"):  # zero by zero is NaN: not defined, and left out
        f1 = 2 * tp / (2 * tp + fp + fn)
        mcc = (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return TableBootstrap(
        percentile_interval(np.nan if table.f1 is None else table.f1, f1, level),
        percentile_interval(np.nan if table.mcc is None else table.mcc, mcc, level),
    )


def _bayes(right: Proportion, wrong: Proportion, odds: float) -> Interval:
    """Return a predictive value from the shares named so of those who are and of those who are not."""
    ratio, inverse = _ratio(right, wrong), _ratio(wrong, right)
    if ratio is None or inverse is None or right.value == wrong.value == 0:
        return Interval(None, None, None)
    # Whichever of the ratio and its inverse is finite: the other may be a division by zero.
    value, low, high = (
        true * odds / (true * odds + false)
        for true, false in ((right.value or 0.0, wrong.value or 0.0), (ratio, 1.0), (1.0, inverse))
    )
    return Interval(value, min(low, value), max(high, value))


def _ratio(upper: Proportion, lower: Proportion) -> float | None:
    """Return the lower bound of a ratio of two shares by MOVER-R, written so that no zero divides."""
    if upper.value is None or upper.low is None or lower.value is None or lower.high is None:
        return None
    product = upper.value * lower.value
    own = upper.low * (2 * upper.value - upper.low)
    root = np.sqrt(max(product**2 - own * lower.high * (2 * lower.value - lower.high), 0.0))
    return float(own / (product + root)) if own > 0 else 0.0


def confusion(outcome: NDArray[np.int64], probability: NDArray[np.float64], threshold: float) -> Confusion:
    """Count decisions; a probability at the threshold counts as positive.

    Parameters
    ----------
    outcome
        (n,), 0 or 1.
    probability
        (n,).
    """
    positive, event = probability >= threshold, outcome == 1
    return Confusion(
        true_positive=int((positive & event).sum()),
        false_negative=int((~positive & event).sum()),
        false_positive=int((positive & ~event).sum()),
        true_negative=int((~positive & ~event).sum()),
    )


def youden_threshold(outcome: NDArray[np.int64], probability: NDArray[np.float64]) -> float:
    """Return the threshold with the largest sensitivity + specificity - 1; of equals the highest.

    References
    ----------
    Youden 1950, doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3.
    """
    curve = roc_curve(outcome, probability)
    index = curve.true_positive_rate - curve.false_positive_rate
    return float(curve.threshold[1:][np.argmax(index[1:])])


def threshold_for_sensitivity(outcome: NDArray[np.int64], probability: NDArray[np.float64], minimum: float) -> float:
    """Return the highest threshold whose sensitivity is at least ``minimum`` (0 to 1)."""
    curve = roc_curve(outcome, probability)
    # A sensitivity of k/n must not fail a minimum it equals but for rounding.
    reached = np.flatnonzero(curve.true_positive_rate >= minimum - 1e-12)
    return float(curve.threshold[max(int(reached[0]), 1)])
