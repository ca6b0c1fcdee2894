"""CT and outline on PyRadiomics' own grid, voxel for voxel, without touching what cannot matter.

PyRadiomics aligns the corner of the resampled grid with the corner of the image (IBSI recommends the centers) and samples the
outline by nearest neighbor. Which array its filters then get decides about their values: with resampling a box of a few
voxels around the region, without it the whole image. Both are offered
(:attr:`~nodogram.settings.RadiomicsSettings.padding`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.imaging.itk import without_voxels
from nodogram.imaging.itk_sampling import resample_part
from nodogram.imaging.loaded import MAXIMUM_VOXELS, check_voxel_count
from nodogram.imaging.resample import check_model_box, grow, margin_mm
from nodogram.settings import ImagingSettings, ModelSettings
from nodogram.volume import Box, Mask, Volume

# PyRadiomics' default padDistance, voxels.
PAD_VOXELS = 5
# Slices resampled at a time in search of the largest value of the whole image.
SEARCH_SLICES = 16


@dataclass(frozen=True, eq=False)
class GridCase:
    """What the filters are given.

    Attributes
    ----------
    volume, mask
        On one grid.
    largest_absolute
        What Square, SquareRoot, Logarithm and Exponential scale by, HU.
    """

    volume: Volume
    mask: Mask
    largest_absolute: float


def on_pyradiomics_grid(volume: Volume, mask: Mask, settings: ModelSettings) -> GridCase:
    """Bring image and outline to the grid of PyRadiomics' ``resampleImage``.

    Parameters
    ----------
    volume, mask
        On one grid, in the order of the file.
    settings
        Spacing, where ``None`` is no resampling; interpolator; clipping; padding; image types, which decide about the
        margin kept with ``padding = "full"``.

    Raises
    ------
    ImageError
        ``IMAGE_TOO_LARGE`` if the image has more than 2**30 voxels on this grid, or the part around the region 2**28.
    RegionError
        ``ROI_EMPTY`` if nearest-neighbor sampling leaves no voxel of the region.
    """
    imaging, radiomics, geometry = settings.imaging, settings.radiomics, volume.geometry
    spacing_mm = _target_spacing_mm(mask, imaging)
    if np.allclose(geometry.spacing_mm, spacing_mm):
        return _native(volume, mask, settings)
    grid = _grid(geometry, spacing_mm)
    # The outline is kept on the whole of it.
    check_voxel_count(grid.shape, "the image at model spacing", MAXIMUM_VOXELS)
    if radiomics.padding == "pyradiomics":
        part = _padded(mask, geometry, grid)
        grid, box = part, _everything(part)
        region = _region(mask, grid, box)
    else:
        found = _region(mask, grid, _around(mask, geometry, grid))
        box = grow(found.box, margin_mm(radiomics, spacing_mm), found.geometry)
        check_model_box(box)
        region = found.crop(box)
    image = _image(volume, grid, box, imaging)
    largest = float(np.abs(image).max())
    if radiomics.padding == "full" and radiomics.reads_whole_image:
        largest = _largest(volume, grid, imaging)
    return GridCase(Volume(image, region.geometry), region, largest)


def _target_spacing_mm(mask: Mask, imaging: ImagingSettings) -> tuple[float, float, float]:
    """Model spacing; an axis along which the region has one voxel only keeps its own, as in PyRadiomics."""
    own = mask.geometry.spacing_mm
    if imaging.spacing_mm is None:
        return own
    z, y, x = (
        new if part.stop - part.start > 1 else old for new, old, part in zip(imaging.spacing_mm, own, mask.box, strict=True)
    )
    return z, y, x


def _native(volume: Volume, mask: Mask, settings: ModelSettings) -> GridCase:
    geometry = volume.geometry
    if settings.radiomics.padding == "pyradiomics":
        z, y, x = (
            slice(max(part.start - PAD_VOXELS, 0), min(part.stop + PAD_VOXELS, count))
            for part, count in zip(mask.box, geometry.shape, strict=True)
        )
        box: Box = (z, y, x)
    else:
        box = grow(mask.box, margin_mm(settings.radiomics, geometry.spacing_mm), geometry)
    image = Volume(_clipped(volume.array[box], settings.imaging), volume.crop(box).geometry)
    seen = volume.array if settings.radiomics.reads_whole_image and settings.radiomics.padding == "full" else image.array
    extremes = _clipped(np.array([seen.min(), seen.max()]), settings.imaging)
    return GridCase(image, mask.crop(box), float(np.abs(extremes).max()))


def _grid(geometry: Geometry, spacing_mm: tuple[float, float, float]) -> Geometry:
    """Return the grid of the whole image, corner on corner."""
    last = [np.ceil(n * old / new) - 1 for n, old, new in zip(geometry.shape, geometry.spacing_mm, spacing_mm, strict=True)]
    return _from_to(geometry, spacing_mm, [0.0, 0.0, 0.0], last)


def _padded(mask: Mask, geometry: Geometry, grid: Geometry) -> Geometry:
    """Return the region's box and five voxels more, as PyRadiomics works it out before it resamples."""
    low, high = [], []
    for axis, part in enumerate(mask.box):
        ratio = geometry.spacing_mm[axis] / grid.spacing_mm[axis]
        low.append(max(float(np.floor((part.start - 0.5) * ratio - PAD_VOXELS)), 0.0))
        high.append(min(float(np.ceil((part.stop - 0.5) * ratio + PAD_VOXELS)), grid.shape[axis] - 1.0))
    return _from_to(geometry, grid.spacing_mm, low, high)


