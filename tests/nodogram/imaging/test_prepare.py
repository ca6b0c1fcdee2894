from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from nodogram.case import Case, NoteCode, QualityNote, SeriesSource
from nodogram.errors import Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.imaging.prepare import PreparedCase, prepare
from nodogram.settings import ModelSettings
from nodogram.volume import Mask, Volume

SHAPE = (24, 60, 64)


def settings(
    applied: str = "resegment", minimum: int = 64, radiomics: bool = True, network: bool = True, margin: bool = True
) -> ModelSettings:
    return ModelSettings.model_validate(
        {
            "imaging": {
                "spacing_mm": (1, 1, 1),
                "image_interpolation": "linear",
                "mask_interpolation": "nearest",
                "hu_range": (-125, 225),
                "hu_range_applied": applied,
            },
            "radiomics": {
                "enabled": radiomics,
                "convention": "ibsi",
                "padding": "full",
                "image_types": ("Original", "Wavelet") if margin else ("Original",),
                "log_sigma_mm": (),
                "wavelet": "coif1",
                "feature_classes": ("firstorder",),
                "bin_width_hu": 25,
                "minimum_voxel_count": minimum,
            },
            "network": {
                "enabled": network,
                "crop": "fixed_mm",
                "crop_size_mm": 30,
                "crop_margin_mm": 5,
                "resize_px": 64,
                "input_px": 48,
                "window_hu": (-125, 225),
            },
        }
    )


def case(fill: float = 50.0, spacing: tuple[float, float, float] = (2.0, 0.5, 0.5)) -> Case:
    geometry = Geometry(SHAPE, spacing, (-10.0, 20.0, 30.0), np.eye(3))
    array = np.random.default_rng(4).normal(0, 200, SHAPE).astype(np.float32)
    region = np.zeros(SHAPE, bool)
    region[8:14, 20:36, 24:40] = True
    array[region] = fill
    array[8:11, 20:36, 24:40] = 900  # half of the region is bone
    return Case(
        "case-1",
        Volume(array, geometry),
        Mask(region, geometry),
        {"t_stage": "T3-4"},
        SeriesSource(manufacturer="Maker"),
        (QualityNote(NoteCode.DUPLICATE_FILE, "one file twice"),),
    )


def test_prepared_case_carries_what_the_case_said_and_which_settings_were_obeyed() -> None:
    given = case()
    prepared = prepare(given, settings())
    assert prepared.case_id == "case-1"
    assert prepared.clinical == given.clinical
    assert prepared.source == given.source
    assert prepared.notes == given.notes
    assert prepared.settings_digest == settings().digest()
    assert prepared.volume.geometry.spacing_mm == (1.0, 1.0, 1.0)
    # 12 x 8 x 8 mm of region and 3 mm of wavelet margin on each side.
    assert prepared.mask.voxel_count == 12 * 8 * 8
    assert prepared.volume.array.shape == (18, 14, 14)
    assert prepared.crop is not None
    assert prepared.crop.pixels.shape == (3, 64, 64)
    assert prepared.crop.slice_index == 10
    assert prepared.crop.slice_area_mm2 == 64


def test_resegmentation_drops_voxels_outside_the_closed_range() -> None:
    prepared = prepare(case(), settings())
    expected = prepared.mask.array & (prepared.volume.array >= -125) & (prepared.volume.array <= 225)
    np.testing.assert_array_equal(prepared.intensity_mask, expected)
    assert prepared.volume.array.max() > 225
    assert 0 < np.count_nonzero(prepared.intensity_mask) < prepared.mask.voxel_count
    at_the_bound = prepare(case(fill=225.0), settings())
    assert (at_the_bound.volume.array[at_the_bound.intensity_mask] == 225).any()
    assert not prepared.intensity_mask.flags.writeable


