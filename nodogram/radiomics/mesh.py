"""The triangle mesh of a region: its area, its volume and its diameters, as PyRadiomics measures them, in milliseconds.

The mesh is that of marching cubes with vertices halfway between neighboring voxels, one inside and one outside. PyRadiomics
compares every vertex with every other to find the diameters, which takes seconds for large tumors; here only vertices that
can be farthest apart are compared. All six numbers are PyRadiomics' own (3.0.1) bit for bit, for any region and spacing.

References
----------
Lorensen WE, Cline HE. Marching cubes: a high resolution 3D surface construction algorithm. SIGGRAPH Comput Graph
1987;21:163-169. doi:10.1145/37402.37422.

Zwanenburg A et al. The Image Biomarker Standardization Initiative. Radiology 2020;295:328-338.
doi:10.1148/radiol.2020191145. Codes are those of its reference manual.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nodogram.radiomics import _mesh

# Voxels beyond all imaging, from a nanometer to a kilometer; between them no square overflows or vanishes.
SPACING_LIMITS_MM = (1e-6, 1e6)


class MeshCoefficients(NamedTuple):
    """What is measured on the mesh of a region.

    Attributes
    ----------
    surface_area_mm2
        Area of all triangles (IBSI C0JK), mm².
    volume_mm3
        Volume they enclose (IBSI RNU0), mm³.
    diameters_mm
        Largest distance of two vertices in the same axial plane, the same coronal plane, the same sagittal plane, which IBSI
        does not define, and anywhere (IBSI L0JK), mm.
    """

    surface_area_mm2: float
    volume_mm3: float
    diameters_mm: tuple[float, float, float, float]


def mesh_coefficients(inside: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> MeshCoefficients:
    """Measure the mesh of a region; leaves other threads free to run.

    Parameters
    ----------
    inside
        bool (z, y, x): the region, with at least one voxel outside it on each of the six sides of the array, so that the mesh
        is closed. The last bits of the volume depend on how far the region is from the first voxel of the array.
    spacing_mm
        (z, y, x), from 1e-6 to 1e6 mm.

    Returns
    -------
    MeshCoefficients
        All zero for an array without a region.

    Raises
    ------
    TypeError
        If the array is not of bool.
    ValueError
        If it does not have three axes, if the region touches a side of it, or if a spacing is out of range.
    """
    if inside.dtype != np.bool_:
        raise TypeError(f"an array of {inside.dtype}: bool is required")
    if inside.ndim != 3 or min(inside.shape) < 2:
        raise ValueError(f"array of shape {inside.shape}: three axes of at least two voxels are required")
    if any(side.any() for axis in range(3) for side in (inside.take(0, axis), inside.take(-1, axis))):
        raise ValueError("the region touches a side of the array: a border of one voxel outside the region is required")
    smallest, largest = SPACING_LIMITS_MM
    if len(spacing_mm) != 3 or not all(smallest <= s <= largest for s in spacing_mm):
        raise ValueError(f"spacing {spacing_mm} mm: three lengths from {smallest:g} to {largest:g} mm are required")
    return MeshCoefficients(*_mesh.coefficients(np.ascontiguousarray(inside), spacing_mm))
