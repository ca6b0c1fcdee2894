"""Voxels with their geometry: a CT volume in HU and a boolean region."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import ImageError, Reason, RegionError
from nodogram.geometry import Geometry

Box = tuple[slice, slice, slice]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Volume:
    """CT volume.

    Parameters
    ----------
    array
        Attenuation (z, y, x), HU, float32, finite. The array is made read-only.
    geometry
        Grid of the same shape.

    Raises
    ------
    ImageError
        ``NOT_FINITE`` or ``GEOMETRY_INVALID``.
    """

    array: NDArray[np.float32]
    geometry: Geometry

    def __post_init__(self) -> None:
        array = _read_only(np.asarray(self.array, dtype=np.float32))
        object.__setattr__(self, "array", array)
        if array.shape != self.geometry.shape:
            raise ImageError(Reason.GEOMETRY_INVALID, f"array shape {array.shape} does not match grid {self.geometry.shape}")
        # One reduction instead of a boolean temporary of the whole study: NaN and infinity both survive a sum.
        if not np.isfinite(array.sum(dtype=np.float64)):
            count = int(array.size - np.isfinite(array).sum())
            raise ImageError(Reason.NOT_FINITE, f"{count} of {array.size} voxels are NaN or infinite; HU are required")

    def crop(self, box: Box) -> Volume:
        """Return the voxels inside an index box, with their own geometry."""
        return Volume(self.array[box], self.geometry.crop(*_corners(box, self.geometry.shape)))


@dataclass(frozen=True, eq=False)
class Mask:
    """Region of interest.

    Parameters
    ----------
    array
        Membership (z, y, x), bool, at least one voxel. The array is made read-only.
    geometry
        Grid of the same shape.

    Raises
    ------
    RegionError
        ``ROI_EMPTY`` or ``ROI_GEOMETRY_MISMATCH``.
    """

    array: NDArray[np.bool_]
    geometry: Geometry

    def __post_init__(self) -> None:
        array = _read_only(np.asarray(self.array, dtype=np.bool_))
        object.__setattr__(self, "array", array)
        if array.shape != self.geometry.shape:
            raise RegionError(
                Reason.ROI_GEOMETRY_MISMATCH, f"mask shape {array.shape} does not match grid {self.geometry.shape}"
            )
        if not array.any():
            raise RegionError(Reason.ROI_EMPTY, "the region has no voxel; at least one is required")

    @cached_property
    def voxel_count(self) -> int:
        """Number of voxels in the region."""
        return int(np.count_nonzero(self.array))

    @property
    def volume_cm3(self) -> float:
        """Volume by voxel counting, cm³."""
        return self.voxel_count * self.geometry.voxel_volume_mm3 / 1000.0

    @cached_property
    def box(self) -> Box:
        """Tightest index box (z, y, x) around the region."""
        return bounding_box(self.array)

    def crop(self, box: Box) -> Mask:
        """Return the part of the region inside an index box; it must hold at least one voxel."""
        return Mask(self.array[box], self.geometry.crop(*_corners(box, self.geometry.shape)))


def bounding_box(array: NDArray[np.bool_]) -> Box:
    """Return the tightest index box around the true voxels of a non-empty boolean array (z, y, x)."""
    # Axis by axis within what is left, so that a study is read through only once.
    z = _extent(np.asarray(array.any(axis=(1, 2))))
    y = _extent(np.asarray(array[z].any(axis=(0, 2))))
    x = _extent(np.asarray(array[z, y].any(axis=(0, 1))))
    return z, y, x


def _extent(hit: NDArray[np.bool_]) -> slice:
    found = np.flatnonzero(hit)
    return slice(int(found[0]), int(found[-1]) + 1)


def _read_only(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    view = array.view()
    view.setflags(write=False)
    return view


def _corners(box: Box, shape: tuple[int, int, int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    spans = [part.indices(size) for part, size in zip(box, shape, strict=True)]
    return (spans[0][0], spans[1][0], spans[2][0]), (spans[0][1], spans[1][1], spans[2][1])