def test_clipping_keeps_every_voxel() -> None:
    prepared = prepare(case(), settings("clip_before_resampling"))
    np.testing.assert_array_equal(prepared.intensity_mask, prepared.mask.array)
    assert prepared.volume.array.min() >= -125
    assert prepared.volume.array.max() == 225


def test_a_region_without_soft_tissue_is_refused() -> None:
    given = case(fill=900.0)
    with pytest.raises(RegionError, match="0 of the region's 768 voxels") as caught:
        prepare(given, settings())
    assert caught.value.reason is Reason.ROI_EMPTY


def test_too_few_voxels_are_refused_with_both_counts_unless_radiomics_is_off() -> None:
    kept = int(np.count_nonzero(prepare(case(), settings()).intensity_mask))
    prepare(case(), settings(minimum=kept))
    with pytest.raises(RegionError, match=f"{kept} of the region's 768 voxels .* at least {kept + 1} ") as caught:
        prepare(case(), settings(minimum=kept + 1))
    assert caught.value.reason is Reason.ROI_TOO_SMALL
    with pytest.raises(RegionError, match=r"the region has 768 voxels .* at least 769 "):
        prepare(case(), settings("clip_before_resampling", minimum=769))
    assert prepare(case(), settings(minimum=kept + 1, radiomics=False)).crop is not None


def test_a_model_without_network_gets_no_crop() -> None:
    assert prepare(case(), settings(network=False)).crop is None


def test_notes_of_the_crop_are_appended() -> None:
    given = case()
    array = given.mask.array.copy()
    array[20, 50, 50] = True
    prepared = prepare(dataclasses.replace(given, mask=Mask(array, given.mask.geometry)), settings())
    assert [note.code for note in prepared.notes] == [NoteCode.DUPLICATE_FILE, NoteCode.ROI_SEVERAL_COMPONENTS]


@pytest.mark.parametrize("flips", [(1, -1, -1), (-1, -1, 1), (-1, 1, 1)])
def test_the_way_a_scan_is_stored_changes_nothing(flips: tuple[int, int, int]) -> None:
    given = case()
    geometry = given.volume.geometry
    turn = tuple(slice(None, None, flip) for flip in flips)
    start = tuple(float(n - 1) if flip < 0 else 0.0 for n, flip in zip(SHAPE, flips, strict=True))
    stored = Geometry(
        SHAPE,
        geometry.spacing_mm,
        geometry.patient_position_mm((start[0], start[1], start[2])),
        geometry.direction * np.array(flips[::-1]),
    )
    flipped = dataclasses.replace(
        given, volume=Volume(given.volume.array[turn], stored), mask=Mask(given.mask.array[turn], stored)
    )
    one, other = prepare(given, settings()), prepare(flipped, settings())
    np.testing.assert_array_equal(one.volume.array, other.volume.array)
    np.testing.assert_array_equal(one.intensity_mask, other.intensity_mask)
    assert one.volume.geometry.is_same_grid(other.volume.geometry)
    assert one.crop is not None
    assert other.crop is not None
    np.testing.assert_array_equal(one.crop.pixels, other.crop.pixels)
    # The index is that of the stored slice, from which its image file can be found.
    assert other.crop.slice_index == (SHAPE[0] - 1 - one.crop.slice_index if flips[0] < 0 else one.crop.slice_index)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (np.zeros_like, Reason.ROI_EMPTY),
        (np.ones_like, Reason.ROI_GEOMETRY_MISMATCH),
        (lambda mask: mask[1:], Reason.ROI_GEOMETRY_MISMATCH),
    ],
)
def test_prepared_case_checks_its_intensity_mask(change: object, reason: Reason) -> None:
    prepared = prepare(case(), settings(margin=False))
    assert callable(change)
    wrong: NDArray[np.bool_] = change(prepared.intensity_mask)
    with pytest.raises(RegionError) as caught:
        dataclasses.replace(prepared, intensity_mask=wrong)
    assert caught.value.reason is reason
    assert isinstance(prepared, PreparedCase)
