"""Agreement of measurements and outlines.

Shrout, Fleiss 1979, doi:10.1037/0033-2909.86.2.420: six targets, four judges (Table 2), mean squares (Table 3), six forms of
the ICC (Table 4); intervals by McGraw, Wong 1996 and F ratios as R package psych prints them for the same data. Bland, Altman
1986, doi:10.1016/S0140-6736(86)90837-8: peak flow of 17 subjects by two meters, first readings (Table 1).
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f

from nodogram.stats.agreement import (
    IccEstimates,
    dice,
    hausdorff_95,
    icc_absolute_agreement,
    icc_consistency,
    icc_one_way,
    limits_of_agreement,
    mean_squares,
    surface_distances,
)

RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)
WRIGHT = (494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427)
MINI = (512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451)


def test_shrout_fleiss_mean_squares() -> None:
    found = mean_squares(RATINGS[:, :, None])
    printed = {"subjects": 11.24, "within": 6.26, "raters": 32.49, "error": 1.02}
    assert {name: round(float(getattr(found, name)[0]), 2) for name in printed} == printed
    one_way, two_way = (float(found.subjects[0] / noise[0]) for noise in (found.within, found.error))
    assert (round(one_way, 2), round(two_way, 2)) == (1.79, 11.03)
    assert (f.sf(one_way, 5, 18), f.sf(two_way, 5, 15)) == pytest.approx((0.16477, 0.00013), abs=0.000005)


@pytest.mark.parametrize(
    ("form", "single", "average", "low", "high"),
    [
        (icc_one_way, "0.17", "0.44", -0.133, 0.723),
        (icc_absolute_agreement, "0.29", "0.62", 0.019, 0.761),
        (icc_consistency, "0.71", "0.91", 0.342, 0.946),
    ],
)
def test_shrout_fleiss_table_4(form: object, single: str, average: str, low: float, high: float) -> None:
    found: IccEstimates = form(RATINGS[:, :, None])  # type: ignore[operator]
    icc = float(found.icc[0])
    assert f"{icc:.2f}" == single
    # Spearman and Brown: the mean of four judges.
    assert f"{4 * icc / (1 + 3 * icc):.2f}" == average
    assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=0.00051)


def test_bland_altman_peak_flow() -> None:
    found = limits_of_agreement(np.array(WRIGHT, dtype=float), np.array(MINI, dtype=float))
    assert found is not None
    assert (round(found.bias, 1), round(found.sd, 1)) == (-2.1, 38.8)
    # The paper takes 2 SD for the limits, and 1.96 later on (1999).
    assert (found.bias - 2 * found.sd, found.bias + 2 * found.sd) == pytest.approx((-79.7, 75.5), abs=0.1)
    assert (found.lower, found.upper) == pytest.approx((found.bias - 1.96 * found.sd, found.bias + 1.96 * found.sd))
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.0, 17.8), abs=0.1)
    assert found.error == pytest.approx(16.3, abs=0.05)
    assert limits_of_agreement(np.array([1.0]), np.array([2.0])) is None


def test_features_do_not_influence_each_other() -> None:
    rng = np.random.default_rng(1)
    many = np.concatenate([RATINGS[:, :, None], rng.normal(size=(6, 4, 50)), RATINGS[:, :, None] * 3 - 7], axis=2)
    together = icc_absolute_agreement(many)
    assert together.icc[[0, -1]] == pytest.approx([together.icc[0]] * 2)
    alone = icc_absolute_agreement(many[:, :, 7:8])
    assert (together.icc[7], together.low[7], together.high[7]) == pytest.approx((alone.icc[0], alone.low[0], alone.high[0]))


def test_limits() -> None:
    perfect = np.repeat(np.arange(5.0)[:, None], 2, axis=1)
    ratings = np.stack([perfect, np.ones((5, 2))], axis=2)
    result = icc_absolute_agreement(ratings)
    assert result.icc.tolist() == [1.0, 0.0]
    assert result.low.tolist() == [1.0, 0.0]


def test_a_shift_between_readers_lowers_agreement_but_not_consistency() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(size=30)
    ratings = np.stack([first, first + 1.0], axis=1)[:, :, None]
    assert icc_consistency(ratings).icc[0] == pytest.approx(1.0)
    assert icc_absolute_agreement(ratings).icc[0] < 0.8


def test_dice() -> None:
    first = np.zeros((2, 3, 4), bool)
    second = first.copy()
    assert dice(first, second) == 1.0
    first[0] = True
    second[0, :2] = True
    assert dice(first, second) == pytest.approx(2 * 8 / (12 + 8))


def ball(center_mm: tuple[float, float, float], radius_mm: float, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    shape = tuple(int(40 / s) for s in spacing_mm)
    axes = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing_mm, strict=True)), indexing="ij")
    return sum((axis - c) ** 2 for axis, c in zip(axes, center_mm, strict=True)) <= radius_mm**2


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 0.5), (2.0, 0.5, 0.5), (0.8, 0.5, 1.25)])
def test_concentric_balls_are_their_difference_in_radius_apart(spacing_mm: tuple[float, float, float]) -> None:
    outer, inner = (ball((20, 20, 20), radius, spacing_mm) for radius in (15.0, 9.0))
    distances = surface_distances(outer, inner, spacing_mm)
    assert distances is not None
    # A surface voxel lies anywhere within a voxel of the surface.
    assert distances.first_to_second.mean() == pytest.approx(6.0, abs=0.5 * max(spacing_mm))
    assert hausdorff_95(outer, inner, spacing_mm) == pytest.approx(6.0, abs=max(spacing_mm))
    assert hausdorff_95(outer, outer, spacing_mm) == 0.0


@pytest.mark.parametrize(("axis", "steps"), [(0, 1), (0, 3), (1, 4), (2, 5)])
def test_shifted_cubes_are_the_shift_apart(axis: int, steps: int) -> None:
    spacing_mm = (3.0, 0.7, 1.1)
    first = np.zeros((30, 30, 30), bool)
    first[8:20, 8:20, 8:20] = True
    second = np.roll(first, steps, axis)
    # The face left behind, a sixth of the surface, is that far away, and no voxel is further.
    distances = surface_distances(first, second, spacing_mm)
    assert distances is not None
    assert distances.first_to_second.max() == pytest.approx(steps * spacing_mm[axis])
    assert hausdorff_95(first, second, spacing_mm) == pytest.approx(steps * spacing_mm[axis])


def test_hausdorff_takes_the_larger_direction() -> None:
    first = np.zeros((1, 1, 103), bool)
    first[0, 0, :100] = True
    second = first.copy()
    second[0, 0, 100:] = True
    # 3 of 103 voxels are away from the first: within the 5 % left out; 10 of 110 are not.
    assert hausdorff_95(first, second, (1, 1, 1)) == 0.0
    longer = np.pad(second, ((0, 0), (0, 0), (0, 7)), constant_values=True)
    shorter = np.pad(first, ((0, 0), (0, 0), (0, 7)))
    found = surface_distances(shorter, longer, (1, 1, 2.0))
    assert found is not None
    assert found.first_to_second.max() == 0.0
    expected = np.percentile([*[0.0] * 100, *(2.0 * np.arange(1, 11))], 95)
    assert hausdorff_95(shorter, longer, (1, 1, 2.0)) == pytest.approx(expected)
    assert hausdorff_95(longer, shorter, (1, 1, 2.0)) == pytest.approx(expected)


def test_an_empty_mask_is_at_no_distance() -> None:
    full = np.ones((2, 3, 4), bool)
    for first, second in ((full, ~full), (~full, full), (~full, ~full)):
        assert hausdorff_95(first, second, (1, 1, 1)) is None
    with pytest.raises(ValueError, match="cannot be compared"):
        hausdorff_95(full, np.ones((2, 3, 5), bool), (1, 1, 1))


@given(seed=st.integers(0, 1000))
def test_distances_do_not_depend_on_where_the_masks_lie(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 4, 5, 6)) < 0.3
    first[1, 2, 3] = second[2, 1, 2] = True
    spacing_mm = (2.0, 0.5, 1.0)
    alone = hausdorff_95(first, second, spacing_mm)
    padded = hausdorff_95(np.pad(first, ((3, 1), (0, 4), (2, 0))), np.pad(second, ((3, 1), (0, 4), (2, 0))), spacing_mm)
    assert padded == pytest.approx(alone)
    surfaces = [
        [
            v
            for v in np.argwhere(m)
            if any(not np.pad(m, 1)[tuple(v + 1 + d * e)] for e in np.eye(3, dtype=int) for d in (-1, 1))
        ]
        for m in (first, second)
    ]
    a, b = (np.array(points) * spacing_mm for points in surfaces)
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    assert alone == pytest.approx(max(np.percentile(apart.min(1), 95), np.percentile(apart.min(0), 95)))


@pytest.mark.parametrize(("between", "shift"), [(3.0, 0.0), (1.0, 0.8), (0.1, 0.0)])
def test_equals_pingouin(between: float, shift: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        pingouin = pytest.importorskip("pingouin")
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(11)
    ratings = between * rng.normal(size=(20, 1)) + rng.normal(size=(20, 3)) + np.array([0.0, shift, 0.0])
    subject, rater = np.indices(ratings.shape)
    long = pandas.DataFrame({"subject": subject.ravel(), "rater": rater.ravel(), "value": ratings.ravel()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas deprecations inside pingouin
        table = pingouin.intraclass_corr(long, targets="subject", raters="rater", ratings="value")
    for row, found in (
        (0, icc_one_way(ratings[:, :, None])),
        (1, icc_absolute_agreement(ratings[:, :, None])),
        (2, icc_consistency(ratings[:, :, None])),
    ):
        assert found.icc[0] == pytest.approx(table["ICC"].iloc[row], abs=1e-9)
        # pingouin rounds its bounds to two digits.
        low, high = next(table[name].iloc[row] for name in ("CI95", "CI95%") if name in table)
        assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=0.00501)
