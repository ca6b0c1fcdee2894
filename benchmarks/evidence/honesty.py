"""Whether permutation and optimism keep what they promise of a chain that selects features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import kstest

from benchmarks.evidence.chain import FEATURES, PATIENTS, SELECTED, Table, draw, fit_predict
from benchmarks.extraction.report import heading, say, table
from nodogram.stats.discrimination import auc

PERMUTATIONS = 199
RESAMPLES = 200
FOLDS = 5
NEW_PATIENTS = 100_000
SMALLEST_KS_P = 0.01
LARGEST_BIAS = 0.02


@dataclass(frozen=True)
class Corrected:
    """AUCs of one cohort's model: on itself, corrected, and on patients it has never seen."""

    apparent: float
    corrected: float
    true: float


def report_permutation(cohorts: int, seed: int, jobs: int) -> None:
    heading(f"Permuted outcomes on {cohorts} cohorts without signal")
    seeds = np.random.SeedSequence(seed).spawn(cohorts)
    p = np.array(Parallel(n_jobs=jobs)(delayed(_permutation_p)(s) for s in seeds))
    test = kstest(p, "uniform")
    rows = [(f"p ≤ {level:g}", f"{level:.1%}", f"{np.mean(p <= level + 1e-12):.1%}") for level in (0.01, 0.05, 0.1, 0.25, 0.5)]
    table(("", "expected", "found"), rows)
    verdict = "met" if test.pvalue > SMALLEST_KS_P else "**missed**"
    say(
        f"Kolmogorov-Smirnov against the uniform distribution: D = {test.statistic:.3f}, p = {test.pvalue:.2f}",
        f"(goal > {SMALLEST_KS_P:g}, {verdict}). {_chain()}",
        f"Statistic: AUC of {FOLDS}-fold cross-validated probabilities, the whole chain in each fold;",
        f"{PERMUTATIONS} permutations.",
    )


def report_optimism(cohorts: int, seed: int, jobs: int) -> None:
    heading(f"Optimism-corrected AUC on {cohorts} cohorts, truth on {NEW_PATIENTS:,} patients")
    seeds = np.random.SeedSequence(seed).spawn(cohorts + 1)
    new = draw(np.random.default_rng(seeds[0]), NEW_PATIENTS, signal=True)
    found = Parallel(n_jobs=jobs)(delayed(_corrected)(s, new) for s in seeds[1:])
    true = np.array([cohort.true for cohort in found])
    rows = []
    for name, values in (
        ("apparent", np.array([cohort.apparent for cohort in found])),
        (f"corrected, {RESAMPLES} resamples of the whole chain", np.array([cohort.corrected for cohort in found])),
    ):
        error = values - true
        rows.append((name, f"{values.mean():.3f}", f"{error.mean():+.3f}", f"{error.std():.3f}"))
    table(("AUC", "mean", "minus truth", "SD of that"), [*rows, ("truth", f"{true.mean():.3f}", "", "")])
    bias = float(np.mean([cohort.corrected - cohort.true for cohort in found]))
    say(f"Goal: within {LARGEST_BIAS} on average, {'met' if abs(bias) <= LARGEST_BIAS else '**missed**'}. {_chain()}")


def _chain() -> str:
    return (
        f"The chain keeps the {SELECTED} of {FEATURES} features with the largest t statistics and fits a logistic model; "
        f"{PATIENTS} patients."
    )


def _permutation_p(seed: np.random.SeedSequence) -> float:
    rng = np.random.default_rng(seed)
    cohort = draw(rng, PATIENTS, signal=False)
    observed = _cross_validated(cohort, cohort.outcome, rng)
    permuted = [_cross_validated(cohort, rng.permutation(cohort.outcome), rng) for _ in range(PERMUTATIONS)]
    return (1 + sum(value >= observed for value in permuted)) / (1 + PERMUTATIONS)


def _cross_validated(cohort: Table, outcome: NDArray[np.int64], rng: np.random.Generator) -> float:
    fold = np.empty(PATIENTS, dtype=int)
    for label in (0, 1):
        members = rng.permutation(np.flatnonzero(outcome == label))
        fold[members] = np.arange(members.size) % FOLDS
    probability = np.empty(PATIENTS)
    for k in range(FOLDS):
        learned, held = fold != k, fold == k
        probability[held] = fit_predict(cohort.features[learned], outcome[learned], cohort.features[held])
    return auc(outcome, probability)


def _corrected(seed: np.random.SeedSequence, new: Table) -> Corrected:
    rng = np.random.default_rng(seed)
    cohort = draw(rng, PATIENTS, signal=True)
    scored = fit_predict(cohort.features, cohort.outcome, np.vstack([cohort.features, new.features]))
    apparent, true = auc(cohort.outcome, scored[:PATIENTS]), auc(new.outcome, scored[PATIENTS:])
    optimism = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, PATIENTS, PATIENTS)
        probability = fit_predict(cohort.features[rows], cohort.outcome[rows], cohort.features)
        optimism.append(auc(cohort.outcome[rows], probability[rows]) - auc(cohort.outcome, probability))
    return Corrected(apparent, apparent - float(np.mean(optimism)), true)
