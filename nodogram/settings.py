"""What the model is: imaging, radiomics and network settings, stored in the bundle and obeyed by training and serving."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ImageType = Literal["Original", "Wavelet", "LoG", "Square", "SquareRoot", "Logarithm", "Exponential", "Gradient"]
SCALED_BY_MAXIMUM: tuple[ImageType, ...] = ("Square", "SquareRoot", "Logarithm", "Exponential")
"""Image types that scale by the largest absolute value of the image."""
FeatureClass = Literal["shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"]
PositiveMm = Annotated[float, Field(gt=0, le=100)]


def _none_if(word: str) -> BeforeValidator:
    """TOML knows no null: a word stands for it, so that every recipe says what it means."""
    return BeforeValidator(lambda value: None if value == word else value)


Spacing = Annotated[tuple[PositiveMm, PositiveMm, PositiveMm] | None, _none_if("native")]
HuRange = Annotated[tuple[float, float] | None, _none_if("none")]


class Settings(BaseModel):
    """Base of every settings object: frozen, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImagingSettings(Settings):
    """How a case is brought to model space.

    Attributes
    ----------
    spacing_mm
        Model voxel spacing (z, y, x), mm; ``None``, in a recipe ``"native"``, keeps the scanner's.
    image_interpolation
        Interpolator of the CT.
    mask_interpolation
        ``nearest``, or ``linear``: partial volume of at least one half (IBSI, region interpolation).
    hu_range
        Window kept, HU (low, high); ``None``, in a recipe ``"none"``, keeps everything.
    hu_range_applied
        ``clip_before_resampling`` piles excluded voxels at the bounds (the paper's order); ``resegment`` excludes them
        from the radiomics region after resampling (IBSI range re-segmentation).
    outlier_sigmas
        Voxels further from the mean of the region than this many of its standard deviations are excluded, after the range
        (IBSI outlier filtering); ``None`` excludes none.
    """

    spacing_mm: Spacing
    image_interpolation: Literal["linear", "bspline"]
    mask_interpolation: Literal["nearest", "linear"]
    hu_range: HuRange
    hu_range_applied: Literal["clip_before_resampling", "resegment"]
    outlier_sigmas: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> ImagingSettings:
        if self.hu_range is not None and not self.hu_range[0] < self.hu_range[1]:
            raise ValueError(f"hu_range {self.hu_range}: the lower bound must be below the upper")
        return self


class RadiomicsSettings(Settings):
    """Which features are computed, and how.

    Attributes
    ----------
    enabled
        ``False`` builds a model without radiomics.
    convention
        ``pyradiomics``: the numbers of PyRadiomics 3.0.1, on its grid. ``ibsi``: grid aligned on the image's center, whole
        HU, gray levels counted from the lower bound of the re-segmentation range, excess kurtosis, axis lengths from the
        sample covariance (IBSI reference manual, arXiv:1612.07003).
    padding
        What the filters of the convention ``pyradiomics`` are given. ``full``: the whole image. ``pyradiomics``: the region's
        box and five voxels more, as PyRadiomics itself does when it resamples (or with ``preCrop``); too little for a Laplacian
        of Gaussian. The convention ``ibsi`` requires ``full``.
    image_types
        Image types in PyRadiomics' spelling.
    log_sigma_mm
        Standard deviations of the Laplacian of Gaussian, mm.
    wavelet
        PyWavelets name of the stationary wavelet.
    feature_classes
        Feature classes in PyRadiomics' spelling; shape is taken once, from the region.
    bin_width_hu, bin_count
        Discretization by fixed bin size (IBSI Q3RU) or by fixed bin number (IBSI K15C): one of the two.
    minimum_voxel_count
        Smallest region for which texture is meaningful; smaller ones are refused.
    """

    enabled: bool
    convention: Literal["pyradiomics", "ibsi"]
    padding: Literal["pyradiomics", "full"]
    image_types: tuple[ImageType, ...]
    log_sigma_mm: tuple[PositiveMm, ...]
    wavelet: Literal["coif1", "haar", "db2"]
    feature_classes: tuple[FeatureClass, ...]
    bin_width_hu: Annotated[float, Field(gt=0)] | None = None
    bin_count: Annotated[int, Field(ge=2, le=4096)] | None = None
    minimum_voxel_count: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _consistent(self) -> RadiomicsSettings:
        if len(set(self.image_types)) != len(self.image_types):
            raise ValueError("image_types: each image type once")
        if ("LoG" in self.image_types) != bool(self.log_sigma_mm):
            raise ValueError("log_sigma_mm: give sigmas exactly when image_types has LoG")
        if (self.bin_width_hu is None) == (self.bin_count is None):
            raise ValueError("bin_width_hu or bin_count: give exactly one of the two")
        if self.convention == "ibsi" and self.padding != "full":
            raise ValueError('padding: the convention "ibsi" requires "full"')
        if self.enabled and not (self.image_types and self.feature_classes):
            raise ValueError("radiomics is enabled but no image type or no feature class is listed")
        return self

    @property
    def reads_whole_image(self) -> bool:
        """Whether an image type scales by the largest absolute value of the image it is given."""
        return any(image_type in SCALED_BY_MAXIMUM for image_type in self.image_types)


class NetworkSettings(Settings):
    """What the network sees of a case.

    Attributes
    ----------
    enabled
        ``False`` builds a model without deep features.
    crop
        ``fixed_mm``: a square of ``crop_size_mm`` centered on the region, so that size survives; ``bbox_resize``: the
        region's bounding box plus ``crop_margin_mm`` stretched to a square, as the paper says.
    crop_size_mm
        Side of the fixed square, mm.
    crop_margin_mm
        Margin added on each side of the bounding box, mm.
    resize_px
        Side of the stored crop, pixels.
    input_px
        Side of the network input, pixels: random crop in training, center crop at inference.
    window_hu
        Attenuation mapped linearly to [0, 1] and clipped, HU (low, high).
    """

    enabled: bool
    crop: Literal["fixed_mm", "bbox_resize"]
    crop_size_mm: Annotated[float, Field(gt=0, le=500)]
    crop_margin_mm: Annotated[float, Field(ge=0, le=200)]
    resize_px: Annotated[int, Field(ge=32, le=1024)]
    input_px: Annotated[int, Field(ge=32, le=1024)]
    window_hu: tuple[float, float]

    @model_validator(mode="after")
    def _consistent(self) -> NetworkSettings:
        if self.input_px > self.resize_px:
            raise ValueError(f"input_px {self.input_px} exceeds resize_px {self.resize_px}")
        if not self.window_hu[0] < self.window_hu[1]:
            raise ValueError(f"window_hu {self.window_hu}: the lower bound must be below the upper")
        return self


class ModelSettings(Settings):
    """Everything that must be the same in training and serving."""

    imaging: ImagingSettings
    radiomics: RadiomicsSettings
    network: NetworkSettings

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> ModelSettings:
        if not (self.radiomics.enabled or self.network.enabled):
            raise ValueError("radiomics and network are both disabled; enable at least one")
        if self.radiomics.convention == "pyradiomics" and self.imaging.mask_interpolation != "nearest":
            raise ValueError('mask_interpolation: the convention "pyradiomics" requires "nearest"')
        return self

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON of these settings."""
        return _digest(self)


@lru_cache(maxsize=16)
def _digest(settings: ModelSettings) -> str:
    # Asked for with every case, of the same settings.
    return hashlib.sha256(canonical_json(settings.model_dump(mode="json"))).hexdigest()


def canonical_json(document: object) -> bytes:
    """Return UTF-8 JSON with sorted keys and no spaces, the form digests are taken of."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
