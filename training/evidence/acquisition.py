"""How the images were acquired, beside each other for the parts of a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nodogram.case import Acquisition
from nodogram.settings import Settings

Group = tuple[str, Sequence[Acquisition]]
NOT_RECORDED = "not recorded"


class CategoryRow(Settings):
    """Patients with one value, in each group."""

    label: str
    value: str
    counts: tuple[int, ...]


class Quantity(Settings):
    """Distribution of a quantity in one group; ``None`` without patients."""

    median: float | None
    lower_quartile: float | None
    upper_quartile: float | None
    minimum: float | None
    maximum: float | None


class QuantityRow(Settings):
    """Distribution of a quantity in each group."""

    label: str
    unit: str
    groups: tuple[Quantity, ...]


class AcquisitionTable(Settings):
    """Scanner and image geometry.

    Attributes
    ----------
    group_names, patient_counts
        One a group.
    categories
        Manufacturer, kernel and tube voltage, the most frequent value first; files such as NIfTI do not record them.
    quantities
        Slice spacing, pixel spacing and tumor volume.
    """

    group_names: tuple[str, ...]
    patient_counts: tuple[int, ...]
    categories: tuple[CategoryRow, ...]
    quantities: tuple[QuantityRow, ...]


_CATEGORIES: tuple[tuple[str, Callable[[Acquisition], str | float | None]], ...] = (
    ("Manufacturer", lambda a: a.manufacturer),
    ("Reconstruction kernel", lambda a: a.convolution_kernel),
    ("Tube voltage, kV", lambda a: a.kvp),
)
_QUANTITIES: tuple[tuple[str, str, Callable[[Acquisition], float]], ...] = (
    ("Slice spacing", "mm", lambda a: a.slice_spacing_mm),
    ("Pixel spacing", "mm", lambda a: a.pixel_spacing_mm),
    ("Tumor volume", "cm³", lambda a: a.region_volume_cm3),
)


def acquisition_table(groups: Sequence[Group]) -> AcquisitionTable:
    """Count scanners and describe geometry in each group.

    Parameters
    ----------
    groups
        Name and acquisitions, such as of development and test.
    """
    return AcquisitionTable(
        group_names=tuple(name for name, _ in groups),
        patient_counts=tuple(len(found) for _, found in groups),
        categories=tuple(row for label, pick in _CATEGORIES for row in _category(label, pick, groups)),
        quantities=tuple(
            QuantityRow(label=label, unit=unit, groups=tuple(_quantity([pick(a) for a in found]) for _, found in groups))
            for label, unit, pick in _QUANTITIES
        ),
    )


def _category(label: str, pick: Callable[[Acquisition], str | float | None], groups: Sequence[Group]) -> list[CategoryRow]:
    columns = [[_text(pick(a)) for a in found] for _, found in groups]
    together = [value for column in columns for value in column]
    values = sorted(set(together), key=lambda v: (v == NOT_RECORDED, -together.count(v), v))
    return [CategoryRow(label=label, value=value, counts=tuple(column.count(value) for column in columns)) for value in values]


def _text(value: str | float | None) -> str:
    if value is None or value == "":
        return NOT_RECORDED
    return f"{value:g}" if isinstance(value, float | int) else value


def _quantity(values: Sequence[float]) -> Quantity:
    if not values:
        return Quantity(median=None, lower_quartile=None, upper_quartile=None, minimum=None, maximum=None)
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return Quantity(
        median=median, lower_quartile=lower, upper_quartile=upper, minimum=float(min(values)), maximum=float(max(values))
    )
