"""Our features against the consensus values of the Image Biomarker Standardisation Initiative (IBSI 1).

Digital phantom: github.com/theibsi/data_sets, ``ibsi_1_digital_phantom`` (CC BY 4.0), 74 voxels of 2 mm, gray levels 1 to 6.
Consensus values and tolerances: IBSI reference manual, arXiv:1612.07003 (Zwanenburg et al., Radiology 2020,
doi:10.1148/radiol.2020191145), with the tags under which MIRP (oncoray/mirp, EUPL-1.2) tabulates them. Both are read from the
outside test data. ``tests/golden/ibsi1_tags.csv`` says which feature answers to which tag: of PyRadiomics' 107 features the
102 that IBSI defines, in 3D, features of directional matrices averaged.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pytest

from nodogram.case import Case
from nodogram.imaging.prepare import prepare
from nodogram.imaging.volume_file import read_mask_file, read_volume_file
from nodogram.radiomics.dictionary import DEFINITIONS
from nodogram.radiomics.extract import extract
from nodogram.settings import FeatureClass, ImagingSettings, ModelSettings, NetworkSettings, RadiomicsSettings

GOLDEN_TAGS = Path(__file__).parents[2] / "golden" / "ibsi1_tags.csv"
VOXEL_COUNT = 74
# What PyRadiomics defines otherwise than IBSI, and by how much, given the number of voxels. The longest axis is off by the
# same factor as the other two, but stays within its tolerance.
TRANSFORMS: Mapping[str, tuple[float, float]] = {
    "": (1.0, 0.0),
    "minus3": (1.0, -3.0),  # kurtosis, not excess kurtosis
    "sample_covariance": (math.sqrt(VOXEL_COUNT / (VOXEL_COUNT - 1)), 0.0),  # variances over N, not N - 1
}
OUTSIDE_TOLERANCE = {"stat_kurt", "morph_pca_min_axis", "morph_pca_least_axis"}


@dataclass(frozen=True)
class Tag:
    tag: str
    full_name: str
    transform: str


@dataclass(frozen=True)
class Consensus:
    value: float
    tolerance: float

    def admits(self, value: float) -> bool:
        """Within the tolerance, to which half a unit of the third digit is added, as consensus values have only three."""
        half_unit = 0.5 * 10.0 ** (math.floor(math.log10(abs(self.value))) - 2)
        return abs(value - self.value) <= self.tolerance + half_unit * (1 + 1e-9)


def tags() -> tuple[Tag, ...]:
    with GOLDEN_TAGS.open(newline="") as file:
        return tuple(
            Tag(row["tag"], f"radiomics.original_{row['class']}_{row['name']}", row["transform"])
            for row in csv.DictReader(file)
        )


def consensus(folder: Path) -> dict[str, Consensus]:
    with (folder / "reference_values.csv").open(newline="") as file:
        return {
            row["tag"]: Consensus(float(row["reference value"]), float(row["tolerance"]))
            for row in csv.DictReader(file, delimiter=";")
            if row["reference value"]
        }


def native(convention: Literal["pyradiomics", "ibsi"]) -> ModelSettings:
    """No resampling, no range, one gray level per unit."""
    return ModelSettings(
        imaging=ImagingSettings(
            spacing_mm=None,
            image_interpolation="linear",
            mask_interpolation="nearest",
            hu_range=None,
            hu_range_applied="resegment",
        ),
        radiomics=RadiomicsSettings(
            enabled=True,
            convention=convention,
            padding="full",
            image_types=("Original",),
            log_sigma_mm=(),
            wavelet="coif1",
            feature_classes=get_args(FeatureClass),
            bin_width_hu=1,
            minimum_voxel_count=1,
        ),
        network=NetworkSettings(
            enabled=False,
            crop="fixed_mm",
            crop_size_mm=80,
            crop_margin_mm=5,
            resize_px=256,
            input_px=224,
            window_hu=(-125, 225),
        ),
    )


def features(folder: Path, convention: Literal["pyradiomics", "ibsi"]) -> dict[str, float]:
    volume = read_volume_file(folder / "phantom.nii.gz").volume
    mask = read_mask_file(folder / "mask.nii.gz")
    assert mask.voxel_count == VOXEL_COUNT
    assert mask.geometry.spacing_mm == (2.0, 2.0, 2.0)
    settings = native(convention)
    vector = extract(prepare(Case("phantom", volume, mask), settings), settings)
    return dict(zip(vector.names, vector.values.tolist(), strict=True))


@pytest.fixture(scope="module")
def phantom(test_data: Path) -> Path:
    return test_data / "radiomics" / "ibsi1_digital_phantom"


def test_every_feature_that_ibsi_defines_answers_to_one_tag() -> None:
    defined = {f"radiomics.original_{each.feature_class}_{each.name}" for each in DEFINITIONS if each.ibsi_code}
    rows = tags()
    assert len(rows) == len({row.tag for row in rows}) == len({row.full_name for row in rows}) == 102
    assert {row.full_name for row in rows} == defined
    assert {row.transform for row in rows} == set(TRANSFORMS)


def test_digital_phantom_as_pyradiomics_defines_it(phantom: Path) -> None:
    values, expected = features(phantom, "pyradiomics"), consensus(phantom)
    assert {row.tag for row in tags() if not expected[row.tag].admits(values[row.full_name])} == OUTSIDE_TOLERANCE


def test_the_exceptions_are_known_transforms(phantom: Path) -> None:
    values, expected = features(phantom, "pyradiomics"), consensus(phantom)
    for row in tags():
        factor, offset = TRANSFORMS[row.transform]
        assert expected[row.tag].admits(factor * values[row.full_name] + offset), row


def test_digital_phantom_in_the_convention_of_ibsi(phantom: Path) -> None:
    values, expected = features(phantom, "ibsi"), consensus(phantom)
    assert {row.tag for row in tags() if not expected[row.tag].admits(values[row.full_name])} == set()
