from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from nodogram.features import FeatureTable
from training.stability import stable_features

# Shrout PE, Fleiss JL. Psychol Bull 1979;86:420, Table 2: six targets, four judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=np.float64
)


def table(values: NDArray[np.float64]) -> FeatureTable:
    ids = tuple(f"p{i}" for i in range(len(values)))
    return FeatureTable(ids, tuple(f"radiomics.f{j}" for j in range(values.shape[1])), values)


def test_agreement_of_two_judges_by_the_anova_formula() -> None:
    a, b = SHROUT_FLEISS[:, 0], SHROUT_FLEISS[:, 3]
    n, k, both = 6, 2, np.stack([a, b], axis=1)
    msr = k * ((both.mean(axis=1) - both.mean()) ** 2).sum() / (n - 1)
    msc = n * ((both.mean(axis=0) - both.mean()) ** 2).sum() / (k - 1)
    mse = (((both - both.mean()) ** 2).sum() - (n - 1) * msr - (k - 1) * msc) / ((n - 1) * (k - 1))
    expected = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
    report = stable_features(table(a[:, None]), table(b[:, None]), threshold=0.75, bound="point")
    assert report.icc[0] == pytest.approx(expected, rel=1e-12)
    assert report.patient_count == 6


def test_good_features_are_kept_and_shifted_or_noisy_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 4))
    second = truth + rng.normal(size=truth.shape) * np.array([0.05, 0.5, 3.0, 0.05]) + np.array([0.0, 0.0, 0.0, 2.0])
    first, other = table(truth), table(second)
    point = stable_features(first, other, threshold=0.75, bound="point")
    lower = stable_features(first, other, threshold=0.75, bound="lower_95")
    # The second is good by its estimate (about 0.89) with 40 patients; a constant shift is disagreement (ICC(2,1), not (3,1)).
    assert point.names == ("radiomics.f0", "radiomics.f1")
    assert set(lower.names) <= set(point.names)
    assert "radiomics.f0" in lower.names
    assert (lower.low <= lower.icc).all()
    assert (lower.icc <= lower.high).all()
    strict = stable_features(first, other, threshold=float(point.low[1]) + 1e-9, bound="lower_95")
    assert strict.names == ("radiomics.f0",)


def test_identical_readings_agree_perfectly() -> None:
    values = np.random.default_rng(1).normal(size=(12, 3))
    report = stable_features(table(values), table(values), threshold=1.0, bound="lower_95")
    assert report.names == report.feature_names
    np.testing.assert_array_equal(report.icc, 1.0)


def test_readings_of_other_patients_or_features_are_refused() -> None:
    values = np.zeros((3, 2))
    first = table(values)
    with pytest.raises(ValueError, match="same patients and features"):
        stable_features(first, first.rows(("p1", "p0", "p2")), threshold=0.75, bound="point")
    with pytest.raises(ValueError, match="same patients and features"):
        stable_features(first, first.select(("radiomics.f1", "radiomics.f0")), threshold=0.75, bound="point")


def test_thousands_of_features_take_no_time() -> None:
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(30, 3451))
    start = time.process_time()
    report = stable_features(table(truth), table(truth + 0.1 * rng.normal(size=truth.shape)), threshold=0.75, bound="lower_95")
    assert time.process_time() - start < 5
    assert len(report.names) == 3451
