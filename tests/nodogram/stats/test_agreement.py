from __future__ import annotations

import warnings

import numpy as np
import pytest

from nodogram.stats.agreement import dice, icc_absolute_agreement, icc_consistency

# Six targets rated by four judges: Shrout, Fleiss 1979, Table 2.
RATINGS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float)


def test_published_example() -> None:
    absolute = icc_absolute_agreement(RATINGS[:, :, None])
    consistent = icc_consistency(RATINGS[:, :, None])
    assert f"{absolute.icc[0]:.2f}" == "0.29"
    assert f"{consistent.icc[0]:.2f}" == "0.71"
    assert (absolute.low[0], absolute.high[0]) == pytest.approx((0.019, 0.761), abs=0.0006)
    assert (consistent.low[0], consistent.high[0]) == pytest.approx((0.342, 0.946), abs=0.0006)


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
    for row, found in ((1, icc_absolute_agreement(ratings[:, :, None])), (2, icc_consistency(ratings[:, :, None]))):
        assert found.icc[0] == pytest.approx(table["ICC"].iloc[row], abs=1e-9)
        # pingouin rounds its bounds to two digits.
        low, high = next(table[name].iloc[row] for name in ("CI95", "CI95%") if name in table)
        assert (found.low[0], found.high[0]) == pytest.approx((low, high), abs=0.00501)
