from __future__ import annotations

import numpy as np
import pytest

from nodogram.errors import Reason, TrainingError
from nodogram.features import FeatureTable
from training.guard import FitScope, LabeledTable


def test_scope_admits_its_patients_and_nobody_else() -> None:
    scope = FitScope("fold 1", frozenset({"a", "b"}))
    assert scope.admit(("b",), "LASSO") == ("b",)
    with pytest.raises(TrainingError, match="1 held-out patients reached the fit of LASSO") as caught:
        scope.admit(("a", "c"), "LASSO")
    assert caught.value.reason is Reason.HELD_OUT_PATIENT_IN_FIT
    assert "c" not in caught.value.message.split()


def test_labels_follow_their_rows() -> None:
    table = FeatureTable(("a", "b", "c"), ("radiomics.x",), np.array([[1.0], [2.0], [3.0]]))
    data = LabeledTable(table, np.array([0, 1, 1])).rows(("c", "a"))
    assert data.outcome.tolist() == [1, 0]
    assert data.table.values.ravel().tolist() == [3.0, 1.0]
    with pytest.raises(ValueError, match="0 or 1"):
        LabeledTable(table, np.array([0, 1, 2]))
