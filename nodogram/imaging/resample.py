"""CT and outline onto the model's voxel spacing, only where they are needed.

The output grid is derived from the *whole* input grid: both have the same center (IBSI, "align grid centers",
arXiv:1612.07003, section 2.4) and the same axes. Every output voxel is computed from its own index on that grid by
separable weights, so the part around the region holds the very numbers that resampling the whole study would give;
resampling a cropped image with shifted physical coordinates does not, because exact ties of nearest-neighbor sampling
(every fifth slice from 0.625 to 1 mm) then fall either way by rounding.

Linear interpolation takes no low-pass filter before down-sampling: "trilinear" is what the literature on CT
radiomics means by resampling to 1 mm.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodogram.errors import Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.imaging.loaded import check_voxel_count
from nodogram.settings import ImageType, ImagingSettings, RadiomicsSettings
from nodogram.volume import Box, Mask, Volume, bounding_box

# The prefilter of the cubic B-spline decays by 0.268 per voxel: 24 voxels leave 2e-14 of whatever lies beyond.
BSPLINE_PREFILTER_VOXELS = 24
# Positions are rounded to this share of a voxel, so that spacings written as decimal strings still give exact ties.
POSITION_DECIMALS = 9
# Partial volume counts as one half down to this slack: a half built from several products may miss it by rounding.
HALF_SLACK = 1e-6
# A grid gets no further voxel for less than this share of one, which spacings written as decimals may leave over.
GRID_SLACK_VOXEL = 1e-3

# More than 600 mm each way at 1 mm. Spacings in a wrong unit ask for far more, whatever the size of the file.
MAXIMUM_MODEL_VOXELS = 2**28

# ITK's recursive Gaussian sees the whole image; beyond 16 sigma features change by no more than about 1e-8.
LOG_MARGIN_SIGMAS = 16.0
IBSI_TRUNCATION_SIGMAS = 4.0
# Half the longest wavelet offered (coif1, 6 taps), and the two-sided difference.
MARGIN_VOXELS: Mapping[ImageType, int] = {"Wavelet": 3, "Gradient": 1}
# The outline's neighbors are kept in any case, so that a region in the box never touches its border but at the image's.
MINIMUM_MARGIN_VOXELS = 1

Margin = tuple[float, float, float]
"""Distance kept on each side (z, y, x), mm."""


def truncation_voxels(sigma: float) -> int:
    """Return the half-width, voxels, of IBSI's Laplacian of Gaussian of this standard deviation, voxels (cut at 4 sigma)."""
    return math.floor(IBSI_TRUNCATION_SIGMAS * sigma + 0.5)


def filter_margin_mm(
    convention: str, image_type: ImageType, spacing_mm: tuple[float, float, float], sigma_mm: float = 0.0
) -> Margin:
    """Return how far around the region one filter reads the image, on each side (z, y, x), mm.

    Parameters
    ----------
    convention
        ``ibsi``, whose Laplacian of Gaussian ends at four sigmas, or ``pyradiomics``.
    image_type
        In PyRadiomics' spelling.
    spacing_mm
        Model spacing (z, y, x), mm.
    sigma_mm
        Standard deviation of the Laplacian of Gaussian, mm.
    """
    if image_type != "LoG":
        z, y, x = (MARGIN_VOXELS.get(image_type, 0) * spacing for spacing in spacing_mm)
    elif convention == "ibsi":
        z, y, x = (truncation_voxels(sigma_mm / spacing) * spacing for spacing in spacing_mm)
    else:
        z = y = x = LOG_MARGIN_SIGMAS * sigma_mm
    return z, y, x


