from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy import ndimage

from nodogram.case import Case
from nodogram.errors import FeatureError, Reason, RegionError, SettingsError
from nodogram.features import FeatureVector
from nodogram.geometry import Geometry
from nodogram.imaging.prepare import PreparedCase, prepare
from nodogram.imaging.resample import resample
from nodogram.radiomics.extract import compute_features, extract
from nodogram.radiomics.manifest import feature_names
from nodogram.settings import ModelSettings
from nodogram.volume import Mask, Volume

CLASSES = ("shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
TEXTURE = CLASSES[1:]
PAPER = ("Original", "Wavelet", "LoG", "Gradient")
NONLINEAR = ("Square", "SquareRoot", "Logarithm", "Exponential")
SIGMAS = (1.0, 2.0, 3.0)


def model(
    *image_types: str,
    applied: str = "resegment",
    sigmas: tuple[float, ...] = SIGMAS,
    wavelet: str = "coif1",
    minimum: int = 64,
) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "imaging": {
                "spacing_mm": (1, 1, 1),
                "image_interpolation": "linear",
                "mask_interpolation": "linear",
                "hu_range": (-125, 225),
                "hu_range_applied": applied,
            },
            "radiomics": {
                "enabled": True,
                "image_types": image_types,
                "log_sigma_mm": sigmas if "LoG" in image_types else (),
                "wavelet": wavelet,
                "feature_classes": CLASSES,
                "bin_width_hu": 25,
                "minimum_voxel_count": minimum,
            },
            "network": {
                "enabled": False,
                "crop": "fixed_mm",
                "crop_size_mm": 80,
                "crop_margin_mm": 5,
                "resize_px": 256,
                "input_px": 224,
                "window_hu": (-125, 225),
            },
        }
    )


@cache
def tumor() -> Case:
    """Textured tissue with air, bone and an irregular region of about 3 cm³."""
    rng = np.random.default_rng(11)
    spacing = (1.25, 0.8, 0.8)
    geometry = Geometry((120, 176, 172), spacing, (-60.0, -40.0, 100.0), np.eye(3))
    coarse, fine = (ndimage.gaussian_filter(rng.standard_normal(geometry.shape), sigma) for sigma in (3, 1))
    array = 60 + 45 * coarse / coarse.std() + 20 * fine / fine.std()
    array[:, :20] = -1000
    array[:, 93:99, 83:90] = -700
    array[:, 110:120, 60:80] = 900
    distance = sum(
        (((np.arange(n) - n / 2) * s) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, s) in enumerate(zip(geometry.shape, spacing, strict=True))
    )
    region = np.sqrt(distance) + 2 * coarse / coarse.std() < 8.0
    return Case("tumor", Volume(np.round(array).astype(np.float32), geometry), Mask(region, geometry))


def image_of(array: NDArray[np.generic], geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_mm[::-1])
    return image


def plain_extractor(
    volume: Volume, region: NDArray[np.bool_], settings: ModelSettings, classes: tuple[str, ...]
) -> dict[str, float]:
    """PyRadiomics as its own users run it, on the whole of the arrays given."""
    extractor = RadiomicsFeatureExtractor(binWidth=settings.radiomics.bin_width_hu, additionalInfo=False)
    options = {"LoG": {"sigma": list(settings.radiomics.log_sigma_mm)}, "Wavelet": {"wavelet": settings.radiomics.wavelet}}
    extractor.disableAllImageTypes()
    extractor.enableImageTypes(**{name: options.get(name, {}) for name in settings.radiomics.image_types})
    extractor.disableAllFeatures()
    extractor.enableFeaturesByName(**{name: [] for name in classes})
    image = image_of(volume.array.astype(np.float64), volume.geometry)
    found = extractor.execute(image, image_of(region.astype(np.uint8), volume.geometry))
    return {f"radiomics.{name}": float(value) for name, value in found.items()}


def whole_image_features(
    volume: Volume, mask: Mask, intensity_mask: NDArray[np.bool_], settings: ModelSettings
) -> FeatureVector:
    names = feature_names(settings.radiomics)
    found = plain_extractor(volume, intensity_mask, settings, TEXTURE)
    shape_only = model("Original", sigmas=())
    found |= plain_extractor(volume, mask.array, shape_only, ("shape",))
    return FeatureVector(names, np.array([found[name] for name in names]))


