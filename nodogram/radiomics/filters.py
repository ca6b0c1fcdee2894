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

from nodogram.geometry import Geometry
from nodogram.imaging.itk import as_stored
from nodogram.imaging.prepare import PreparedCase
from nodogram.imaging.resample import filter_margin_mm, grow
from nodogram.radiomics.gaussian import MINIMUM_SAMPLES, laplacian_of_gaussian, truncated_laplacian_of_gaussian
from nodogram.radiomics.manifest import log_image_name
from nodogram.settings import SCALED_BY_MAXIMUM, ImageType, RadiomicsSettings
from nodogram.volume import Box

Array = NDArray[Any]


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
        inner = _relative(box, read)
        if image_type == "LoG":
            if settings.convention == "ibsi":
                yield log_image_name(sigma_mm), truncated_laplacian_of_gaussian(part, inner, geometry, sigma_mm)
            elif not _is_too_thin(part.shape, geometry.spacing_mm, sigma_mm):
                yield log_image_name(sigma_mm), laplacian_of_gaussian(part, inner, geometry, sigma_mm)
            continue
        array: Array = as_stored(part) if settings.convention == "pyradiomics" else part.astype(np.float64)
        if image_type == "Original":
            yield "original", array[inner]
        elif image_type == "Gradient":
            yield "gradient", np.asarray(sitk.GetArrayFromImage(_gradient(_image(array, geometry))))[inner]
        else:
            for image, name, _ in imageoperations.getWaveletImage(_image(array, geometry), None, wavelet=settings.wavelet):
                if name in wanted:
                    yield name, np.asarray(sitk.GetArrayViewFromImage(image))[inner]


def _is_too_thin(shape: tuple[int, ...], spacing_mm: tuple[float, float, float], sigma_mm: float) -> bool:
    """PyRadiomics leaves a sigma out where the image is no wider than it; ITK needs four voxels on every axis."""
    return any(count < max(math.ceil(sigma_mm / s) + 1, MINIMUM_SAMPLES) for count, s in zip(shape, spacing_mm, strict=True))


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
