"""PyRadiomics' image filters, computed only where a feature looks: in the region's box.

Every filter is given the region and just the margin it reads; the values are those PyRadiomics gets from the whole array.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics import imageoperations
from scipy import ndimage

from nodogram.geometry import Geometry
from nodogram.imaging.itk import as_stored
from nodogram.imaging.prepare import PreparedCase
from nodogram.imaging.resample import filter_margin_mm, grow, truncation_voxels
from nodogram.radiomics.manifest import log_image_name
from nodogram.settings import SCALED_BY_MAXIMUM, ImageType, RadiomicsSettings
from nodogram.volume import Box

Array = NDArray[Any]

# ITK's recursive Gaussian refuses shorter lines.
RECURSIVE_MINIMUM = 4


def responses(
    prepared: PreparedCase, settings: RadiomicsSettings, box: Box, wanted: set[str]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the images that are wanted, each cut to the region's box.

    Parameters
    ----------
    prepared
        Image with the margin of all filters.
    settings
        Image types and their parameters. In the convention ``ibsi`` filters work in double precision; in ``pyradiomics`` in the
        type ITK gets from the file, with ``padding = "pyradiomics"`` on the whole prepared box.
    box
        Index box of the region (z, y, x).
    wanted
        PyRadiomics' names of images, such as ``wavelet-LLH``.

    Yields
    ------
    tuple of str and ndarray
        Name and response (z, y, x).
    """
    geometry = prepared.volume.geometry
    for image_type, sigma_mm in _filters(settings):
        if not _is_wanted(image_type, sigma_mm, wanted):
            continue
        if image_type in SCALED_BY_MAXIMUM:
            hu = prepared.volume.array[box].astype(np.float64)
            yield image_type.lower(), _scaled(hu, image_type, prepared.largest_absolute)
            continue
        read = _read_box(prepared, settings, box, image_type, sigma_mm)
        part = prepared.volume.array[read]
        array: Array = as_stored(part) if settings.convention == "pyradiomics" else part.astype(np.float64)
        inner = _relative(box, read)
        if image_type == "Original":
            yield "original", array[inner]
        elif image_type == "LoG":
            if settings.convention == "ibsi":
                yield log_image_name(sigma_mm), truncated_laplacian_of_gaussian(array, inner, geometry, sigma_mm)
            elif not _is_too_thin(array.shape, geometry.spacing_mm, sigma_mm):
                yield log_image_name(sigma_mm), laplacian_of_gaussian(array, inner, geometry, sigma_mm)
        elif image_type == "Gradient":
            yield "gradient", np.asarray(sitk.GetArrayFromImage(_gradient(_image(array, geometry))))[inner]
        else:
            for image, name, _ in imageoperations.getWaveletImage(_image(array, geometry), None, wavelet=settings.wavelet):
                if name in wanted:
                    yield name, np.asarray(sitk.GetArrayViewFromImage(image))[inner]


