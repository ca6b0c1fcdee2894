"""The mesh against closed forms and, bit for bit, against PyRadiomics' own C and shape class."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from numpy.typing import NDArray
from radiomics import cShape, shape
from scipy import ndimage

from nodogram.radiomics import _mesh
from nodogram.radiomics.calculators import shape_features
from nodogram.radiomics.mesh import mesh_coefficients

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]

TREE = Path(__file__).parents[3]
NAMES = tuple(name for name, deprecated in shape.RadiomicsShape.getFeatureNames().items() if not deprecated)
# The last make rounding as large as the distance between vertices, so that hulls cannot be trusted.
SPACINGS = st.one_of(
    st.tuples(*[st.floats(0.1, 5.0)] * 3),
    st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3),
    st.tuples(*[st.sampled_from([1e-6, 1e-5, 0.1, 1e3, 1e6])] * 3),
)


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Regions of any form, sparse to full, in one or many parts, down to one slice or line, with a border."""
    size = draw(st.tuples(*[st.sampled_from([1, 1, 2, 3, 4, 5, 6, 7])] * 3))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.pad(generator.random(size) < draw(st.sampled_from([0.02, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0])), 1)


def expected(mask: Mask, spacing: Spacing) -> tuple[float, float, tuple[float, float, float, float]]:
    found: tuple[float, float, tuple[float, float, float, float]] = cShape.calculate_coefficients(mask, np.array(spacing))
    return found


def expected_features(inside: Mask, spacing: Spacing) -> dict[str, complex]:
    image: Any = sitk.GetImageFromArray(inside.astype(np.uint8))
    image.SetSpacing(spacing[::-1])
    calculator = shape.RadiomicsShape(image, image, label=1)
    for name in NAMES:
        calculator.enableFeatureByName(name)
    with np.errstate(all="ignore"):
        return {name: np.asarray(value).item() for name, value in calculator.execute().items()}


def bits(values: Mapping[str, complex]) -> dict[str, bytes]:
    return {name: np.float64(value).tobytes() for name, value in values.items()}


def corners(pattern: int) -> Mask:
    return (pattern >> np.arange(8) & 1).reshape(2, 2, 2).astype(bool)


def spacings(generator: np.random.Generator) -> Iterator[Spacing]:
    while True:
        z, y, x = generator.uniform(0.2, 4.0, 3).tolist()
        yield z, y, x


