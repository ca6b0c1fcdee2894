from __future__ import annotations

import pytest
from pydantic import ValidationError
from radiomics.featureextractor import RadiomicsFeatureExtractor

from nodogram.errors import BundleError, Reason
from nodogram.features import FeatureVector
from nodogram.radiomics.manifest import (
    FeatureManifest,
    build_manifest,
    check_pyradiomics_version,
    feature_names,
    image_names,
    log_image_name,
)
from nodogram.settings import ModelSettings, RadiomicsSettings

CLASSES = ("shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
SIGMAS = (1.0, 2.0, 3.0, 4.0, 5.0)
NONLINEAR = ("Square", "SquareRoot", "Logarithm", "Exponential")


def radiomics(*image_types: str, classes: tuple[str, ...] = CLASSES, enabled: bool = True) -> RadiomicsSettings:
    return RadiomicsSettings.model_validate(
        {
            "enabled": enabled,
            "convention": "ibsi",
            "padding": "full",
            "image_types": image_types,
            "log_sigma_mm": SIGMAS if "LoG" in image_types else (),
            "wavelet": "coif1",
            "feature_classes": classes,
            "bin_width_hu": 25,
            "minimum_voxel_count": 64,
        }
    )


def model(settings: RadiomicsSettings) -> ModelSettings:
    imaging = {
        "spacing_mm": (1, 1, 1),
        "image_interpolation": "linear",
        "mask_interpolation": "linear",
        "hu_range": (-125, 225),
        "hu_range_applied": "resegment",
    }
    network = {
        "enabled": False,
        "crop": "fixed_mm",
        "crop_size_mm": 80,
        "crop_margin_mm": 5,
        "resize_px": 256,
        "input_px": 224,
        "window_hu": (-125, 225),
    }
    return ModelSettings.model_validate({"imaging": imaging, "radiomics": settings.model_dump(), "network": network})


@pytest.mark.parametrize(
    ("image_types", "count"),
    [
        (("Original",), 107),
        (("Original", "Wavelet"), 851),
        (("Original", "Wavelet", "LoG"), 1316),
        (("Original", "Wavelet", "LoG", "Gradient"), 1409),
        (("Original", "Wavelet", "LoG", "Gradient", *NONLINEAR), 1409 + 4 * 93),
    ],
)
def test_counts_are_those_of_pyradiomics(image_types: tuple[str, ...], count: int) -> None:
    names = feature_names(radiomics(*image_types))
    assert len(names) == len(set(names)) == count
    FeatureVector(names, range(count))  # type: ignore[arg-type]


def test_names_are_pyradiomics_own_behind_a_prefix() -> None:
    names = feature_names(radiomics("Original", "Wavelet", "LoG", "SquareRoot"))
    for name in (
        "original_shape_MeshVolume",
        "wavelet-LLH_glcm_Contrast",
        "log-sigma-1-0-mm-3D_firstorder_Mean",
        "squareroot_ngtdm_Busyness",
    ):
        assert f"radiomics.{name}" in names
    assert names[0] == "radiomics.original_shape_Elongation"
    assert log_image_name(2.5) == "log-sigma-2-5-mm-3D"


def test_shape_is_taken_once_whatever_the_image_types_and_only_if_asked_for() -> None:
    assert sum("_shape_" in name for name in feature_names(radiomics("Wavelet", "Gradient"))) == 14
    assert len(feature_names(radiomics("Original", classes=("glcm", "firstorder")))) == 24 + 18
    assert feature_names(radiomics("Original", classes=("glcm", "firstorder")))[0].startswith("radiomics.original_glcm_")


def test_nothing_is_computed_where_radiomics_is_disabled() -> None:
    assert feature_names(radiomics("Original", enabled=False)) == ()


def test_every_image_type_is_one_pyradiomics_knows() -> None:
    types = ("Original", "Wavelet", "LoG", "Gradient", *NONLINEAR)
    extractor = RadiomicsFeatureExtractor()
    extractor.enableImageTypes(**{name: {} for name in types})
    assert len(image_names(radiomics(*types))) == 1 + 8 + 5 + 5


def test_manifest_survives_json_and_names_the_exact_software() -> None:
    settings = model(radiomics("Original", "Wavelet"))
    manifest = build_manifest(settings)
    assert manifest.pyradiomics_version == "3.0.1"
    assert manifest.settings_digest == settings.digest()
    assert manifest.names == feature_names(settings.radiomics)
    assert FeatureManifest.model_validate_json(manifest.model_dump_json()) == manifest
    check_pyradiomics_version(manifest.pyradiomics_version)


@pytest.mark.parametrize("names", [("radiomics.a", "radiomics.a"), ("deep.0",)])
def test_manifest_refuses_repeated_and_foreign_names(names: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        FeatureManifest(pyradiomics_version="3.0.1", settings_digest="0", names=names)


def test_another_pyradiomics_is_refused_naming_both() -> None:
    with pytest.raises(BundleError, match=r"3\.0\.1 is installed; this model needs 3\.1\.0") as caught:
        check_pyradiomics_version("3.1.0")
    assert caught.value.reason is Reason.BUNDLE_SOFTWARE_MISMATCH
