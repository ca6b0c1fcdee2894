"""Stored pixel values to HU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nodogram.errors import ImageError, Reason

# Nothing absorbs less than vacuum; scanners write the corners outside the field of view as -1024 or lower.
FLOOR_HU = -1024.0


@dataclass(frozen=True)
class Rescale:
    """Modality transform of one image (DICOM PS3.3 C.11.1) and its padding (C.7.5.1.1.2).

    Attributes
    ----------
    slope, intercept
        HU = slope × stored value + intercept.
    padding
        Lowest and highest stored value that stand for "no image here", or ``None``.
    """

    slope: float
    intercept: float
    padding: tuple[int, int] | None = None

    @classmethod
    def from_dataset(cls, transform: Dataset, image: Dataset) -> Rescale:
        """Read the transform from the item that holds it and the padding from the image.

        Raises
        ------
        ImageError
            ``NO_RESCALE`` or ``NOT_HU``.
        """
        for keyword in ("RescaleSlope", "RescaleIntercept"):
            if transform.get(keyword) in (None, ""):
                raise ImageError(Reason.NO_RESCALE, f"{keyword} is absent; without it the values cannot be turned into HU")
        # Absent means HU in a CT image (DICOM PS3.3 C.8.2.1.1.2).
        kind = str(transform.get("RescaleType") or "HU")
        if kind != "HU":
            raise ImageError(Reason.NOT_HU, f"the values are {kind!r}; HU are required")
        slope, intercept = float(transform.RescaleSlope), float(transform.RescaleIntercept)
        if not (np.isfinite([slope, intercept]).all() and slope != 0):
            raise ImageError(Reason.NO_RESCALE, f"slope {slope} and intercept {intercept} give no HU")
        value = image.get("PixelPaddingValue")
        if value in (None, ""):
            return cls(slope, intercept)
        limit = image.get("PixelPaddingRangeLimit")
        ends = sorted((int(value), int(value if limit in (None, "") else limit)))
        return cls(slope, intercept, (ends[0], ends[1]))


def to_hounsfield(stored: NDArray[np.integer], rescale: Rescale) -> NDArray[np.float32]:
    """Return the HU of stored values, padding and everything below -1024 HU as -1024 HU; float32 of the same shape."""
    hu = stored.astype(np.float32) * np.float32(rescale.slope) + np.float32(rescale.intercept)
    if rescale.padding is not None:
        hu[(stored >= rescale.padding[0]) & (stored <= rescale.padding[1])] = FLOOR_HU
    bounded: NDArray[np.float32] = np.maximum(hu, np.float32(FLOOR_HU))
    return bounded
