"""Acquisition per part of the split: counts and quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from nodogram.case import Acquisition
from training.evidence.acquisition import NOT_RECORDED, AcquisitionTable, acquisition_table


def acquired(maker: str | None, kvp: float | None, spacing: float) -> Acquisition:
    return Acquisition(spacing, 0.4, 10 * spacing, kvp, maker, "B30f")


def test_scanners_are_counted_and_geometry_is_described() -> None:
    development = [acquired("S", 120.0, 1.0), acquired("G", 120.0, 2.0), acquired("G", 100.0, 3.0), acquired(None, None, 5.0)]
    test = [acquired("S", 120.0, 1.5), acquired("P", 120.0, 1.5)]
    table = acquisition_table((("Development", development), ("Test", test)))
    assert table.patient_counts == (4, 2)
    assert [(r.label, r.value, r.counts) for r in table.categories] == [
        ("Manufacturer", "G", (2, 0)),
        ("Manufacturer", "S", (1, 1)),
        ("Manufacturer", "P", (0, 1)),
        ("Manufacturer", NOT_RECORDED, (1, 0)),
        ("Reconstruction kernel", "B30f", (4, 2)),
        ("Tube voltage, kV", "120", (2, 2)),
        ("Tube voltage, kV", "100", (1, 0)),
        ("Tube voltage, kV", NOT_RECORDED, (1, 0)),
    ]
    slices = table.quantities[0]
    assert (slices.label, slices.unit) == ("Slice spacing", "mm")
    found = slices.groups[0]
    quartiles = np.percentile([1.0, 2.0, 3.0, 5.0], [25, 50, 75])
    assert (found.lower_quartile, found.median, found.upper_quartile) == pytest.approx(tuple(quartiles))
    assert (found.minimum, found.maximum) == (1.0, 5.0)
    assert table.quantities[2].groups[1].median == pytest.approx(15.0)
    assert AcquisitionTable.model_validate_json(table.model_dump_json()) == table


def test_a_part_without_patients_has_no_quantiles() -> None:
    table = acquisition_table((("Development", [acquired("S", 120.0, 1.0)]), ("Test", [])))
    assert table.quantities[0].groups[1].median is None
    assert table.categories[0].counts == (1, 0)
