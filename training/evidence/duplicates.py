"""Patients who share what no two patients can share: files, or features and crops that are equal to the last digit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.cohort import Patient
from training.extraction import ExtractedCase

SHARED = ("image file", "outline file", "radiomic features", "network crop")


@dataclass(frozen=True)
class Duplicate:
    """Patients who share something; identifiers are for the log, never for a document.

    Attributes
    ----------
    what
        One of ``SHARED``.
    """

    what: str
    case_ids: tuple[str, ...]


def find_duplicates(patients: Sequence[Patient], cases: Mapping[str, ExtractedCase]) -> tuple[Duplicate, ...]:
    """Find patients with the same files, features or crops.

    Copies of an image with another outline each are found only if they are one file: features and crop depend on the outline.

    Parameters
    ----------
    patients
        Those in the run.
    cases
        By patient.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for patient in patients:
        case = cases.get(patient.patient_id)
        content = {"image file": str(patient.image.resolve()).encode(), "outline file": str(patient.roi.resolve()).encode()}
        if case is not None and len(case.radiomics):
            content["radiomic features"] = case.radiomics.values.tobytes()
        if case is not None and case.pixels is not None:
            content["network crop"] = case.pixels.tobytes()
        for what, key in content.items():
            groups.setdefault((what, hashlib.sha256(key).hexdigest()), []).append(patient.patient_id)
    shared = [Duplicate(what, tuple(ids)) for (what, _), ids in groups.items() if len(ids) > 1]
    return tuple(sorted(shared, key=lambda d: SHARED.index(d.what)))
