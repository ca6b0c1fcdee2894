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


def compare_categorical(counts: NDArray[np.int64], *, yates: bool = False) -> TestResult:
    """Compare the distribution of levels between groups.

    Chi-squared; Fisher's exact test for 2x2 tables with an expected count below 5.

    Parameters
    ----------
    counts
        (n_levels, n_groups). Levels that nobody has are left out.
    yates
        Whether to use Yates' continuity correction in 2x2 tables.
    """
    used = counts[counts.sum(axis=1) > 0]
    if used.shape[0] < 2 or (used.sum(axis=0) == 0).any():
        return TestResult("not defined", None, 1.0)
    result = stats.chi2_contingency(used, correction=yates)
    if used.shape == (2, 2) and result.expected_freq.min() < SMALLEST_EXPECTED:
        return TestResult("Fisher", None, float(stats.fisher_exact(used).pvalue))
    return TestResult("chi-squared", float(result.statistic), float(result.pvalue))


def compare_continuous(first: NDArray[np.float64], second: NDArray[np.float64]) -> TestResult:
    """Compare two groups by Student's t test where Shapiro-Wilk finds both normal, else by the Mann-Whitney U test."""
    if min(first.size, second.size) < 3 or np.ptp(np.r_[first, second]) == 0:
        return TestResult("not defined", None, 1.0)
    if is_normal(first) and is_normal(second):
        return compare_means(first, second, equal_variances=True)
    return compare_ranks(first, second)


def is_normal(values: NDArray[np.float64]) -> bool:
    """Tell whether the Shapiro-Wilk test lets (n,) values, at least three, pass as normal; constant ones never do."""
    return bool(np.ptp(values) > 0 and stats.shapiro(values).pvalue >= NORMALITY_ALPHA)


def compare_means(first: NDArray[np.float64], second: NDArray[np.float64], *, equal_variances: bool) -> TestResult:
    """Compare means by Student's t test (equal variances) or Welch's."""
    result = stats.ttest_ind(first, second, equal_var=equal_variances)
    return TestResult("Student t" if equal_variances else "Welch t", float(result.statistic), float(result.pvalue))


def compare_ranks(first: NDArray[np.float64], second: NDArray[np.float64]) -> TestResult:
    """Compare two groups by the Mann-Whitney U test: exact in small groups without ties, else the normal approximation."""
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
    """Return Holm's step-down adjusted p-values (n,): control of the chance of any false finding.

    References
    ----------
    Holm 1979, Scandinavian Journal of Statistics 6:65-70.
    """
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    result = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return result


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return step-up adjusted p-values (n,): control of the expected share of false findings.

    References
    ----------
    Benjamini, Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    order = np.argsort(p)[::-1]
    adjusted = np.minimum.accumulate(p[order] * p.size / np.arange(p.size, 0, -1))
    result = np.empty_like(adjusted)
    result[order] = np.minimum(adjusted, 1.0)
    return result
