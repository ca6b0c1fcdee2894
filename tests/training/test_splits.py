from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodogram.errors import CohortError, Reason
from training.cohort import Patient
from training.recipe import SplitSettings
from training.splits import make_split

SETTINGS = SplitSettings(test_fraction=0.3, folds=5)


def patients(outcomes: list[int], splits: list[str | None] | None = None) -> tuple[Patient, ...]:
    return tuple(
        Patient(
            patient_id=f"p{i}",
            image=Path("i"),
            roi=Path("r"),
            roi_name=None,
            outcome=y,
            clinical={},
            roi_reader_b=None,
            roi_repeat=None,
            centre=None,
            split=None if splits is None else splits[i],
        )
        for i, y in enumerate(outcomes)
    )


@given(events=st.integers(12, 40), others=st.integers(12, 40), seed=st.integers(0, 1000))
def test_every_patient_has_one_role_and_one_fold(events: int, others: int, seed: int) -> None:
    cohort = patients([1] * events + [0] * others)
    split = make_split(cohort, SETTINGS, seed)
    everyone = {p.patient_id for p in cohort}
    assert set(split.development) | set(split.test) == everyone
    assert not set(split.development) & set(split.test)
    held_out = [c for fold in split.folds for c in fold.held_out]
    assert sorted(held_out) == sorted(split.development)
    for fold in split.folds:
        assert not set(fold.fit) & set(fold.held_out)
        assert fold.scope.allowed == set(fold.fit)
    assert make_split(cohort, SETTINGS, seed).digest == split.digest


def test_stratification_keeps_the_prevalence() -> None:
    split = make_split(patients([1] * 40 + [0] * 60), SETTINGS, 1)
    assert sum(int(c[1:]) < 40 for c in split.test) == 12
    assert len(split.test) == 30


def test_split_column_takes_precedence() -> None:
    roles: list[str | None] = ["test" if i % 4 == 0 else "development" for i in range(40)]
    split = make_split(patients([i % 2 for i in range(40)], roles), SETTINGS, 1)
    assert split.test == tuple(f"p{i}" for i in range(0, 40, 4))


def test_too_few_events_are_refused_with_counts() -> None:
    with pytest.raises(CohortError, match="4 patients with") as caught:
        make_split(patients([1] * 4 + [0] * 60), SETTINGS, 1)
    assert caught.value.reason is Reason.COHORT_TOO_SMALL
