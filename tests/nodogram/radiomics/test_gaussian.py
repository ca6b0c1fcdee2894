"""The recursive Gaussian against ITK's own, to the last bit, and against closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nodogram.geometry import Geometry
from nodogram.radiomics.gaussian import laplacian_of_gaussian, recursive_gaussian


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[np.float32], tuple[float, float, float], float, tuple[slice, ...]]:
    shape = tuple(draw(st.integers(4, 40)) for _ in range(3))
    spacing = tuple(draw(st.sampled_from([0.4882813, 0.625, 0.7, 1.0, 1.5, 3.0])) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    array = rng.normal(40, 200, shape)
    array = np.rint(array) if draw(st.booleans()) else array
    inner = []
    for size in shape:
        start = draw(st.integers(0, size - 1))
        inner.append(slice(start, draw(st.integers(start + 1, size))))
    return array.astype(np.float32), spacing, draw(st.floats(0.6, 6.0)), tuple(inner)


def image_of(array: NDArray[Any], spacing: tuple[float, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    return image


@settings(max_examples=150, deadline=None)
@given(cases())
def test_the_laplacian_is_bit_for_bit_itks(case: Any) -> None:
    array, spacing, sigma_mm, inner = case
    whole = sitk.LaplacianRecursiveGaussian(image_of(array, spacing), sigma_mm, True)
    geometry = Geometry(array.shape, spacing, (0.0, 0.0, 0.0), np.eye(3))
    found = laplacian_of_gaussian(array, inner, geometry, sigma_mm)
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(whole)[inner])


@pytest.mark.parametrize("kind", [np.int16, np.int32])
@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_whole_numbers_and_views(kind: type, order: Any, axis: int) -> None:
    # ITK is given what the file held; the kernel gets a view of single precision, with strides of its own.
    array = np.random.default_rng(axis).integers(-1024, 3000, (21, 33, 18)).astype(kind)
    view = np.zeros((42, 40, 60), np.float32)[::2, 3:36, 7:25]
    view[...] = array
    filtered = sitk.RecursiveGaussian(image_of(array, (1.0, 1.0, 1.0)), 2.3, True, order, 2 - axis)
    found = recursive_gaussian(view, axis, slice(2, 15), 1.0, 2.3, order)
    part: list[slice] = [slice(None)] * 3
    part[axis] = slice(2, 15)
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(filtered)[tuple(part)])


def test_moments() -> None:
    """Smoothing keeps a line, and the second derivative of x²/2 is one, times the squared sigma."""
    x = np.arange(200, dtype=np.float32)
    line = np.broadcast_to(x, (4, 4, 200))
    middle = slice(90, 110)
    np.testing.assert_allclose(recursive_gaussian(line, 2, middle, 1.0, 3.0, 0)[0, 0], x[middle], rtol=1e-5)
    parabola = np.broadcast_to((x - 100) ** 2 / 2, (4, 4, 200))
    np.testing.assert_allclose(recursive_gaussian(parabola, 2, middle, 1.0, 3.0, 2), 9.0, rtol=1e-3)


def test_short_lines_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        recursive_gaussian(np.zeros((5, 3, 5), np.float32), 1, slice(0, 3), 1.0, 1.0, 0)
