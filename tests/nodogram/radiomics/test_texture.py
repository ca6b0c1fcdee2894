"""Texture matrices against closed forms and, bit for bit, against PyRadiomics' own C."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from radiomics import cMatrices
from scipy import ndimage

from nodogram.radiomics import _texture, texture

MATRICES: dict[str, Callable[[texture.Levels, int], texture.Matrix]] = {
    "glcm": texture.glcm,
    "glrlm": texture.glrlm,
    "glszm": texture.glszm,
    "gldm": texture.gldm,
    "ngtdm": texture.ngtdm,
}
EACH = pytest.mark.parametrize("name", MATRICES)


def expected(name: str, levels: texture.Levels, level_count: int) -> texture.Matrix:
    """What PyRadiomics' feature classes get from their C with default settings."""
    region, distances, whole = levels > 0, np.array([1]), (False, 0)
    matrix: texture.Matrix
    match name:
        case "glcm":
            (matrix,), _ = cMatrices.calculate_glcm(levels, region, distances, level_count, *whole)
        case "glrlm":
            (matrix,), _ = cMatrices.calculate_glrlm(levels, region, level_count, max(levels.shape), *whole)
        case "glszm":
            (matrix,) = cMatrices.calculate_glszm(levels, region, level_count, int(region.sum()), *whole)
        case "gldm":
            (matrix,) = cMatrices.calculate_gldm(levels, region, distances, level_count, 0, *whole)
        case _:
            (matrix,) = cMatrices.calculate_ngtdm(levels, region, distances, level_count, *whole)
    return matrix


def assert_same(found: texture.Matrix, wanted: texture.Matrix) -> None:
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    assert found.flags.c_contiguous
    assert found.tobytes() == wanted.tobytes()


@st.composite
def regions(draw: st.DrawFn) -> tuple[texture.Levels, int]:
    """Levels of a region of any form, sparse to full, one to many levels with gaps between them, and their number."""
    shape = draw(st.tuples(*[st.integers(1, 8)] * 3).filter(lambda shape: max(shape) > 1))
    palette = draw(st.lists(st.integers(1, draw(st.sampled_from([1, 3, 12, 300]))), min_size=1, max_size=12))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    region = generator.random(shape) < draw(st.sampled_from([0.02, 0.1, 0.4, 0.8, 1.0]))
    region[tuple(generator.integers(shape))] = True  # PyRadiomics refuses to look for zones where there are none
    levels = np.where(region, generator.choice(palette, shape), 0)
    return levels, max(palette) + draw(st.integers(0, 2))


@given(regions())
def test_equal_to_pyradiomics(region: tuple[texture.Levels, int]) -> None:
    for name, matrix in MATRICES.items():
        assert_same(matrix(*region), expected(name, *region))


@given(hnp.arrays(np.int64, (3, 4, 3), elements=st.integers(0, 3)).filter(np.any))
def test_equal_to_pyradiomics_on_every_pattern_of_few_levels(levels: texture.Levels) -> None:
    for name, matrix in MATRICES.items():
        assert_same(matrix(levels, 3), expected(name, levels, 3))