def truncated_laplacian_of_gaussian(array: Array, inner: Box, geometry: Geometry, sigma_mm: float) -> NDArray[np.float64]:
    """Return the Laplacian of Gaussian of IBSI (L6PA, arXiv:2006.05470) inside a box, times the squared sigma in voxels.

    The sampled kernel is cut at four standard deviations on each axis, so that nothing further away can matter, and the
    image is mirrored at its border. The factor keeps the response in the order of HU, as in ITK, whatever the sigma: without
    it no fixed bin width would serve all sigmas.

    Parameters
    ----------
    array
        float64 (z, y, x) with margin.
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

    def along(image: Array, weights: NDArray[np.float64], axis: int) -> Array:
        part = [slice(None)] * 3
        part[axis] = inner[axis]
        return np.asarray(ndimage.correlate1d(image, weights, axis=axis, mode="reflect"))[tuple(part)]

    # Each term is separable; what two terms share is computed once, and a filtered axis is cut before the next.
    smoothed, curved = along(array, smooth[0], 0), along(array, curve[0], 0)
    rest = along(smoothed, curve[1], 1) + along(curved, smooth[1], 1)
    return np.asarray(along(along(smoothed, smooth[1], 1), curve[2], 2) + along(rest, smooth[2], 2))


def laplacian_of_gaussian(array: Array, inner: Box, geometry: Geometry, sigma_mm: float) -> NDArray[np.float32]:
    """Return the scale-normalized Laplacian of Gaussian inside a box, in ITK's single precision.

    The same nine passes as ITK's ``LaplacianRecursiveGaussianImageFilter``, bit for bit; but an axis that has been filtered
    is cut to the box before the next is, as no later pass looks beyond it. Dividing by the squared sigma in voxels
    gives the response of IBSI (L6PA).

    Parameters
    ----------
    array
        (z, y, x) with margin.
    inner
        Where the response is wanted.
    geometry
        Only its spacing is used.
    sigma_mm
        Standard deviation, mm.
    """
    total = np.zeros([part.stop - part.start for part in inner], dtype=np.float32)
    start = _image(array, geometry)
    for axis in range(3):  # x, y, z
        image = start
        for direction in (axis, *(other for other in range(3) if other != axis)):
            smoothing: Any = sitk.RecursiveGaussianImageFilter()  # type: ignore[no-untyped-call]
            smoothing.SetNumberOfThreads(1)
            smoothing.SetSigma(sigma_mm)
            smoothing.SetNormalizeAcrossScale(True)
            smoothing.SetDirection(direction)
            smoothing.SetOrder(2 if direction == axis else 0)
            image = _cut(smoothing.Execute(image), direction, inner[2 - direction])
        # Summed as ITK does: the product with the inverse square in double, the running total in single precision.
        spacing = geometry.spacing_mm[2 - axis]
        part = np.asarray(sitk.GetArrayViewFromImage(image)).astype(np.float64) * (1.0 / (spacing * spacing))
        total = (total + part).astype(np.float32)
    return total


def _is_too_thin(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], sigma_mm: float) -> bool:
    """PyRadiomics leaves a sigma out where the image is no wider than it; ITK needs four voxels on every axis."""
    return any(count < max(math.ceil(sigma_mm / s) + 1, RECURSIVE_MINIMUM) for count, s in zip(shape, spacing_mm, strict=True))


def _cut(image: Any, direction: int, part: slice) -> Any:
    size, index = list(image.GetSize()), [0, 0, 0]
    size[direction], index[direction] = part.stop - part.start, part.start
    return sitk.RegionOfInterest(image, size, index)  # type: ignore[no-untyped-call]


def _scaled(array: NDArray[np.float64], image_type: ImageType, largest: float) -> NDArray[np.float64]:
    """PyRadiomics' intensity transforms, with the maximum given instead of taken from the array."""
    if image_type == "Square":
        return np.asarray((1 / np.sqrt(largest) * array) ** 2)
    if image_type == "Exponential":
        return np.asarray(np.exp(np.log(largest) / largest * array))
    positive, negative = array > 0, array < 0
    if image_type == "SquareRoot":
        array[positive] = np.sqrt(array[positive] * largest)
        array[negative] = -np.sqrt(-array[negative] * largest)
        return array
    array[positive] = np.log(array[positive] + 1)
    array[negative] = -np.log(-(array[negative] - 1))
    return np.asarray(array * (largest / np.log(np.array([largest + 1.0]))))


def _filters(settings: RadiomicsSettings) -> Iterator[tuple[ImageType, float]]:
    """Yield each image type, LoG once per sigma (mm), others with none."""
    for image_type in settings.image_types:
        for sigma_mm in settings.log_sigma_mm if image_type == "LoG" else (0.0,):
            yield image_type, sigma_mm


def _is_wanted(image_type: ImageType, sigma_mm: float, wanted: set[str]) -> bool:
    if image_type == "Wavelet":
        return any(name.startswith("wavelet-") for name in wanted)
    return (log_image_name(sigma_mm) if image_type == "LoG" else image_type.lower()) in wanted


def _read_box(prepared: PreparedCase, settings: RadiomicsSettings, box: Box, image_type: ImageType, sigma_mm: float) -> Box:
    geometry = prepared.volume.geometry
    if settings.padding == "pyradiomics":
        z, y, x = (slice(0, count) for count in geometry.shape)
        return z, y, x
    return grow(box, filter_margin_mm(settings.convention, image_type, geometry.spacing_mm, sigma_mm), geometry)


def _relative(box: Box, within: Box) -> Box:
    z, y, x = (slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, within, strict=True))
    return z, y, x


def _gradient(image: Any) -> Any:
    gradient: Any = sitk.GradientMagnitudeImageFilter()  # type: ignore[no-untyped-call]
    gradient.SetNumberOfThreads(1)
    gradient.SetUseImageSpacing(True)
    return gradient.Execute(image)


def _image(array: Array, geometry: Geometry) -> Any:
    image: Any = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_mm[::-1])
    return image
