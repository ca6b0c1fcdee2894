from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from nodogram.case import NoteCode
from nodogram.errors import ImageError, NodogramError, Reason, SettingsError
from nodogram.geometry import Geometry
from nodogram.imaging.crop import Crop, center_crop, make_crop
from nodogram.settings import NetworkSettings
from nodogram.volume import Mask, Volume

MODEL_MM = (1.0, 1.0, 1.0)


def network(**changes: object) -> NetworkSettings:
    given = {
        "enabled": True,
        "crop": "fixed_mm",
        "crop_size_mm": 80.0,
        "crop_margin_mm": 5.0,
        "resize_px": 256,
        "input_px": 224,
        "window_hu": (-125, 225),
    }
    return NetworkSettings.model_validate(given | changes)


def grid(shape: tuple[int, int, int], pixel_mm: float | tuple[float, float] = 0.5) -> Geometry:
    row_mm, column_mm = pixel_mm if isinstance(pixel_mm, tuple) else (pixel_mm, pixel_mm)
    return Geometry(shape, (2.0, row_mm, column_mm), (0.0, 0.0, 0.0), np.eye(3))


def ellipse(geometry: Geometry, middle_mm: tuple[float, float], radii_mm: tuple[float, float]) -> NDArray[np.bool_]:
    y = (np.arange(geometry.shape[1]) + 0.5) * geometry.spacing_mm[1] - middle_mm[0]
    x = (np.arange(geometry.shape[2]) + 0.5) * geometry.spacing_mm[2] - middle_mm[1]
    return np.asarray((y[:, None] / radii_mm[0]) ** 2 + (x[None] / radii_mm[1]) ** 2 <= 1)


def bright(region: NDArray[np.bool_], geometry: Geometry) -> Volume:
    return Volume(np.where(region, 225, -125).astype(np.float32), geometry)


def slices(*areas: int) -> Mask:
    array = np.zeros((len(areas), 10, 10), bool)
    for index, area in enumerate(areas):
        array[index].reshape(-1)[:area] = True
    return Mask(array, grid(array.shape))


def chosen(mask: Mask) -> tuple[int, float]:
    volume = Volume(np.zeros(mask.array.shape, np.float32), mask.geometry)
    crop, _ = make_crop(volume, mask, network(), MODEL_MM)
    return crop.slice_index, crop.slice_area_mm2


@pytest.mark.parametrize("pixel_mm", [0.4, 0.8, (0.4, 0.9)])
def test_a_disc_has_the_size_in_pixels_that_its_millimeters_say(pixel_mm: float | tuple[float, float]) -> None:
    geometry = grid((1, 300, 300), pixel_mm)
    disc = ellipse(geometry, (72.0, 72.0), (15.0, 15.0))[None]
    crop, notes = make_crop(bright(disc, geometry), Mask(disc, geometry), network(), MODEL_MM)
    pitch_mm = 80 / 256
    assert notes == ()
    assert crop.pixels.shape == (3, 256, 256)
    assert crop.pixels.dtype == np.float32
    # No resampling loses mass: the disc's area stays that of its pixels, and those that of the circle.
    assert crop.pixels[0].sum() * pitch_mm**2 == pytest.approx(crop.slice_area_mm2, rel=2e-3)
    assert crop.slice_area_mm2 == pytest.approx(np.pi * 15**2, rel=0.02)
    for profile in (crop.pixels[0, 128], crop.pixels[0, :, 128]):
        assert np.count_nonzero(profile >= 0.5) * pitch_mm == pytest.approx(30, abs=1.0)
    weight = crop.pixels[0] / crop.pixels[0].sum()
    y, x = (float((weight * i).sum()) for i in np.indices((256, 256)))
    assert (y, x) == pytest.approx((127.5, 127.5), abs=0.1)


def test_the_same_anatomy_looks_the_same_from_different_fields_of_view() -> None:
    pictures = []
    for pixel_mm in (0.4, 0.8):
        geometry = grid((1, int(160 / pixel_mm), int(160 / pixel_mm)), pixel_mm)
        y, x = ((np.arange(n) + 0.5) * pixel_mm for n in geometry.shape[1:])
        wave = 50 + 60 * np.sin(y[:, None] / 4) * np.cos(x[None] / 5)
        disc = ellipse(geometry, (80.0, 80.0), (16.0, 16.0))[None]
        pictures.append(make_crop(Volume(wave[None], geometry), Mask(disc, geometry), network(), MODEL_MM)[0].pixels)
    assert np.abs(pictures[0] - pictures[1]).max() < 0.02


def test_bbox_resize_stretches_box_and_margin_to_the_square() -> None:
    geometry = grid((1, 200, 300))
    shape = ellipse(geometry, (50.0, 75.0), (10.0, 30.0))[None]
    crop, notes = make_crop(bright(shape, geometry), Mask(shape, geometry), network(crop="bbox_resize"), MODEL_MM)
    assert notes == ()
    assert np.count_nonzero(crop.pixels[0, :, 128] >= 0.5) == pytest.approx(256 * 20 / 30, abs=3)
    assert np.count_nonzero(crop.pixels[0, 128] >= 0.5) == pytest.approx(256 * 60 / 70, abs=3)


