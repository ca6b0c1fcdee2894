"""The convention ``pyradiomics`` against PyRadiomics itself: run plainly here, and its values tabulated elsewhere."""

from __future__ import annotations

import csv
import logging
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from nodogram.case import Case
from nodogram.geometry import Geometry
from nodogram.imaging.load import load_case
from nodogram.imaging.prepare import prepare
from nodogram.imaging.volume_file import read_mask_file
from nodogram.radiomics.extract import extract
from nodogram.settings import ModelSettings
from nodogram.volume import Mask, Volume

SIGMAS = (1.0, 2.0, 3.0)
IMAGE_TYPES = ("Original", "Wavelet", "LoG", "Square", "SquareRoot", "Logarithm", "Exponential", "Gradient")
NETWORK_OFF = {
    "enabled": False,
    "crop": "fixed_mm",
    "crop_size_mm": 80,
    "crop_margin_mm": 5,
    "resize_px": 256,
    "input_px": 224,
    "window_hu": (-125, 225),
}


def model(spacing_mm: Any, interpolation: str, clip: bool, padding: str) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "imaging": {
                "spacing_mm": spacing_mm,
                "image_interpolation": interpolation,
                "mask_interpolation": "nearest",
                "hu_range": (-125, 225) if clip else "none",
                "hu_range_applied": "clip_before_resampling",
            },
            "radiomics": {
                "enabled": True,
                "convention": "pyradiomics",
                "padding": padding,
                "image_types": IMAGE_TYPES,
                "log_sigma_mm": SIGMAS,
                "wavelet": "coif1",
                "feature_classes": ("shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"),
                "bin_width_hu": 25,
                "minimum_voxel_count": 1,
            },
            "network": NETWORK_OFF,
        }
    )


PIPELINES = {
    "native": model("native", "linear", False, "full"),
    "win_resample_bspline": model((1, 1, 1), "bspline", True, "pyradiomics"),
    "win_resample_linear": model((1, 1, 1), "linear", True, "pyradiomics"),
    "paper_whole": model((1, 1, 1), "linear", True, "full"),
}


def image_of(array: NDArray[Any], geometry: Geometry) -> Any:
    image: Any = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction.ravel().tolist())
    return image


def case_of(image: Any, mask: Any) -> Case:
    geometry = Geometry(image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), np.array(image.GetDirection()))
    array = sitk.GetArrayFromImage(image)
    return Case("case", Volume(array.astype(np.float32), geometry), Mask(sitk.GetArrayFromImage(mask) == 1, geometry))


def plain(case: Case, settings: ModelSettings) -> dict[str, float]:
    """PyRadiomics as its own users run it, on the scan as a file would give it."""
    logging.getLogger("radiomics").setLevel(logging.CRITICAL + 1)
    imaging = settings.imaging
    array = np.rint(case.volume.array).astype(np.int16)
    if imaging.hu_range is not None:
        array = np.clip(array, *(int(b) for b in imaging.hu_range))
    image = image_of(array, case.volume.geometry)
    mask = image_of(case.mask.array.astype(np.uint8), case.mask.geometry)
    options: dict[str, Any] = {"binWidth": 25, "additionalInfo": False}
    if imaging.spacing_mm is not None and settings.radiomics.padding == "pyradiomics":
        interpolator = sitk.sitkBSpline if imaging.image_interpolation == "bspline" else sitk.sitkLinear
        options |= {"resampledPixelSpacing": list(imaging.spacing_mm[::-1]), "interpolator": interpolator}
    extractor = RadiomicsFeatureExtractor(**options)
    extractor.disableAllImageTypes()
    extractor.enableImageTypes(**{name: {"sigma": list(SIGMAS)} if name == "LoG" else {} for name in IMAGE_TYPES})
    with np.errstate(all="ignore"):
        found = extractor.execute(image, mask)
    return {f"radiomics.{name}": float(value) for name, value in found.items()}


# NumPy sums in the order the vector units of a processor suggest: tables made on another one may differ in the last digits.
OTHER_PROCESSOR = 1e-10


def assert_equal(case: Case, settings: ModelSettings, expected: dict[str, float], rounding: float = 0.0) -> None:
    """No difference at all, but for LoG, where 1e-6 of the value or of the image's deviation in the region is allowed."""
    vector = extract(prepare(case, settings), settings)
    found = dict(zip(vector.names, vector.values.tolist(), strict=True))
    assert found.keys() == expected.keys()
    exact = {name for name in found if "log-sigma" not in name}
    allowed = {name: rounding * max(abs(expected[name]), 1.0) for name in exact}
    assert {name: (found[name], expected[name]) for name in exact if abs(found[name] - expected[name]) > allowed[name]} == {}
    for name in found.keys() - exact:
        image = name.split("_")[0]
        deviation = np.sqrt(expected[f"{image}_firstorder_Variance"]) if "firstorder" in name else 0.0
        assert abs(found[name] - expected[name]) <= 1e-6 * max(abs(expected[name]), deviation), name


