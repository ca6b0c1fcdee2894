"""Where voxels are in the patient: one immutable value, in LPS millimeters.

Conventions, said once: arrays are indexed (z, y, x); ``spacing_mm`` follows the array order (z, y, x); ``origin_mm`` is
the patient position (x, y, z) of the center of voxel [0, 0, 0] in DICOM's LPS axes; the columns of ``direction`` are
the unit vectors of the x (column), y (row) and z (slice) index axes, as in SimpleITK.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import ImageError, Reason

# Direction cosines arrive as decimal strings of up to 16 characters (DICOM DS); 1e-3 admits their rounding and no tilt.
ORTHONORMAL_TOLERANCE = 1e-3
# From a micrometer to a meter: what no scanner makes is a wrong unit or a damaged header, and would fill the memory later on.
SPACING_LIMITS_MM = (1e-3, 1e3)
# Two grids are the same if no voxel center is further apart than this share of the smallest spacing.
SAME_GRID_TOLERANCE_VOXEL = 1e-2


@dataclass(frozen=True, eq=False)
class Geometry:
    """Regular voxel grid in patient space.

    Parameters
    ----------
    shape
        Voxel counts (z, y, x), each at least 1.
    spacing_mm
        Distance between voxel centers (z, y, x), mm, 0.001 to 1000.
    origin_mm
        Center of voxel [0, 0, 0] as (x, y, z) in LPS, mm.
    direction
        Orthonormal (3, 3); columns are the patient directions of the x, y and z index axes.

    Raises
    ------
    ImageError
        ``GEOMETRY_INVALID`` if any of the above does not hold.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: NDArray[np.float64]

    def __post_init__(self) -> None:
        direction = np.array(self.direction, dtype=np.float64).reshape(3, 3)
        direction.setflags(write=False)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "spacing_mm", tuple(float(s) for s in self.spacing_mm))
        object.__setattr__(self, "origin_mm", tuple(float(o) for o in self.origin_mm))
        object.__setattr__(self, "direction", direction)
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise _invalid(f"shape {self.shape}: three positive voxel counts (z, y, x) are required")
        low, high = SPACING_LIMITS_MM
        if len(self.spacing_mm) != 3 or not all(low <= s <= high for s in self.spacing_mm):
            raise _invalid(f"spacing {self.spacing_mm} mm: three lengths (z, y, x) of {low:g} to {high:g} mm are required")
        if len(self.origin_mm) != 3 or not all(np.isfinite(o) for o in self.origin_mm):
            raise _invalid(f"origin {self.origin_mm} mm: three finite coordinates (x, y, z) are required")
        deviation = float(np.abs(direction.T @ direction - np.eye(3)).max()) if np.isfinite(direction).all() else np.inf
        if deviation > ORTHONORMAL_TOLERANCE:
            raise _invalid(
                f"direction cosines deviate from orthonormal by {deviation:.2g}; at most {ORTHONORMAL_TOLERANCE} allowed"
            )

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel, mm³."""
        return float(np.prod(self.spacing_mm))

    @property
    def index_to_patient(self) -> NDArray[np.float64]:
        """Affine (4, 4) from index (x, y, z) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction * np.array(self.spacing_mm[::-1])
        affine[:3, 3] = self.origin_mm
        return affine

    def patient_position_mm(self, index_zyx: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return the LPS position (x, y, z), mm, of a possibly fractional index (z, y, x)."""
        x, y, z = self.index_to_patient[:3, :3] @ np.array(index_zyx[::-1], dtype=np.float64) + self.origin_mm
        return float(x), float(y), float(z)

    def is_same_grid(self, other: Geometry) -> bool:
        """Tell whether every voxel center coincides, to 1 % of the smallest spacing."""
        if self.shape != other.shape:
            return False
        corners = np.array(
            [[x, y, z, 1.0] for z in (0, self.shape[0] - 1) for y in (0, self.shape[1] - 1) for x in (0, self.shape[2] - 1)]
        )
        apart_mm = np.abs((self.index_to_patient - other.index_to_patient) @ corners.T).max()
        return bool(apart_mm <= SAME_GRID_TOLERANCE_VOXEL * min(self.spacing_mm))

    def crop(self, start_zyx: tuple[int, int, int], stop_zyx: tuple[int, int, int]) -> Geometry:
        """Return the geometry of the index box [start, stop)."""
        shape = tuple(b - a for a, b in zip(start_zyx, stop_zyx, strict=True))
        return Geometry(
            shape=(shape[0], shape[1], shape[2]),
            spacing_mm=self.spacing_mm,
            origin_mm=self.patient_position_mm((float(start_zyx[0]), float(start_zyx[1]), float(start_zyx[2]))),
            direction=self.direction,
        )


def _invalid(message: str) -> ImageError:
    return ImageError(Reason.GEOMETRY_INVALID, message)
