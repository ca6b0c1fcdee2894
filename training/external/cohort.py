"""The cohort of another place, read for a bundle that is already there: what does not fit is refused, what differs is said."""

from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from nodogram.bundle import BundleManifest, Outcome
from nodogram.clinical import ClinicalPredictor
from nodogram.errors import CohortError, Reason
from training.cohort import DESCRIPTION, TABLE, Cohort, CohortDefinition, CohortProblem, OutcomeDefinition, read_cohort
from training.cohort_table import read_table

# Findings about a whole table that stop a training and mean nothing, or less, to a model that is finished.
_TRAINING_ONLY = {Reason.COHORT_TOO_SMALL, Reason.OUTCOME_INVALID, Reason.SPLIT_INVALID}


@dataclass(frozen=True)
class ExternalCohort:
    """Patients to be predicted.

    Attributes
    ----------
    cohort
        Definition as written, and every patient whose row can be read; clinical findings may be missing.
    refused
        Rows that cannot be read, by reason.
    problems
        The findings about them, one line each on the terminal; they may name patients and go no further.
    warnings
        In what the cohort differs from what the bundle was made for, as sentences for every reader.
    """

    cohort: Cohort
    refused: Counter[str]
    problems: tuple[CohortProblem, ...]
    warnings: tuple[str, ...]


def read_external_cohort(path: Path, manifest: BundleManifest) -> ExternalCohort:
    """Read a cohort and hold it against what a bundle needs.

    Parameters
    ----------
    path
        Folder of the cohort, or its table.
    manifest
        Of the bundle.

    Raises
    ------
    CohortError
        The first problem of the table as a whole; ``CLINICAL_PREDICTOR_UNKNOWN`` for a predictor of the bundle the cohort does
        not describe, ``CLINICAL_VALUE_INVALID`` for one it describes differently; ``COHORT_TOO_SMALL`` without any patient.
    """
    _, problems = read_cohort(path)
    fatal = [p for p in problems if p.patient_id is None and p.severity == "error" and p.reason not in _TRAINING_ONLY]
    if fatal:
        raise CohortError(fatal[0].reason, fatal[0].message)
    table = path if path.is_file() or path.suffix == ".csv" else path / TABLE
    text = table.with_name(DESCRIPTION).read_text(encoding="utf-8")
    definition = CohortDefinition.model_validate(tomllib.loads(text))
    check_fit(definition, manifest)
    # A missing finding costs a patient the nomogram and not the score, so no predictor is required of a row.
    patients, found = read_table(table, _nothing_required(definition))
    errors = tuple(p for p in found if p.severity == "error" and p.patient_id is not None)
    if not patients:
        raise CohortError(Reason.COHORT_TOO_SMALL, "; ".join(p.message for p in found[:2]))
    refused = {p.patient_id: p.reason.value for p in errors}
    return ExternalCohort(
        Cohort(definition, patients, table.parent),
        Counter(refused.values()),
        errors,
        outcome_warnings(definition.outcome, manifest.outcome),
    )


def check_fit(definition: CohortDefinition, manifest: BundleManifest) -> None:
    """Refuse a cohort in which a predictor of the bundle is absent or means something else.

    Order and reference level do not matter, because the bundle's own are used.

    Raises
    ------
    CohortError
        ``CLINICAL_PREDICTOR_UNKNOWN`` or ``CLINICAL_VALUE_INVALID``, naming the predictor and both descriptions.
    """
    described = {p.name: p for p in definition.predictors}
    for wanted in manifest.predictors:
        found = described.get(wanted.name)
        if found is None:
            names = ", ".join(described) or "none"
            raise CohortError(
                Reason.CLINICAL_PREDICTOR_UNKNOWN,
                f"the bundle needs {wanted.name}, which {DESCRIPTION} does not describe; it describes {names}",
            )
        difference = _difference(wanted, found)
        if difference is not None:
            raise CohortError(Reason.CLINICAL_VALUE_INVALID, f"{wanted.name} {difference}; describe it as the bundle does")


def outcome_warnings(here: OutcomeDefinition, bundle: Outcome) -> tuple[str, ...]:
    """Return how the outcome differs from the one the bundle was trained for, as sentences."""
    compared = (
        ("outcome", bundle.name, here.name),
        ("meaning of a positive outcome", bundle.positive_label, here.positive_label),
        ("source of the outcome", bundle.provenance, here.provenance),
    )
    return tuple(
        f"The {what} differs: “{own}” in the bundle, “{other}” in this cohort." for what, own, other in compared if own != other
    )


def _difference(wanted: ClinicalPredictor, found: ClinicalPredictor) -> str | None:
    if wanted.type != found.type:
        return f"is {wanted.type} in the bundle and {found.type} in the cohort"
    unknown = [level for level in found.levels if level not in wanted.levels]
    if unknown:
        return f"has the levels {', '.join(wanted.levels)} in the bundle; the cohort adds {', '.join(unknown)}"
    if wanted.unit != found.unit:
        return f"is in {wanted.unit or 'no unit'} in the bundle and in {found.unit or 'no unit'} in the cohort"
    return None


def _nothing_required(definition: CohortDefinition) -> CohortDefinition:
    described = tuple(p.model_copy(update={"candidate": False}) for p in definition.predictors)
    return definition.model_copy(update={"predictors": described})