def margin_mm(radiomics: RadiomicsSettings, spacing_mm: tuple[float, float, float]) -> Margin:
    """Return how far around the region the image is needed for every filter of the settings.

    The answer depends on the settings alone, never on the features asked for, so that a few selected features are
    computed from the same voxels as all of them.

    Parameters
    ----------
    radiomics
        Image types and sigmas; nothing but the minimum is needed when radiomics is disabled.
    spacing_mm
        Model spacing (z, y, x), mm.

    Returns
    -------
    tuple of float
        Margin on each side (z, y, x), mm.
    """
    needs = [tuple(MINIMUM_MARGIN_VOXELS * spacing for spacing in spacing_mm)]
    if radiomics.enabled:
        widest = max(radiomics.log_sigma_mm, default=0.0)
        needs += [
            filter_margin_mm(radiomics.convention, image_type, spacing_mm, widest) for image_type in radiomics.image_types
        ]
    z, y, x = (max(need[axis] for need in needs) for axis in range(3))
    return z, y, x


def grow(box: Box, margin: Margin, geometry: Geometry) -> Box:
    """Return the index box with a margin, rounded up to voxels; an axis on which it passes the border is kept whole.

    Whole, because the stationary wavelet goes on at the other end of the axis: cut at the border alone it would go on at the
    other end of the box.
    """
    grown = []
    for part, distance_mm, spacing, count in zip(box, margin, geometry.spacing_mm, geometry.shape, strict=True):
        voxels = math.ceil(distance_mm / spacing - GRID_SLACK_VOXEL)
        passes = part.start < voxels or part.stop + voxels > count
        grown.append(slice(0, count) if passes else slice(part.start - voxels, part.stop + voxels))
    return grown[0], grown[1], grown[2]


def check_model_box(box: Box) -> None:
    """Refuse a part of the model grid by its size, before anything is allocated.

    Raises
    ------
    ImageError
        ``IMAGE_TOO_LARGE``.
    """
    shape = [part.stop - part.start for part in box]
    check_voxel_count(shape, "the region with its margin at model spacing", MAXIMUM_MODEL_VOXELS)


def model_grid(geometry: Geometry, spacing_mm: tuple[float, float, float]) -> Geometry:
    """Return the grid of the given spacing (z, y, x), mm, with the center and axes of ``geometry`` and covering it."""
    extent = [n * s for n, s in zip(geometry.shape, geometry.spacing_mm, strict=True)]
    shape = tuple(max(1, math.ceil(e / s - GRID_SLACK_VOXEL)) for e, s in zip(extent, spacing_mm, strict=True))
    first = [
        float(_positions(n, s, n_out, s_out, 0, 1)[0])
        for n, s, n_out, s_out in zip(geometry.shape, geometry.spacing_mm, shape, spacing_mm, strict=True)
    ]
    return Geometry(
        shape=(shape[0], shape[1], shape[2]),
        spacing_mm=spacing_mm,
        origin_mm=geometry.patient_position_mm((first[0], first[1], first[2])),
        direction=geometry.direction,
    )


def resample(volume: Volume, mask: Mask, imaging: ImagingSettings, margin: Margin) -> tuple[Volume, Mask]:
    """Bring image and outline to the model spacing, cropped to the region plus a margin.

    Parameters
    ----------
    volume, mask
        On one grid.
    imaging
        Spacing, interpolators, and the HU window where it is clipped before resampling.
    margin
        Kept on each side of the resampled region; rounded up to voxels, an axis on which it passes the border kept whole.

    Returns
    -------
    tuple of Volume and Mask
        On one grid of ``imaging.spacing_mm``; HU stay fractional.

    Raises
    ------
    ImageError
        ``IMAGE_TOO_LARGE`` if the part has more than 2**28 voxels.
    RegionError
        ``ROI_EMPTY`` if no voxel of the region is left at the model spacing.
    """
    grid = model_grid(volume.geometry, imaging.spacing_mm or volume.geometry.spacing_mm)
    found = _region(mask, grid, imaging)
    box = grow(found, margin, grid)
    check_model_box(box)
    corner = tuple(part.start for part in box), tuple(part.stop for part in box)
    cropped = grid.crop((corner[0][0], corner[0][1], corner[0][2]), (corner[1][0], corner[1][1], corner[1][2]))
    clip = imaging.hu_range if imaging.hu_range_applied == "clip_before_resampling" else None
    image = _sample(volume.array, _sampling(volume.geometry, grid, box, imaging.image_interpolation), clip)
    region = _region_in(mask, grid, box, imaging)
    return Volume(image, cropped), Mask(region, cropped)


