"""PyRadiomics' parameter files: read as PyRadiomics reads them, to the last digit, or refused by key."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from nodogram.errors import Reason, SettingsError
from nodogram.imaging.load import load_case
from nodogram.imaging.prepare import prepare
from nodogram.radiomics.extract import extract
from nodogram.radiomics.manifest import feature_names
from nodogram.radiomics.parameter_file import Parameters, read_parameter_file

RESAMPLED = """
setting:
  binWidth: 25
  label: 1
  interpolator: 'sitkBSpline'  # enumerated
  resampledPixelSpacing: [1.5, 1, 2]
  weightingNorm:
imageType:
  Original: {}
  LoG:
    sigma: [1.0, 3.5]
  Wavelet: {}
  Exponential: {}
featureClass:
  shape:
  shape2D:
  firstorder: []
  glcm:
  ngtdm:
"""
RESEGMENTED = """
setting:
  binCount: 32
  resegmentRange: [180, -20]
  minimumROISize: 50
imageType:
  Wavelet: {wavelet: haar}
  Original: {}
featureClass:
  firstorder:
  glcm: ['Idmn', 'Contrast']
  shape:
"""
CROPPED = """
setting: {binWidth: 10, preCrop: true, resegmentRange: [-2, 2], resegmentMode: sigma, sigma: [2.0]}
imageType: {Original: {}, Logarithm: {}, LoG: {}}
featureClass: {gldm: , glszm: [ZonePercentage], glrlm: }
"""
OWN_SPACING = """
setting: {resampledPixelSpacing: [0, 0, 0], interpolator: 2, additionalInfo: false}
"""


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    rng = np.random.default_rng(4)
    hu = ndimage.gaussian_filter(rng.normal(size=(30, 60, 64)), 1.2) * 400 + 60
    z, y, x = np.indices(hu.shape)
    region = ((z - 15) / 6) ** 2 + ((y - 28) / 13) ** 2 + ((x - 30) / 15) ** 2 < 1
    region &= ndimage.gaussian_filter(rng.normal(size=hu.shape), 2) > -0.08
    folder = tmp_path_factory.mktemp("patient")
    for name, array in (("ct", np.rint(hu).astype(np.int16)), ("roi", region.astype(np.uint8))):
        image: Any = sitk.GetImageFromArray(array)
        image.SetSpacing((0.9, 0.8, 2.5))
        image.SetOrigin((-30.0, 10.5, 7.0))
        sitk.WriteImage(image, folder / f"{name}.nii.gz")
    return folder / "ct.nii.gz", folder / "roi.nii.gz"


def read(text: str, folder: Path) -> Parameters:
    path = folder / "parameters.yaml"
    path.write_text(text, encoding="utf-8")
    return read_parameter_file(path)


# PyRadiomics' checker of parameter files loads its extensions in a way that Python 3.12 no longer has.
@pytest.mark.filterwarnings(r"ignore:the load_module\(\) method:DeprecationWarning")
@pytest.mark.parametrize("text", [RESAMPLED, RESEGMENTED, CROPPED, OWN_SPACING], ids=["resampled", "range", "sigma", "own"])
def test_values_are_those_of_pyradiomics_with_the_same_file(text: str, patient: tuple[Path, Path], tmp_path: Path) -> None:
    image, roi = patient
    parameters = read(text, tmp_path)
    logging.getLogger("radiomics").setLevel(logging.CRITICAL + 1)
    extractor = RadiomicsFeatureExtractor(str(tmp_path / "parameters.yaml"), additionalInfo=False)
    with np.errstate(all="ignore"):
        expected = {name: float(value) for name, value in extractor.execute(str(image), str(roi)).items()}
    found = extract(prepare(load_case("x", image, roi), parameters.settings), parameters.settings, parameters.names)
    assert dict(zip((n.removeprefix("radiomics.") for n in found.names), found.values.tolist(), strict=True)) == expected


def test_an_empty_file_is_pyradiomics_with_its_defaults(tmp_path: Path) -> None:
    parameters = read("", tmp_path)
    radiomics, imaging = parameters.settings.radiomics, parameters.settings.imaging
    assert (radiomics.convention, radiomics.padding, radiomics.image_types) == ("pyradiomics", "full", ("Original",))
    assert (radiomics.bin_width_hu, radiomics.minimum_voxel_count) == (25, 1)
    assert (imaging.spacing_mm, imaging.hu_range, imaging.outlier_sigmas) == (None, None, None)
    assert parameters.names == feature_names(radiomics)
    assert len(parameters.names) == 107


def test_spacing_is_turned_from_xyz_to_zyx_and_filters_get_what_pyradiomics_gives_them(tmp_path: Path) -> None:
    settings = read(RESAMPLED, tmp_path).settings
    assert settings.imaging.spacing_mm == (2.0, 1.0, 1.5)
    assert settings.radiomics.padding == "pyradiomics"
    assert read("setting: {preCrop: true}", tmp_path).settings.radiomics.padding == "pyradiomics"
    # Without an interpolator PyRadiomics leaves the spacing alone.
    idle = read("setting: {resampledPixelSpacing: [1, 1, 1], interpolator: }", tmp_path).settings
    assert (idle.imaging.spacing_mm, idle.radiomics.padding) == (None, "full")


def test_settings_without_effect_are_ignored(tmp_path: Path) -> None:
    idle = "correctMask: true, geometryTolerance: 1e-3, normalizeScale: 3, normalize: false, padDistance: 10, lbp2DRadius: 2"
    assert read(f"setting: {{{idle}}}\nvoxelSetting: {{kernelRadius: 2}}", tmp_path) == read("", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("setting: {normalize: true}", "setting.normalize is True; only False"),
        ("setting: {removeOutliers: 3}", "setting.removeOutliers is 3; only null"),
        ("setting: {force2D: true}", "setting.force2D"),
        ("setting: {weightingNorm: euclidean}", "setting.weightingNorm"),
        ("setting: {distances: [1, 2]}", "setting.distances"),
        ("setting: {voxelArrayShift: 1000}", "setting.voxelArrayShift is 1000; only 0"),
        ("setting: {symmetricalGLCM: false}", "setting.symmetricalGLCM"),
        ("setting: {gldm_a: 1}", "setting.gldm_a"),
        ("setting: {label: 2}", "setting.label is 2; only 1"),
        ("setting: {resegmentShape: true}", "setting.resegmentShape"),
        ("setting: {resegmentRange: [0.5, 1], resegmentMode: relative}", "setting.resegmentMode"),
        ("setting: {resegmentRange: [-1, 3], resegmentMode: sigma}", "symmetric"),
        ("setting: {resegmentRange: [-100]}", "setting.resegmentRange"),
        ("setting: {resampledPixelSpacing: [1, 1, 0]}", "setting.resampledPixelSpacing"),
        ("setting: {resampledPixelSpacing: [1, 1]}", "setting.resampledPixelSpacing"),
        ("setting: {resampledPixelSpacing: [1, 1, 1], interpolator: sitkGaussian}", "sitkGaussian"),
        ("setting: {resampledPixelSpacing: [1, 1, 1], padDistance: 10}", "setting.padDistance is 10; only 5"),
        ("setting: {binWidth: .nan}", "setting.binWidth"),
        ("setting: {binwidth: 25}", "setting.binwidth is unknown"),
        ("imageType: {LBP3D: {}}", "imageType.LBP3D"),
        ("imageType: {LoG: {}}", "imageType.LoG has no sigma"),
        ("imageType: {Wavelet: {level: 2}}", "imageType.Wavelet.level is 2; only 1"),
        ("imageType: {Wavelet: {start_level: 1}}", "imageType.Wavelet.start_level"),
        ("imageType: {Wavelet: {wavelet: sym4}}", "'coif1', 'haar' or 'db2'"),
        ("imageType: {Original: {binWidth: 5}}", "imageType.Original.binWidth is not supported"),
        ("imageType: {Gradient: {gradientUseSpacing: false}}", "gradientUseSpacing"),
        ("featureClass: {glcm: [Idmn, Homogeneity1]}", "glcm.Homogeneity1"),
        ("featureClass: {shape: [Volume]}", "shape.Volume"),
        ("featureClass: {texture: }", "featureClass.texture"),
        ("inputImage: {Original: {}}", "inputImage is unknown"),
        ("setting: {binWidth: 25, binWidth: 30}", "not YAML"),
        ("[1, 2]", "the file"),
        ("setting: &a [*a, *a]", "setting"),
    ],
)
def test_what_would_give_other_numbers_is_refused_by_key(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(text, tmp_path)
    assert caught.value.reason is Reason.SETTINGS_INVALID
    assert words in caught.value.message
    assert len(caught.value.message) < 500


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml"):
        read_parameter_file(tmp_path / "absent.yaml")
