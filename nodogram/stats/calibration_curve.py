"""Calibration drawn: groups, a smooth curve with its band, and how far that curve strays from the diagonal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.stats.classification import Proportion
from nodogram.stats.resampling import percentile_interval, replicate_chunks, resampled_counts

Values = NDArray[np.float64]

# Share of patients each local line looks at, as in R's lowess and rms::val.prob.
SPAN = 2 / 3
# Predictions at which the curve is computed; between them it is straight, as lowess in R is within 1 % of the range.
POINT_COUNT = 101
# Variance of predictions under a kernel below which they count as one and the same.
CONSTANT = 1e-10


@dataclass(frozen=True, eq=False)
class GroupedCalibration:
    """Points of a calibration plot.

    Attributes
    ----------
    predicted
        float64 (n_groups,), mean prediction of each group, ascending.
    observed
        Share with the outcome in each group, with its interval.
    """

    predicted: Values
    observed: tuple[Proportion, ...]


@dataclass(frozen=True, eq=False)
class SmoothedCalibration:
    """Curve of a calibration plot: predicted and observed probability, float64 (n_points,) each."""

    predicted: Values
    observed: Values


@dataclass(frozen=True, eq=False)
class CalibrationBand:
    """Pointwise percentile interval of a smoothed curve: predicted, observed and bounds, float64 (n_points,) each."""

    predicted: Values
    observed: Values
    low: Values
    high: Values


@dataclass(frozen=True)
class CalibrationErrors:
    """Distance of predictions from the smoothed curve, over patients.

    Attributes
    ----------
    ici
        Mean (integrated calibration index; ``Eavg`` of ``rms::val.prob``).
    e50, e90, emax
        Median, 90th percentile and maximum.
    """

    ici: float
    e50: float
    e90: float
    emax: float


@dataclass(frozen=True, eq=False)
class _Lines:
    """Local straight lines at some predictions; kernel and offset are (n_points, n_levels)."""

    points: Values
    kernel: Values
    offset: Values

    def at(self, positive: Values, total: Values) -> Values:
        """Return the lines' values (r, n_points) from counts (r, n_levels), 0 to 1; NaN where there is nobody."""
        first, second = self.kernel * self.offset, self.kernel * self.offset**2
        weight, mean, square = total @ self.kernel.T, total @ first.T, total @ second.T
        level, slope = positive @ self.kernel.T, positive @ first.T
        spread = weight * square - mean**2
        lined = spread > CONSTANT * weight**2
        # All weight on one prediction: there is no line, only its share.
        flat = np.divide(level, weight, out=np.full_like(level, np.nan), where=weight > 0)
        line = np.divide(square * level - mean * slope, spread, out=flat, where=lined)
        return np.asarray(np.clip(line, 0.0, 1.0), dtype=np.float64)


def grouped_calibration(
    outcome: NDArray[np.int64], probability: Values, group_count: int = 10, level: float = 0.95
) -> GroupedCalibration:
    """Compare mean prediction and observed share in groups of similar prediction.

    Parameters
    ----------
    outcome, probability
        (n,).
    group_count
        Groups of equal size wanted; patients with one prediction stay together, so there may be fewer.
    """
    cuts = np.quantile(probability, np.linspace(0, 1, group_count + 1)[1:-1], method="inverted_cdf")
    group = np.searchsorted(np.unique(cuts), probability, side="left")
    shares, means = [], []
    for label in np.unique(group):
        member = group == label
        shares.append(Proportion.of(int(outcome[member].sum()), int(member.sum()), level))
        means.append(float(probability[member].mean()))
    return GroupedCalibration(np.array(means), tuple(shares))


