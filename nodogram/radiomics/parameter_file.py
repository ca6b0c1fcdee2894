"""PyRadiomics' parameter files as settings: what can be computed alike is taken over, anything else is refused by its key.

The file is read as PyRadiomics 3.0.1 reads it, with the same YAML library (YAML 1.2, no key twice) and the same defaults.
A setting is ignored only where it cannot change a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import radiomics
from pydantic import BeforeValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nodogram.errors import Reason, SettingsError
from nodogram.imaging.pyradiomics_grid import PAD_VOXELS
from nodogram.radiomics.manifest import PREFIX, feature_names
from nodogram.settings import (
    FeatureClass,
    ImageType,
    ImagingSettings,
    ModelSettings,
    NetworkSettings,
    RadiomicsSettings,
    Settings,
)

SUFFIXES = (".yaml", ".yml", ".json")
# Kept by the settings although nothing is computed for a network here.
NO_NETWORK = NetworkSettings(
    enabled=False,
    crop="fixed_mm",
    crop_size_mm=80.0,
    crop_margin_mm=0.0,
    resize_px=256,
    input_px=224,
    window_hu=(-125.0, 225.0),
)

# Diagnostics, checks of files that are made in another way here, and parameters of what is refused or switched off.
_WITHOUT_EFFECT = {
    "additionalInfo",
    "geometryTolerance",
    "correctMask",
    "normalizeScale",
    "force2Ddimension",
    "lbp2DRadius",
    "lbp2DSamples",
    "lbp2DMethod",
    "lbp3DLevels",
    "lbp3DIcosphereRadius",
    "lbp3DIcosphereSubdivision",
}
_INTERPOLATORS: Mapping[str | int, Literal["linear", "bspline"]] = {
    "sitkLinear": "linear",
    2: "linear",
    "sitkBSpline": "bspline",
    3: "bspline",
}
# Computed by PyRadiomics only with force2D.
_PLANAR_SHAPE = "shape2D"


def _nothing_if_empty(value: object) -> object:
    return {} if value is None else value


def _without_idle(value: object) -> object:
    kept = _nothing_if_empty(value)
    return {k: v for k, v in kept.items() if k not in _WITHOUT_EFFECT} if isinstance(kept, dict) else kept


class _FilterOptions(Settings):
    """Parameters of filters, given for one image type or under ``setting`` for all."""

    sigma: tuple[float, ...] | None = None
    wavelet: str | None = None
    level: Literal[1] | None = None
    start_level: Literal[0] | None = None
    gradient_use_spacing: Annotated[Literal[True] | None, Field(alias="gradientUseSpacing")] = None


class _Setting(_FilterOptions):
    """Section ``setting``; a literal is the only value whose numbers can be had here."""

    bin_width: Annotated[float, Field(alias="binWidth")] = 25.0
    bin_count: Annotated[int | None, Field(alias="binCount")] = None
    resampled_spacing_mm: Annotated[tuple[float, float, float] | None, Field(alias="resampledPixelSpacing")] = None
    interpolator: str | int | None = "sitkBSpline"
    pad_distance: Annotated[int, Field(alias="padDistance")] = PAD_VOXELS
    pre_crop: Annotated[bool, Field(alias="preCrop")] = False
    minimum_size: Annotated[int | None, Field(alias="minimumROISize", gt=0)] = None
    minimum_dimensions: Annotated[Literal[1, 2], Field(alias="minimumROIDimensions")] = 2
    resegment_range: Annotated[tuple[float, float] | None, Field(alias="resegmentRange")] = None
    resegment_mode: Annotated[Literal["absolute", "sigma"], Field(alias="resegmentMode")] = "absolute"
    resegment_shape: Annotated[Literal[False], Field(alias="resegmentShape")] = False
    label: Literal[1] = 1
    label_channel: Literal[0] = 0
    normalize: Literal[False] = False
    remove_outliers: Annotated[None, Field(alias="removeOutliers")] = None
    planar: Annotated[Literal[False], Field(alias="force2D")] = False
    distances: tuple[Literal[1]] = (1,)
    weighting_norm: Annotated[None, Field(alias="weightingNorm")] = None
    voxel_shift: Annotated[Literal[0], Field(alias="voxelArrayShift")] = 0
    symmetrical: Annotated[Literal[True], Field(alias="symmetricalGLCM")] = True
    gldm_a: Literal[0] = 0


_Options = Annotated[_FilterOptions, BeforeValidator(_without_idle)]


class _Document(Settings):
    """The whole file."""

    setting: Annotated[_Setting, BeforeValidator(_without_idle)] = _Setting()
    image_types: Annotated[dict[ImageType, _Options], BeforeValidator(_nothing_if_empty)] = Field(
        default_factory=dict, alias="imageType"
    )
    feature_classes: Annotated[
        dict[FeatureClass | Literal["shape2D"], tuple[str, ...] | None], BeforeValidator(_nothing_if_empty)
    ] = Field(default_factory=dict, alias="featureClass")
    # Only of voxel-based extraction.
    voxel_setting: Annotated[object, Field(alias="voxelSetting")] = None


@dataclass(frozen=True)
class Parameters:
    """What a parameter file asks for.

    Attributes
    ----------
    settings
        In the convention ``pyradiomics``.
    names
        Features wanted, in the order of :func:`~nodogram.radiomics.manifest.feature_names`.
    """

    settings: ModelSettings
    names: tuple[str, ...]


def read_parameter_file(path: Path) -> Parameters:
    """Read a parameter file of PyRadiomics 3.0.1.

    With ``resampledPixelSpacing`` or ``preCrop`` the filters are given the region's box and five voxels more, as in
    PyRadiomics, else the whole image. HU are not clipped.

    Parameters
    ----------
    path
        YAML or JSON.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` naming keys that are unknown, wrong, or would give numbers that are not offered here.
    """
    try:
        document = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _invalid(path, f"it cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, YAMLError) as error:
        raise _invalid(path, f"it is not YAML: {' '.join(str(error).split())}") from error
    try:
        parsed = _Document.model_validate({} if document is None else document)
        settings = _settings(path, parsed)
    except ValidationError as error:
        raise _invalid(path, "; ".join(_explained(e) for e in error.errors())) from error
    return Parameters(settings, _wanted(path, parsed, settings))


def _settings(path: Path, document: _Document) -> ModelSettings:
    setting = document.setting
    options = _effective(document)
    log, wavelet = options.get("LoG"), options.get("Wavelet")
    if log is not None and not log.sigma:
        raise _invalid(path, "imageType.LoG has no sigma; at least one is required")
    is_resampled, spacing_mm, interpolation = _resampling(path, setting)
    is_padded = is_resampled or setting.pre_crop
    if is_padded and setting.pad_distance != PAD_VOXELS:
        raise _invalid(path, f"setting.padDistance is {setting.pad_distance}; only {PAD_VOXELS} is supported")
    hu_range, sigmas = _resegmentation(path, setting)
    classes = [c for c in document.feature_classes or radiomics.getFeatureClasses() if c != _PLANAR_SHAPE]
    return ModelSettings(
        imaging=ImagingSettings(
            spacing_mm=spacing_mm,
            image_interpolation=interpolation,
            mask_interpolation="nearest",
            hu_range=hu_range,
            hu_range_applied="resegment",
            outlier_sigmas=sigmas,
        ),
        radiomics=RadiomicsSettings.model_validate(
            {
                "enabled": True,
                "convention": "pyradiomics",
                "padding": "pyradiomics" if is_padded else "full",
                "image_types": tuple(options),
                "log_sigma_mm": () if log is None or log.sigma is None else tuple(dict.fromkeys(log.sigma)),
                "wavelet": "coif1" if wavelet is None or wavelet.wavelet is None else wavelet.wavelet,
                "feature_classes": classes,
                "bin_width_hu": setting.bin_width if setting.bin_count is None else None,
                "bin_count": setting.bin_count,
                # PyRadiomics wants more voxels than its minimum.
                "minimum_voxel_count": 1 if setting.minimum_size is None else setting.minimum_size + 1,
            }
        ),
        network=NO_NETWORK,
    )


def _effective(document: _Document) -> dict[ImageType, _FilterOptions]:
    """Return the options of each image type; what it does not say itself is said under ``setting``."""
    shared = {name: getattr(document.setting, name) for name in _FilterOptions.model_fields}
    given = document.image_types or {"Original": _FilterOptions()}
    return {
        image_type: _FilterOptions.model_construct(**{**shared, **own.model_dump(exclude_none=True)})
        for image_type, own in given.items()
    }


def _resampling(path: Path, setting: _Setting) -> tuple[bool, tuple[float, float, float] | None, Literal["linear", "bspline"]]:
    """Return whether PyRadiomics resamples, the spacing (z, y, x; ``None`` for the scanner's), mm, and the interpolator."""
    if setting.resampled_spacing_mm is None or setting.interpolator is None:
        return False, None, "bspline"
    if setting.interpolator not in _INTERPOLATORS:
        raise _invalid(
            path, f"setting.interpolator is {setting.interpolator!r}; only sitkLinear (2) and sitkBSpline (3) are supported"
        )
    x, y, z = setting.resampled_spacing_mm
    interpolation = _INTERPOLATORS[setting.interpolator]
    if x == y == z == 0:
        return True, None, interpolation
    if 0 in (x, y, z):
        raise _invalid(
            path,
            f"setting.resampledPixelSpacing is {[x, y, z]}: 0 for the scanner's own is supported on all axes or on none",
        )
    return True, (z, y, x), interpolation


def _resegmentation(path: Path, setting: _Setting) -> tuple[tuple[float, float] | None, float | None]:
    """Return the HU range and the number of standard deviations kept."""
    if setting.resegment_range is None:
        return None, None
    low, high = sorted(setting.resegment_range)
    if setting.resegment_mode == "absolute":
        return (low, high), None
    if low != -high:
        raise _invalid(
            path,
            f"setting.resegmentRange is {[low, high]} standard deviations; only a symmetric range such as [-3, 3] is supported",
        )
    return None, high


def _wanted(path: Path, document: _Document, settings: ModelSettings) -> tuple[str, ...]:
    lists = {c: set(names) for c, names in document.feature_classes.items() if names and c != _PLANAR_SHAPE}
    chosen = []
    for full_name in feature_names(settings.radiomics):
        _, feature_class, name = full_name.removeprefix(PREFIX).split("_")
        if feature_class not in lists or name in lists[feature_class]:
            chosen.append((full_name, feature_class, name))
    found = {(feature_class, name) for _, feature_class, name in chosen}
    unknown = [f"{c}.{name}" for c, names in lists.items() for name in sorted(names) if (c, name) not in found]
    if unknown:
        raise _invalid(
            path, f"featureClass names features that PyRadiomics 3.0.1 does not have or has given up: {', '.join(unknown)}"
        )
    return tuple(full_name for full_name, _, _ in chosen)


def _explained(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"] if part != "[key]") or "the file"
    found, kind = error["input"], error["type"]
    # A container may be as large as the file likes, and says nothing the key does not.
    shown = repr(found) if isinstance(found, str | int | float) or found is None else f"a {type(found).__name__}"
    if kind == "extra_forbidden":
        return f"{key} is not supported" if key.count(".") > 1 else f"{key} is unknown or not supported"
    if kind in ("literal_error", "none_required"):
        expected = error.get("ctx", {}).get("expected", "null")
        return f"{key} is {shown}; only {expected} is supported"
    return f"{key}: {error['msg']} (found {shown})"


def _invalid(path: Path, message: str) -> SettingsError:
    return SettingsError(Reason.SETTINGS_INVALID, f"{path.name}: {message}; see docs/radiomics.md")
