"""Our sampling against SimpleITK's on the whole grid: not one voxel may differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nodogram.geometry import Geometry
from nodogram.imaging.bspline import cubic_coefficients
from nodogram.imaging.itk import as_stored
from nodogram.imaging.itk_sampling import Interpolation, _is_separable, _linear, _Positions, _positions, resample_part
from nodogram.volume import Box

INTERPOLATORS = {"nearest": sitk.sitkNearestNeighbor, "linear": sitk.sitkLinear, "bspline": sitk.sitkBSpline}


def clipped_air(shape: tuple[int, int, int], seed: int) -> Any:
    """Whole HU with large constant parts, where the last bit decides what truncation makes of them."""
    rng = np.random.default_rng(seed)
    array = np.clip(np.rint(rng.normal(-60, 90, shape)), -125, 225).astype(np.float32)
    array[:, : shape[1] // 2] = -125
    return array


def part_of(shape: tuple[int, int, int], rng: np.random.Generator) -> Box:
    starts = [int(rng.integers(0, n)) for n in shape]
    z, y, x = (slice(a, int(rng.integers(a + 1, n + 1))) for a, n in zip(starts, shape, strict=True))
    return z, y, x


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 34)] * 3),
    spacing=st.tuples(*[st.sampled_from([0.49, 0.5, 0.5703125, 0.625, 0.8, 0.9765625, 1.3, 2.5, 3.27, 5.0])] * 3),
    new=st.sampled_from([(1.0, 1.0, 1.0), (2.0, 0.7, 1.1), (0.6, 0.6, 3.0)]),
    tilt=st.sampled_from([(0.0, 0.0, 0.0), (0.11, -0.07, 0.2), (np.pi / 2, 0.0, 0.0), (0.0, np.pi, 0.0)]),
    interpolation=st.sampled_from(["nearest", "linear", "bspline"]),
    fractional=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_whole_grid_resampled_by_itk(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    new: tuple[float, float, float],
    tilt: tuple[float, float, float],
    interpolation: Interpolation,
    fractional: bool,
    seed: int,
) -> None:
    # Beyond the second of two voxels ITK's spline mirrors twice, the second time past the first voxel, and reads another row.
    assume(interpolation != "bspline" or 2 not in shape)
    # Turned about itself, the only voxel of an axis lies on a tie between itself and nothing, decided by the last bit of pi.
    assume(1 not in shape or not any(tilt))
    rng = np.random.default_rng(seed)
    direction = np.array(sitk.Euler3DTransform((0, 0, 0), *tilt).GetMatrix())
    geometry = Geometry(shape, spacing, (-123.4, -87.77, 311.5), direction)
    array = clipped_air(shape, seed) * (np.float32(0.37) if fractional else np.float32(1))
    given_array = array > -50 if interpolation == "nearest" else array
    stored = given_array.astype(np.uint8) if interpolation == "nearest" else as_stored(given_array)
    image = sitk.GetImageFromArray(stored)
    image.SetSpacing(spacing[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(direction.tolist())
    old, wanted = np.array(spacing[::-1]), np.array(new[::-1])
    origin = image.TransformContinuousIndexToPhysicalPoint((0.5 * (wanted - old) / old).tolist())
    z, y, x = (int(np.ceil(n * a / b)) for n, a, b in zip(shape, spacing, new, strict=True))
    grid = Geometry((z, y, x), new, origin, direction)
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputSpacing(new[::-1])
    resampler.SetOutputDirection(direction.tolist())
    resampler.SetSize(grid.shape[::-1])
    resampler.SetOutputOrigin(origin)
    resampler.SetOutputPixelType(image.GetPixelID())
    resampler.SetInterpolator(INTERPOLATORS[interpolation])
    expected = sitk.GetArrayFromImage(resampler.Execute(image))
    box = part_of(grid.shape, rng)
    found = resample_part(given_array, geometry, grid, box, interpolation)
    np.testing.assert_array_equal(found, expected[box].astype(found.dtype))


@pytest.mark.parametrize("fractional", [False, True])
@pytest.mark.parametrize("flip", [(1.0, 1.0, 1.0), (-1.0, 1.0, -1.0)])
def test_axis_by_axis_or_voxel_by_voxel_linear_values_are_the_same_bits(flip: tuple[float, ...], fractional: bool) -> None:
    shape, spacing = (9, 23, 31), (3.27, 0.9765625, 0.703125)
    direction = np.diag(flip)
    array = clipped_air(shape, 5) * (np.float32(0.37) if fractional else np.float32(1))
    geometry = Geometry(shape, spacing, (-123.4, -87.77, 311.5), direction)
    # Reaches past both ends of the input, and part of the box only.
    start = np.array(geometry.origin_mm) - 1.3 * np.array(flip)
    grid = Geometry((34, 27, 26), (1.0, 1.0, 1.0), (float(start[0]), float(start[1]), float(start[2])), direction)
    at = _positions(geometry, grid, (slice(0, 34), slice(2, 27), slice(0, 26)))
    assert _is_separable(at)
    general = _Positions(*np.broadcast_arrays(at.x, at.y, at.z))
    assert not _is_separable(general)
    part = as_stored(array)
    found, expected = (_linear(part, positions, (0, 0, 0), shape) for positions in (at, general))
    assert found.tobytes() == expected.tobytes()


def test_a_far_border_does_not_reach_the_last_bit() -> None:
    # Long axes, so that the prefilter really starts inside the image.
    shape = (90, 150, 160)
    array = clipped_air(shape, 3)
    geometry = Geometry(shape, (0.625, 0.49, 0.49), (-123.4, -87.77, 311.5), np.eye(3))
    image = sitk.GetImageFromArray(array.astype(np.int16))
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    z, y, x = (int(np.ceil(n * a)) for n, a in zip(shape, geometry.spacing_mm, strict=True))
    start = [0.5 * (1 - s) / s for s in geometry.spacing_mm[::-1]]
    grid = Geometry((z, y, x), (1.0, 1.0, 1.0), image.TransformContinuousIndexToPhysicalPoint(start), np.eye(3))
    box = (slice(27, 31), slice(35, 40), slice(36, 42))
    resampler = sitk.ResampleImageFilter()
    resampler.SetOutputSpacing((1.0, 1.0, 1.0))
    resampler.SetSize((x, y, z))
    resampler.SetOutputOrigin(grid.origin_mm)
    resampler.SetInterpolator(sitk.sitkBSpline)
    expected = sitk.GetArrayFromImage(resampler.Execute(image))[box]
    np.testing.assert_array_equal(resample_part(array, geometry, grid, box, "bspline"), expected)


@pytest.mark.parametrize("shape", [(40, 50, 60), (5, 7, 60), (2, 3, 17), (1, 8, 30), (18, 19, 16)])
def test_coefficients_are_itks(shape: tuple[int, int, int]) -> None:
    array = clipped_air(shape, 1)
    expected = sitk.GetArrayFromImage(sitk.BSplineDecomposition(sitk.GetImageFromArray(array.astype(np.float64))))
    z, y, x = (slice(n // 4, max(n - n // 4, n // 4 + 1)) for n in shape)
    np.testing.assert_array_equal(cubic_coefficients(array, (z, y, x)), expected[z, y, x])


def test_whole_numbers_keep_the_narrowest_type_that_holds_them() -> None:
    values = np.array([[-1024.0, 3071.0]], dtype=np.float32)
    assert as_stored(values).dtype == np.int16
    assert as_stored(values * 100).dtype == np.int32
    assert as_stored(values / 3).dtype == np.float32
    assert as_stored(values * 2.0**40).dtype == np.float32
