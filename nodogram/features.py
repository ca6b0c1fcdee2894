"""Named numbers: one patient's feature vector and a cohort's feature table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nodogram.errors import FeatureError, Reason

PREFIXES = ("radiomics.", "deep.", "clinical.")


@dataclass(frozen=True, eq=False)
class FeatureVector:
    """Ordered named values of one case.

    Parameters
    ----------
    names
        Unique names, each starting with ``radiomics.``, ``deep.`` or ``clinical.``.
    values
        float64 (n_features,), finite.

    Raises
    ------
    FeatureError
        ``FEATURE_NOT_FINITE`` naming the feature, or ``FEATURE_UNKNOWN`` for a bad or repeated name.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64).reshape(-1)
        values.setflags(write=False)
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "values", values)
        _check_names(self.names, values.shape[0])
        bad = ~np.isfinite(values)
        if bad.any():
            first = self.names[int(np.flatnonzero(bad)[0])]
            raise FeatureError(
                Reason.FEATURE_NOT_FINITE, f"{int(bad.sum())} of {values.size} features have no finite value, first {first}"
            )

    def __len__(self) -> int:
        return len(self.names)

    def select(self, names: Sequence[str]) -> FeatureVector:
        """Return the named features in the order asked for."""
        return FeatureVector(tuple(names), self.values[_positions(self.names, tuple(names))])

    @staticmethod
    def concatenate(vectors: Iterable[FeatureVector]) -> FeatureVector:
        """Join vectors end to end; names must stay unique."""
        parts = list(vectors)
        names = tuple(name for part in parts for name in part.names)
        values = np.concatenate([part.values for part in parts]) if parts else np.empty(0)
        return FeatureVector(names, values)


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """The same features of several cases.

    Parameters
    ----------
    case_ids
        Unique row labels.
    names
        Unique prefixed column labels.
    values
        float64 (n_cases, n_features), finite.
    """

    case_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.setflags(write=False)
        object.__setattr__(self, "case_ids", tuple(self.case_ids))
        object.__setattr__(self, "names", tuple(self.names))
        object.__setattr__(self, "values", values)
        if values.shape != (len(self.case_ids), len(self.names)):
            raise FeatureError(
                Reason.FEATURE_UNKNOWN,
                f"values {values.shape} do not match {len(self.case_ids)} cases x {len(self.names)} names",
            )
        if len(set(self.case_ids)) != len(self.case_ids):
            raise FeatureError(Reason.FEATURE_UNKNOWN, "a case occurs more than once in the feature table")
        _check_names(self.names, values.shape[1])
        if not np.isfinite(values).all():
            row, column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise FeatureError(Reason.FEATURE_NOT_FINITE, f"{self.names[column]} of row {row} has no finite value")

    @staticmethod
    def from_vectors(case_ids: Sequence[str], vectors: Sequence[FeatureVector]) -> FeatureTable:
        """Stack vectors that share one ordered list of names."""
        names = vectors[0].names if vectors else ()
        for case_id, vector in zip(case_ids, vectors, strict=True):
            if vector.names != names:
                raise FeatureError(Reason.FEATURE_UNKNOWN, f"features of row {case_id} differ from those of the first row")
        values = np.stack([v.values for v in vectors]) if vectors else np.empty((0, 0))
        return FeatureTable(tuple(case_ids), names, values)

    def rows(self, case_ids: Sequence[str]) -> FeatureTable:
        """Return the given cases in the order asked for."""
        return FeatureTable(tuple(case_ids), self.names, self.values[_positions(self.case_ids, tuple(case_ids))])

    def select(self, names: Sequence[str]) -> FeatureTable:
        """Return the named columns in the order asked for."""
        return FeatureTable(self.case_ids, tuple(names), self.values[:, _positions(self.names, tuple(names))])

    def join(self, other: FeatureTable) -> FeatureTable:
        """Append the columns of another table of the same cases in the same order."""
        if other.case_ids != self.case_ids:
            raise FeatureError(Reason.FEATURE_UNKNOWN, "tables of different cases cannot be joined")
        return FeatureTable(self.case_ids, self.names + other.names, np.hstack([self.values, other.values]))


# A server asks the same of the same names with every case.
@lru_cache(maxsize=16)
def _positions(names: tuple[str, ...], wanted: tuple[str, ...]) -> NDArray[np.intp]:
    position = {name: i for i, name in enumerate(names)}
    missing = [name for name in wanted if name not in position]
    if missing:
        raise FeatureError(Reason.FEATURE_UNKNOWN, f"{len(missing)} of {len(wanted)} names are not present, first {missing[0]}")
    found = np.array([position[name] for name in wanted], dtype=np.intp)
    found.setflags(write=False)
    return found


def _check_names(names: tuple[str, ...], count: int) -> None:
    if len(names) != count:
        raise FeatureError(Reason.FEATURE_UNKNOWN, f"{len(names)} names for {count} values")
    _check_each(names)


@lru_cache(maxsize=16)
def _check_each(names: tuple[str, ...]) -> None:
    if len(set(names)) != len(names):
        raise FeatureError(Reason.FEATURE_UNKNOWN, "feature names must be unique")
    foreign = [name for name in names if not name.startswith(PREFIXES)]
    if foreign:
        raise FeatureError(Reason.FEATURE_UNKNOWN, f"{foreign[0]!r} does not start with one of {', '.join(PREFIXES)}")
