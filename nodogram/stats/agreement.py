"""Agreement of repeated measurements and of outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.stats import f as f_distribution
from scipy.stats import t as t_distribution

Values = NDArray[np.float64]
Voxels = NDArray[np.bool_]

# Spread of the differences, in their SD, that limits of agreement reach on either side.
LIMITS_SD = 1.96


@dataclass(frozen=True, eq=False)
class IccEstimates:
    """Intraclass correlation of single measurements, one per feature.

    Attributes
    ----------
    icc, low, high
        float64 (n_features,); 1 for perfect agreement. A feature without any variation has 0 with bounds 0 and 0.
    """

    icc: Values
    low: Values
    high: Values


@dataclass(frozen=True, eq=False)
class MeanSquares:
    """Two-way analysis of variance without replication, one per feature.

    Attributes
    ----------
    subjects, raters, error, within
        float64 (n_features,), mean squares: between subjects, between raters, residual, and within subjects (raters and
        residual together).
    """

    subjects: Values
    raters: Values
    error: Values
    within: Values


@dataclass(frozen=True)
class LimitsOfAgreement:
    """How far two measurements of one thing lie apart, in their unit; intervals have 95 %.

    Attributes
    ----------
    bias, bias_low, bias_high
        Mean of first minus second.
    sd
        SD of the differences.
    lower, upper
        Limits within which about 95 % of the differences lie: bias -/+ 1.96 SD.
    error
        Standard error of either limit.

    References
    ----------
    Bland, Altman 1986, doi:10.1016/S0140-6736(86)90837-8.
    """

    count: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    upper: float
    error: float


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance, mm, from each surface voxel of one mask to the nearest surface voxel of the other, and back."""

    first_to_second: Values
    second_to_first: Values


def mean_squares(ratings: Values) -> MeanSquares:
    """Return the mean squares of every feature at once.

    Parameters
    ----------
    ratings
        (n_subjects, n_raters, n_features), finite, at least two subjects and two raters.
    """
    if ratings.ndim != 3 or min(ratings.shape[:2]) < 2 or not np.isfinite(ratings).all():
        raise ValueError(f"ratings of shape {ratings.shape}: (subjects >= 2, raters >= 2, features), finite, is required")
    n, k = ratings.shape[:2]
    grand = ratings.mean(axis=(0, 1))
    subjects, raters = ratings.mean(axis=1), ratings.mean(axis=0)
    between = n * ((raters - grand) ** 2).sum(axis=0)
    residual = ratings - subjects[:, None, :] - raters[None, :, :] + grand
    rest = (residual**2).sum(axis=(0, 1))
    return MeanSquares(
        subjects=k * ((subjects - grand) ** 2).sum(axis=0) / (n - 1),
        raters=between / (k - 1),
        error=rest / ((n - 1) * (k - 1)),
        within=(between + rest) / (n * (k - 1)),
    )


def icc_one_way(ratings: Values, level: float = 0.95) -> IccEstimates:
    """Return ICC(1,1): one-way random effects, single measurement, for every feature at once.

    The form for measurements that are interchangeable: the third of one subject has nothing to do with the third of another,
    as with outlines that were perturbed at random.

    Parameters
    ----------
    ratings
        (n_subjects, n_repeats, n_features), finite, at least two subjects and two repeats.

    References
    ----------
    Shrout, Fleiss 1979, doi:10.1037/0033-2909.86.2.420.
    """
    n, k = ratings.shape[:2]
    ms = mean_squares(ratings)
    return _from_ratio(ms.subjects, ms.within, n, k, n * (k - 1), level)


def icc_absolute_agreement(ratings: Values, level: float = 0.95) -> IccEstimates:
    """Return ICC(2,1): two-way random effects, absolute agreement, single measurement, for every feature at once.

    Parameters
    ----------
    ratings
        (n_subjects, n_raters, n_features), finite, at least two subjects and two raters.

    References
    ----------
    Shrout, Fleiss 1979, doi:10.1037/0033-2909.86.2.420. Interval: McGraw, Wong 1996, doi:10.1037/1082-989X.1.1.30.
    """
    n, k = ratings.shape[:2]
    ms = mean_squares(ratings)
    msr, msc, mse = ms.subjects, ms.raters, ms.error
    with np.errstate(divide="ignore", invalid="ignore"):
        icc = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
        a = k * icc / (n * (1 - icc))
        b = 1 + k * icc * (n - 1) / (n * (1 - icc))
        # Satterthwaite degrees of freedom of the denominator a*MSC + b*MSE
        v = (a * msc + b * mse) ** 2 / ((a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1)))
        f_low = f_distribution.ppf(0.5 + level / 2, n - 1, v)
        f_high = f_distribution.ppf(0.5 + level / 2, v, n - 1)
        weight = k * msc + (k * n - k - n) * mse
        low = n * (msr - f_low * mse) / (f_low * weight + n * msr)
        high = n * (f_high * msr - mse) / (weight + n * f_high * msr)
    return _finish(icc, low, high, msr, mse + msc)


