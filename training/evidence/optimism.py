"""Optimism of a fitted model from refits on bootstrap resamples: Harrell's correction and the .632+ estimate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.calibration import brier_score, calibration_line
from nodogram.stats.discrimination import auc
from training.evidence.honesty_result import CorrectedMeasure, Distribution, MeasureName, ModelName, ModelOptimism, PlusEstimate

# Chance that a patient is in a resample, for many patients: 1 - 1/e.
IN_RESAMPLE = 0.632
# AUC of a score that knows nothing.
CHANCE = 0.5
MEASURES: tuple[MeasureName, ...] = ("auc", "brier", "slope")

Values = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Resample:
    """One resample and the model fitted on it.

    Attributes
    ----------
    drawn
        (n,) patient of each row of the resample, by position.
    probability
        (n,) of every original patient, drawn or not.
    """

    drawn: NDArray[np.intp]
    probability: Values

    @property
    def out_of_bag(self) -> NDArray[np.bool_]:
        """Whether (n,) each original patient was not drawn."""
        return np.equal(np.bincount(self.drawn, minlength=self.probability.size), 0)


@dataclass(frozen=True)
class Plus:
    """A .632+ estimate with what it is made of."""

    value: float
    overfitting_rate: float
    weight: float


def model_optimism(
    model: ModelName, outcome: NDArray[np.int64], apparent: Values, resamples: Sequence[Resample]
) -> ModelOptimism:
    """Correct AUC, Brier score and calibration slope of one model.

    Parameters
    ----------
    outcome
        (n,), 0 or 1, of the original patients.
    apparent
        (n,) what the final model says of the patients it was fitted on.
    resamples
        The whole procedure refitted, at least once.

    Notes
    -----
    The model that is shipped turns an image and findings into a probability: the final chain, then calibration and nomogram.
    That these two were learned from held-out scores is how it was fitted, not what it is. Its apparent performance is
    therefore that of its predictions for its own patients, whose chain scores are resubstituted; in a resample likewise, and
    on the original patients with the same function. Held-out scores would make another, smaller apparent performance, but
    none on the original patients could go with it: most of them are in the resample, and the model has no held-out score of
    them. Where a model all but remembers its patients, the original ones are remembered too where they were drawn: Harrell's
    correction is then too small, and the .632+ estimate is the one to read.

    References
    ----------
    Harrell, Lee, Mark 1996, doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4. Efron, Gong 1983,
    doi:10.1080/00031305.1983.10483087.
    """
    return ModelOptimism(
        model=model,
        corrected=tuple(_corrected(measure, outcome, apparent, resamples) for measure in MEASURES),
        plus=(_plus_auc(outcome, apparent, resamples), _plus_brier(outcome, apparent, resamples)),
        out_of_bag_slope=_out_of_bag_slope(outcome, resamples),
    )


def performance(measure: MeasureName, outcome: NDArray[np.int64], probability: Values) -> float | None:
    """Return AUC, Brier score or calibration slope of (n,) predictions; ``None`` where it is not defined."""
    if measure == "brier":
        return brier_score(outcome, probability)
    if not 0 < outcome.sum() < outcome.size:
        return None
    return auc(outcome, probability) if measure == "auc" else calibration_line(outcome, probability).slope


def plus_estimate(apparent: float, out_of_bag: float, no_information: float) -> Plus:
    """Return the .632+ estimate of an error; the error of an AUC is what it lacks to 1.

    Parameters
    ----------
    apparent
        On the patients the model was fitted on.
    out_of_bag
        Mean over patients that resamples did not draw.
    no_information
        Expected if predictions and outcomes had nothing to do with each other; no estimate is worse.

    References
    ----------
    Efron, Tibshirani 1997, doi:10.1080/01621459.1997.10474007. For the AUC, with 0.5 for no information: Sahiner, Chan,
    Hadjiiski 2008, doi:10.1118/1.2868757; Iba, Shinozaki, Maruo, Noma 2021, doi:10.1186/s12874-020-01201-w. The rule is
    applied to the mean over resamples, as in the latter: AUCs cut off at chance one by one would never average to chance.
    """
    capped = min(out_of_bag, no_information)
    rate = (capped - apparent) / (no_information - apparent) if min(capped, no_information) > apparent else 0.0
    weight = IN_RESAMPLE / (1 - (1 - IN_RESAMPLE) * rate)
    return Plus((1 - weight) * apparent + weight * capped, rate, weight)


def no_information_brier(outcome: NDArray[np.int64], probability: Values) -> float:
    """Return the Brier score of (n,) predictions dealt to (n,) outcomes at random: the mean over all pairs."""
    share = float(outcome.mean())
    return share * float(np.mean((1 - probability) ** 2)) + (1 - share) * float(np.mean(probability**2))


def distribution(values: Sequence[float]) -> Distribution:
    """Summarize values over refits."""
    if not values:
        return Distribution(count=0, mean=None, sd=None, low=None, median=None, high=None)
    low, median, high = (float(v) for v in np.quantile(values, (0.025, 0.5, 0.975)))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Distribution(count=len(values), mean=float(np.mean(values)), sd=sd, low=low, median=median, high=high)


def _corrected(
    measure: MeasureName, outcome: NDArray[np.int64], apparent: Values, resamples: Sequence[Resample]
) -> CorrectedMeasure:
    own = performance(measure, outcome, apparent)
    pairs = [
        (performance(measure, outcome[r.drawn], r.probability[r.drawn]), performance(measure, outcome, r.probability))
        for r in resamples
    ]
    defined = [(inside, original) for inside, original in pairs if inside is not None and original is not None]
    optimism = distribution([inside - original for inside, original in defined])
    reason = None
    if own is None:
        reason = "not defined on the development patients, whose outcomes the apparent predictions separate"
    elif optimism.mean is None:
        reason = "not defined in any resample, because the predictions separate the outcomes"
    return CorrectedMeasure(
        measure=measure,
        apparent=own,
        in_resample=tuple(inside for inside, _ in defined),
        on_original=tuple(original for _, original in defined),
        optimism=optimism,
        standard_error=None if optimism.sd is None else optimism.sd / float(np.sqrt(optimism.count)),
        corrected=None if own is None or optimism.mean is None else own - optimism.mean,
        reason=reason,
    )


def _plus_auc(outcome: NDArray[np.int64], apparent: Values, resamples: Sequence[Resample]) -> PlusEstimate:
    own = auc(outcome, apparent)
    found = [performance("auc", outcome[r.out_of_bag], r.probability[r.out_of_bag]) for r in resamples]
    defined = [value for value in found if value is not None]
    if not defined:
        return _undefined("auc", own, CHANCE)
    outside = float(np.mean(defined))
    plus = plus_estimate(1 - own, 1 - outside, 1 - CHANCE)
    return _plus("auc", own, outside, CHANCE, plus, 1 - plus.value)


def _plus_brier(outcome: NDArray[np.int64], apparent: Values, resamples: Sequence[Resample]) -> PlusEstimate:
    """Average over the resamples that lack a patient first, then over patients (the leave-one-out bootstrap)."""
    own, no_information = brier_score(outcome, apparent), no_information_brier(outcome, apparent)
    outside = np.array([r.out_of_bag for r in resamples])
    errors = np.where(outside, (np.array([r.probability for r in resamples]) - outcome) ** 2, 0.0)
    times = outside.sum(axis=0)
    if not times.any():
        return _undefined("brier", own, no_information)
    out_of_bag = float(np.mean(errors.sum(axis=0)[times > 0] / times[times > 0]))
    plus = plus_estimate(own, out_of_bag, no_information)
    return _plus("brier", own, out_of_bag, no_information, plus, plus.value)


def _plus(
    measure: MeasureName, apparent: float, out_of_bag: float, no_information: float, found: Plus, value: float
) -> PlusEstimate:
    return PlusEstimate(
        measure=measure,
        apparent=apparent,
        out_of_bag=out_of_bag,
        no_information=no_information,
        overfitting_rate=found.overfitting_rate,
        weight=found.weight,
        value=value,
    )


def _undefined(measure: MeasureName, apparent: float, no_information: float) -> PlusEstimate:
    return PlusEstimate(
        measure=measure,
        apparent=apparent,
        out_of_bag=None,
        no_information=no_information,
        overfitting_rate=None,
        weight=None,
        value=None,
        reason="no resample left out patients of both outcomes",
    )


def _out_of_bag_slope(outcome: NDArray[np.int64], resamples: Sequence[Resample]) -> float | None:
    labels = np.concatenate([outcome[r.out_of_bag] for r in resamples])
    probability = np.concatenate([r.probability[r.out_of_bag] for r in resamples])
    return performance("slope", labels, probability)