@pytest.fixture(scope="module")
def smooth() -> texture.Levels:
    """14 gray levels in a sphere with a hole and a second part, like a filtered image."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((30, 30, 30)), 1.5)
    levels = 1 + np.digitize(noise, np.quantile(noise, np.arange(1, 14) / 14))
    distance = np.linalg.norm(np.indices(noise.shape) - 14.5, axis=0)
    outside = ((distance > 13) & (distance < 20)) | (distance < 3)
    return np.where(outside, 0, levels)


@EACH
def test_equal_to_pyradiomics_on_larger_regions(name: str, smooth: texture.Levels) -> None:
    noise = np.random.default_rng(1).integers(0, 6, (30, 30, 30))
    for levels in (smooth, noise):
        level_count = int(levels.max())
        assert_same(MATRICES[name](levels, level_count), expected(name, levels, level_count))


@pytest.mark.parametrize("shape", [(2, 2, 2), (5, 6, 7), (1, 4, 9), (8, 1, 3), (1, 1, 5)])
def test_directions_are_those_of_pyradiomics(shape: tuple[int, int, int]) -> None:
    wanted = cMatrices.generate_angles(np.array(shape), np.array([1]), 0, False, 0)
    np.testing.assert_array_equal(texture.directions(shape), wanted)


def test_uniform_box() -> None:
    size = np.array([4, 5, 6])
    levels = np.full(size, 2)
    steps = texture.directions(levels.shape)
    pairs = (size - np.abs(steps)).prod(axis=1)

    glcm = texture.glcm(levels, 3)
    np.testing.assert_array_equal(glcm[1, 1], pairs)
    assert glcm.sum() == pairs.sum()

    glrlm = texture.glrlm(levels, 3)
    lengths = np.arange(1, 7)
    assert glrlm.shape == (3, 6, 13)
    np.testing.assert_array_equal((glrlm[1] * lengths[:, np.newaxis]).sum(axis=0), 120)
    np.testing.assert_array_equal(glrlm[1].sum(axis=0), 120 - pairs)  # each pair joins two runs of one voxel
    assert glrlm[1, 5, 12] == 4 * 5

    glszm = texture.glszm(levels, 3)
    assert glszm.shape == (3, 120)
    assert glszm[1, 119] == glszm.sum() == 1

    gldm = texture.gldm(levels, 3)
    inside = 2 * 3 * 4
    assert gldm[1, 26] == inside
    assert gldm[1, 7] == 8
    assert gldm.sum() == 120
    np.testing.assert_array_equal(texture.ngtdm(levels, 3), [[0, 0, 1], [120, 0, 2], [0, 0, 3]])


def test_tone_difference_of_one_bright_voxel() -> None:
    levels = np.ones((3, 3, 3), dtype=np.uint8)
    levels[1, 1, 1] = 27
    neighbors = np.array([7, 11, 17])  # of a corner, an edge, a face
    wanted = np.dot([8, 12, 6], (neighbors - 1 + 27) / neighbors - 1)
    matrix = texture.ngtdm(levels, 27)
    assert matrix[26].tolist() == [1, 26, 27]
    assert matrix[0, :2] == pytest.approx([26, wanted], rel=1e-14)


def test_zones_meet_at_corners_and_late() -> None:
    """A comb whose teeth join in the last row, and a voxel that touches it by a corner only."""
    comb = np.zeros((2, 4, 7), dtype=np.int32)
    comb[0, :, ::2] = 1
    comb[0, 3, :] = 1
    comb[1, 2, 1] = 1
    matrix = texture.glszm(comb, 1)
    assert matrix.shape == (1, 4 * 4 + 3 + 1)
    assert matrix[0, -1] == matrix.sum() == 1


def test_a_direction_in_which_the_region_is_flat_has_no_runs() -> None:
    levels = np.zeros((4, 4, 4), dtype=np.int32)
    levels[1, 0, 0] = levels[1, 0, 3] = 5  # aligned along x, with a gap
    matrix = texture.glrlm(levels, 5)
    assert matrix[4, 0, 12] == matrix.sum() == 2


@EACH
def test_a_region_without_voxels_counts_nothing(name: str) -> None:
    levels = np.zeros((3, 3, 3), dtype=np.int16)
    matrix = MATRICES[name](levels, 2)
    if name == "glszm":  # which PyRadiomics refuses
        assert matrix.shape == (2, 1)
    else:
        assert_same(matrix, expected(name, levels, 2))
    assert matrix.sum() == (3 if name == "ngtdm" else 0)  # NGTDM names its levels


@given(regions())
def test_a_border_of_zeros_adds_only_empty_columns(region: tuple[texture.Levels, int]) -> None:
    levels, level_count = region
    existing = [step in texture.directions(levels.shape).tolist() for step in texture.directions((2, 2, 2)).tolist()]
    for name, matrix in MATRICES.items():
        wanted = matrix(levels, level_count)
        found = matrix(np.pad(levels, 2), level_count)
        kept = found[..., existing] if wanted.ndim == 3 else found
        kept = kept[:, : wanted.shape[1]]
        np.testing.assert_array_equal(kept, wanted, err_msg=name)
        assert found.sum() == kept.sum()


@EACH
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_neither_type_nor_memory_order_matters(name: str, dtype: str, smooth: texture.Levels) -> None:
    wanted = MATRICES[name](smooth, 14)
    levels = smooth.astype(dtype)
    strided = np.zeros((60, 30, 30), dtype=dtype)
    strided[::2] = levels
    unaligned = np.frombuffer(b"\0" + levels.tobytes(), dtype=dtype, offset=1).reshape(levels.shape)
    for same in (levels, np.asfortranarray(levels), strided[::2], levels[::-1][::-1], unaligned):
        assert MATRICES[name](same, 14).tobytes() == wanted.tobytes()


@EACH
def test_threads_do_not_disturb_each_other(name: str, smooth: texture.Levels) -> None:
    cases = [smooth, np.ascontiguousarray(smooth[::-1, :, ::-1]), smooth.transpose(2, 0, 1)] * 4
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda levels: MATRICES[name](levels, 14).tobytes(), cases))
    assert found == [MATRICES[name](levels, 14).tobytes() for levels in cases]


LEVELS = np.ones((2, 3, 4), dtype=np.int32)


@EACH
@pytest.mark.parametrize("value", [-1, 4, 2**16 + 1, 2**32 + 1, -(2**40)])
def test_refuses_levels_out_of_range(name: str, value: int) -> None:
    levels = LEVELS.astype(np.int64)
    levels[1, 2, 3] = value
    with pytest.raises(ValueError, match="gray levels must be from 0, which is outside, to 3"):
        MATRICES[name](levels, 3)


@EACH
@pytest.mark.parametrize("levels", [LEVELS.astype(np.float64), LEVELS > 0, LEVELS.astype(">i4"), LEVELS.astype(object)])
def test_refuses_what_is_not_integers(name: str, levels: texture.Levels) -> None:
    with pytest.raises(TypeError, match="integers in the machine's byte order"):
        MATRICES[name](levels, 3)


@EACH
@pytest.mark.parametrize("levels", [LEVELS[0], LEVELS[:1, :1, :1], LEVELS[np.newaxis], np.ones(3, dtype=int)])
def test_refuses_arrays_without_three_axes_or_directions(name: str, levels: texture.Levels) -> None:
    with pytest.raises(ValueError, match="three axes, at least one of them of two voxels, are required"):
        MATRICES[name](levels, 3)


@EACH
def test_refuses_sizes_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 65533 voxels"):
        MATRICES[name](LEVELS[:0], 3)
    with pytest.raises(ValueError, match="1 to 65533 voxels"):
        MATRICES[name](np.ones((1, 1, 65534), dtype=np.uint8), 1)
    with pytest.raises(ValueError, match="less than 2\\^31 voxels"):
        MATRICES[name](np.zeros((27000, 27000, 1), dtype=np.uint8), 1)  # never touched, hence no memory


@EACH
def test_refuses_level_counts_out_of_range(name: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 65535"):
        MATRICES[name](LEVELS, 0)
    if name != "glcm":  # which would ask for the memory of its matrix first
        with pytest.raises(ValueError, match="from 1 to 65535"):
            MATRICES[name](LEVELS, 65536)


@pytest.mark.parametrize(("name", "shape"), [("glcm", (1, 1, 13)), ("glrlm", (1, 4, 13)), ("gldm", (1, 53)), ("ngtdm", (1, 3))])
def test_fills_no_matrix_but_the_right_one(name: str, shape: tuple[int, ...]) -> None:
    fill = getattr(_texture, name)
    fill(LEVELS, 1, np.empty(shape))
    read_only = np.empty(shape)
    read_only.flags.writeable = False
    wrong = (
        np.empty((*shape[:-1], shape[-1] + 1)), np.empty((2, *shape[1:])), np.empty((*shape, 1)), np.empty(shape, np.float32),
        np.empty((*shape[:-1], 2 * shape[-1]))[..., ::2], read_only, None,
    )  # fmt: skip
    for matrix in wrong:
        with pytest.raises((ValueError, TypeError, BufferError)):
            fill(LEVELS, 1, matrix)
