from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from nodogram.case import Case
from nodogram.errors import FeatureError, NodogramError, Reason, RegionError, SettingsError, SurroundingsError
from nodogram.features import FeatureVector
from nodogram.geometry import Geometry
from nodogram.imaging.prepare import PreparedCase, prepare
from nodogram.radiomics.extract import discretize, extract
from nodogram.radiomics.manifest import feature_names
from nodogram.settings import ModelSettings, RadiomicsSettings
from nodogram.volume import Mask, Volume

CLASSES = ("shape", "firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm")
PAPER = ("Original", "Wavelet", "LoG", "Gradient")
NONLINEAR = ("Square", "SquareRoot", "Logarithm", "Exponential")


def model(
    *image_types: str,
    convention: str = "ibsi",
    applied: str = "resegment",
    sigmas: tuple[float, ...] = (1.0, 2.0, 3.0),
    minimum: int = 64,
    hu_range: tuple[float, float] | str = (-125, 225),
    outlier_sigmas: float | None = None,
    spacing_mm: float = 1.0,
    **bins: float,
) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "imaging": {
                "spacing_mm": (spacing_mm,) * 3,
                "image_interpolation": "linear",
                "mask_interpolation": "linear" if convention == "ibsi" else "nearest",
                "hu_range": hu_range,
                "hu_range_applied": applied,
                "outlier_sigmas": outlier_sigmas,
            },
            "radiomics": {
                "enabled": True,
                "convention": convention,
                "padding": "full",
                "image_types": image_types,
                "log_sigma_mm": sigmas if "LoG" in image_types else (),
                "wavelet": "coif1",
                "feature_classes": CLASSES,
                "minimum_voxel_count": minimum,
                **(bins or {"bin_width_hu": 25}),
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
    geometry = Geometry((80, 120, 116), spacing, (-60.0, -40.0, 100.0), np.eye(3))
    coarse, fine = (ndimage.gaussian_filter(rng.standard_normal(geometry.shape), sigma) for sigma in (3, 1))
    array = 60 + 45 * coarse / coarse.std() + 20 * fine / fine.std()
    array[:, :20] = -1000
    array[:, 63:69, 53:60] = -700
    array[:, 80:90, 40:60] = 900
    distance = sum(
        (((np.arange(n) - n / 2) * s) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, s) in enumerate(zip(geometry.shape, spacing, strict=True))
    )
    region = np.sqrt(distance) + 2 * coarse / coarse.std() < 8.0
    return Case("tumor", Volume(np.round(array).astype(np.float32), geometry), Mask(region, geometry))


@cache
def prepared_paper() -> tuple[PreparedCase, ModelSettings, FeatureVector]:
    everything = model(*PAPER)
    prepared = prepare(tumor(), everything)
    return prepared, everything, extract(prepared, everything)


def test_a_selection_is_bit_for_bit_that_of_everything_in_the_order_asked_for() -> None:
    prepared, everything, vector = prepared_paper()
    order = np.random.default_rng(3).permutation(len(vector))
    for chosen in (order[:15], order[15:16], order[40:43]):
        names = tuple(vector.names[i] for i in chosen)
        subset = extract(prepared, everything, names)
        assert subset.names == names
        np.testing.assert_array_equal(subset.values, vector.values[chosen])
    assert len(extract(prepared, everything, ())) == 0


def test_every_single_class_and_image_can_be_asked_for_alone() -> None:
    prepared, everything, vector = prepared_paper()
    seen: dict[str, str] = {}
    for name in vector.names:
        seen.setdefault(name.rsplit("_", 1)[0], name)
    for name in list(seen.values())[::5]:
        assert extract(prepared, everything, [name]).values[0] == vector.select([name]).values[0]


def test_the_margin_kept_changes_nothing() -> None:
    # Another filter in the settings widens the box that is kept; the values of the first must not notice.
    for convention in ("ibsi", "pyradiomics"):
        narrow, wide = (
            model("Wavelet", "Gradient", *NONLINEAR, *more, convention=convention, sigmas=(3.0,)) for more in ((), ("LoG",))
        )
        small, large = prepare(tumor(), narrow), prepare(tumor(), wide)
        assert small.volume.array.size < large.volume.array.size / 2
        vector = extract(small, narrow)
        np.testing.assert_array_equal(vector.values, extract(large, wide, vector.names).values)


def test_threads_do_not_disturb_each_other() -> None:
    prepared, everything, vector = prepared_paper()
    names = vector.names[::31]
    expected = vector.select(names).values
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: extract(prepared, everything, names), range(8)):
            np.testing.assert_array_equal(found.values, expected)


