"""Who may be learned from: labeled data that remembers its patients, and a scope no held-out patient can enter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import Reason, TrainingError
from nodogram.features import FeatureTable


@dataclass(frozen=True)
class FitScope:
    """The patients a chain may see; every ``fit`` asks it first.

    Attributes
    ----------
    label
        What is being fitted, such as ``fold 2`` or ``final``.
    allowed
        Patient identifiers that may be seen.
    patient_of
        Patient of each row label that is not the patient's identifier itself: of the copies in a bootstrap sample.
    """

    label: str
    allowed: frozenset[str]
    patient_of: Mapping[str, str] = field(default_factory=dict, hash=False)

    def patients(self, case_ids: tuple[str, ...]) -> tuple[str, ...]:
        """Return the patient of each row; rows of one patient must not be torn apart by an inner split."""
        return tuple(self.patient_of.get(c, c) for c in case_ids)

    def admit(self, case_ids: tuple[str, ...], what: str) -> tuple[str, ...]:
        """Return the identifiers unchanged if all may be seen.

        Raises
        ------
        TrainingError
            ``HELD_OUT_PATIENT_IN_FIT`` with the number of foreign patients.
        """
        foreign = set(self.patients(case_ids)) - self.allowed
        if foreign:
            raise TrainingError(
                Reason.HELD_OUT_PATIENT_IN_FIT,
                f"{len(foreign)} held-out patients reached the fit of {what} ({self.label}); none may",
            )
        return case_ids


@dataclass(frozen=True, eq=False)
class LabeledTable:
    """Features with the outcome of each row.

    Attributes
    ----------
    table
        (n_cases, n_features).
    outcome
        int64 (n_cases,), 0 or 1.
    """

    table: FeatureTable
    outcome: NDArray[np.int64]

    def __post_init__(self) -> None:
        outcome = np.array(self.outcome, dtype=np.int64)
        outcome.setflags(write=False)
        object.__setattr__(self, "outcome", outcome)
        if outcome.shape != (len(self.table.case_ids),) or not np.isin(outcome, (0, 1)).all():
            raise ValueError(f"outcome of shape {outcome.shape} must give 0 or 1 for each of {len(self.table.case_ids)} cases")

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Row labels."""
        return self.table.case_ids

    def rows(self, case_ids: tuple[str, ...]) -> LabeledTable:
        """Return the given cases in the order asked for."""
        position = {case_id: i for i, case_id in enumerate(self.case_ids)}
        return LabeledTable(self.table.rows(case_ids), self.outcome[[position[c] for c in case_ids]])

    def select(self, names: tuple[str, ...]) -> LabeledTable:
        """Return the named features."""
        return LabeledTable(self.table.select(names), self.outcome)
