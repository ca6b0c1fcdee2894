"""What a predictor adds to others: likelihood ratio test, adequacy index, difference in scaled Brier score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from nodogram.stats.logistic import Penalty, maximize_likelihood
from nodogram.stats.resampling import BootstrapInterval, percentile_interval, replicate_chunks, resampled_counts

# Share of a column that others must leave unexplained for it to add anything.
SMALLEST_RESIDUAL = 1e-7


@dataclass(frozen=True)
class LikelihoodRatioTest:
    """A logistic model against the same model without some of its columns.

    Attributes
    ----------
    base_statistic, full_statistic
        Likelihood ratio chi-squared of each against the intercept alone.
    statistic, degrees_of_freedom, p
        Of what was added; not adjusted for multiplicity.
    """

    base_statistic: float
    full_statistic: float
    statistic: float
    degrees_of_freedom: int
    p: float

    @property
    def adequacy(self) -> float | None:
        """Share of the full model's chi-squared that the base model reaches alone; ``None`` where the full one says nothing.

        References
        ----------
        Harrell 2015, Regression Modeling Strategies, doi:10.1007/978-3-319-19425-7, section 9.8.4.
        """
        return self.base_statistic / self.full_statistic if self.full_statistic > 0 else None


def likelihood_ratio_test(
    base: NDArray[np.float64],
    added: NDArray[np.float64],
    outcome: NDArray[np.int64],
    *,
    penalty: Penalty = "none",
) -> LikelihoodRatioTest | None:
    """Test what columns add to others in a logistic regression.

    Parameters
    ----------
    base, added
        (n, p) and (n, q) without intercept; ``base`` may have no column. Columns that follow from those before them add no
        degree of freedom.
    outcome
        (n,), 0 or 1, both present; not separated by all columns together unless there is a penalty.
    penalty
        ``jeffreys`` for Firth's penalized likelihood: all models keep the penalty of the full one.

    Returns
    -------
    test : LikelihoodRatioTest or None
        ``None`` where the added columns bring nothing of their own.

    Raises
    ------
    ArithmeticError
        If no maximum was reached, as where the outcomes are separated and there is no penalty.

    References
    ----------
    Penalized test: Heinze, Schemper 2002, doi:10.1002/sim.1047.
    """
    if not 0 < outcome.sum() < outcome.size or len(base) != outcome.size or len(added) != outcome.size:
        raise ValueError("outcome must hold 0 and 1, both at least once, for as many patients as the columns have rows")
    design, base_count = _orthogonal(base, added)
    freedom = design.shape[1] - base_count
    if freedom == 0:
        return None
    likelihoods = []
    for count in (1, base_count, design.shape[1]):
        found = maximize_likelihood(design, outcome, penalty=penalty, free=np.arange(design.shape[1]) < count)
        if found is None:
            raise ArithmeticError("the likelihood of a logistic regression has no maximum that could be reached")
        likelihoods.append(found.log_likelihood)
    nothing, some, everything = likelihoods
    # A model with more columns cannot fit worse; rounding may say so.
    statistic = max(2 * (everything - some), 0.0)
    return LikelihoodRatioTest(
        base_statistic=max(2 * (some - nothing), 0.0),
        full_statistic=max(2 * (everything - nothing), 0.0),
        statistic=statistic,
        degrees_of_freedom=freedom,
        p=float(chi2.sf(statistic, freedom)),
    )


def scaled_brier_difference(
    outcome: NDArray[np.int64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    replicates: int,
    rng: np.random.Generator,
    level: float = 0.95,
) -> BootstrapInterval:
    """Return by how much the scaled Brier score of the first model is above that of the second, on the same patients.

    Patients are drawn from all, so that prevalence varies as well; not defined with one outcome only.

    Parameters
    ----------
    outcome, first, second
        (n,), 0 or 1, and probabilities.
    """
    errors = np.column_stack([(second - outcome) ** 2 - (first - outcome) ** 2, outcome.astype(np.float64)])
    patients = np.arange(outcome.size)
    drawn = np.concatenate(
        [
            resampled_counts(patients, outcome.size, replicates=rows, rng=rng) @ errors / outcome.size
            for rows in replicate_chunks(replicates, outcome.size)
        ]
    )
    return percentile_interval(float(_scaled(errors.mean(axis=0)[None, :])[0]), _scaled(drawn), level)


def _scaled(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return gains in Brier score (r,) over that of the prevalence, from (r, 2); NaN where that is 0."""
    gain, prevalence = means.T
    reference = prevalence * (1 - prevalence)
    result: NDArray[np.float64] = np.divide(gain, reference, out=np.full_like(gain, np.nan), where=reference > 0)
    return result


def _orthogonal(base: NDArray[np.float64], added: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return orthogonal columns of unit spread, the intercept first, and how many of them span intercept and base."""
    basis = np.full((len(base), 1), 1 / np.sqrt(len(base)))
    base_count = 1
    for part in (base, added):
        for column in part.T:
            centered = column - column.mean()
            rest = centered
            for _ in range(2):  # once leaves rounding of the size of what was taken away
                rest = rest - basis @ (basis.T @ rest)
            length = np.linalg.norm(rest)
            if np.ptp(column) > 0 and length > SMALLEST_RESIDUAL * np.linalg.norm(centered):
                basis = np.column_stack([basis, rest / length])
        if part is base:
            base_count = basis.shape[1]
    return basis * np.sqrt(len(base)), base_count
