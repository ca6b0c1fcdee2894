"""Inner folds that keep the copies of a patient together: a bootstrap sample holds most patients several times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

Folds = list[tuple[NDArray[np.intp], NDArray[np.intp]]]
"""Rows to fit on and rows held out, one pair a fold."""


def stratified_folds(outcome: NDArray[np.int64], patients: Sequence[str], count: int, seed: int) -> Folds:
    """Deal patients to folds, stratified by outcome; all rows of a patient go to the same fold.

    A row that is held out while a copy of it is learned from would be recognized, and the fold would find an error of nothing.
    Folds are equal in patients, not in rows. Without copies these are the folds of scikit-learn's ``StratifiedKFold``.

    Parameters
    ----------
    outcome
        (n_rows,), 0 or 1; the same for all rows of a patient.
    patients
        (n_rows,) the patient of each row.
    count
        At most the number of patients in the smaller class (:func:`smaller_class`).
    """
    first, owner = distinct_patients(patients)
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    folds = []
    for _, held_out in splitter.split(np.zeros(len(first)), outcome[first]):
        out = np.isin(owner, held_out)
        folds.append((np.flatnonzero(~out), np.flatnonzero(out)))
    return folds


def smaller_class(outcome: NDArray[np.int64], patients: Sequence[str]) -> int:
    """Return the number of distinct patients in the smaller class."""
    first, _ = distinct_patients(patients)
    return int(np.bincount(outcome[first], minlength=2).min())


def distinct_patients(patients: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first row of each patient, in order, and for each row the position of its patient among them."""
    position = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    owner = np.array([position[patient] for patient in patients], dtype=np.intp)
    return np.unique(owner, return_index=True)[1], owner
