"""The recursive Gaussian against ITK's own, to the last bit, and against closed forms."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, Literal

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from radiomics import imageoperations

from nodogram.geometry import Geometry
from nodogram.radiomics import _gaussian
from nodogram.radiomics.gaussian import filter_axis, laplacian_of_gaussian, recursion
from nodogram.volume import Box

Spacing = tuple[float, float, float]
KINDS = (np.float32, np.int16, np.int32)
# In memory: as they come, every other plane of a margin, axes the other way round, columns backward.
LAYOUTS = ("whole", "view", "transposed", "reversed")


def laid_out(array: NDArray[Any], layout: str) -> NDArray[Any]:
    z, y, x = array.shape
    if layout == "view":
        room = np.zeros((2 * z, y + 5, x + 9), array.dtype)[::2, 2 : y + 2, 7 : x + 7]
    elif layout == "transposed":
        room = np.zeros((x, y, z), array.dtype).T
    else:
        room = np.zeros(array.shape, array.dtype)[:, :, :: -1 if layout == "reversed" else 1]
    room[...] = array
    return room


def image_of(array: NDArray[Any], spacing: Spacing) -> Any:
    image: Any = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing[::-1])
    return image


def geometry_of(shape: tuple[int, ...], spacing: Spacing) -> Geometry:
    z, y, x = shape
    return Geometry((z, y, x), spacing, (0.0, 0.0, 0.0), np.eye(3))


def values(kind: type, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if kind is np.float32:
        return rng.normal(40, 200, shape).astype(np.float32)
    # Too large for single precision in the type that can hold them.
    largest = {np.int16: 32768, np.int32: 2**28}[kind]  # type: ignore[index]
    return rng.integers(-largest, largest, shape).astype(kind)


@st.composite
def cases(draw: st.DrawFn) -> tuple[NDArray[Any], str, Spacing, float, Box]:
    z, y, x = (draw(st.integers(4, 70)) for _ in range(3))
    spacing = tuple(draw(st.sampled_from([0.4882813, 0.7, 1.0, 1.5, 3.0])) for _ in range(3))
    array = values(draw(st.sampled_from(KINDS)), (z, y, x), draw(st.integers(0, 2**32 - 1)))
    inner = []
    for size in (z, y, x):
        start = draw(st.integers(0, size - 1))
        inner.append(slice(start, draw(st.integers(start + 1, size))))
    return array, draw(st.sampled_from(LAYOUTS)), spacing, draw(st.floats(0.6, 6.0)), tuple(inner)  # type: ignore[return-value]


@settings(max_examples=120, deadline=None)
@given(cases())
def test_the_laplacian_is_bit_for_bit_itks(case: tuple[NDArray[Any], str, Spacing, float, Box]) -> None:
    array, layout, spacing, sigma_mm, inner = case
    laplacian: Any = sitk.LaplacianRecursiveGaussianImageFilter()  # type: ignore[no-untyped-call]
    laplacian.SetNumberOfThreads(1)
    laplacian.SetSigma(sigma_mm)
    laplacian.SetNormalizeAcrossScale(True)
    whole = sitk.GetArrayFromImage(laplacian.Execute(image_of(array, spacing)))
    found = laplacian_of_gaussian(laid_out(array, layout), inner, geometry_of(array.shape, spacing), sigma_mm)
    assert found.dtype == whole.dtype
    np.testing.assert_array_equal(found, whole[inner])


def test_whole_numbers_need_not_be_stored_as_such() -> None:
    # PyRadiomics hands ITK the integers of the file; the response is the same for their copy in single precision.
    array = np.random.default_rng(6).integers(-1024, 3000, (44, 50, 60)).astype(np.int16)
    ((whole, _, _),) = imageoperations.getLoGImage(image_of(array, (1.5, 0.7, 0.9)), None, sigma=[2.0])
    inner = (slice(10, 31), slice(0, 22), slice(17, 60))
    found = laplacian_of_gaussian(array.astype(np.float32), inner, geometry_of(array.shape, (1.5, 0.7, 0.9)), 2.0)
    np.testing.assert_array_equal(found, sitk.GetArrayFromImage(whole)[inner])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [0, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kept", [slice(0, 2), slice(1, 3), slice(2, 15), slice(15, 17)])
def test_one_axis_is_bit_for_bit_itks(axis: int, order: Literal[0, 2], kind: type, layout: str, kept: slice) -> None:
    shape = [21, 43, 38]
    shape[axis] = 17
    array = values(kind, tuple(shape), axis)
    smoothing: Any = sitk.RecursiveGaussianImageFilter()  # type: ignore[no-untyped-call]
    smoothing.SetNumberOfThreads(1)
    smoothing.SetSigma(2.3)
    smoothing.SetNormalizeAcrossScale(True)
    smoothing.SetOrder(order)
    smoothing.SetDirection(2 - axis)
    whole = sitk.GetArrayFromImage(smoothing.Execute(image_of(array, (0.8, 0.8, 0.8))))
    coefficients = recursion(2.3 / 0.8, order, 2.3 * 2.3 if order else 1.0)
    found = filter_axis(laid_out(array, layout), coefficients, axis, kept)
    np.testing.assert_array_equal(found, whole[(slice(None),) * axis + (kept,)])


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5, 8.0])
def test_a_constant_is_kept_and_has_no_curvature(sigma: float) -> None:
    # To the very border, where the coefficients for what lies beyond must say the same as those for what lies within.
    constant = np.full((4, 4, 50), 1000, np.float32)
    np.testing.assert_allclose(filter_axis(constant, recursion(sigma, 0), 2, slice(0, 50)), 1000, rtol=1e-6)
    np.testing.assert_allclose(filter_axis(constant, recursion(sigma, 2), 2, slice(0, 50)), 0, atol=1e-4)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.5, 4.0])
def test_a_line_is_kept_and_a_parabola_has_curvature_one(sigma: float) -> None:
    x = np.arange(-100, 101, dtype=np.float32)
    middle = slice(85, 116)
    line: NDArray[np.float32] = np.broadcast_to(3 * x, (4, 4, 201))
    parabola: NDArray[np.float32] = np.broadcast_to(x * x / 2, (4, 4, 201))
    curve = recursion(sigma, 2)
    np.testing.assert_allclose(filter_axis(line, recursion(sigma, 0), 2, middle), line[:, :, middle], atol=1e-4)
    np.testing.assert_allclose(filter_axis(line, curve, 2, middle), 0, atol=1e-4)
    np.testing.assert_allclose(filter_axis(parabola, curve, 2, middle), 1, rtol=1e-5)


@pytest.mark.parametrize("sigma", [1.0, 2.5, 8.0])
def test_an_impulse_becomes_a_gaussian(sigma: float) -> None:
    x = np.arange(-60, 61)
    impulse = np.zeros((121, 4, 4), np.float32)
    impulse[60] = 1
    gaussian = np.exp(-(x**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
    curved = (x**2 / sigma**2 - 1) / sigma**2 * gaussian
    for order, expected, error in ((0, gaussian, 0.003), (2, curved, 0.015)):
        found = filter_axis(impulse, recursion(sigma, order), 0, slice(0, 121))[:, 3, 1]  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, atol=error * np.abs(expected).max())
        np.testing.assert_allclose(found, found[::-1], atol=1e-7)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.5, 0.7, 0.9)])
def test_the_laplacian_of_a_blob(spacing: Spacing) -> None:
    """A Gaussian of height 1 and width s, smoothed by σ, has the Laplacian -3 s³ / (s² + σ²)^(5/2) at its center."""
    width, sigma = 5.0, 3.0
    count = [2 * int(8 * (width + sigma) / 2 / step) + 1 for step in spacing]
    squares = [((np.arange(n) - n // 2) * step) ** 2 for n, step in zip(count, spacing, strict=True)]
    z, y, x = np.meshgrid(*squares, indexing="ij", sparse=True)
    blob = np.exp(-(z + y + x) / (2 * width**2)).astype(np.float32)
    center = tuple(slice(n // 2, n // 2 + 1) for n in count)
    found = laplacian_of_gaussian(blob, center, geometry_of(blob.shape, spacing), sigma)  # type: ignore[arg-type]
    expected = -3 * width**3 / (width**2 + sigma**2) ** 2.5 * sigma**2
    assert found.item() == pytest.approx(expected, rel=0.012)


SMOOTH = recursion(1.0, 0)
SOUND = np.zeros((5, 6, 7), np.float32)
EVERY_WEIGHT: Any = astuple(SMOOTH)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: filter_axis(SOUND[:, :3], SMOOTH, 1, slice(0, 3)), ValueError, "at least 4"),
        (lambda: filter_axis(SOUND, SMOOTH, 1, slice(2, 7)), ValueError, "samples 2 to 7 of 6"),
        (lambda: filter_axis(SOUND, SMOOTH, 1, slice(2, 2)), ValueError, "samples 2 to 2"),
        (lambda: filter_axis(SOUND.astype(np.float64), SMOOTH, 1, slice(0, 2)), TypeError, "float64"),  # type: ignore[arg-type]
        (lambda: recursion(0.0, 2), ValueError, "above zero"),
        (lambda: _gaussian.filter_axis(SOUND[:3], EVERY_WEIGHT, 0, 0, 3, SOUND[:3].copy()), ValueError, "four samples"),
        (lambda: _gaussian.filter_axis(SOUND, EVERY_WEIGHT, 3, 0, 5, SOUND.copy()), ValueError, "three axes"),
        (lambda: _gaussian.filter_axis(SOUND[0], EVERY_WEIGHT, 0, 0, 6, SOUND.copy()), ValueError, "three axes"),
        (lambda: _gaussian.filter_axis(SOUND, EVERY_WEIGHT, 0, 1, 6, SOUND.copy()), ValueError, "samples wanted"),
        (lambda: _gaussian.filter_axis(SOUND, EVERY_WEIGHT, 0, 0, 4, SOUND.copy()), ValueError, "samples wanted"),
        (lambda: _gaussian.filter_axis(SOUND.astype(">f4"), EVERY_WEIGHT, 0, 0, 5, SOUND.copy()), ValueError, "float32"),
        (lambda: _gaussian.filter_axis(SOUND, EVERY_WEIGHT, 0, 0, 5, SOUND.astype(np.int32)), ValueError, "float32"),
    ],
)
def test_the_kernel_refuses(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