def to_patient_axes(volume: Volume, mask: Mask) -> tuple[Volume, Mask, bool]:
    """Order and turn the index axes so that z, y, x run most nearly along superior, posterior and left.

    The same scan may be stored feet first or, as NIfTI, upside down. Wavelets and networks see the difference, so both
    kinds of file are brought to one order before anything is computed. No voxel is interpolated.

    Returns
    -------
    tuple of Volume, Mask and bool
        Image and mask, and whether the slices now run against their stored order.
    """
    geometry = volume.geometry
    direction = geometry.direction
    columns = max(itertools.permutations(range(3)), key=lambda order: sum(abs(direction[p, c]) for p, c in enumerate(order)))
    turned = tuple(bool(direction[patient, column] < 0) for patient, column in enumerate(columns))
    if columns == (0, 1, 2) and not any(turned):
        return volume, mask, False
    axes = tuple(2 - column for column in reversed(columns))
    steps = tuple(slice(None, None, -1 if turn else 1) for turn in reversed(turned))
    start = [0.0, 0.0, 0.0]
    for column, turn in zip(columns, turned, strict=True):
        start[2 - column] = float(geometry.shape[2 - column] - 1) if turn else 0.0
    order = Geometry(
        shape=(geometry.shape[axes[0]], geometry.shape[axes[1]], geometry.shape[axes[2]]),
        spacing_mm=(geometry.spacing_mm[axes[0]], geometry.spacing_mm[axes[1]], geometry.spacing_mm[axes[2]]),
        origin_mm=geometry.patient_position_mm((start[0], start[1], start[2])),
        direction=direction[:, list(columns)] * np.where(turned, -1.0, 1.0),
    )
    return (
        Volume(volume.array.transpose(axes)[steps], order),
        Mask(mask.array.transpose(axes)[steps], order),
        turned[2],
    )


_Samples = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _AxisSampling:
    """Which input samples make up each output sample of one axis: taps and weights, both (n_out, n_taps)."""

    taps: NDArray[np.intp]
    weights: NDArray[np.float64]
    count: int

    def input_range(self, reach: int = 0) -> slice:
        """Input indices that are read, and ``reach`` more on each side."""
        return slice(max(int(self.taps.min()) - reach, 0), min(int(self.taps.max()) + reach + 1, self.count))


@dataclass(frozen=True, eq=False)
class _Sampling:
    axes: tuple[_AxisSampling, _AxisSampling, _AxisSampling]
    prefilter: bool


def _region(mask: Mask, grid: Geometry, imaging: ImagingSettings) -> Box:
    """Tightest box of the region on the model grid."""
    reach = []
    for axis, part in enumerate(mask.box):
        ratio = mask.geometry.spacing_mm[axis] / grid.spacing_mm[axis]
        center_in, center_out = (mask.geometry.shape[axis] - 1) / 2, (grid.shape[axis] - 1) / 2
        # One input voxel beyond the region already has no share in it; the second keeps rounding out of the question.
        low = math.floor((part.start - 2 - center_in) * ratio + center_out)
        high = math.ceil((part.stop + 1 - center_in) * ratio + center_out) + 1
        reach.append(slice(min(max(low, 0), grid.shape[axis] - 1), max(min(high, grid.shape[axis]), 1)))
    near = (reach[0], reach[1], reach[2])
    check_model_box(near)
    array = _region_in(mask, grid, near, imaging)
    if not array.any():
        spacing = " x ".join(f"{s:g}" for s in grid.spacing_mm)
        raise RegionError(
            Reason.ROI_EMPTY,
            f"the region of {mask.voxel_count} voxels ({mask.volume_cm3 * 1000:.3g} mm³) has no voxel left at the model "
            f"spacing of {spacing} mm; at least one is required",
        )
    z, y, x = (slice(n.start + b.start, n.start + b.stop) for n, b in zip(near, bounding_box(array), strict=True))
    return z, y, x