def scales(prepared: PreparedCase, names: tuple[str, ...], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest of the value and its image's standard deviation in the region: what a deviation is measured by."""
    deviation = float(prepared.volume.array[prepared.intensity_mask].std())
    first_order = np.array(["_firstorder_" in name for name in names])
    return np.maximum(np.abs(values), np.where(first_order, deviation, 0.0))


@cache
def prepared_paper() -> tuple[PreparedCase, ModelSettings, FeatureVector]:
    settings = model(*PAPER)
    prepared = prepare(tumor(), settings)
    return prepared, settings, extract(prepared, settings)


def test_agrees_with_the_plain_extractor_on_the_prepared_image() -> None:
    prepared, settings, vector = prepared_paper()
    assert prepared.mask.voxel_count > np.count_nonzero(prepared.intensity_mask)
    expected = whole_image_features(prepared.volume, prepared.mask, prepared.intensity_mask, settings)
    assert len(vector) == 107 + 744 + 3 * 93 + 93
    log = np.array(["log-sigma" in name for name in vector.names])
    np.testing.assert_array_equal(vector.values[~log], expected.values[~log])
    scale = scales(prepared, vector.names, expected.values)
    assert (np.abs(vector.values - expected.values) <= 1e-6 * scale).all()


@pytest.mark.parametrize("applied", ["resegment", "clip_before_resampling"])
def test_features_of_the_box_are_those_of_the_whole_volume(applied: str) -> None:
    settings = model(*PAPER, applied=applied)
    prepared = prepare(tumor(), settings)
    vector = extract(prepared, settings)
    volume, mask = resample(tumor().volume, tumor().mask, settings.imaging, (1e4, 1e4, 1e4))
    intensity_mask = mask.array & (volume.array >= -125) & (volume.array <= 225)
    assert np.count_nonzero(intensity_mask) == np.count_nonzero(prepared.intensity_mask)
    assert volume.array.size > 2 * prepared.volume.array.size
    expected = whole_image_features(volume, mask, intensity_mask, settings)
    log = np.array(["log-sigma" in name for name in vector.names])
    np.testing.assert_array_equal(vector.values[~log], expected.values[~log])
    scale = scales(prepared, vector.names, expected.values)
    assert (np.abs(vector.values - expected.values) <= 1e-6 * scale).all()


@pytest.mark.parametrize("wavelet", ["haar", "db2"])
def test_the_margin_suffices_for_every_wavelet(wavelet: str) -> None:
    settings = model("Wavelet", wavelet=wavelet, sigmas=())
    prepared = prepare(tumor(), settings)
    volume, mask = resample(tumor().volume, tumor().mask, settings.imaging, (1e4, 1e4, 1e4))
    intensity_mask = mask.array & (volume.array >= -125) & (volume.array <= 225)
    expected = whole_image_features(volume, mask, intensity_mask, settings)
    np.testing.assert_array_equal(extract(prepared, settings).values, expected.values)


def test_images_scaled_by_their_maximum_always_see_the_whole_prepared_box() -> None:
    settings = model("Original", "LoG", *NONLINEAR)
    prepared = prepare(tumor(), settings)
    vector = extract(prepared, settings)
    plain = plain_extractor(prepared.volume, prepared.intensity_mask, model(*NONLINEAR), TEXTURE)
    names = tuple(plain)
    assert len(names) == 4 * 93
    np.testing.assert_array_equal(vector.select(names).values, np.array(list(plain.values())))
    # Alone they get the same box as beside others, because the margin comes from the settings and not from the names.
    np.testing.assert_array_equal(extract(prepared, settings, names[::7]).values, vector.select(names[::7]).values)


def test_a_selection_is_bit_for_bit_that_of_everything_in_the_order_asked_for() -> None:
    prepared, settings, vector = prepared_paper()
    order = np.random.default_rng(3).permutation(len(vector))
    for chosen in (order[:15], order[15:16], order[40:43]):
        names = tuple(vector.names[i] for i in chosen)
        subset = extract(prepared, settings, names)
        assert subset.names == names
        np.testing.assert_array_equal(subset.values, vector.values[chosen])
    assert len(extract(prepared, settings, ())) == 0


def test_every_single_class_and_image_can_be_asked_for_alone() -> None:
    prepared, settings, vector = prepared_paper()
    seen: dict[str, str] = {}
    for name in vector.names:
        seen.setdefault(name.rsplit("_", 1)[0], name)
    for name in list(seen.values())[::5]:
        assert extract(prepared, settings, [name]).values[0] == vector.select([name]).values[0]


def test_threads_do_not_disturb_each_other() -> None:
    prepared, settings, vector = prepared_paper()
    names = vector.names[::31]
    expected = vector.select(names).values
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: extract(prepared, settings, names), range(8)):
            np.testing.assert_array_equal(found.values, expected)


