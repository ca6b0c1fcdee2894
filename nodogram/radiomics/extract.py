"""Radiomics of a prepared case: PyRadiomics' filters and feature formulas, computed only where and when they are asked for.

Shape is taken from the outline, everything else from the intensity mask. Each image is discretized once for all its classes.
In the convention ``pyradiomics`` the numbers are those of ``RadiomicsFeatureExtractor``; in ``ibsi`` those of the IBSI
reference manual (arXiv:1612.07003).
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from radiomics import imageoperations

from nodogram.errors import FeatureError, Reason, RegionError, SettingsError, SurroundingsError
from nodogram.features import FeatureVector
from nodogram.imaging.prepare import PreparedCase
from nodogram.radiomics.calculators import GrayLevels, intensity_features, shape_features
from nodogram.radiomics.filters import responses
from nodogram.radiomics.manifest import PREFIX, feature_names
from nodogram.settings import ModelSettings, RadiomicsSettings
from nodogram.volume import bounding_box

# More than a bin per HU of soft tissue: beyond this the settings do not fit the image, and matrices fill the memory.
MAXIMUM_GRAY_LEVELS = 1024
# PyRadiomics adds 3 to the excess kurtosis of IBSI (IPH6).
NORMAL_KURTOSIS = 3.0
_AXIS_LENGTHS = ("MajorAxisLength", "MinorAxisLength", "LeastAxisLength")

Wanted = Mapping[str, Sequence[str]]
"""Feature names by feature class."""


def extract(
    prepared: PreparedCase, settings: ModelSettings, names: Sequence[str] | None = None, *, deadline_s: float = math.inf
) -> FeatureVector:
    """Compute radiomics features; safe to call from several threads.

    Parameters
    ----------
    prepared
        Made by :func:`nodogram.imaging.prepare.prepare` with the same settings.
    settings
        Image types, classes, discretization, convention.
    names
        Features wanted, ``None`` for all of :func:`feature_names`. Only the images and classes they need are computed; the
        values are bit for bit those of the full extraction.
    deadline_s
        Value of ``time.monotonic()`` after which the work is given up, s; looked at between feature classes.

    Returns
    -------
    FeatureVector
        In the order asked for.

    Raises
    ------
    FeatureError
        ``FEATURE_UNKNOWN`` for a name the settings do not have, ``FEATURE_NOT_FINITE`` for one undefined in this region,
        ``FEATURE_GRAY_LEVELS`` if the bins are too narrow for the image.
    RegionError
        ``ROI_TOO_SMALL`` if the intensity mask is smaller than ``minimum_voxel_count``.
    SettingsError
        ``SETTINGS_INVALID`` if the case was prepared with other settings.
    SurroundingsError
        ``DEADLINE_EXCEEDED``.
    """
    known = feature_names(settings.radiomics)
    wanted = known if names is None else tuple(names)
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        raise FeatureError(
            Reason.FEATURE_UNKNOWN, f"{len(unknown)} features are not part of these settings, first {unknown[0]}"
        )
    _check(prepared, settings)
    values = _compute(prepared, settings, _by_image(wanted), deadline_s)
    return FeatureVector(wanted, np.array([values.get(name, np.nan) for name in wanted], dtype=np.float64))


def discretize(
    values: NDArray[Any], inside: NDArray[np.bool_], settings: RadiomicsSettings, lower_bound_hu: float | None
) -> NDArray[np.int32]:
    """Return gray levels from 1 inside the region, 0 outside.

    Parameters
    ----------
    values
        Intensities (z, y, x).
    inside
        bool, same shape, at least one voxel.
    settings
        Convention and bins. PyRadiomics' bins of fixed width are aligned at 0 and counted from the one that holds the
        smallest value; IBSI's begin at the lower bound of the re-segmentation range.
    lower_bound_hu
        That bound; ``None`` where there is none, as in every filtered image: bins are then aligned at 0.

    Raises
    ------
    FeatureError
        ``FEATURE_GRAY_LEVELS``.
    """
    found = values[inside]
    low, high = found.min(), found.max()
    if settings.bin_width_hu is not None and (float(high) - float(low)) / settings.bin_width_hu > MAXIMUM_GRAY_LEVELS:
        raise FeatureError(
            Reason.FEATURE_GRAY_LEVELS,
            f"intensities from {low:g} to {high:g} need more than {MAXIMUM_GRAY_LEVELS} bins of {settings.bin_width_hu:g}",
        )
    levels = np.zeros(values.shape, dtype=np.int32)
    levels[inside] = (
        _pyradiomics_levels(found, low, high, settings)
        if settings.convention == "pyradiomics"
        else _ibsi_levels(found, float(low), float(high), settings, lower_bound_hu)
    )
    return levels


def _pyradiomics_levels(found: NDArray[Any], low: Any, high: Any, settings: RadiomicsSettings) -> NDArray[np.intp]:
    # Both of PyRadiomics' rules look at the extremes only, and in a Python loop over all values it is given.
    edges = imageoperations.getBinEdges(np.array([low, high]), binWidth=settings.bin_width_hu, binCount=settings.bin_count)
    return np.asarray(np.digitize(found, edges))


def _ibsi_levels(
    found: NDArray[Any], low: float, high: float, settings: RadiomicsSettings, lower_bound_hu: float | None
) -> NDArray[np.float64]:
    if settings.bin_count is not None:
        if low == high:
            return np.ones(found.shape)
        share = (found.astype(np.float64) - low) / (high - low)
        return np.asarray(np.minimum(np.floor(settings.bin_count * share) + 1, settings.bin_count))
    width = settings.bin_width_hu or 1.0
    start = lower_bound_hu if lower_bound_hu is not None else math.floor(low / width) * width
    return np.asarray(np.floor((found.astype(np.float64) - start) / width) + 1)


def _check(prepared: PreparedCase, settings: ModelSettings) -> None:
    if prepared.settings_digest != settings.digest():
        raise SettingsError(
            Reason.SETTINGS_INVALID,
            f"the case was prepared with settings {prepared.settings_digest[:12]}, features were asked for with "
            f"{settings.digest()[:12]}; both must be the same",
        )
    # One voxel has no texture in any direction; PyRadiomics refuses it as well.
    count, minimum = int(np.count_nonzero(prepared.intensity_mask)), max(settings.radiomics.minimum_voxel_count, 2)
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


def _compute(
    prepared: PreparedCase, settings: ModelSettings, wanted: Mapping[str, Wanted], deadline_s: float
) -> dict[str, float]:
    spacing_mm = prepared.volume.geometry.spacing_mm
    values: dict[str, float] = {}

    def add(image_name: str, feature_class: str, found: Mapping[str, float]) -> None:
        values.update({f"{PREFIX}{image_name}_{feature_class}_{name}": value for name, value in found.items()})
        if time.monotonic() > deadline_s:
            raise SurroundingsError(Reason.DEADLINE_EXCEEDED, "the time allowed ended during feature extraction")

    if "shape" in wanted:
        inside = prepared.mask.array[prepared.mask.box]
        add("original", "shape", _by_convention(shape_features(inside, spacing_mm, wanted["shape"]["shape"]), settings, inside))
    if not set(wanted) - {"shape"}:
        return values
    box = bounding_box(prepared.intensity_mask)
    inside = np.ascontiguousarray(prepared.intensity_mask[box])
    for image_name, response in responses(prepared, settings.radiomics, box, set(wanted)):
        bound = settings.imaging.hu_range[0] if settings.imaging.hu_range and image_name == "original" else None
        levels = discretize(response, inside, settings.radiomics, bound)
        region = GrayLevels(response, inside, levels, spacing_mm, settings.radiomics.convention == "pyradiomics")
        for feature_class, names in wanted[image_name].items():
            add(image_name, feature_class, _by_convention(intensity_features(region, feature_class, names), settings, inside))
    return values


def _by_convention(found: Mapping[str, float], settings: ModelSettings, inside: NDArray[np.bool_]) -> Mapping[str, float]:
    """Turn PyRadiomics' kurtosis and axis lengths (population covariance) into IBSI's (excess, sample covariance)."""
    if settings.radiomics.convention == "pyradiomics":
        return found
    count = int(np.count_nonzero(inside))
    to_sample = math.sqrt(count / (count - 1)) if count > 1 else 1.0
    changed = {name: found[name] * to_sample for name in _AXIS_LENGTHS if name in found}
    if "Kurtosis" in found:
        changed["Kurtosis"] = found["Kurtosis"] - NORMAL_KURTOSIS
    return {**found, **changed}
