"""What is computed once for several features, against PyRadiomics' own formulas: equal to the last bit."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from radiomics import firstorder, glszm

from nodogram.radiomics import texture
from nodogram.radiomics.calculators import GrayLevels, intensity_features, percentile

SPACING_MM = (2.5, 0.7, 0.9)
FIRST_ORDER = tuple(name for name, old in firstorder.RadiomicsFirstOrder.getFeatureNames().items() if not old)
ZONES = tuple(name for name, old in glszm.RadiomicsGLSZM.getFeatureNames().items() if not old)


class PlainFirstOrder(firstorder.RadiomicsFirstOrder):  # type: ignore[misc]
    """PyRadiomics' first order features of some values, without its images."""

    def __init__(self, values: NDArray[np.float64], counts: NDArray[np.float64]) -> None:
        self.targetVoxelArray = values[None].copy()
        self.voxelArrayShift = 0
        self.pixelSpacing = SPACING_MM[::-1]
        self.coefficients = {"p_i": counts[None] / counts.sum()}


class PlainZones(glszm.RadiomicsGLSZM):  # type: ignore[misc]
    """PyRadiomics' zone features of a matrix with a column for every size."""

    def __init__(self, levels: NDArray[np.int32], present: NDArray[np.intp]) -> None:
        top = int(levels.max())
        self.logger = _Quiet()
        self.coefficients = {"grayLevels": present, "Ng": top}
        absent = sorted(set(range(top)) - set(present - 1))
        self.P_glszm = np.delete(texture.glszm(levels, top)[None], np.array(absent, dtype=int), 1)
        self._calculateCoefficients()


class _Quiet:
    def debug(self, *_: object) -> None: ...


def plain(calculator: Any, names: tuple[str, ...]) -> dict[str, float]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of means of nothing
        return {name: np.asarray(getattr(calculator, f"get{name}FeatureValue")()).item() for name in names}


def assert_same(found: dict[str, float], expected: dict[str, float]) -> None:
    # NaN equals NaN here, and nothing else is equal but the same number.
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(np.array([found[name] for name in expected]), np.array(list(expected.values())))


@st.composite
def intensities(draw: st.DrawFn) -> NDArray[np.float64]:
    """Few and many values, with ties and without, near zero and far from it."""
    count = draw(st.one_of(st.integers(1, 12), st.sampled_from([127, 128, 129, 599, 600, 601, 5000])))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.normal(draw(st.sampled_from([0.0, 40.0, -1e4])), draw(st.sampled_from([1e-3, 30.0, 1e3])), count)
    kind = draw(st.sampled_from(["any", "whole", "single precision", "two", "flat"]))
    return {
        "any": values,
        "whole": np.rint(values),
        "single precision": values.astype(np.float32).astype(np.float64),
        "two": np.where(values > values.mean(), 7.3, -2.1),
        "flat": np.full(count, values[0]),
    }[kind]


def region_of(values: NDArray[np.float64], exact_powers: bool = True) -> GrayLevels:
    """The values among others that must not matter."""
    inside = np.zeros((1, 3, len(values)), dtype=np.bool_)
    inside[0, 1] = True
    box = np.full(inside.shape, 1e5)
    box[inside] = values
    levels = np.zeros(inside.shape, dtype=np.int32)
    levels[inside] = 1 + np.arange(len(values)) % 9 // 2 * 2
    return GrayLevels(box, inside, levels, SPACING_MM, exact_powers)


@settings(max_examples=300, deadline=None)
@given(intensities(), st.floats(0, 100))
def test_percentiles_are_numpys(values: NDArray[np.float64], percent: float) -> None:
    ascending = np.sort(values)
    for asked in (10, 25, 50, 75, 90, 0, 100, percent):
        assert percentile(ascending, asked) == np.nanpercentile(values[None], asked, axis=1)[0]


@settings(max_examples=300, deadline=None)
@given(intensities())
def test_first_order_features_are_pyradiomics(values: NDArray[np.float64]) -> None:
    region = region_of(values)
    expected = plain(PlainFirstOrder(values, region.counts[region.present - 1].astype(np.float64)), FIRST_ORDER)
    assert_same(intensity_features(region, "firstorder", FIRST_ORDER), expected)
    # Nor does it matter which others are asked for.
    for name in FIRST_ORDER:
        assert_same(intensity_features(region, "firstorder", [name]), {name: expected[name]})


@settings(deadline=None)
@given(intensities())
def test_products_change_moments_by_rounding_only(values: NDArray[np.float64]) -> None:
    exact, products = (intensity_features(region_of(values, exact), "firstorder", FIRST_ORDER) for exact in (True, False))
    for name in ("Skewness", "Kurtosis"):
        assert products[name] == pytest.approx(exact[name], rel=1e-12, abs=1e-12, nan_ok=True)
    others = exact.keys() - {"Skewness", "Kurtosis"}
    assert_same({name: products[name] for name in others}, {name: exact[name] for name in others})


@settings(max_examples=300, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 3).filter(lambda shape: max(shape) > 1),
    present=st.sets(st.integers(1, 9), min_size=1, max_size=4),
    density=st.sampled_from([0.05, 0.4, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_zone_features_are_pyradiomics(shape: tuple[int, int, int], present: set[int], density: float, seed: int) -> None:
    # Small regions, for none, one and many sizes that do not occur: numpy.delete lays out each of these in another way.
    rng = np.random.default_rng(seed)
    inside = rng.random(shape) < density
    inside.flat[0] = True
    levels = np.where(inside, rng.choice(sorted(present), shape), 0).astype(np.int32)
    region = GrayLevels(levels * 25.0, inside, levels, SPACING_MM)
    assert_same(intensity_features(region, "glszm", ZONES), plain(PlainZones(levels, region.present), ZONES))
