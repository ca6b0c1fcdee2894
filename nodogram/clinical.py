"""Clinical predictors: their dictionary, and records turned into design-matrix columns with explicit references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from nodogram.case import ClinicalRecord
from nodogram.errors import CohortError, Reason
from nodogram.features import FeatureVector
from nodogram.settings import Settings


class ClinicalPredictor(Settings):
    """One clinical input.

    Attributes
    ----------
    name
        Column in the cohort table and key in a request.
    label
        How tables and the nomogram print it.
    type
        ``categorical`` with ``levels``, or ``continuous`` with ``unit`` and ``range``.
    levels
        Allowed levels in printing order, at least two.
    reference
        The level every odds ratio compares with; one of ``levels``.
    unit
        Unit of a continuous predictor.
    range
        Plausible values (low, high); values outside are refused as typing errors.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    label: str
    type: Literal["categorical", "continuous"]
    levels: tuple[str, ...] = ()
    reference: str | None = None
    unit: str | None = None
    range: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ClinicalPredictor:
        if self.type == "categorical":
            if len(self.levels) < 2 or len(set(self.levels)) != len(self.levels):
                raise ValueError(f"{self.name}: a categorical predictor needs at least two distinct levels")
            if self.reference not in self.levels:
                raise ValueError(f"{self.name}: reference {self.reference!r} is not one of {', '.join(self.levels)}")
        else:
            if self.levels or self.reference is not None:
                raise ValueError(f"{self.name}: a continuous predictor has a unit and a range, no levels")
            if self.range is None or not self.range[0] < self.range[1]:
                raise ValueError(f"{self.name}: a continuous predictor needs a plausible range (low, high)")
        return self

    @property
    def column_names(self) -> tuple[str, ...]:
        """Design columns: ``clinical.name[level]`` for each level but the reference, or ``clinical.name``."""
        if self.type == "continuous":
            return (f"clinical.{self.name}",)
        return tuple(f"clinical.{self.name}[{level}]" for level in self.levels if level != self.reference)

    def parse(self, raw: str | float) -> str | float:
        """Return the checked level or number.

        Raises
        ------
        CohortError
            ``CLINICAL_VALUE_INVALID`` with the allowed levels or range.
        """
        if self.type == "categorical":
            text = str(raw).strip()
            if text not in self.levels:
                raise CohortError(
                    Reason.CLINICAL_VALUE_INVALID, f"{self.name} is {text!r}; allowed levels are {', '.join(self.levels)}"
                )
            return text
        low, high = self.range or (-math.inf, math.inf)
        try:
            number = float(raw)
        except ValueError:
            number = math.nan
        if not low <= number <= high:
            raise CohortError(
                Reason.CLINICAL_VALUE_INVALID,
                f"{self.name} is {raw!r}; a number of {low:g} to {high:g} {self.unit or ''} is required",
            )
        return number

    def encode(self, raw: str | float) -> tuple[float, ...]:
        """Return the design values of one raw value, in the order of ``column_names``."""
        value = self.parse(raw)
        if isinstance(value, float):
            return (value,)
        return tuple(float(value == level) for level in self.levels if level != self.reference)


def is_missing(raw: str | float | None) -> bool:
    """Tell whether a raw clinical value stands for "not known"."""
    return raw is None or (isinstance(raw, float) and math.isnan(raw)) or str(raw).strip() == ""


def check_record(predictors: Sequence[ClinicalPredictor], record: ClinicalRecord) -> tuple[str, ...]:
    """Check what a record says and return the names of predictors it says nothing of.

    Raises
    ------
    CohortError
        ``CLINICAL_PREDICTOR_UNKNOWN`` for a key that is no predictor, which may well be a misspelt one, or
        ``CLINICAL_VALUE_INVALID``.
    """
    unknown = sorted(set(record) - {p.name for p in predictors})
    if unknown:
        known = ", ".join(p.name for p in predictors) or "none"
        raise CohortError(Reason.CLINICAL_PREDICTOR_UNKNOWN, f"{', '.join(unknown)}: known predictors are {known}")
    missing = missing_predictors(predictors, record)
    for predictor in predictors:
        if predictor.name not in missing:
            predictor.parse(record[predictor.name])
    return missing


def encode_record(predictors: Sequence[ClinicalPredictor], record: ClinicalRecord) -> FeatureVector:
    """Turn a clinical record into design-matrix columns.

    Raises
    ------
    CohortError
        ``CLINICAL_PREDICTOR_MISSING`` naming every absent predictor, ``CLINICAL_PREDICTOR_UNKNOWN`` for a key that is no
        predictor, or ``CLINICAL_VALUE_INVALID``.
    """
    missing = check_record(predictors, record)
    if missing:
        raise CohortError(Reason.CLINICAL_PREDICTOR_MISSING, f"no value for {', '.join(missing)}; nothing is guessed")
    names = tuple(name for p in predictors for name in p.column_names)
    values = [value for p in predictors for value in p.encode(record[p.name])]
    return FeatureVector(names, np.array(values, dtype=np.float64))


def missing_predictors(predictors: Sequence[ClinicalPredictor], record: ClinicalRecord) -> tuple[str, ...]:
    """Return the names of predictors without a value in the record."""
    return tuple(p.name for p in predictors if is_missing(record.get(p.name)))