def _region_in(mask: Mask, grid: Geometry, box: Box, imaging: ImagingSettings) -> NDArray[np.bool_]:
    sampling = _sampling(mask.geometry, grid, box, imaging.mask_interpolation)
    return _sample(mask.array, sampling, None) >= 0.5 - HALF_SLACK


def _positions(n: int, spacing: float, n_out: int, spacing_out: float, start: int, stop: int) -> NDArray[np.float64]:
    """Input index of the output voxels [start, stop) of one axis, both grids having the same center."""
    centered = np.arange(start, stop) - (n_out - 1) / 2
    return np.round(centered * (spacing_out / spacing) + (n - 1) / 2, POSITION_DECIMALS)


def _sampling(geometry: Geometry, grid: Geometry, box: Box, interpolation: str) -> _Sampling:
    weigh = {"nearest": _nearest, "linear": _linear, "bspline": _cubic}[interpolation]
    z, y, x = (
        weigh(
            _positions(geometry.shape[a], geometry.spacing_mm[a], grid.shape[a], grid.spacing_mm[a], box[a].start, box[a].stop),
            geometry.shape[a],
        )
        for a in range(3)
    )
    return _Sampling((z, y, x), prefilter=interpolation == "bspline")


def _nearest(position: NDArray[np.float64], count: int) -> _AxisSampling:
    taps = np.clip(np.floor(position + 0.5), 0, count - 1).astype(np.intp)[:, None]
    return _AxisSampling(taps, np.ones(taps.shape), count)


def _linear(position: NDArray[np.float64], count: int) -> _AxisSampling:
    inside = np.clip(position, 0, count - 1)
    first = np.clip(np.floor(inside), 0, max(count - 2, 0)).astype(np.intp)
    share = inside - first
    return _AxisSampling(
        np.stack([first, np.minimum(first + 1, count - 1)], axis=1), np.stack([1 - share, share], axis=1), count
    )


def _cubic(position: NDArray[np.float64], count: int) -> _AxisSampling:
    """Cubic B-spline with mirrored ends, as ITK and Unser 1999 (doi:10.1109/79.799930)."""
    first = np.floor(position).astype(np.intp)
    t = position - first
    weights = np.stack(
        [(1 - t) ** 3 / 6, (4 - 6 * t**2 + 3 * t**3) / 6, (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6, t**3 / 6], axis=1
    )
    period = max(2 * count - 2, 1)
    folded = np.mod(first[:, None] + np.arange(-1, 3), period)
    return _AxisSampling(np.minimum(folded, period - folded) if count > 1 else np.zeros_like(folded), weights, count)


def _sample(array: _Samples, sampling: _Sampling, clip: tuple[float, float] | None) -> NDArray[np.float32]:
    reach = BSPLINE_PREFILTER_VOXELS if sampling.prefilter else 0
    z, y, x = sampling.axes
    source = (z.input_range(reach), y.input_range(reach), x.input_range(reach))
    part: _Samples = array[source]
    if clip is not None:
        part = np.clip(np.asarray(part, dtype=np.float32), *clip)
    if sampling.prefilter:
        part = ndimage.spline_filter(part.astype(np.float64), order=3, output=np.float64, mode="mirror")
    out = np.empty((len(z.taps), len(y.taps), len(x.taps)), np.float32)
    for k, (taps, weights) in enumerate(zip(z.taps - source[0].start, z.weights, strict=True)):
        plane = np.zeros(part.shape[1:])
        for tap, weight in zip(taps, weights, strict=True):
            plane += weight * part[tap]
        plane = _weigh(plane, y.taps - source[1].start, y.weights)
        out[k] = _weigh(plane.T, x.taps - source[2].start, x.weights).T
    return out


def _weigh(plane: NDArray[np.float64], taps: NDArray[np.intp], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Resample the rows of a plane."""
    # Element by element, not as a matrix product: sums must not depend on how much else is computed beside them.
    total = np.zeros((len(taps), plane.shape[1]))
    for tap in range(taps.shape[1]):
        total += plane[taps[:, tap]] * weights[:, tap, None]
    return total