def smoothed_calibration(
    outcome: NDArray[np.int64], probability: Values, span: float = SPAN, point_count: int = POINT_COUNT
) -> SmoothedCalibration:
    """Smooth outcomes along predictions by local straight lines with tricube weights, clipped to 0 and 1 (lowess).

    Parameters
    ----------
    outcome, probability
        (n,).
    span
        Share of patients each local line looks at, 0 to 1.
    point_count
        Predictions, equidistant over their range, at which the curve is given; all distinct ones if they are no more.

    References
    ----------
    Cleveland 1979, doi:10.1080/01621459.1979.10481038, without its robustness iterations, which would take events for
    outliers. Austin, Steyerberg 2014, doi:10.1002/sim.5941.
    """
    lines = _lines(probability, span, point_count)
    levels, code = np.unique(probability, return_inverse=True)
    positive = np.bincount(code, weights=outcome, minlength=levels.size).astype(np.float64)
    total = np.bincount(code, minlength=levels.size).astype(np.float64)
    return SmoothedCalibration(lines.points, lines.at(positive[None, :], total[None, :])[0])


def calibration_band(
    outcome: NDArray[np.int64],
    probability: Values,
    *,
    replicates: int,
    rng: np.random.Generator,
    span: float = SPAN,
    point_count: int = POINT_COUNT,
    level: float = 0.95,
) -> CalibrationBand:
    """Return the smoothed curve with a pointwise percentile interval.

    Patients are drawn from all, not by outcome: how common the outcome is belongs to what calibration is about. How far each
    local line reaches is held at what the patients themselves gave.

    Parameters
    ----------
    outcome, probability
        (n,).
    """
    curve = smoothed_calibration(outcome, probability, span, point_count)
    lines = _lines(probability, span, point_count)
    levels, code = np.unique(probability, return_inverse=True)
    parts = []
    for rows in replicate_chunks(replicates, 2 * outcome.size):
        drawn = resampled_counts(code + levels.size * outcome, 2 * levels.size, replicates=rows, rng=rng).astype(np.float64)
        negative, positive = drawn[:, : levels.size], drawn[:, levels.size :]
        parts.append(lines.at(positive, negative + positive))
    intervals = [
        percentile_interval(value, column, level) for value, column in zip(curve.observed, np.concatenate(parts).T, strict=True)
    ]
    low = np.array([0.0 if found.low is None else found.low for found in intervals])
    high = np.array([1.0 if found.high is None else found.high for found in intervals])
    return CalibrationBand(curve.predicted, curve.observed, low, high)


def calibration_errors(outcome: NDArray[np.int64], probability: Values, span: float = SPAN) -> CalibrationErrors:
    """Return how far predictions lie from the smoothed curve.

    They come without interval: each is a mean or quantile of absolute values, which resampling pushes up.

    Parameters
    ----------
    outcome, probability
        (n,).

    References
    ----------
    Austin, Steyerberg 2019, doi:10.1002/sim.8281. The smoother is that of R's ``rms::val.prob``, which lets its curve leave 0
    to 1; this one does not, so that a maximum found at either end may be smaller here.
    """
    curve = smoothed_calibration(outcome, probability, span)
    distance = np.abs(np.interp(probability, curve.predicted, curve.observed) - probability)
    e50, e90 = np.quantile(distance, [0.5, 0.9])
    return CalibrationErrors(float(distance.mean()), float(e50), float(e90), float(distance.max()))


def _lines(probability: Values, span: float, point_count: int) -> _Lines:
    levels = np.unique(probability)
    points = levels if levels.size <= point_count else np.linspace(levels[0], levels[-1], point_count)
    neighbor_count = min(max(int(span * probability.size + 1e-10), 2), probability.size)
    offset = levels[None, :] - points[:, None]
    reach = np.array([np.partition(np.abs(probability - x), neighbor_count - 1)[neighbor_count - 1] for x in points])[:, None]
    share = np.divide(np.abs(offset), reach, out=(offset != 0).astype(np.float64), where=reach > 0)
    return _Lines(points, (1 - np.minimum(share, 1) ** 3) ** 3, offset)
