"""Radiomics of a prepared case with PyRadiomics' own filters and feature classes.

PyRadiomics is given float64 arrays, so that the round-off of its filters stays far below a bin, each filter the region
and just the margin it reads, and does no resampling, hashing or checking of its own. Shape is taken from the outline,
everything else from the intensity mask. One discretization per image serves all texture classes; the numbers are those
of ``RadiomicsFeatureExtractor``.

Square, SquareRoot, Logarithm and Exponential scale by the largest absolute value of the array they are given: here
always the whole prepared box, whose margin depends on the settings alone. Whoever cuts another box gets other values.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import radiomics
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics import imageoperations

from nodogram.errors import FeatureError, Reason, RegionError, SettingsError
from nodogram.features import FeatureVector
from nodogram.imaging.prepare import PreparedCase
from nodogram.imaging.resample import filter_margin_mm, grow
from nodogram.radiomics.manifest import PREFIX, feature_names, log_image_name
from nodogram.settings import ImageType, ModelSettings, RadiomicsSettings
from nodogram.volume import Box, bounding_box

# PyRadiomics writes to stderr by a handler of its own. What matters to us arrives as a missing or not finite value.
logging.getLogger("radiomics").setLevel(logging.CRITICAL + 1)

SCALED_BY_MAXIMUM: tuple[ImageType, ...] = ("Square", "SquareRoot", "Logarithm", "Exponential")
"""Image types that depend on the largest absolute value of the array, hence always get the whole prepared box."""

Wanted = Mapping[str, Sequence[str]]
"""Feature names by feature class."""


def extract(prepared: PreparedCase, settings: ModelSettings, names: Sequence[str] | None = None) -> FeatureVector:
    """Compute radiomics features; safe to call from several threads.

    Parameters
    ----------
    prepared
        Made by :func:`nodogram.imaging.prepare.prepare` with the same settings.
    settings
        Image types, classes, bin width.
    names
        Features wanted, ``None`` for all of :func:`feature_names`. Only the images and classes they need are computed; the
        values are bit for bit those of the full extraction.

    Returns
    -------
    FeatureVector
        In the order asked for.

    Raises
    ------
    FeatureError
        ``FEATURE_UNKNOWN`` for a name the settings do not have, ``FEATURE_NOT_FINITE`` for one undefined in this region.
    RegionError
        ``ROI_TOO_SMALL`` if the intensity mask is smaller than ``minimum_voxel_count``.
    SettingsError
        ``SETTINGS_INVALID`` if the case was prepared with other settings.
    """
    known = feature_names(settings.radiomics)
    wanted = known if names is None else tuple(names)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise FeatureError(
            Reason.FEATURE_UNKNOWN, f"{len(unknown)} features are not part of these settings, first {unknown[0]}"
        )
    _check(prepared, settings)
    values = _compute(prepared, settings.radiomics, _by_image(wanted))
    return FeatureVector(wanted, np.array([values.get(name, np.nan) for name in wanted], dtype=np.float64))


def compute_features(
    array: NDArray[np.float32] | NDArray[np.float64],
    region: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
    wanted: Wanted,
    pyradiomics_settings: Mapping[str, object],
) -> dict[str, float]:
    """Run PyRadiomics' feature classes on one image and region; the only place that does.

    Parameters
    ----------
    array
        Intensities (z, y, x).
    region
        bool, same shape, at least one voxel. Both are cut to its box here.
    spacing_mm
        Voxel spacing (z, y, x), mm.
    wanted
        Features by class.
    pyradiomics_settings
        Settings of the feature classes in PyRadiomics' spelling, such as ``binWidth``.

    Returns
    -------
    dict of float
        By ``class_feature``; NaN where PyRadiomics failed.
    """
    box = bounding_box(region)
    inside = np.ascontiguousarray(region[box])
    image, mask = _image(array[box], spacing_mm), _image(inside.astype(np.uint8), spacing_mm)
    settings = {**pyradiomics_settings, "label": 1}
    if any(not feature_class.startswith("shape") for feature_class in wanted):
        settings["discretized"] = _discretize(array[box], inside, pyradiomics_settings)
    values = {}
    with np.errstate(all="ignore"):  # undefined features are reported by name, not by warnings
        for feature_class, names in wanted.items():
            calculator = _CLASSES[feature_class](image, mask, **settings)
            for name in names:
                calculator.enableFeatureByName(name)
            for name, value in calculator.execute().items():
                values[f"{feature_class}_{name}"] = float(value)
    return values


class _SharedDiscretization:
    """Mixed into PyRadiomics' classes, which would otherwise each discretize the same image again."""

    settings: Mapping[str, NDArray[np.intp]]
    maskArray: NDArray[np.bool_]  # noqa: N815 - PyRadiomics' attribute
    coefficients: dict[str, object]

    def _applyBinning(self, _matrix: NDArray[np.float64]) -> NDArray[np.intp]:  # noqa: N802 - PyRadiomics' method
        levels = self.settings["discretized"]
        gray_levels = np.unique(levels[self.maskArray])
        self.coefficients["grayLevels"] = gray_levels
        self.coefficients["Ng"] = int(gray_levels.max())
        return levels.copy()


