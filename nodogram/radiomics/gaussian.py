"""The Laplacian of Gaussian as ITK, and so PyRadiomics, computes it, and as IBSI defines it; each only where it is asked for.

ITK filters by a recursion over whole lines, so that its result depends on everything a line crosses. Of the peak of a Gaussian
it is off by up to 0.3 %, of that of its second derivative, for a sigma of a voxel or more, by up to 1.5 %. Here it is run by
:mod:`nodogram.radiomics._gaussian`, bit for bit as ITK does.

References
----------
Deriche R. Recursively implementing the Gaussian and its derivatives. INRIA research report 1893, 1993.

Farnebäck G, Westin C-F. Improving Deriche-style recursive Gaussian filters. J Math Imaging Vis 2006;26:293-299.
doi:10.1007/s10851-006-8464-z
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodogram.geometry import Geometry
from nodogram.imaging.itk import Stored
from nodogram.imaging.resample import truncation_voxels
from nodogram.radiomics import _gaussian
from nodogram.volume import Box

MINIMUM_SAMPLES = 4
"""Of a line: as many as the recursion looks back."""

# Planes filtered along two axes at a time, so that what is between the two stays in the processor's cache.
_SLAB = 16

# The half of a Gaussian is the sum of two oscillations that decay: rates per standard deviation, and the amplitudes (cosine
# and sine of the first, of the second) for the Gaussian and for its second derivative. Values of Farnebäck and Westin.
_FREQUENCIES = (0.6681, 2.0787)
_DECAYS = (-1.3932, -1.3732)
_SMOOTH = (1.3530, 1.8151, -0.3531, 0.0902)
_CURVED = (-1.3563, 5.2318, 0.3446, -2.2355)

_Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class Recursion:
    """Coefficients of a recursive filter of fourth order; ITK's names in parentheses.

    Attributes
    ----------
    causal
        Weights of a sample and of the three before it (N0 to N3).
    feedback
        Weights, to be subtracted, of the four results before, or after, it (D1 to D4).
    anticausal
        Weights of the four samples after it (M1 to M4).
    causal_border, anticausal_border
        What stands for ``feedback`` where there is no result: weights of the outermost sample (BN1 to BN4, BM1 to BM4), as
        if it had been repeated for ever.
    """

    causal: _Four
    feedback: _Four
    anticausal: _Four
    causal_border: _Four
    anticausal_border: _Four


def laplacian_of_gaussian(array: Stored, inner: Box, geometry: Geometry, sigma_mm: float) -> NDArray[np.float32]:
    """Return the scale-normalized Laplacian of Gaussian inside a box, in ITK's single precision.

    The same nine passes as ITK's ``LaplacianRecursiveGaussianImageFilter``, bit for bit; but an axis that has been filtered
    is cut to the box before the next is, as no later pass looks beyond it. Dividing by the squared sigma in voxels
    gives the response of IBSI (L6PA). Other threads are free to run.

    Parameters
    ----------
    array
        (z, y, x) with margin; may be a view. Whole numbers give the same response in each type.
    inner
        Where the response is wanted.
    geometry
        Only its spacing is used.
    sigma_mm
        Standard deviation, mm.

    Raises
    ------
    TypeError
        If the array is neither of float32 nor of int16 nor of int32.
    ValueError
        If an axis has fewer than four voxels, or sigma is not above zero.
    """
    total = np.zeros([part.stop - part.start for part in inner], dtype=np.float32)
    for curved in (2, 1, 0):  # x, y, z: the order in which ITK adds them up
        _add_derivative(total, array, inner, geometry.spacing_mm, sigma_mm, curved)
    return total


def truncated_laplacian_of_gaussian(
    array: NDArray[np.float32], inner: Box, geometry: Geometry, sigma_mm: float
) -> NDArray[np.float64]:
    """Return the Laplacian of Gaussian of IBSI (L6PA, arXiv:2006.05470) inside a box, times the squared sigma in voxels.

    The sampled kernel is cut at four standard deviations on each axis, so that nothing further away can matter, and the
    image is mirrored at its border. The factor keeps the response in the order of HU, as in ITK, whatever the sigma: without
    it no fixed bin width would serve all sigmas.

    Parameters
    ----------
    array
        float32 (z, y, x) with margin.
    inner
        Where the response is wanted.
    geometry
        Only its spacing is used.
    sigma_mm
        Standard deviation, mm.
    """
    smooth, curve = [], []
    for spacing in geometry.spacing_mm:
        sigma = sigma_mm / spacing
        steps = np.arange(-truncation_voxels(sigma), truncation_voxels(sigma) + 1)
        weights = np.exp(-(steps**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
        smooth.append(weights)
        curve.append((steps**2 / sigma**2 - 1) * weights)

    def along(image: NDArray[Any], weights: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        part = [slice(None)] * 3
        part[axis] = inner[axis]
        filtered = ndimage.correlate1d(image, weights, axis=axis, output=np.float64, mode="reflect")
        return np.asarray(filtered)[tuple(part)]

    # Each term is separable; what two terms share is computed once, and a filtered axis is cut before the next.
    smoothed, curved = along(array, smooth[0], 0), along(array, curve[0], 0)
    rest = along(smoothed, curve[1], 1) + along(curved, smooth[1], 1)
    return np.asarray(along(along(smoothed, smooth[1], 1), curve[2], 2) + along(rest, smooth[2], 2))


def filter_axis(array: Stored, coefficients: Recursion, axis: int, kept: slice) -> NDArray[np.float32]:
    """Filter along one axis: the sum of a pass forward and a pass backward, computed in double precision.

    Parameters
    ----------
    array
        (z, y, x); may be a view. Beyond its ends the outermost samples go on.
    coefficients
        Of the recursion.
    axis
        Of the array.
    kept
        Samples wanted along it.

    Returns
    -------
    ndarray
        (z, y, x), the axis cut to what is kept.

    Raises
    ------
    TypeError
        If the array is neither of float32 nor of int16 nor of int32.
    ValueError
        If the axis has fewer than four samples, or not those wanted.
    """
    if array.dtype not in (np.float32, np.int16, np.int32):
        raise TypeError(f"an array of {array.dtype}: float32, int16 or int32 is required")
    shape = list(array.shape)
    if shape[axis] < MINIMUM_SAMPLES:
        raise ValueError(f"axis {axis} of {shape[axis]} samples: at least {MINIMUM_SAMPLES} are required")
    if not 0 <= kept.start < kept.stop <= shape[axis]:
        raise ValueError(f"samples {kept.start} to {kept.stop} of {shape[axis]}: a part of the axis is required")
    shape[axis] = kept.stop - kept.start
    target = np.empty(shape, dtype=np.float32)
    _gaussian.filter_axis(array, astuple(coefficients), axis, kept.start, kept.stop, target)
    return target


def recursion(sigma_voxels: float, order: Literal[0, 2], scale: float = 1.0) -> Recursion:
    """Return the recursion that approximates a Gaussian or its second derivative.

    The order of operations is that of ITK's ``RecursiveGaussianImageFilter``, for the same last bits.

    Parameters
    ----------
    sigma_voxels
        Standard deviation in voxels.
    order
        0 to smooth a constant to itself, 2 to give ``scale`` for half the square of the position in voxels.
    scale
        Of the second derivative. ITK, when it normalizes across scale, has the squared sigma in mm.

    Raises
    ------
    ValueError
        If sigma is not above zero.
    """
    if not sigma_voxels > 0:
        raise ValueError(f"sigma of {sigma_voxels} voxels: a length above zero is required")
    feedback = d1, d2, d3, d4 = _feedback(sigma_voxels)
    sd = 1.0 + d1 + d2 + d3 + d4
    smooth = _numerator(sigma_voxels, _SMOOTH)
    sn, dn, en = _moments(smooth)
    if order == 0:
        factor = 1.0 / (2 * sn / sd - smooth[0])
        n0, n1, n2, n3 = (weight * factor for weight in smooth)
    else:
        dd = d1 + 2 * d2 + 3 * d3 + 4 * d4
        ed = d1 + 4 * d2 + 9 * d3 + 16 * d4
        curved = _numerator(sigma_voxels, _CURVED)
        sn2, dn2, en2 = _moments(curved)
        # As much of the Gaussian as takes the response to a constant away.
        beta = -(2 * sn2 - sd * curved[0]) / (2 * sn - sd * smooth[0])
        sn, dn, en = sn2 + beta * sn, dn2 + beta * dn, en2 + beta * en
        response = en * sd * sd - ed * sn * sd - 2 * dn * dd * sd + 2 * dd * dd * sn
        response /= sd * sd * sd
        factor = scale / response
        n0, n1, n2, n3 = ((c + beta * s) * factor for c, s in zip(curved, smooth, strict=True))
    m1, m2, m3, m4 = n1 - d1 * n0, n2 - d2 * n0, n3 - d3 * n0, -d4 * n0
    forward, backward = n0 + n1 + n2 + n3, m1 + m2 + m3 + m4
    return Recursion(
        causal=(n0, n1, n2, n3),
        feedback=feedback,
        anticausal=(m1, m2, m3, m4),
        causal_border=(d1 * forward / sd, d2 * forward / sd, d3 * forward / sd, d4 * forward / sd),
        anticausal_border=(d1 * backward / sd, d2 * backward / sd, d3 * backward / sd, d4 * backward / sd),
    )


def _add_derivative(
    total: NDArray[np.float32],
    array: Stored,
    inner: Box,
    spacing_mm: tuple[float, float, float],
    sigma_mm: float,
    curved: int,
) -> None:
    """Add the second derivative along one axis, smoothed along the others."""
    second, third = (axis for axis in (2, 1, 0) if axis != curved)
    curve = recursion(sigma_mm / spacing_mm[curved], 2, sigma_mm * sigma_mm)
    smooth_second, smooth_third = (recursion(sigma_mm / spacing_mm[axis], 0) for axis in (second, third))
    shape = list(total.shape)
    shape[third] = array.shape[third]
    image = np.empty(shape, dtype=np.float32)
    for slab in _slabs(array.shape, third):
        part = filter_axis(array[slab], curve, curved, inner[curved])
        image[slab] = filter_axis(part, smooth_second, second, inner[second])
    inverse_square = 1.0 / (spacing_mm[curved] * spacing_mm[curved])
    for slab in _slabs(total.shape, min(curved, second)):
        part = filter_axis(image[slab], smooth_third, third, inner[third])
        # As ITK adds: the product in double precision, the running total in single.
        total[slab] = total[slab] + part.astype(np.float64) * inverse_square


def _slabs(shape: tuple[int, ...], axis: int) -> Iterator[tuple[slice, ...]]:
    for start in range(0, shape[axis], _SLAB):
        yield (slice(None),) * axis + (slice(start, start + _SLAB),)


def _feedback(sigma: float) -> _Four:
    cos1, cos2 = (math.cos(frequency / sigma) for frequency in _FREQUENCIES)
    exp1, exp2 = (math.exp(decay / sigma) for decay in _DECAYS)
    d4 = exp1 * exp1 * exp2 * exp2
    d3 = -2 * cos1 * exp1 * exp2 * exp2
    d3 += -2 * cos2 * exp2 * exp1 * exp1
    d2 = 4 * cos2 * cos1 * exp1 * exp2
    d2 += exp1 * exp1 + exp2 * exp2
    d1 = -2 * (exp2 * cos2 + exp1 * cos1)
    return d1, d2, d3, d4


def _numerator(sigma: float, amplitudes: _Four) -> _Four:
    a1, b1, a2, b2 = amplitudes
    sin1, sin2 = (math.sin(frequency / sigma) for frequency in _FREQUENCIES)
    cos1, cos2 = (math.cos(frequency / sigma) for frequency in _FREQUENCIES)
    exp1, exp2 = (math.exp(decay / sigma) for decay in _DECAYS)
    n0 = a1 + a2
    n1 = exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2)
    n1 += exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1)
    n2 = (a1 + a2) * cos2 * cos1
    n2 -= b1 * cos2 * sin1 + b2 * cos1 * sin2
    n2 *= 2 * exp1 * exp2
    n2 += a2 * exp1 * exp1 + a1 * exp2 * exp2
    n3 = exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2)
    n3 += exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1)
    return n0, n1, n2, n3


def _moments(numerator: _Four) -> tuple[float, float, float]:
    n0, n1, n2, n3 = numerator
    return n0 + n1 + n2 + n3, n1 + 2 * n2 + 3 * n3, n1 + 4 * n2 + 9 * n3
