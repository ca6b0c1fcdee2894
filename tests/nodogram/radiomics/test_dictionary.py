from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import radiomics
import SimpleITK as sitk
from radiomics import imageoperations

from nodogram.errors import FeatureError, Reason
from nodogram.radiomics.dictionary import DEFINITIONS, FeatureDefinition, definition, describe
from nodogram.radiomics.manifest import WAVELET_BANDS, feature_names
from nodogram.settings import FeatureClass, ImageType, RadiomicsSettings

CLASSES: tuple[str, ...] = get_args(FeatureClass)
GOLDEN_TAGS = Path(__file__).parents[2] / "golden" / "ibsi1_tags.csv"
NOT_IN_IBSI = {
    ("shape", "Maximum2DDiameterColumn"),
    ("shape", "Maximum2DDiameterRow"),
    ("shape", "Maximum2DDiameterSlice"),
    ("firstorder", "TotalEnergy"),
    ("glcm", "MCC"),
}


def every_name() -> tuple[str, ...]:
    return feature_names(
        RadiomicsSettings(
            enabled=True,
            convention="pyradiomics",
            padding="full",
            image_types=get_args(ImageType),
            log_sigma_mm=(0.5, 1.0, 2.25, 10.0),
            wavelet="coif1",
            feature_classes=get_args(FeatureClass),
            bin_width_hu=25,
            minimum_voxel_count=64,
        )
    )


def test_what_pyradiomics_offers_is_defined_once_and_nothing_else() -> None:
    offered = [
        (feature_class, name)
        for feature_class in CLASSES
        for name, deprecated in radiomics.getFeatureClasses()[feature_class].getFeatureNames().items()
        if not deprecated
    ]
    assert sorted((each.feature_class, each.name) for each in DEFINITIONS) == sorted(offered)
    assert len(offered) == 107


def test_codes_are_well_formed_and_unique() -> None:
    codes = [each.ibsi_code for each in DEFINITIONS if each.ibsi_code is not None]
    assert all(re.fullmatch("[0-9A-Z]{4}", code) for code in codes)
    assert [code for code, count in Counter(codes).items() if count > 1] == []
    assert {(each.feature_class, each.name) for each in DEFINITIONS if each.ibsi_code is None} == NOT_IN_IBSI


def test_codes_are_those_of_ibsi() -> None:
    """Codes of the golden table were read from MIRP, by IBSI tag and not by PyRadiomics' names."""
    with GOLDEN_TAGS.open(newline="") as file:
        expected = {(row["class"], row["name"]): row["ibsi_code"] for row in csv.DictReader(file)}
    assert {(each.feature_class, each.name): each.ibsi_code for each in DEFINITIONS if each.ibsi_code} == expected


def test_meanings_are_told_apart() -> None:
    for feature_class in CLASSES:
        meanings = [each.meaning for each in DEFINITIONS if each.feature_class == feature_class]
        assert len(set(meanings)) == len(meanings)
    assert all(each.meaning and "\n" not in each.meaning and each.unit for each in DEFINITIONS)


@pytest.mark.parametrize("code", ["", "P6Q", "P6QZ1", "p6qz", "P6 Z"])
def test_a_malformed_code_is_refused(code: str) -> None:
    with pytest.raises(FeatureError, match="is not an IBSI code") as caught:
        FeatureDefinition("glcm", "SumEntropy", code, "Disorder", "bit")
    assert caught.value.reason is Reason.FEATURE_UNKNOWN


def test_a_definition_is_found_by_its_name() -> None:
    assert definition("shape", "VoxelVolume").ibsi_code == "YEKZ"
    assert definition("shape", "VoxelVolume").unit == "mm³"
    assert definition("glcm", "Contrast").ibsi_code == "ACUI"
    assert definition("ngtdm", "Contrast").ibsi_code == "65HE"
    assert definition("firstorder", "TotalEnergy").unit == "HU² mm³"


def test_every_name_of_a_full_set_is_described() -> None:
    names = every_name()
    described = {name: describe(name) for name in names}
    assert len(names) == 14 + 93 * (1 + 8 + 4 + 4 + 1)
    assert len(set(described.values())) == len(names)
    for name, text in described.items():
        feature = definition(*name.split("_")[1:])
        assert text.startswith(feature.meaning)
        assert (feature.ibsi_code or "no IBSI code") in text
        assert text == describe(name.removeprefix("radiomics."))


def test_a_description_names_family_aggregation_image_and_unit() -> None:
    text = describe("radiomics.wavelet-LLH_glcm_Idmn")
    for part in ("1QCO", "LFYI", "ITBB", "25BO", "low-pass along x and y, high-pass along z"):
        assert part in text
    assert "L6PA] with a sigma of 2.25 mm" in describe("log-sigma-2-25-mm-3D_gldm_DependenceEntropy")
    assert "a sigma of 10 mm" in describe("log-sigma-10-0-mm-3D_gldm_DependenceEntropy")
    assert "UHIW" in describe("original_firstorder_Energy")
    assert "ZVCW" in describe("original_firstorder_Entropy")
    assert "in HU². " in describe("original_firstorder_Energy")
    assert "in HU² of the filtered image. " in describe("gradient_firstorder_Energy")
    assert "in mm³. " in describe("original_shape_MeshVolume")


@pytest.mark.parametrize(
    "name",
    [
        "original_glcm_Homogeneity1",  # deprecated
        "original_firstorder_StandardDeviation",  # deprecated
        "original_shape2D_Perimeter",
        "original_glcm_idmn",
        "wavelet-LLX_glcm_Idmn",
        "wavelet-LL_glcm_Idmn",
        "LLH_glcm_Idmn",
        "wavelet-LLH_shape_Elongation",
        "log-sigma-mm-3D_glcm_Idmn",
        "lbp-2D_glcm_Idmn",
        "glcm_Idmn",
        "radiomics.",
        "deep.0001",
        "",
    ],
)
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(FeatureError) as caught:
        describe(name)
    assert caught.value.reason is Reason.FEATURE_UNKNOWN


@pytest.mark.parametrize(("axis", "index"), [("x", 2), ("y", 1), ("z", 0)])
def test_the_axes_of_a_wavelet_band_are_those_it_is_described_with(axis: str, index: int) -> None:
    """An image that changes along one axis only is seen by the bands that are high-pass along at most that axis."""
    shape = [1, 1, 1]
    shape[index] = 16
    line = np.random.default_rng(3).standard_normal(16).reshape(shape)
    image = sitk.GetImageFromArray(np.broadcast_to(line, (16, 16, 16)).copy())
    seen = {
        name.removeprefix("wavelet-")
        for response, name, _ in imageoperations.getWaveletImage(image, None, wavelet="coif1")
        if np.abs(sitk.GetArrayViewFromImage(response)).max() > 1e-9
    }
    high = {
        band: "" if band == "LLL" else describe(f"wavelet-{band}_glcm_Idmn").split("high-pass along ")[1].rstrip(".")
        for band in WAVELET_BANDS
    }
    assert seen == {band for band, axes in high.items() if axes in ("", axis)}
    assert len(seen) == 2
