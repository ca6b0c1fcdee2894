"""What PyRadiomics' numbers owe to ITK: the type of the voxels, and the arithmetic of positions."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from nodogram.geometry import Geometry

Stored = NDArray[np.int16] | NDArray[np.int32] | NDArray[np.float32]
_INT16, _INT32 = np.iinfo(np.int16), np.iinfo(np.int32)


def as_stored(array: NDArray[np.float32]) -> Stored:
    """Return the values in the type their file had: whole numbers as int16 or, if they need it, int32, others as float32.

    ITK truncates resampled values to the type of the input, and computes filters of integers and of reals in different
    precision; whoever wants its very numbers must give it the very type.

    Parameters
    ----------
    array
        Any shape, finite.
    """
    whole = np.rint(array)
    if array.size == 0 or not np.array_equal(whole, array):
        return array
    low, high = float(whole.min()), float(whole.max())
    if _INT16.min <= low and high <= _INT16.max:
        return whole.astype(np.int16)
    return whole.astype(np.int32) if _INT32.min <= low and high <= _INT32.max else array


def without_voxels(geometry: Geometry) -> Any:
    """Return a one-voxel image that answers ITK's questions about positions on a grid of any size."""
    image: Any = sitk.Image(1, 1, 1, sitk.sitkUInt8)  # type: ignore[no-untyped-call]
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction.ravel().tolist())
    return image
