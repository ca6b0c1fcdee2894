"""What a document may say of few patients: curves on a coarse grid, small counts withheld.

A ROC curve has a corner for each patient, a smooth calibration curve a point at each predicted probability. Neither is needed
to draw it, so no curve that leaves a hospital is finer than :data:`GRID`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.evidence.sample_result import (
    CalibrationEvidence,
    Curve,
    DiscriminationEvidence,
    Method,
    SampleEvidence,
    SampleSettings,
    Values,
)

GRID = 0.05
"""Step of probabilities, sensitivities and false positive rates in every curve."""

SMALLEST_CELL = 5
"""Patients of one kind must be at least as many, or none, to be counted."""

MINIMUM_PATIENTS = 10
"""With fewer patients a mean is nearly a patient, and nothing is written."""

_QUANTILE_PATIENTS = 20
_POINTS = np.round(np.arange(0, 1 + GRID / 2, GRID), 2)


def coarse_settings(patient_count: int, replicates: int) -> SampleSettings:
    """Return how a sample is looked at so that groups hold at least :data:`SMALLEST_CELL` patients."""
    # One more than needed: groups of equal size are equal up to one patient.
    groups = max(2, min(5, patient_count // (SMALLEST_CELL + 1)))
    return SampleSettings(replicates=replicates, threshold_step=GRID, group_count=groups)


def coarsened(evidence: SampleEvidence) -> SampleEvidence:
    """Return the same evidence with curves on the grid and without groups that are too small; all other numbers stay."""
    found = evidence.discrimination
    text = (
        f"given at every {GRID:g} of false positive rate, recall and predicted probability, so that no point belongs to one "
        f"patient; groups of fewer than {SMALLEST_CELL} patients are left out"
    )
    return evidence.model_copy(
        update={
            "discrimination": None if found is None else _coarse_curves(found),
            "calibration": _coarse_calibration(evidence.calibration),
            "methods": (*evidence.methods, Method(measure="curves", text=text)),
        }
    )


def withheld(counts: Sequence[int]) -> tuple[int | None, ...]:
    """Return counts of the parts of one whole, ``None`` where one must not be told.

    A part of 1 to 4 patients is withheld, and with it the smallest other part that has patients: the sum would give it away.
    """
    small = [0 < count < SMALLEST_CELL for count in counts]
    if sum(small) == 1:
        others = [i for i, count in enumerate(counts) if count and not small[i]]
        if others:
            small[min(others, key=lambda i: counts[i])] = True
    return tuple(None if hide else count for count, hide in zip(counts, small, strict=True))


def safe_quantiles(values: NDArray[np.float64]) -> tuple[float, float, float] | None:
    """Return 10th percentile, median and 90th percentile, or ``None`` of so few that they would be patients' own values."""
    if values.size < _QUANTILE_PATIENTS:
        return None
    low, middle, high = (float(v) for v in np.quantile(values, (0.1, 0.5, 0.9)))
    return low, middle, high


def _coarse_curves(found: DiscriminationEvidence) -> DiscriminationEvidence:
    # Where the curve rises straight up, its upper end counts.
    top: dict[float, float] = {}
    for false, true in zip(found.false_positive_rate, found.true_positive_rate, strict=True):
        top[false] = max(true, top.get(false, 0.0))
    rates = np.array(sorted(top))
    sensitivity = np.interp(_POINTS, rates, [top[rate] for rate in rates])
    recall = np.asarray(found.recall)
    first = np.minimum(np.searchsorted(recall, _POINTS[1:] - 1e-12), recall.size - 1)
    return found.model_copy(
        update={
            "false_positive_rate": (0.0, *_floats(_POINTS)),
            "true_positive_rate": (0.0, *_floats(sensitivity)),
            "recall": _floats(_POINTS[1:]),
            "precision": tuple(found.precision[i] for i in first),
        }
    )


def _coarse_calibration(found: CalibrationEvidence) -> CalibrationEvidence:
    groups = tuple(group for group in found.groups if group.patient_count >= SMALLEST_CELL)
    curve, predicted = found.curve, np.asarray(found.curve_predicted)
    low, high = (predicted[0], predicted[-1]) if predicted.size else (1.0, 0.0)
    kept = np.array([point for point in _POINTS if low <= point <= high])
    if curve is None or kept.size == 0:
        return found.model_copy(update={"groups": groups, "curve": None, "curve_predicted": ()})
    lines = {name: _floats(np.interp(kept, predicted, getattr(curve, name))) for name in ("value", "low", "high")}
    return found.model_copy(update={"groups": groups, "curve": Curve(**lines), "curve_predicted": _floats(kept)})


def _floats(values: NDArray[np.float64]) -> Values:
    return tuple(float(value) for value in values)
