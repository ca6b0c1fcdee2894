"""What an update of the model to the new place would do: its two forms beside the model as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.settings import Settings
from nodogram.stats.calibration import (
    CalibrationLine,
    Recalibration,
    RecalibrationMethod,
    brier_score,
    calibration_line,
    observed_to_expected,
    recalibrate,
    scaled_brier_score,
)
from nodogram.stats.calibration_curve import calibration_errors
from nodogram.stats.classification import confusion
from training.evidence.measured import measured, measured_share
from training.evidence.sample import CONSTANT_PREDICTION, NO_EVENT, NO_NON_EVENT, NOTHING_EXPECTED, ONE_OUTCOME, SEPARATED
from training.evidence.sample_result import Measure

UpdateForm = Literal["none", "intercept", "logistic"]

METHODS: dict[UpdateForm, RecalibrationMethod] = {"intercept": "intercept", "logistic": "intercept_and_slope"}
HELD = "held, not estimated"
RESAMPLES = 100
# Below this share of resamples in which an update can be estimated, nothing is said of its optimism.
_LEAST_DEFINED = 0.5


class UpdateEvidence(Settings):
    """One form of update, fitted to the patients it is judged on.

    Attributes
    ----------
    form
        ``none``: the model as it is; ``intercept``: all log odds moved; ``logistic``: moved and stretched.
    intercept, slope
        logit P = intercept + slope * logit(probability of the bundle).
    brier, brier_corrected
        The latter is what is to be expected of new patients from there: corrected by the bootstrap for having been fitted to
        the same patients; ``None`` where it cannot be estimated.
    ici
        Mean distance of predictions from the smooth calibration curve.
    sensitivity, specificity
        At the frozen threshold, applied to the updated probability.
    """

    form: UpdateForm
    intercept: Measure
    slope: Measure
    observed_to_expected: Measure
    brier: float
    brier_corrected: float | None
    scaled_brier: float
    ici: float
    sensitivity: Measure
    specificity: Measure


class RecalibrationEvidence(Settings):
    """Both forms of update beside none.

    Attributes
    ----------
    written
        The form whose probabilities were written for each patient; ``none`` if none was asked for.
    updates
        Without those that cannot be estimated.
    reason
        Why one is missing.
    """

    written: UpdateForm
    updates: tuple[UpdateEvidence, ...]
    reason: str | None


def recalibration_evidence(
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    *,
    written: UpdateForm,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> RecalibrationEvidence:
    """Describe the model as it is and what both updates would make of it.

    Parameters
    ----------
    outcome
        (n,), 0 or 1.
    probability
        (n,), 0 to 1, as predicted by the bundle.
    threshold
        Decision threshold frozen in the bundle.
    written
        The form asked for.
    resamples
        Of the bootstrap that corrects the Brier score.

    References
    ----------
    Steyerberg et al. 2004, doi:10.1002/sim.1844; optimism: Harrell, Lee, Mark 1996,
    doi:10.1002/(SICI)1097-0258(19960229)15:4<361::AID-SIM168>3.0.CO;2-4.
    """
    if not 0 < outcome.sum() < outcome.size:
        return RecalibrationEvidence(written="none", updates=(), reason=ONE_OUTCOME)
    line = calibration_line(outcome, probability)
    updates = [_judged("none", Recalibration(0.0, 1.0), (_held(0.0), _held(1.0)), outcome, probability, threshold, 0.0)]
    forms: tuple[UpdateForm, ...] = ("intercept", "logistic")
    for form in forms:
        fitted = recalibrate(outcome, probability, METHODS[form])
        if fitted is not None:
            rng = np.random.default_rng([seed, len(updates)])
            optimism = _brier_optimism(outcome, probability, METHODS[form], resamples, rng)
            updates.append(_judged(form, fitted, _estimated(form, line), outcome, probability, threshold, optimism))
    present = {update.form for update in updates}
    reason = None if "logistic" in present else CONSTANT_PREDICTION if np.ptp(probability) == 0 else SEPARATED
    return RecalibrationEvidence(written=written if written in present else "none", updates=tuple(updates), reason=reason)


def updated_probability(
    outcome: NDArray[np.int64], probability: NDArray[np.float64], form: UpdateForm
) -> NDArray[np.float64] | None:
    """Return probabilities updated to these patients; ``None`` where no update was asked for or none can be estimated."""
    if form == "none":
        return None
    fitted = recalibrate(outcome, probability, METHODS[form])
    return None if fitted is None else fitted.apply(probability)


def _judged(
    form: UpdateForm,
    update: Recalibration,
    coefficients: tuple[Measure, Measure],
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    threshold: float,
    optimism: float | None,
) -> UpdateEvidence:
    updated = probability if form == "none" else update.apply(probability)
    table, ratio = confusion(outcome, updated, threshold), observed_to_expected(outcome, updated)
    brier = brier_score(outcome, updated)
    return UpdateEvidence(
        form=form,
        intercept=coefficients[0],
        slope=coefficients[1],
        observed_to_expected=measured(ratio.ratio, ratio.low, ratio.high, NOTHING_EXPECTED),
        brier=brier,
        brier_corrected=None if optimism is None else brier + optimism,
        scaled_brier=scaled_brier_score(outcome, updated),
        ici=calibration_errors(outcome, updated).ici,
        sensitivity=measured_share(table.sensitivity, NO_EVENT),
        specificity=measured_share(table.specificity, NO_NON_EVENT),
    )


def _estimated(form: UpdateForm, line: CalibrationLine) -> tuple[Measure, Measure]:
    if form == "intercept":
        return measured(line.intercept, line.intercept_low, line.intercept_high, ONE_OUTCOME), _held(1.0)
    return (
        measured(line.joint_intercept, line.joint_intercept_low, line.joint_intercept_high, SEPARATED),
        measured(line.slope, line.slope_low, line.slope_high, SEPARATED),
    )


def _brier_optimism(
    outcome: NDArray[np.int64],
    probability: NDArray[np.float64],
    method: RecalibrationMethod,
    resamples: int,
    rng: np.random.Generator,
) -> float | None:
    """Return by how much the Brier score of an update is larger on all patients than on the resample it was fitted to."""
    gaps = []
    for _ in range(resamples):
        drawn = rng.integers(0, outcome.size, outcome.size)
        fitted = recalibrate(outcome[drawn], probability[drawn], method)
        if fitted is not None:
            score = _scorer(fitted)
            gaps.append(score(outcome, probability) - score(outcome[drawn], probability[drawn]))
    return float(np.mean(gaps)) if len(gaps) >= _LEAST_DEFINED * resamples else None


def _scorer(update: Recalibration) -> Callable[[NDArray[np.int64], NDArray[np.float64]], float]:
    return lambda outcome, probability: brier_score(outcome, update.apply(probability))


def _held(value: float) -> Measure:
    return Measure(value=value, reason=HELD)
