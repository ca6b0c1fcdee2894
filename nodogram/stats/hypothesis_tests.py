"""Tests of baseline tables and corrections for multiplicity; p-values are two-sided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

# Below this expected count the chi-squared approximation is not trusted (Cochran 1954).
SMALLEST_EXPECTED = 5
NORMALITY_ALPHA = 0.05


@dataclass(frozen=True)
class TestResult:
    """A statistic with its p-value.

    Attributes
    ----------
    name
        The test really done.
    statistic
        Its value; ``None`` for Fisher's exact test.
    """

    __test__ = False  # not a test case, whatever pytest thinks of the name

    name: str
    statistic: float | None
    p: float


def compare_categorical(counts: NDArray[np.int64]) -> TestResult:
    """Compare the distribution of levels between groups.

    Parameters
    ----------
    counts
        (n_levels, n_groups). Levels that nobody has are left out. Chi-squared without Yates' correction; for 2x2 tables with
        an expected count below 5, Fisher's exact test.
    """
    used = counts[counts.sum(axis=1) > 0]
    if used.shape[0] < 2 or (used.sum(axis=0) == 0).any():
        return TestResult("not defined", None, 1.0)
    result = stats.chi2_contingency(used, correction=False)
    if used.shape == (2, 2) and result.expected_freq.min() < SMALLEST_EXPECTED:
        return TestResult("Fisher", None, float(stats.fisher_exact(used).pvalue))
    return TestResult("chi-squared", float(result.statistic), float(result.pvalue))


def compare_continuous(first: NDArray[np.float64], second: NDArray[np.float64]) -> TestResult:
    """Compare two groups by Student's t test where Shapiro-Wilk finds both normal, else by the Mann-Whitney U test."""
    if min(first.size, second.size) < 3 or np.ptp(np.r_[first, second]) == 0:
        return TestResult("not defined", None, 1.0)
    varied = min(np.ptp(first), np.ptp(second)) > 0
    if varied and all(stats.shapiro(group).pvalue >= NORMALITY_ALPHA for group in (first, second)):
        result = stats.ttest_ind(first, second)
        return TestResult("Student t", float(result.statistic), float(result.pvalue))
    result = stats.mannwhitneyu(first, second)
    return TestResult("Mann-Whitney U", float(result.statistic), float(result.pvalue))


def student_t_from_summary(mean_1: float, sd_1: float, count_1: int, mean_2: float, sd_2: float, count_2: int) -> TestResult:
    """Student's t test (equal variances) from published means and standard deviations."""
    result = stats.ttest_ind_from_stats(mean_1, sd_1, count_1, mean_2, sd_2, count_2)
    return TestResult("Student t", float(result.statistic), float(result.pvalue))


def standardized_mean_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return (mean 1 - mean 2) / pooled SD; for a 0/1 indicator this is the usual difference of proportions.

    References
    ----------
    Austin 2009, doi:10.1002/sim.3697.
    """
    variances = [p.mean() * (1 - p.mean()) if np.isin(p, (0.0, 1.0)).all() else p.var(ddof=1) for p in (first, second)]
    pooled = float(np.sqrt(sum(variances) / 2))
    return float((first.mean() - second.mean()) / pooled) if pooled > 0 else None


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Holm's step-down adjusted p-values (n,)."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    result = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return result
