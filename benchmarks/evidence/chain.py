"""A small chain that selects features and fits a logistic model, and feature tables with a known truth for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Outcome = NDArray[np.int64]
Values = NDArray[np.float64]

PATIENTS = 235
FEATURES = 60
SELECTED = 6
# Log odds per SD of the first features; all others are noise.
EFFECTS = (0.8, 0.6, 0.5, 0.4, 0.3)
INTERCEPT = -0.4
RIDGE = 1e-3
NEWTON_STEPS = 25


@dataclass(frozen=True, eq=False)
class Table:
    """Features (n, FEATURES) and outcome (n,)."""

    features: Values
    outcome: Outcome


def draw(rng: np.random.Generator, patients: int, *, signal: bool) -> Table:
    """Return a table; without signal the outcome is a coin with the same share of positives."""
    features = rng.standard_normal((patients, FEATURES))
    linear = INTERCEPT + features[:, : len(EFFECTS)] @ np.array(EFFECTS) * signal
    return Table(features, (rng.random(patients) < expit(linear)).astype(np.int64))


def fit_predict(features: Values, outcome: Outcome, new: Values) -> Values:
    """Select the features with the largest t statistics, fit a logistic model, return probabilities of the new patients.

    Parameters
    ----------
    features, outcome
        (n, p) and (n,), what is learned from.
    new
        (m, p).
    """
    positive = outcome == 1
    means = features[positive].mean(axis=0) - features[~positive].mean(axis=0)
    spread = np.sqrt(features[positive].var(axis=0) / positive.sum() + features[~positive].var(axis=0) / (~positive).sum())
    chosen = np.sort(np.argsort(-np.abs(means) / spread)[:SELECTED])
    beta = _logistic(features[:, chosen], outcome)
    return expit(beta[0] + new[:, chosen] @ beta[1:])


def _logistic(features: Values, outcome: Outcome) -> Values:
    """Return coefficients, intercept first; the ridge keeps resamples that happen to separate within bounds."""
    X = np.column_stack([np.ones(len(features)), features])
    beta = np.zeros(X.shape[1])
    for _ in range(NEWTON_STEPS):
        p = expit(X @ beta)
        information = X.T @ (X * (p * (1 - p))[:, None]) + RIDGE * np.eye(beta.size)
        step = np.linalg.solve(information, X.T @ (outcome - p) - RIDGE * beta)
        beta = beta + step
        if np.abs(step).max() < 1e-6:
            break
    return beta
