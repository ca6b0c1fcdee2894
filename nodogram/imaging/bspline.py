"""Coefficients of the cubic B-spline, as ITK computes them, only where they will be read."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nodogram.volume import Box

_POLE = math.sqrt(3.0) - 2.0
_GAIN = (1.0 - _POLE) * (1.0 - 1.0 / _POLE)
# ITK cuts the mirrored sum that starts the recursion where its weights fall below this.
_TOLERANCE = 1e-10


def cubic_coefficients(array: NDArray[np.floating] | NDArray[np.integer], kept: Box) -> NDArray[np.float64]:
    """Return the interpolation coefficients of part of an image, mirrored at its ends.

    The recursion of ``itk::BSplineDecompositionImageFilter`` (Unser 1999, doi:10.1109/79.799930), operation by operation, so
    that the coefficients are ITK's to the last bit; but an axis that has been filtered is cut before the next is.

    Parameters
    ----------
    array
        Samples (z, y, x).
    kept
        Index box wanted.

    Returns
    -------
    ndarray
        float64, shape of the box.
    """
    found = array.astype(np.float64)
    for axis in (2, 1, 0):
        lines = np.ascontiguousarray(np.moveaxis(found, axis, 0))
        _filter(lines)
        found = np.moveaxis(lines[kept[axis]], 0, axis)
    return np.ascontiguousarray(found)


def _filter(lines: NDArray[np.float64]) -> None:
    """Turn samples along the first axis into coefficients, in place."""
    count = len(lines)
    if count == 1:
        return
    lines *= _GAIN
    lines[0] = _causal_start(lines)
    for n in range(1, count):
        lines[n] += _POLE * lines[n - 1]
    lines[-1] = (_POLE / (_POLE * _POLE - 1.0)) * (_POLE * lines[-2] + lines[-1])
    for n in range(count - 2, -1, -1):
        np.subtract(lines[n + 1], lines[n], out=lines[n])
        lines[n] *= _POLE


def _causal_start(lines: NDArray[np.float64]) -> NDArray[np.float64]:
    count = len(lines)
    horizon = math.ceil(math.log(_TOLERANCE) / math.log(abs(_POLE)))
    power = _POLE
    if horizon < count:
        total = lines[0].copy()
        for n in range(1, horizon):
            total += power * lines[n]
            power *= _POLE
        return np.asarray(total)
    inverse = 1.0 / _POLE
    mirrored = _POLE ** (count - 1)
    total = lines[0] + mirrored * lines[-1]
    mirrored *= mirrored * inverse
    for n in range(1, count - 1):
        total += (power + mirrored) * lines[n]
        power *= _POLE
        mirrored *= inverse
    return np.asarray(total / (1.0 - power * power))
