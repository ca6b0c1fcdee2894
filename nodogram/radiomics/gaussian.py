"""The Laplacian of Gaussian as ITK, and so PyRadiomics, computes it, and as IBSI defines it; each only where it is asked for.

ITK smooths by a recursion over whole lines (Deriche), whose result is that of a Gaussian to about a thousandth and depends on
everything the line crosses. Here it runs in :mod:`nodogram.radiomics._gaussian`, bit for bit ITK's, and an axis that has been
filtered is cut before the next is.

References
----------
Deriche R. Recursively implementing the Gaussian and its derivatives. INRIA research report 1893, 1993.

Farnebäck G, Westin C-F. Improving Deriche-style recursive Gaussian filters. J Math Imaging Vis 2006;26:293-299.
doi:10.1007/s10851-006-8464-z
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nodogram.geometry import Geometry
from nodogram.imaging.resample import truncation_voxels
from nodogram.radiomics import _gaussian
from nodogram.volume import Box

MINIMUM_SAMPLES = 4
"""Lines must have, because the recursion looks back so far."""

_Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Exponentials:
    """Deriche's two damped oscillations, after Farnebäck and Westin: decay and frequency per standard deviation."""

    frequency: tuple[float, float] = (0.6681, 2.0787)
    decay: tuple[float, float] = (-1.3932, -1.3732)


@dataclass(frozen=True)
class _Numerator:
    """Weights of this sample and the three before, with their sums of order 0, 1 and 2."""

    weights: _Four
    sums: tuple[float, float, float]


# Amplitudes (cosine 1, sine 1, cosine 2, sine 2) of the Gaussian and of its second derivative.
_AMPLITUDES: dict[int, _Four] = {0: (1.3530, 1.8151, -0.3531, 0.0902), 2: (-1.3563, 5.2318, 0.3446, -2.2355)}
_EXPONENTIALS = _Exponentials()


def laplacian_of_gaussian(array: NDArray[np.float32], inner: Box, geometry: Geometry, sigma_mm: float) -> NDArray[np.float32]:
    """Return the scale-normalized Laplacian of Gaussian inside a box, in ITK's single precision.

    The same nine passes as ITK's ``LaplacianRecursiveGaussianImageFilter``, bit for bit. Dividing by the squared sigma in
    voxels gives the response of IBSI (L6PA).

    Parameters
    ----------
    array
        (z, y, x) with margin; may be a view.
    inner
        Where the response is wanted.
    geometry
        Only its spacing is used.
    sigma_mm
        Standard deviation, mm.

    Raises
    ------
    ValueError
        If an axis has fewer than four voxels.
    """
    total = np.zeros([part.stop - part.start for part in inner], dtype=np.float32)
    for curved in (2, 1, 0):  # x, y, z
        image = array
        for axis in (curved, *(other for other in (2, 1, 0) if other != curved)):
            image = recursive_gaussian(
                image, axis, inner[axis], geometry.spacing_mm[axis], sigma_mm, 2 if axis == curved else 0
            )
        # Summed as ITK does: the product with the inverse square in double, the running total in single precision.
        spacing = geometry.spacing_mm[curved]
        total = (total + image.astype(np.float64) * (1.0 / (spacing * spacing))).astype(np.float32)
    return total


def recursive_gaussian(
    array: NDArray[np.float32], axis: int, kept: slice, spacing_mm: float, sigma_mm: float, order: Literal[0, 2]
) -> NDArray[np.float32]:
    """Smooth along one axis, or take the second derivative of the smoothed image, normalized across scale.

    Bit for bit ITK's ``RecursiveGaussianImageFilter``; leaves other threads free to run.

    Parameters
    ----------
    array
        (z, y, x); may be a view. Beyond its ends the outermost samples go on.
    axis
        Of the array.
    kept
        Part of that axis wanted.
    spacing_mm
        Of that axis, mm.
    sigma_mm
        Standard deviation, mm.
    order
        Of the derivative.

    Raises
    ------
    ValueError
        If the axis has fewer than four samples.
    """
    shape = list(array.shape)
    if shape[axis] < MINIMUM_SAMPLES:
        raise ValueError(f"axis {axis} of {shape[axis]} samples: at least {MINIMUM_SAMPLES} are required")
    shape[axis] = kept.stop - kept.start
    target = np.empty(shape, dtype=np.float32)
    _gaussian.run(
        np.asarray(array, dtype=np.float32), axis, _weights(sigma_mm, spacing_mm, order), kept.start, kept.stop, target
    )
    return target


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


