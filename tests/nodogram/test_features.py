from __future__ import annotations

import numpy as np
import pytest

from nodogram.errors import FeatureError, Reason
from nodogram.features import FeatureTable, FeatureVector


def vector(**values: float) -> FeatureVector:
    return FeatureVector(tuple(f"radiomics.{k}" for k in values), np.array(list(values.values())))


def test_selection_follows_the_order_asked_for() -> None:
    chosen = vector(a=1.0, b=2.0, c=3.0).select(("radiomics.c", "radiomics.a"))
    assert chosen.names == ("radiomics.c", "radiomics.a")
    assert chosen.values.tolist() == [3.0, 1.0]


@pytest.mark.parametrize(
    ("names", "values", "reason"),
    [
        (("radiomics.a", "radiomics.a"), [1.0, 2.0], Reason.FEATURE_UNKNOWN),
        (("volume",), [1.0], Reason.FEATURE_UNKNOWN),
        (("radiomics.a",), [1.0, 2.0], Reason.FEATURE_UNKNOWN),
        (("radiomics.a", "deep.0001"), [1.0, np.nan], Reason.FEATURE_NOT_FINITE),
    ],
)
def test_bad_vectors_are_refused(names: tuple, values: list, reason: Reason) -> None:
    with pytest.raises(FeatureError) as caught:
        FeatureVector(names, np.array(values))
    assert caught.value.reason is reason


def test_unknown_feature_is_named() -> None:
    with pytest.raises(FeatureError, match=r"radiomics\.z"):
        vector(a=1.0).select(("radiomics.z",))


def test_table_rows_and_join_keep_cases_together() -> None:
    table = FeatureTable.from_vectors(("p", "q"), (vector(a=1.0, b=2.0), vector(a=3.0, b=4.0)))
    other = FeatureTable(("p", "q"), ("deep.0000",), np.array([[5.0], [6.0]]))
    joined = table.join(other).rows(("q",)).select(("deep.0000", "radiomics.a"))
    assert joined.values.tolist() == [[6.0, 3.0]]
    with pytest.raises(FeatureError, match="different cases"):
        table.join(other.rows(("q", "p")))
