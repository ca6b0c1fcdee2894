"""From planes to a grid: the checks without which a stack of CT slices is no volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import ImageError, Reason
from nodogram.geometry import Geometry

MINIMUM_SLICES = 3
# Tables report positions to a tenth of a millimeter or worse; 2 % allows the same relative freedom to thick slices.
SPACING_TOLERANCE_MM = 0.1
SPACING_TOLERANCE_SHARE = 0.02
MAXIMUM_SHEAR_DEGREES = 0.5
_COSINE_TOLERANCE = 1e-3
_PIXEL_SPACING_TOLERANCE_MM = 1e-3
_SAME_POSITION_MM = 1e-3


@dataclass(frozen=True)
class Plane:
    """Position of one slice, as DICOM PS3.3 C.7.6.2 and C.7.6.16.2 give it.

    Attributes
    ----------
    position_mm
        Center of the first pixel (x, y, z), LPS.
    orientation
        Direction cosines of the row, then of the column.
    pixel_spacing_mm
        Distance between rows, then between columns.
    matrix
        Rows, columns.
    frame_of_reference_uid
        Coordinate system.
    """

    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    matrix: tuple[int, int]
    frame_of_reference_uid: str | None

    def __post_init__(self) -> None:
        lengths = (len(self.position_mm), len(self.orientation), len(self.pixel_spacing_mm))
        values = (*self.position_mm, *self.orientation, *self.pixel_spacing_mm)
        if lengths != (3, 6, 2) or not np.isfinite(values).all():
            raise ImageError(
                Reason.NO_GEOMETRY,
                f"position, orientation and pixel spacing have {lengths} values; 3, 6 and 2 finite ones are required",
            )


def stack_planes(planes: Sequence[Plane]) -> tuple[Geometry, tuple[int, ...]]:
    """Check that planes form a regular rectangular stack and sort them along their normal.

    Parameters
    ----------
    planes
        Planes in any order.

    Returns
    -------
    tuple of Geometry and tuple of int
        Grid whose slice axis points along row × column, and the index of the plane of each slice.

    Raises
    ------
    ImageError
        ``MIXED_ORIENTATION``, ``MIXED_MATRIX``, ``MIXED_PIXEL_SPACING``, ``MIXED_FRAME_OF_REFERENCE``,
        ``BAD_ORIENTATION``, ``TOO_FEW_SLICES``, ``OVERLAPPING_POSITIONS``, ``MISSING_SLICES``, ``NONUNIFORM_SPACING`` or
        ``GANTRY_TILT``.
    """
    _check_alike(planes)
    row, column = np.array(planes[0].orientation).reshape(2, 3)
    _check_cosines(row, column)
    if len(planes) < MINIMUM_SLICES:
        raise ImageError(Reason.TOO_FEW_SLICES, f"{len(planes)} slices; at least {MINIMUM_SLICES} are required")
    normal: NDArray[np.float64] = np.cross(row, column)
    corners = np.array([plane.position_mm for plane in planes])
    order = np.argsort(corners @ normal, kind="stable")
    corners = corners[order]
    position = corners @ normal
    _check_spacing(position)
    _check_shear(corners, position, normal)
    step = float(position[-1] - position[0]) / (len(planes) - 1)
    row_mm, column_mm = planes[0].pixel_spacing_mm
    first = corners[0]
    geometry = Geometry(
        shape=(len(planes), *planes[0].matrix),
        spacing_mm=(step, row_mm, column_mm),
        origin_mm=(float(first[0]), float(first[1]), float(first[2])),
        direction=np.stack([row, column, normal], axis=1),
    )
    return geometry, tuple(int(i) for i in order)


def _check_alike(planes: Sequence[Plane]) -> None:
    orientation = np.array([plane.orientation for plane in planes])
    if np.ptp(orientation, axis=0).max() > _COSINE_TOLERANCE:
        raise ImageError(Reason.MIXED_ORIENTATION, "the slices are not parallel to each other; one orientation is required")
    matrices = sorted({plane.matrix for plane in planes})
    if len(matrices) > 1:
        found = ", ".join(f"{rows} x {columns}" for rows, columns in matrices)
        raise ImageError(Reason.MIXED_MATRIX, f"the slices have {found} pixels; one matrix is required")
    spacing = np.array([plane.pixel_spacing_mm for plane in planes])
    if np.ptp(spacing, axis=0).max() > _PIXEL_SPACING_TOLERANCE_MM:
        raise ImageError(
            Reason.MIXED_PIXEL_SPACING, f"pixel spacing varies from {spacing.min():g} to {spacing.max():g} mm between slices"
        )
    frames = len({plane.frame_of_reference_uid for plane in planes})
    if frames > 1:
        raise ImageError(Reason.MIXED_FRAME_OF_REFERENCE, f"the slices use {frames} frames of reference; one is required")


def _check_cosines(row: NDArray[np.float64], column: NDArray[np.float64]) -> None:
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    if max(abs(float(row @ column)), abs(lengths[0] - 1), abs(lengths[1] - 1)) > _COSINE_TOLERANCE:
        raise ImageError(
            Reason.BAD_ORIENTATION,
            f"row and column directions have lengths {lengths[0]:.4f} and {lengths[1]:.4f} and product {row @ column:.4f}; "
            "1, 1 and 0 are required",
        )


def _check_spacing(position: NDArray[np.float64]) -> None:
    """Check sorted positions along the normal, mm."""
    gap = np.diff(position)
    repeated = int((gap < _SAME_POSITION_MM).sum())
    if repeated:
        raise ImageError(
            Reason.OVERLAPPING_POSITIONS,
            f"{repeated} slice positions occur more than once (several phases or reconstructions, or slices sent twice); "
            "one slice per position is required",
        )
    usual = float(np.median(gap))
    tolerance = max(SPACING_TOLERANCE_MM, SPACING_TOLERANCE_SHARE * usual)
    odd = np.abs(gap - usual) > tolerance
    steps = gap[odd] / usual
    if odd.any() and (np.round(steps) >= 2).all() and (np.abs(steps - np.round(steps)) * usual <= 2 * tolerance).all():
        where = ", ".join(f"{p:.1f}" for p in position[:-1][odd][:3])
        raise ImageError(
            Reason.MISSING_SLICES,
            f"{int(np.round(steps - 1).sum())} slices are missing, after position {where} mm; "
            f"an unbroken stack of {usual:.3g} mm is required",
        )
    # Gaps that each pass can still add up: a grid that no longer meets its slices by half a step is no grid.
    regular = np.linspace(position[0], position[-1], len(position))
    if odd.any() or np.abs(position - regular).max() > max(usual / 2, tolerance):
        raise ImageError(
            Reason.NONUNIFORM_SPACING,
            f"slice spacing varies from {gap.min():.3f} to {gap.max():.3f} mm; "
            f"one spacing within {tolerance:.2f} mm is required",
        )


def _check_shear(corners: NDArray[np.float64], position: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    sideways = corners - corners[0] - np.outer(position - position[0], normal)
    shear = float(np.degrees(np.arctan2(np.linalg.norm(sideways, axis=1).max(), position[-1] - position[0])))
    if shear > MAXIMUM_SHEAR_DEGREES:
        raise ImageError(
            Reason.GANTRY_TILT,
            f"the stack leans {shear:.1f} degrees from the slice normal; at most {MAXIMUM_SHEAR_DEGREES} is required, "
            "reconstruct without gantry tilt",
        )
