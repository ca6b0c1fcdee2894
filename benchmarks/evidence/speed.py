"""Seconds for the two computations that a plain loop makes slow."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from benchmarks.extraction.report import against_goal, heading, say, seconds, table
from nodogram.stats.agreement import icc_absolute_agreement
from nodogram.stats.discrimination import auc_interval, bootstrap_aucs

FEATURES, PATIENTS, READERS = 3451, 30, 2
COHORT, REPLICATES = 1000, 2000
ROUNDS = 5
GOAL_S = 5.0
# Features and replicates the slow loops are timed on before they are multiplied up.
SAMPLE = 50


def report_speed(seed: int) -> None:
    heading("Speed, one core")
    rng = np.random.default_rng(seed)
    rows = [*_icc(rng), *_bootstrap(rng)]
    table(("computation", "how", f"seconds (goal ≤ {GOAL_S:g})", "largest difference"), rows)
    say(
        f"Medians of {ROUNDS} rounds; loops marked * are timed on {SAMPLE} of theirs and multiplied up.",
        "Differences are in the ICC and its bounds, and in the standard error of the AUC of one and the same resample.",
    )


def _icc(rng: np.random.Generator) -> list[tuple[str, ...]]:
    truth = rng.standard_normal((PATIENTS, 1, FEATURES))
    ratings = truth + 0.5 * rng.standard_normal((PATIENTS, READERS, FEATURES))
    together = icc_absolute_agreement(ratings)
    name = f"ICC(2,1) with interval, {FEATURES:,} features x {PATIENTS} patients x {READERS} readers"

    def loop() -> float:
        largest = 0.0
        for feature in range(FEATURES):
            alone = icc_absolute_agreement(ratings[:, :, feature : feature + 1])
            for part in ("icc", "low", "high"):
                largest = max(largest, abs(float(getattr(alone, part)[0] - getattr(together, part)[feature])))
        return largest

    def anova() -> float:
        return max(abs(_icc_by_anova(ratings[:, :, feature]) - float(together.icc[feature])) for feature in range(SAMPLE))

    fast, _ = _timed(lambda: icc_absolute_agreement(ratings))
    slow, apart = _timed(loop, rounds=1)
    slower, anova_apart = _timed(anova, rounds=1)
    return [
        (name, "all at once", against_goal(fast, GOAL_S, least=False), ""),
        ("", "our formulas, one feature after another", seconds(slow), f"{apart:.0e}"),
        ("", "statsmodels ANOVA, one after another, ICC alone *", seconds(slower * FEATURES / SAMPLE), f"{anova_apart:.0e}"),
    ]


def _icc_by_anova(ratings: NDArray[np.float64]) -> float:
    subject, reader = np.indices(ratings.shape)
    long = pd.DataFrame({"value": ratings.ravel(), "subject": subject.ravel(), "reader": reader.ravel()})
    squares = anova_lm(ols("value ~ C(subject) + C(reader)", long).fit())["mean_sq"]
    between, readers, error = squares["C(subject)"], squares["C(reader)"], squares["Residual"]
    n, k = ratings.shape
    return float((between - error) / (between + (k - 1) * error + k * (readers - error) / n))


def _bootstrap(rng: np.random.Generator) -> list[tuple[str, ...]]:
    outcome = (rng.random(COHORT) < 0.4).astype(np.int64)
    score = rng.standard_normal(COHORT) + outcome
    name = f"{REPLICATES:,} bootstrap AUCs with DeLong's variance, {COHORT:,} patients"

    def loop() -> float:
        groups = [np.flatnonzero(outcome == label) for label in (0, 1)]
        return [
            auc_interval(outcome[rows], score[rows], "delong").standard_error
            for rows in (np.concatenate([rng.choice(g, g.size) for g in groups]) for _ in range(SAMPLE))
        ][-1]

    fast, found = _timed(lambda: bootstrap_aucs(outcome, score, replicates=REPLICATES, rng=np.random.default_rng(1)))
    slow, _ = _timed(loop, rounds=1)
    expected = auc_interval(outcome, score, "delong").standard_error
    spread = float(np.std(found.auc)) / expected - 1
    return [
        (name, "all at once", against_goal(fast, GOAL_S, least=False), ""),
        ("", "one resample after another *", seconds(slow * REPLICATES / SAMPLE), ""),
        ("", f"SD of the AUCs over DeLong's error of the cohort: {1 + spread:.3f}", "", ""),
    ]


def _timed(work: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        result = work()
        spent.append(time.perf_counter() - started)
    return median(spent), result
