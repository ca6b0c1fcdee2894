"""Who is in development, who in test, and which fold: decided once, by patient, before anything is computed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from nodogram.errors import CohortError, Reason
from nodogram.settings import canonical_json
from training.cohort import Patient
from training.guard import FitScope
from training.recipe import SplitSettings

MINIMUM_PER_CLASS = 6


@dataclass(frozen=True)
class Fold:
    """One cross-fitting fold."""

    index: int
    fit: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def scope(self) -> FitScope:
        """What the chain of this fold may see."""
        return FitScope(f"fold {self.index + 1}", frozenset(self.fit))


@dataclass(frozen=True)
class Split:
    """Patients by role.

    Attributes
    ----------
    development, test
        Patient identifiers in cohort order.
    folds
        Cross-fitting folds of the development patients; each is held out exactly once.
    digest
        SHA-256 of roles and folds, printed on the report, so that two runs can be told to have used the same split.
    """

    development: tuple[str, ...]
    test: tuple[str, ...]
    folds: tuple[Fold, ...]
    digest: str

    @property
    def scope(self) -> FitScope:
        """What the final chain may see."""
        return FitScope("final", frozenset(self.development))


def make_split(patients: tuple[Patient, ...], settings: SplitSettings, seed: int) -> Split:
    """Split patients, stratified by outcome; a ``split`` column in the cohort takes precedence.

    Raises
    ------
    CohortError
        ``COHORT_TOO_SMALL`` with counts if a class is too rare to be cross-fitted.
    """
    outcome = {p.patient_id: p.outcome for p in patients}
    if all(p.split is not None for p in patients):
        development = tuple(p.patient_id for p in patients if p.split == "development")
    elif settings.test_fraction > 0:
        ids = [p.patient_id for p in patients]
        _require(outcome, tuple(ids))
        kept, _ = train_test_split(ids, test_size=settings.test_fraction, stratify=[outcome[i] for i in ids], random_state=seed)
        development = tuple(i for i in ids if i in set(kept))
    else:
        development = tuple(p.patient_id for p in patients)
    rarer = _require(outcome, development)
    folds = _folds(development, outcome, min(settings.folds, rarer), seed)
    test = tuple(p.patient_id for p in patients if p.patient_id not in set(development))
    document = {"development": development, "test": test, "folds": [fold.held_out for fold in folds]}
    return Split(development, test, folds, hashlib.sha256(canonical_json(document)).hexdigest())


def _folds(ids: tuple[str, ...], outcome: dict[str, int], count: int, seed: int) -> tuple[Fold, ...]:
    splitter = StratifiedKFold(n_splits=count, shuffle=True, random_state=seed)
    labels = np.array([outcome[i] for i in ids])
    return tuple(
        Fold(k, tuple(ids[i] for i in fit), tuple(ids[i] for i in held_out))
        for k, (fit, held_out) in enumerate(splitter.split(np.zeros(len(ids)), labels))
    )


def _require(outcome: dict[str, int], ids: tuple[str, ...]) -> int:
    events = sum(outcome[i] for i in ids)
    rarer = min(events, len(ids) - events)
    if rarer < MINIMUM_PER_CLASS:
        raise CohortError(
            Reason.COHORT_TOO_SMALL,
            f"{events} patients with and {len(ids) - events} without the outcome can be used for development; "
            f"at least {MINIMUM_PER_CLASS} of each are required",
        )
    return rarer
