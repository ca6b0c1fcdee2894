"""Who is in which declared subgroup, from the cohort table the models were evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodogram.bundle import BundleManifest
from nodogram.errors import Reason, SettingsError, TrainingError
from training.cohort import Patient
from training.external.cohort import read_external_cohort
from training.gate.paired import PairedPredictions
from training.gate.plan import DeclaredSubgroup, GatePlan

CENTRE = "centre"


def read_subgroups(
    cohort: Path | None, manifest: BundleManifest, digest: str, paired: PairedPredictions, plan: GatePlan
) -> dict[str, NDArray[np.bool_]]:
    """Return who is in each declared subgroup, (n,) of truth values by name.

    Parameters
    ----------
    cohort
        The locked test set; not needed where the plan declares no subgroup.
    digest
        Of the cohort both models were evaluated on.

    Raises
    ------
    SettingsError
        ``SETTINGS_INVALID`` if the plan declares subgroups and no cohort is given, or names a column or level the cohort lacks.
    TrainingError
        ``RUN_MISMATCH`` if the cohort is not the one the models were evaluated on.
    """
    declared = plan.subgroups.declared
    if not declared:
        return {}
    if cohort is None:
        raise SettingsError(Reason.SETTINGS_INVALID, "the plan declares subgroups: the cohort is needed to know who is in them")
    read = read_external_cohort(cohort, manifest).cohort
    if read.digest != digest:
        raise TrainingError(
            Reason.RUN_MISMATCH, f"the cohort given is {read.digest[:12]}…, the models were evaluated on {digest[:12]}…"
        )
    levels = {p.name: (p.type, p.levels) for p in read.definition.predictors}
    for subgroup in declared:
        _check_described(subgroup, levels)
    patients = {p.patient_id: p for p in read.patients}
    return {s.name: np.array([_is_in(patients[p], s) for p in paired.patient_id], dtype=np.bool_) for s in declared}


def _check_described(subgroup: DeclaredSubgroup, described: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
    if subgroup.column == CENTRE and subgroup.level is not None:
        return
    kind, levels = described.get(subgroup.column, ("absent", ()))
    by_level = subgroup.level is not None
    if kind == "absent" or by_level != (kind != "continuous") or (by_level and subgroup.level not in levels):
        raise SettingsError(
            Reason.SETTINGS_INVALID,
            f"subgroup {subgroup.name}: column {subgroup.column} is {kind} in the cohort"
            + (f" with the levels {', '.join(levels)}" if levels else ""),
        )


def _is_in(patient: Patient, subgroup: DeclaredSubgroup) -> bool:
    value = patient.centre if subgroup.column == CENTRE else patient.clinical.get(subgroup.column)
    if value is None:
        return False
    if subgroup.level is not None:
        return value == subgroup.level
    number = float(value)
    return (subgroup.low is None or number >= subgroup.low) and (subgroup.high is None or number < subgroup.high)
