"""What a refit of the whole procedure starts from, and all that leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nodogram.case import ClinicalRecord
from nodogram.clinical import ClinicalPredictor
from nodogram.features import FeatureTable
from nodogram.settings import Settings
from training.crossfit import BranchSelection, TrainingData
from training.recipe import Recipe
from training.splits import Fold
from training.weights import InitialWeights

RefitKind = Literal["frozen", "bootstrap", "repeat", "permutation", "noise", "centre"]
Values = tuple[float, ...]


class Probabilities(Settings):
    """Probabilities of the three models; ``clinical`` is ``None`` where the cohort has no candidate predictors."""

    clinical: Values | None
    dlr: Values
    nomogram: Values


class RefitResult(Settings):
    """All that leaves a refit, or the run itself in the same form.

    Attributes
    ----------
    failure
        Why it could not be fitted, or ``None``.
    drawn
        Development patient of each row, by position.
    outcome, fold
        Of each row; ``fold`` is empty where nothing was cross-fitted.
    out_of_fold
        Of each row, from chain, calibration and nomogram that did not see the patient.
    fitted
        Of each development patient, from the final chain and nomogram, whoever was among the rows.
    fold_selections, final_selections
        What each branch of the score selected.
    """

    kind: RefitKind | Literal["run"]
    index: int
    failure: str | None = None
    drawn: tuple[int, ...] = ()
    outcome: tuple[int, ...] = ()
    fold: tuple[int, ...] = ()
    out_of_fold: Probabilities | None = None
    fitted: Probabilities | None = None
    fold_selections: tuple[tuple[BranchSelection, ...], ...] = ()
    final_selections: tuple[BranchSelection, ...] = ()


@dataclass(frozen=True, eq=False)
class RefitMaterial:
    """What every refit starts from.

    Attributes
    ----------
    data
        Development patients alone, so that no refit can come to a test patient; ``pixels`` only where the network is to be
        fine-tuned again.
    deep
        Deep features that nobody tunes again, or ``None``.
    records
        By patient.
    folds
        Cross-fitting folds of the run.
    """

    data: TrainingData
    deep: FeatureTable | None
    records: Mapping[str, ClinicalRecord]
    candidates: tuple[ClinicalPredictor, ...]
    recipe: Recipe
    weights: InitialWeights
    folds: tuple[Fold, ...]

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Development patients."""
        return self.data.case_ids

    @property
    def outcome(self) -> NDArray[np.int64]:
        """Real outcome (n,) of the development patients."""
        return self.data.outcome_of(self.data.case_ids)

    def records_of(self, patients: tuple[str, ...]) -> list[ClinicalRecord]:
        """Return the clinical records of the given patients."""
        return [self.records[patient] for patient in patients]


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows a refit learns from.

    Attributes
    ----------
    case_ids
        Development patients.
    position
        (n_rows,) which of them each row is; a patient may come several times.
    outcome
        (n_rows,) what the refit takes for the outcome.
    """

    case_ids: tuple[str, ...]
    position: NDArray[np.intp]
    outcome: NDArray[np.int64]

    @cached_property
    def patients(self) -> tuple[str, ...]:
        """Patient of each row."""
        return tuple(self.case_ids[i] for i in self.position)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Name of each row, no two alike."""
        return tuple(f"{row}:{patient}" for row, patient in enumerate(self.patients))

    @cached_property
    def patient_of(self) -> dict[str, str]:
        """Patient by name of row."""
        return dict(zip(self.labels, self.patients, strict=True))

    def take(self, source: FeatureTable, rows: NDArray[np.intp]) -> FeatureTable:
        """Return the features of some rows, under their names, from a table of the development patients."""
        values = source.rows(self.case_ids).values[self.position[rows]]
        return FeatureTable(tuple(self.labels[row] for row in rows), source.names, values)