@cache
def _weights(sigma_mm: float, spacing_mm: float, order: Literal[0, 2]) -> bytes:
    """Coefficients of the recursion as the kernel takes them: five times four doubles.

    The order of operations is ITK's, for the same last bits.
    """
    sigma = sigma_mm / spacing_mm
    feedback = _feedback(sigma)
    d1, d2, d3, d4 = feedback
    total = 1.0 + d1 + d2 + d3 + d4
    first = d1 + 2 * d2 + 3 * d3 + 4 * d4
    second = d1 + 4 * d2 + 9 * d3 + 16 * d4
    smooth = _numerator(sigma, _AMPLITUDES[0])
    if order == 0:
        scale = 1.0 / (2 * smooth.sums[0] / total - smooth.weights[0])
        causal = [weight * scale for weight in smooth.weights]
    else:
        curve = _numerator(sigma, _AMPLITUDES[2])
        beta = -(2 * curve.sums[0] - total * curve.weights[0]) / (2 * smooth.sums[0] - total * smooth.weights[0])
        sn, dn, en = (c + beta * s for c, s in zip(curve.sums, smooth.sums, strict=True))
        alpha = en * total * total - second * sn * total - 2 * dn * first * total + 2 * first * first * sn
        alpha /= total * total * total
        scale = sigma_mm * sigma_mm / alpha
        causal = [(c + beta * s) * scale for c, s in zip(curve.weights, smooth.weights, strict=True)]
    n0, n1, n2, n3 = causal
    anticausal = [n1 - d1 * n0, n2 - d2 * n0, n3 - d3 * n0, -d4 * n0]
    forward = n0 + n1 + n2 + n3
    backward = anticausal[0] + anticausal[1] + anticausal[2] + anticausal[3]
    borders = [[d * share / total for d in feedback] for share in (forward, backward)]
    return np.array([causal, feedback, anticausal, *borders], dtype=np.float64).tobytes()


def _feedback(sigma: float) -> _Four:
    w1, w2 = _EXPONENTIALS.frequency
    l1, l2 = _EXPONENTIALS.decay
    cos1, cos2 = math.cos(w1 / sigma), math.cos(w2 / sigma)
    exp1, exp2 = math.exp(l1 / sigma), math.exp(l2 / sigma)
    d4 = exp1 * exp1 * exp2 * exp2
    d3 = -2 * cos1 * exp1 * exp2 * exp2
    d3 += -2 * cos2 * exp2 * exp1 * exp1
    d2 = 4 * cos2 * cos1 * exp1 * exp2
    d2 += exp1 * exp1 + exp2 * exp2
    d1 = -2 * (exp2 * cos2 + exp1 * cos1)
    return d1, d2, d3, d4


def _numerator(sigma: float, amplitudes: _Four) -> _Numerator:
    a1, b1, a2, b2 = amplitudes
    w1, w2 = _EXPONENTIALS.frequency
    l1, l2 = _EXPONENTIALS.decay
    sin1, sin2 = math.sin(w1 / sigma), math.sin(w2 / sigma)
    cos1, cos2 = math.cos(w1 / sigma), math.cos(w2 / sigma)
    exp1, exp2 = math.exp(l1 / sigma), math.exp(l2 / sigma)
    n0 = a1 + a2
    n1 = exp2 * (b2 * sin2 - (a2 + 2 * a1) * cos2)
    n1 += exp1 * (b1 * sin1 - (a1 + 2 * a2) * cos1)
    n2 = (a1 + a2) * cos2 * cos1
    n2 -= b1 * cos2 * sin1 + b2 * cos1 * sin2
    n2 *= 2 * exp1 * exp2
    n2 += a2 * exp1 * exp1 + a1 * exp2 * exp2
    n3 = exp2 * exp1 * exp1 * (b2 * sin2 - a2 * cos2)
    n3 += exp1 * exp2 * exp2 * (b1 * sin1 - a1 * cos1)
    return _Numerator((n0, n1, n2, n3), (n0 + n1 + n2 + n3, n1 + 2 * n2 + 3 * n3, n1 + 4 * n2 + 9 * n3))
