from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from nodogram.errors import ImageError, Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.imaging.resample import grow, margin_mm, model_grid, resample, to_patient_axes
from nodogram.settings import ImagingSettings, RadiomicsSettings
from nodogram.volume import Mask, Volume

EVERYTHING = (1e4, 1e4, 1e4)
TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def imaging(image: str = "linear", mask: str = "nearest", applied: str = "resegment", spacing: float = 1.0) -> ImagingSettings:
    return ImagingSettings.model_validate(
        {
            "spacing_mm": (spacing, spacing, spacing),
            "image_interpolation": image,
            "mask_interpolation": mask,
            "hu_range": (-125, 225),
            "hu_range_applied": applied,
        }
    )


def radiomics(
    *image_types: str, sigmas: tuple[float, ...] = (), enabled: bool = True, convention: str = "ibsi"
) -> RadiomicsSettings:
    return RadiomicsSettings.model_validate(
        {
            "enabled": enabled,
            "convention": convention,
            "padding": "full",
            "image_types": image_types,
            "log_sigma_mm": sigmas,
            "wavelet": "coif1",
            "feature_classes": ("firstorder",),
            "bin_width_hu": 25,
            "minimum_voxel_count": 8,
        }
    )


def pair(array: NDArray[np.float32], region: NDArray[np.bool_], spacing: tuple[float, float, float]) -> tuple[Volume, Mask]:
    grid = Geometry(array.shape, spacing, (-31.0, 12.5, 700.0), TURN)
    return Volume(array, grid), Mask(region, grid)


