"""A mask as closed contours, such that testing pixel centers by the even-odd rule gives back exactly the mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

from nodogram.volume import bounding_box


def trace_slice(array: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """Trace the borders of a slice by marching squares at one half.

    Parameters
    ----------
    array
        bool (rows, columns).

    Returns
    -------
    contours
        Each float64 (n, 2), (row, column) of n distinct vertices; holes are contours of their own. Every vertex lies
        halfway between a pixel center inside and one outside, so no center is ever nearer than a third of a pixel.
    """
    if not array.any():
        return ()
    _, rows, columns = bounding_box(array[None])
    # One pixel of background all around, or a region at the border of the slice would not close.
    padded = np.pad(array[rows, columns], 1).astype(np.float64)
    offset = np.array([rows.start - 1, columns.start - 1], dtype=np.float64)
    return tuple(contour[:-1] + offset for contour in find_contours(padded, 0.5))  # type: ignore[no-untyped-call]