def test_window_is_mapped_linearly_and_clipped_before_interpolation() -> None:
    geometry = grid((1, 40, 40), 1.0)
    array = np.full((1, 40, 40), 50, np.float32)
    array[..., 20:] = 3000
    array[:, 20:] = -1000
    settings = network(crop_size_mm=32.0, resize_px=32, input_px=32)
    region = np.zeros(array.shape, bool)
    region[:, 10:30, 10:30] = True
    pixels = make_crop(Volume(array, geometry), Mask(region, geometry), settings, MODEL_MM)[0].pixels
    assert np.array_equal(pixels[0], pixels[1])
    assert np.array_equal(pixels[0], pixels[2])
    expected = np.block([[np.full((16, 16), 0.5), np.ones((16, 16))], [np.zeros((16, 32))]])
    np.testing.assert_allclose(pixels[0], expected, atol=1e-7)


def test_reducing_a_checkerboard_gives_gray_not_a_pattern() -> None:
    geometry = grid((1, 160, 160), 1.0)
    board = (np.indices((160, 160)).sum(axis=0) % 2)[None] == 1
    region = np.zeros(board.shape, bool)
    region[:, 70:90, 70:90] = True
    settings = network(crop_size_mm=96.0, resize_px=40, input_px=32)
    pixels = make_crop(bright(board, geometry), Mask(region, geometry), settings, MODEL_MM)[0].pixels
    np.testing.assert_allclose(pixels, 0.5, atol=0.02)


def test_what_lies_outside_the_image_is_the_lowest_window_value() -> None:
    geometry = grid((1, 40, 40), 1.0)
    region = np.zeros((1, 40, 40), bool)
    region[:, :4, :4] = True
    volume = Volume(np.full(region.shape, 225, np.float32), geometry)
    settings = network(crop_size_mm=64.0, resize_px=64, input_px=64)
    pixels = make_crop(volume, Mask(region, geometry), settings, MODEL_MM)[0].pixels[0]
    # The square starts 30 mm before the image and holds its first 34 mm.
    expected = np.zeros((64, 64))
    expected[30:, 30:] = 1
    np.testing.assert_allclose(pixels, expected, atol=1e-7)


def test_a_region_larger_than_the_crop_is_noted_with_its_size() -> None:
    geometry = grid((1, 300, 300))
    shape = ellipse(geometry, (75.0, 75.0), (20.0, 50.0))[None]
    _, notes = make_crop(bright(shape, geometry), Mask(shape, geometry), network(), MODEL_MM)
    assert [note.code for note in notes] == [NoteCode.ROI_LARGER_THAN_CROP]
    assert "40.0 x 100.0 mm" in notes[0].message
    assert make_crop(bright(shape, geometry), Mask(shape, geometry), network(crop="bbox_resize"), MODEL_MM)[1] == ()


@pytest.mark.parametrize(
    ("areas", "index"),
    [
        ((3, 9, 5), 1),
        ((7, 7, 7), 1),  # the middle one is nearest to the centroid
        ((7, 7, 7, 7), 1),  # two are equally near: the lower
        ((9, 1, 1, 9, 8), 3),  # the centroid lies beyond the middle
    ],
)
def test_slice_of_the_largest_area_then_nearest_to_the_centroid_then_lowest(areas: tuple[int, ...], index: int) -> None:
    assert chosen(slices(*areas)) == (index, pytest.approx(max(areas) * 0.25))


def test_only_the_largest_component_counts_and_the_rest_is_noted() -> None:
    array = np.zeros((8, 40, 40), bool)
    array[5:8, 2:10, 2:10] = True
    array[0, 20:34, 20:34] = True  # larger in its slice, 196 of 388 voxels
    array[0:2, 20, 35:37] = True  # touches nothing
    array[5:8, 10, 10] = True  # touches the first by an edge
    array[7, 2:10, 10] = True
    array[4, 11, 11] = True  # touches by a corner
    mask = Mask(array, grid(array.shape))
    crop, notes = make_crop(bright(array, mask.geometry), mask, network(), MODEL_MM)
    assert crop.slice_index == 7
    assert crop.slice_area_mm2 == pytest.approx(73 * 0.25)
    assert [note.code for note in notes] == [NoteCode.ROI_SEVERAL_COMPONENTS]
    assert "3 separate parts" in notes[0].message


def test_center_crop_takes_the_middle_of_any_stack() -> None:
    pixels = np.arange(2 * 3 * 10 * 10, dtype=np.float32).reshape(2, 3, 10, 10)
    np.testing.assert_array_equal(center_crop(pixels, 6), pixels[..., 2:8, 2:8])
    np.testing.assert_array_equal(center_crop(pixels, 7), pixels[..., 1:8, 1:8])
    with pytest.raises(SettingsError) as caught:
        center_crop(pixels, 11)
    assert caught.value.reason is Reason.SETTINGS_INVALID


@pytest.mark.parametrize(
    ("pixels", "index", "area", "reason"),
    [
        (np.zeros((3, 4, 5)), 0, 1.0, Reason.GEOMETRY_INVALID),
        (np.zeros((1, 4, 4)), 0, 1.0, Reason.GEOMETRY_INVALID),
        (np.full((3, 4, 4), 1.1), 0, 1.0, Reason.NOT_FINITE),
        (np.full((3, 4, 4), np.nan), 0, 1.0, Reason.NOT_FINITE),
        (np.zeros((3, 4, 4)), -1, 1.0, Reason.GEOMETRY_INVALID),
        (np.zeros((3, 4, 4)), 0, 0.0, Reason.GEOMETRY_INVALID),
    ],
)
def test_crop_checks_itself(pixels: NDArray[np.float32], index: int, area: float, reason: Reason) -> None:
    with pytest.raises(NodogramError) as caught:
        Crop(pixels, index, area)
    assert isinstance(caught.value, ImageError)
    assert caught.value.reason is reason