def icc_consistency(ratings: Values, level: float = 0.95) -> IccEstimates:
    """Return ICC(3,1): two-way mixed effects, consistency, single measurement; see :func:`icc_absolute_agreement`."""
    n, k = ratings.shape[:2]
    ms = mean_squares(ratings)
    return _from_ratio(ms.subjects, ms.error, n, k, (n - 1) * (k - 1), level)


def limits_of_agreement(first: Values, second: Values, level: float = 0.95) -> LimitsOfAgreement | None:
    """Return bias and limits of agreement of two series of measurements.

    Parameters
    ----------
    first, second
        (n,), finite, of the same subjects; ``None`` is returned for fewer than two, whose differences have no SD.
    level
        Coverage of the interval of the bias.

    References
    ----------
    Bland, Altman 1986, doi:10.1016/S0140-6736(86)90837-8; standard error of a limit: sqrt(3/n) SD.
    """
    difference = first - second
    n = int(difference.size)
    if n < 2:
        return None
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    half = float(t_distribution.ppf(0.5 + level / 2, n - 1)) * sd / np.sqrt(n)
    return LimitsOfAgreement(
        count=n,
        bias=bias,
        bias_low=bias - half,
        bias_high=bias + half,
        sd=sd,
        lower=bias - LIMITS_SD * sd,
        upper=bias + LIMITS_SD * sd,
        error=float(np.sqrt(3 / n)) * sd,
    )


def dice(first: Voxels, second: Voxels) -> float:
    """Return the Dice coefficient of two masks of one shape; 1 for identical masks, 1 for two empty ones.

    References
    ----------
    Dice 1945, doi:10.2307/1932409.
    """
    _same_shape(first, second)
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return float(2 * np.count_nonzero(first & second) / total) if total else 1.0


def surface_distances(first: Voxels, second: Voxels, spacing_mm: tuple[float, float, float]) -> SurfaceDistances | None:
    """Return how far the surface of each of two masks is from that of the other.

    The surface of a mask are its voxels with a face on the background; the border of the array is background. Distances are
    between voxel centers.

    Parameters
    ----------
    first, second
        bool (z, y, x), one shape.
    spacing_mm
        Voxel spacing (z, y, x), mm.

    Returns
    -------
    distances : SurfaceDistances or None
        ``None`` if a mask is empty: nothing is at any distance from it.
    """
    _same_shape(first, second)
    if not (first.any() and second.any()):
        return None
    box = _box(first | second)
    surfaces = [mask[box] & ~binary_erosion(mask[box]) for mask in (first, second)]
    to_second, to_first = (distance_transform_edt(~surfaces[i], sampling=spacing_mm) for i in (1, 0))
    return SurfaceDistances(to_second[surfaces[0]], to_first[surfaces[1]])


def hausdorff_95(first: Voxels, second: Voxels, spacing_mm: tuple[float, float, float]) -> float | None:
    """Return the 95 % Hausdorff distance, mm: the larger of the two directed 95th percentiles, linearly interpolated.

    This is the definition of MONAI and, with voxels in place of surface elements, of DeepMind's surface-distance; MedPy pools
    both directions before it takes the percentile and so gives less where one mask has a part the other lacks.

    Parameters
    ----------
    first, second, spacing_mm
        See :func:`surface_distances`; ``None`` is returned if a mask is empty.

    References
    ----------
    Huttenlocher et al. 1993, doi:10.1109/34.232073. Taha, Hanbury 2015, doi:10.1186/s12880-015-0068-x.
    """
    found = surface_distances(first, second, spacing_mm)
    if found is None:
        return None
    return float(max(np.percentile(found.first_to_second, 95), np.percentile(found.second_to_first, 95)))


def _same_shape(first: Voxels, second: Voxels) -> None:
    if first.shape != second.shape:
        raise ValueError(f"masks of shape {first.shape} and {second.shape} cannot be compared")


def _box(mask: Voxels) -> tuple[slice, ...]:
    others = [tuple(j for j in range(mask.ndim) if j != axis) for axis in range(mask.ndim)]
    hits = [np.flatnonzero(mask.any(axis=axes)) for axes in others]
    return tuple(slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)


def _from_ratio(signal: Values, noise: Values, n: int, k: int, degrees: int, level: float) -> IccEstimates:
    """Return the ICC whose interval follows from one F ratio with n - 1 and ``degrees`` degrees of freedom."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = signal / noise
        icc = (signal - noise) / (signal + (k - 1) * noise)
        f_low = ratio / f_distribution.ppf(0.5 + level / 2, n - 1, degrees)
        f_high = ratio * f_distribution.ppf(0.5 + level / 2, degrees, n - 1)
        low, high = (f_low - 1) / (f_low + k - 1), (f_high - 1) / (f_high + k - 1)
    return _finish(icc, low, high, signal, noise)


def _finish(icc: Values, low: Values, high: Values, signal: Values, disagreement: Values) -> IccEstimates:
    """Give the limits their values: perfect agreement is 1, no variation at all is 0."""
    scale = np.maximum(signal, disagreement)
    perfect = (disagreement <= 1e-12 * scale) & (signal > 0)
    flat = scale == 0
    parts = (np.where(flat, 0.0, np.where(perfect, 1.0, part)) for part in (icc, low, high))
    return IccEstimates(*(np.where(np.isfinite(part), part, 0.0) for part in parts))