def tabulated(path: Path, pipeline: str) -> dict[str, float]:
    with path.open(newline="") as file:
        return {f"radiomics.{row['feature']}": float(row[pipeline]) for row in csv.DictReader(file)}


@cache
def sample(folder: Path, patient: str) -> Case:
    return case_of(sitk.ReadImage(folder / f"{patient}_image.nrrd"), sitk.ReadImage(folder / f"{patient}_label.nrrd"))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_tabulated_values_of_a_lung_tumor(test_data: Path, pipeline: str) -> None:
    radiomics = test_data / "radiomics"
    expected = tabulated(radiomics / "golden" / "lung1.csv", pipeline)
    assert len(expected) == 1595
    assert_equal(sample(radiomics / "pyradiomics", "lung1"), PIPELINES[pipeline], expected, OTHER_PROCESSOR)


@pytest.mark.parametrize("patient", ["STS_002", "STS_008"])
def test_tabulated_values_of_sarcomas_from_dicom_and_rtstruct(test_data: Path, patient: str, tmp_path: Path) -> None:
    with tarfile.open(test_data / "sts" / f"{patient}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    scan = load_case(patient, tmp_path / patient / "CT" / "image", tmp_path / patient / "CT" / "mask")
    # The table was computed from a NIfTI copy, whose header holds spacing and axes in single precision.
    stored = read_mask_file(test_data / "radiomics" / "sts_nifti_masks" / f"{patient}_CT_mask.nii.gz")
    np.testing.assert_array_equal(scan.mask.array, stored.array)
    case = Case(patient, Volume(scan.volume.array, stored.geometry), stored)
    for pipeline, settings in PIPELINES.items():
        table = tabulated(test_data / "radiomics" / "golden" / f"{patient}.csv", pipeline)
        assert_equal(case, settings, table, OTHER_PROCESSOR)


@pytest.mark.parametrize("patient", ["brain1", "brain2", "breast1", "lung1"])
@pytest.mark.parametrize("pipeline", ["native", "resampled"])
def test_samples_of_pyradiomics(test_data: Path, patient: str, pipeline: str) -> None:
    case = sample(test_data / "radiomics" / "pyradiomics", patient)
    settings = (
        model("native", "linear", False, "full") if pipeline == "native" else model((2, 1, 1), "bspline", False, "pyradiomics")
    )
    assert_equal(case, settings, plain(case, settings))


def synthetic(seed: int) -> Case:
    """Textured tissue with air and bone; regions of 0.3 to 60 cm³: oblique, anisotropic, in parts, at the border, one slice."""
    rng = np.random.default_rng(seed)
    kind = ("whole", "parts", "border", "one slice", "whole")[seed % 5]
    spacing = (float(rng.choice([0.625, 1.0, 1.25, 2.5, 3.27, 5.0])), *[float(rng.choice([0.49, 0.703125, 0.9765625]))] * 2)
    volume_cm3 = float(np.exp(rng.uniform(np.log(0.3), np.log(60 if seed % 4 == 0 else 8))))
    radius_mm = (volume_cm3 * 1000 * 3 / 4 / np.pi) ** (1 / 3)
    size = [int(np.ceil((2 * radius_mm + rng.uniform(8, 20)) / s)) for s in spacing]
    z, y, x = (max(n, 8) for n in size)
    texture = ndimage.gaussian_filter(rng.standard_normal((z, y, x)), [2 / s for s in spacing])
    array = 60 + 45 * texture / texture.std() + rng.normal(0, 12, (z, y, x))
    array[:, : y // 8] = -1000
    array[z // 2 :, :, : x // 10] = 900
    center = [n / 2 + rng.uniform(-0.5, 0.5) for n in (z, y, x)]
    if kind == "border":
        center[seed % 3] = 0.25 * (z, y, x)[seed % 3]
    grid = np.indices((z, y, x)).reshape(3, -1)
    distance = np.sqrt(sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, spacing, strict=True))).reshape(z, y, x)
    region = distance + 1.5 * texture / texture.std() < radius_mm
    if kind == "parts":
        region &= np.abs(np.arange(x) - x / 2) > 2
    if kind == "one slice":
        region &= (np.arange(z) == z // 2)[:, None, None]
    tilt = sitk.Euler3DTransform((0, 0, 0), *(rng.uniform(-0.3, 0.3, 3) if seed % 3 == 0 else (0.0, 0.0, 0.0)))
    geometry = Geometry((z, y, x), spacing, tuple(rng.uniform(-200, 200, 3)), np.array(tilt.GetMatrix()))
    return Case(str(seed), Volume(np.clip(np.rint(array), -1024, 3071).astype(np.float32), geometry), Mask(region, geometry))


@pytest.mark.parametrize("seed", range(20))
def test_generated_cases(seed: int) -> None:
    case = synthetic(seed)
    name = tuple(PIPELINES)[seed % 3]
    assert_equal(case, PIPELINES[name], plain(case, PIPELINES[name]))
