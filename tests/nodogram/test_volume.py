from __future__ import annotations

import numpy as np
import pytest

from nodogram.errors import ImageError, Reason, RegionError
from nodogram.geometry import Geometry
from nodogram.volume import Mask, Volume

GRID = Geometry((4, 5, 6), (2.0, 0.5, 0.5), (0.0, 0.0, 0.0), np.eye(3))


def test_volume_is_read_only_and_leaves_the_callers_array_alone() -> None:
    array = np.zeros(GRID.shape, np.float32)
    volume = Volume(array, GRID)
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1
    array[0, 0, 0] = 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_volume_refuses_values_that_are_not_finite(value: float) -> None:
    array = np.zeros(GRID.shape, np.float32)
    array[1, 2, 3] = value
    with pytest.raises(ImageError, match="1 of 120") as caught:
        Volume(array, GRID)
    assert caught.value.reason is Reason.NOT_FINITE


def test_mask_measures_itself() -> None:
    array = np.zeros(GRID.shape, bool)
    array[1:3, 2, 3:6] = True
    mask = Mask(array, GRID)
    assert mask.voxel_count == 6
    assert mask.volume_cm3 == pytest.approx(6 * 0.5 / 1000)
    assert mask.box == (slice(1, 3), slice(2, 3), slice(3, 6))
    assert mask.crop(mask.box).array.all()
    assert mask.crop(mask.box).geometry.origin_mm == pytest.approx((1.5, 1.0, 2.0))


def test_empty_and_misshapen_masks_are_refused() -> None:
    with pytest.raises(RegionError) as empty:
        Mask(np.zeros(GRID.shape, bool), GRID)
    assert empty.value.reason is Reason.ROI_EMPTY
    with pytest.raises(RegionError) as misshapen:
        Mask(np.ones((2, 2, 2), bool), GRID)
    assert misshapen.value.reason is Reason.ROI_GEOMETRY_MISMATCH
