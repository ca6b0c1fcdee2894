"""What the model is: imaging, radiomics and network settings, stored in the bundle and obeyed by training and serving."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

ImageType = Literal["Original", "Wavelet", "LoG", "Square", "SquareRoot", "Logarithm", "Exponential", "Gradient"]
FeatureClass = Literal["shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"]
PositiveMm = Annotated[float, Field(gt=0, le=100)]


class Settings(BaseModel):
    """Base of every settings object: frozen, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ImagingSettings(Settings):
    """How a case is brought to model space.

    Attributes
    ----------
    spacing_mm
        Model voxel spacing (z, y, x), mm.
    image_interpolation
        Interpolator of the CT.
    mask_interpolation
        ``nearest``, or ``linear``: partial volume of at least one half (IBSI, region interpolation).
    hu_range
        Window kept, HU (low, high).
    hu_range_applied
        ``clip_before_resampling`` piles excluded voxels at the bounds (the paper's order); ``resegment`` excludes them
        from the radiomics region after resampling (IBSI range re-segmentation).
    """

    spacing_mm: tuple[PositiveMm, PositiveMm, PositiveMm]
    image_interpolation: Literal["linear", "bspline"]
    mask_interpolation: Literal["nearest", "linear"]
    hu_range: tuple[float, float]
    hu_range_applied: Literal["clip_before_resampling", "resegment"]

    @model_validator(mode="after")
    def _ordered(self) -> ImagingSettings:
        if not self.hu_range[0] < self.hu_range[1]:
            raise ValueError(f"hu_range {self.hu_range}: the lower bound must be below the upper")
        return self


class RadiomicsSettings(Settings):
    """Which PyRadiomics features are computed, and how.

    Attributes
    ----------
    enabled
        ``False`` builds a model without radiomics.
    image_types
        Image types in PyRadiomics' spelling.
    log_sigma_mm
        Standard deviations of the Laplacian of Gaussian, mm.
    wavelet
        PyWavelets name of the stationary wavelet.
    feature_classes
        Feature classes in PyRadiomics' spelling; shape is taken once, from the region.
    bin_width_hu
        Fixed bin size of the discretization.
    minimum_voxel_count
        Smallest region for which texture is meaningful; smaller ones are refused.
    """

    enabled: bool
    image_types: tuple[ImageType, ...]
    log_sigma_mm: tuple[PositiveMm, ...]
    wavelet: Literal["coif1", "haar", "db2"]
    feature_classes: tuple[FeatureClass, ...]
    bin_width_hu: Annotated[float, Field(gt=0)]
    minimum_voxel_count: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _consistent(self) -> RadiomicsSettings:
        if len(set(self.image_types)) != len(self.image_types):
            raise ValueError("image_types: each image type once")
        if ("LoG" in self.image_types) != bool(self.log_sigma_mm):
            raise ValueError("log_sigma_mm: give sigmas exactly when image_types has LoG")
        if self.enabled and not (self.image_types and self.feature_classes):
            raise ValueError("radiomics is enabled but no image type or no feature class is listed")
        return self


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
        return self

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON of these settings."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()


def canonical_json(document: object) -> bytes:
    """Return UTF-8 JSON with sorted keys and no spaces, the form digests are taken of."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
