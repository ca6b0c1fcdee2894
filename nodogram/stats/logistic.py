"""Maximum of the logistic likelihood, plain or with Jeffreys' penalty, with any coefficients held where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Penalty = Literal["none", "jeffreys"]

MAXIMUM_ITERATIONS = 200
# A step that would gain less than this in log likelihood ends the search.
SMALLEST_GAIN = 1e-12
# Share of a step below which it is no use to go on halving it.
SMALLEST_SIZE = 1e-10
# Longest step beyond doubling, in log odds per unit of a column: far away the quadratic model is worth nothing.
LONGEST_STEP = 5.0
# Step of the numerical second derivative, and the curvature below which it is not trusted.
DIFFERENCE = 1e-6
SMALLEST_CURVATURE = 1e-9


@dataclass(frozen=True, eq=False)
class LikelihoodMaximum:
    """Where the likelihood is largest.

    Attributes
    ----------
    beta
        float64 (p,), held coefficients included.
    covariance
        Inverse Fisher information (n_free, n_free) of the free coefficients.
    log_likelihood
        With the penalty, if there is one.
    """

    beta: NDArray[np.float64]
    covariance: NDArray[np.float64]
    log_likelihood: float


def maximize_likelihood(
    design: NDArray[np.float64],
    outcome: NDArray[np.int64],
    *,
    penalty: Penalty = "none",
    start: NDArray[np.float64] | None = None,
    free: NDArray[np.bool_] | None = None,
) -> LikelihoodMaximum | None:
    """Climb to the maximum over the free coefficients by Newton steps with halving.

    Parameters
    ----------
    design
        (n, p) with a column of ones; columns of about unit spread, independent of each other.
    outcome
        (n,), 0 or 1. Without penalty the outcomes must not be separated by the design: there is no maximum then.
    penalty
        ``jeffreys`` adds half the log determinant of the Fisher information of all columns (Firth).
    start
        (p,), zeros by default; coefficients that are not ``free`` keep these values.
    free
        (p,), all by default.

    Returns
    -------
    maximum : LikelihoodMaximum or None
        ``None`` if none was reached.

    References
    ----------
    Firth 1993, doi:10.1093/biomet/80.1.27. Heinze, Schemper 2002, doi:10.1002/sim.1047.
    """
    beta = np.zeros(design.shape[1]) if start is None else start.astype(np.float64)
    free = np.ones(design.shape[1], dtype=bool) if free is None else free
    best = log_likelihood(design, outcome, beta, penalty)
    for _ in range(MAXIMUM_ITERATIONS):
        score = _score(design, outcome, beta, penalty)
        step = np.zeros(design.shape[1])
        step[free] = np.linalg.solve(_curvature(design, outcome, beta, free, score, penalty), score[free])
        # Shortened as a whole: cutting single components would turn the step away from the ascent.
        longest = LONGEST_STEP + float(np.abs(beta).max())
        step *= min(1.0, longest / max(float(np.abs(step).max()), longest))
        size = 1.0
        while (value := log_likelihood(design, outcome, beta + size * step, penalty)) <= best and size > SMALLEST_SIZE:
            size /= 2
        if value > best:
            beta, best = beta + size * step, value
        if score @ step <= SMALLEST_GAIN or size <= SMALLEST_SIZE:
            covariance = np.asarray(np.linalg.pinv(_information(design, beta, free), hermitian=True), dtype=np.float64)
            return LikelihoodMaximum(beta, covariance, best)
    return None


def log_likelihood(
    design: NDArray[np.float64], outcome: NDArray[np.int64], beta: NDArray[np.float64], penalty: Penalty = "none"
) -> float:
    """Return the (penalized) log likelihood; minus infinity where the penalty has no value.

    Parameters
    ----------
    design, outcome, beta
        (n, p), (n,), (p,).
    """
    linear = design @ beta
    likelihood = float(np.sum(outcome * linear - np.logaddexp(0.0, linear)))
    if penalty == "none":
        return likelihood
    sign, determinant = np.linalg.slogdet(_information(design, beta, np.ones(beta.size, dtype=bool)))
    return likelihood + 0.5 * float(determinant) if sign > 0 else -np.inf


def _information(design: NDArray[np.float64], beta: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    p = expit(design @ beta)
    part = design[:, free]
    information: NDArray[np.float64] = part.T @ (part * (p * (1 - p))[:, None])
    return information


def _score(
    design: NDArray[np.float64], outcome: NDArray[np.int64], beta: NDArray[np.float64], penalty: Penalty
) -> NDArray[np.float64]:
    """Return the gradient (p,) of :func:`log_likelihood`."""
    p = expit(design @ beta)
    residual = outcome - p
    if penalty == "jeffreys":
        inverse = np.linalg.pinv(_information(design, beta, np.ones(beta.size, dtype=bool)), hermitian=True)
        leverage = p * (1 - p) * np.einsum("ij,jk,ik->i", design, inverse, design)
        residual = residual + leverage * (0.5 - p)
    score: NDArray[np.float64] = design.T @ residual
    return score


def _curvature(
    design: NDArray[np.float64],
    outcome: NDArray[np.int64],
    beta: NDArray[np.float64],
    free: NDArray[np.bool_],
    score: NDArray[np.float64],
    penalty: Penalty,
) -> NDArray[np.float64]:
    """Return the negative second derivatives by the free coefficients, or a positive substitute."""
    if penalty == "jeffreys":
        # The Fisher information leaves out the penalty, and its steps then swing about the maximum for hundreds of rounds.
        moves = DIFFERENCE * np.eye(beta.size)[free]
        moved = np.array([_score(design, outcome, beta + move, penalty) for move in moves])
        hessian = -(moved - score)[:, free] / DIFFERENCE
        hessian = (hessian + hessian.T) / 2
        if np.linalg.eigvalsh(hessian)[0] > SMALLEST_CURVATURE:
            return hessian
    # Far from the maximum all weights vanish; the ridge keeps the equations solvable and the step an ascent.
    information = _information(design, beta, free)
    return information + SMALLEST_CURVATURE * np.eye(len(information))
