"""What is computed: 1,595 features of 17 images, or 15 of them; by nodogram and by PyRadiomics run plainly."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor

from benchmarks.extraction.neck import WINDOW_HU, Scan
from nodogram.case import Case
from nodogram.geometry import Geometry
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.settings import (
    FeatureClass,
    ImageType,
    ImagingSettings,
    ModelSettings,
    NetworkSettings,
    RadiomicsSettings,
)
from nodogram.volume import Mask, Volume

Engine = Literal["nodogram", "pyradiomics"]
Pipeline = Literal["inside", "whole", "ibsi"]
Convention = Literal["pyradiomics", "ibsi"]

BIN_WIDTH_HU = 25.0
SIGMAS_MM = (1.0, 2.0, 3.0)
SELECTED: tuple[str, ...] = tuple(
    f"radiomics.{name}"
    for name in (
        "original_shape_Sphericity",
        "original_shape_MeshVolume",
        "original_firstorder_Median",
        "original_firstorder_Entropy",
        "original_glcm_Idmn",
        "wavelet-LLH_glszm_SizeZoneNonUniformityNormalized",
        "wavelet-LLH_firstorder_Skewness",
        "wavelet-HLL_glcm_Imc2",
        "wavelet-LLL_gldm_DependenceVariance",
        "wavelet-LLL_glrlm_RunEntropy",
        "log-sigma-2-0-mm-3D_firstorder_Kurtosis",
        "log-sigma-2-0-mm-3D_glszm_ZoneEntropy",
        "square_ngtdm_Coarseness",
        "exponential_glcm_MCC",
        "gradient_firstorder_90Percentile",
    )
)
"""Fifteen features such as a model selects: from eight images and every class."""
_SELECTED_TYPES: tuple[ImageType, ...] = ("Original", "Wavelet", "LoG", "Square", "Exponential", "Gradient")
_SELECTED_SIGMAS_MM = (2.0,)

NETWORK_OFF = NetworkSettings(
    enabled=False,
    crop="fixed_mm",
    crop_size_mm=80,
    crop_margin_mm=5,
    resize_px=256,
    input_px=224,
    window_hu=WINDOW_HU,
)
_RADIOMICS = RadiomicsSettings(
    enabled=True,
    convention="pyradiomics",
    padding="full",
    image_types=get_args(ImageType),
    log_sigma_mm=SIGMAS_MM,
    wavelet="coif1",
    feature_classes=get_args(FeatureClass),
    bin_width_hu=BIN_WIDTH_HU,
    minimum_voxel_count=1,
)
_NATIVE = ImagingSettings(
    spacing_mm=None,
    image_interpolation="linear",
    mask_interpolation="nearest",
    hu_range=None,
    hu_range_applied="resegment",
)
_INSIDE: Mapping[str, Any] = {
    "spacing_mm": (1.0, 1.0, 1.0),
    "image_interpolation": "bspline",
    "hu_range": WINDOW_HU,
    "hu_range_applied": "clip_before_resampling",
}
_IBSI: Mapping[str, Any] = {
    "spacing_mm": (1.0, 1.0, 1.0),
    "mask_interpolation": "linear",
    "hu_range": WINDOW_HU,
}
SETTINGS: Mapping[Pipeline, ModelSettings] = {
    "inside": ModelSettings(
        imaging=_NATIVE.model_copy(update=_INSIDE),
        radiomics=_RADIOMICS.model_copy(update={"padding": "pyradiomics"}),
        network=NETWORK_OFF,
    ),
    "whole": ModelSettings(imaging=_NATIVE, radiomics=_RADIOMICS, network=NETWORK_OFF),
    "ibsi": ModelSettings(
        imaging=_NATIVE.model_copy(update=_IBSI),
        radiomics=_RADIOMICS.model_copy(update={"convention": "ibsi"}),
        network=NETWORK_OFF,
    ),
}
"""``inside``: resampled by the engine. ``whole``: filters on a whole image that has 1 mm already. ``ibsi``: ours alone."""
_ORIGINAL: Mapping[str, Any] = {"image_types": ("Original",), "log_sigma_mm": ()}
ORIGINAL_ONLY: Mapping[Convention, ModelSettings] = {
    "pyradiomics": SETTINGS["whole"].model_copy(update={"radiomics": _RADIOMICS.model_copy(update=_ORIGINAL)}),
    "ibsi": ModelSettings(
        imaging=_NATIVE.model_copy(update={"hu_range": WINDOW_HU}),
        radiomics=_RADIOMICS.model_copy(update={"convention": "ibsi", **_ORIGINAL}),
        network=NETWORK_OFF,
    ),
}
"""One image type, as it comes."""
SCAN_OF: Mapping[Pipeline, str] = {"inside": "native", "whole": "1mm", "ibsi": "native"}


@dataclass(frozen=True)
class Work:
    """One extraction.

    Attributes
    ----------
    selected
        The fifteen features only. PyRadiomics cannot be asked for a feature of one image only: it gets the image types,
        the sigma and the feature names that occur, and computes every combination of them.
    diagnostics
        PyRadiomics' ``additionalInfo``, on unless switched off; nothing to nodogram.
    """

    engine: Engine
    pipeline: Pipeline
    size_cm3: int
    selected: bool = False
    diagnostics: bool = True


def load_case(scan: Scan, size_cm3: int) -> Case:
    """Read one region with its image, as nodogram holds them."""
    image = scan.image()
    geometry = Geometry(image.shape, scan.spacing_mm, (0.0, 0.0, 0.0), np.eye(3))
    return Case("neck", Volume(image.astype(np.float32), geometry), Mask(scan.region(size_cm3), geometry))


def load_images(scan: Scan, size_cm3: int) -> tuple[Any, Any]:
    """Read one region with its image, clipped to the window, as PyRadiomics holds them."""
    image = np.clip(scan.image(), *WINDOW_HU)
    return image_of(image, scan.spacing_mm), image_of(scan.region(size_cm3).astype(np.uint8), scan.spacing_mm)


def image_of(array: NDArray[Any], spacing_mm: tuple[float, float, float]) -> Any:
    """Return an ITK image; spacing (z, y, x)."""
    image: Any = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_mm[::-1])
    return image


def by_nodogram(case: Case, work: Work) -> dict[str, float]:
    """Prepare and extract; values by name."""
    settings = SETTINGS[work.pipeline]
    vector = extract(prepare(case, settings), settings, SELECTED if work.selected else None)
    return dict(zip(vector.names, vector.values.tolist(), strict=True))


def by_pyradiomics(
    image: Any, mask: Any, work: Work, image_types: tuple[ImageType, ...] = get_args(ImageType)
) -> dict[str, float]:
    """Extract as PyRadiomics' own users do; values by nodogram's names."""
    logging.getLogger("radiomics").setLevel(logging.CRITICAL + 1)
    options: dict[str, Any] = {"binWidth": BIN_WIDTH_HU, "additionalInfo": work.diagnostics}
    if work.pipeline == "inside":
        options |= {"resampledPixelSpacing": [1, 1, 1], "interpolator": sitk.sitkBSpline}
    extractor = RadiomicsFeatureExtractor(**options)
    extractor.disableAllImageTypes()
    types = _SELECTED_TYPES if work.selected else image_types
    sigmas = _SELECTED_SIGMAS_MM if work.selected else SIGMAS_MM
    extractor.enableImageTypes(**{name: {"sigma": list(sigmas)} if name == "LoG" else {} for name in types})
    if work.selected:
        extractor.disableAllFeatures()
        extractor.enableFeaturesByName(**_selected_by_class())
    with np.errstate(all="ignore"):
        found = extractor.execute(image, mask)
    return {f"radiomics.{name}": float(value) for name, value in found.items() if not name.startswith("diagnostics")}


def _selected_by_class() -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for full_name in SELECTED:
        _, feature_class, name = full_name.split("_")
        names.setdefault(feature_class, []).append(name)
    return names


@dataclass(frozen=True)
class Comparison:
    """How two sets of values differ.

    Attributes
    ----------
    differing, differing_log
        Features that are not equal to the last bit: those of LoG images apart.
    largest, largest_log
        Largest deviation among them, as a share of the value or, for first-order features, of the standard deviation in
        the region if that is larger; infinite for a feature that only one side has.
    """

    count: int
    differing: int
    differing_log: int
    largest: float
    largest_log: float


def compare(found: Mapping[str, float], expected: Mapping[str, float], names: frozenset[str] | None = None) -> Comparison:
    """Compare by name; ``expected`` must hold the variances of the images compared.

    Parameters
    ----------
    names
        Features compared; by default all that either side has.
    """
    chosen = found.keys() | expected.keys() if names is None else names
    exact = {name: d for name in chosen if "log-sigma" not in name and (d := _deviation(name, found, expected)) != 0}
    log = {name: d for name in chosen if "log-sigma" in name and (d := _deviation(name, found, expected)) != 0}
    return Comparison(len(chosen), len(exact), len(log), max(exact.values(), default=0.0), max(log.values(), default=0.0))


def _deviation(name: str, found: Mapping[str, float], expected: Mapping[str, float]) -> float:
    if name not in found or name not in expected:
        return math.inf
    a, b = found[name], expected[name]
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    spread = math.sqrt(expected[f"{name.split('_')[0]}_firstorder_Variance"]) if "_firstorder_" in name else 0.0
    scale = max(abs(b), spread)
    return abs(a - b) / scale if scale > 0 else math.inf