def test_pyradiomics_is_quiet_and_the_root_logger_untouched(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    prepared, settings, vector = prepared_paper()
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with caplog.at_level(logging.DEBUG):
        extract(prepared, settings, [name for name in vector.names if name.startswith("radiomics.original_glcm")])
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert (root.level, list(root.handlers)) == before


def test_shape_comes_from_the_outline_and_intensity_from_the_soft_tissue_in_it() -> None:
    prepared, _, vector = prepared_paper()
    # With 1 mm voxels PyRadiomics' voxel volume is the count, and its energy the plain sum of squares.
    assert vector.select(["radiomics.original_shape_VoxelVolume"]).values[0] == prepared.mask.voxel_count
    values = prepared.volume.array[prepared.intensity_mask].astype(np.float64)
    found = vector.select([f"radiomics.original_firstorder_{name}" for name in ("Energy", "Mean", "Minimum", "Maximum")]).values
    np.testing.assert_allclose(found, [(values**2).sum(), values.mean(), values.min(), values.max()], rtol=1e-12)


def test_unknown_names_other_settings_and_small_regions_are_refused() -> None:
    prepared, settings, _ = prepared_paper()
    with pytest.raises(FeatureError, match=r"radiomics\.square_glcm_Contrast") as unknown:
        extract(prepared, settings, ["radiomics.square_glcm_Contrast"])
    assert unknown.value.reason is Reason.FEATURE_UNKNOWN
    with pytest.raises(SettingsError) as other:
        extract(prepared, model("Original"))
    assert other.value.reason is Reason.SETTINGS_INVALID
    stricter = model(*PAPER, minimum=10**6)
    relabeled = PreparedCase(**{**vars(prepared), "settings_digest": stricter.digest()})
    with pytest.raises(RegionError, match="at least 1000000 are required") as small:
        extract(relabeled, stricter)
    assert small.value.reason is Reason.ROI_TOO_SMALL


def flat_case(shape: tuple[int, int, int]) -> Case:
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    region = np.zeros(shape, bool)
    region[shape[0] // 2, 4:12, 4:12] = True
    return Case("flat", Volume(np.full(shape, 30, np.float32), geometry), Mask(region, geometry))


def test_undefined_features_are_named_whether_nan_or_never_made() -> None:
    settings = model("Original", "LoG")
    prepared = prepare(flat_case((3, 16, 16)), settings)
    name = "radiomics.log-sigma-3-0-mm-3D_firstorder_Mean"  # too thin for the filter
    with pytest.raises(FeatureError, match=name.replace(".", r"\.")) as caught:
        extract(prepared, settings, ["radiomics.original_firstorder_Mean", name])
    assert caught.value.reason is Reason.FEATURE_NOT_FINITE
    assert extract(prepared, settings, ["radiomics.original_firstorder_Mean"]).values.tolist() == [30.0]


def test_a_feature_pyradiomics_fails_on_is_not_a_number() -> None:
    array, region = np.full((1, 1, 4), 7.0), np.array([[[True, False, True, False]]])
    found = compute_features(array, region, (1.0, 1.0, 1.0), {"glcm": ["Contrast"]}, {"binWidth": 25})
    assert np.isnan(found["glcm_Contrast"])
