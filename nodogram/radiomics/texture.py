"""Texture matrices of a discretized region: the counts PyRadiomics takes its texture features from, in less time.

Every function returns bit for bit, and in the layout of, what PyRadiomics' ``cMatrices`` returns with its default
settings for a region in three dimensions: neighbors at a Chebyshev distance of one (26 in 13 directions), matrices of
directions kept apart. Only the leading axis of length one is left out.

``levels`` holds gray levels (z, y, x) from 1 to ``level_count``, and 0 outside the region, as integers of any size. A
border of zeros changes no count, but the number of columns where that depends on the size of the array. An axis of one
voxel has no neighbors along it, and the directions that would need them are left out.

Levels that are not integers are refused with ``TypeError``, levels out of range, arrays without three axes and arrays of
one voxel, which have no direction, with ``ValueError``. All functions leave other threads free to run.

References
----------
Zwanenburg A et al. The Image Biomarker Standardization Initiative. Radiology 2020;295:328-338.
doi:10.1148/radiol.2020191145. Codes are those of its reference manual.

van Griethuysen JJM et al. Computational radiomics system to decode the radiographic phenotype. Cancer Res
2017;77:e104-e107. doi:10.1158/0008-5472.CAN-17-0339.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodogram.radiomics import _texture

Levels = NDArray[np.integer[Any]]
Matrix = NDArray[np.float64]

# One of each pair of opposite neighbors (z, y, x), in PyRadiomics' order.
_STEPS = 1 - np.indices((3, 3, 3), dtype=np.intc).reshape(3, 27).T[:13]


def directions(shape: Sequence[int]) -> NDArray[np.intc]:
    """Return the directions along which an array has neighbors.

    Parameters
    ----------
    shape
        Of the array, (z, y, x).

    Returns
    -------
    NDArray
        Steps (direction, 3) of -1, 0 or 1 voxel along z, y and x; 13 unless an axis has one voxel.
    """
    return _STEPS[_existing(shape)]


def glcm(levels: Levels, level_count: int) -> Matrix:
    """Count neighboring levels: the gray level co-occurrence matrices (IBSI LFYI), not yet symmetrical.

    Parameters
    ----------
    levels
        Gray levels (z, y, x) from 1 to ``level_count``, 0 outside the region.
    level_count
        Number of gray levels, 1 to 65535.

    Returns
    -------
    NDArray
        Times that level i has level j one step further, (i, j, direction).
    """
    existing = _existing(levels.shape)
    matrix = np.empty((level_count, level_count, len(_STEPS)))
    _texture.glcm(_plain(levels), level_count, matrix)
    return _along(matrix, existing)


def glrlm(levels: Levels, level_count: int) -> Matrix:
    """Count runs of equal levels: the gray level run length matrices (IBSI TP0I).

    Parameters
    ----------
    levels
        Gray levels (z, y, x) from 1 to ``level_count``, 0 outside the region.
    level_count
        Number of gray levels, 1 to 65535.

    Returns
    -------
    NDArray
        Runs by level, length in voxels from 1 to the longest axis, and direction. A direction in which no line holds two
        voxels of the region is all zeros, as in PyRadiomics.
    """
    existing = _existing(levels.shape)
    matrix = np.empty((level_count, max(levels.shape), len(_STEPS)))
    _texture.glrlm(_plain(levels), level_count, matrix)
    return _along(matrix, existing)


def glszm(levels: Levels, level_count: int) -> Matrix:
    """Count zones of connected voxels of equal level: the gray level size zone matrix (IBSI 9SAK).

    Parameters
    ----------
    levels
        Gray levels (z, y, x) from 1 to ``level_count``, 0 outside the region.
    level_count
        Number of gray levels, 1 to 65535.

    Returns
    -------
    NDArray
        Zones by level and size in voxels, from 1 to that of the largest zone.
    """
    _existing(levels.shape)
    zones = np.frombuffer(_texture.zones(_plain(levels), level_count), dtype=np.int64).reshape(-1, 2)
    largest = int(zones[:, 1].max(initial=1))
    matrix = np.zeros((level_count, largest))
    np.add.at(matrix.reshape(-1), (zones[:, 0] - 1) * largest + zones[:, 1] - 1, 1.0)
    return matrix


def gldm(levels: Levels, level_count: int) -> Matrix:
    """Count dependent neighbors: the neighboring gray level dependence matrix (IBSI REK0), coarseness 0, distance 1.

    Parameters
    ----------
    levels
        Gray levels (z, y, x) from 1 to ``level_count``, 0 outside the region.
    level_count
        Number of gray levels, 1 to 65535.

    Returns
    -------
    NDArray
        Voxels by level and number of neighbors of the same level, from 0. PyRadiomics has columns for twice the number
        of neighbors there can be; so has this.
    """
    existing = _existing(levels.shape)
    matrix = np.empty((level_count, 4 * len(_STEPS) + 1))
    _texture.gldm(_plain(levels), level_count, matrix)
    return np.ascontiguousarray(matrix[:, : 4 * int(existing.sum()) + 1])


def ngtdm(levels: Levels, level_count: int) -> Matrix:
    """Sum distances from the neighborhood: the neighborhood gray tone difference matrix (IBSI IPET), distance 1.

    Parameters
    ----------
    levels
        Gray levels (z, y, x) from 1 to ``level_count``, 0 outside the region.
    level_count
        Number of gray levels, 1 to 65535.

    Returns
    -------
    NDArray
        By level: its voxels, the sum of their absolute differences from the mean of their neighbors in the region, and the
        level itself. Voxels without neighbors count with a difference of 0, as in PyRadiomics.
    """
    _existing(levels.shape)
    matrix = np.empty((level_count, 3))
    _texture.ngtdm(_plain(levels), level_count, matrix)
    return matrix


def _existing(shape: Sequence[int]) -> NDArray[np.bool_]:
    if len(shape) != _STEPS.shape[1] or max(shape) < 2:
        raise ValueError(f"array of shape {tuple(shape)}: three axes, at least one of them of two voxels, are required")
    existing: NDArray[np.bool_] = np.all((_STEPS == 0) | (np.asarray(shape) > 1), axis=1)
    return existing


def _along(matrix: Matrix, existing: NDArray[np.bool_]) -> Matrix:
    return matrix if existing.all() else np.ascontiguousarray(matrix[..., existing])


def _plain(levels: Levels) -> Levels:
    return np.require(levels, requirements=["C_CONTIGUOUS", "ALIGNED"])
