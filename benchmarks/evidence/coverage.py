"""How often 95 % intervals hold the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy.stats import binom

from benchmarks.evidence.cohorts import DECISION, PATIENTS, Truth, known_truth, predictions, ratings
from benchmarks.extraction.report import heading, say, table
from nodogram.stats.agreement import icc_absolute_agreement, icc_consistency, icc_one_way
from nodogram.stats.calibration import calibration_line
from nodogram.stats.classification import confusion
from nodogram.stats.discrimination import auc_bootstrap_interval, auc_interval

BOOTSTRAP = 2000
# 200 cohorts leave a coverage uncertain by 1.5 points; where an interval is cheap, more cohorts say more.
MORE = 4000
GOAL = (0.92, 0.98)


@dataclass(frozen=True)
class Interval:
    """One interval of one cohort."""

    measure: str
    method: str
    low: float
    high: float
    truth: float

    @property
    def covers(self) -> bool:
        """Whether it holds the truth."""
        return self.low <= self.truth <= self.high


def report_coverage(cohorts: int, seed: int, jobs: int) -> None:
    heading(f"Coverage of 95 % intervals on {cohorts} cohorts")
    few = _sample(cohorts, seed, jobs, with_bootstrap=True)
    many = _sample(MORE, seed + 1, jobs, with_bootstrap=False)
    rows = []
    for (measure, method), found in few.items():
        covered = np.mean([i.covers for i in found])
        within = GOAL[0] <= covered <= GOAL[1]
        more = many.get((measure, method))
        rows.append(
            (
                measure,
                method,
                f"{found[0].truth:.3f}",
                f"{np.median([i.high - i.low for i in found]):.3f}",
                f"{covered:.1%}" + ("" if within else " **outside**"),
                "" if more is None else f"{np.mean([i.covers for i in more]):.1%}",
                f"{len(found)}",
            )
        )
    table(("measure", "interval", "truth", "median width", "coverage (92–98 %)", f"of {MORE:,} cohorts", "defined in"), rows)
    low, high = binom.ppf([0.025, 0.975], cohorts, 0.95) / cohorts
    say(
        f"{PATIENTS} patients a cohort, drawn with their outcomes; 30 patients read twice for the ICC.",
        f"An interval that holds the truth in exactly 95 % of all cohorts does so in {low:.1%} to {high:.1%} of {cohorts},",
        f"19 times out of 20; the column of {MORE:,} is sharper, for intervals cheap enough.",
        "The intercept is that with the slope held at 1 although the true slope is 0.8: its truth is the value infinitely",
        "many patients would give.",
    )


Collected = dict[tuple[str, str], list[Interval]]


def _sample(cohorts: int, seed: int, jobs: int, with_bootstrap: bool) -> Collected:
    truth = known_truth()
    seeds = np.random.SeedSequence(seed).spawn(cohorts + 1)
    parts = Parallel(n_jobs=jobs)(delayed(_cohort)(s, truth, with_bootstrap) for s in seeds[1:])
    collected: Collected = {}
    for interval in (*(i for part in parts for i in part), *_icc(np.random.default_rng(seeds[0]), cohorts, truth)):
        collected.setdefault((interval.measure, interval.method), []).append(interval)
    return collected


def _cohort(seed: np.random.SeedSequence, truth: Truth, with_bootstrap: bool) -> list[Interval]:
    rng = np.random.default_rng(seed)
    outcome, probability = predictions(rng)
    return [
        *_discrimination(outcome, probability, truth),
        *(_resampled(outcome, probability, truth, rng) if with_bootstrap else ()),
        *_calibration(outcome, probability, truth),
        *_decisions(outcome, probability, truth),
    ]


def _discrimination(outcome: NDArray[np.int64], probability: NDArray[np.float64], truth: Truth) -> Iterator[Interval]:
    for method, name in (("delong_logit", "DeLong, logit scale"), ("delong", "DeLong, plain")):
        found = auc_interval(outcome, probability, method)
        yield Interval("AUC", name, found.low, found.high, truth.auc)


def _resampled(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], truth: Truth, rng: np.random.Generator
) -> Iterator[Interval]:
    found = auc_bootstrap_interval(outcome, probability, replicates=BOOTSTRAP, rng=rng)
    yield Interval("AUC", f"stratified bootstrap, {BOOTSTRAP:,}", found.low, found.high, truth.auc)


def _calibration(outcome: NDArray[np.int64], probability: NDArray[np.float64], truth: Truth) -> Iterator[Interval]:
    line = calibration_line(outcome, probability)
    if line.slope_low is not None and line.slope_high is not None:
        yield Interval("calibration slope", "Wald", line.slope_low, line.slope_high, truth.slope)
    yield Interval("calibration in the large", "Wald", line.intercept_low, line.intercept_high, truth.intercept)


def _decisions(outcome: NDArray[np.int64], probability: NDArray[np.float64], truth: Truth) -> Iterator[Interval]:
    table = confusion(outcome, probability, DECISION)
    for name, share, known in (
        ("sensitivity", table.sensitivity, truth.sensitivity),
        ("specificity", table.specificity, truth.specificity),
    ):
        if share.low is not None and share.high is not None:
            yield Interval(f"{name} at {DECISION}", "Wilson", share.low, share.high, known)


def _icc(rng: np.random.Generator, cohorts: int, truth: Truth) -> Iterator[Interval]:
    readers, repeats = ratings(rng, cohorts)
    for name, found, known in (
        ("ICC(1,1)", icc_one_way(repeats), truth.icc_one_way),
        ("ICC(2,1)", icc_absolute_agreement(readers), truth.icc_absolute),
        ("ICC(3,1)", icc_consistency(readers), truth.icc_consistency),
    ):
        for low, high in zip(found.low.tolist(), found.high.tolist(), strict=True):
            yield Interval(name, "McGraw and Wong", low, high, known)