def _sharing(feature_class: type) -> type:
    # The module is kept, because PyRadiomics names its loggers after it.
    return type(feature_class.__name__, (_SharedDiscretization, feature_class), {"__module__": feature_class.__module__})


_CLASSES: Mapping[str, type] = {
    name: feature_class if name.startswith("shape") else _sharing(feature_class)
    for name, feature_class in radiomics.getFeatureClasses().items()
}


def _discretize(
    array: NDArray[np.float32] | NDArray[np.float64], inside: NDArray[np.bool_], pyradiomics_settings: Mapping[str, object]
) -> NDArray[np.intp]:
    values = array[inside]
    # Both of PyRadiomics' rules look at the extremes only, and in a Python loop over all values it is given.
    edges = imageoperations.getBinEdges(np.array([values.min(), values.max()]), **pyradiomics_settings)
    levels = np.zeros(array.shape, dtype=np.intp)
    levels[inside] = np.digitize(values, edges)
    return levels


def _check(prepared: PreparedCase, settings: ModelSettings) -> None:
    if prepared.settings_digest != settings.digest():
        raise SettingsError(
            Reason.SETTINGS_INVALID,
            f"the case was prepared with settings {prepared.settings_digest[:12]}, features were asked for with "
            f"{settings.digest()[:12]}; both must be the same",
        )
    count, minimum = int(np.count_nonzero(prepared.intensity_mask)), settings.radiomics.minimum_voxel_count
    if count < minimum:
        raise RegionError(Reason.ROI_TOO_SMALL, f"the intensity mask has {count} voxels; at least {minimum} are required")


def _by_image(names: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """Sort full names by image and class."""
    wanted: dict[str, dict[str, list[str]]] = {}
    for full_name in names:
        image, feature_class, name = full_name.removeprefix(PREFIX).split("_")
        key = "shape" if feature_class == "shape" else image
        wanted.setdefault(key, {}).setdefault(feature_class, []).append(name)
    return wanted


def _compute(prepared: PreparedCase, settings: RadiomicsSettings, wanted: Mapping[str, Wanted]) -> dict[str, float]:
    spacing_mm = prepared.volume.geometry.spacing_mm
    values: dict[str, float] = {}

    def add(image_name: str, found: Mapping[str, float]) -> None:
        values.update({f"{PREFIX}{image_name}_{name}": value for name, value in found.items()})

    if "shape" in wanted:
        add("original", compute_features(prepared.volume.array, prepared.mask.array, spacing_mm, wanted["shape"], {}))
    for image_name, response, region in _responses(prepared, settings, set(wanted)):
        if image_name in wanted:
            found = compute_features(response, region, spacing_mm, wanted[image_name], {"binWidth": settings.bin_width_hu})
            add(image_name, found)
    return values


def _responses(
    prepared: PreparedCase, settings: RadiomicsSettings, wanted: set[str]
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.bool_]]]:
    """Yield PyRadiomics' name, response map and intensity mask of each image that is needed."""
    geometry = prepared.volume.geometry
    for image_type, sigma_mm in _filters(settings):
        if not _needed(image_type, sigma_mm, wanted):
            continue
        box: Box = (slice(None), slice(None), slice(None))
        if image_type not in SCALED_BY_MAXIMUM:
            box = grow(prepared.mask.box, filter_margin_mm(image_type, geometry.spacing_mm, sigma_mm), geometry)
        image = _image(prepared.volume.array[box].astype(np.float64), geometry.spacing_mm)
        make = getattr(imageoperations, f"get{image_type}Image")
        with np.errstate(all="ignore"):
            responses = list(make(image, None, wavelet=settings.wavelet, sigma=[sigma_mm]))
        for response, image_name, _ in responses:
            yield image_name, sitk.GetArrayViewFromImage(response), prepared.intensity_mask[box]


def _filters(settings: RadiomicsSettings) -> Iterator[tuple[ImageType, float]]:
    """Yield each image type, LoG once per sigma (mm), others with none."""
    for image_type in settings.image_types:
        for sigma_mm in settings.log_sigma_mm if image_type == "LoG" else (0.0,):
            yield image_type, sigma_mm


def _needed(image_type: ImageType, sigma_mm: float, wanted: set[str]) -> bool:
    if image_type == "Wavelet":
        return any(name.startswith("wavelet-") for name in wanted)
    return (log_image_name(sigma_mm) if image_type == "LoG" else image_type.lower()) in wanted


def _image(array: NDArray[np.generic], spacing_mm: tuple[float, float, float]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])  # type: ignore[no-untyped-call]
    return image
