"""By what patients are told apart: clinical findings, center, scanner, slices, tumor size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nodogram.case import Acquisition, ClinicalRecord
from nodogram.clinical import ClinicalPredictor, is_missing
from training.evidence.baselines import ct_report

AS_RECORDED = "as recorded"


@dataclass(frozen=True, eq=False)
class Characteristic:
    """A division of patients into levels.

    Attributes
    ----------
    rule
        How the levels were made, in words.
    levels
        In printing order, at least two.
    reference
        The level others are compared with.
    level_of
        Level by patient; patients of whom it is not known are absent.
    """

    name: str
    label: str
    rule: str
    levels: tuple[str, ...]
    reference: str
    level_of: Mapping[str, str]

    def __post_init__(self) -> None:
        if (
            len(set(self.levels)) < 2
            or self.reference not in self.levels
            or not set(self.level_of.values()) <= set(self.levels)
        ):
            raise ValueError(f"{self.name}: at least two levels, the reference and those of all patients among them")


def characteristics(
    predictors: Sequence[ClinicalPredictor],
    records: Mapping[str, ClinicalRecord],
    centre: Mapping[str, str | None],
    acquisition: Mapping[str, Acquisition],
    development: Sequence[str],
) -> tuple[Characteristic, ...]:
    """Divide patients by everything that is known of them; what is the same for all is left out.

    Parameters
    ----------
    predictors
        Clinical predictors, candidates or not. A continuous one is split at the median of the development patients.
    records, centre, acquisition
        By patient.
    development
        The patients whose median is the cut, and whose most frequent center or manufacturer is the reference.
    """
    patients = tuple(acquisition)
    development = tuple(c for c in development if c in acquisition)
    found: list[Characteristic | None] = []
    for predictor in predictors:
        known = {
            c: records[c][predictor.name] for c in patients if c in records and not is_missing(records[c].get(predictor.name))
        }
        if predictor.type == "categorical":
            levels = {c: str(predictor.parse(v)) for c, v in known.items()}
            found.append(_named(predictor.name, predictor.label, levels, predictor.levels, predictor.reference))
        else:
            numbers = {c: float(predictor.parse(v)) for c, v in known.items()}
            found.append(_halves(predictor.name, predictor.label, predictor.unit or "", numbers, development))
    centers = {c: v for c in patients if (v := centre.get(c)) is not None}
    makers = {c: v for c, a in acquisition.items() if (v := a.manufacturer) is not None}
    found.append(_frequent("centre", "Center", centers, development))
    found.append(_frequent("manufacturer", "Scanner manufacturer", makers, development))
    for name, label, unit, pick in _QUANTITIES:
        found.append(_halves(name, label, unit, {c: pick(a) for c, a in acquisition.items()}, development))
    return tuple(c for c in found if c is not None)


_QUANTITIES: tuple[tuple[str, str, str, Callable[[Acquisition], float]], ...] = (
    ("slice_spacing", "Slice spacing", "mm", lambda a: a.slice_spacing_mm),
    ("volume", "Tumor volume", "cm³", lambda a: a.region_volume_cm3),
)


def node_negative_patients(
    predictors: Sequence[ClinicalPredictor], records: Mapping[str, ClinicalRecord]
) -> frozenset[str] | None:
    """Return the patients without a metastasis on the CT report, or ``None`` where the cohort does not record it."""
    predictor = ct_report(predictors)
    if predictor is None:
        return None
    return frozenset(
        c
        for c, record in records.items()
        if not is_missing(record.get(predictor.name)) and predictor.parse(record[predictor.name]) == predictor.reference
    )


def _named(
    name: str, label: str, level_of: Mapping[str, str], order: Sequence[str], reference: str | None
) -> Characteristic | None:
    levels = tuple(level for level in order if level in set(level_of.values()))
    if len(levels) < 2:
        return None
    first = reference if reference is not None and reference in levels else levels[0]
    return Characteristic(name, label, AS_RECORDED, levels, first, level_of)


def _frequent(name: str, label: str, level_of: Mapping[str, str], development: Sequence[str]) -> Characteristic | None:
    """Levels by name, the most frequent of the development patients the reference."""
    counts = Counter(level_of[c] for c in development if c in level_of)
    levels = sorted(set(level_of.values()))
    reference = min(levels, key=lambda level: -counts[level], default=None)
    return _named(name, label, level_of, levels, reference)


def _halves(
    name: str, label: str, unit: str, numbers: Mapping[str, float], development: Sequence[str]
) -> Characteristic | None:
    """Split at the median of the development patients."""
    learned = [numbers[c] for c in development if c in numbers]
    if not learned:
        return None
    cut = float(np.median(learned))
    low, high = (f"{sign} {cut:.4g} {unit}".rstrip() for sign in ("<", "≥"))
    rule = "split at the median of the development patients"
    if min(numbers.values()) >= cut:  # the median is the smallest value: only above it is anything else
        low, high = (f"{sign} {cut:.4g} {unit}".rstrip() for sign in ("≤", ">"))
        return _named_halves(name, label, rule, (low, high), {c: low if v <= cut else high for c, v in numbers.items()})
    return _named_halves(name, label, rule, (low, high), {c: low if v < cut else high for c, v in numbers.items()})


def _named_halves(
    name: str, label: str, rule: str, levels: tuple[str, str], level_of: Mapping[str, str]
) -> Characteristic | None:
    if len(set(level_of.values())) < 2:
        return None
    return Characteristic(name, label, rule, levels, levels[0], level_of)


def level_masks(characteristic: Characteristic, ids: Sequence[str]) -> Iterator[tuple[str, list[bool]]]:
    """Yield each level with whether the patients, (n,), have it."""
    for level in characteristic.levels:
        yield level, [characteristic.level_of.get(c) == level for c in ids]