def random_pair(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> tuple[Volume, Mask]:
    rng = np.random.default_rng(5)
    array = np.round(rng.normal(40, 300, shape)).astype(np.float32)
    region = np.zeros(shape, bool)
    region[tuple(slice(n // 2 - 4, n // 2 + 4) for n in shape)] = rng.random((8, 8, 8)) < 0.7
    return pair(array, region, spacing)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (radiomics("Original"), (2.0, 1.0, 0.5)),
        (radiomics("Gradient", "Square"), (2.0, 1.0, 0.5)),
        (radiomics("Original", "Wavelet"), (6.0, 3.0, 1.5)),
        (radiomics("LoG", sigmas=(1.0, 0.2)), (4.0, 4.0, 4.0)),
        (radiomics("LoG", sigmas=(1.0, 0.2), convention="pyradiomics"), (16.0, 16.0, 16.0)),
        (radiomics("Wavelet", "LoG", sigmas=(0.25,)), (6.0, 3.0, 1.5)),
        (radiomics("Wavelet", "LoG", sigmas=(0.25,), convention="pyradiomics"), (6.0, 4.0, 4.0)),
        (radiomics("LoG", sigmas=(5.0,), enabled=False), (2.0, 1.0, 0.5)),
    ],
)
def test_margin_is_the_widest_reach_of_any_filter(settings: RadiomicsSettings, expected: tuple[float, ...]) -> None:
    assert margin_mm(settings, (2.0, 1.0, 0.5)) == expected


def test_grow_rounds_up_to_voxels_and_keeps_an_axis_whole_whose_border_it_passes() -> None:
    grid = Geometry((10, 10, 10), (1.0, 1.0, 0.4), (0.0, 0.0, 0.0), np.eye(3))
    box = slice(3, 5), slice(3, 5), slice(3, 5)
    assert grow(box, (1.5, 20.0, 0.4), grid) == (slice(1, 7), slice(0, 10), slice(2, 6))


@pytest.mark.parametrize("shape", [(1, 7, 8), (20, 33, 41)])
@pytest.mark.parametrize("spacing", [(0.625, 0.49, 0.49), (3.0, 1.0, 0.7), (1.0, 1.0, 1.0)])
def test_model_grid_shares_the_center_and_covers_the_image(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    before = Geometry(shape, spacing, (3.0, -4.0, 5.0), TURN)
    after = model_grid(before, (1.0, 1.0, 1.0))
    assert after.patient_position_mm(tuple((n - 1) / 2 for n in after.shape)) == pytest.approx(
        before.patient_position_mm(tuple((n - 1) / 2 for n in shape)), abs=1e-6
    )
    for n, s, n_out in zip(shape, spacing, after.shape, strict=True):
        assert n * s - 1e-2 <= n_out < n * s + 1


def test_a_decimal_rest_of_the_spacing_adds_no_voxel() -> None:
    grid = Geometry((10, 10, 10), (0.50000001, 0.5, 0.5), (0.0, 0.0, 0.0), np.eye(3))
    assert model_grid(grid, (1.0, 1.0, 1.0)).shape == (5, 5, 5)


@pytest.mark.parametrize("interpolation", ["linear", "bspline"])
def test_the_same_spacing_changes_nothing(interpolation: str) -> None:
    volume, mask = random_pair((16, 20, 24), (1.0, 1.0, 1.0))
    image, region = resample(volume, mask, imaging(interpolation), EVERYTHING)
    np.testing.assert_allclose(image.array, volume.array, atol=0 if interpolation == "linear" else 1e-3, rtol=0)
    np.testing.assert_array_equal(region.array, mask.array)
    assert region.geometry.is_same_grid(mask.geometry)


@pytest.mark.parametrize(("interpolation", "border"), [("linear", 1), ("bspline", 12)])
def test_a_ramp_keeps_its_value_at_every_place(interpolation: str, border: int) -> None:
    z, y, x = np.indices((40, 50, 60))
    volume, mask = pair((3.0 * z - 2.0 * y + 0.5 * x).astype(np.float32), np.ones((40, 50, 60), bool), (0.8, 0.7, 0.6))
    image, _ = resample(volume, mask, imaging(interpolation), EVERYTHING)
    to_index = np.linalg.inv(volume.geometry.index_to_patient) @ image.geometry.index_to_patient
    k, j, i = np.indices(image.geometry.shape)
    x, y, z = (to_index @ np.stack([i.ravel(), j.ravel(), k.ravel(), np.ones(i.size)]))[:3].reshape(3, *i.shape)
    inner = (slice(border, -border),) * 3
    np.testing.assert_allclose(image.array[inner], (3 * z - 2 * y + 0.5 * x)[inner], atol=1e-3 if border == 12 else 2e-5)


def test_a_plateau_at_a_bin_edge_stays_exactly_there() -> None:
    volume, mask = pair(np.full((20, 20, 20), 3000, np.float32), np.ones((20, 20, 20), bool), (0.625, 0.49, 0.49))
    image, _ = resample(volume, mask, imaging(applied="clip_before_resampling"), EVERYTHING)
    assert np.unique(image.array).tolist() == [225.0]


def test_clipping_comes_before_interpolation() -> None:
    array = np.zeros((4, 4, 4), np.float32)
    array[..., 2:] = 1000
    volume, mask = pair(array, np.ones(array.shape, bool), (1.0, 1.0, 1.0))
    clipped, _ = resample(volume, mask, imaging(applied="clip_before_resampling", spacing=0.5), EVERYTHING)
    plain, _ = resample(volume, mask, imaging(spacing=0.5), EVERYTHING)
    np.testing.assert_allclose(clipped.array[0, 0], [0, 0, 0, 56.25, 168.75, 225, 225, 225])
    np.testing.assert_allclose(plain.array[0, 0], [0, 0, 0, 250, 750, 1000, 1000, 1000])


def test_linear_outline_keeps_voxels_of_at_least_half_partial_volume() -> None:
    region = np.zeros((1, 1, 8), bool)
    region[..., 3:] = True
    volume, mask = pair(np.zeros(region.shape, np.float32), region, (1.0, 1.0, 1.0))
    # Output voxels lie midway between two input voxels: the one between 2 and 3 has a share of exactly one half.
    _, kept = resample(volume, mask, imaging(mask="linear", spacing=2.0), EVERYTHING)
    assert kept.array[0, 0].tolist() == [False, True, True, True]


@pytest.mark.parametrize("outline", ["nearest", "linear"])
@pytest.mark.parametrize("spacing", [(0.625, 0.49, 0.49), (2.5, 0.7, 1.0), (0.625, 0.5, 0.5)])
@pytest.mark.parametrize("interpolation", ["linear", "bspline"])
def test_the_box_holds_what_resampling_everything_gives(
    interpolation: str, spacing: tuple[float, float, float], outline: str
) -> None:
    volume, mask = random_pair((60, 90, 90), spacing)
    part, region = resample(volume, mask, imaging(interpolation, outline), (4.0, 3.0, 2.0))
    whole, whole_region = resample(volume, mask, imaging(interpolation, outline), EVERYTHING)
    assert whole.geometry.is_same_grid(model_grid(volume.geometry, (1.0, 1.0, 1.0)))
    box = grow(whole_region.box, (4.0, 3.0, 2.0), whole.geometry)
    assert part.geometry.is_same_grid(whole.crop(box).geometry)
    np.testing.assert_array_equal(region.array, whole_region.array[box])
    assert region.voxel_count == whole_region.voxel_count
    if interpolation == "linear":
        np.testing.assert_array_equal(part.array, whole.array[box])
    else:
        np.testing.assert_allclose(part.array, whole.array[box], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("interpolation", "filter_"), [("linear", sitk.sitkLinear), ("bspline", sitk.sitkBSpline)])
def test_agrees_with_simpleitk_on_the_same_grid(interpolation: str, filter_: int) -> None:
    # Spacings without exact ties, where nearest neighbor is decided by rounding alone.
    volume, mask = random_pair((30, 40, 44), (0.83, 0.47, 0.53))
    image, region = resample(volume, mask, imaging(interpolation), EVERYTHING)
    reference = to_sitk(image.array, image.geometry)
    expected = sitk.Resample(to_sitk(volume.array, volume.geometry), reference, sitk.Transform(), filter_)
    np.testing.assert_allclose(image.array, sitk.GetArrayFromImage(expected), atol=2e-3, rtol=0)
    outline = to_sitk(mask.array.astype(np.uint8), mask.geometry)
    expected = sitk.Resample(outline, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    np.testing.assert_array_equal(region.array, sitk.GetArrayFromImage(expected) == 1)


def to_sitk(array: NDArray[np.generic], geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(geometry.direction.ravel().tolist())
    return image


def test_a_region_that_vanishes_is_refused_with_its_size() -> None:
    region = np.zeros((9, 9, 9), bool)
    region[4, 4, 3] = True
    volume, mask = pair(np.zeros(region.shape, np.float32), region, (0.5, 0.5, 0.5))
    with pytest.raises(RegionError, match=r"1 voxels .* 2 x 2 x 2 mm") as caught:
        resample(volume, mask, imaging(mask="linear", spacing=2.0), EVERYTHING)
    assert caught.value.reason is Reason.ROI_EMPTY


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_storage_order_is_brought_to_the_patients_axes(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    rng = np.random.default_rng(2)
    array = rng.normal(0, 100, (4, 5, 6)).astype(np.float32)
    wanted = Geometry(array.shape, (3.0, 0.5, 0.7), (-10.0, 20.0, 30.0), TURN)
    stored_array = np.transpose(array, order)[tuple(slice(None, None, s) for s in signs)]
    columns = [2 - order[2 - c] for c in range(3)]
    start = [0.0, 0.0, 0.0]
    for axis, sign in zip(order, signs, strict=True):
        start[axis] = 0.0 if sign > 0 else float(array.shape[axis] - 1)
    stored = Geometry(
        stored_array.shape,
        tuple(wanted.spacing_mm[a] for a in order),
        wanted.patient_position_mm((start[0], start[1], start[2])),
        wanted.direction[:, columns] * np.array(signs[::-1]),
    )
    volume, mask, slices_reversed = to_patient_axes(Volume(stored_array, stored), Mask(stored_array > 0, stored))
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(mask.array, array > 0)
    assert volume.geometry.is_same_grid(wanted)
    assert slices_reversed == (signs[order.index(0)] < 0)


def test_spacings_in_a_wrong_unit_are_refused_before_they_fill_the_memory() -> None:
    array = np.zeros((20, 30, 30), np.float32)
    region = np.zeros(array.shape, bool)
    region[5:15, 8:22, 8:22] = True
    with pytest.raises(ImageError, match="IMAGE_TOO_LARGE"):
        resample(*pair(array, region, (1000.0, 500.0, 500.0)), imaging(), (1.0, 1.0, 1.0))