@pytest.fixture(scope="module")
def blob() -> Mask:
    """A lobed body with a cavity and a second part in 40 voxels cubed."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((40, 40, 40)), 3)
    radius = np.sqrt(((np.indices(noise.shape) - 19.5) ** 2).sum(0))
    mask = (radius + 120 * noise < 15) & (radius > 4)
    mask[2:4, 3:6, 2:7] = True
    return np.pad(np.asarray(mask), 1)


@pytest.mark.parametrize("pattern", range(256))
def test_every_pattern_of_a_cube_equals_pyradiomics(pattern: int) -> None:
    generator = np.random.default_rng(pattern)
    for spacing, _ in zip(spacings(generator), range(8), strict=False):
        alone = corners(pattern)
        assert _mesh.coefficients(alone, spacing) == expected(alone, spacing)
        # In the last cube nothing but what is before it adds to its sums.
        last = np.zeros(generator.integers(3, 9, 3), dtype=bool)
        last[0, 0, 0] = True
        last[-2:, -2:, -2:] = alone
        assert _mesh.coefficients(last, spacing) == expected(last, spacing)
        closed = np.pad(alone, [(int(before), int(after)) for before, after in generator.integers(1, 9, (3, 2))])
        assert mesh_coefficients(closed, spacing) == expected(closed, spacing)


@given(masks(), SPACINGS)
def test_equal_to_pyradiomics(mask: Mask, spacing: Spacing) -> None:
    assert mesh_coefficients(mask, spacing) == expected(mask, spacing)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.41, 0.43), (1e6, 1.0, 1e-6)])
def test_body_with_cavity_and_two_parts_equals_pyradiomics(blob: Mask, spacing: Spacing) -> None:
    assert mesh_coefficients(blob, spacing) == expected(blob, spacing)


def test_derivation_from_the_installed_library_gives_the_table_in_use() -> None:
    script = runpy.run_path(str(TREE / "tests/golden/derive_mesh_table.py"))
    table, _ = script["derive"]()
    source = (TREE / "nodogram/radiomics/_mesh.c").read_text()
    in_use = [int(number, 16) for number in re.findall(r"0x[0-9A-F]{16}", source)]
    assert in_use == [script["packed"](table.get(pattern, ())) for pattern in range(128)]


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 1, 6), (4, 1, 1)])
def test_a_row_of_voxels_is_as_long_as_its_voxels(size: tuple[int, int, int]) -> None:
    found = mesh_coefficients(np.pad(np.ones(size, dtype=bool), 1), (2.0, 2.0, 2.0))
    # Its ends are pyramids over squares with half diagonals of one millimeter; between them is a prism over such a square.
    length = 2.0 * max(size)
    assert found.diameters_mm[3] == length
    assert found.volume_mm3 == pytest.approx(2 * (length - 2) + 4 / 3, rel=1e-12)
    assert found.surface_area_mm2 == pytest.approx(4 * np.sqrt(2) * (length - 2) + 4 * np.sqrt(3), rel=1e-12)


def test_a_ball_measures_as_one() -> None:
    radius, spacing = 15.0, (0.5, 0.5, 0.5)
    ball = np.asarray(((np.indices((65, 65, 65)) - 32) ** 2).sum(0) < (radius / 0.5) ** 2)
    area, volume, diameters = mesh_coefficients(ball, spacing)
    assert volume == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.01)
    assert area == pytest.approx(4 * np.pi * radius**2, rel=0.1)  # the staircase adds some
    assert diameters == pytest.approx([2 * radius] * 4, abs=0.5)


def test_an_array_without_a_region_measures_zero() -> None:
    assert mesh_coefficients(np.zeros((4, 3, 5), dtype=bool), (1.0, 1.0, 1.0)) == (0, 0, (0, 0, 0, 0))


def test_memory_layout_and_other_threads_change_nothing(blob: Mask) -> None:
    spacing = (3.0, 0.41, 0.43)
    wanted = mesh_coefficients(blob, spacing)
    assert mesh_coefficients(np.asfortranarray(blob), spacing) == wanted
    assert mesh_coefficients(np.repeat(blob, 2, axis=2)[..., ::2], spacing) == wanted
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: mesh_coefficients(blob, spacing), range(16))) == {wanted}


@given(masks().filter(np.any), SPACINGS)
def test_shape_features_equal_pyradiomics(mask: Mask, spacing: Spacing) -> None:
    inside = mask[1:-1, 1:-1, 1:-1]
    found, wanted = shape_features(inside, spacing, NAMES), expected_features(inside, spacing)
    if any(isinstance(value, complex) for value in wanted.values()):  # eigenvalues, by rounding; ours are real
        error = 1e-6 * max(1.0, wanted["MajorAxisLength"].real)
        assert found == pytest.approx({name: value.real for name, value in wanted.items()}, rel=1e-6, abs=error, nan_ok=True)
    else:
        assert bits(found) == bits(wanted)


@pytest.mark.parametrize("spacing_mm", [0.1, 0.3, 0.5, 0.7, 1.0, 1.1, 3.0])
def test_a_cube_is_as_long_in_every_direction(spacing_mm: float) -> None:
    """Its three equal eigenvalues come out complex by rounding at some spacings on some processors."""
    cube = shape_features(np.ones((2, 2, 2), dtype=bool), (spacing_mm,) * 3, NAMES)
    assert cube["Elongation"] == pytest.approx(1, rel=1e-12)
    assert cube["LeastAxisLength"] == pytest.approx(4 * spacing_mm / 2, rel=1e-12)


def test_shape_features_of_a_body_equal_pyradiomics_whichever_are_wanted(blob: Mask) -> None:
    spacing = (3.0, 0.41, 0.43)
    wanted = bits(expected_features(blob, spacing))
    assert len(wanted) == 14
    assert bits(shape_features(blob, spacing, NAMES)) == wanted
    for name in NAMES:
        assert bits(shape_features(blob, spacing, [name])) == {name: wanted[name]}


SOUND = np.pad(np.ones((2, 2, 2), dtype=bool), 1)
ONES = (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mesh_coefficients(SOUND.astype(np.uint8), ONES), TypeError, "bool is required"),
        (lambda: mesh_coefficients(SOUND[0], ONES), ValueError, "three axes"),
        (lambda: mesh_coefficients(SOUND[:1], ONES), ValueError, "two voxels"),
        (lambda: mesh_coefficients(SOUND[1:], ONES), ValueError, "border"),
        (lambda: mesh_coefficients(SOUND[:, :-1], ONES), ValueError, "border"),
        (lambda: mesh_coefficients(SOUND, (1.0, 0.0, 1.0)), ValueError, "three lengths"),
        (lambda: mesh_coefficients(SOUND, (1.0, float("nan"), 1.0)), ValueError, "three lengths"),
        (lambda: mesh_coefficients(SOUND, (1.0, 1.0, float("inf"))), ValueError, "three lengths"),
        (lambda: mesh_coefficients(SOUND, (1.0, 1.0)), ValueError, "three lengths"),  # type: ignore[arg-type]
        (lambda: _mesh.coefficients(np.zeros((2, 2, 2)), ONES), ValueError, "bytes"),  # type: ignore[arg-type]
        (lambda: _mesh.coefficients(np.zeros((2, 0, 2), dtype=bool), ONES), ValueError, "one voxel"),
        (lambda: _mesh.coefficients(SOUND[0], ONES), ValueError, "three axes"),
    ],
)
def test_refusals(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
