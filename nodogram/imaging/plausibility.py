"""Remark on values that no CT of a patient has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodogram.case import NoteCode, QualityNote

_AIR_BOUND_HU = -200.0
_LEAST_TISSUE_SHARE = 1e-3


def plausibility_notes(array: NDArray[np.float32]) -> tuple[QualityNote, ...]:
    """Remark on a volume that holds nothing as dense as tissue, or nothing less dense than water.

    Parameters
    ----------
    array
        Attenuation (z, y, x), HU.

    Returns
    -------
    tuple of QualityNote
        One ``HU_IMPLAUSIBLE`` or none.
    """
    dense = np.count_nonzero(array > _AIR_BOUND_HU) / array.size
    low, high = float(array.min()), float(array.max())
    if dense >= _LEAST_TISSUE_SHARE and high >= 0 and low < 0:
        return ()
    message = f"values are {low:.0f} to {high:.0f} HU with {dense:.2%} above {_AIR_BOUND_HU:.0f} HU; the rescaling may be wrong"
    return (QualityNote(NoteCode.HU_IMPLAUSIBLE, message),)