def test_pyradiomics_is_quiet_and_the_root_logger_untouched(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    prepared, everything, vector = prepared_paper()
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with caplog.at_level(logging.DEBUG):
        extract(prepared, everything, [name for name in vector.names if name.startswith("radiomics.original_glcm")])
    assert not caplog.records
    assert capfd.readouterr() == ("", "")
    assert (root.level, list(root.handlers)) == before


def test_shape_comes_from_the_outline_and_intensity_from_the_soft_tissue_in_it() -> None:
    prepared, _, vector = prepared_paper()
    assert prepared.mask.voxel_count > np.count_nonzero(prepared.intensity_mask)
    # With 1 mm voxels PyRadiomics' voxel volume is the count, and its energy the plain sum of squares.
    assert vector.select(["radiomics.original_shape_VoxelVolume"]).values[0] == prepared.mask.voxel_count
    values = prepared.volume.array[prepared.intensity_mask].astype(np.float64)
    found = vector.select([f"radiomics.original_firstorder_{name}" for name in ("Energy", "Mean", "Minimum", "Maximum")]).values
    np.testing.assert_allclose(found, [(values**2).sum(), values.mean(), values.min(), values.max()], rtol=1e-12)


def test_hu_are_whole_numbers_in_the_convention_of_ibsi() -> None:
    prepared, _, _ = prepared_paper()
    np.testing.assert_array_equal(prepared.volume.array, np.rint(prepared.volume.array))


def test_outliers_leave_the_intensity_mask_after_the_range() -> None:
    plain = prepare(tumor(), model("Original"))
    values = plain.volume.array[plain.intensity_mask].astype(np.float64)
    kept = np.abs(plain.volume.array - values.mean()) <= 2 * values.std()
    trimmed = prepare(tumor(), model("Original", outlier_sigmas=2.0))
    np.testing.assert_array_equal(trimmed.intensity_mask, plain.intensity_mask & kept)
    assert np.count_nonzero(trimmed.intensity_mask) < np.count_nonzero(plain.intensity_mask)


def bins(convention: str, **size: float) -> RadiomicsSettings:
    return model("Original", convention=convention, **size).radiomics


def test_bins_of_ibsi_begin_at_the_bound_and_those_of_pyradiomics_at_a_multiple_of_the_width() -> None:
    values = np.array([[[-125.0, -101, -100, 0, 24, 25, 225, 999]]])
    inside = values < 900
    found = discretize(values, inside, bins("ibsi", bin_width_hu=25), -125.0)
    assert found.tolist() == [[[1, 1, 2, 6, 6, 7, 15, 0]]]
    found = discretize(values + 60, inside, bins("pyradiomics", bin_width_hu=25), None)
    assert found.tolist() == [[[1, 2, 2, 6, 7, 7, 15, 0]]]  # -65 lies in the bin from -75
    assert discretize(values + 60, inside, bins("ibsi", bin_width_hu=25), None).tolist() == found.tolist()


def test_a_fixed_number_of_bins_divides_the_range_of_the_region() -> None:
    values = np.array([[[0.0, 2.49, 2.5, 5, 7.5, 10, 77]]])
    inside = values < 70
    for convention in ("ibsi", "pyradiomics"):
        assert discretize(values, inside, bins(convention, bin_count=4), None).tolist() == [[[1, 1, 2, 3, 4, 4, 0]]]
        assert set(discretize(np.full((1, 1, 7), 3.0), inside, bins(convention, bin_count=4), None)[inside]) <= {1, 3}


def test_bins_too_narrow_for_the_image_are_refused_with_both_figures() -> None:
    values = np.array([[[0.0, 2000.0]]])
    with pytest.raises(FeatureError, match="from 0 to 2000 need more than 1024 bins of 1") as caught:
        discretize(values, values >= 0, bins("ibsi", bin_width_hu=1), None)
    assert caught.value.reason is Reason.FEATURE_GRAY_LEVELS


def test_unknown_names_other_settings_and_small_regions_are_refused() -> None:
    prepared, everything, _ = prepared_paper()
    with pytest.raises(FeatureError, match=r"radiomics\.square_glcm_Contrast") as unknown:
        extract(prepared, everything, ["radiomics.square_glcm_Contrast"])
    assert unknown.value.reason is Reason.FEATURE_UNKNOWN
    with pytest.raises(SettingsError) as other:
        extract(prepared, model("Original"))
    assert other.value.reason is Reason.SETTINGS_INVALID
    stricter = model(*PAPER, minimum=10**6)
    relabeled = PreparedCase(**{**vars(prepared), "settings_digest": stricter.digest()})
    with pytest.raises(RegionError, match="at least 1000000 are required") as small:
        extract(relabeled, stricter)
    assert small.value.reason is Reason.ROI_TOO_SMALL


def test_a_deadline_ends_the_work() -> None:
    prepared, everything, _ = prepared_paper()
    with pytest.raises(SurroundingsError) as caught:
        extract(prepared, everything, deadline_s=time.monotonic() - 1)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert len(extract(prepared, everything, ["radiomics.original_shape_Sphericity"], deadline_s=time.monotonic() + 60)) == 1


def flat_case(shape: tuple[int, int, int]) -> Case:
    geometry = Geometry(shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))
    region = np.zeros(shape, bool)
    region[shape[0] // 2, 4:12, 4:12] = True
    return Case("flat", Volume(np.full(shape, 30, np.float32), geometry), Mask(region, geometry))


def test_undefined_features_are_named_whether_nan_or_never_made() -> None:
    thin = model("Original", "LoG", convention="pyradiomics")
    prepared = prepare(flat_case((3, 16, 16)), thin)
    name = "radiomics.log-sigma-3-0-mm-3D_firstorder_Mean"  # too thin for the filter
    with pytest.raises(FeatureError, match=name.replace(".", r"\.")) as caught:
        extract(prepared, thin, ["radiomics.original_firstorder_Mean", name])
    assert caught.value.reason is Reason.FEATURE_NOT_FINITE
    assert extract(prepared, thin, ["radiomics.original_firstorder_Mean"]).values.tolist() == [30.0]


@st.composite
def any_case(draw: st.DrawFn) -> Case:
    shape = draw(st.tuples(*[st.integers(1, 14)] * 3))
    spacing = draw(st.tuples(*[st.sampled_from([0.3, 0.49, 0.625, 1.0, 1.7, 3.0])] * 3))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    density = draw(st.sampled_from([0.02, 0.3, 0.7, 1.0]))
    region = rng.random(shape) < density
    region.flat[rng.integers(region.size)] = True
    kind = draw(st.sampled_from(["noise", "flat", "two values", "extreme", "fractional"]))
    array = {
        "noise": rng.normal(40, 60, shape),
        "flat": np.full(shape, float(rng.integers(-100, 200))),
        "two values": rng.choice([-100.0, 150.0], shape),
        "extreme": rng.choice([-1024.0, 3071.0, 40.0], shape),
        "fractional": rng.normal(40, 60, shape) / 7,
    }[kind]
    array = array if kind == "fractional" else np.rint(array)
    angle = draw(st.sampled_from([0.0, 0.3]))
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    signs = np.array(draw(st.tuples(*[st.sampled_from([1.0, -1.0])] * 3)))
    geometry = Geometry(shape, spacing, (10.0, -20.0, 3.3), turn * signs)
    return Case("any", Volume(array.astype(np.float32), geometry), Mask(region, geometry))


@st.composite
def any_settings(draw: st.DrawFn) -> ModelSettings:
    """Draw some of the images: all of them for each region would take five times as long and try no other kind of trouble."""
    return model(
        *sorted(draw(st.sets(st.sampled_from((*PAPER, *NONLINEAR)), min_size=1, max_size=3))),
        convention=draw(st.sampled_from(("ibsi", "pyradiomics"))),
        applied=draw(st.sampled_from(("resegment", "clip_before_resampling"))),
        hu_range=draw(st.sampled_from(((-125, 225), "none"))),
        minimum=1,
        sigmas=(1.0,),
        spacing_mm=2.0,
    )


@settings(max_examples=500, deadline=None)
@given(any_case(), any_settings())
def test_any_region_gives_finite_features_or_a_coded_refusal(case: Case, chosen: ModelSettings) -> None:
    names = feature_names(chosen.radiomics)
    try:
        vector = extract(prepare(case, chosen), chosen)
    except NodogramError as error:
        outcome: Reason | None = error.reason
    else:
        outcome = None
        assert vector.names == names
        assert np.isfinite(vector.values).all()
    refusals = {Reason.ROI_EMPTY, Reason.ROI_TOO_SMALL, Reason.FEATURE_NOT_FINITE, Reason.FEATURE_GRAY_LEVELS}
    assert outcome in {None, *refusals}