def _from_to(geometry: Geometry, spacing_mm: tuple[float, float, float], low: list[float], high: list[float]) -> Geometry:
    """Return voxels ``low`` to ``high`` (z, y, x) of the grid, positioned by ITK as PyRadiomics has it positioned."""
    old, new = np.array(geometry.spacing_mm[::-1]), np.array(spacing_mm[::-1])
    start = 0.5 * (new - old) / old + np.array(low[::-1]) / (old / new)
    origin = without_voxels(geometry).TransformContinuousIndexToPhysicalPoint(start.tolist())
    z, y, x = (int(b - a) + 1 for a, b in zip(low, high, strict=True))
    return Geometry((z, y, x), spacing_mm, origin, geometry.direction)


def _around(mask: Mask, geometry: Geometry, grid: Geometry) -> Box:
    """Index box of the grid outside which no voxel of the region can be."""
    around = []
    for axis, part in enumerate(mask.box):
        ratio = geometry.spacing_mm[axis] / grid.spacing_mm[axis]
        low, high = int(np.floor((part.start - 1) * ratio)) - 1, int(np.ceil((part.stop + 1) * ratio)) + 1
        around.append(slice(min(max(low, 0), grid.shape[axis] - 1), max(min(high, grid.shape[axis]), 1)))
    return around[0], around[1], around[2]


def _region(mask: Mask, grid: Geometry, box: Box) -> Mask:
    """Sample the outline inside a box; the mask returned is on the whole grid."""
    check_model_box(box)
    inside = resample_part(mask.array, mask.geometry, grid, box, "nearest")
    if not inside.any():
        spacing = " x ".join(f"{s:g}" for s in grid.spacing_mm)
        raise RegionError(
            Reason.ROI_EMPTY,
            f"the region of {mask.voxel_count} voxels ({mask.volume_cm3 * 1000:.3g} mm³) has no voxel left at the model "
            f"spacing of {spacing} mm; at least one is required",
        )
    whole = np.zeros(grid.shape, dtype=np.bool_)
    whole[box] = inside
    return Mask(whole, grid)


def _image(volume: Volume, grid: Geometry, box: Box, imaging: ImagingSettings) -> NDArray[np.float32]:
    clip = partial(_clipped, imaging=imaging)
    return resample_part(volume.array, volume.geometry, grid, box, imaging.image_interpolation, clip)


def _largest(volume: Volume, grid: Geometry, imaging: ImagingSettings) -> float:
    """Largest absolute value of the whole resampled image; where HU were clipped, their bound ends the search."""
    bound = max(abs(b) for b in imaging.hu_range) if imaging.hu_range and _clips(imaging) else np.inf
    largest = 0.0
    for start in range(0, grid.shape[0], SEARCH_SLICES):
        _, y, x = _everything(grid)
        slab = slice(start, min(start + SEARCH_SLICES, grid.shape[0]))
        largest = max(largest, float(np.abs(_image(volume, grid, (slab, y, x), imaging)).max()))
        if largest == bound and imaging.image_interpolation == "linear":
            break
    return largest


def _everything(grid: Geometry) -> Box:
    z, y, x = (slice(0, count) for count in grid.shape)
    return z, y, x


def _clips(imaging: ImagingSettings) -> bool:
    return imaging.hu_range_applied == "clip_before_resampling"


def _clipped(array: NDArray[np.float32], imaging: ImagingSettings) -> NDArray[np.float32]:
    return np.clip(array, *imaging.hu_range) if imaging.hu_range and _clips(imaging) else array
