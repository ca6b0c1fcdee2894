"""Decision curves: what acting on a prediction is worth, in true positives per patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.classification import Proportion
from nodogram.stats.resampling import replicate_chunks, resampled_counts

Values = NDArray[np.float64]

TABLE_THRESHOLDS = (0.10, 0.15, 0.20, 0.30)


@dataclass(frozen=True)
class ThresholdRange:
    """Threshold probabilities at which a decision could reasonably be taken, and why these."""

    low: float
    high: float
    reason: str

    def grid(self, step: float = 0.01) -> Values:
        """Return thresholds from ``low`` to ``high``, both included, float64 (n_thresholds,)."""
        # Rounded, so that a probability of 0.15 is treated at a threshold of 0.15.
        return np.round(np.linspace(self.low, self.high, round((self.high - self.low) / step) + 1), 10)


ELECTIVE_NECK_DISSECTION = ThresholdRange(
    0.05,
    0.50,
    "Decision analysis advises to treat a clinically negative neck when the probability of metastasis exceeds 20 % (Weiss et "
    "al. 1994, doi:10.1001/archotol.1994.01880310005001). The range runs from 5 %, where one metastasis found is worth 19 "
    "needless neck dissections, to 50 %, where both weigh the same: a missed metastasis is not held to be the lesser harm.",
)
"""Range for treating the neck."""


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit by threshold probability.

    Attributes
    ----------
    threshold
        float64 (n_thresholds,), 0 to 1, exclusive.
    model, treat_all
        float64 (n_thresholds,); treating none is 0 everywhere.
    """

    threshold: Values
    model: Values
    treat_all: Values

    @property
    def interventions_avoided(self) -> Values:
        """Net interventions avoided per 100 patients against treating all, metastases missed set off; (n_thresholds,).

        References
        ----------
        Vickers, Elkin 2006, doi:10.1177/0272989X06295361.
        """
        odds = self.threshold / (1 - self.threshold)
        return np.asarray(100 * (self.model - self.treat_all) / odds, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Band:
    """A curve over thresholds with its pointwise percentile interval, float64 (n_thresholds,) each."""

    value: Values
    low: Values
    high: Values


@dataclass(frozen=True, eq=False)
class DecisionBands:
    """Net benefit with bootstrap bands.

    Attributes
    ----------
    model, treat_all
        Net benefit.
    interventions_avoided
        See :attr:`DecisionCurve.interventions_avoided`.
    difference
        Net benefit of the model minus that of another on the same patients; ``None`` if none was given.
    """

    threshold: Values
    model: Band
    treat_all: Band
    interventions_avoided: Band
    difference: Band | None


@dataclass(frozen=True)
class PerHundred:
    """What following the model would do to 100 patients who would otherwise all be treated.

    Attributes
    ----------
    avoided
        Patients below the threshold, who would not be treated: share of all; of these,
    avoided_rightly, missed
        those without and those with the outcome, shares of all.
    """

    threshold: float
    avoided: Proportion
    avoided_rightly: Proportion
    missed: Proportion


def decision_curve(outcome: NDArray[np.int64], probability: Values, threshold: Values) -> DecisionCurve:
    """Return net benefit = TP/n - FP/n * t/(1-t) at each threshold t.

    Parameters
    ----------
    outcome
        (n,), 0 or 1.
    probability
        (n,), 0 to 1; at the threshold a patient is treated.
    threshold
        (n_thresholds,), 0 to 1, exclusive.

    References
    ----------
    Vickers, Elkin 2006, doi:10.1177/0272989X06295361.
    """
    everyone = np.ones_like(probability)
    model, treat_all = (_benefit(outcome, treated, threshold).mean(axis=0) for treated in (probability, everyone))
    return DecisionCurve(threshold, model, treat_all)


def decision_bands(
    outcome: NDArray[np.int64],
    probability: Values,
    threshold: Values,
    *,
    replicates: int,
    rng: np.random.Generator,
    other: Values | None = None,
    level: float = 0.95,
) -> DecisionBands:
    """Return the decision curve with pointwise percentile bands.

    Patients are drawn from all, not by outcome, as net benefit depends on how common the outcome is.

    Parameters
    ----------
    outcome, probability, threshold
        See :func:`decision_curve`.
    other
        (n,), another model's probabilities of the same patients, to be compared with.
    """
    model, treat_all = (_benefit(outcome, p, threshold) for p in (probability, np.ones_like(probability)))
    avoided = 100 * (model - treat_all) * (1 - threshold) / threshold
    curves = [model, treat_all, avoided, *([] if other is None else [model - _benefit(outcome, other, threshold)])]
    stacked = np.hstack(curves)
    patients = np.arange(outcome.size)
    drawn = np.concatenate(
        [
            resampled_counts(patients, outcome.size, replicates=rows, rng=rng) @ stacked / outcome.size
            for rows in replicate_chunks(replicates, outcome.size)
        ]
    )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    parts = (np.split(row, len(curves)) for row in (stacked.mean(axis=0), low, high))
    bands = [Band(*columns) for columns in zip(*parts, strict=True)]
    return DecisionBands(threshold, bands[0], bands[1], bands[2], None if other is None else bands[3])


def per_hundred(
    outcome: NDArray[np.int64],
    probability: Values,
    thresholds: tuple[float, ...] = TABLE_THRESHOLDS,
    level: float = 0.95,
) -> tuple[PerHundred, ...]:
    """Return interventions avoided and metastases missed at each threshold, against treating all.

    Parameters
    ----------
    outcome, probability
        (n,); at the threshold a patient is treated.
    """
    rows = []
    for threshold in thresholds:
        spared = probability < threshold
        missed = int(outcome[spared].sum())
        counts = (int(spared.sum()), int(spared.sum()) - missed, missed)
        rows.append(PerHundred(threshold, *(Proportion.of(count, outcome.size, level) for count in counts)))
    return tuple(rows)


def _benefit(outcome: NDArray[np.int64], probability: Values, threshold: Values) -> Values:
    """Return what each patient adds to the net benefit, (n, n_thresholds)."""
    if not ((threshold > 0) & (threshold < 1)).all():
        raise ValueError("threshold probabilities must lie between 0 and 1, exclusive")
    worth = outcome[:, None] - (1 - outcome[:, None]) * threshold / (1 - threshold)
    return np.asarray(np.where(probability[:, None] >= threshold, worth, 0.0), dtype=np.float64)
